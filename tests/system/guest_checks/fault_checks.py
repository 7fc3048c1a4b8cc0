"""Courses in which daemons die at every step, links flap, signalling is disturbed and clocks are
wrong, for captures and final states to judge."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.emulation.roles import MN_ID
from experiments.emulation.testbed import RunFailed
from nodes.control_client import ControlError, Session
from nodes.daemon import Daemon
from tests.system.guest_checks.restart_checks import kernel_state
from tests.system.guest_checks.scenario import Scenario, scenario
from topologies.namespaces import inside

LIFE_S, QUIET_S = 0.6, 12.0
FLAP_S, FLAPS_S, DETACH_STEP_S = 0.05, 3.0, 0.004
# What `tc netem` does to each packet, whatever it carries. The delay of the link stays.
DISTURBANCES = {
    "delayed": "delay 120ms",
    "duplicated": "delay 10ms duplicate 50%",
    "reordered": "delay 60ms 50ms",
    "corrupted": "delay 10ms corrupt 30%",
    "lost": "delay 10ms loss gemodel 20% 40%",
}


@contextlib.contextmanager
def mortal(actions: int) -> Iterator[None]:
    """A daemon that is started meanwhile is killed (SIGKILL) by itself when it is to carry out one
    action more than these."""
    carry_out, left = Daemon._carry_out, actions

    def counted(self: Daemon, action: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        carry_out(self, action)

    Daemon._carry_out = counted  # type: ignore[method-assign]
    try:
        yield
    finally:
        Daemon._carry_out = carry_out  # type: ignore[method-assign]


@contextlib.contextmanager
def clock_ahead(seconds: int) -> Iterator[None]:
    """The clock of a daemon that is started meanwhile."""
    right = time.time_ns
    time.time_ns = lambda: right() + seconds * 1_000_000_000
    try:
        yield
    finally:
        time.time_ns = right


def dies_at_every_step(folder: Path, node: str, what: str, lives: int) -> dict[str, Any]:
    """The daemon of `node` dies before its first action, before its second, and so on; each of its
    lives begins with what the one before has left. In each, flow `a` is ordered to the other access
    (`what` is "move"), or the cell is left and attached again ("attach"). The last one lives on."""
    with scenario(folder) as course:
        course.attach()
        course.start_traffic()
        at_s = 4.0
        died: list[bool] = []
        orders: list[Session] = []
        for life in range(lives):
            _bury(course, node)
            with mortal(life), contextlib.suppress(RunFailed):
                course.bed.start(node)
            at_s += 0.1
            course.until(at_s)
            if what == "attach":
                course.network.set_access("cell", False)
                course.until(at_s + LIFE_S / 2)
                course.network.set_access("cell", True)
            else:
                with contextlib.suppress(ControlError):
                    orders.append(_send_order(course, ("cell", "wlan")[life % 2]))
            at_s += LIFE_S
            course.until(at_s)
            died.append(not _is_there(course, node))
            _bury(course, node)
            course.bed.start(node)
        at_s += QUIET_S
        course.until(at_s)
        _order(course, "cell")
        course.until(at_s + 2.0)
        return {"start_ns": course.unix_ns, "died": died, **_final(course)}


def flaps(folder: Path, accesses: list[str]) -> dict[str, Any]:
    """Accesses go down and up at 10 Hz for a while."""
    with scenario(folder) as course:
        course.attach()
        course.start_traffic()
        course.until(4.0)
        _order(course, "cell")
        for step in range(round(FLAPS_S / FLAP_S)):
            course.until(5.0 + step * FLAP_S)
            for access in accesses:
                course.network.set_access(access, step % 2 == 1)
        course.until(5.0 + FLAPS_S + QUIET_S)
        return {"start_ns": course.unix_ns, **_final(course)}


def partitioned(folder: Path, seconds: float) -> dict[str, Any]:
    """Nothing passes between the core and mag2, where flow `a` is."""
    with scenario(folder) as course:
        course.attach()
        course.start_traffic()
        course.until(4.0)
        _order(course, "cell")
        course.until(5.0)
        for direction in ("down", "up"):
            course.lose("core-mag2", direction, 1.0)  # type: ignore[arg-type]
        course.until(5.0 + seconds)
        during = _final(course)
        for direction in ("down", "up"):
            course.lose("core-mag2", direction, 0.0)  # type: ignore[arg-type]
        # A PBU that is repeated comes 32 s after the one before.
        course.until(5.0 + seconds + 40.0)
        return {"start_ns": course.unix_ns, "during": during, **_final(course)}


def disturbed(folder: Path, how: str) -> dict[str, Any]:
    """Flow `a` moves to and fro ten times, and the cell is left and attached again, while the paths
    between LMA, mag1 and mag2 do something to every packet; then nothing is done to any."""
    with scenario(folder) as course:
        course.attach()
        course.start_traffic()
        at_s = 4.0
        course.until(at_s)
        _netem(course, DISTURBANCES[how])
        answers = []
        for number in range(10):
            course.until(at_s)
            answers.append(_order(course, ("cell", "wlan")[number % 2]))
            at_s = max(at_s + 1.0, _now(course))
            if number == 6:
                course.network.set_access("cell", False)
                course.until(at_s + 1.0)
                course.network.set_access("cell", True)
                at_s += 8.0
        _netem(course, "delay 10ms")
        course.until(at_s + 45.0)
        answers.append(_order(course, "cell"))
        course.until(at_s + 60.0)
        return {"start_ns": course.unix_ns, "answers": answers, **_final(course)}


def wrong_clock(folder: Path, seconds: int) -> dict[str, Any]:
    """mag2 starts again with its clock wrong, and at 20 s with the right one."""
    with scenario(folder) as course:
        course.attach()
        course.start_traffic()
        course.until(4.0)
        _order(course, "cell")
        course.until(5.0)
        course.bed.kill("mag2")
        with clock_ahead(seconds):
            course.bed.start("mag2")
        course.until(20.0)
        during = _final(course)
        course.bed.kill("mag2")
        course.bed.start("mag2")
        course.until(40.0)
        return {"start_ns": course.unix_ns, "during": during, **_final(course)}


def both_lost(folder: Path, seconds: float) -> dict[str, Any]:
    """The node loses both accesses, and has them again `seconds` later."""
    with scenario(folder) as course:
        course.attach()
        course.start_traffic()
        course.until(4.0)
        _order(course, "cell")
        course.until(5.0)
        for up in (False, True):
            for access in ("wlan", "cell"):
                course.network.set_access(access, up)
            course.until(5.0 + seconds * (1 + up) + up)
        course.until(5.0 + seconds + QUIET_S)
        return {"start_ns": course.unix_ns, **_final(course)}


def target_detaches(folder: Path) -> dict[str, Any]:
    """Ten times: flow `a` is ordered to the cell, which is lost some ms later, each time later by
    as much, and is there again after a second."""
    with scenario(folder) as course:
        course.attach()
        course.start_traffic()
        answers = []
        at_s = 4.0
        for number in range(10):
            course.until(at_s)
            with _send_order(course, "cell") as session:
                course.until(at_s + number * DETACH_STEP_S)
                course.network.set_access("cell", False)
                course.until(at_s + 1.0)
                course.network.set_access("cell", True)
                answers.append(next(iter(session.replies(1))))
            course.until(at_s + 2.0)
            _order(course, "wlan")
            at_s += 3.0
        course.until(at_s + QUIET_S)
        return {"start_ns": course.unix_ns, "answers": answers, **_final(course)}


def _now(course: Scenario) -> float:
    return (time.monotonic_ns() - course.start_ns) / 1e9


def _is_there(course: Scenario, node: str) -> bool:
    there = {child.name for child in course.bed.daemons}
    return node in there and node not in course.bed.ended()


def _bury(course: Scenario, node: str) -> None:
    """A daemon, dead or alive, makes place for another."""
    if node in {child.name for child in course.bed.daemons}:
        course.bed.kill(node)


def _send_order(course: Scenario, to: str) -> Session:
    """By a connection of its own: the LMA may have started anew since."""
    session = Session(course.bed.roles.lma.control_socket)
    session.send({"op": "move-flow", "mn": MN_ID, "fid": 1, "to": to})
    return session


def _order(course: Scenario, to: str) -> dict[str, Any]:
    with _send_order(course, to) as session:
        return next(iter(session.replies(1)))


def _netem(course: Scenario, what: str) -> None:
    for node, interface in (
        ("lma", "lma-core"),
        ("core", "core-lma"),
        ("core", "core-mag1"),
        ("core", "core-mag2"),
        ("mag1", "mag1-core"),
        ("mag2", "mag2-core"),
    ):
        with inside(course.network.namespace(node)):
            # Anew: netem keeps what a change doesn't name. Some have none to begin with.
            on = ("dev", interface, "root")
            subprocess.run(("tc", "qdisc", "del", *on), check=False, stderr=subprocess.DEVNULL)
            subprocess.run(("tc", "qdisc", "add", *on, "netem", *what.split()), check=True)


def _final(course: Scenario) -> dict[str, Any]:
    with Session(course.bed.roles.lma.control_socket) as session:
        return {
            "bindings": session.request({"op": "bindings"})["result"],
            "flows": session.request({"op": "flows"})["result"],
            "kernels": {node: kernel_state(course, node) for node in ("lma", "mag1", "mag2")},
            "end_s": _now(course),
        }
