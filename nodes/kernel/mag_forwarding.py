"""The MAG's forwarding state in the kernel (RFC 5213 section 6.10.5).

Uplink, packets from an access interface go into the tunnel if their source is in a prefix that is
registered for that interface, and are dropped otherwise. Downlink, packets that leave the tunnel
are routed by a table that has the registered prefixes only, so that nothing loops back to the LMA.
"""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

from nodes.actions import Action, CloseTunnel, HostPrefix, OpenTunnel, UnhostPrefix
from nodes.kernel.netlink import RuleMatch
from nodes.kernel.routing import Routing

TUNNEL = "lma0"
UPLINK_TABLE = 1000
DOWNLINK_TABLE = 1001
DEFAULT_ROUTE = IPv6Network("::/0")
DOWNLINK_PRIORITY = 90
DOWNLINK_REST_PRIORITY = 91
UPLINK_PRIORITY = 100
UPLINK_REST_PRIORITY = 110
_PRIORITIES = (DOWNLINK_PRIORITY, DOWNLINK_REST_PRIORITY, UPLINK_PRIORITY, UPLINK_REST_PRIORITY)
FROM_TUNNEL = RuleMatch(incoming=TUNNEL)


class MagForwarding:
    def __init__(self, proxy_coa: IPv6Address, access_interfaces: tuple[str, ...]) -> None:
        self._proxy_coa = proxy_coa
        self._routing = Routing()
        self._routing.sweep("lma", (UPLINK_TABLE, DOWNLINK_TABLE), _PRIORITIES)
        self._hosts: dict[IPv6Network, dict[str, IPv6Address]] = {}
        for interface in access_interfaces:
            self._routing.add_rule(UPLINK_REST_PRIORITY, RuleMatch(incoming=interface), None)

    def perform(self, action: Action) -> None:
        """Carry out a forwarding action; others are not for this class."""
        match action:
            case OpenTunnel(peer):
                self._routing.add_tunnel(TUNNEL, self._proxy_coa, peer)
                self._routing.replace_route(DEFAULT_ROUTE, TUNNEL, table=UPLINK_TABLE)
                self._routing.add_rule(DOWNLINK_PRIORITY, FROM_TUNNEL, DOWNLINK_TABLE)
                self._routing.add_rule(DOWNLINK_REST_PRIORITY, FROM_TUNNEL, None)
            case CloseTunnel():
                self._routing.delete_rule(DOWNLINK_PRIORITY, FROM_TUNNEL, DOWNLINK_TABLE)
                self._routing.delete_rule(DOWNLINK_REST_PRIORITY, FROM_TUNNEL, None)
                self._routing.delete_link(TUNNEL)
            case HostPrefix(interface, prefix, _, mn_link_local):
                self._hosts.setdefault(prefix, {})[interface] = mn_link_local
                self._routing.replace_route(
                    prefix, interface, gateway=mn_link_local, table=DOWNLINK_TABLE
                )
                match = RuleMatch(source=prefix, incoming=interface)
                self._routing.add_rule(UPLINK_PRIORITY, match, UPLINK_TABLE)
            case UnhostPrefix(interface, prefix):
                match = RuleMatch(source=prefix, incoming=interface)
                self._routing.delete_rule(UPLINK_PRIORITY, match, UPLINK_TABLE)
                hosts = self._hosts[prefix]
                del hosts[interface]
                if not hosts:
                    self._routing.delete_route(prefix, table=DOWNLINK_TABLE)
                    return
                # Of several interfaces of a mobile node here, the one that got the prefix last.
                other = next(reversed(hosts))
                self._routing.replace_route(
                    prefix, other, gateway=hosts[other], table=DOWNLINK_TABLE
                )

    def tunnel_mtu(self) -> int:
        """What the MTU option of Router Advertisements says (RFC 5213 section 6.9.2)."""
        return self._routing.mtu(TUNNEL)

    def close(self) -> None:
        self._routing.close()
