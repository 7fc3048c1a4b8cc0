"""The LMA follows a mobile node that decides for itself (RFC 7864 section 3.1).

A flow of such a node is where its uplink packets come from: one that comes through another MAG's
tunnel moves the flow's row there, so that up- and downlink agree again. A flow that no row claims
gets one of its own, below all others.
"""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

from nodes.actions import (
    NOBODY,
    IgnoreUplink,
    Instant,
    Log,
    Outbox,
    WatchUplink,
)
from nodes.config import LmaConfig
from nodes.flow_mobility_cache import FlowMobilityCacheEntry
from nodes.lma.binding_cache import BindingCache, BindingCacheEntry
from nodes.lma.flow_mobility import FlowMobility
from nodes.wire.mobility_header import NEXT_HEADER as MOBILITY_HEADER
from nodes.wire.traffic_selector import IPv6TrafficSelector, PacketFields

# FIDs, and priorities, of rows that the LMA makes itself: an operator's come before them.
OWN_ROWS = range(0x8000, 0x10000)
MOST_OWN_ROWS = 1024


class UplinkFollowing:
    def __init__(
        self, config: LmaConfig, bindings: BindingCache, flows: FlowMobility, outbox: Outbox
    ) -> None:
        self._bindings = bindings
        self._flows = flows
        self._outbox = outbox
        self._deciding = {
            mn_id for mn_id, policy in config.mobile_nodes.items() if policy.decision_maker == "mn"
        }
        self._watched: set[IPv6Network] = set()
        self._own: dict[str, list[int]] = {}

    def restore(self) -> None:
        """After a start with the rows of an earlier one: which of them are its own."""
        for mn_id in sorted(self._deciding):
            fids = sorted(row.fid for row in self._flows.cache.rows(mn_id) if row.fid in OWN_ROWS)
            if fids:
                self._own[mn_id] = fids

    def decides(self, mn_id: str) -> bool:
        """Whether the mobile node decides, and not the LMA."""
        return mn_id in self._deciding

    def refresh(self) -> None:
        """Watch the prefixes that the deciding nodes have now."""
        if not self._deciding and not self._watched:
            return
        wanted = {
            prefix
            for mn_id in self._deciding
            for entry in self._bindings.of(mn_id)
            for prefix in entry.prefixes
        }
        self._outbox.put(*(WatchUplink(prefix) for prefix in sorted(wanted - self._watched)))
        self._outbox.put(*(IgnoreUplink(prefix) for prefix in sorted(self._watched - wanted)))
        self._watched = wanted

    def seen(self, packet: PacketFields, proxy_coa: IPv6Address, now: Instant) -> None:
        """An uplink packet of a flow came through the tunnel of `proxy_coa`, and the one before it
        did not, or there was none."""
        target = self._sender(packet, proxy_coa)
        if target is None or packet.protocol == MOBILITY_HEADER:
            return
        row = self._flows.cache.match(target.mn_id, packet.reversed())
        if row is None:
            self._make_row(target, packet, now)
        elif row.bids != (target.bid,):
            details = {"mn": target.mn_id, "fid": row.fid}
            self._outbox.put(Log("followed", details))
            self._flows.move_flow(target.mn_id, row.fid, target.bid, NOBODY, now)

    def _sender(self, packet: PacketFields, proxy_coa: IPv6Address) -> BindingCacheEntry | None:
        """The binding of a deciding node that has the packet's source, at that MAG."""
        source = packet.source
        owners = {
            entry.mn_id
            for entry in self._bindings
            if entry.mn_id in self._deciding and any(source in prefix for prefix in entry.prefixes)
        }
        for mn_id in owners:
            for entry in self._bindings.of(mn_id):
                if entry.registered and entry.proxy_coa == proxy_coa:
                    return entry
        return None

    def _make_row(self, target: BindingCacheEntry, packet: PacketFields, now: Instant) -> None:
        """Only for a flow that leaves the default path; the oldest own row makes room."""
        holders = [
            entry
            for entry in self._bindings.of(target.mn_id)
            if entry.registered and any(packet.source in prefix for prefix in entry.prefixes)
        ]
        if holders and holders[0] is target:
            return
        own = self._own.setdefault(target.mn_id, [])
        if len(own) >= MOST_OWN_ROWS:
            self._flows.remove_flow(target.mn_id, own.pop(0), NOBODY)
        taken = {row.fid for row in self._flows.cache.rows(target.mn_id)} | {
            row.priority for row in self._flows.cache.rows(target.mn_id)
        }
        fid = next(number for number in OWN_ROWS if number not in taken)
        seen = packet.reversed()
        assert isinstance(seen.source, IPv6Address)
        assert isinstance(seen.destination, IPv6Address)
        selector = IPv6TrafficSelector(
            start_source_address=seen.source,
            start_destination_address=seen.destination,
            start_source_port=seen.source_port,
            start_destination_port=seen.destination_port,
            start_next_header=seen.protocol,
        )
        own.append(fid)
        self._outbox.put(Log("followed", {"mn": target.mn_id, "fid": fid}))
        entry = FlowMobilityCacheEntry(fid, fid, selector, (target.bid,))
        self._flows.add_flow(target.mn_id, entry, NOBODY, now)
