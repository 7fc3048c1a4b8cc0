"""Flow mobility at the LMA (RFC 7864 section 3): flow bindings, moves, and their signalling.

A move that the target MAG already has the prefixes for is a local change of the LMA (RFC 7864
section 3.2.1). Any other is signalled with FMI and FMA (section 3.2.2), and packets take the new
path after the FMA or together with the FMI, as the mobile node's policy says.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, IPv6Network

from nodes.actions import Instant, Log, Outbox, Reply
from nodes.binding_cache import BindingCache, BindingCacheEntry
from nodes.config import LmaConfig, MobileNodePolicy
from nodes.flow_forwarding import FlowForwarding
from nodes.flow_mobility_cache import (
    FlowAction,
    FlowConflict,
    FlowMobilityCache,
    FlowMobilityCacheEntry,
)
from nodes.update_notification import Outstanding, UpdateNotifier
from nodes.wire.messages import (
    UpdateNotification,
    UpdateNotificationAcknowledgement,
    UpdateNotificationReason,
)
from nodes.wire.options import (
    AccessTechnologyType,
    HomeNetworkPrefix,
    MobileNodeIdentifier,
    MobileNodeLinkLayerIdentifier,
    Option,
)

NOT_SUPPORTED = "the MAG doesn't support Update Notifications"


@dataclass(slots=True)
class PendingMove:
    """A move that waits for an FMA. `previous` is what the row goes back to if it fails; a flow
    that is new has nothing to go back to, and `number` is None."""

    mn_id: str
    fid: int
    previous: tuple[int, ...]
    target: int
    token: int
    number: int | None


@dataclass(slots=True)
class PrefixSet:
    """What an FMI asks for: the whole set of `prefixes` of binding `bid` (RFC 7864 section 4.2),
    and the moves that wait for the answer."""

    bid: int
    prefixes: tuple[IPv6Network, ...]
    moves: list[PendingMove]


class FlowMobility:
    def __init__(
        self, config: LmaConfig, bindings: BindingCache, outbox: Outbox, rng: random.Random
    ) -> None:
        self._config = config
        self._bindings = bindings
        self._outbox = outbox
        self.cache = FlowMobilityCache()
        self._notifier = UpdateNotifier(
            config.address,
            config.min_delay_between_update_notification_replay_ms / 1000,
            config.max_update_notification_retransmit_count,
            rng,
        )
        self._forwarding = FlowForwarding(self.cache, bindings, self._prefixes_at, outbox)
        self._moves = 0
        # By BID: what is to be signalled once the FMI that is under way has been answered. Two at
        # a time could arrive in either order, and each is the whole set.
        self._waiting: dict[int, list[PendingMove]] = {}
        self._deliveries: set[int] = set()
        self._unsupporting: set[IPv6Address] = set()

    def deadline(self) -> float | None:
        return self._notifier.deadline()

    def add_flow(self, mn_id: str, entry: FlowMobilityCacheEntry, token: int, now: Instant) -> None:
        """Add a flow. If its binding's MAG has to be told of a prefix first, packets take the
        default path until it has answered, and the reply comes then."""
        unknown = [bid for bid in entry.bids if not self._belongs(bid, mn_id)]
        if unknown or not entry.bids:
            return self._refuse(token, f"bids is {list(entry.bids)}; expected bindings of {mn_id}")
        try:
            self.cache.add(mn_id, entry)
        except FlowConflict as conflict:
            return self._refuse(token, str(conflict))
        self._forwarding.add(mn_id, entry.fid)
        self.refresh(mn_id)
        self._log("flow-added", mn_id, entry.fid, to=self._names(entry.bids))
        target = self._forwarding.registered_of(entry)
        if target is None:
            self._outbox.put(Reply(token, {"fid": entry.fid}))
            return None
        return self._arrange(PendingMove(mn_id, entry.fid, (), target.bid, token, None), now)

    def remove_flow(self, mn_id: str, fid: int, token: int) -> None:
        if self.cache.get(mn_id, fid) is None:
            return self._refuse(token, f"fid is {fid}; {mn_id} has no such flow")
        self._supersede(mn_id, fid, "removed", "the flow was removed")
        self._remove(mn_id, fid)
        self._outbox.put(Reply(token, {"fid": fid}))
        return None

    def _remove(self, mn_id: str, fid: int) -> None:
        self.cache.remove(mn_id, fid)
        self._forwarding.remove(mn_id, fid)
        self._log("flow-removed", mn_id, fid)

    def move_flow(
        self, mn_id: str, fid: int, bid: int, token: int, now: Instant, *, decided: bool = False
    ) -> None:
        """Move a flow to binding `bid`. The reply comes when the move is complete or has failed.
        `decided`: the decision was taken earlier, and is on record."""
        row = self.cache.get(mn_id, fid)
        if row is None:
            return self._refuse(token, f"fid is {fid}; {mn_id} has no such flow")
        target = self._bindings.get(bid)
        if target is None or target.mn_id != mn_id or not target.registered:
            return self._refuse(token, f"to is {bid}; {mn_id} has no registered binding with it")
        self._moves += 1
        if not decided:
            self._log(
                "decision",
                mn_id,
                fid,
                to=self._names((bid,)),
                **{"from": self._names(row.bids), "move": self._moves},
            )
        previous = self._supersede(
            mn_id, fid, "superseded", "a newer move of this flow replaced it"
        )
        return self._arrange(
            PendingMove(mn_id, fid, previous or row.bids, bid, token, self._moves), now
        )

    def _arrange(self, move: PendingMove, now: Instant) -> None:
        """Make a move at once if nothing has to be signalled for it, else have it signalled."""
        row, target = self.cache.get(move.mn_id, move.fid), self._bindings.get(move.target)
        assert row is not None
        assert target is not None
        missing = self._missing_prefixes(target, row)
        asked = self._outstanding_for(target)
        if not missing:
            self._switch(move)
            self._finish(move)
        elif asked is None:
            self._initiate(target, missing, [move], now)
        elif set(missing) <= set(asked.prefixes):
            asked.moves.append(move)
            self._switch_early([move])
        else:
            self._waiting.setdefault(target.bid, []).append(move)

    def deliver(self, entry: BindingCacheEntry, now: Instant) -> None:
        """Put the prefixes of an MN's other bindings in place at `entry`'s MAG, before any move."""
        if self._outstanding_for(entry) is not None:
            self._deliveries.add(entry.bid)
            return
        missing = tuple(
            prefix
            for prefix in self._prefixes_to_deliver(entry)
            if prefix not in entry.flow_mobility_prefixes
        )
        if missing:
            self._initiate(entry, missing, [], now)

    def force_registration(self, mn_id: str, peer: IPv6Address) -> bool:
        """Ask a MAG to register a mobile node again (RFC 7077 section 5.1: without A flag). False
        if it knows no Update Notifications."""
        if peer in self._unsupporting:
            return False
        reason = UpdateNotificationReason.FORCE_REREGISTRATION
        message = UpdateNotification(0, reason, (MobileNodeIdentifier.of(mn_id),))
        self._outbox.put(self._notifier.send_once(message, peer))
        self._outbox.put(Log("registration-forced", {"mn": mn_id, "mag": str(peer)}))
        return True

    def off_link_prefixes(self, entry: BindingCacheEntry) -> tuple[IPv6Network, ...]:
        """What `entry`'s MAG has to have with the L bit, and gets with a PBA (RFC 7864 section
        3.3): what it has, what its flows need, and ahead of any move what the policy says."""
        if self._policy(entry.mn_id).prefix_delivery == "at-attach":
            prefixes = self._prefixes_to_deliver(entry)
        else:
            prefixes = entry.flow_mobility_prefixes
        for row in self.cache.rows(entry.mn_id):
            if entry.bid in row.bids and row.action is FlowAction.FORWARD:
                prefixes += self._forwarding.prefixes_of(entry.mn_id, row)
        return tuple(prefix for prefix in dict.fromkeys(prefixes) if prefix not in entry.prefixes)

    def asked_prefixes(self, entry: BindingCacheEntry) -> tuple[IPv6Network, ...]:
        """What an unanswered FMI asks of `entry`'s MAG. A PBA is the whole set as well, so one that
        crosses the FMI must not take it back."""
        asked = self._outstanding_for(entry)
        return () if asked is None else asked.prefixes

    def _prefixes_to_deliver(self, entry: BindingCacheEntry) -> tuple[IPv6Network, ...]:
        """Prefixes that the MN has by other bindings only, in the order of its bindings."""
        prefixes: list[IPv6Network] = []
        for other in self._bindings.of(entry.mn_id):
            for prefix in other.prefixes:
                if prefix not in entry.prefixes and prefix not in prefixes:
                    prefixes.append(prefix)
        return tuple(prefixes)

    def refresh(self, mn_id: str) -> None:
        """Bring rows and forwarding in line with the binding cache after it changed."""
        self._forwarding.refresh(mn_id)

    def binding_removed(self, entry: BindingCacheEntry, reason: str) -> None:
        """Moves to a binding that is gone, or at another MAG now, can't be completed."""

        def concerns(outstanding: Outstanding) -> bool:
            return _subject(outstanding).bid == entry.bid

        self._deliveries.discard(entry.bid)
        waiting = self._waiting.pop(entry.bid, [])
        for outstanding in self._notifier.withdraw(concerns):
            self._fail(_subject(outstanding).moves, reason)
        self._fail(waiting, reason)

    def acknowledged(
        self, message: UpdateNotificationAcknowledgement, peer: IPv6Address, now: Instant
    ) -> None:
        """Process an FMA (RFC 7077 section 5.2, RFC 7864 section 4.3)."""
        outstanding = self._notifier.acknowledge(message, peer)
        if outstanding is None:
            self._outbox.put(Log("fma-discarded", {"sequence": message.sequence}))
            return
        subject = _subject(outstanding)
        status = int(message.status)
        self._outbox.put(Log("fma-received", {"sequence": message.sequence, "status": status}))
        entry = self._bindings.get(subject.bid)
        assert entry is not None  # else the FMI would have been withdrawn: binding_removed
        if message.accepted:
            entry.flow_mobility_prefixes = subject.prefixes
            for move in subject.moves:
                if self._policy(move.mn_id).switch == "on-ack":
                    self._switch(move)
                self._finish(move)
            self.refresh(entry.mn_id)
        else:
            self._fail(subject.moves, f"the MAG answered with status {status}")
        self._continue(subject.bid, now)

    def unsupported(self, peer: IPv6Address) -> None:
        """A Binding Error with status 2: the MAG knows no Update Notifications, and MUST NOT get
        any again until an administrative action (RFC 7077 section 5.2): a restart of the LMA."""
        self._unsupporting.add(peer)
        for outstanding in self._notifier.withdraw(lambda waiting: waiting.peer == peer):
            subject = _subject(outstanding)
            self._fail(subject.moves, NOT_SUPPORTED)
            self._fail(self._waiting.pop(subject.bid, []), NOT_SUPPORTED)
            self._deliveries.discard(subject.bid)

    def handle_timer(self, now: Instant) -> None:
        actions, expired = self._notifier.handle_timer(now)
        self._outbox.put(*actions)
        for outstanding in expired:
            subject = _subject(outstanding)
            self._outbox.put(Log("fmi-expired", {"sequence": outstanding.message.sequence}))
            self._fail(subject.moves, "the MAG didn't answer the FMI")
            self._continue(subject.bid, now)

    def _continue(self, bid: int, now: Instant) -> None:
        """The FMI for binding `bid` is done with: signal what waited for that, all in one."""
        target = self._bindings.get(bid)
        assert target is not None
        missing: list[IPv6Network] = []
        moves: list[PendingMove] = []
        for move in self._waiting.pop(bid, []):
            row = self.cache.get(move.mn_id, move.fid)
            assert row is not None  # else it would have been superseded
            lacking = self._missing_prefixes(target, row)
            if lacking:
                missing.extend(lacking)
                moves.append(move)
            else:
                self._switch(move)
                self._finish(move)
        if moves:
            self._deliveries.discard(bid)
            if self._policy(target.mn_id).prefix_delivery == "at-attach":
                missing.extend(self._prefixes_to_deliver(target))
            self._initiate(target, tuple(missing), moves, now)
        elif bid in self._deliveries:
            self._deliveries.discard(bid)
            self.deliver(target, now)

    def _initiate(
        self,
        target: BindingCacheEntry,
        missing: tuple[IPv6Network, ...],
        moves: list[PendingMove],
        now: Instant,
    ) -> None:
        """Send an FMI: MN-ID followed by the prefixes with the L bit. It is the whole set, because
        prefixes that are absent from it are removed (RFC 7864 section 4.2)."""
        if target.proxy_coa in self._unsupporting:
            self._fail(moves, NOT_SUPPORTED)
            return
        prefixes = tuple(dict.fromkeys(target.flow_mobility_prefixes + missing))
        message = UpdateNotification(
            sequence=0,
            reason=UpdateNotificationReason.FLOW_MOBILITY,
            acknowledge=True,
            options=(
                MobileNodeIdentifier.of(target.mn_id),
                *(HomeNetworkPrefix.of(prefix, off_link=True) for prefix in prefixes),
                *self._interface_of(target),
            ),
        )
        subject = PrefixSet(target.bid, prefixes, moves)
        sequence, send = self._notifier.send(message, target.proxy_coa, subject, now)
        self._outbox.put(send)
        self._outbox.put(Log("fmi-sent", {"sequence": sequence, "to": str(target.proxy_coa)}))

        self._switch_early(moves)

    def _interface_of(self, target: BindingCacheEntry) -> tuple[Option, ...]:
        """An FMI names the mobile node alone (RFC 7864 section 4.2). If that has several interfaces
        at the MAG, the options of their PBUs tell which one is meant."""
        here = [e for e in self._bindings.using(target.proxy_coa) if e.mn_id == target.mn_id]
        if len(here) < 2 or target.link_layer_id is None:
            return ()
        return (
            AccessTechnologyType(target.access_technology),
            MobileNodeLinkLayerIdentifier(target.link_layer_id),
        )

    def _switch_early(self, moves: list[PendingMove]) -> None:
        """With policy on-send, packets take the new path together with the FMI."""
        for move in moves:
            if self._policy(move.mn_id).switch == "on-send":
                self._switch(move)

    def _switch(self, move: PendingMove) -> None:
        if move.number is None:
            self.refresh(move.mn_id)
            return
        self.cache.rebind(move.mn_id, move.fid, (move.target,))
        self.refresh(move.mn_id)
        self._log("switched", move.mn_id, move.fid, to=self._names((move.target,)))

    def _finish(self, move: PendingMove) -> None:
        number = {} if move.number is None else {"move": move.number}
        self._outbox.put(Reply(move.token, {"fid": move.fid, **number}))

    def _fail(self, moves: list[PendingMove], reason: str) -> None:
        for move in moves:
            self._log("move-failed", move.mn_id, move.fid, reason=reason)
            if move.number is None:
                self._remove(move.mn_id, move.fid)
                self._refuse(move.token, f"the flow was not added: {reason}")
                continue
            self.cache.rebind(move.mn_id, move.fid, move.previous)
            self.refresh(move.mn_id)
            self._refuse(move.token, f"the move failed: {reason}")

    def _supersede(self, mn_id: str, fid: int, reason: str, error: str) -> tuple[int, ...]:
        """A newer order for a flow replaces one that still waits for its FMA. Returns the bindings
        that the older one would have gone back to; empty if there was none."""
        previous: tuple[int, ...] = ()
        asked = [_subject(outstanding).moves for outstanding in self._notifier.outstanding()]
        for moves in [*asked, *self._waiting.values()]:
            for move in [m for m in moves if (m.mn_id, m.fid) == (mn_id, fid)]:
                moves.remove(move)
                previous = move.previous
                self._log("move-failed", mn_id, fid, reason=reason)
                self._refuse(move.token, error)
        return previous

    def rows_as_ordered(self, mn_id: str) -> tuple[FlowMobilityCacheEntry, ...]:
        """The rows of a mobile node as they are once all moves that are under way are complete."""
        pending = [
            move
            for moves in (
                *(_subject(outstanding).moves for outstanding in self._notifier.outstanding()),
                *self._waiting.values(),
            )
            for move in moves
        ]
        targets = {move.fid: move.target for move in pending if move.mn_id == mn_id}
        return tuple(
            replace(row, bids=(targets[row.fid],)) if row.fid in targets else row
            for row in self.cache.rows(mn_id)
        )

    def _outstanding_for(self, target: BindingCacheEntry) -> PrefixSet | None:
        """The unanswered FMI for `target`; there is one at most."""
        subjects = (_subject(outstanding) for outstanding in self._notifier.outstanding())
        return next((subject for subject in subjects if subject.bid == target.bid), None)

    def _missing_prefixes(
        self, target: BindingCacheEntry, row: FlowMobilityCacheEntry
    ) -> tuple[IPv6Network, ...]:
        if row.action is FlowAction.DROP:
            return ()
        there = target.prefixes + target.flow_mobility_prefixes
        return tuple(
            prefix
            for prefix in self._forwarding.prefixes_of(target.mn_id, row)
            if prefix not in there
        )

    def _prefixes_at(self, target: BindingCacheEntry) -> tuple[IPv6Network, ...]:
        """The prefixes that packets may be sent to `target` for: those that its MAG routes, and
        with policy on-send those that it was asked to."""
        there = target.prefixes + target.flow_mobility_prefixes
        if self._policy(target.mn_id).switch == "on-send":
            there += self.asked_prefixes(target)
        return there

    def _belongs(self, bid: int, mn_id: str) -> bool:
        binding = self._bindings.get(bid)
        return binding is not None and binding.mn_id == mn_id

    def _policy(self, mn_id: str) -> MobileNodePolicy:
        return self._config.mobile_nodes[mn_id]

    def _names(self, bids: tuple[int, ...]) -> str:
        return "+".join(self.access_name(bid) for bid in bids)

    def access_name(self, bid: int) -> str:
        """How people call a binding: by its kind of access, or by its BID."""
        entry = self._bindings.get(bid)
        if entry is not None:
            for name, access in self._config.accesses.items():
                if access.technology == entry.access_technology:
                    return name
        return str(bid)

    def _log(self, event: str, mn_id: str, fid: int, **details: object) -> None:
        fields: Mapping[str, object] = {"mn": mn_id, "fid": fid, **details}
        self._outbox.put(Log(event, dict(fields)))

    def _refuse(self, token: int, error: str) -> None:
        self._outbox.put(Reply(token, error=error))


def _subject(outstanding: Outstanding) -> PrefixSet:
    assert isinstance(outstanding.subject, PrefixSet)
    return outstanding.subject
