"""Moves with a controller on the switched network: courses for captures to judge."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from controllers.config import NORTHBOUND_PORT
from controllers.process import ControllerConfig as ProcessConfig
from controllers.process import run_controller
from experiments.job import Job
from experiments.roles import Roles, configure
from experiments.testbed import EXIT_LIMIT_S, Testbed, end, start
from nodes.control_client import Session
from nodes.controller_config import ControllerConfig, Fallback
from nodes.daemons import run_lma, run_mag, run_mn
from nodes.strict import from_json, to_builtins
from tests.system.guest_checks.scenario import Scenario, Sniffer
from topologies import openvswitch
from topologies.fabric import fabric_description
from topologies.model import Topology
from topologies.namespaces import Child, set_timer_slack, socket_in
from topologies.network import Network, running
from topologies.plan import end_address
from topologies.switching import datapath_ids

Mode = Literal["sdn-core", "sdn-assisted"]
Framework = Literal["os-ken", "ryu"]
LINKS = (
    ("cn", "cn-lma"),
    ("lma", "lma-s1"),
    ("mag1", "mag1-s2"),
    ("mag2", "mag2-s3"),
    ("mn", "mn-wlan"),
    ("mn", "mn-cell"),
)
AUTO_FLOW_LABELS = Path("/proc/sys/net/ipv6/auto_flowlabels")


class Controller:
    """The controller of a run, which can go and come back."""

    def __init__(self, network: Network, framework: Framework, folder: Path) -> None:
        self._network, self._folder = network, folder
        topology: Topology = network.topology
        self._config = ProcessConfig(
            application="controllers.application:RedirectionApplication",
            arguments={
                "config": {
                    "events": str(folder / "events" / "controller.jsonl"),
                    "fabric": to_builtins(fabric_description(topology)),
                    "datapath_ids": datapath_ids(topology),
                }
            },
            framework=framework,
        )
        self._child: Child | None = None

    def start(self) -> None:
        self._child = start(self._network, "controller", run_controller, self._config, self._folder)

    def kill(self) -> None:
        assert self._child is not None
        self._child.kill()
        self._child.wait(EXIT_LIMIT_S)
        self._child = None

    def close(self) -> None:
        if self._child is not None:
            end([self._child])


def with_controller(roles: Roles, job: Job, mode: Mode, fallback: Fallback) -> Roles:
    """The nodes of the reference comparison, in one of the modes."""
    topology = job.spec.topology
    address = end_address(topology, topology.links["lma-controller"], "controller")
    controller = ControllerConfig(address=address, port=NORTHBOUND_PORT, fallback=fallback)
    lma = {"data_plane": mode, "controller": controller}
    mags = roles.mags
    if mode == "sdn-core":
        lma["fabric_interface"] = topology.links["lma-s1"].interface("lma")
        mags = {
            mag: msgspec.structs.replace(
                config,
                data_plane="native",
                fabric_interface=topology.links[link].interface(mag),
            )
            for (mag, config), link in zip(mags.items(), ("s2-mag1", "s3-mag2"), strict=True)
        }
    return Roles(msgspec.structs.replace(roles.lma, **lma), mags, roles.mn)


@contextlib.contextmanager
def course_with_controller(
    folder: Path, mode: Mode, fallback: Fallback = "refuse", framework: Framework = "os-ken"
) -> Iterator[tuple[Scenario, Controller]]:
    job = from_json((folder / "job.json").read_bytes(), Job, "job.json")
    for name in ("logs", "events", "wire"):
        (folder / name).mkdir(exist_ok=True)
    set_timer_slack(1)
    with contextlib.ExitStack() as stack:
        state = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        control = state / "control.sock"
        roles = configure(job.spec, folder / "events", control, job.seed)
        roles = with_controller(roles, job, mode, fallback)
        network = stack.enter_context(running(job.spec.topology, job.seed))
        controller = Controller(network, framework, folder)
        stack.callback(controller.close)
        controller.start()
        stack.enter_context(openvswitch.running(network, state / "ovs", folder / "logs"))
        children = [start(network, "lma", run_lma, roles.lma, folder)]
        stack.callback(end, children)
        for mag, config in roles.mags.items():
            children.append(start(network, mag, run_mag, config, folder))
        children.append(start(network, "mn", run_mn, roles.mn, folder))
        sniffers = [Sniffer(network, node, interface) for node, interface in LINKS]
        for sniffer in sniffers:
            stack.callback(sniffer.close)
        session = stack.enter_context(Session(control))
        bed = Testbed(network, roles, children, folder)
        course = Scenario(job, bed, session, folder, state)
        stack.callback(course.stop_traffic)
        yield course, controller
        assert not bed.ended(), f"ended during the run: {bed.ended()}"
        for sniffer in sniffers:
            sniffer.write(folder / "wire")


def move(folder: Path, mode: Mode, framework: Framework) -> dict[str, Any]:
    """Flow `a` moves to the second access at 6 s, and back at 8 s. The CN labels its packets."""
    with course_with_controller(folder, mode, framework=framework) as (course, _):
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


def away(folder: Path, mode: Mode, fallback: Fallback) -> dict[str, Any]:
    """The controller is gone at 5 s and back at 5.4 s: an order to move at 5.2 s, and at 8.5 s one
    to move, or back if that has been done."""
    with course_with_controller(folder, mode, fallback) as (course, controller):
        course.attach()
        course.start_traffic()
        course.until(5.0)
        controller.kill()
        course.until(5.2)
        course.order("a", "cell")
        (first,) = course.answers(1)
        during = course.ask("controller")
        course.until(5.4)
        controller.start()
        course.until(8.5)
        after = course.ask("controller")
        course.order("a", "wlan" if first["ok"] else "cell")
        course.until(9.5)
        return {"first": first, "during": during, "after": after, "second": course.answers(1)[0]}
