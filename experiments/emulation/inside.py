"""One run, carried out: the same code in a guest of either kind and on a host kernel.

Knows only that it is root on some Linux. Reads `job.json` in its folder, brings the testbed up,
starts traffic and capture, orders the moves at their instants, and leaves captures, events, logs
and an outcome in the folder.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import msgspec
from msgspec.structs import replace

from experiments.captures.capture import Capture
from experiments.declaration.access_events import AccessEvent, instant_s
from experiments.declaration.flow_groups import orders
from experiments.declaration.flows import MptcpDownload, QuicDownload
from experiments.declaration.job import Job, write_atomically
from experiments.declaration.placements import placements
from experiments.declaration.spec import LinkChange, RunSpec, UplinkMove
from experiments.emulation.mptcp_traffic import (
    correspondent_paths,
    manage_paths,
    mobile_paths,
    reconnections,
)
from experiments.emulation.signalling_loss import lose_signalling
from experiments.emulation.testbed import (
    RunFailed,
    access_addresses,
    bind_flows,
    bind_request,
    end,
    testbed,
)
from experiments.emulation.traffic import (
    Reconnection,
    fetch_tcp,
    run_start,
    send_udp,
    serve_tcp,
    sleep_until,
    tcp_transfers,
    udp_streams,
)
from experiments.engines.base import OUTCOME
from nodes.control_client import ControlError, Session
from nodes.control_client import request as control_request
from nodes.event_log import EventWriter
from nodes.strict import from_json, to_json
from nodes.wire.messages import HandoffHint
from topologies.crowd import mobile_nodes, numbered
from topologies.model import Role
from topologies.namespaces import Child, fork_into
from topologies.network import DIRECTIONS, Network
from topologies.openvswitch import Switches

NANOSECONDS = 1_000_000_000
# Second 0 is at least this far ahead of what starts the clock: everything is up by then.
LEAD_S = 0.5
BIND_AFTER_ATTACH_S = 1.0
# Of that, the time within which all of several mobile nodes attach.
ATTACH_WITHIN_S = 0.5
# How long a move waits for the session that it is to go to: dynamic attachment.
AWAIT_MS = 5_000
# Second 0 as recorded is a whole multiple of this, whatever the two clocks are apart.
START_GRID_NS = 10_000
LINUX_REBOOT_CMD_POWER_OFF = 0x4321FEDC


def carry_out(folder: Path) -> None:
    """Carry out the run in `folder`. Raises RunFailed or what went wrong."""
    job = from_json((folder / "job.json").read_bytes(), Job, "job.json")
    with contextlib.ExitStack() as stack:
        state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flowmob-")))
        bed = stack.enter_context(testbed(job.spec, job.seed, folder, state / "control.sock"))
        capture = Capture.start(bed.network, job.spec)
        stack.callback(capture.close)
        start_ns = run_start(LEAD_S)
        unix_start_ns = start_ns + time.time_ns() - time.monotonic_ns()
        recorded = round(unix_start_ns / START_GRID_NS) * START_GRID_NS
        job = msgspec.structs.replace(job, start_ns=recorded)
        write_atomically(folder / "job.json", to_json(job))
        events = stack.enter_context(EventWriter(folder / "events" / "runner.jsonl", "runner"))
        session = stack.enter_context(Session(state / "control.sock"))
        node = job.spec.topology.node_with_role(Role.MN)
        mn_session = stack.enter_context(Session(state / f"{node}.sock"))
        schedule = _Schedule(
            job, bed.network, bed.switches, session, mn_session, events, start_ns, folder, state
        )
        try:
            schedule.run()
        except ControlError:
            # The LMA's end is the reason, and not that its socket is gone.
            if not bed.ended():
                raise
        ended = bed.ended()
        if ended:
            raise RunFailed(f"ended during the run: {', '.join(ended)}; see logs/")
        capture.finish(folder)


class _Schedule:
    """Everything that a run does at its instant, from second 0 to its end."""

    def __init__(
        self,
        job: Job,
        network: Network,
        switches: Switches | None,
        session: Session,
        mn_session: Session,
        events: EventWriter,
        start_ns: int,
        folder: Path,
        state: Path,
    ) -> None:
        self._job = job
        self._network = network
        self._switches = switches
        self._session = session
        self._mn_session = mn_session
        self._events = events
        self._start_ns = start_ns
        self._folder = folder
        self._state = state
        self._traffic: list[Child] = []
        self._orders: dict[int, str] = {}
        self._addresses: dict[str, IPv6Address] = {}
        self._to_attach = {entry.access for entry in job.spec.attachments if entry.dynamic}
        self._mn_orders: dict[int, str] = {}
        self._placements = placements(job.spec, job.decisions_s)

    def run(self) -> None:
        spec = self._job.spec
        last_attachment = max((entry.at_s for entry in spec.attachments), default=0.0)
        steps: list[tuple[float, Callable[[], None]]] = [
            *self._attachments(),
            (last_attachment + BIND_AFTER_ATTACH_S, self._bind),
            *((at_s, _call(self._move, n)) for n, at_s in enumerate(self._job.decisions_s)),
            *(
                (self._instant_s(move), _call(self._move_uplink, move))
                for move in spec.uplink_moves
            ),
            *(
                (self._instant_s(event), _call(self._happen, event))
                for event in spec.events.values()
            ),
            *((entry.at_s, _call(self._change, entry)) for entry in self._job.changes),
        ]
        try:
            for at_s, step in sorted(steps, key=lambda step: step[0]):
                self._sleep_until(at_s)
                step()
            self._sleep_until(spec.duration_s)
            self._log_answers(self._session, self._orders)
            self._log_answers(self._mn_session, self._mn_orders)
            self._log_rules()
        finally:
            end(self._traffic)

    def _attachments(self) -> Iterator[tuple[float, Callable[[], None]]]:
        """Mobile nodes attach one after the other."""
        spec = self._job.spec
        mns = len(mobile_nodes(spec.topology))
        for entry in spec.attachments:
            for number in range(1, mns + 1):
                at_s = entry.at_s + ATTACH_WITHIN_S * (number - 1) / mns
                yield at_s, _call(self._attach, numbered(entry.access, number))

    def _log_answers(self, session: Session, orders: Mapping[int, str]) -> None:
        for reply in session.replies(len(orders)):
            answer = {key: value for key, value in reply.items() if key != "id"}
            self._events.write("answered", {"order": orders[reply["id"]], **answer})

    def _log_rules(self) -> None:
        if self._switches is not None:
            names = self._job.spec.topology.switches
            rules = {name: self._switches.rule_count(name) for name in names}
            self._events.write("rules", {"rules": rules})

    def _sleep_until(self, at_s: float) -> None:
        sleep_until(self._start_ns + round(at_s * NANOSECONDS))

    def _attach(self, access: str) -> None:
        self._events.write("attach", {"access": access})
        self._network.set_access(access, True)

    def _instant_s(self, event: AccessEvent | UplinkMove) -> float:
        return instant_s(event.at_s, self._job.spec.decision_spread_ms, self._job.seed)

    def _happen(self, event: AccessEvent) -> None:
        """What the network has to do with it; applications and the MN's kernel do their own part
        (`experiments.emulation.traffic`, `experiments.emulation.mptcp_traffic`)."""
        self._events.write(event.do, {"access": event.access})
        if event.do in ("handover", "link-down"):
            self._network.set_access(event.access, event.do == "handover")

    def _bind(self) -> None:
        spec = self._job.spec
        self._addresses = bind_flows(spec, self._session)
        if spec.protocol.decision_maker == "mn" or spec.protocol.uplink == "own":
            for name, address in self._addresses.items():
                start = spec.flows[name].start
                self._mn_session.request(bind_request(spec, name, address, start))
        on_access = access_addresses(self._session.request({"op": "bindings"})["result"])
        logs = self._folder / "logs"
        for child in _paths(self._network, self._job, on_access, self._start_ns, logs):
            self._traffic.append(child)
        later = reconnections(spec, self._job.seed, on_access)
        for child in _traffic(self._network, spec, self._addresses, later, self._start_ns, logs):
            self._traffic.append(child)
        for child in _losses(self._network, self._job, self._folder):
            self._traffic.append(child)

    def _change(self, change: LinkChange) -> None:
        given = {"delay_ms": change.delay_ms, "rate_mbit": change.rate_mbit, "loss": change.loss}
        values = {name: value for name, value in given.items() if value is not None}
        for direction in DIRECTIONS:
            if values and change.direction in (direction, "both"):
                before = self._network.direction(change.link, direction)
                self._network.change_link(change.link, direction, replace(before, **values))
        if change.quality is not None or change.load is not None:
            link = self._job.spec.topology.links[change.link]
            mag = link.ends[0]
            request = {
                "op": "report-link",
                "interface": link.interface(mag),
                "quality": change.quality,
                "load": change.load,
            }
            control_request(self._state / f"{mag}.sock", request)

    def _move(self, number: int) -> None:
        spec = self._job.spec
        order, address = spec.moves[number], self._addresses[spec.moves[number].flow]
        what = f"{order.flow} to {order.to}"
        self._events.write("order", {"flow": order.flow, "to": order.to, "move": number + 1})
        if spec.protocol.decision_maker == "mn":
            decision = bind_request(spec, order.flow, address, order.to)
            self._mn_orders[self._mn_session.send(decision)] = what
            return
        targets = self._placements[number].targets
        to = targets[0] if len(targets) == 1 else targets
        for request in orders(spec, order, address, to):
            if order.to in self._to_attach:
                self._to_attach.remove(order.to)
                request["await_ms"] = AWAIT_MS
                self._attach_to_session(order.to, address)
            self._orders[self._session.send(request)] = what

    def _move_uplink(self, move: UplinkMove) -> None:
        """What the MN decides, and the LMA doesn't follow."""
        decision = bind_request(self._job.spec, move.flow, self._addresses[move.flow], move.to)
        self._mn_orders[self._mn_session.send(decision)] = f"uplink of {move.flow} to {move.to}"

    def _attach_to_session(self, access: str, address: IPv6Address) -> None:
        """Order the MN to attach its interface to the session that has `address`."""
        topology = self._job.spec.topology
        interface = topology.access_link(access).interface(topology.node_with_role(Role.MN))
        prefixes = next(
            entry["prefixes"]
            for entry in self._session.request({"op": "bindings"})["result"]
            if any(address in IPv6Network(prefix) for prefix in entry["prefixes"])
        )
        request = {
            "op": "attach",
            "interface": interface,
            "handoff_indicator": int(HandoffHint.NEW_INTERFACE_SHARING_PREFIXES),
            "prefixes": prefixes,
        }
        self._mn_orders[self._mn_session.send(request)] = f"attach to {access}"


