"""Routes, rules and tunnels of this process's network namespace."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterable
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

from nodes.kernel import netlink, netlink_dump
from nodes.kernel.netlink import RT_TABLE_MAIN, RuleMatch
from nodes.kernel.netlink_replies import NetlinkError

# The addresses of this process's network namespace: address, index, prefix length, scope, flags (in
# hex) and interface.
IPV6_ADDRESSES = Path("/proc/self/net/if_inet6")
LINK_SCOPE, IFA_F_TENTATIVE = "20", 0x40


class Routing:
    """Each method is one request and raises NetlinkError if the kernel refuses it."""

    def __init__(self) -> None:
        self._channel = netlink.open_channel()

    def close(self) -> None:
        self._channel.close()

    def index(self, interface: str) -> int:
        return netlink.link_state(self._channel, interface).index

    def is_up(self, interface: str) -> bool:
        """Whether the interface is there, is up, has a carrier and an address to send from, which
        the kernel gives it a little later."""
        try:
            up = netlink.link_state(self._channel, interface).up
        except NetlinkError as error:
            if error.errno != errno.ENODEV:
                raise
            return False
        return up and _has_link_local_address(interface)

    def link_layer_address(self, interface: str) -> bytes:
        return netlink.link_state(self._channel, interface).link_layer_address

    def mtu(self, interface: str) -> int:
        return netlink.link_state(self._channel, interface).mtu

    def set_mtu(self, interface: str, mtu: int) -> None:
        self._do(netlink.set_mtu(interface, mtu))

    def add_tunnel(self, name: str, local: IPv6Address, remote: IPv6Address) -> None:
        self._do(netlink.new_tunnel(name, local, remote))

    def delete_link(self, name: str) -> None:
        self._do(netlink.delete_link(name))

    def replace_route(
        self,
        destination: IPv6Network,
        interface: str,
        *,
        gateway: IPv6Address | None = None,
        table: int = RT_TABLE_MAIN,
        mtu: int | None = None,
    ) -> None:
        index = self.index(interface)
        self._do(netlink.set_route(destination, index, gateway=gateway, table=table, mtu=mtu))

    def block(self, destination: IPv6Network, *, table: int = RT_TABLE_MAIN) -> None:
        """Drop what is sent to `destination`."""
        self._do(netlink.set_route(destination, None, table=table))

    def set_neighbour(self, interface: str, address: IPv6Address, mac: str) -> None:
        """For good: nobody is asked whether it is there."""
        self._do(netlink.set_neighbour(self.index(interface), address, mac))

    def delete_route(self, destination: IPv6Network, *, table: int = RT_TABLE_MAIN) -> None:
        """No error if it is gone already, as when its interface was deleted."""
        try:
            self._do(netlink.delete_route(destination, table=table))
        except NetlinkError as error:
            if error.errno not in (errno.ESRCH, errno.ENOENT):
                raise

    def add_rule(self, priority: int, match: RuleMatch, table: int | None) -> None:
        """A policy routing rule; without a table it drops what it matches."""
        self._do(netlink.rule(priority, match, table, add=True))

    def delete_rule(self, priority: int, match: RuleMatch, table: int | None) -> None:
        self._do(netlink.rule(priority, match, table, add=False))

    def sweep(self, tunnels: str, tables: Iterable[int], priorities: Iterable[int]) -> None:
        """Remove what a predecessor that was killed left: tunnels whose names are `tunnels` and a
        number, the routes of `tables`, and the rules with these `priorities`."""
        for _, name in socket.if_nameindex():
            if re.fullmatch(rf"{tunnels}\d+", name):
                self.delete_link(name)
        for table in tables:
            for route in netlink_dump.routes(self._channel):
                if route.table == table:
                    self.delete_route(route.destination, table=table)
        for priority in priorities:
            while self._delete_rule_with(priority):
                pass

    def _delete_rule_with(self, priority: int) -> bool:
        """False if there is none."""
        try:
            self._do(netlink.delete_rule_with(priority))
        except NetlinkError as error:
            if error.errno != errno.ENOENT:
                raise
            return False
        return True

    def remove_rule(self, match: RuleMatch, table: int) -> None:
        """Delete the first rule with this match and table, of any priority; none is no error."""
        try:
            self.delete_rule(0, match, table)
        except NetlinkError as error:
            if error.errno != errno.ENOENT:
                raise

    def tear_down(self, interface: str) -> None:
        """Take the interface down and up: whoever is at the other end sees its carrier go."""
        self._do(netlink.set_link(interface, up=False))
        self._do(netlink.set_link(interface, up=True))

    def set_link_layer_address(self, interface: str, address: bytes) -> None:
        self._do(netlink.set_link_layer_address(interface, address))

    def add_address(self, interface: str, address: IPv6Address, prefix_length: int) -> None:
        """Without duplicate address detection: a point-to-point link, and the home network prefix
        is this node's alone (RFC 5213 section 6.8). No error if it is there already."""
        try:
            self._do(netlink.add_address(self.index(interface), address, prefix_length))
        except NetlinkError as error:
            if error.errno != errno.EEXIST:
                raise

    def _do(self, request: netlink.Request) -> None:
        netlink.carry_out(self._channel, [request])


def _has_link_local_address(interface: str) -> bool:
    for line in IPV6_ADDRESSES.read_text(encoding="ascii").splitlines():
        _, _, _, scope, flags, name = line.split()
        if name == interface and scope == LINK_SCOPE and not int(flags, 16) & IFA_F_TENTATIVE:
            return True
    return False
