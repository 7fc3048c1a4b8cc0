"""Courses in which somebody else than an operator of the LMA decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.system.guest_checks.scenario import Scenario, scenario

DECISION_S = 6.0
END_S = 9.5


def mobile_node(folder: Path) -> dict[str, Any]:
    """The MN sends flow `a` over the cell from DECISION_S on; an order to the LMA is refused."""
    with scenario(folder) as course:
        course.attach()
        for fid, port in ((1, 5001), (2, 5003)):
            bind(course, fid, port, "mn-wlan")
        course.start_traffic()
        course.until(DECISION_S - 0.5)
        course.order("stay", "cell")
        course.until(DECISION_S)
        bound = bind(course, 1, 5001, "mn-cell")
        course.until(END_S)
        course.stop_traffic()
        return {
            "start_ns": course.unix_ns,
            "bound": bound,
            "refused": course.answers(1),
            "flows": course.ask("flows"),
            "listed": course.ask_node("mn", {"op": "flows"})["result"],
        }


def link_quality(folder: Path) -> dict[str, Any]:
    """MAG1 learns that the WLAN is bad at DECISION_S, and good again 1 s later."""
    with scenario(folder) as course:
        course.attach()
        course.start_traffic()
        for at_s, quality in ((4.0, 80), (DECISION_S, 20), (DECISION_S + 1.0, 90)):
            course.until(at_s)
            report = {"op": "report-link", "interface": "mag1-wlan", "quality": quality}
            course.ask_node("mag1", report)
        course.until(END_S)
        course.stop_traffic()
        return {"start_ns": course.unix_ns, "flows": course.ask("flows")}


def bind(course: Scenario, fid: int, port: int, interface: str) -> dict[str, Any]:
    request = {
        "op": "bind-flow",
        "fid": fid,
        "priority": fid,
        "selector": {"start_source_port": port, "start_next_header": 17},
        "to": interface,
    }
    return course.ask_node("mn", request)
