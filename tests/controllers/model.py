"""Switches in memory, and the controller's core connected to them: messages wait until a test
delivers them, and packets are walked through the tables as they are at the moment."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network
from typing import Any

from controllers.actions import (
    Announce,
    Answer,
    Command,
    Disconnect,
    HangUp,
    RequestDump,
    SendRules,
)
from controllers.config import Timers
from controllers.fabric import Fabric, FabricDescription
from controllers.flow_counts import CountedRule
from controllers.openflow import Rule
from controllers.redirection import Redirection
from nodes.actions import Log
from nodes.northbound import Event, Flow, FlowPath, PrefixPath, Reply, Request
from nodes.wire.traffic_selector import PacketFields
from tests.controllers.fabrics import LMA
from tests.controllers.switch_model import Network, Packet, Refused, Switch, applies

CN = IPv6Address("2001:db8:c::1")
UDP = 17


def packet(destination: IPv6Address, port: int, label: int | None = None) -> Packet:
    """A UDP packet of a correspondent node."""
    fields = PacketFields(
        source=CN,
        destination=destination,
        protocol=UDP,
        source_port=5_000,
        destination_port=port,
        flow_label=label,
    )
    return Packet(fields)


def tunnelled(mag: IPv6Address, label: int) -> Packet:
    """What the LMA sends to a MAG with a flow's label."""
    return Packet(PacketFields(source=LMA, destination=mag, protocol=41, flow_label=label))


class Tables(Switch):
    """Of rules with the same priority that match, all do the same."""

    def lookup(self, table: int, headers: Mapping[str, int]) -> Rule | None:
        try:
            return super().lookup(table, headers)
        except Refused:
            found = [rule for rule in self.rules.values() if rule.table == table]
            found = [rule for rule in found if applies(rule, headers)]
            best = max(rule.priority for rule in found)
            chosen = [rule for rule in found if rule.priority == best]
            if len({(rule.actions, rule.goto) for rule in chosen}) > 1:
                raise
            return chosen[0]


