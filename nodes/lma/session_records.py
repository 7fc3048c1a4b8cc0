"""What the LMA keeps of its sessions on disk, as plain values: bindings, rows of the flow mobility
cache, orders that MAGs have yet to answer, and the numbers that go on.

Each record replaces the one before it with the same name. Times are monotonic, in s, and hold until
the machine starts again.
"""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from typing import Any

import msgspec

from nodes.flow_mobility_cache import FlowAction, FlowMobilityCacheEntry
from nodes.flow_mobility_set import FlowMobilitySet
from nodes.lma.binding_cache import BindingCacheEntry
from nodes.lma.flow_mobility_initiate import Asked
from nodes.lma.flow_orders import Order, Placement
from nodes.selectors import selector_fields, selector_of
from nodes.wire.flow_options import FlowIdentification
from nodes.wire.options import AccessLinkReport

# The fields of a selector that are set, by name.
Fields = dict[str, Any]
# FID, priority and selector.
Flow = tuple[int, int, Fields]


class _Record(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An array in JSON, which begins with what it is of."""


class MobilitySet(_Record, frozen=True):
    prefixes: tuple[str, ...]
    flows: tuple[Flow, ...]

    @staticmethod
    def of(there: FlowMobilitySet) -> MobilitySet:
        flows = (
            (flow.fid, flow.priority, selector_fields(flow.selector))
            for flow in there.flows
            if flow.selector is not None  # each has one: it is a row's
        )
        return MobilitySet(_texts(there.prefixes), tuple(flows))

    def read(self) -> FlowMobilitySet:
        flows = (
            FlowIdentification(fid, priority, sub_options=(selector_of(fields),))
            for fid, priority, fields in self.flows
        )
        return FlowMobilitySet(_networks(self.prefixes), tuple(flows))


class BindingRecord(_Record, frozen=True, tag="binding"):
    """`asked`: what an unanswered FMI asks for, and what its MAG had before."""

    bid: int
    bid_priority: int
    mn_id: str
    access_technology: int
    link_layer_id: str
    prefixes: tuple[str, ...]
    proxy_coa: str
    expires: float
    link_local_address: str
    timestamp: int
    greatest_timestamp: int
    sequence: int
    deletion: float | None
    there: MobilitySet
    inherited_prefixes: tuple[str, ...]
    revocation_in_progress: bool
    accepted_at: float
    report: tuple[int, int, int]
    asked: tuple[MobilitySet, MobilitySet] | None

    @staticmethod
    def of(entry: BindingCacheEntry, asked: Asked | None) -> BindingRecord:
        report = entry.access_link_report
        there = FlowMobilitySet(entry.flow_mobility_prefixes, entry.flow_identifications)
        return BindingRecord(
            bid=entry.bid,
            bid_priority=entry.bid_priority,
            mn_id=entry.mn_id,
            access_technology=entry.access_technology,
            link_layer_id=entry.link_layer_id.hex(),
            prefixes=_texts(entry.prefixes),
            proxy_coa=str(entry.proxy_coa),
            expires=entry.expires,
            link_local_address=str(entry.link_local_address),
            timestamp=entry.timestamp,
            greatest_timestamp=entry.greatest_timestamp,
            sequence=entry.sequence,
            deletion=entry.deletion,
            there=MobilitySet.of(there),
            inherited_prefixes=_texts(entry.inherited_prefixes),
            revocation_in_progress=entry.revocation_in_progress,
            accepted_at=entry.accepted_at,
            report=(report.quality, report.load, report.queue_delay_ms),
            asked=None
            if asked is None
            else (MobilitySet.of(asked.wanted), MobilitySet.of(asked.before)),
        )

    def entry(self) -> BindingCacheEntry:
        prefixes, flows = self.there.read()
        return BindingCacheEntry(
            bid=self.bid,
            bid_priority=self.bid_priority,
            mn_id=self.mn_id,
            access_technology=self.access_technology,
            link_layer_id=bytes.fromhex(self.link_layer_id),
            prefixes=_networks(self.prefixes),
            proxy_coa=IPv6Address(self.proxy_coa),
            expires=self.expires,
            link_local_address=IPv6Address(self.link_local_address),
            timestamp=self.timestamp,
            greatest_timestamp=self.greatest_timestamp,
            sequence=self.sequence,
            deletion=self.deletion,
            flow_mobility_prefixes=prefixes,
            flow_identifications=flows,
            inherited_prefixes=_networks(self.inherited_prefixes),
            revocation_in_progress=self.revocation_in_progress,
            accepted_at=self.accepted_at,
            access_link_report=AccessLinkReport(*self.report),
        )

    def outstanding(self) -> Asked | None:
        if self.asked is None:
            return None
        wanted, before = self.asked
        return Asked(self.mn_id, self.bid, wanted.read(), before.read())


class BindingGone(_Record, frozen=True, tag="no-binding"):
    bid: int


class RowRecord(_Record, frozen=True, tag="row"):
    """`key`: what the flow is called in the kernel. Whether the row is active follows from the
    bindings."""

    mn_id: str
    fid: int
    priority: int
    selector: Fields
    bids: tuple[int, ...]
    action: FlowAction
    key: int

    @staticmethod
    def of(mn_id: str, row: FlowMobilityCacheEntry, key: int) -> RowRecord:
        fields = selector_fields(row.selector)
        return RowRecord(mn_id, row.fid, row.priority, fields, row.bids, row.action, key)

    def row(self) -> FlowMobilityCacheEntry:
        selector = selector_of(self.selector)
        return FlowMobilityCacheEntry(self.priority, self.fid, selector, self.bids, self.action)


class RowGone(_Record, frozen=True, tag="no-row"):
    mn_id: str
    fid: int


class OrderRecord(_Record, frozen=True):
    """`places` by FID."""

    places: tuple[tuple[int, Placement], ...]
    several: bool
    placed: bool
    switched: bool


class OrdersRecord(_Record, frozen=True, tag="orders"):
    """All of a mobile node's that are under way."""

    mn_id: str
    orders: tuple[OrderRecord, ...]

    @staticmethod
    def of(mn_id: str, orders: list[Order]) -> OrdersRecord:
        return OrdersRecord(
            mn_id,
            tuple(
                OrderRecord(
                    tuple(order.places.items()),
                    order.several,
                    order.placed,
                    order.switched,
                )
                for order in orders
            ),
        )

    def read(self, token: int) -> list[Order]:
        return [
            Order(
                self.mn_id,
                token,
                dict(record.places),
                record.several,
                placed=record.placed,
                switched=record.switched,
            )
            for record in self.orders
        ]


class Numbers(_Record, frozen=True, tag="numbers"):
    """Those that go on: the next BID, flow key and sequence numbers, the last move and hold."""

    next_bid: int
    next_key: int
    next_notification: int
    next_revocation: int
    next_heartbeat: int
    moves: int
    holds: int


class PeerRecord(_Record, frozen=True, tag="peer"):
    """The Restart Counter of a MAG, and when it was heard last."""

    address: str
    restart_counter: int
    heard: float


Record = BindingRecord | BindingGone | RowRecord | RowGone | OrdersRecord | Numbers | PeerRecord


def _texts(networks: tuple[IPv6Network, ...]) -> tuple[str, ...]:
    return tuple(str(network) for network in networks)


def _networks(texts: tuple[str, ...]) -> tuple[IPv6Network, ...]:
    return tuple(IPv6Network(text) for text in texts)
