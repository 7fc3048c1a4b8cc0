"""Failures of controller, switches and LMA while a controller makes the paths, on the network of
topologies/sdn.toml: courses for captures and tables of rules to judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.emulation.roles import MN_ID
from experiments.emulation.testbed import bind_flows
from nodes.control_client import Session
from tests.system.guest_checks.path_checks import LINKS, rules, state
from tests.system.guest_checks.scenario import scenario

RESTART_S, SILENT_S, HEARD_S, AGAIN_S, END_S = 9.0, 10.5, 14.0, 16.5, 18.0
# When the LMA is ended, and how long it is away.
ENDED_S, AWAY_S = (6.0, 10.0), 0.5


def away(folder: Path) -> dict[str, Any]:
    """The controller is gone at 5 s and back at 5.4 s: an order to move at 5.2 s, and at 8 s one to
    move, or back if that has been done."""
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
        course.until(8.0)
        after = state(course)
        course.order("a", "wlan" if first["ok"] else "cell")
        course.until(9.5)
        return {
            "start_ns": course.unix_ns,
            "first": first,
            "during": during,
            "after": after,
            "second": course.answers(1)[0],
            "end": state(course),
        }


def troubled(folder: Path) -> dict[str, Any]:
    """Two moves of flow `a` in quick succession at 5 s; one at 6 s, during which the controller
    goes, to be back at 6.4 s; and at 9.4 s one of flow `stay`, which is removed while it moves."""
    with scenario(folder, LINKS) as course:
        found: dict[str, Any] = {"start_ns": course.unix_ns}
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
        course.until(9.3)
        found["back"] = state(course)
        course.until(9.4)
        course.order("stay", "cell")
        course.session.send({"op": "remove-flow", "mn": MN_ID, "fid": 2})
        # Old rules stay for a second.
        course.until(10.9)
        found["answers"] = sorted(course.answers(5), key=lambda answer: int(answer["id"]))
        found["end"] = state(course)
        return found


def interrupted(folder: Path) -> dict[str, Any]:
    """Flow `a` moves at 5 s, and the controller is gone from 5.2 to 6.2 s, before old rules are
    removed. At RESTART_S s4, which `a` passes, restarts with empty tables. From SILENT_S to HEARD_S
    the controller hears nothing of s2, and `a` is ordered back, and once more at AGAIN_S."""
    with scenario(folder, LINKS) as course:
        found: dict[str, Any] = {"start_ns": course.unix_ns}
        assert course.bed.switches is not None
        course.attach()
        course.start_traffic()
        course.until(5.0)
        course.order("a", "cell")
        course.until(5.2)
        course.bed.kill("controller")
        found["left"] = rules(course)
        course.until(6.2)
        course.bed.start("controller")
        course.until(RESTART_S)
        found["back"] = state(course)
        course.bed.switches.restart_switch("s4")
        course.until(SILENT_S)
        found["restarted"] = state(course)
        course.lose("controller-s2", "up", 1.0)
        course.order("a", "wlan")
        course.until(HEARD_S)
        course.lose("controller-s2", "up", 0.0)
        course.until(AGAIN_S)
        found["heard"] = state(course)
        course.order("a", "wlan")
        course.until(END_S)
        found["answers"] = course.answers(3)
        found["end"] = state(course)
        return found


def lma_restarts(folder: Path) -> dict[str, Any]:
    """Flow `a` moves at 5 s. The LMA is ended at each instant of ENDED_S, by SIGTERM and then by
    SIGKILL, and started again AWAY_S later; then both flows are ordered again."""
    with scenario(folder, LINKS) as course:
        found: dict[str, Any] = {"start_ns": course.unix_ns, "states": [], "answers": []}
        course.attach()
        course.start_traffic()
        course.until(5.0)
        course.order("a", "cell")
        found["answers"] += course.answers(1)
        for orderly, at_s in zip((True, False), ENDED_S, strict=True):
            course.until(at_s)
            (course.bed.stop if orderly else course.bed.kill)("lma")
            course.until(at_s + AWAY_S)
            course.bed.start("lma")
            course.until(at_s + 2.0)
            with Session(course.bed.roles.lma.control_socket) as session:
                course.session = session
                found["states"].append(state(course))
                bind_flows(course.job.spec, session)
                course.order("a", "cell")
                found["answers"] += course.answers(1)
                course.until(at_s + 3.4)
                found["states"].append(state(course))
        return found
