"""Courses whose captures the message sequence charts of docs/call-flows.md are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.emulation.roles import MN_ID
from tests.system.guest_checks.scenario import Scenario, scenario

MOVE_S = 4.0


def attachment(folder: Path) -> dict[str, Any]:
    """Both accesses attach; no traffic."""
    with scenario(folder) as course:
        course.attach()
        return _times(course, 0.5)


def move(folder: Path, for_s: float = 1.0) -> dict[str, Any]:
    with scenario(folder) as course:
        _prepare(course)
        course.order("a", "cell")
        course.until(MOVE_S + for_s)
        course.stop_traffic()
        return _times(course, MOVE_S)


def lost_initiate(folder: Path) -> dict[str, Any]:
    """The first FMI of the move is lost."""
    with scenario(folder) as course:
        _prepare(course)
        course.lose("core-mag2", "down", 1.0)
        course.order("a", "cell")
        course.until(MOVE_S + 0.5)
        course.lose("core-mag2", "down", 0.0)
        course.until(MOVE_S + 2.0)
        course.stop_traffic()
        return _times(course, MOVE_S)


def departure(folder: Path) -> dict[str, Any]:
    """The cell goes down."""
    with scenario(folder) as course:
        course.attach()
        course.until(MOVE_S)
        course.network.set_access("cell", False)
        course.until(MOVE_S + 1.0)
        return _times(course, MOVE_S)


def revocation(folder: Path) -> dict[str, Any]:
    """The LMA revokes the cell's binding."""
    with scenario(folder) as course:
        course.attach()
        course.until(MOVE_S)
        course.session.request({"op": "revoke", "mn": MN_ID, "binding": "cell"})
        course.until(MOVE_S + 1.0)
        return _times(course, MOVE_S)


def _prepare(course: Scenario) -> None:
    course.attach()
    course.start_traffic()
    course.until(MOVE_S)


def _times(course: Scenario, from_s: float) -> dict[str, Any]:
    """What the chart begins with, in ns since 1970."""
    return {"from_ns": course.unix_ns + round(from_s * 1e9)}
