"""1,000 flows of 100 mobile nodes in the tables of the switches: what moves change there."""

from __future__ import annotations

import contextlib
import re
import select
import tempfile
import time
from collections.abc import Iterable
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

from controllers.process import run_controller
from experiments.captures.capture import Capture
from experiments.declaration.job import Job
from experiments.emulation.roles import configure
from experiments.emulation.testbed import end, start
from nodes.northbound import Flow, FlowPath, MoveFlows, PrefixPath, Sync
from nodes.strict import from_json
from tests.system.guest_checks.redirection_checks import Client
from topologies import openvswitch
from topologies.model import Role
from topologies.namespaces import Child, set_timer_slack
from topologies.network import running as network_running

NODES, FLOWS_OF_A_NODE = 100, 10
PREFIXES = [IPv6Network((0x20010DB8_AAAA_0000 + node << 64, 64)) for node in range(NODES)]
CORRESPONDENT = "2001:db8:1::2"
MAGS = ("mag1", "mag2")
# The first flow of one node, and all of another.
ONE = (421,)
ALL_OF_A_NODE = tuple(range(431, 441))
ANSWER_S = 10.0
# Until rules of paths that flows have left are gone as well.
DRAINED_S = 3.0


def flows() -> tuple[Flow, ...]:
    return tuple(
        Flow(
            key=1 + node * FLOWS_OF_A_NODE + number,
            mn=f"mn{node}",
            fid=number + 1,
            priority=number + 1,
            label=1 + node * FLOWS_OF_A_NODE + number,
            prefixes=(prefix,),
            selector={
                "start_source_address": CORRESPONDENT,
                "start_destination_address": str(prefix[1]),
                "start_next_header": 17,
                "start_source_port": 5_000 + number,
                "start_destination_port": 5_000 + number,
            },
        )
        for node, prefix in enumerate(PREFIXES)
        for number in range(FLOWS_OF_A_NODE)
    )


def moves(folder: Path) -> dict[str, Any]:
    """On the network of `job.json`, one flow moves, and then ten. Each flow is where it takes rules
    to be: at the first MAG in `sdn-core`, and away from its anchor in `sdn-assisted`."""
    spec = from_json((folder / "job.json").read_bytes(), Job, "job.json").spec
    assisted = spec.protocol.data_plane == "sdn-assisted"
    (folder / "events").mkdir()
    set_timer_slack(1)
    found: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        state = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        network = stack.enter_context(network_running(spec.topology, 1))
        roles = configure(spec, folder / "events", state / "control.sock", 1)
        children: list[Child] = []
        stack.callback(end, children)
        name = network.topology.node_with_role(Role.CONTROLLER)
        assert roles.controller is not None
        # Answers to barriers would wait behind those of 1,000 rules: docs/sdn.md.
        roles.controller.arguments["config"]["timers"]["statistics_interval_ms"] = 0
        children.append(start(network, name, run_controller, roles.controller, folder))
        opened = openvswitch.running(network, state / "ovs", folder / "logs")
        switches = stack.enter_context(opened)
        first, second = (IPv6Address(network.topology.nodes[mag].address or "") for mag in MAGS)
        now, then = (second, first) if assisted else (first, second)
        anchor = first if assisted else None

        def path(key: int, mag: IPv6Address) -> FlowPath:
            return FlowPath(key=key, mags=(mag,), anchor=anchor)

        time.sleep(1.0)
        client = stack.enter_context(contextlib.closing(Client(network)))
        sync = Sync(
            id=1,
            epoch=1,
            mode=spec.protocol.data_plane,
            prefixes=tuple(PrefixPath(prefix=prefix, mag=first) for prefix in PREFIXES),
            flows=flows(),
            paths=tuple(path(flow.key, now) for flow in flows()),
        )
        client.send(sync)
        found["sync"] = answer(client, 1)
        time.sleep(DRAINED_S)
        capture = Capture.start(network, spec)
        stack.callback(capture.close)
        tables = dump(switches)
        found["rules"] = {name: len(rules) for name, rules in tables.items()}
        for number, keys in enumerate((ONE, ALL_OF_A_NODE), 2):
            begin_ns = time.time_ns()
            client.send(MoveFlows(id=number, paths=tuple(path(key, then) for key in keys)))
            reply = answer(client, number)
            time.sleep(DRAINED_S)
            before, tables = tables, dump(switches)
            found[f"move {len(keys)}"] = {
                **reply,
                "begin_ns": begin_ns,
                "end_ns": time.time_ns(),
                "gone": {name: sorted(before[name] - tables[name]) for name in tables},
                "new": {name: sorted(tables[name] - before[name]) for name in tables},
            }
        capture.finish(folder)
    return found


def answer(client: Client, request: int) -> dict[str, Any]:
    deadline = time.monotonic() + ANSWER_S
    while str(request) not in client.replies():
        left = deadline - time.monotonic()
        assert select.select([client.socket], [], [], max(0.0, left))[0], "no answer"
        client.read()
    found: dict[str, Any] = client.replies()[str(request)]
    return found


def dump(switches: openvswitch.Switches) -> dict[str, set[str]]:
    """All rules by switch, without their counters."""
    names: Iterable[str] = switches.topology.switches
    return {
        name: set(
            re.findall(r"cookie=.*", switches.ofctl("dump-flows", name, "--no-stats", "--no-names"))
        )
        for name in names
    }
