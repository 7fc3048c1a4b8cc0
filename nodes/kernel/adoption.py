"""Routes, rules and tunnels of a node that starts while what an earlier start has left is in use.

What is asked for and is there already isn't touched; what is there and isn't asked for by the end
goes. So packets find their way all the while.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from ipaddress import IPv6Address, IPv6Network

from nodes.kernel import netlink_dump
from nodes.kernel.netlink import RT_TABLE_MAIN, RTPROT_STATIC, RuleMatch
from nodes.kernel.netlink_dump import Route, Rule, Tunnel
from nodes.kernel.routing import Routing


class AdoptingRouting(Routing):
    """`tunnels`: names of this node's tunnels, but for their number. Its own rules are those with
    `priorities`; its own routes are those in `tables`, and those of the main table that lead into
    its tunnels or are to the prefixes that `owns` knows."""

    def __init__(
        self,
        tunnels: str,
        tables: Collection[int],
        priorities: Collection[int],
        owns: Callable[[IPv6Network], bool] = lambda prefix: False,
    ) -> None:
        super().__init__()
        named = re.compile(rf"{tunnels}\d+")
        self._tunnels = {
            name: tunnel
            for name, tunnel in netlink_dump.tunnels(self._channel).items()
            if named.fullmatch(name)
        }
        indices = {self.index(name) for name in self._tunnels}
        self._routes: dict[tuple[int, IPv6Network], Route] = {
            (route.table, route.destination): route
            for route in netlink_dump.routes(self._channel)
            if route.protocol == RTPROT_STATIC
            and (
                route.table in tables
                or (
                    route.table == RT_TABLE_MAIN
                    and (route.interface in indices or owns(route.destination))
                )
            )
        }
        self._rules = [
            rule for rule in netlink_dump.rules(self._channel) if rule.priority in priorities
        ]

    def tunnel_to(self, remote: IPv6Address) -> str | None:
        """The tunnel to `remote` that waits to be asked for again."""
        return next((name for name, end in self._tunnels.items() if end.remote == remote), None)

    def is_left(self, tunnel: str) -> bool:
        """Whether a tunnel of this name waits to be asked for again, or to go."""
        return tunnel in self._tunnels

    def add_tunnel(self, name: str, local: IPv6Address, remote: IPv6Address) -> None:
        left = self._tunnels.pop(name, None)
        if left == Tunnel(local, remote):
            return
        if left is not None:
            self.delete_link(name)
        super().add_tunnel(name, local, remote)

    def replace_route(
        self,
        destination: IPv6Network,
        interface: str,
        *,
        gateway: IPv6Address | None = None,
        table: int = RT_TABLE_MAIN,
        mtu: int | None = None,
    ) -> None:
        left = self._routes.pop((table, destination), None)
        if (
            left is None
            or (left.interface, left.gateway) != (self.index(interface), gateway)
            or mtu is not None
        ):
            super().replace_route(destination, interface, gateway=gateway, table=table, mtu=mtu)

    def block(self, destination: IPv6Network, *, table: int = RT_TABLE_MAIN) -> None:
        left = self._routes.pop((table, destination), None)
        if left is None or left.interface is not None:
            super().block(destination, table=table)

    def delete_route(self, destination: IPv6Network, *, table: int = RT_TABLE_MAIN) -> None:
        # One that drops is asked for by deleting what there is, and then by `block`.
        left = self._routes.get((table, destination))
        if left is None or left.interface is not None:
            self._routes.pop((table, destination), None)
            super().delete_route(destination, table=table)

    def add_rule(self, priority: int, match: RuleMatch, table: int | None) -> None:
        rule = Rule(priority, match, table)
        if rule in self._rules:
            self._rules.remove(rule)
        else:
            super().add_rule(priority, match, table)

    def remove_rule(self, match: RuleMatch, table: int) -> None:
        # Not the one that is at its own place already.
        if not any((rule.match, rule.table) == (match, table) for rule in self._rules):
            super().remove_rule(match, table)

    def end_adoption(self) -> None:
        """What is left now goes."""
        for rule in self._rules:
            self.delete_rule(*rule)
        for table, destination in self._routes:
            super().delete_route(destination, table=table)
        for name in self._tunnels:
            self.delete_link(name)
        self._rules, self._routes, self._tunnels = [], {}, {}
