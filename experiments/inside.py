"""One run, carried out: the same code in a guest of either kind and on a host kernel.

Knows only that it is root on some Linux. Reads `job.json` in its folder, builds the network, starts
daemons, traffic and capture, orders the moves at their instants, and leaves captures, events, logs
and an outcome in the folder.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import select
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

from experiments.capture import Capture
from experiments.engines.base import OUTCOME
from experiments.job import Job, write_atomically
from experiments.namespaces import Child, fork_into
from experiments.roles import INTERFACE_ID, MN_ID, Roles, configure
from experiments.spec import RunSpec, TcpDownload, UdpFlow
from experiments.traffic import (
    correspondent_address,
    fetch_tcp,
    flow_ids,
    run_start,
    send_udp,
    serve_tcp,
    sleep_until,
    tcp_transfers,
    udp_streams,
)
from nodes.control_client import Session
from nodes.daemons import run_lma, run_mag, run_mn
from nodes.event_log import EventWriter
from nodes.strict import from_json, to_json
from topologies.model import Role
from topologies.network import Network, running

NANOSECONDS = 1_000_000_000
READY_LIMIT_S = 30.0
# Time for the traffic processes to start before second 0, and for packets to drain at the end.
LEAD_S = 0.5
BIND_AFTER_ATTACH_S = 1.0
DAEMON_EXIT_LIMIT_S = 10.0
LINUX_REBOOT_CMD_POWER_OFF = 0x4321FEDC


class RunFailed(RuntimeError):
    """The run did not go through; the text is the reason that people read."""


def carry_out(folder: Path) -> None:
    """Carry out the run in `folder`. Raises RunFailed or what went wrong."""
    job = from_json((folder / "job.json").read_bytes(), Job, "job.json")
    spec = job.spec
    (folder / "logs").mkdir(exist_ok=True)
    (folder / "events").mkdir(exist_ok=True)
    state = Path(os.environ.get("TMPDIR", "/tmp")) / f"flowmob-{os.getpid()}"
    state.mkdir(mode=0o700)
    # What is loaded by now is shared with the forked processes; collecting it would copy it.
    gc.freeze()
    roles = configure(spec, folder / "events", state / "control.sock", job.seed)
    with running(spec.topology, job.seed) as network, contextlib.ExitStack() as stack:
        capture = Capture.start(network, spec)
        stack.callback(capture.close)
        daemons = stack.enter_context(_daemons(network, roles, folder))
        start_ns = run_start(LEAD_S)
        unix_start_ns = start_ns + time.time_ns() - time.monotonic_ns()
        job = Job(**{**_fields(job), "start_ns": round(unix_start_ns, -4)})
        write_atomically(folder / "job.json", to_json(job))
        events = stack.enter_context(EventWriter(folder / "events" / "runner.jsonl", "runner"))
        with Session(roles.lma.control_socket) as session:
            run_schedule(job, network, session, events, start_ns, folder)
        failed = [child.name for child in daemons if _ended(child)]
        if failed:
            raise RunFailed(f"ended during the run: {', '.join(failed)}; see logs/")
        capture.finish(folder)


def _fields(job: Job) -> dict[str, Any]:
    return {name: getattr(job, name) for name in job.__struct_fields__}


def run_schedule(
    job: Job,
    network: Network,
    session: Session,
    events: EventWriter,
    start_ns: int,
    folder: Path,
) -> None:
    """Do everything that a run does at its instant, from second 0 to its end."""
    spec = job.spec
    ids = flow_ids(spec)
    traffic: list[Child] = []
    pending: dict[int, str] = {}

    def attach(access: str) -> None:
        events.write("attach", {"access": access})
        network.set_access(access, True)

    def bind() -> None:
        addresses = flow_addresses(spec, session.request({"op": "bindings"})["result"])
        for name, flow in spec.flows.items():
            session.request(_add_flow(spec, ids[name], flow, addresses[name]))
        traffic.extend(_traffic(network, spec, addresses, start_ns, folder))

    def move(number: int) -> None:
        order = spec.moves[number]
        events.write("order", {"flow": order.flow, "to": order.to, "move": number + 1})
        request = {"op": "move-flow", "mn": MN_ID, "fid": ids[order.flow], "to": order.to}
        pending[session.send(request)] = f"{order.flow} to {order.to}"

    last_attachment = max((entry.at_s for entry in spec.attachments), default=0.0)
    steps: list[tuple[float, Callable[[], None]]] = [
        *((entry.at_s, _call(attach, entry.access)) for entry in spec.attachments),
        (last_attachment + BIND_AFTER_ATTACH_S, bind),
        *((at_s, _call(move, number)) for number, at_s in enumerate(job.decisions_s)),
    ]
    try:
        for at_s, step in sorted(steps, key=lambda step: step[0]):
            sleep_until(start_ns + round(at_s * NANOSECONDS))
            step()
        sleep_until(start_ns + round(spec.duration_s * NANOSECONDS))
        for reply in session.replies(len(pending)):
            what = pending.pop(reply["id"])
            events.write("answered", {"order": what, **{k: reply[k] for k in reply if k != "id"}})
    finally:
        for child in traffic:
            child.terminate()
        for child in traffic:
            child.wait(DAEMON_EXIT_LIMIT_S)


def flow_addresses(spec: RunSpec, bindings: list[dict[str, Any]]) -> dict[str, IPv6Address]:
    """The MN's address for each flow: in a prefix that the flow's anchor has for itself, or in the
    shared one if it has none of its own. Raises RunFailed if an access is not registered."""
    registered = {
        entry["access"]: [IPv6Network(prefix) for prefix in entry["prefixes"]]
        for entry in bindings
        if entry["mn"] == MN_ID and entry["state"] == "registered"
    }
    addresses: dict[str, IPv6Address] = {}
    for name, flow in spec.flows.items():
        for access in (flow.anchor, flow.start):
            if access not in registered:
                raise RunFailed(f"flow {name}: access {access} is not registered at the LMA")
        others = {
            prefix
            for access, prefixes in registered.items()
            if access != flow.anchor
            for prefix in prefixes
        }
        own = registered[flow.anchor]
        prefix = next((prefix for prefix in own if prefix not in others), own[0])
        addresses[name] = prefix[INTERFACE_ID]
    return addresses


def _add_flow(
    spec: RunSpec, fid: int, flow: UdpFlow | TcpDownload, address: IPv6Address
) -> dict[str, Any]:
    udp = isinstance(flow, UdpFlow)
    selector: dict[str, Any] = {
        "start_source_address": str(correspondent_address(spec)),
        "start_destination_address": str(address),
        "start_next_header": 17 if udp else 6,
        "start_source_port": flow.port,
    }
    if udp:
        selector["start_destination_port"] = flow.port
    return {
        "op": "add-flow",
        "mn": MN_ID,
        "fid": fid,
        "priority": 10 * fid,
        "selector": selector,
        "to": flow.start,
    }


def _traffic(
    network: Network,
    spec: RunSpec,
    addresses: Mapping[str, IPv6Address],
    start_ns: int,
    folder: Path,
) -> Iterator[Child]:
    logs = folder / "logs"
    cn = spec.topology.node_with_role(Role.CORRESPONDENT)
    mn = spec.topology.node_with_role(Role.MN)
    for node, side in ((cn, "cn"), (mn, "mn")):
        streams = udp_streams(spec, side, addresses)  # type: ignore[arg-type]
        if streams:
            yield fork_into(
                network.namespace(node),
                send_udp,
                streams,
                start_ns,
                log=logs / f"udp-{node}.txt",
                name=f"udp-{node}",
            )
    for transfer in tcp_transfers(spec, addresses):
        for node, function in ((cn, serve_tcp), (mn, fetch_tcp)):
            name = f"tcp-{transfer.fid}-{node}"
            yield fork_into(
                network.namespace(node),
                function,
                transfer,
                start_ns,
                log=logs / f"{name}.txt",
                name=name,
            )


@contextlib.contextmanager
def _daemons(network: Network, roles: Roles, folder: Path) -> Iterator[list[Child]]:
    """The LMA, the MAGs and the MN, each ready to serve; ended on leaving."""
    children: list[Child] = []

    def start(node: str, main: Callable[..., None], config: object) -> None:
        reader, writer = os.pipe()
        log = folder / "logs" / f"{node}.txt"
        children.append(
            fork_into(
                network.namespace(node), _serve, main, config, node, writer, log=log, name=node
            )
        )
        os.close(writer)
        try:
            if not select.select([reader], [], [], READY_LIMIT_S)[0] or not os.read(reader, 1):
                raise RunFailed(f"{node} did not start:\n{log.read_text(errors='replace')}")
        finally:
            os.close(reader)

    topology = network.topology
    try:
        start(topology.node_with_role(Role.LMA), run_lma, roles.lma)
        for mag, config in roles.mags.items():
            start(mag, run_mag, config)
        start(topology.node_with_role(Role.MN), run_mn, roles.mn)
        yield children
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait(DAEMON_EXIT_LIMIT_S)


def _serve(main: Callable[..., None], config: object, node: str, writer: int) -> None:
    def ready() -> None:
        os.write(writer, b"r")
        os.close(writer)

    main(config, node, ready)


def _ended(child: Child) -> bool:
    return bool(select.select([child.pidfd], [], [], 0)[0])


def _call(function: Callable[..., None], *args: object) -> Callable[[], None]:
    return lambda: function(*args)


def main(arguments: list[str]) -> int:
    """`FOLDER [--power-off]`: carry out the run in FOLDER; leaves `outcome.json` in any case."""
    folder = Path(arguments[0])
    failure: str | None = None
    try:
        carry_out(folder)
    except RunFailed as error:
        failure = str(error)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the outcome has to say it
        traceback.print_exc()
        failure = f"{type(error).__name__}: {error}"
    try:
        write_atomically(folder / OUTCOME, json.dumps({"failure": failure}).encode())
    finally:
        sys.stdout.flush()
        if "--power-off" in arguments:
            os.sync()
            ctypes.CDLL(None).reboot(LINUX_REBOOT_CMD_POWER_OFF)
    return 0 if failure is None else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
