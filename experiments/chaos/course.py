"""A scenario, carried out: its faults at their instants, traffic, and the looks at all nodes."""

from __future__ import annotations

import random
import socket
from collections import Counter
from collections.abc import Callable
from functools import partial
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any

from experiments.chaos.agents import Agents
from experiments.chaos.control import Client, ControlLost
from experiments.chaos.core_faults import CoreFaults
from experiments.chaos.domain import (
    CN,
    CN_ADDRESS,
    CORE,
    LMA,
    LMA_ADDRESS,
    lma_config,
    mag_address,
)
from experiments.chaos.looking import Looks
from experiments.chaos.loop import Loop
from experiments.chaos.operator import Operator
from experiments.chaos.probes import SPOOFED, Probe, payload, udp_packet
from experiments.chaos.record import Recorder
from experiments.chaos.scenario import (
    AddFlow,
    AnyFault,
    Attach,
    Detach,
    Disturb,
    Flap,
    ForceRegistration,
    Garbage,
    Kill,
    MoveFlow,
    Partition,
    Policy,
    RemoveFlow,
    Report,
    Revoke,
    Scenario,
    Spoof,
    link_name,
    mag_name,
)
from experiments.chaos.users import Users
from experiments.emulation.roles import INTERFACE_ID, mn_id
from experiments.emulation.testbed import RunFailed
from nodes.config import MobileNodePolicy
from topologies.namespaces import socket_in
from topologies.network import Network
from topologies.plan import MAG_MAC, mac

# After a fault, the state is looked at again: while what it caused is under way, and later.
LOOK_AGAIN_S = (0.013, 1.7)
ATTACH_AFTER_S = 0.05
# So long after all have to agree nothing happens but traffic.
AFTER_S, UPLINK_AFTER_S = 3.0, 1.0
REACHED = 5999
ETHERTYPE_IPV6 = bytes.fromhex("86dd")


