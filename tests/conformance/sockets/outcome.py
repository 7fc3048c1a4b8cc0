"""How a socket-level test says that it failed, or that it lacks something to run with."""

from __future__ import annotations


class Violation(AssertionError):
    """The node under test didn't do what the rule says."""


class Lacking(Exception):
    """The test needs something that wasn't given: which option gives it."""


def expect(condition: bool, otherwise: str) -> None:
    """Python's `assert` says nothing about values without pytest, and -O removes it."""
    if not condition:
        raise Violation(otherwise)


def expect_equal(found: object, wanted: object, what: str) -> None:
    expect(found == wanted, f"{what} is {found!r}, expected {wanted!r}")
