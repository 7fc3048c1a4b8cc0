"""Flow mobility at the LMA (RFC 7864 section 3): flow bindings and orders to move them.

A move that the target MAG already has the prefixes for is a local change of the LMA (RFC 7864
section 3.2.1). Any other is signalled with FMI and FMA (section 3.2.2), and packets take the new
path after the FMA or together with the FMI, as the mobile node's policy says.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

from nodes.actions import Instant, Log, Outbox, Reply
from nodes.config import LmaConfig, MobileNodePolicy
from nodes.flow_mobility_cache import (
    FlowConflict,
    FlowMobilityCache,
    FlowMobilityCacheEntry,
)
from nodes.flow_mobility_set import FlowMobilitySet
from nodes.lma.binding_cache import BindingCache, BindingCacheEntry
from nodes.lma.flow_forwarding import FlowForwarding
from nodes.lma.flow_mobility_initiate import (
    NOT_SUPPORTED,
    FlowMobilityInitiator,
    Outcome,
    known,
)
from nodes.lma.flow_mobility_needs import FlowMobilityNeeds
from nodes.lma.flow_orders import Order, Orders, Placement
from nodes.lma.flow_recovery import FlowRecovery
from nodes.lma.path_changes import PathChanges
from nodes.wire.messages import UpdateNotificationAcknowledgement


class FlowMobility:
    def __init__(
        self,
        config: LmaConfig,
        bindings: BindingCache,
        outbox: Outbox,
        paths: PathChanges,
        rng: random.Random,
    ) -> None:
        self._config = config
        self._bindings = bindings
        self._outbox = outbox
        self._paths = paths
        self.cache = FlowMobilityCache()
        self._orders = Orders()
        self._forwarding = FlowForwarding(self.cache, bindings, self._prefixes_at, outbox)
        self.needs = FlowMobilityNeeds(config, bindings, self.cache, self._orders, self._forwarding)
        self._initiator = FlowMobilityInitiator(config, bindings, self.needs.of, outbox, rng)
        self.recovery = FlowRecovery(
            bindings, self.cache, self._orders, self._forwarding, self._initiator, self._arrange
        )
        self._changed: set[str] = set()

    def deadline(self) -> float | None:
        return self._initiator.deadline()

    def add_flow(self, mn_id: str, entry: FlowMobilityCacheEntry, token: int, now: Instant) -> None:
        """Add a flow. If its bindings' MAGs have to be told of something first, packets take the
        default path until they have answered, and the reply comes then."""
        own = {binding.bid for binding in self._bindings.of(mn_id)}
        if not entry.bids or not own.issuperset(entry.bids):
            return self._refuse(token, f"bids is {list(entry.bids)}; expected bindings of {mn_id}")
        try:
            self.cache.add(mn_id, entry)
        except FlowConflict as conflict:
            return self._refuse(token, str(conflict))
        self._forwarding.add(mn_id, entry.fid)
        self.refresh(mn_id)
        self._log("flow-added", mn_id, entry.fid, to=self._names(entry.bids))
        order = Order(mn_id, token, {entry.fid: Placement(entry.bids, (), None)})
        return self._arrange(order, now)

    def remove_flow(self, mn_id: str, fid: int, token: int) -> None:
        if self.cache.get(mn_id, fid) is None:
            return self._refuse(token, f"fid is {fid}; {mn_id} has no such flow")
        refusal = self._paths.refusal()
        if refusal is not None:
            return self._refuse(token, f"the flow was not removed: {refusal}")
        self._supersede(mn_id, fid, "removed", "the flow was removed")
        key = self._forwarding.key(mn_id, fid)
        self._remove(mn_id, fid)
        self.refresh(mn_id)
        self._paths.answer(key, Reply(token, {"fid": fid}))
        return None

    def _remove(self, mn_id: str, fid: int) -> None:
        self.cache.remove(mn_id, fid)
        self._forwarding.remove(mn_id, fid)
        self._log("flow-removed", mn_id, fid)

    def move_flow(
        self, mn_id: str, fid: int, bid: int, token: int, now: Instant, *, decided: bool = False
    ) -> None:
        """Move a flow to binding `bid`. The reply comes when the move is complete or has failed."""
        self.move_flows(mn_id, (fid,), (bid,), token, now, decided=decided)

    def fids(self, mn_id: str, prefix: IPv6Network | None = None) -> list[int]:
        """The flows of a mobile node, or those whose packets are all addressed to `prefix`."""
        return [
            row.fid
            for row in self.cache.rows(mn_id)
            if prefix is None or self._forwarding.is_within(row, prefix)
        ]

    def move_flows(
        self,
        mn_id: str,
        fids: Sequence[int],
        bids: Sequence[int],
        token: int,
        now: Instant,
        *,
        decided: bool = False,
    ) -> None:
        """Move flows to `bids`, all by one FMI a MAG and one change of the forwarding, or none of
        them: if one of the MAGs refuses, all go back. `decided`: the decision was taken earlier,
        and is on record."""
        bids = tuple(dict.fromkeys(bids))
        rows = {fid: self.cache.get(mn_id, fid) for fid in fids}
        for fid, row in rows.items():
            if row is None:
                return self._refuse(token, f"fid is {fid}; {mn_id} has no such flow")
        for bid in bids:
            target = self._bindings.get(bid)
            if target is None or target.mn_id != mn_id or not target.registered:
                return self._refuse(token, f"to is {bid}; {mn_id} has no registered binding of it")
        if not rows or not bids:
            return self._refuse(token, "expected one flow and one binding at least")
        order = Order(mn_id, token, several=len(rows) > 1)
        for fid, row in rows.items():
            assert row is not None
            self._orders.moves += 1
            if not decided:
                details = {"from": self._names(row.bids), "move": self._orders.moves}
                self._log("decision", mn_id, fid, to=self._names(bids), **details)
            previous = self._supersede(
                mn_id, fid, "superseded", "a newer move of this flow replaced it"
            )
            order.places[fid] = Placement(bids, previous or row.bids, self._orders.moves)
        return self._arrange(order, now)

    def _arrange(self, order: Order, now: Instant) -> None:
        """Carry an order out at once if nothing has to be signalled for it, else have it
        signalled."""
        self._orders.add(order)
        refusal = self._paths.refusal()
        if refusal is not None:
            return self._fail(order, refusal)
        order.unanswered = {bid for bid in order.targets() if self._lacks(order, bid)}
        for bid in sorted(order.unanswered):
            entry = self._bindings.get(bid)
            assert entry is not None
            if not self._initiator.supports(entry) and not self._postpone(order):
                return None
        for bid in sorted(order.unanswered):
            entry = self._bindings.get(bid)
            assert entry is not None
            self._initiator.request(entry, now)
        return self._advance(order)

    def _advance(self, order: Order) -> None:
        """Switch and finish as far as the MAGs are."""
        early = self._policy(order.mn_id).switch == "on-send" and all(
            self._has_been_asked(order, bid) for bid in order.unanswered
        )
        if (early or not order.unanswered) and not order.placed:
            refusal = self._paths.refusal()
            if refusal is not None:
                return self._fail(order, refusal)
            order.placed = True
            for fid, place in order.places.items():
                self.cache.rebind(order.mn_id, fid, place.bids)
            self.refresh(order.mn_id)
        keys = [self._forwarding.key(order.mn_id, fid) for fid in order.places]
        if order.placed and not order.switched and not self._paths.awaited(keys):
            order.switched = True
            for fid, place in order.places.items():
                if place.move is not None:
                    self._log("switched", order.mn_id, fid, to=self._names(place.bids))
        if order.switched and not order.unanswered:
            self._orders.remove(order)
            self._changed.add(order.mn_id)
            self._outbox.put(Reply(order.token, order.result()))
        return None

    def paths_concluded(self, keys: Collection[int], error: str | None) -> None:
        """The newest changes of the paths of these flows are in force, or failed with `error`."""
        for order in self._orders.all():
            if not any(self._forwarding.key(order.mn_id, fid) in keys for fid in order.places):
                continue
            if error is None and order.placed:
                self._advance(order)
            elif error is not None and (order.placed or order.is_addition()):
                self._fail(order, error)

    def _fail(self, order: Order, reason: str) -> None:
        """Everything goes back to where it was."""
        self._orders.remove(order)
        for fid, place in order.places.items():
            self._log("move-failed", order.mn_id, fid, reason=reason)
            if place.move is None:
                self._remove(order.mn_id, fid)
            else:
                self.cache.rebind(order.mn_id, fid, place.previous)
        self.refresh(order.mn_id)
        what = "the flow was not added" if order.is_addition() else "the move failed"
        self._refuse(order.token, f"{what}: {reason}")

    def _supersede(self, mn_id: str, fid: int, reason: str, error: str) -> tuple[int, ...]:
        """A newer order for a flow takes it out of one that still waits for its FMA. Returns the
        bindings that the older one would have gone back to; empty if there was none."""
        order = self._orders.with_flow(mn_id, fid)
        if order is None:
            return ()
        place = order.places.pop(fid)
        self._log("move-failed", mn_id, fid, reason=reason)
        if order.places:
            order.unanswered = {bid for bid in order.unanswered if self._lacks(order, bid)}
            self._advance(order)
        else:
            self._orders.remove(order)
            self._refuse(order.token, error)
        return place.previous

    def deliver(self, entry: BindingCacheEntry, now: Instant) -> None:
        """Put the prefixes of an MN's other bindings in place at `entry`'s MAG, before any move."""
        self._initiator.request(entry, now)

    def force_registration(self, mn_id: str | None, peer: IPv6Address, now: Instant) -> bool:
        """See `FlowMobilityInitiator.force_registration`."""
        return self._initiator.force_registration(mn_id, peer, now)

    def convey(self, entry: BindingCacheEntry) -> FlowMobilitySet:
        """What a PBA for `entry` has to tell its MAG (RFC 7864 section 3.3)."""
        return self._initiator.convey(entry)

    def refresh(self, mn_id: str) -> None:
        """Bring rows and forwarding in line with the binding cache after it changed."""
        self._changed.add(mn_id)
        self._forwarding.refresh(mn_id)

    def settle(self, now: Instant) -> list[str]:
        """After every input: withdraw what is needed no more. Whose prefixes may have changed."""
        self._advance_registered()
        changed, self._changed = self._changed | self._initiator.overdue(now), set()
        self._bindings.touched |= changed
        for mn_id in sorted(changed):
            self._initiator.withdraw_surplus(mn_id, now)
            self._forwarding.refresh(mn_id)
        return sorted(changed)

    def binding_removed(self, entry: BindingCacheEntry, reason: str) -> None:
        """Orders for a binding that is gone, or at another MAG now, can't be completed."""
        self._initiator.forget(entry)
        if self._bindings.get(entry.bid) is not entry:
            self._initiator.bequeath(entry)
        self._changed.add(entry.mn_id)
        for order in self._orders.concerning(entry.mn_id, entry.bid):
            self._fail(order, reason)

    def acknowledged(
        self, message: UpdateNotificationAcknowledgement, peer: IPv6Address, now: Instant
    ) -> None:
        """Process an FMA."""
        outcome = self._initiator.acknowledged(message, peer)
        if outcome is not None:
            self._conclude(outcome, now)

    def unsupported(self, peer: IPv6Address) -> None:
        """A Binding Error with status 2: the MAG knows no Update Notifications."""
        self._changed |= {entry.mn_id for entry in self._bindings.using(peer)}
        for outcome in self._initiator.unsupported(peer):
            for order in self._orders.waiting_for(outcome.asked.mn_id, outcome.asked.bid):
                self._postpone(order)

    def _postpone(self, order: Order) -> bool:
        """A MAG knows no Update Notifications: the order waits for its next registration, whose PBA
        conveys the same as an FMI (RFC 7864 section 3.3). False: that isn't wanted; it fails."""
        if self._policy(order.mn_id).fallback == "refuse":
            self._fail(order, NOT_SUPPORTED)
            return False
        for fid, place in order.places.items():
            if order.placed and place.move is not None:
                self.cache.rebind(order.mn_id, fid, place.previous)
            self._log("awaits-registration", order.mn_id, fid)
        order.placed = order.switched = False
        self.refresh(order.mn_id)
        return True

    def _advance_registered(self) -> None:
        """Orders that waited for a registration, and not for an FMA."""
        changed = sorted(self._changed)
        for order in [order for mn_id in changed for order in self._orders.of(mn_id)]:
            told = {
                bid
                for bid in order.unanswered
                if self._initiator.asked(bid) is None and not self._lacks(order, bid)
            }
            if told:
                order.unanswered -= told
                self._advance(order)

    def handle_timer(self, now: Instant) -> None:
        for outcome in self._initiator.handle_timer(now):
            self._conclude(outcome, now)

    def _conclude(self, outcome: Outcome, now: Instant) -> None:
        """The orders that waited for an FMI go on or fail, and what came meanwhile is signalled,
        all in one."""
        asked = outcome.asked
        entry = self._bindings.get(asked.bid)
        assert entry is not None  # else the FMI would have been withdrawn: binding_removed
        if outcome.error is None:
            self.refresh(entry.mn_id)
        for fid, status in outcome.refused.items():
            self._log("flow-refused", entry.mn_id, fid, status=status)
        for order in self._orders.waiting_for(entry.mn_id, asked.bid):
            needs = self.needs.of_order(order, entry)
            refused = [fid for fid in order.places if fid in outcome.refused]
            if refused:
                status = outcome.refused[refused[0]]
                self._fail(order, f"the MAG refused flow {refused[0]} with status {status}")
            elif outcome.error is not None and asked.wanted.with_all(known(entry)).holds(needs):
                self._fail(order, outcome.error)
            elif known(entry).holds(needs):
                order.unanswered.discard(asked.bid)
                self._advance(order)
        if self._orders.waiting_for(entry.mn_id, asked.bid) or self._initiator.wants_again(
            asked.bid
        ):
            self._initiator.request(entry, now)
            for order in self._orders.waiting_for(entry.mn_id, asked.bid):
                self._advance(order)
        self._changed.add(entry.mn_id)

    def key(self, mn_id: str, fid: int) -> int:
        """What a flow is called in actions and by the controller."""
        return self._forwarding.key(mn_id, fid)

    def names(self, bid: int) -> bool:
        """Whether rows or orders do, be there such a binding now or not."""
        return self.cache.names(bid) or self._orders.names(bid)

    def rows_as_ordered(self, mn_id: str) -> tuple[FlowMobilityCacheEntry, ...]:
        """The rows of a mobile node as they are once all moves that are under way are complete."""
        places, rows = self._orders.places(mn_id), self.cache.rows(mn_id)
        moved = (replace(row, bids=places[row.fid].bids) for row in rows if row.fid in places)
        by_fid = {row.fid: row for row in (*rows, *moved)}
        return tuple(by_fid.values())

    def _lacks(self, order: Order, bid: int) -> bool:
        """Whether a binding's MAG has to be told something for an order."""
        entry = self._bindings.get(bid)
        if entry is None or not entry.registered:
            return False
        return not known(entry).holds(self.needs.of_order(order, entry))

    def _has_been_asked(self, order: Order, bid: int) -> bool:
        entry, asked = self._bindings.get(bid), self._initiator.asked(bid)
        return (
            entry is not None
            and asked is not None
            and asked.holds(self.needs.of_order(order, entry))
        )

    def _prefixes_at(self, target: BindingCacheEntry) -> tuple[IPv6Network, ...]:
        """The prefixes that packets may be sent to `target` for: those that its MAG routes, and
        with policy on-send those that it was asked to."""
        there = target.prefixes + target.flow_mobility_prefixes
        asked = self._initiator.asked(target.bid)
        if asked is not None and self._policy(target.mn_id).switch == "on-send":
            there += asked.prefixes
        return there

    def _policy(self, mn_id: str) -> MobileNodePolicy:
        return self._config.mobile_nodes[mn_id]

    def _names(self, bids: tuple[int, ...]) -> str:
        return "+".join(self.access_name(bid) for bid in bids)

    def access_name(self, bid: int) -> str:
        """How people call a binding: by its kind of access, or by its BID."""
        entry = self._bindings.get(bid)
        for name, access in self._config.accesses.items():
            if entry is not None and access.technology == entry.access_technology:
                return name
        return str(bid)

    def _log(self, event: str, mn_id: str, fid: int, **details: object) -> None:
        self._outbox.put(Log(event, {"mn": mn_id, "fid": fid, **details}))

    def _refuse(self, token: int, error: str) -> None:
        self._outbox.put(Reply(token, error=error))