def _traffic(
    network: Network,
    spec: RunSpec,
    addresses: Mapping[str, IPv6Address],
    later: Mapping[str, Reconnection],
    start_ns: int,
    logs: Path,
) -> Iterator[Child]:
    cn = spec.topology.node_with_role(Role.CORRESPONDENT)
    mns = mobile_nodes(spec.topology)

    def start(node: str, name: str, function: Callable[..., None], what: object) -> Child:
        log = logs / f"{name}.txt"
        return fork_into(network.namespace(node), function, what, start_ns, log=log, name=name)

    senders = [(cn, udp_streams(spec, "cn", addresses))]
    senders += [(mn, udp_streams(spec, "mn", addresses, n)) for n, mn in enumerate(mns, start=1)]
    for node, streams in senders:
        if streams:
            yield start(node, f"udp-{node}", send_udp, streams)
    flows = list(spec.flows.values())
    for transfer in tcp_transfers(spec, addresses, later):
        mn = mns[flows[transfer.fid - 1].mn - 1]
        yield start(cn, f"tcp-{transfer.fid}-{cn}", serve_tcp, transfer)
        yield start(mn, f"tcp-{transfer.fid}-{mn}", fetch_tcp, transfer)
    if not any(isinstance(flow, QuicDownload) for flow in flows):
        return
    # Only these runs pay for it, in time and memory.
    from experiments.emulation.quic_traffic import fetch_quic, quic_transfers, serve_quic

    for download in quic_transfers(spec, addresses, later, logs.parent):
        mn = mns[flows[download.fid - 1].mn - 1]
        yield start(cn, f"quic-{download.fid}-{cn}", serve_quic, download)
        yield start(mn, f"quic-{download.fid}-{mn}", fetch_quic, download)