class ModelSwitch:
    """`inbox` has what the controller has sent, `outbox` what the switch has answered. `mute`: it
    does all and answers no barrier. `full`: it refuses rules that are new."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tables = Tables()
        self.inbox: deque[SendRules | RequestDump] = deque()
        self.outbox: deque[tuple[str, int, Any]] = deque()
        self.connected = False
        self.mute = False
        self.full = False
        self.received: list[SendRules] = []
        self.version = 0

    @property
    def table(self) -> set[Rule]:
        return set(self.tables.rules.values())

    def reset(self, rules: Iterable[Rule] = ()) -> None:
        """It has started anew: with an empty table, or an old one."""
        self.tables.rules.clear()
        self.tables.packets.clear()
        self.version += 1
        for rule in rules:
            self.tables.add(rule)

    def process(self) -> None:
        """The first message that waits."""
        message = self.inbox.popleft()
        answers: list[tuple[str, int, Any]] = []
        if isinstance(message, RequestDump):
            counted = self.tables.packets
            rules = [
                CountedRule(rule, counted[rule.identity], 100 * counted[rule.identity])
                for rule in self.table
            ]
            answers.append(("dump", message.xid, rules))
        else:
            self.received.append(message)
            self.version += bool(message.changes)
            for change in message.changes:
                rule = change.rule
                if change.command is Command.DELETE:
                    self.tables.delete(rule)
                elif change.command is Command.ADD:
                    if self.full and rule.identity not in self.tables.rules:
                        answers.append(("error", message.xid, "table full"))
                    else:
                        self.tables.add(rule)
                elif rule.identity in self.tables.rules:
                    assert self.tables.rules[rule.identity].cookie == rule.cookie
                    self.tables.add(rule)
            answers.append(("barrier", message.xid, None))
        if self.mute:
            answers = [answer for answer in answers if answer[0] == "error"]
        self.outbox.extend(answers)


@dataclass
class World:
    """A controller, its switches and an LMA; the LMA's messages arrive at once."""

    description: FabricDescription
    timers: Timers = field(default_factory=lambda: Timers(statistics_interval_ms=0))
    now: float = 100.0

    def __post_init__(self) -> None:
        self.fabric = Fabric(self.description)
        self.switches = {name: ModelSwitch(name) for name in self.fabric.switches}
        self.network = Network(self.description)
        self.network.switches.update({n: switch.tables for n, switch in self.switches.items()})
        self.replies: list[tuple[int, Reply]] = []
        self.events: list[Event] = []
        self.hung_up: list[int] = []
        self.log: list[Log] = []
        self.cuts = 0
        self.core = Redirection(self.fabric, self.timers, self.now)

    def restart(self) -> None:
        """The controller is killed, and started once more."""
        for switch in self.switches.values():
            self.cut(switch)
        self.core = Redirection(self.fabric, self.timers, self.now)

    def cut(self, switch: ModelSwitch) -> None:
        """What is under way is lost, in both directions."""
        self.cuts += 1
        switch.connected = False
        switch.inbox.clear()
        switch.outbox.clear()

    def carry_out(self) -> None:
        for action in self.core.take_actions():
            match action:
                case SendRules(switch=name) | RequestDump(switch=name):
                    switch = self.switches[name]
                    assert switch.connected
                    switch.inbox.append(action)
                case Disconnect(switch=name):
                    self.cut(self.switches[name])
                case Answer(connection=connection, reply=reply):
                    self.replies.append((connection, reply))
                case Announce(event=event):
                    self.events.append(event)
                case HangUp(connection=connection):
                    self.hung_up.append(connection)
                    self.core.disconnected(connection)
                case Log():
                    self.log.append(action)

    def request(self, request: Request, connection: int = 1) -> None:
        self.core.receive(connection, request, self.now)
        self.carry_out()

    def connect(self, *names: str) -> None:
        for name in names or tuple(self.switches):
            self.switches[name].connected = True
            self.core.switch_connected(name, self.now)
            self.carry_out()

    def disconnect(self, name: str) -> None:
        self.cut(self.switches[name])
        self.core.switch_disconnected(name, self.now)
        self.carry_out()

    def answer(self, name: str) -> None:
        """The first answer of a switch arrives."""
        kind, xid, content = self.switches[name].outbox.popleft()
        match kind:
            case "barrier":
                self.core.barrier_reply(name, xid, self.now)
            case "dump":
                self.core.dumped(name, xid, content, self.now)
            case _:
                # What it refused is taken back later, as is what a lost switch has.
                self.cuts += 1
                self.core.switch_error(name, xid, content, self.now)
        self.carry_out()

    def deliver(
        self,
        *,
        but: Iterable[str] = (),
        first: Iterable[str] = (),
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        """Everything that is under way, until nothing is, except to and from `but`. Switches take
        their turns in the order of `first`, one message each; `watch` is called after each."""
        names = [name for name in dict.fromkeys((*first, *self.switches)) if name not in but]
        others = [self.switches[name] for name in names]
        while any(switch.inbox or switch.outbox for switch in others):
            for switch in others:
                if switch.inbox:
                    switch.process()
                    watch()
                while switch.outbox:
                    self.answer(switch.name)

    def wait(self, seconds: float) -> None:
        """Timers run, and messages are delivered at once."""
        end = self.now + seconds
        while (due := self.core.deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.core.handle_timer(self.now)
            self.carry_out()
            self.deliver()
        self.now = end

    def walk(self, packet: Packet) -> list[str]:
        """The nodes that it gets to from the LMA. Raises Refused if it goes in a circle."""
        return sorted(node for node, _ in self.network.send("lma", packet))

    def tables(self) -> dict[str, set[Rule]]:
        return {name: switch.table for name, switch in self.switches.items()}


def flow(key: int, prefix: IPv6Network, first: int, last: int | None = None, **fields: Any) -> Flow:
    """UDP packets to a port, or to some."""
    selector: dict[str, Any] = {"start_next_header": UDP, "start_destination_port": first}
    if last is not None:
        selector["end_destination_port"] = last
    values: dict[str, Any] = {
        "mn": "mn",
        "fid": key,
        "priority": 10 + key,
        "selector": selector,
        "prefixes": (prefix,),
        "label": key,
    }
    return Flow(key=key, **{**values, **fields})


def path(key: int, *mags: IPv6Address, anchor: IPv6Address | None = None) -> FlowPath:
    return FlowPath(key=key, mags=mags, anchor=anchor)


def default(prefix: IPv6Network, mag: IPv6Address | None) -> PrefixPath:
    return PrefixPath(prefix=prefix, mag=mag)
