"""The MAG's routing state: tunnels to LMAs and the prefixes that it hosts (RFC 5213 sections
6.9.1.2, 6.9.1.4 and 6.10)."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

from nodes.actions import CloseTunnel, FilterFlows, HostPrefix, OpenTunnel, Outbox, UnhostPrefix
from nodes.flow_mobility_cache import FlowMobilityCacheEntry
from nodes.mag.binding_update_list import BindingUpdateListEntry


class HostedPrefixes:
    def __init__(self, local_routing: bool, outbox: Outbox) -> None:
        self._local_routing = local_routing
        self._outbox = outbox
        # Who uses the tunnel to an LMA: it is there as long as somebody does (section 5.6.1).
        self._users: dict[IPv6Address, set[str]] = {}

    def host(
        self,
        entry: BindingUpdateListEntry,
        on_link: tuple[IPv6Network, ...],
        off_link: tuple[IPv6Network, ...],
        flows: tuple[FlowMobilityCacheEntry, ...] | None = None,
    ) -> None:
        """Make the set of routed prefixes be `on_link` and `off_link` and no others; with `flows`,
        even if there are none left, the off-link ones for these only."""
        self._filter(entry, off_link, flows)
        before, after = entry.hosted, on_link + off_link
        if not entry.tunnel:
            self._open_tunnel(entry)
        for prefix in after:
            if prefix not in before:
                self._route(entry, prefix)
        for prefix in before:
            if prefix not in after:
                self._outbox.put(UnhostPrefix(entry.interface, prefix))
        entry.prefixes, entry.off_link_prefixes, entry.hosted = on_link, off_link, after

    def unhost(self, entry: BindingUpdateListEntry) -> None:
        """Route nothing to the mobile node; `entry.prefixes` still says what was assigned."""
        for prefix in entry.hosted:
            self._outbox.put(UnhostPrefix(entry.interface, prefix))
        entry.hosted = entry.off_link_prefixes = ()
        self._filter(entry, (), None)

    def move_to(self, entry: BindingUpdateListEntry, mn_link_local: IPv6Address) -> None:
        """The mobile node has this address on its link."""
        if entry.mn_link_local == mn_link_local:
            return
        entry.mn_link_local = mn_link_local
        for prefix in entry.hosted:
            self._outbox.put(UnhostPrefix(entry.interface, prefix))
            self._route(entry, prefix)

    def leave_tunnel(self, entry: BindingUpdateListEntry) -> None:
        if not entry.tunnel:
            return
        entry.tunnel = False
        users = self._users[entry.lma]
        users.discard(entry.interface)
        if not users:
            del self._users[entry.lma]
            self._outbox.put(CloseTunnel(entry.lma))

    def _filter(
        self,
        entry: BindingUpdateListEntry,
        off_link: tuple[IPv6Network, ...],
        flows: tuple[FlowMobilityCacheEntry, ...] | None,
    ) -> None:
        """Before a prefix is routed, so that nothing passes that shouldn't."""
        filtered = () if flows is None else off_link
        rows = flows or ()
        if filtered != entry.filtered or (filtered and rows != entry.flows):
            self._outbox.put(FilterFlows(entry.interface, filtered, rows if filtered else ()))
        entry.filtered, entry.flows = filtered, rows

    def _open_tunnel(self, entry: BindingUpdateListEntry) -> None:
        entry.tunnel = True
        if entry.lma not in self._users:
            self._outbox.put(OpenTunnel(entry.lma))
        self._users.setdefault(entry.lma, set()).add(entry.interface)

    def _route(self, entry: BindingUpdateListEntry, prefix: IPv6Network) -> None:
        own = entry.profile.local_routing
        local = self._local_routing if own is None else own
        self._outbox.put(HostPrefix(entry.interface, prefix, entry.lma, entry.mn_link_local, local))
