"""Rules in terms of flows and bindings, one line each, for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network

from controllers.fabric import Fabric
from controllers.openflow import FIELD_BITS, Match, Rule, SetField, output_ports
from controllers.rules import ADDRESSES, FLOWS, PREFIXES, Cookie, CookieKind
from controllers.selector_matches import TRANSPORTS
from nodes.northbound import Flow, FlowPath

_TABLES = {FLOWS: "flows", PREFIXES: "prefixes", ADDRESSES: "addresses"}


@dataclass(frozen=True, slots=True)
class Known:
    """What rules can be about: flows and their paths, by key."""

    fabric: Fabric
    flows: Mapping[int, Flow] = field(default_factory=dict)
    paths: Mapping[int, FlowPath] = field(default_factory=dict)


def describe(known: Known, switch: str, rule: Rule) -> str:
    """Whose rule it is, what it matches, and where `switch` sends that. For example
    `flow mn1/3 at priority 10 (mag1, mag2), udp to 2001:db8:a::/64: to s3; to s4`."""
    cookie = Cookie.decode(rule.cookie)
    if cookie is None:
        return f"not ours (cookie {rule.cookie:#x}), {match_text(rule.match)}"
    return f"{_owner(known, rule, cookie)}: {_destination(known, switch, rule)}"


def _owner(known: Known, rule: Rule, cookie: Cookie) -> str:
    packets = match_text(rule.match)
    if cookie.kind is CookieKind.PREFIX:
        return f"default path, {packets}"
    if cookie.kind is CookieKind.BASE:
        return f"base, {packets}"
    flow = known.flows.get(cookie.key)
    if flow is None:
        return f"left over of flow {cookie.key}, {packets}"
    path = known.paths.get(cookie.key)
    mags = ", ".join(_name(known, mag) for mag in path.mags) if path is not None else ""
    bound = f" ({mags})" if mags else ""
    return f"flow {flow.mn}/{flow.fid} at priority {flow.priority}{bound}, {packets}"


def _name(known: Known, address: IPv6Address) -> str:
    for node in known.fabric.nodes:
        if address in node.addresses:
            return node.name
    return str(address)


def _destination(known: Known, switch: str, rule: Rule) -> str:
    if rule.goto is not None:
        return f"on to {_TABLES[rule.goto]}"
    if not output_ports(rule.actions):
        return "dropped"
    places = []
    readdressed = ""
    for action in rule.actions:
        if isinstance(action, SetField):
            if action.field == "ipv6_dst":
                readdressed = f", as to {_name(known, IPv6Address(action.value))}"
            continue
        places.append(f"to {_behind(known.fabric, switch, action.port)}{readdressed}")
    return "; ".join(places)


def _behind(fabric: Fabric, switch: str, port: int) -> str:
    node = next((n.name for n in fabric.nodes if (n.switch, n.port) == (switch, port)), None)
    return node or fabric.neighbour(switch, port) or f"port {port}"


def match_text(match: Match) -> str:
    """What packets a match is about: ranges instead of masks."""
    values = {name: (value, mask) for name, value, mask in match.fields}
    parts = []
    if "ip_proto" in values:
        protocol = values["ip_proto"][0]
        parts.append(TRANSPORTS.get(protocol, f"next header {protocol}"))
    for preposition, end in (("from", "src"), ("to", "dst")):
        place = []
        if f"ipv6_{end}" in values:
            place.append(_prefix(*values[f"ipv6_{end}"]))
        for transport in TRANSPORTS.values():
            if f"{transport}_{end}" in values:
                place.append(f"port {_range(f'{transport}_{end}', *values[f'{transport}_{end}'])}")
        if place:
            parts.append(f"{preposition} {' '.join(place)}")
    for name, word in (("ip_dscp", "DSCP"), ("ipv6_flabel", "label"), ("in_port", "in at port")):
        if name in values:
            parts.append(f"{word} {_range(name, *values[name])}")
    return " ".join(parts) or "all packets"


def _prefix(value: int, mask: int) -> str:
    length = mask.bit_count()
    if mask != int(IPv6Network((0, length)).netmask):
        return f"{IPv6Address(value)}/{IPv6Address(mask)}"
    return str(IPv6Address(value)) if length == 128 else f"{IPv6Address(value)}/{length}"


def _range(name: str, value: int, mask: int) -> str:
    rest = ~mask & (1 << FIELD_BITS[name]) - 1
    if rest & (rest + 1):
        return f"{value:#x}/{mask:#x}"
    return f"{value}-{value | rest}" if rest else str(value)