class Course:
    def __init__(
        self,
        scenario: Scenario,
        network: Network,
        agents: Agents,
        loop: Loop,
        recorder: Recorder,
        folder: Path,
        state: Path,
    ) -> None:
        self._scenario = scenario
        self._network = network
        self._agents = agents
        self._loop = loop
        self._recorder = recorder
        self._folder = folder
        self._state = state
        rng = random.Random(f"chaos core {scenario.seed}")
        self._core = socket_in(network.namespace(CORE), lambda: CoreFaults(rng, loop.later))
        self._looks = Looks(network, agents, state)
        self._operator = Operator(scenario, self._looks, loop, recorder, state)
        self._users = Users(scenario, network, loop, recorder)
        loop.watch(self._core.queue, self._core.look)
        self._policies: dict[int, MobileNodePolicy] = {}
        self._down: Counter[str] = Counter()
        # Access links: by how many reasons each is up, and down all the same.
        self._wanted: Counter[str] = Counter()
        self._broken: Counter[str] = Counter()
        self._up: set[str] = set()
        self._attaching: dict[str, Attach] = {}

    def close(self) -> None:
        self._users.close()
        self._looks.close()
        self._core.close()

    def run(self) -> None:
        """Raises RunFailed if a daemon doesn't start, or ends by itself; NoAnswer."""
        scenario, loop = self._scenario, self._loop
        for fault in scenario.faults:
            loop.at(fault.at_s, partial(self._begin, fault))
        for at_s in scenario.agreed_s:
            loop.at(at_s - scenario.quiet_s, self._mend)
            loop.at(at_s, self._agree)
        loop.at(scenario.look_every_s, self._look_regularly)
        loop.at(scenario.end_s + AFTER_S + 1.0, self._all_go)
        loop.run(scenario.duration_s + AFTER_S + 1.0)
        self.look("nobody", everything=True)

    def look(self, why: str, *, everything: bool = False) -> None:
        self._check_running()
        nodes = self._looks.look(everything=everything)
        self._recorder.write(self._loop.seconds, "look", why=why, nodes=nodes, up=sorted(self._up))
        lma = nodes[LMA]
        if lma["running"]:
            self._users.know(lma["bindings"])

    def _look_regularly(self) -> None:
        self.look("regular")
        self._loop.later(self._scenario.look_every_s, self._look_regularly)

    def _agree(self) -> None:
        self.look("agreed", everything=True)
        # A node answers where it was sent to last; so the way up is judged after the way down.
        self._users.send_all(up=False)
        self._loop.later(UPLINK_AFTER_S, partial(self._users.send_all, up=True))
        self._loop.later(AFTER_S, partial(self.look, "still agreed", everything=True))

    def _mend(self) -> None:
        """From here on nobody does anything but what has been forgotten: a mobile node whose
        attachment was refused or got no answer asks again, and what an LMA forgot is ordered."""
        for link in sorted(self._up):
            self._order_attachment(link)
        self._operator.order_again()

    def _all_go(self) -> None:
        """The end: nothing is left afterwards."""
        self._users.stop()
        self._operator.remove_all()
        for link in list(self._up):
            self._wanted[link] = 0
            self._set(link)

    def _check_running(self) -> None:
        for child in self._agents.ended():
            text = child.log.read_text(errors="replace").rstrip().splitlines()
            raise RunFailed(f"{child.name} ended by itself: {text[-1] if text else 'no output'}")

    # Faults

    def _begin(self, fault: AnyFault) -> None:
        self.look("before")
        self._recorder.write(self._loop.seconds, "fault", fault=fault)
        self._happen(fault)
        for seconds in LOOK_AGAIN_S:
            self._loop.later(seconds, partial(self.look, "after"))

    def _happen(self, fault: AnyFault) -> None:
        match fault:
            case Attach():
                self._attach(fault)
            case Flap():
                self._flap(link_name(fault.access, fault.mn), fault.times, fault.period_s)
            case Kill(node=node, for_s=for_s, politely=politely):
                self._end(node, politely)
                self._loop.later(for_s, partial(self._start, node))
            case Policy(mn=mn, policy=policy):
                self._policies[mn] = policy
                events = self._folder / "events"
                config = lma_config(self._scenario, events, self._state, self._policies)
                self._agents.configure_lma(config)
                self._end(LMA, politely=True)
                self._start(LMA)
            case Partition() | Disturb():
                self._core.begin(fault)
                self._loop.later(fault.for_s, partial(self._core.end, fault))
            case Detach(mn=mn, access=access):
                link = link_name(access, mn)
                self._order_at_mn(link, {"op": "detach"})
                self._loop.later(fault.for_s, partial(self._order_attachment, link))
            case Spoof():
                self._spoof(fault)
            case Garbage():
                self._garbage(fault)
            case _:
                self._order(fault)

    def _order(self, fault: AnyFault) -> None:
        match fault:
            case AddFlow(flow=flow, to=to, drop=drop):
                self._operator.add_flow(flow, to, drop, self._users.address(flow))
            case MoveFlow(flow=flow, to=to):
                self._operator.move_flow(flow, to, everything=fault.all)
            case RemoveFlow(flow=flow):
                self._operator.remove_flow(flow)
            case Revoke():
                self._operator.revoke(fault)
            case ForceRegistration(mn=mn, mag=mag):
                which = {"mn": mn_id(mn)} if mn is not None else {"mag": str(mag_address(mag or 1))}
                self._operator.order(LMA, {"op": "force-registration", **which})
            case Report(mn=mn, access=access):
                link = self._network.topology.links[link_name(access, mn)]
                request = {
                    "op": "report-link",
                    "interface": link.interface(link.ends[0]),
                    "quality": fault.quality,
                    "load": fault.load,
                }
                self._operator.order(link.ends[0], request)

    def _end(self, node: str, politely: bool) -> None:
        """Two faults may want it ended at a time; it starts when both are over."""
        if self._down[node] == 0:
            status = self._agents.end(node, politely=politely)
            if politely and status != 0:
                raise RunFailed(f"{node}, asked to end, ended with status {status}")
        self._down[node] += 1

    def _start(self, node: str) -> None:
        self._down[node] -= 1
        if self._down[node] == 0:
            self._agents.start(node)
            self._recorder.write(self._loop.seconds, "started", node=node)
            if node == LMA:
                self._operator.restarted()

    # Access links

    def _attach(self, fault: Attach) -> None:
        link = link_name(fault.access, fault.mn)
        self._wanted[link] += 1
        self._attaching[link] = fault
        if link in self._up:
            self._order_attachment(link)
        self._set(link)
        if fault.for_s is not None:
            self._loop.later(fault.for_s, partial(self._leave, link))

    def _leave(self, link: str) -> None:
        self._wanted[link] -= 1
        self._set(link)

    def _flap(self, link: str, times: int, period_s: float) -> None:
        for number in range(times):
            self._loop.later(number * period_s, partial(self._break, link, 1))
            self._loop.later((number + 0.5) * period_s, partial(self._break, link, -1))

    def _break(self, link: str, by: int) -> None:
        self._broken[link] += by
        self._set(link)

    def _set(self, link: str) -> None:
        up = self._wanted[link] > 0 and self._broken[link] == 0
        if up == (link in self._up):
            return
        self._network.set_access(link, up)
        self._recorder.write(self._loop.seconds, "link", link=link, up=up)
        if up:
            self._up.add(link)
            self._loop.later(ATTACH_AFTER_S, partial(self._order_attachment, link))
        else:
            self._up.discard(link)

    def _order_attachment(self, link: str) -> None:
        """With layer-2 signalling nodes attach by order, once."""
        if self._scenario.attachment == "link" or link not in self._up:
            return
        fault = self._attaching.pop(link, None)
        request: dict[str, Any] = {"op": "attach"}
        if fault is not None and fault.handoff is not None and fault.session is not None:
            prefixes = self._users.prefixes(fault.mn, fault.session)
            if prefixes:
                request |= {"handoff_indicator": fault.handoff, "prefixes": prefixes}
        elif self._attached(link):
            return
        self._order_at_mn(link, request)

    def _attached(self, link: str) -> bool:
        node, interface = self._mobile_end(link)
        status = self._looks.ask(node, {"op": "status"})
        return any(
            entry["interface"] == interface and entry["attachment"] in ("attached", "requested")
            for entry in status
        )

    def _order_at_mn(self, link: str, request: dict[str, Any]) -> None:
        if self._scenario.attachment == "layer-2":
            node, interface = self._mobile_end(link)
            self._operator.order(node, {**request, "interface": interface})

    def _mobile_end(self, link: str) -> tuple[str, str]:
        found = self._network.topology.links[link]
        return found.ends[1], found.interface(found.ends[1])

    # Bad input

    def _spoof(self, fault: Spoof) -> None:
        link = link_name(fault.access, fault.mn)
        node, interface = self._mobile_end(link)
        prefixes = self._users.all_prefixes(fault.victim)
        if link not in self._up or not prefixes:
            return
        probe = Probe(SPOOFED, 0, fault.mn, 0)
        source = IPv6Network(prefixes[0])[INTERFACE_ID]
        own = mac(self._network.topology, link, node)
        frame = bytes.fromhex((MAG_MAC + own).replace(":", "")) + ETHERTYPE_IPV6
        frame += udp_packet(source, CN_ADDRESS, REACHED, payload(probe))
        with self._socket_in(node, socket.AF_PACKET, socket.SOCK_RAW, 0) as channel:
            channel.bind((interface, 0x86DD))
            channel.send(frame)

    def _garbage(self, fault: Garbage) -> None:
        if not fault.over_network:
            try:
                client = Client(self._state / f"{fault.node}.sock")
                client.send_line(fault.text)
                client.close()
            except ControlLost:
                pass
            return
        mags = {mag_name(n): mag_address(n) for n in range(1, self._scenario.mags + 1)}
        to = mags.get(fault.node, LMA_ADDRESS)
        with self._socket_in(CN, socket.AF_INET6, socket.SOCK_RAW, 135) as channel:
            channel.sendto(bytes.fromhex(fault.text), (str(to), 0))

    def _socket_in(self, node: str, *kind: int) -> socket.socket:
        make: Callable[[], socket.socket] = partial(socket.socket, *kind)
        return socket_in(self._network.namespace(node), make)
