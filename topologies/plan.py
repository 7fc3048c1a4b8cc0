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


def other_end(link: Link, end: str) -> str:
    first, second = link.ends
    return second if end == first else first


def mac(topology: Topology, link_name: str, end: str) -> str:
    """The MAC address of node `end` on a link: 02:00:00:00:LINK:END, or RFC 6543's at a MAG."""
    link = topology.links[link_name]
    if link.access is not None and end == link.ends[0]:
        return MAG_MAC
    number = list(topology.links).index(link_name) + 1
    return f"02:00:00:00:{number:02x}:{link.ends.index(end) + 1:02x}"


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
    second, or the other of the two when the other end has declared that one.
    """
    if link.network is None:
        raise ValueError(f"link {'-'.join(link.ends)} has no network")
    own = _own_address(topology, link, end)
    if own is not None:
        return own
    wanted = link.network[link.ends.index(end) + 1]
    if wanted == _own_address(topology, link, other_end(link, end)):
        return link.network[2 - link.ends.index(end)]
    return wanted


def addresses(topology: Topology) -> dict[str, list[Address]]:
    """Global addresses per node. ValueError for an address that no link of its node can carry."""
    plan: dict[str, list[Address]] = {name: [] for name in topology.nodes}
    for name, link in topology.links.items():
        if link.network is None:
            continue
        taken = [end_address(topology, link, end) for end in link.ends]
        if taken[0] == taken[1]:
            raise ValueError(f"links.{name}: both ends have the address {taken[0]}")
        for end, address in zip(link.ends, taken, strict=True):
            plan[end].append(Address(link.interface(end), address, link.network.prefixlen))
    for name, node in topology.nodes.items():
        if node.address is not None and node.address not in [a.address for a in plan[name]]:
            raise ValueError(
                f"nodes.{name}.address: {node.address} lies in no network of the node's links"
            )
    return plan


def _numbered_neighbours(topology: Topology) -> dict[str, list[tuple[str, Link]]]:
    graph: dict[str, list[tuple[str, Link]]] = {name: [] for name in topology.nodes}
    for link in topology.links.values():
        if link.network is not None:
            for end in link.ends:
                graph[end].append((other_end(link, end), link))
    return graph


def routes(topology: Topology) -> dict[str, list[Route]]:
    """Static routes per node: the path with the fewest hops to every numbered network.

    The MN gets none: its routes come from router advertisements. A correspondent node gets a
    default route through its first link, because home prefixes are known at the LMA only.
    """
    graph = _numbered_neighbours(topology)
    plan: dict[str, list[Route]] = {}
    for name, node in topology.nodes.items():
        plan[name] = [] if node.role is Role.MN else _routes_from(topology, graph, name)
        if node.role is Role.CORRESPONDENT and graph[name]:
            gateway, link = graph[name][0]
            plan[name].append(
                Route(None, end_address(topology, link, gateway), link.interface(name))
            )
    return plan


def _routes_from(
    topology: Topology, graph: dict[str, list[tuple[str, Link]]], start: str
) -> list[Route]:
    found: list[Route] = []
    known = {link.network for _, link in graph[start]}
    seen = {start}
    # What is reached, and the first hop towards it.
    queue: deque[tuple[str, IPv6Address | None, str]] = deque([(start, None, "")])
    while queue:
        name, gateway, interface = queue.popleft()
        if name != start and topology.nodes[name].role not in FORWARDING_ROLES:
            continue
        for neighbour, link in graph[name]:
            if link.network not in known and gateway is not None:
                known.add(link.network)
                found.append(Route(link.network, gateway, interface))
            if neighbour in seen:
                continue
            seen.add(neighbour)
            if gateway is None:
                queue.append(
                    (neighbour, end_address(topology, link, neighbour), link.interface(start))
                )
            else:
                queue.append((neighbour, gateway, interface))
    return found


def neighbours(topology: Topology) -> dict[str, list[Neighbour]]:
    """Who is next to whom, per node: what neighbour discovery would find on every link."""
    plan: dict[str, list[Neighbour]] = {name: [] for name in topology.nodes}
    for name, link in topology.links.items():
        for end in link.ends:
            other = other_end(link, end)
            its_mac = mac(topology, name, other)
            if link.network is not None:
                plan[end].append(
                    Neighbour(link.interface(end), end_address(topology, link, other), its_mac)
                )
            plan[end].append(Neighbour(link.interface(end), link_local(its_mac), its_mac))
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
