"""Courses in which signalling is lost or an access goes down, for captures to judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.system.guest_checks.scenario import scenario
from topologies.network import DirectionName

MOVE_S = 6.0
DETACH_S = 6.0


def lost_signalling(
    folder: Path, link: str, direction: DirectionName, lost_for_s: float, end_s: float
) -> dict[str, Any]:
    """`link` loses everything from the move of flow `a` to the cell on, for `lost_for_s`."""
    with scenario(folder) as course:
        course.attach()
        course.start_traffic()
        course.until(MOVE_S)
        course.lose(link, direction, 1.0)
        course.order("a", "cell")
        course.until(MOVE_S + lost_for_s)
        course.lose(link, direction, 0.0)
        course.until(end_s)
        course.stop_traffic()
        return {
            "start_ns": course.unix_ns,
            "answers": course.answers(1),
            "flows": course.ask("flows"),
            "bindings": course.ask("bindings"),
        }


def detachment(folder: Path) -> dict[str, Any]:
    """The cell goes down; the LMA's bindings just before and after 10 s; the cell comes back."""
    with scenario(folder) as course:
        course.attach()
        before = course.ask("bindings")
        course.start_traffic()
        course.until(DETACH_S)
        course.network.set_access("cell", False)
        course.until(DETACH_S + 1.0)
        detached = course.ask("bindings")
        # The deregistration takes 10 ms to the LMA.
        course.until(DETACH_S + 10.0)
        last = course.ask("bindings")
        course.until(DETACH_S + 10.02)
        gone = course.ask("bindings")
        flows = course.ask("flows")
        course.until(DETACH_S + 11.0)
        course.network.set_access("cell", True)
        course.until(DETACH_S + 12.0)
        return {
            "start_ns": course.unix_ns,
            "before": before,
            "detached": detached,
            "last": last,
            "gone": gone,
            "flows": flows,
            "again": course.ask("bindings"),
        }
