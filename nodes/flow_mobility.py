"""Flow mobility at the LMA (RFC 7864 section 3): flow bindings, moves, and their signalling.

A move that the target MAG already has the prefixes for is a local change of the LMA (RFC 7864
section 3.2.1). Any other is signalled with FMI and FMA (section 3.2.2), and packets take the new
path after the FMA or together with the FMI, as the mobile node's policy says.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Network

from nodes.actions import Action, ForwardFlow, InstallFlow, Instant, Log, RemoveFlow, Reply
from nodes.binding_cache import BindingCache, BindingCacheEntry
from nodes.config import LmaConfig, MobileNodePolicy
from nodes.flow_mobility_cache import FlowConflict, FlowMobilityCache, FlowMobilityCacheEntry
from nodes.update_notification import Outstanding, UpdateNotifier
from nodes.wire.messages import (
    UpdateNotificationReason,
    UpdateNotification,
    UpdateNotificationAcknowledgement,
)
from nodes.wire.options import HomeNetworkPrefix, MobileNodeIdentifier
from nodes.wire.traffic_selector import IPv6TrafficSelector, TrafficSelector

# Kernel marks below this are those of tunnels; flow keys are above, so that a packet whose flow
# has no binding carries a mark that no routing rule knows and takes the default path.
FIRST_FLOW_KEY = 0x10000


@dataclass(slots=True)
class PendingMove:
    """A move that waits for an FMA."""

    mn_id: str
    fid: int
    previous: tuple[int, ...]
    target: int
    token: int | None
    number: int


@dataclass(slots=True)
class PrefixSet:
    """What an FMI asks for: the whole set of `prefixes` of binding `bid` (RFC 7864 section 4.2),
    and the moves that wait for the answer."""

    bid: int
    prefixes: tuple[IPv6Network, ...]
    moves: list[PendingMove]


class FlowMobility:
    def __init__(self, config: LmaConfig, bindings: BindingCache, rng: random.Random) -> None:
        self._config = config
        self._bindings = bindings
        self.cache = FlowMobilityCache()
        self._notifier = UpdateNotifier(
            config.address,
            config.min_delay_between_update_notification_replay_ms / 1000,
            config.max_update_notification_retransmit_count,
            rng,
        )
        self._keys: dict[tuple[str, int], int] = {}
        self._next_key = FIRST_FLOW_KEY
        self._forwarding: dict[int, object] = {}
        self._moves = 0
        self._actions: list[Action] = []

    def take_actions(self) -> list[Action]:
        actions, self._actions = self._actions, []
        return actions

    def deadline(self) -> float | None:
        return self._notifier.deadline()

    def add_flow(self, mn_id: str, entry: FlowMobilityCacheEntry, token: int) -> None:
        unknown = [bid for bid in entry.bids if not self._belongs(bid, mn_id)]
        if unknown or not entry.bids:
            return self._refuse(token, f"bids is {list(entry.bids)}; expected bindings of {mn_id}")
        try:
            self.cache.add(mn_id, entry)
        except FlowConflict as conflict:
            return self._refuse(token, str(conflict))
        key = self._keys[mn_id, entry.fid] = self._next_key
        self._next_key += 1
        self._actions.append(InstallFlow(key, entry, self._prefixes_of(mn_id, entry)))
        self.refresh(mn_id)
        self._log("flow-added", mn_id, entry.fid, to=self._names(entry.bids))
        self._actions.append(Reply(token, {"fid": entry.fid}))
        return None

    def remove_flow(self, mn_id: str, fid: int, token: int) -> None:
        if self.cache.remove(mn_id, fid) is None:
            return self._refuse(token, f"fid is {fid}; {mn_id} has no such flow")
        key = self._keys.pop((mn_id, fid))
        self._forwarding.pop(key, None)
        self._actions.append(RemoveFlow(key))
        self._log("flow-removed", mn_id, fid)
        self._actions.append(Reply(token, {"fid": fid}))
        return None

    def move_flow(self, mn_id: str, fid: int, bid: int, token: int, now: Instant) -> None:
        """Move a flow to binding `bid`. The reply comes when the move is complete or has failed."""
        row = self.cache.get(mn_id, fid)
        if row is None:
            return self._refuse(token, f"fid is {fid}; {mn_id} has no such flow")
        target = self._bindings.get(bid)
        if target is None or target.mn_id != mn_id or not target.registered:
            return self._refuse(token, f"to is {bid}; {mn_id} has no registered binding with it")
        self._moves += 1
        self._log(
            "decision",
            mn_id,
            fid,
            to=self._names((bid,)),
            **{"from": self._names(row.bids), "move": self._moves},
        )
        self._supersede(mn_id, fid)
        move = PendingMove(mn_id, fid, row.bids, bid, token, self._moves)
        missing = self._missing_prefixes(target, row)
        if not missing:
            self._switch(move)
            self._finish(move)
            return None
        asked = self._outstanding_for(target)
        if asked is not None and set(missing) <= set(asked.prefixes):
            asked.moves.append(move)
        else:
            wanted = self._wanted_set(target, missing, asked)
            self._initiate(target, wanted, [move], now)
        if self._policy(mn_id).switch == "on-send":
            self._switch(move)
        return None

    def deliver(self, entry: BindingCacheEntry, now: Instant) -> None:
        """Put the prefixes of an MN's other bindings in place at `entry`'s MAG ahead of any move."""
        missing = tuple(
            prefix
            for prefix in self.prefixes_to_deliver(entry)
            if prefix not in entry.flow_mobility_prefixes
        )
        if missing:
            self._initiate(entry, self._wanted_set(entry, missing, None), [], now)

    def prefixes_to_deliver(self, entry: BindingCacheEntry) -> tuple[IPv6Network, ...]:
        """Prefixes that the MN has by other bindings only, in the order of its bindings."""
        prefixes: list[IPv6Network] = []
        for other in self._bindings.of(entry.mn_id):
            for prefix in other.prefixes:
                if prefix not in entry.prefixes and prefix not in prefixes:
                    prefixes.append(prefix)
        return tuple(prefixes)

    def refresh(self, mn_id: str) -> None:
        """Bring rows and forwarding in line with the binding cache after it changed: a row is
        inactive only if all its bindings are deregistered (RFC 7864 section 5.2)."""
        for row in self.cache.rows(mn_id):
            proxy_coa = None
            for bid in row.bids:
                binding = self._bindings.get(bid)
                if binding is not None and binding.registered:
                    proxy_coa = binding.proxy_coa
                    break
            if row.active != (proxy_coa is not None):
                self.cache.set_active(mn_id, row.fid, proxy_coa is not None)
            key = self._keys[mn_id, row.fid]
            if key not in self._forwarding or self._forwarding[key] != proxy_coa:
                self._forwarding[key] = proxy_coa
                self._actions.append(ForwardFlow(key, proxy_coa))

    def binding_removed(self, entry: BindingCacheEntry) -> None:
        """Moves to a binding that is gone can't be completed."""
        for outstanding in self._notifier.withdraw(entry.proxy_coa):
            subject = outstanding.subject
            assert isinstance(subject, PrefixSet)
            self._fail(subject, "the target deregistered")

    def acknowledged(
        self, message: UpdateNotificationAcknowledgement, peer: object, now: Instant
    ) -> None:
        """Process an FMA (RFC 7077 section 6.1, RFC 7864 section 4.3)."""
        outstanding = self._notifier.acknowledge(message, peer)  # type: ignore[arg-type]
        if outstanding is None:
            self._actions.append(Log("fma-discarded", {"sequence": message.sequence}))
            return
        subject = outstanding.subject
        assert isinstance(subject, PrefixSet)
        status = int(message.status)
        self._actions.append(
            Log("fma-received", {"sequence": message.sequence, "status": status})
        )
        entry = self._bindings.get(subject.bid)
        if not message.accepted:
            self._fail(subject, f"the MAG answered with status {status}")
            return
        if entry is None or not entry.registered:
            self._fail(subject, "the target deregistered")
            return
        entry.flow_mobility_prefixes = subject.prefixes
        for move in subject.moves:
            if self._policy(move.mn_id).switch == "on-ack":
                self._switch(move)
            self._finish(move)

    def unsupported(self, peer: object) -> None:
        """A Binding Error with status 2: the MAG knows no Update Notifications (RFC 7077 6.1)."""
        for outstanding in self._notifier.withdraw(peer):  # type: ignore[arg-type]
            subject = outstanding.subject
            assert isinstance(subject, PrefixSet)
            self._fail(subject, "the MAG doesn't support Update Notifications")

    def handle_timer(self, now: Instant) -> None:
        actions, expired = self._notifier.handle_timer(now)
        self._actions.extend(actions)
        for outstanding in expired:
            self._expire(outstanding)

    def _expire(self, outstanding: Outstanding) -> None:
        subject = outstanding.subject
        assert isinstance(subject, PrefixSet)
        self._actions.append(Log("fmi-expired", {"sequence": outstanding.message.sequence}))
        self._fail(subject, "the MAG didn't answer the FMI")

    def _initiate(
        self,
        target: BindingCacheEntry,
        prefixes: tuple[IPv6Network, ...],
        moves: list[PendingMove],
        now: Instant,
    ) -> None:
        """Send an FMI: MN-ID followed by the prefixes with the L bit (RFC 7864 section 4.2)."""
        message = UpdateNotification(
            sequence=0,
            reason=UpdateNotificationReason.FLOW_MOBILITY,
            acknowledge=True,
            options=(
                MobileNodeIdentifier.of(target.mn_id),
                *(HomeNetworkPrefix.of(prefix, off_link=True) for prefix in prefixes),
            ),
        )
        subject = PrefixSet(target.bid, prefixes, moves)
        sequence, send = self._notifier.send(message, target.proxy_coa, subject, now)
        self._actions.append(send)
        self._actions.append(
            Log("fmi-sent", {"sequence": sequence, "to": str(target.proxy_coa)})
        )

    def _switch(self, move: PendingMove) -> None:
        self.cache.rebind(move.mn_id, move.fid, (move.target,))
        self.refresh(move.mn_id)
        self._log("switched", move.mn_id, move.fid, to=self._names((move.target,)))

    def _finish(self, move: PendingMove) -> None:
        if move.token is not None:
            self._actions.append(Reply(move.token, {"fid": move.fid, "move": move.number}))

    def _fail(self, subject: PrefixSet, reason: str) -> None:
        for move in subject.moves:
            row = self.cache.get(move.mn_id, move.fid)
            if row is not None and row.bids == (move.target,):
                self.cache.rebind(move.mn_id, move.fid, move.previous)
                self.refresh(move.mn_id)
            self._log("move-failed", move.mn_id, move.fid, reason=reason)
            if move.token is not None:
                self._actions.append(Reply(move.token, error=f"the move failed: {reason}"))

    def _supersede(self, mn_id: str, fid: int) -> None:
        """A newer order for a flow replaces one that still waits for its FMA."""
        for outstanding in self._notifier.outstanding():
            subject = outstanding.subject
            assert isinstance(subject, PrefixSet)
            for move in [m for m in subject.moves if (m.mn_id, m.fid) == (mn_id, fid)]:
                subject.moves.remove(move)
                self._log("move-failed", mn_id, fid, reason="superseded")
                if move.token is not None:
                    self._actions.append(
                        Reply(move.token, error="a newer move of this flow replaced it")
                    )

    def _outstanding_for(self, target: BindingCacheEntry) -> PrefixSet | None:
        """The newest unanswered FMI for `target`."""
        subjects = [
            outstanding.subject
            for outstanding in self._notifier.outstanding()
            if isinstance(outstanding.subject, PrefixSet)
            and outstanding.subject.bid == target.bid
        ]
        return subjects[-1] if subjects else None

    @staticmethod
    def _wanted_set(
        target: BindingCacheEntry, missing: tuple[IPv6Network, ...], asked: PrefixSet | None
    ) -> tuple[IPv6Network, ...]:
        """An FMI is the whole set: prefixes that are absent from it are removed (section 4.2)."""
        known = target.flow_mobility_prefixes + (() if asked is None else asked.prefixes)
        return tuple(dict.fromkeys(known + missing))

    def _missing_prefixes(
        self, target: BindingCacheEntry, row: FlowMobilityCacheEntry
    ) -> tuple[IPv6Network, ...]:
        there = target.prefixes + target.flow_mobility_prefixes
        return tuple(
            prefix for prefix in self._prefixes_of(target.mn_id, row) if prefix not in there
        )

    def _prefixes_of(self, mn_id: str, row: FlowMobilityCacheEntry) -> tuple[IPv6Network, ...]:
        """The home network prefixes that packets of a flow can be addressed to."""
        prefixes = dict.fromkeys(
            prefix for entry in self._bindings.of(mn_id) for prefix in entry.prefixes
        )
        return tuple(prefix for prefix in prefixes if _addresses(row.selector, prefix))

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
        self._actions.append(Log(event, dict(fields)))

    def _refuse(self, token: int, error: str) -> None:
        self._actions.append(Reply(token, error=error))


def _addresses(selector: TrafficSelector, prefix: IPv6Network) -> bool:
    """Whether packets that match can have a destination in `prefix`. Selectors are written as seen
    on packets from CN to MN (RFC 6088 section 3)."""
    if not isinstance(selector, IPv6TrafficSelector):
        return False
    start = selector.start_destination_address
    if start is None:
        return True
    end = selector.end_destination_address or start
    return start <= prefix[-1] and prefix[0] <= end
