"""What the MAG of a binding has to have for flows (RFC 7864 sections 3.2 to 3.4)."""

from __future__ import annotations

from collections.abc import Sequence

from nodes.config import LmaConfig
from nodes.flow_mobility_cache import FlowAction, FlowMobilityCache, FlowMobilityCacheEntry
from nodes.flow_mobility_set import FlowMobilitySet
from nodes.lma.binding_cache import BindingCache, BindingCacheEntry
from nodes.lma.flow_forwarding import FlowForwarding
from nodes.lma.flow_orders import Order, Orders
from nodes.wire.flow_options import FlowIdentification


class FlowMobilityNeeds:
    def __init__(
        self,
        config: LmaConfig,
        bindings: BindingCache,
        cache: FlowMobilityCache,
        orders: Orders,
        forwarding: FlowForwarding,
    ) -> None:
        self._config = config
        self._bindings = bindings
        self._cache = cache
        self._orders = orders
        self._forwarding = forwarding

    def of(self, entry: BindingCacheEntry) -> FlowMobilitySet:
        """What the MAG of a binding has to have: for the flows that are there, that are ordered
        there, or that may have to go back there; and ahead of any move, what the policy says."""
        places = self._orders.places(entry.mn_id)
        rows = []
        for row in self._cache.rows(entry.mn_id):
            place = places.get(row.fid)
            bids = row.bids if place is None else row.bids + place.bids + place.previous
            if entry.bid in bids:
                rows.append(row)
        needed = self._of_rows(rows, entry)
        if self._config.mobile_nodes[entry.mn_id].prefix_delivery == "at-attach":
            others = [other for other in self._bindings.of(entry.mn_id) if other is not entry]
            prefixes = dict.fromkeys(prefix for other in others for prefix in other.prefixes)
            ahead = (prefix for prefix in prefixes if prefix not in entry.prefixes)
            needed = FlowMobilitySet(tuple(ahead)).with_all(needed)
        return needed

    def of_order(self, order: Order, entry: BindingCacheEntry) -> FlowMobilitySet:
        rows = [
            row
            for row in self._cache.rows(order.mn_id)
            if row.fid in order.places and entry.bid in order.places[row.fid].bids
        ]
        return self._of_rows(rows, entry)

    def _of_rows(
        self, rows: Sequence[FlowMobilityCacheEntry], entry: BindingCacheEntry
    ) -> FlowMobilitySet:
        """What `entry`'s MAG has to have for flows. Nothing for those that the LMA drops."""
        rows = [row for row in rows if row.action is FlowAction.FORWARD]
        known_prefixes = self._forwarding.prefixes(entry.mn_id)
        prefixes = dict.fromkeys(
            prefix
            for row in rows
            for prefix in self._forwarding.addressed(row, known_prefixes)
            if prefix not in entry.prefixes
        )
        flows: tuple[FlowIdentification, ...] = ()
        if self._config.mobile_nodes[entry.mn_id].granularity == "flow":
            # No binding reference: BIDs are local to the LMA (RFC 7864 section 5.1).
            flows = tuple(
                FlowIdentification(row.fid, row.priority, sub_options=(row.selector,))
                for row in rows
            )
        return FlowMobilitySet(tuple(prefixes), flows)
