"""The Mininet network of a topology, up and configured.

Only hosts and veth links: routers are hosts that forward. Everything is made by this process with
system calls and netlink; nothing is written outside the nodes' namespaces, so any number of
networks can exist side by side.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
from collections.abc import Iterator
from ipaddress import IPv6Address
from typing import Any, Literal

from topologies import netlink
from topologies.crowd import expanded
from topologies.hosts import NamespaceHost, PlannedIntf, SwitchNode, VethLink, set_sysctls
from topologies.ingress import source_rules
from topologies.model import Direction, Link, Role, Topology
from topologies.namespaces import create, inside, socket_in
from topologies.plan import (
    FORWARDING_ROLES,
    LOGICAL_INTERFACE,
    LOGICAL_MAC,
    addresses,
    is_shaped,
    link_local,
    mac,
    neighbours,
    routes,
)
from topologies.switching import control_channels

# After topologies.hosts, which makes Mininet's imports cheap.
from mininet.net import Mininet  # isort: skip
from mininet.topo import Topo  # isort: skip

DirectionName = Literal["down", "up"]
DIRECTIONS: tuple[DirectionName, DirectionName] = ("down", "up")

# Duplicate address detection would hold an address back for a second or more. Flow labels and TCP
# time stamps with a random offset would make every capture different. Multicast listener reports
# would leave at random instants, and everything after them would be some clock readings off.
SYSCTLS = {
    "ipv6/auto_flowlabels": 0,
    "ipv4/tcp_timestamps": 2,
    "ipv6/conf/all/accept_dad": 0,
    "ipv6/conf/default/accept_dad": 0,
    "ipv6/conf/all/dad_transmits": 0,
    "ipv6/conf/default/dad_transmits": 0,
    "ipv6/conf/all/accept_ra": 0,
    "ipv6/conf/default/accept_ra": 0,
    "ipv6/conf/all/mldv1_unsolicited_report_interval": 1,
    "ipv6/conf/default/mldv1_unsolicited_report_interval": 1,
    "ipv6/conf/all/mldv2_unsolicited_report_interval": 1,
    "ipv6/conf/default/mldv2_unsolicited_report_interval": 1,
}
ROUTER_SYSCTLS = {"ipv6/conf/all/forwarding": 1}
# A switch's ports have no addresses and say nothing of their own.
SWITCH_SYSCTLS = {"ipv6/conf/all/disable_ipv6": 1, "ipv6/conf/default/disable_ipv6": 1}
# A day: no neighbour is probed again within a run, at a time that the kernel's own random numbers
# choose. Only the first namespace has a default for this, so each interface is told.
REACHABLE_TIME_MS = 86_400_000


class FlowMobilityTopo(Topo):  # type: ignore[misc]
    """A `Topology` in Mininet's words."""

    def build(
        self, *_args: Any, topology: Topology, switches: int | None = None, **_opts: Any
    ) -> None:
        """`switches`: the descriptor of the namespace that all switches are in."""
        for name, node in topology.nodes.items():
            if node.role is Role.SWITCH:
                self.addSwitch(name, cls=SwitchNode, sysctls={}, share=switches)
            else:
                sysctls = SYSCTLS | (ROUTER_SYSCTLS if node.role in FORWARDING_ROLES else {})
                self.addHost(name, ip=None, sysctls=sysctls)
        for name, link in topology.links.items():
            first, second = link.ends
            self.addLink(
                first,
                second,
                intfName1=link.interface(first),
                intfName2=link.interface(second),
                addr1=mac(topology, name, first),
                addr2=mac(topology, name, second),
            )


def random_seed(seed: int, link: str, direction: str) -> int:
    """The 64-bit seed of one link direction's losses in the run with seed `seed`."""
    text = f"{seed} {link} {direction}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


class _Plan:
    """What is configured, by node; computed once, because with many mobile nodes it takes time."""

    def __init__(self, topology: Topology) -> None:
        self.addresses = addresses(topology)
        self.routes = routes(topology)
        self.neighbours = neighbours(topology)
        self.links: dict[str, dict[str, Link]] = {name: {} for name in topology.nodes}
        for name, link in topology.links.items():
            for end in link.ends:
                self.links[end][name] = link


