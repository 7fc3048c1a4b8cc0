"""Flow mobility on record, and going on from it after a restart of the LMA.

An order that was under way goes on: it was decided, and its asker can't be told any more that it
wasn't. What a MAG was asked is asked again, because the answer may have been lost meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from nodes.actions import NOBODY, Instant
from nodes.flow_mobility_cache import FlowMobilityCache
from nodes.lma.binding_cache import BindingCache, BindingCacheEntry
from nodes.lma.flow_forwarding import FlowForwarding
from nodes.lma.flow_mobility_initiate import Asked, FlowMobilityInitiator
from nodes.lma.flow_orders import Order, Orders
from nodes.lma.session_records import (
    BindingRecord,
    Numbers,
    OrdersRecord,
    RowGone,
    RowRecord,
)


class FlowRecovery:
    """`arrange` carries an order out, as far as that is possible now."""

    def __init__(
        self,
        bindings: BindingCache,
        cache: FlowMobilityCache,
        orders: Orders,
        forwarding: FlowForwarding,
        initiator: FlowMobilityInitiator,
        arrange: Callable[[Order, Instant], None],
    ) -> None:
        self._bindings = bindings
        self._cache = cache
        self.orders = orders
        self.forwarding = forwarding
        self.numbers = initiator.notifier.numbers
        self._initiator = initiator
        self._arrange = arrange
        self._questions: list[Asked] = []
        self._interrupted: list[Order] = []

    def touched_rows(self) -> Iterable[RowRecord | RowGone]:
        """Those that came, changed or went since the last call."""
        for mn_id, fid in self._cache.touched:
            row = self._cache.get(mn_id, fid)
            if row is None:
                yield RowGone(mn_id, fid)
            else:
                yield RowRecord.of(mn_id, row, self.forwarding.key(mn_id, fid))
        self._cache.touched.clear()

    def rows(self) -> Iterable[RowRecord]:
        for mn_id, row in self._cache.all_rows():
            yield RowRecord.of(mn_id, row, self.forwarding.key(mn_id, row.fid))

    def binding(self, entry: BindingCacheEntry) -> BindingRecord:
        return BindingRecord.of(entry, self._initiator.unanswered(entry.bid))

    def orders_of(self, mn_id: str) -> OrdersRecord:
        return OrdersRecord.of(mn_id, list(self.orders.of(mn_id)))

    def touched_orders(self, mn_ids: Iterable[str]) -> Iterable[OrdersRecord]:
        """Those of mobile nodes whose orders came or went since the last call, and those of
        `mn_ids` that are under way."""
        waiting = {mn_id for mn_id in mn_ids if self.orders.of(mn_id)}
        for mn_id in sorted(self.orders.touched | waiting):
            yield self.orders_of(mn_id)
        self.orders.touched.clear()

    def all_orders(self) -> Iterable[OrdersRecord]:
        for mn_id in sorted({order.mn_id for order in self.orders.all()}):
            yield self.orders_of(mn_id)

    def restore(
        self,
        bindings: Iterable[BindingRecord],
        rows: Iterable[RowRecord],
        orders: Iterable[OrdersRecord],
        numbers: Numbers,
    ) -> None:
        """The caches as they were. Nothing follows from that until `ask_again` and `resume`."""
        for row in rows:
            self._cache.add(row.mn_id, row.row())
            self.forwarding.restore(row.mn_id, row.fid, row.key)
        self.forwarding.next_key = numbers.next_key
        self.numbers.next = numbers.next_notification
        self.orders.moves = numbers.moves
        asked = (record.outstanding() for record in bindings)
        self._questions = [question for question in asked if question is not None]
        self._interrupted = [order for record in orders for order in record.read(NOBODY)]

    def ask_again(self, now: Instant) -> None:
        """What MAGs have not answered, as far as this LMA knows."""
        for question in self._questions:
            self._initiator.ask_again(question, now)
        self._questions = []

    def resume(self, now: Instant) -> None:
        """Orders that were under way go on."""
        orders, self._interrupted = self._interrupted, []
        for order in orders:
            rows = [self._cache.get(order.mn_id, fid) for fid in order.places]
            if all(row is not None for row in rows):
                self._arrange(order, now)

    def forget(self) -> None:
        """What was touched until now isn't asked for."""
        self._cache.touched.clear()
        self.orders.touched.clear()
