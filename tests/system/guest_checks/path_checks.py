"""Moves with a controller, on the network of topologies/sdn.toml: courses for captures to judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.emulation.roles import MN_ID
from tests.system.guest_checks.scenario import scenario
from topologies.namespaces import socket_in

LINKS = (
    ("cn", "cn-lma"),
    ("lma", "lma-s1"),
    ("mag1", "mag1-s3"),
    ("mag2", "mag2-s4"),
    ("mn", "mn-wlan"),
    ("mn", "mn-cell"),
)
AUTO_FLOW_LABELS = Path("/proc/sys/net/ipv6/auto_flowlabels")


def move(folder: Path) -> dict[str, Any]:
    """Flow `a` moves to the second access at 6 s, and back at 8 s. The CN labels its packets."""
    with scenario(folder, LINKS) as course:
        namespace = course.network.namespace("cn")
        socket_in(namespace, lambda: AUTO_FLOW_LABELS.write_text("1"))
        course.attach()
        course.start_traffic()
        course.until(6.0)
        course.order("a", "cell")
        course.until(8.0)
        course.order("a", "wlan")
        course.until(9.5)
        return {
            "answers": course.answers(2),
            "controller": course.ask("controller"),
            "statistics": course.ask("flow-statistics"),
        }


def away(folder: Path) -> dict[str, Any]:
    """The controller is gone at 5 s and back at 5.4 s: an order to move at 5.2 s, and at 8.5 s one
    to move, or back if that has been done."""
    with scenario(folder, LINKS) as course:
        course.attach()
        course.start_traffic()
        course.until(5.0)
        course.bed.kill("controller")
        course.until(5.2)
        course.order("a", "cell")
        (first,) = course.answers(1)
        during = course.ask("controller")
        course.until(5.4)
        course.bed.start("controller")
        course.until(8.5)
        after = course.ask("controller")
        course.order("a", "wlan" if first["ok"] else "cell")
        course.until(9.5)
        return {"first": first, "during": during, "after": after, "second": course.answers(1)[0]}


def troubled(folder: Path) -> dict[str, Any]:
    """Two moves of flow `a` in quick succession at 5 s; one at 6 s, during which the controller
    goes, to be back at 6.4 s; and at 8.5 s one of flow `stay`, which is removed while it moves."""
    with scenario(folder, LINKS) as course:
        course.attach()
        course.start_traffic()
        course.until(5.0)
        course.order("a", "cell")
        course.order("a", "wlan")
        course.until(6.0)
        course.order("a", "cell")
        # The MAG has the prefix since 5 s. The request has taken 10 ms, the first rules another 10.
        course.until(6.025)
        course.bed.kill("controller")
        course.until(6.4)
        course.bed.start("controller")
        course.until(8.5)
        course.order("stay", "cell")
        course.session.send({"op": "remove-flow", "mn": MN_ID, "fid": 2})
        course.until(9.5)
        return {
            "answers": sorted(course.answers(5), key=lambda answer: int(answer["id"])),
            "controller": course.ask("controller"),
            "flows": [(flow["fid"], flow["access"]) for flow in course.ask("flows")],
        }
