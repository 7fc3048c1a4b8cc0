"""The mobile nodes' users and their correspondent: who sends when, and what is answered."""

from __future__ import annotations

from functools import partial
from ipaddress import IPv6Address, IPv6Network
from typing import Any

from experiments.chaos.domain import CN, CN_ADDRESS
from experiments.chaos.loop import Loop
from experiments.chaos.probes import (
    DEFAULT_FLOW,
    DOWN,
    DOWN_ANSWER,
    UP,
    UP_ANSWER,
    Probe,
    Seen,
    Senders,
    Watch,
    watched_nodes,
)
from experiments.chaos.record import Recorder
from experiments.chaos.scenario import Scenario, Traffic, mn_name
from experiments.emulation.roles import INTERFACE_ID, mn_id
from topologies.network import Network

# The kind of the answer to a packet.
ANSWERS = {DOWN: DOWN_ANSWER, UP: UP_ANSWER}


class Users:
    def __init__(
        self, scenario: Scenario, network: Network, loop: Loop, recorder: Recorder
    ) -> None:
        self._scenario = scenario
        self._loop = loop
        self._recorder = recorder
        self._senders = Senders(network)
        self._flows = {flow.number: flow for flow in scenario.flows}
        self._addresses: dict[int, IPv6Address] = {}
        self._sessions: dict[str, dict[str, list[str]]] = {}
        self._sequences: dict[int, int] = {}
        self._answered: set[Probe] = set()
        self._stopped = False
        mns = [mn_name(mobile.number) for mobile in scenario.mobiles]
        self._watches = [Watch(network, node) for node in watched_nodes(mns)]
        for watch in self._watches:
            loop.watch(watch, partial(self._arrived, watch))
        for mobile in scenario.mobiles:
            self._senders.open(mn_name(mobile.number), DEFAULT_FLOW)
        for flow in scenario.flows:
            self._senders.open(mn_name(flow.mn), flow.number)
            self._senders.open(CN, flow.number)
            loop.at(flow.from_s, partial(self._send_regularly, flow))
        self._senders.open(CN, DEFAULT_FLOW)

    def close(self) -> None:
        for watch in self._watches:
            watch.close()
        self._senders.close()

    def stop(self) -> None:
        self._stopped = True

    def know(self, bindings: list[dict[str, Any]]) -> None:
        """What the LMA says who has which prefixes."""
        self._sessions = {}
        for entry in bindings:
            accesses = self._sessions.setdefault(entry["mn"], {})
            accesses.setdefault(entry["access"], []).extend(entry["prefixes"])

    def prefixes(self, mn: int, access: str) -> list[str]:
        """Of the session of an access."""
        return self._sessions.get(mn_id(mn), {}).get(access, [])

    def all_prefixes(self, mn: int) -> list[str]:
        own = self._sessions.get(mn_id(mn), {}).values()
        return list(dict.fromkeys(prefix for prefixes in own for prefix in prefixes))

    def address(self, number: int) -> IPv6Address | None:
        """That of a flow: it stays as long as its prefix is the node's; None if there is none."""
        flow = self._flows[number]
        known = [IPv6Network(prefix) for prefix in self.all_prefixes(flow.mn)]
        present = self._addresses.get(number)
        if present is not None and any(present in prefix for prefix in known):
            return present
        own = self.prefixes(flow.mn, flow.anchor) or self.all_prefixes(flow.mn)
        if not own:
            return None
        self._addresses[number] = IPv6Network(own[0])[INTERFACE_ID]
        return self._addresses[number]

    def send_all(self, *, up: bool) -> None:
        """A packet of each flow, and one of no flow for each prefix that there is."""
        for flow in self._scenario.flows:
            address = self.address(flow.number)
            if address is not None:
                self._send(flow.number, flow.mn, address, up=up)
        for mobile in self._scenario.mobiles:
            for prefix in self.all_prefixes(mobile.number):
                address = IPv6Network(prefix)[INTERFACE_ID]
                self._send(DEFAULT_FLOW, mobile.number, address, up=up)

    def _send_regularly(self, flow: Traffic) -> None:
        if self._stopped:
            return
        address = self.address(flow.number)
        if address is not None:
            self._send(flow.number, flow.mn, address, up=flow.up)
        self._loop.later(flow.interval_s, partial(self._send_regularly, flow))

    def _send(self, flow: int, mn: int, address: IPv6Address, *, up: bool) -> None:
        sequence = self._sequences[flow] = self._sequences.get(flow, 0) + 1
        probe = Probe(UP if up else DOWN, flow, mn, sequence)
        if up:
            self._leave(mn_name(mn), address, CN_ADDRESS, probe)
        else:
            self._leave(CN, CN_ADDRESS, address, probe)

    def _leave(self, node: str, source: IPv6Address, to: IPv6Address, probe: Probe) -> None:
        seconds = self._loop.seconds
        error = self._senders.send(node, source, to, probe)
        self._recorder.sent(seconds, probe, source, to, error)

    def _arrived(self, watch: Watch) -> None:
        for seen in watch.receive():
            self._recorder.arrived(self._loop.seconds, seen)
            if seen.probe is not None and seen.probe not in self._answered:
                self._answer(seen, seen.probe)

    def _answer(self, seen: Seen, probe: Probe) -> None:
        """The node that it is meant for answers, once."""
        meant_for = {DOWN: mn_name(probe.mn), UP: CN}.get(probe.kind)
        if seen.node == meant_for:
            self._answered.add(probe)
            answer = probe._replace(kind=ANSWERS[probe.kind])
            self._leave(seen.node, seen.destination, seen.source, answer)
