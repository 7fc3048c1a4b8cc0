"""Where packets come into the domain, and what sources they can have there (RFC 2827, BCP 38).

A router of the core takes from the link to a MAG what has a source on that link, so that no MAG,
and nobody behind it, can send with the address of another node: signalling and tunnel packets are
judged by that address. Switches don't filter: there, it takes IPsec.
"""

from __future__ import annotations

from ipaddress import IPv6Network

from nodes.kernel.netlink import RT_TABLE_MAIN, RuleMatch, rule
from topologies.model import Role, Topology
from topologies.netlink import Request
from topologies.plan import LINK_LOCAL_PREFIX, other_end, routes

_INSIDE = frozenset({Role.MAG, Role.SWITCH, Role.CONTROLLER})
# Before the rule for the main table, and behind that for a node's own addresses.
FROM_THE_LINK_PRIORITY, FROM_ELSEWHERE_PRIORITY = 50, 51


def source_rules(topology: Topology, node: str) -> list[Request]:
    """What a router of the core drops; nothing for other nodes."""
    if topology.nodes[node].role is not Role.ROUTER:
        return []
    requests = []
    for link in topology.links.values():
        if node not in link.ends or not topology.has_role(other_end(link, node), Role.MAG):
            continue
        incoming = RuleMatch(incoming=link.interface(node))
        for network in _networks(link.network):
            match = incoming._replace(source=network)
            requests.append(rule(FROM_THE_LINK_PRIORITY, match, RT_TABLE_MAIN, add=True))
        requests.append(rule(FROM_ELSEWHERE_PRIORITY, incoming, None, add=True))
    return requests


def _networks(network: IPv6Network | None) -> list[IPv6Network]:
    return [LINK_LOCAL_PREFIX, *([] if network is None else [network])]


def internet_interfaces(topology: Topology, lma: str) -> tuple[str, ...]:
    """The interfaces of the LMA that lead neither to a MAG nor to a controller."""
    addresses = {
        node.address
        for node in topology.nodes.values()
        if node.role is Role.MAG and node.address is not None
    }
    ways = {
        route.interface
        for route in routes(topology)[lma]
        if route.network is not None and any(address in route.network for address in addresses)
    }
    found = []
    for link in topology.links.values():
        if lma not in link.ends:
            continue
        inside = topology.nodes[other_end(link, lma)].role in _INSIDE
        if link.interface(lma) not in ways and not inside:
            found.append(link.interface(lma))
    return tuple(found)
