"""Courses in which a daemon is killed and started again, for captures to judge."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from nodes.control_client import Session
from tests.system.guest_checks.scenario import Scenario, scenario
from topologies.namespaces import inside

MOVE_S, KILL_S, START_S, END_S = 4.0, 6.0, 7.0, 9.5


def killed(folder: Path, node: str, *, forget: bool = False) -> dict[str, Any]:
    """Flow `a` is moved to the cell; then the daemon of `node` is killed and started again.
    `forget`: without the sessions that it had on disk."""
    with scenario(folder) as course:
        course.attach()
        course.start_traffic()
        course.until(MOVE_S)
        course.order("a", "cell")
        course.until(KILL_S)
        course.bed.kill(node)
        before = kernel_state(course, node)
        if forget:
            sessions = course.bed.roles.lma.sessions
            assert sessions is not None
            sessions.unlink()
        course.until(START_S)
        course.bed.start(node)
        course.until(START_S + 0.5)
        after = kernel_state(course, node)
        course.until(END_S)
        course.stop_traffic()
        with Session(course.bed.roles.lma.control_socket) as session:
            bindings = session.request({"op": "bindings"})["result"]
            flows = session.request({"op": "flows"})["result"]
        return {
            "start_ns": course.unix_ns,
            "bindings": bindings,
            "flows": flows,
            "before": before,
            "after": after,
        }


def kernel_state(course: Scenario, node: str) -> dict[str, str]:
    """What the kernel of a node has, with the handles and indices that tell what is new."""
    shown = {
        "links": ("ip", "-6", "-d", "link", "show", "type", "ip6tnl"),
        "routes": ("ip", "-6", "route", "show", "table", "all", "proto", "static"),
        "rules": ("ip", "-6", "rule"),
        "nftables": ("nft", "-a", "list", "ruleset"),
    }
    with inside(course.network.namespace(node)):
        return {
            what: subprocess.run(command, capture_output=True, text=True, check=True).stdout
            for what, command in shown.items()
        }


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
