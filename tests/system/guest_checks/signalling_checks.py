"""Courses in which signalling is lost or an access goes down, for captures to judge."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from experiments.emulation.roles import MN_ID
from tests.system.guest_checks.scenario import scenario
from topologies.hosts import SYSCTL_ROOT
from topologies.namespaces import inside
from topologies.network import DirectionName

MOVE_S = 6.0
DETACH_S = 6.0
ADDRESS_S = 3.0
# addr_gen_mode
FROM_MAC, NO_ADDRESS = "0", "1"


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
        answers = course.answers(1)
        return {
            "start_ns": course.unix_ns,
            "answers": answers,
            "answered_by_s": (time.monotonic_ns() - course.start_ns) / 1e9,
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


def late_address(folder: Path) -> dict[str, Any]:
    """The MN's interface has a carrier long before it has an address to send from."""
    with scenario(folder) as course:
        with inside(course.network.namespace("mn")):
            mode = SYSCTL_ROOT / "ipv6/conf/mn-wlan/addr_gen_mode"
            mode.write_text(NO_ADDRESS, encoding="ascii")
            course.until(1.0)
            course.network.set_access("wlan", True)
            course.until(ADDRESS_S)
            ended = course.bed.ended()
            mode.write_text(FROM_MAC, encoding="ascii")
        course.until(ADDRESS_S + 1.0)
        return {
            "start_ns": course.unix_ns,
            "ended": ended,
            "bindings": [entry for entry in course.ask("bindings") if entry["mn"] == MN_ID],
        }
