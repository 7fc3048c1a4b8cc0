"""What a topology's nodes are configured with, computed from the data alone: no root, no Mininet.

Addresses, MAC addresses and static routes follow from the declared nodes and links, so every run
of a topology has the same ones and a packet in a capture can be told from its addresses.
"""

from __future__ import annotations

import math
from collections import deque
from ipaddress import IPv6Address, IPv6Network
from typing import NamedTuple

from topologies.model import BITS_PER_BYTE, Direction, Link, Role, Topology
from topologies.switching import is_control_channel, switch_components

# RFC 6543: every MAG shows the MN the same link-layer and link-local address.
MAG_MAC = "00:00:5e:00:52:13"
LOGICAL_INTERFACE = "lif0"
LOGICAL_MAC = "02:00:00:00:ff:01"
LINK_LOCAL_PREFIX = IPv6Network("fe80::/64")

FORWARDING_ROLES = frozenset({Role.LMA, Role.ROUTER, Role.MAG})
PACKET_BYTES = 1500
# A direction without a rate has no queue: what the limit counts is in flight, and must not drop.
UNLIMITED_PACKETS = 1_000_000


class Address(NamedTuple):
    interface: str
    address: IPv6Address
    prefix_length: int


class Route(NamedTuple):
    """`network` None: the default route."""

    network: IPv6Network | None
    gateway: IPv6Address
    interface: str


class Neighbour(NamedTuple):
    interface: str
    address: IPv6Address
    mac: str


class End(NamedTuple):
    """Where a node is on a network; `address` None: it has a link-local one only."""

    node: str
    interface: str
    address: IPv6Address | None
    mac: str


class Domain(NamedTuple):
    """A network as IP sees it: a link, or all links of nodes to switches that are connected."""

    network: IPv6Network | None
    ends: tuple[End, ...]


def other_end(link: Link, end: str) -> str:
    first, second = link.ends
    return second if end == first else first


def mac(topology: Topology, link_name: str, end: str) -> str:
    """The MAC address of node `end` on a link: its number in two octets, and that of the end; or
    RFC 6543's at a MAG."""
    link = topology.links[link_name]
    if link.access is not None and end == link.ends[0]:
        return MAG_MAC
    number = list(topology.links).index(link_name) + 1
    high, low = divmod(number, 256)
    return f"02:00:00:{high:02x}:{low:02x}:{link.ends.index(end) + 1:02x}"


def link_local(mac_address: str) -> IPv6Address:
    """The link-local address that the kernel derives from a MAC address (EUI-64)."""
    octets = bytes.fromhex(mac_address.replace(":", ""))
    interface_id = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return LINK_LOCAL_PREFIX[int.from_bytes(interface_id, "big")]


def _own_address(topology: Topology, link: Link, end: str) -> IPv6Address | None:
    address = topology.nodes[end].address
    if link.network is None or address is None or address not in link.network:
        return None
    return address


def end_address(topology: Topology, link: Link, end: str) -> IPv6Address:
    """The address of node `end` on a numbered link.

    Its own, if it declares one in the link's network; else ::1 for the first end and ::2 for the
    second, or the other of the two when the other end has declared that one. A network of switches
    has more than two ends, and only declared addresses.
    """
    if link.network is None:
        raise ValueError(f"link {'-'.join(link.ends)} has no network")
    own = _own_address(topology, link, end)
    if own is not None:
        return own
    if topology.has_role(other_end(link, end), Role.SWITCH) and not is_control_channel(
        topology, link
    ):
        raise ValueError(
            f"nodes.{end}.address: expected an address in {link.network}, the network of the "
            "switches that it is connected to"
        )
    wanted = link.network[link.ends.index(end) + 1]
    if wanted == _own_address(topology, link, other_end(link, end)):
        return link.network[2 - link.ends.index(end)]
    return wanted


def domains(topology: Topology) -> list[Domain]:
    """The networks of a topology as IP sees them, in the order of their first links.

    ValueError for an address that two nodes have, or that a node on switches lacks.
    """
    found: dict[object, tuple[str, IPv6Network | None, list[End]]] = {}
    component = switch_components(topology)
    for name, link in topology.links.items():
        switches = [end for end in link.ends if end in component]
        if len(switches) == 2:
            continue
        bridged = bool(switches) and not is_control_channel(topology, link)
        key = (component[switches[0]], link.network) if bridged else name
        _, _, ends = found.setdefault(key, (name, link.network, []))
        for node in link.ends:
            if bridged and node in component:
                continue
            address = None if link.network is None else end_address(topology, link, node)
            for other in ends:
                if address is not None and other.address == address:
                    raise ValueError(
                        f"links.{name}: {other.node} and {node} both have the address {address}"
                    )
            ends.append(End(node, link.interface(node), address, mac(topology, name, node)))
    return [Domain(network, tuple(ends)) for _, network, ends in found.values()]


