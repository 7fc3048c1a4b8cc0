"""Moves with a controller, on the network of topologies/sdn.toml: courses for captures to judge."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from experiments.emulation.roles import MN_ID
from tests.system.guest_checks.decision_checks import DECISION_S, bind
from tests.system.guest_checks.forwarding_checks import send_oversized
from tests.system.guest_checks.scenario import Scenario, scenario
from topologies.namespaces import socket_in

LINKS = (
    ("cn", "cn-lma"),
    ("lma", "lma-s1"),
    ("s1", "s1-s2"),
    ("s2", "s2-s3"),
    ("s2", "s2-s4"),
    ("mag1", "mag1-s3"),
    ("mag2", "mag2-s4"),
    ("mn", "mn-wlan"),
    ("mn", "mn-cell"),
)
AUTO_FLOW_LABELS = Path("/proc/sys/net/ipv6/auto_flowlabels")


def rules(course: Scenario) -> dict[str, str]:
    """By switch."""
    switches = course.bed.switches
    assert switches is not None
    names = course.network.topology.switches
    return {name: switches.ofctl("dump-flows", name) for name in names}


def state(course: Scenario) -> dict[str, Any]:
    """What the LMA says, and what the switches have."""
    return {
        "at_ns": time.time_ns(),
        "controller": course.ask("controller"),
        "bindings": course.ask("bindings"),
        "flows": course.ask("flows"),
        "tables": rules(course),
    }


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
            "start_ns": course.unix_ns,
            "answers": course.answers(2),
            "end": state(course),
            "statistics": course.ask("flow-statistics"),
        }


def oversized(folder: Path) -> dict[str, Any]:
    """Packets around the tunnel's and the link's MTU, both ways."""
    with scenario(folder, LINKS) as course:
        course.attach()
        return send_oversized(course)


def copies(folder: Path) -> dict[str, Any]:
    """Flow `a` goes over both accesses from 6 s on, and from 7.5 s on over the second alone."""
    with scenario(folder, LINKS) as course:
        found: dict[str, Any] = {"start_ns": course.unix_ns}
        course.attach()
        course.start_traffic()
        course.until(6.0)
        course.session.send({"op": "move-flow", "mn": MN_ID, "fid": 1, "to": ["wlan", "cell"]})
        course.until(7.4)
        found["both"] = state(course)
        course.until(7.5)
        course.order("a", "cell")
        course.until(9.5)
        return {**found, "answers": course.answers(2), "end": state(course)}


def deciding(folder: Path) -> dict[str, Any]:
    """The node sends flow `a` over the cell from DECISION_S on."""
    with scenario(folder, LINKS) as course:
        course.attach()
        for fid, port in ((1, 5001), (2, 5003)):
            bind(course, fid, port, "mn-wlan")
        course.start_traffic()
        course.until(DECISION_S)
        bound = bind(course, 1, 5001, "mn-cell")
        course.until(9.5)
        return {"start_ns": course.unix_ns, "bound": bound, "end": state(course)}


def left_alone(folder: Path) -> dict[str, Any]:
    """Nobody orders anything."""
    with scenario(folder, LINKS) as course:
        course.attach()
        course.start_traffic()
        course.until(9.5)
        return {"start_ns": course.unix_ns, "end": state(course)}