def _paths(
    network: Network,
    job: Job,
    addresses: Mapping[str, IPv6Address],
    start_ns: int,
    logs: Path,
) -> Iterator[Child]:
    """Those who manage the paths of Multipath TCP, if there is any."""
    if not any(isinstance(flow, MptcpDownload) for flow in job.spec.flows.values()):
        return
    nodes = {
        Role.CORRESPONDENT: correspondent_paths(job.spec),
        Role.MN: mobile_paths(job.spec, job.seed, addresses),
    }
    for role, paths in nodes.items():
        node = job.spec.topology.node_with_role(role)
        name = f"paths-{node}"
        log = logs / f"{name}.txt"
        yield fork_into(network.namespace(node), manage_paths, paths, start_ns, log=log, name=name)


def _losses(network: Network, job: Job, folder: Path) -> Iterator[Child]:
    loss = job.spec.signalling_loss
    if loss is None:
        return
    for node, role in ((name, node.role) for name, node in job.spec.topology.nodes.items()):
        if role in (Role.LMA, Role.MAG):
            name = f"loss-{node}"
            log, events = folder / "logs" / f"{name}.txt", folder / "events" / f"{name}.jsonl"
            yield fork_into(
                network.namespace(node),
                lose_signalling,
                *(loss, job.seed, node, events),
                log=log,
                name=name,
            )


def _call(function: Callable[..., None], *args: object) -> Callable[[], None]:
    return lambda: function(*args)


def leave(status: int, power_off: bool) -> int:
    """The end of a guest's only program: power the guest off; elsewhere hand `status` on."""
    sys.stdout.flush()
    if power_off:
        os.sync()
        ctypes.CDLL(None).reboot(LINUX_REBOOT_CMD_POWER_OFF)
    return status


def main(arguments: list[str]) -> int:
    """`FOLDER [--power-off]`: carry out the run in FOLDER; leaves `outcome.json` in any case."""
    folder = Path(arguments[0])
    failure: str | None = None
    try:
        carry_out(folder)
    except RunFailed as error:
        failure = str(error)
    except BaseException as error:  # whatever it is, the outcome has to say it
        traceback.print_exc()
        failure = f"{type(error).__name__}: {error}"
    try:
        write_atomically(folder / OUTCOME, json.dumps({"failure": failure}).encode())
    finally:
        status = leave(0 if failure is None else 1, "--power-off" in arguments)
    return status


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
