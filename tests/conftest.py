"""What all tests share: the domain in memory, and the profile of the property tests."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests.domain import Domain

settings.register_profile(
    "cores", suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60
)
settings.load_profile("cores")


@pytest.fixture(scope="session")
def domain() -> type[Domain]:
    return Domain
