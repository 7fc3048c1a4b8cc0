"""What all tests share: the domain in memory, and the profile of the property tests."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.domain import Domain

# The same examples in every run: what a run finds, the next one finds, too. `deep` is for long runs
# of a few tests, with HYPOTHESIS_PROFILE=deep or pytest's --hypothesis-profile=deep, and tries
# others each time.
settings.register_profile(
    "cores",
    suppress_health_check=[HealthCheck.too_slow],
    deadline=None,
    max_examples=60,
    stateful_step_count=30,
    derandomize=True,
)
settings.register_profile(
    "deep",
    settings.get_profile("cores"),
    max_examples=5_000,
    stateful_step_count=80,
    derandomize=False,
    print_blob=True,
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "cores"))


@pytest.fixture(scope="session")
def domain() -> type[Domain]:
    return Domain
