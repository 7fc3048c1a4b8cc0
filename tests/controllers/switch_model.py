"""A fabric of OpenFlow 1.3 switches that does what the specification says a switch does.

It shares no code with what computes the rules, and refuses rules that a switch would refuse, or
between which it might choose.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address

from controllers.fabric import FabricDescription
from controllers.openflow import Output, Rule, SetField
from nodes.packet_fields import WITH_PORTS
from nodes.wire.traffic_selector import PacketFields

FABRIC_MAC = "02:00:00:00:0f:ab"
ETH_TYPE = 0x86DD
FRAGMENT = 44
PORTS_OF = {6: "tcp", 17: "udp", 132: "sctp"}
# Table of section 7.2.3.8 (prerequisites) of OpenFlow 1.3.5.
NEEDS = {
    "ipv6_src": ("eth_type", ETH_TYPE),
    "ipv6_dst": ("eth_type", ETH_TYPE),
    "ipv6_flabel": ("eth_type", ETH_TYPE),
    "ip_dscp": ("eth_type", ETH_TYPE),
    "ip_proto": ("eth_type", ETH_TYPE),
    **{
        f"{name}_{end}": ("ip_proto", number)
        for number, name in PORTS_OF.items()
        for end in ("src", "dst")
    },
}
TABLES = 254
TRUNCATED_AFTER = 100


class Refused(Exception):
    """What a switch would refuse, or leaves open."""


@dataclass(frozen=True)
class Packet:
    """An IPv6 packet in its frame; `number` tells it from others."""

    fields: PacketFields
    eth_dst: str = FABRIC_MAC
    eth_type: int = ETH_TYPE
    number: int = 0

    def headers(self, in_port: int) -> dict[str, int]:
        """As Open vSwitch shows them: what is in fragments but the first isn't looked at, and their
        next header is that of the fragment header. (First ones aren't modelled.)"""
        found = {"in_port": in_port, "eth_type": self.eth_type}
        if self.eth_type != ETH_TYPE:
            return found
        seen = self.fields
        found |= {
            "ipv6_src": int(seen.source),
            "ipv6_dst": int(seen.destination),
            "ipv6_flabel": seen.flow_label or 0,
            "ip_dscp": seen.traffic_class >> 2,
            "ip_proto": seen.protocol,
        }
        if seen.protocol not in WITH_PORTS:
            return found
        if seen.source_port is None or seen.destination_port is None:
            found["ip_proto"] = FRAGMENT
        elif seen.protocol in PORTS_OF:
            name = PORTS_OF[seen.protocol]
            found[f"{name}_src"] = seen.source_port
            found[f"{name}_dst"] = seen.destination_port
        return found


@dataclass
class Switch:
    rules: dict[tuple[object, ...], Rule] = field(default_factory=dict)
    packets: dict[tuple[object, ...], int] = field(default_factory=dict)

    def add(self, rule: Rule) -> None:
        _check(rule)
        self.rules[rule.identity] = rule
        self.packets.setdefault(rule.identity, 0)

    def delete(self, rule: Rule) -> None:
        self.rules.pop(rule.identity, None)
        self.packets.pop(rule.identity, None)

    def lookup(self, table: int, headers: Mapping[str, int]) -> Rule | None:
        found = [rule for rule in self.rules.values() if rule.table == table]
        found = [rule for rule in found if applies(rule, headers)]
        best = max((rule.priority for rule in found), default=None)
        found = [rule for rule in found if rule.priority == best]
        if len(found) > 1:
            raise Refused(f"the switch may choose between {found}")
        return found[0] if found else None

    def forward(self, packet: Packet, in_port: int) -> list[tuple[int, Packet]]:
        """The copies that leave, with their ports. No table-miss entry: dropped (section 5.4)."""
        leaving = []
        table: int | None = 0
        while table is not None:
            rule = self.lookup(table, packet.headers(in_port))
            if rule is None:
                break
            self.packets[rule.identity] += 1
            for action in rule.actions:
                match action:
                    case Output(port):
                        # Not back to where it came from (section 7.2.5, OFPP_IN_PORT).
                        if port != in_port:
                            leaving.append((port, packet))
                    case SetField("eth_dst", value):
                        packet = replace(packet, eth_dst=value)
                    case SetField("ipv6_dst", value):
                        fields = replace(packet.fields, destination=IPv6Address(value))
                        packet = replace(packet, fields=fields)
                    case _:
                        raise Refused(f"unknown action {action}")
            table = rule.goto
        return leaving


def applies(rule: Rule, headers: Mapping[str, int]) -> bool:
    return all(
        name in headers and headers[name] & mask == value for name, value, mask in rule.match.fields
    )


def _check(rule: Rule) -> None:
    if not 0 <= rule.priority <= 0xFFFF or not 0 <= rule.cookie < 1 << 64:
        raise Refused(f"priority or cookie of {rule}")
    if not 0 <= rule.table < TABLES or (rule.goto is not None and rule.goto <= rule.table):
        raise Refused(f"table or goto of {rule}")
    values = {name: (value, mask) for name, value, mask in rule.match.fields}
    for name, (value, mask) in values.items():
        if not mask or value & ~mask:
            raise Refused(f"{name} of {rule}")
        if name in NEEDS:
            needed, number = NEEDS[name]
            if values.get(needed, (None,))[0] != number:
                raise Refused(f"{name} without {needed} of {rule}")


class Network:
    """The switches with their links, and the nodes behind their ports."""

    def __init__(self, description: FabricDescription) -> None:
        self.switches = {name: Switch() for name in description.switches}
        self._peers: dict[tuple[str, int], tuple[str, int]] = {}
        self._nodes: dict[tuple[str, int], str] = {}
        self._places: dict[str, tuple[str, int]] = {}
        for link in description.links:
            self._peers[link.switch, link.port] = link.peer, link.peer_port
            self._peers[link.peer, link.peer_port] = link.switch, link.port
        for node in (description.lma, *description.mags):
            self._nodes[node.switch, node.port] = node.name
            self._places[node.name] = node.switch, node.port

    def add(self, *groups: Mapping[str, Iterable[Rule]]) -> None:
        for rules in groups:
            for name, found in rules.items():
                for rule in found:
                    self.switches[name].add(rule)

    def send(self, node: str, packet: Packet) -> list[tuple[str, Packet]]:
        """The nodes that a packet from `node` reaches, and how it arrives. Raises Refused if it
        goes in a circle."""
        waiting = [(*self._places[node], packet)]
        arrived = []
        for _ in range(TRUNCATED_AFTER):
            if not waiting:
                return arrived
            name, in_port, packet = waiting.pop()
            for port, copy in self.switches[name].forward(packet, in_port):
                if (name, port) in self._nodes:
                    arrived.append((self._nodes[name, port], copy))
                elif (name, port) in self._peers:
                    waiting.append((*self._peers[name, port], copy))
                else:
                    raise Refused(f"{name} has no port {port}")
        raise Refused("a loop")
