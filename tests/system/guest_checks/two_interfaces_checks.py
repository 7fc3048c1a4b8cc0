"""A mobile node with both of its interfaces at one MAG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.system.guest_checks.scenario import scenario

# Flow `a` to the cell, flow `b` to the WLAN, `a` back.
MOVES = (("a", "cell", 6.0), ("b", "wlan", 7.0), ("a", "wlan", 8.0))
END_S = 9.5


def crossing(folder: Path) -> dict[str, Any]:
    with scenario(folder) as course:
        course.attach()
        course.start_traffic()
        for flow, access, at_s in MOVES:
            course.until(at_s)
            course.order(flow, access)
        course.until(END_S)
        course.stop_traffic()
        return {
            "start_ns": course.unix_ns,
            "answers": course.answers(len(MOVES)),
            "bindings": course.ask("bindings"),
            "served": course.ask_node("mag1", {"op": "bindings"})["result"],
        }
