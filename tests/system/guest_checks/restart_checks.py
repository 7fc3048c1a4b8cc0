"""Courses in which a daemon is killed and started again, for captures to judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nodes.control_client import Session
from tests.system.guest_checks.scenario import scenario

MOVE_S, KILL_S, START_S, END_S = 4.0, 6.0, 7.0, 9.5


def killed(folder: Path, node: str) -> dict[str, Any]:
    """Flow `a` is moved to the cell; then the daemon of `node` is killed and started again."""
    with scenario(folder) as course:
        course.attach()
        course.start_traffic()
        course.until(MOVE_S)
        course.order("a", "cell")
        course.until(KILL_S)
        course.bed.kill(node)
        course.until(START_S)
        course.bed.start(node)
        course.until(END_S)
        course.stop_traffic()
        with Session(course.bed.roles.lma.control_socket) as session:
            bindings = session.request({"op": "bindings"})["result"]
            flows = session.request({"op": "flows"})["result"]
        return {"start_ns": course.unix_ns, "bindings": bindings, "flows": flows}


def revoked(folder: Path) -> dict[str, Any]:
    """The binding of the cell is revoked."""
    with scenario(folder) as course:
        course.attach()
        course.start_traffic()
        course.until(MOVE_S)
        mn = course.ask("bindings")[0]["mn"]
        answer = course.session.request({"op": "revoke", "mn": mn, "binding": "cell"})
        course.until(MOVE_S + 1.0)
        course.stop_traffic()
        return {
            "start_ns": course.unix_ns,
            "answer": answer["result"],
            "bindings": course.ask("bindings"),
        }
