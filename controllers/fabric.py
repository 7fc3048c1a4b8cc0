"""The switched mobile core: which switch has what behind which port, and the ways through it.

All packets go along one tree of shortest paths whose root is the switch of the LMA. So the paths to
two MAGs part at exactly one switch, a packet from the LMA enters a switch by one port only, and
rules along the tree can't form a loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Annotated

import msgspec

PortNumber = Annotated[int, msgspec.Meta(ge=1, le=0xFFFF_FEFF)]  # OpenFlow 1.3.5 section 7.2.1
MacAddress = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{2}(:[0-9a-f]{2}){5}$")]


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Between port `port` of `switch` and port `peer_port` of the switch `peer`."""

    switch: str
    port: PortNumber
    peer: str
    peer_port: PortNumber


class FabricNode(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The LMA or a MAG at a port. `mac` is that of its interface there."""

    name: str
    addresses: Annotated[tuple[IPv6Address, ...], msgspec.Meta(min_length=1)]
    mac: MacAddress
    switch: str
    port: PortNumber


class FabricDescription(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What there is, as data: the controller's configuration has one."""

    switches: tuple[str, ...]
    links: tuple[Link, ...]
    lma: FabricNode
    mags: tuple[FabricNode, ...]


class FabricError(ValueError):
    """A fabric that can't work, or a node that isn't in it."""


@dataclass(frozen=True, slots=True)
class Branches:
    """Where a packet leaves a switch on its way from the LMA: ports to further switches, and nodes
    behind the switch's own ports. Both are in the order of the description."""

    ports: tuple[int, ...] = ()
    nodes: tuple[FabricNode, ...] = ()


class Fabric:
    """Raises FabricError for a name or port that is used twice or isn't there, and for a switch
    that can't be reached from the LMA's."""

    def __init__(self, description: FabricDescription) -> None:
        self.switches = description.switches
        self.lma = description.lma
        self.mags = description.mags
        self.nodes = (self.lma, *self.mags)
        self._neighbours: dict[str, dict[int, str]] = {name: {} for name in self.switches}
        self._check(description)
        for link in description.links:
            self._neighbours[link.switch][link.port] = link.peer
            self._neighbours[link.peer][link.peer_port] = link.switch
        self._by_address = {address: node for node in self.nodes for address in node.addresses}
        self.ingress = self.lma.switch
        self._parents = self._tree(description.links)
        for name in self.switches:
            if name != self.ingress and name not in self._parents:
                raise FabricError(f"switch {name} has no path to {self.ingress}, where the LMA is")

    def _check(self, description: FabricDescription) -> None:
        if len(set(self.switches)) != len(self.switches):
            raise FabricError("switches: a name is there twice")
        used: dict[tuple[str, int], str] = {}
        ends = [(node.switch, node.port, node.name) for node in self.nodes]
        for link in description.links:
            ends.append((link.switch, link.port, f"the link to {link.peer}"))
            ends.append((link.peer, link.peer_port, f"the link to {link.switch}"))
        for switch, port, user in ends:
            if switch not in self._neighbours:
                raise FabricError(f"{user}: there is no switch {switch}")
            if (switch, port) in used:
                other = used[switch, port]
                raise FabricError(f"port {port} of {switch} is that of {other} and of {user}")
            used[switch, port] = user
        owners: dict[str | IPv6Address, str] = {}
        for node in self.nodes:
            keys: tuple[str | IPv6Address, ...] = (node.name, *node.addresses)
            for key in keys:
                if key in owners:
                    raise FabricError(f"{key} belongs to {owners[key]} and to {node.name}")
                owners[key] = node.name

    def _tree(self, links: Iterable[Link]) -> dict[str, tuple[str, int, int]]:
        """By switch: its parent, the parent's port and its own. Breadth first, links in order."""
        ports: dict[str, list[tuple[int, str, int]]] = {name: [] for name in self.switches}
        for link in links:
            ports[link.switch].append((link.port, link.peer, link.peer_port))
            ports[link.peer].append((link.peer_port, link.switch, link.port))
        parents: dict[str, tuple[str, int, int]] = {}
        waiting = deque([self.ingress])
        while waiting:
            switch = waiting.popleft()
            for port, peer, peer_port in ports[switch]:
                if peer != self.ingress and peer not in parents:
                    parents[peer] = (switch, port, peer_port)
                    waiting.append(peer)
        return parents

    def node(self, address: IPv6Address) -> FabricNode:
        """The one that has `address`."""
        found = self._by_address.get(address)
        if found is None:
            raise FabricError(f"no node of the fabric has the address {address}")
        return found

    def mag(self, address: IPv6Address) -> FabricNode:
        found = self.node(address)
        if found is self.lma:
            raise FabricError(f"{address} is the LMA's; expected that of a MAG")
        return found

    def neighbour(self, switch: str, port: int) -> str | None:
        """The switch behind a port; None: there is a node or nothing."""
        return self._neighbours[switch].get(port)

    def upstream_port(self, switch: str) -> int:
        """Where packets from the LMA come in, and packets to it go out."""
        return self.lma.port if switch == self.ingress else self._parents[switch][2]

    def depth(self, switch: str) -> int:
        """Number of links between `switch` and the LMA's."""
        return sum(1 for _ in self._upwards(switch)) - 1

    def _upwards(self, switch: str) -> Iterator[str]:
        while switch != self.ingress:
            yield switch
            switch = self._parents[switch][0]
        yield switch

    def path(self, address: IPv6Address) -> tuple[str, ...]:
        """The switches that a packet from the LMA to the MAG with `address` passes, in order."""
        return tuple(self._upwards(self.mag(address).switch))[::-1]

    def tree(self, addresses: Iterable[IPv6Address]) -> dict[str, Branches]:
        """The paths to several MAGs, by switch, from the LMA outwards."""
        ports: dict[str, set[int]] = {}
        nodes: dict[str, set[str]] = {}
        for address in addresses:
            mag = self.mag(address)
            path = self.path(address)
            for switch in path:
                ports.setdefault(switch, set())
                nodes.setdefault(switch, set())
            for child in path[1:]:
                parent, port, _ = self._parents[child]
                ports[parent].add(port)
            nodes[mag.switch].add(mag.name)
        return {
            switch: Branches(
                tuple(sorted(ports[switch])),
                tuple(mag for mag in self.mags if mag.name in nodes[switch]),
            )
            for switch in sorted(ports, key=lambda name: (self.depth(name), name))
        }

    def next_hop(self, switch: str, node: FabricNode) -> int:
        """The port of `switch` through which packets to `node` go."""
        if node is not self.lma:
            for child in self._upwards(node.switch):
                if child == switch:
                    return node.port
                if child != self.ingress and self._parents[child][0] == switch:
                    return self._parents[child][1]
        if node.switch == switch:
            return node.port
        return self.upstream_port(switch)

    def branching(self, address: IPv6Address, others: Iterable[IPv6Address]) -> str:
        """The first switch from the LMA where a path to one of `others` leaves the one to
        `address`: where what is on its way there can be redirected from."""
        path = self.path(address)
        shared = len(path)
        for other in others:
            pairs = zip(path, self.path(other), strict=False)
            common = sum(1 for mine, theirs in pairs if mine == theirs)
            if self.mag(other) is not self.mag(address):
                shared = min(shared, common)
        return path[shared - 1]
