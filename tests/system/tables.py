"""Rules as Open vSwitch prints them, and where they send a packet: read by hand, not with the code
under test."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address, IPv6Network
from typing import NamedTuple

OURS, BASE, PREFIX, FLOW = 0xF10B, 1, 2, 3
UDP = 17
LINE = re.compile(
    r" cookie=0x(?P<cookie>[0-9a-f]+), .*table=(?P<table>\d+), .*"
    r"priority=(?P<priority>\d+),?(?P<match>\S*) actions=(?P<actions>\S+)"
)
# The ports of topologies/sdn.toml, in the order in which its links are declared.
PEERS = {
    "s1": {1: "lma", 2: "s2"},
    "s2": {1: "s1", 2: "s3", 3: "s4"},
    "s3": {1: "s2", 2: "mag1"},
    "s4": {1: "s2", 2: "mag2"},
}


class Rule(NamedTuple):
    switch: str
    cookie: int
    table: int
    priority: int
    match: dict[str, str]
    actions: list[str]

    @property
    def owner(self) -> tuple[int, int]:
        """What kind of thing it is a rule for, and which one."""
        assert self.cookie >> 48 == OURS
        return (self.cookie >> 32) & 0xFFFF, self.cookie & 0xFFFF_FFFF

    @property
    def outputs(self) -> set[str]:
        ports = [a.partition(":")[2] for a in self.actions if a.startswith("output:")]
        return {PEERS[self.switch][int(port)] for port in ports}


class Packet(NamedTuple):
    source: IPv6Address
    destination: IPv6Address
    next_header: int
    flow_label: int
    ports: tuple[int, int] | None


def read(dumps: Mapping[str, str]) -> list[Rule]:
    """What `ovs-ofctl dump-flows` says of each switch."""
    rules = []
    for switch, text in dumps.items():
        for line in text.splitlines()[1:]:
            found = LINE.fullmatch(line)
            assert found is not None, line
            fields = (part.partition("=") for part in found["match"].split(",") if part)
            match = {name: value for name, _, value in fields}
            numbers = (int(found["cookie"], 16), int(found["table"]), int(found["priority"]))
            rules.append(Rule(switch, *numbers, match, found["actions"].split(",")))
    return rules


def ways(rules: Iterable[Rule], kind: int) -> dict[int, dict[str, set[str]]]:
    """By flow or prefix: where each switch that has rules for it sends its packets."""
    found: dict[int, dict[str, set[str]]] = {}
    for rule in rules:
        of, number = rule.owner
        if of == kind:
            here = found.setdefault(number, {})
            assert here.setdefault(rule.switch, rule.outputs) == rule.outputs
    return found


def _matches(rule: Rule, packet: Packet, port: int) -> bool:
    for name, value in rule.match.items():
        match name:
            case "ipv6":
                fits = True
            case "udp6":
                fits = packet.next_header == UDP
            case "in_port":
                fits = int(value) == port
            case "nw_proto":
                fits = int(value) == packet.next_header
            case "ipv6_src":
                fits = packet.source in IPv6Network(value)
            case "ipv6_dst":
                fits = packet.destination in IPv6Network(value)
            case "ipv6_label":
                fits = int(value, 16) == packet.flow_label
            case "tp_src":
                fits = packet.ports is not None and packet.ports[0] == int(value)
            case "tp_dst":
                fits = packet.ports is not None and packet.ports[1] == int(value)
            case _:
                raise AssertionError(f"a test that doesn't know the field {name}: {rule}")
        if not fits:
            return False
    return True


def delivered(
    rules: list[Rule], packet: Packet, switch: str = "s1", come_from: str = "lma"
) -> list[str]:
    """The nodes that get a packet, each as often as it does. A packet that comes to a switch again
    by the same port is in a loop."""
    found: list[str] = []
    seen: set[tuple[str, int, Packet]] = set()

    def at(switch: str, come_from: str, packet: Packet) -> None:
        (port,) = [number for number, peer in PEERS[switch].items() if peer == come_from]
        assert (switch, port, packet) not in seen, f"{packet} is in a loop at {switch}"
        seen.add((switch, port, packet))
        table: int | None = 0
        while table is not None:
            fitting = [
                rule
                for rule in rules
                if (rule.switch, rule.table) == (switch, table) and _matches(rule, packet, port)
            ]
            table = None
            if not fitting:
                return
            highest = max(rule.priority for rule in fitting)
            (rule,) = [rule for rule in fitting if rule.priority == highest]
            for action in rule.actions:
                name, _, value = action.partition(":")
                if name == "output":
                    peer = PEERS[switch][int(value)]
                    if peer in PEERS:
                        at(peer, switch, packet)
                    else:
                        found.append(peer)
                elif name == "goto_table":
                    table = int(value)
                elif name == "set_field" and value.endswith("->ipv6_dst"):
                    address = IPv6Address(value.removesuffix("->ipv6_dst"))
                    packet = packet._replace(destination=address)
                else:
                    assert name == "drop" or value.endswith("->eth_dst"), action

    at(switch, come_from, packet)
    return sorted(found)
