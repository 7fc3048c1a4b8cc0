"""Courses with layer-2 signalling between mobile node and MAG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.system.guest_checks.scenario import Scenario, scenario

LEAVES_S = 6.0
END_S = 9.5


def handover(folder: Path) -> dict[str, Any]:
    """Attached to the WLAN alone, the node leaves it at LEAVES_S and attaches to the cell with
    handoff indicator 2: everything moves there (RFC 5213 section 5.4.1.2)."""
    with scenario(folder) as course:
        course.attach()
        course.start_traffic()
        course.until(LEAVES_S)
        before = course.ask("bindings")
        course.network.set_access("wlan", False)
        attached = _attach(course, "mn-cell", 2)
        course.until(END_S)
        course.stop_traffic()
        return {
            "start_ns": course.unix_ns,
            "before": before,
            "after": course.ask("bindings"),
            "attached": attached,
            "status": course.ask_node("mn", {"op": "status"})["result"],
            "served": course.ask_node("mag2", {"op": "bindings"})["result"],
        }


def left_unnoticed(folder: Path, handoff: int) -> dict[str, Any]:
    """As `handover`, but the deregistration of the WLAN's MAG gets lost."""
    with scenario(folder) as course:
        course.attach()
        course.start_traffic()
        course.until(LEAVES_S)
        before = course.ask("bindings")
        course.lose("core-mag1", "up", 1.0)
        course.network.set_access("wlan", False)
        course.until(LEAVES_S + 0.1)
        course.lose("core-mag1", "up", 0.0)
        attached = _attach(course, "mn-cell", handoff)
        course.until(END_S)
        course.stop_traffic()
        return {
            "start_ns": course.unix_ns,
            "before": before,
            "after": course.ask("bindings"),
            "attached": attached,
        }


def dynamic(folder: Path) -> dict[str, Any]:
    """At LEAVES_S flow `a` is ordered to the cell and the node to attach there to its session."""
    with scenario(folder) as course:
        course.attach()
        course.start_traffic()
        prefixes = course.ask("bindings")[0]["prefixes"]
        course.until(LEAVES_S)
        course.order("a", "cell", await_ms=2_000)
        attached = _attach(course, "mn-cell", 6, prefixes)
        course.until(END_S)
        course.stop_traffic()
        return {
            "start_ns": course.unix_ns,
            "attached": attached,
            "moved": course.answers(1),
            "bindings": course.ask("bindings"),
            "flows": course.ask("flows"),
        }


def _attach(
    course: Scenario, interface: str, handoff: int, prefixes: list[str] | None = None
) -> dict[str, Any]:
    request = {
        "op": "attach",
        "interface": interface,
        "handoff_indicator": handoff,
        "prefixes": prefixes or [],
    }
    return course.ask_node("mn", request)
