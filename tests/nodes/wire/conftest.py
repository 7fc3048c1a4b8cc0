"""Fixtures for the tests of formats."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from nodes.wire.attachment import ATTACHMENT_CLASSES
from nodes.wire.messages import CLASSES
from nodes.wire.tlv import OPTIONS, SUB_OPTIONS
from tests.messages import attachment_strategy, message_strategy, option_strategy, selectors

settings.register_profile("wire", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("wire")


@pytest.fixture(scope="session")
def messages() -> st.SearchStrategy[Any]:
    return message_strategy()


@pytest.fixture(scope="session")
def attachments() -> st.SearchStrategy[Any]:
    return attachment_strategy()


@pytest.fixture(scope="session")
def options() -> st.SearchStrategy[Any]:
    return option_strategy()


@pytest.fixture(scope="session")
def selector_of() -> Any:
    return selectors


@pytest.fixture(scope="session")
def formats() -> list[type[Any]]:
    """Every class that has a layout."""
    messages = [*CLASSES.values(), *ATTACHMENT_CLASSES.values()]
    registered = [*messages, *OPTIONS.classes.values(), *SUB_OPTIONS.classes.values()]
    return [cls for cls in registered if fields(cls) and hasattr(cls, "LAYOUT")]
