"""Where the LMA sends what no flow entry claims: tunnels and prefix routes, as differences.

The binding cache says what should be; this module remembers what is, and turns the difference into
actions in an order in which a route never points to a tunnel that isn't there.
"""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

from nodes.actions import (
    Action,
    BlockPrefix,
    CloseTunnel,
    OpenTunnel,
    RoutePrefix,
    UnroutePrefix,
)
from nodes.lma.binding_cache import BindingCache


class DefaultPath:
    def __init__(self) -> None:
        self._tunnels: set[IPv6Address] = set()
        self._routes: dict[IPv6Network, IPv6Address | None] = {}

    def open_tunnels(self, bindings: BindingCache) -> list[Action]:
        """Tunnels that registered bindings need and that don't exist yet."""
        needed = {entry.proxy_coa for entry in bindings if entry.registered}
        actions: list[Action] = [OpenTunnel(peer) for peer in sorted(needed - self._tunnels)]
        self._tunnels |= needed
        return actions

    def refresh_routes(self, bindings: BindingCache) -> list[Action]:
        """One route a prefix: to the registered holder with the lowest BID-PRI (RFC 6089 section
        5.3.6); dropped while the last holder waits for deletion (RFC 5213 section 5.3.5). A prefix
        whose session has ended stays where flows to it are (RFC 7864 figure 5)."""
        actions: list[Action] = []
        prefixes = {prefix for entry in bindings for prefix in entry.all_prefixes()}
        for prefix in sorted(prefixes | set(self._routes)):
            holders = bindings.holding(prefix) or bindings.lent(prefix)
            if not holders:
                del self._routes[prefix]
                actions.append(UnroutePrefix(prefix))
                continue
            registered = [entry for entry in holders if entry.routes(prefix)]
            target = registered[0].proxy_coa if registered else None
            if prefix in self._routes and self._routes[prefix] == target:
                continue
            self._routes[prefix] = target
            actions.append(BlockPrefix(prefix) if target is None else RoutePrefix(prefix, target))
        return actions

    def close_tunnels(self, bindings: BindingCache) -> list[Action]:
        """Tunnels that no binding uses any more (RFC 5213 section 5.6.1)."""
        needed = {entry.proxy_coa for entry in bindings}
        actions: list[Action] = [CloseTunnel(peer) for peer in sorted(self._tunnels - needed)]
        self._tunnels &= needed
        return actions
