"""Moves with a controller on the switched network: courses for captures to judge."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from experiments.job import Job
from experiments.roles import Roles, configure
from experiments.testbed import Testbed, end, start
from nodes.control_client import Session
from nodes.controller_config import ControllerConfig, Fallback
from nodes.daemons import run_lma, run_mag, run_mn
from nodes.strict import from_json
from tests.system.guest_checks.northbound_stub import run_stub
from tests.system.guest_checks.scenario import Scenario, Sniffer
from topologies import openvswitch
from topologies.namespaces import Child, fork_into, set_timer_slack, socket_in
from topologies.network import running
from topologies.plan import end_address

Mode = Literal["sdn-core", "sdn-assisted"]
PORT = 6_680
LINKS = (
    ("cn", "cn-lma"),
    ("lma", "lma-s1"),
    ("mag1", "mag1-s2"),
    ("mag2", "mag2-s3"),
    ("mn", "mn-wlan"),
    ("mn", "mn-cell"),
)


def with_controller(roles: Roles, job: Job, mode: Mode, fallback: Fallback) -> Roles:
    """The nodes of the reference comparison, in one of the modes."""
    topology = job.spec.topology
    address = end_address(topology, topology.links["lma-controller"], "controller")
    controller = ControllerConfig(address=address, port=PORT, fallback=fallback)
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
    folder: Path, mode: Mode, fallback: Fallback = "refuse"
) -> Iterator[tuple[Scenario, Child]]:
    """The course, and the controller's process."""
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
        switches = stack.enter_context(openvswitch.running(network, state / "ovs", folder / "logs"))
        assert roles.lma.controller is not None
        stub = fork_into(
            network.namespace("controller"),
            run_stub,
            switches,
            roles.lma.controller.address,
            PORT,
            log=folder / "logs" / "controller.txt",
        )
        stack.callback(end, [stub])
        time.sleep(0.5)
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
        yield course, stub
        assert not bed.ended(), f"ended during the run: {bed.ended()}"
        for sniffer in sniffers:
            sniffer.write(folder / "wire")


def move(folder: Path, mode: Mode) -> dict[str, Any]:
    """Flow `a` moves to the second access at 6 s, and back at 8 s. The CN labels its packets."""
    with course_with_controller(folder, mode) as (course, _):
        namespace = course.network.namespace("cn")
        sysctl = Path("/proc/sys/net/ipv6/auto_flowlabels")
        socket_in(namespace, lambda: sysctl.write_text("1"))
        course.attach()
        course.start_traffic()
        course.until(6.0)
        course.order("a", "cell")
        course.until(8.0)
        course.order("a", "wlan")
        course.until(9.5)
        return {"answers": course.answers(2), "controller": course.ask("controller")}


def away(folder: Path, mode: Mode) -> dict[str, Any]:
    """The controller is gone at 5 s: flow `a` moves all the same, through the LMA's tunnels."""
    with course_with_controller(folder, mode, "tunnel") as (course, stub):
        course.attach()
        course.start_traffic()
        course.until(5.0)
        stub.kill()
        course.until(6.0)
        course.order("a", "cell")
        course.until(9.5)
        return {"answers": course.answers(1), "controller": course.ask("controller")}