class Network:
    """A running network. Made by `build`; `stop` removes it. `topology` names every mobile node.

    No method waits for anything, so all may be called from an event loop.
    """

    def __init__(self, topology: Topology, seed: int, warm: bool) -> None:
        topology = expanded(topology)
        self.topology = topology
        self._plan = _Plan(topology)
        self.seed = seed
        self.warm = warm
        self._directions: dict[tuple[str, str], Direction] = {}
        self._with_netem: set[tuple[str, str]] = set()
        self._switches: int | None = None
        inited = Mininet.inited
        # Mininet.init() would raise the limit of open files, up to which mnexec closes them all.
        Mininet.inited = True
        try:
            if topology.switches:
                self._switches = create()
                set_sysctls(self._switches, SYSCTLS | SWITCH_SYSCTLS)
            self.mininet = Mininet(
                topo=FlowMobilityTopo(topology=topology, switches=self._switches),
                controller=None,
                host=NamespaceHost,
                link=VethLink,
                intf=PlannedIntf,
                build=False,
            )
        finally:
            Mininet.inited = inited

    def namespace(self, node: str) -> int:
        """The descriptor of a node's network namespace. Raises ValueError for an unknown node."""
        if node not in self.topology.nodes:
            known = ", ".join(self.topology.nodes)
            raise ValueError(f"node {node!r}; expected one of {known}")
        namespace = self.mininet[node].namespace
        if namespace is None:
            raise ValueError(f"node {node!r}: the network is stopped")
        return int(namespace)

    def link_local(self, access: str, end: str) -> IPv6Address:
        """The link-local address of node `end` on an access link."""
        name, _ = self._access(access)
        return link_local(mac(self.topology, name, end))

    def set_access(self, access: str, up: bool) -> None:
        """Set the MN's interface on `access` up or down; the MAG sees its carrier come or go."""
        name, interface = self._access(access)
        mn = self.topology.links[name].ends[1]
        requests = [netlink.set_link(interface, up)]
        if up and self.warm:
            # Setting an interface down has emptied its neighbour table.
            requests += self._neighbours(mn, {interface: self._index(mn, interface)})
        netlink.send(self.namespace(mn), requests)

    def direction(self, name: str, direction: DirectionName) -> Direction:
        """What a link does at present in one direction."""
        self._check_link(name, direction)
        return self._directions[name, direction]

    def change_link(self, name: str, direction: DirectionName, to: Direction) -> None:
        """Change one direction of a link in place: packets that are queued or in flight keep the
        time they were given. Raises ValueError for an unknown link or direction."""
        self._check_link(name, direction)
        request = self._netem(name, direction, to)
        if request is not None:
            netlink.send(self.namespace(self._sender(name, direction)), [request])
        self._directions[name, direction] = to

    def stop(self) -> None:
        """Remove everything that `build` made. Processes in the namespaces are the caller's."""
        self.mininet.stop()
        self.mininet.links.clear()
        self.mininet.hosts.clear()
        self.mininet.switches.clear()
        if self._switches is not None:
            os.close(self._switches)
            self._switches = None

    def start(self) -> None:
        """Make nodes and links and configure them; called by `build`."""
        self.mininet.build()
        for link in self.mininet.links:
            for intf in (link.intf1, link.intf2):
                own = self._plan.addresses[intf.node.name]
                intf.ip = next((str(a.address) for a in own if a.interface == intf.name), None)
        # Routes through an interface need its carrier, so first all interfaces, then the rest.
        self._let_control_channels_have_addresses()
        for node in self.topology.nodes:
            netlink.send(self.namespace(node), self._interfaces(node))
            self._set_reachable_time(node)
        for node in self.topology.nodes:
            netlink.send(self.namespace(node), self._configuration(node))

    def _interfaces(self, node: str) -> list[netlink.Request]:
        requests = [netlink.set_link("lo", True)]
        for link in self._plan.links[node].values():
            if not (link.access is not None and node == link.ends[1]):
                requests.append(netlink.set_link(link.interface(node), True))
        if self.topology.nodes[node].role is Role.MN:
            requests.append(netlink.new_dummy(LOGICAL_INTERFACE, LOGICAL_MAC, up=True))
        return requests

    def _let_control_channels_have_addresses(self) -> None:
        for switch, name in control_channels(self.topology).items():
            interface = self.topology.links[name].interface(switch)
            set_sysctls(self.namespace(switch), {f"ipv6/conf/{interface}/disable_ipv6": 0})

    def _set_reachable_time(self, node: str) -> None:
        sysctls = {
            f"ipv6/neigh/{link.interface(node)}/base_reachable_time_ms": REACHABLE_TIME_MS
            for link in self._plan.links[node].values()
        }
        set_sysctls(self.namespace(node), sysctls)

    def _configuration(self, node: str) -> list[netlink.Request]:
        with inside(self.namespace(node)):
            index = {name: number for number, name in socket.if_nameindex()}
        requests = [
            netlink.add_address(index[a.interface], a.address, a.prefix_length)
            for a in self._plan.addresses[node]
        ]
        if self.warm and self.topology.nodes[node].role is not Role.MN:
            requests += self._neighbours(node, index)
        requests += [
            netlink.add_route(route.network, route.gateway, index[route.interface])
            for route in self._plan.routes[node]
        ]
        requests += source_rules(self.topology, node)
        for name, link in self._plan.links[node].items():
            for direction, shape in zip(DIRECTIONS, (link.downlink, link.uplink), strict=True):
                if self._sender(name, direction) == node:
                    request = self._netem(name, direction, shape)
                    if request is not None:
                        requests.append(request)
                    self._directions[name, direction] = shape
        return requests

    def _neighbours(self, node: str, index: dict[str, int]) -> list[netlink.Request]:
        return [
            netlink.set_neighbour(index[entry.interface], entry.address, entry.mac)
            for entry in self._plan.neighbours[node]
            if entry.interface in index
        ]

    def _netem(self, name: str, direction: DirectionName, to: Direction) -> netlink.Request | None:
        """None where there is no netem and none is needed."""
        exists = (name, direction) in self._with_netem
        if not exists and not is_shaped(to):
            return None
        node = self._sender(name, direction)
        index = self._index(node, self.topology.links[name].interface(node))
        seed = None if exists else random_seed(self.seed, name, direction)
        self._with_netem.add((name, direction))
        return netlink.set_netem(index, to, seed)

    def _sender(self, name: str, direction: DirectionName) -> str:
        return self.topology.links[name].ends[DIRECTIONS.index(direction)]

    def _index(self, node: str, interface: str) -> int:
        return socket_in(self.namespace(node), lambda: socket.if_nametoindex(interface))

    def _access(self, access: str) -> tuple[str, str]:
        link = self.topology.access_link(access)
        name = next(name for name, other in self.topology.links.items() if other is link)
        return name, link.interface(link.ends[1])

    def _check_link(self, name: str, direction: str) -> None:
        if name not in self.topology.links:
            known = ", ".join(self.topology.links)
            raise ValueError(f"link {name!r}; expected one of {known}")
        if direction not in DIRECTIONS:
            raise ValueError(f"direction {direction!r}; expected down or up")


def build(topology: Topology, seed: int, warm: bool = True) -> Network:
    """Make the network of `topology` and configure it. Needs root.

    `seed` is the run's: it starts the random losses of every link. `warm`: neighbours on every
    link know each other from the start, and neighbour discovery takes no time in the run.
    If anything fails, what was made is removed before the exception leaves. Raises OSError.
    """
    network = Network(topology, seed, warm)
    try:
        network.start()
    except BaseException:
        network.stop()
        raise
    return network


@contextlib.contextmanager
def running(topology: Topology, seed: int, warm: bool = True) -> Iterator[Network]:
    """`build`, and `stop` at the end of the block."""
    network = build(topology, seed, warm)
    try:
        yield network
    finally:
        network.stop()
