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
        # By mobile node, for a prefix is never that of two: what one does costs no look at others.
        self._routes: dict[str, dict[IPv6Network, IPv6Address | None]] = {}

    def open_tunnels(self, bindings: BindingCache, *, anew: bool = False) -> list[Action]:
        """Tunnels that registered bindings need and that don't exist yet. `anew`: also those that
        bindings have which wait for deletion, as from an earlier start."""
        needed = bindings.mags() if anew else bindings.peers()
        actions: list[Action] = [OpenTunnel(peer) for peer in sorted(needed - self._tunnels)]
        self._tunnels |= needed
        return actions

    def refresh_routes(self, bindings: BindingCache, mn_id: str | None = None) -> list[Action]:
        """One route a prefix: to the registered holder with the lowest BID-PRI (RFC 6089 section
        5.3.6); dropped while the last holder waits for deletion (RFC 5213 section 5.3.5). A prefix
        whose session has ended stays where flows to it are (RFC 7864 figure 5). Those of one mobile
        node, or of all."""
        if mn_id is not None:
            return self._refresh(bindings, mn_id)
        every = dict.fromkeys([*self._routes, *bindings.mobile_nodes()])
        return [action for one in every for action in self._refresh(bindings, one)]

    def _refresh(self, bindings: BindingCache, mn_id: str) -> list[Action]:
        actions: list[Action] = []
        entries = bindings.of(mn_id)
        routes = self._routes.setdefault(mn_id, {})
        prefixes = {prefix for entry in entries for prefix in entry.all_prefixes()}
        for prefix in sorted(prefixes | set(routes)):
            # Who has it for flows only counts when no session has it.
            holders = [entry for entry in entries if prefix in entry.prefixes]
            holders = holders or [entry for entry in entries if prefix in entry.all_prefixes()]
            if not holders:
                del routes[prefix]
                actions.append(UnroutePrefix(prefix))
                continue
            registered = [entry for entry in holders if entry.routes(prefix)]
            target = registered[0].proxy_coa if registered else None
            if prefix in routes and routes[prefix] == target:
                continue
            routes[prefix] = target
            actions.append(BlockPrefix(prefix) if target is None else RoutePrefix(prefix, target))
        if not routes:
            del self._routes[mn_id]
        return actions

    def close_tunnels(self, bindings: BindingCache) -> list[Action]:
        """Tunnels that no binding uses any more (RFC 5213 section 5.6.1)."""
        needed = bindings.mags()
        actions: list[Action] = [CloseTunnel(peer) for peer in sorted(self._tunnels - needed)]
        self._tunnels &= needed
        return actions
