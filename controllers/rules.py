"""Which rules each switch of the fabric has: docs/openflow-rules.md.

Four tables. DIRECTION tells packets that come from the LMA's side from others: only the first kind
is looked up in FLOWS and PREFIXES, so that all others pass the LMA, as without a controller. What
neither has is for a node of the fabric, or goes to the LMA (ADDRESSES).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv6Address, IPv6Network

from controllers.fabric import Branches, Fabric, FabricNode
from controllers.openflow import Action, Match, Output, Rule, SetField
from controllers.selector_matches import flow_matches
from nodes.northbound import Flow, FlowPath, PrefixPath

DIRECTION, FLOWS, PREFIXES, ADDRESSES = range(4)

Rules = dict[str, tuple[Rule, ...]]
"""By switch, from the LMA outwards."""

COOKIE_MAGIC = 0xF10B
COOKIE_MAGIC_MASK = 0xFFFF << 48

_MOBILITY_HEADER = 135
_IPV6_IN_IPV6 = 41
_LINK_LOCAL = IPv6Network("fe80::/10")
_MULTICAST = IPv6Network("ff00::/8")
_EVERYTHING = IPv6Network("::/0")


class CookieKind(IntEnum):
    """Whose rule it is."""

    BASE = 1
    PREFIX = 2
    FLOW = 3


@dataclass(frozen=True, slots=True)
class Cookie:
    """`key`, 32 bits: that of the flow, `prefix_key` of the prefix, or 0."""

    kind: CookieKind
    key: int = 0

    def encode(self) -> int:
        return COOKIE_MAGIC << 48 | self.kind << 32 | self.key

    @classmethod
    def decode(cls, cookie: int) -> Cookie | None:
        """None: not one of ours."""
        kind = cookie >> 32 & 0xFFFF
        if cookie >> 48 != COOKIE_MAGIC or kind not in set(CookieKind):
            return None
        return cls(CookieKind(kind), cookie & 0xFFFF_FFFF)


def prefix_key(prefix: IPv6Network) -> int:
    """The same in every run of the controller. Two prefixes may share one, so it doesn't stand for
    the prefix; the match of the rule has it."""
    return zlib.crc32(prefix.network_address.packed + bytes((prefix.prefixlen,)))


def flow_priority(priority: int) -> int:
    """From FID-PRI, where the lower value takes precedence (RFC 6089 section 4.2)."""
    return 0x10000 - priority


def base_rules(fabric: Fabric) -> Rules:
    """What every switch has, whatever the mode and the bindings: packets to the LMA's and the MAGs'
    addresses, which signalling and tunnels have, and everything else to the LMA."""
    cookie = Cookie(CookieKind.BASE).encode()
    found = {}
    for switch in fabric.switches:
        upstream = fabric.upstream_port(switch)
        rules = [
            # Signalling is never matched by flow rules.
            Rule(
                DIRECTION,
                2,
                Match.of_ipv6(in_port=upstream, ip_proto=_MOBILITY_HEADER),
                (),
                cookie,
                PREFIXES,
            ),
            Rule(DIRECTION, 1, Match.of_ipv6(in_port=upstream), (), cookie, FLOWS),
            Rule(DIRECTION, 0, Match.of_ipv6(), (), cookie, ADDRESSES),
            Rule(FLOWS, 0, Match(), (), cookie, PREFIXES),
            Rule(PREFIXES, 0, Match(), (), cookie, ADDRESSES),
        ]
        for node in fabric.nodes:
            for address in node.addresses:
                rules.append(_route(fabric, switch, node, IPv6Network(address), cookie))
        rules.append(_route(fabric, switch, fabric.lma, _EVERYTHING, cookie))
        # The links end at the switches: neighbour discovery and multicast stay on them.
        for local in (_LINK_LOCAL, _MULTICAST):
            match = Match.of_ipv6(ipv6_dst=local)
            rules.append(Rule(ADDRESSES, local.prefixlen, match, (), cookie))
        found[switch] = tuple(rules)
    return found


def _route(fabric: Fabric, switch: str, node: FabricNode, prefix: IPv6Network, cookie: int) -> Rule:
    """Longest prefix first."""
    last = node if node.switch == switch else None
    port = fabric.next_hop(switch, node)
    actions = _to_node(last) if last is not None else (Output(port),)
    return Rule(ADDRESSES, prefix.prefixlen, Match.of_ipv6(ipv6_dst=prefix), actions, cookie)


def _to_node(node: FabricNode) -> tuple[Action, ...]:
    """The frame is for the node from here on; before, it was for the fabric."""
    return SetField("eth_dst", node.mac), Output(node.port)


def _to_branches(branches: Branches) -> tuple[Action, ...]:
    actions: list[Action] = [Output(port) for port in branches.ports]
    for node in branches.nodes:
        actions.extend(_to_node(node))
    return tuple(actions)


def prefix_rules(fabric: Fabric, path: PrefixPath) -> Rules:
    """The default path of a prefix without tunnels; no MAG: it ends at the ingress. Raises
    FabricError for an address that no MAG of the fabric has."""
    match = Match.of_ipv6(ipv6_dst=path.prefix)
    cookie = Cookie(CookieKind.PREFIX, prefix_key(path.prefix)).encode()
    priority = 1 + path.prefix.prefixlen
    if path.mag is None:
        return {fabric.ingress: (Rule(PREFIXES, priority, match, (), cookie),)}
    return {
        switch: (Rule(PREFIXES, priority, match, _to_branches(branches), cookie),)
        for switch, branches in fabric.tree((path.mag,)).items()
    }


def flow_rules(fabric: Fabric, flow: Flow, mags: Iterable[IPv6Address]) -> Rules:
    """sdn-core: a flow's packets on their way to each of `mags`, or dropped at the ingress if that
    is the flow's action; without any, the flow has no effect (RFC 7864 section 5.2). Raises
    Inexpressible for a selector that OpenFlow has no matches for, and FabricError."""
    tree = fabric.tree(mags)
    if not tree:
        return {}
    matches = flow_matches(flow)
    if flow.action == "drop":
        return {fabric.ingress: _of_flow(flow, matches, ())}
    return {
        switch: _of_flow(flow, matches, _to_branches(branches)) for switch, branches in tree.items()
    }


def redirect_rules(fabric: Fabric, flow: Flow, path: FlowPath) -> Rules:
    """sdn-assisted: the flow's tunnel packets, which the LMA sends to the flow's anchor, go to
    other MAGs from where the ways part: each copy gets its MAG's address there, which base rules
    take it to. None if the anchor is the only one,
    or the LMA drops them."""
    if flow.action == "drop" or path.anchor is None or set(path.mags) <= {path.anchor}:
        return {}
    switch = fabric.branching(path.anchor, path.mags)
    match = Match.of_ipv6(
        ipv6_src=fabric.lma.addresses[0],
        ipv6_dst=path.anchor,
        ipv6_flabel=flow.label,
        ip_proto=_IPV6_IN_IPV6,
    )
    actions: list[Action] = []
    # The anchor's own copy comes first, because it still has its address then.
    for mag in sorted(path.mags, key=lambda mag: mag != path.anchor):
        node = fabric.mag(mag)
        if mag != path.anchor:
            actions.append(SetField("ipv6_dst", str(mag)))
        if node.switch == switch:
            actions.extend(_to_node(node))
        else:
            actions.append(Output(fabric.next_hop(switch, node)))
    return {switch: _of_flow(flow, (match,), tuple(actions))}


def _of_flow(flow: Flow, matches: Iterable[Match], actions: tuple[Action, ...]) -> tuple[Rule, ...]:
    cookie = Cookie(CookieKind.FLOW, flow.key).encode()
    priority = flow_priority(flow.priority)
    return tuple(Rule(FLOWS, priority, match, actions, cookie) for match in matches)