def addresses(topology: Topology) -> dict[str, list[Address]]:
    """Global addresses per node. ValueError for an address that no link of its node can carry."""
    plan: dict[str, list[Address]] = {name: [] for name in topology.nodes}
    for network, ends in domains(topology):
        for end in ends:
            if network is not None and end.address is not None:
                plan[end.node].append(Address(end.interface, end.address, network.prefixlen))
    for name, node in topology.nodes.items():
        if node.address is not None and node.address not in [a.address for a in plan[name]]:
            raise ValueError(
                f"nodes.{name}.address: {node.address} lies in no network of the node's links"
            )
    return plan


class _Hop(NamedTuple):
    """A neighbour of a node: over which network, where it is there, and through which interface."""

    to: str
    network: IPv6Network
    address: IPv6Address
    interface: str


def _hops(topology: Topology) -> dict[str, list[_Hop]]:
    graph: dict[str, list[_Hop]] = {name: [] for name in topology.nodes}
    for network, ends in domains(topology):
        for own in ends:
            for other in ends:
                if network is not None and other is not own and other.address is not None:
                    hop = _Hop(other.node, network, other.address, own.interface)
                    graph[own.node].append(hop)
    return graph


def routes(topology: Topology) -> dict[str, list[Route]]:
    """Static routes per node: the path with the fewest hops to every numbered network.

    The MN gets none: its routes come from router advertisements. Switches get none: the only
    addresses that they have are those of their OpenFlow channels. A correspondent node gets a
    default route through its first link, because home prefixes are known at the LMA only.
    """
    graph = _hops(topology)
    plan: dict[str, list[Route]] = {}
    for name, node in topology.nodes.items():
        without = node.role in (Role.MN, Role.SWITCH)
        plan[name] = [] if without else _routes_from(topology, graph, name)
        if node.role is Role.CORRESPONDENT and graph[name]:
            first = graph[name][0]
            plan[name].append(Route(None, first.address, first.interface))
    return plan


def _routes_from(topology: Topology, graph: dict[str, list[_Hop]], start: str) -> list[Route]:
    found: list[Route] = []
    known = {hop.network for hop in graph[start]}
    seen = {start}
    # What is reached, and the first hop towards it.
    queue: deque[tuple[str, _Hop | None]] = deque([(start, None)])
    while queue:
        name, first = queue.popleft()
        if name != start and topology.nodes[name].role not in FORWARDING_ROLES:
            continue
        for hop in graph[name]:
            if hop.network not in known and first is not None:
                known.add(hop.network)
                found.append(Route(hop.network, first.address, first.interface))
            if hop.to not in seen:
                seen.add(hop.to)
                queue.append((hop.to, first or hop))
    return found


def neighbours(topology: Topology) -> dict[str, list[Neighbour]]:
    """Who is next to whom, per node: what neighbour discovery would find on every network."""
    plan: dict[str, list[Neighbour]] = {name: [] for name in topology.nodes}
    for _, ends in domains(topology):
        for own in ends:
            for other in ends:
                if other is own:
                    continue
                for address in (other.address, link_local(other.mac)):
                    if address is not None:
                        plan[own.node].append(Neighbour(own.interface, address, other.mac))
    return plan


def netem_limit(direction: Direction) -> int:
    """netem's `limit`, in packets, for a queue of `direction.queue_packets`.

    netem holds a packet from its arrival until its delay is over, so packets in flight count
    towards the limit. A line that is busy has rate * delay in flight: that many packets of
    1500 B are added, or a long fast line would drop with its queue still empty.
    """
    if direction.rate_mbit is None:
        return UNLIMITED_PACKETS
    bits_in_flight = direction.rate_mbit * 1000 * direction.delay_ms
    return direction.queue_packets + math.ceil(bits_in_flight / (PACKET_BYTES * BITS_PER_BYTE))


def is_shaped(direction: Direction) -> bool:
    """Whether the direction does anything to a packet."""
    return bool(direction.delay_ms or direction.loss or direction.rate_mbit is not None)
