"""Routes, rules and tunnels of this process's network namespace, through netlink (pyroute2)."""

from __future__ import annotations

import errno
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

from pyroute2 import IPRoute  # type: ignore[import-untyped]
from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]

IPV6_HEADER = 40
_PROTOCOL_IPV6 = 41
_HOP_LIMIT = 64
# linux/ip6_tunnel.h: no tunnel encapsulation limit option (it would cost 8 octets of MTU, RFC 2473
# section 5.1), and the traffic class of the inner packet on the outer one.
_IGNORE_ENCAPSULATION_LIMIT = 0x1
_INHERIT_TRAFFIC_CLASS = 0x2
_MAIN_TABLE = 254
_FAMILY_INET6 = 10


class Routing:
    def __init__(self) -> None:
        self._netlink = IPRoute()
        self._indices: dict[str, int] = {}

    def close(self) -> None:
        self._netlink.close()

    def index(self, interface: str) -> int:
        """The interface's index. Raises LookupError if there is no such interface."""
        if interface not in self._indices:
            found = self._netlink.link_lookup(ifname=interface)
            if not found:
                raise LookupError(f"no interface {interface}")
            self._indices[interface] = found[0]
        return self._indices[interface]

    def link_layer_address(self, interface: str) -> str:
        (link,) = self._netlink.get_links(self.index(interface))
        return str(link.get_attr("IFLA_ADDRESS"))

    def interfaces_up(self) -> dict[str, bool]:
        """Which interfaces have a carrier and are up."""
        states: dict[str, bool] = {}
        for link in self._netlink.get_links():
            states[link.get_attr("IFLA_IFNAME")] = link.get_attr("IFLA_OPERSTATE") == "UP"
        return states

    def add_tunnel(self, name: str, local: IPv6Address, remote: IPv6Address) -> None:
        """An IPv6-in-IPv6 tunnel (RFC 2473), up."""
        self._netlink.link(
            "add",
            ifname=name,
            kind="ip6tnl",
            ip6tnl_local=str(local),
            ip6tnl_remote=str(remote),
            ip6tnl_proto=_PROTOCOL_IPV6,
            ip6tnl_ttl=_HOP_LIMIT,
            ip6tnl_flags=_IGNORE_ENCAPSULATION_LIMIT | _INHERIT_TRAFFIC_CLASS,
        )
        self._netlink.link("set", index=self.index(name), state="up")

    def delete_link(self, name: str) -> None:
        self._netlink.link("del", index=self.index(name))
        del self._indices[name]

    def mtu(self, interface: str) -> int:
        (link,) = self._netlink.get_links(self.index(interface))
        return int(link.get_attr("IFLA_MTU"))

    def replace_route(
        self,
        destination: IPv6Network,
        interface: str,
        *,
        gateway: IPv6Address | None = None,
        table: int = _MAIN_TABLE,
        mtu: int | None = None,
    ) -> None:
        extra: dict[str, object] = {}
        if gateway is not None:
            extra["gateway"] = str(gateway)
        if mtu is not None:
            extra["metrics"] = {"mtu": mtu}
        self._netlink.route(
            "replace",
            family=_FAMILY_INET6,
            dst=str(destination),
            oif=self.index(interface),
            table=table,
            **extra,
        )

    def block(self, destination: IPv6Network, *, table: int = _MAIN_TABLE) -> None:
        """Drop what is sent to `destination`."""
        self._netlink.route(
            "replace",
            family=_FAMILY_INET6,
            dst=str(destination),
            type="blackhole",
            table=table,
        )

    def delete_route(self, destination: IPv6Network, *, table: int = _MAIN_TABLE) -> None:
        """No error if it is gone already, as when its interface was deleted."""
        try:
            self._netlink.route("del", family=_FAMILY_INET6, dst=str(destination), table=table)
        except NetlinkError as error:
            if error.code not in (errno.ESRCH, errno.ENOENT):
                raise

    def add_rule(self, priority: int, table: int | None, **match: object) -> None:
        """A policy routing rule; without a table it drops what it matches."""
        self._netlink.rule(
            "add", family=_FAMILY_INET6, priority=priority, **_rule_action(table), **match
        )

    def delete_rule(self, priority: int, table: int | None, **match: object) -> None:
        self._netlink.rule(
            "del", family=_FAMILY_INET6, priority=priority, **_rule_action(table), **match
        )

    def add_address(self, interface: str, address: IPv6Address, prefix_length: int) -> None:
        """Without duplicate address detection: a point-to-point link, and the home network prefix
        is this node's alone (RFC 5213 section 6.8)."""
        no_dad = 0x02
        self._netlink.addr(
            "add",
            family=_FAMILY_INET6,
            index=self.index(interface),
            address=str(address),
            prefixlen=prefix_length,
            flags=no_dad,
        )

    def set_mtu(self, interface: str, mtu: int) -> None:
        self._netlink.link("set", index=self.index(interface), mtu=mtu)


def _rule_action(table: int | None) -> dict[str, object]:
    return {"action": "blackhole"} if table is None else {"table": table}


def write_sysctl(path: str, value: str) -> None:
    """Set /proc/sys/PATH, in the network namespace of this process."""
    (Path("/proc/sys") / path).write_text(value, encoding="ascii")
