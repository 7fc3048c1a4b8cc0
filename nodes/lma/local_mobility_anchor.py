"""The Local Mobility Anchor (RFC 5213 section 5) with flow mobility (RFC 7864), as a pure core.

Feed it messages, control requests and time; carry out the actions that it returns, in order.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from ipaddress import IPv6Address

from nodes.actions import Action, EndAdoption, Instant, Log, Outbox, Persist, Reply
from nodes.config import LmaConfig
from nodes.flow_mobility_cache import FlowMobilityCacheEntry
from nodes.heartbeat import FIRST_START, HeartbeatExchange, Incarnation
from nodes.lma.awaited_moves import AwaitedMove, AwaitedMoves
from nodes.lma.binding_cache import BindingCache
from nodes.lma.binding_revocation import BindingRevocation
from nodes.lma.flow_mobility import FlowMobility
from nodes.lma.flow_mobility_initiate import NOT_SUPPORTED
from nodes.lma.handover_revocation import HandoverRevocation
from nodes.lma.path_changes import OwnPaths
from nodes.lma.path_control import Concluded, PathControl
from nodes.lma.path_hold import PathHolds
from nodes.lma.policy_engine import PolicyEngine
from nodes.lma.proxy_registration import ProxyRegistration
from nodes.lma.revocation_indications import RevocationIndications
from nodes.lma.session_records import Record
from nodes.lma.stable_storage import StableStorage
from nodes.lma.uplink_following import UplinkFollowing
from nodes.northbound import Event
from nodes.northbound import Reply as NorthboundReply
from nodes.wire.messages import (
    BindingError,
    BindingErrorStatus,
    BindingRevocationAcknowledgement,
    BindingRevocationIndication,
    Heartbeat,
    Message,
    ProxyBindingUpdate,
    UpdateNotificationAcknowledgement,
)
from nodes.wire.traffic_selector import PacketFields


class LocalMobilityAnchor:
    def __init__(
        self, config: LmaConfig, rng: random.Random, incarnation: Incarnation = FIRST_START
    ) -> None:
        self.config = config
        self.bindings = BindingCache(config.max_bindings)
        self.controller = None if config.data_plane == "tunnel" else PathControl(config)
        self.holds = PathHolds(config)
        self._outbox: Outbox = self.controller or self.holds
        paths = self.controller or OwnPaths(self._outbox)
        self.flows = FlowMobility(config, self.bindings, self._outbox, paths, rng)
        self.registrations = ProxyRegistration(config, self.bindings, self.flows, self._outbox, rng)
        self.policies = PolicyEngine(config, self.bindings, self.flows, paths, self._outbox)
        self.awaited = AwaitedMoves(self._move_awaited, self._outbox)
        self.following = UplinkFollowing(config, self.bindings, self.flows, self._outbox)
        self.heartbeats = HeartbeatExchange(
            config.address, config, incarnation, self.bindings.peers, self, self._outbox
        )
        self.heartbeats.announce(config.authorized_mags)
        self.indications = RevocationIndications(config, self._outbox, rng)
        self.revocations = BindingRevocation(
            config, self.registrations, self.indications, self._outbox
        )
        self.handovers = HandoverRevocation(
            config, self.bindings, self.registrations, self.indications, self._outbox
        )

        self.storage = StableStorage(
            self.bindings, self.flows.recovery, self.indications, self.heartbeats, self.holds
        )

    def take_actions(self) -> list[Action]:
        """What is to be done since the last call, in order."""
        if self.config.sessions is None:
            self.storage.forget()
            return self._outbox.take()
        records = self.storage.changes()
        return [*([Persist(records)] if records else ()), *self._outbox.take()]

    def restore(self, records: Iterable[Record], now: Instant) -> None:
        """Go on from what an earlier start has written; before any other input. What is due by now
        happens at the next `handle_timer`."""
        for entry in self.storage.restore(records, self.config):
            details = {"mn": entry.mn_id, "bid": entry.bid, "proxy_coa": str(entry.proxy_coa)}
            self._outbox.put(Log("binding-dropped", details))
        self.following.restore()
        self.flows.recovery.ask_again(now)
        self.registrations.resume()
        self.flows.recovery.resume(now)
        self.revocations.resume(self.bindings, now)
        self._settle(now)
        self._outbox.put(EndAdoption())

    def timer(self) -> float | None:
        """Monotonic time (s) at which `handle_timer` wants to be called."""
        deadlines = (
            self.flows.deadline(),
            self.registrations.deadline(),
            self.policies.deadline(),
            self.heartbeats.deadline(),
            self.indications.deadline(),
            self.awaited.deadline(),
            self.holds.deadline(),
            None if self.controller is None else self.controller.deadline(),
        )
        return min((due for due in deadlines if due is not None), default=None)

    def handle_timer(self, now: Instant) -> None:
        self.flows.handle_timer(now)
        self.registrations.handle_timer(now)
        self.heartbeats.handle_timer(now)
        self.indications.handle_timer(now)
        self.holds.handle_timer(now)
        if self.controller is not None:
            self._conclude(self.controller.handle_timer(now))
        self._settle(now)

    def receive(self, message: Message, source: IPv6Address, now: Instant) -> None:
        """Process a message that `source` sent to this LMA's address."""
        if isinstance(message, ProxyBindingUpdate):
            if message.proxy_registration:
                self.registrations.receive(message, source, now)
            else:
                # Without the P flag it is a mobile node's own, and this is no home agent.
                self._outbox.put(Log("binding-update-ignored", {"source": str(source)}))
        elif isinstance(message, UpdateNotificationAcknowledgement):
            self.flows.acknowledged(message, source, now)
        elif isinstance(message, BindingRevocationAcknowledgement):
            self.indications.acknowledged(message, source, now)
        elif isinstance(message, BindingRevocationIndication):
            if source in self.config.authorized_mags:
                self.revocations.refuse(message, source)
        elif isinstance(message, BindingError):
            known = source in self.config.authorized_mags
            if known and message.status == BindingErrorStatus.UNRECOGNIZED_MH_TYPE:
                self._unrecognized(source, now)
        elif isinstance(message, Heartbeat) and (
            not message.response or source in self.config.authorized_mags
        ):
            self.heartbeats.receive(message, source, now)
        self._settle(now)

    def controller_connected(self, now: Instant) -> None:
        assert self.controller is not None
        self.controller.connected(now)
        self._settle(now)

    def controller_lost(self, now: Instant) -> None:
        """The connection to the controller has ended, or couldn't be made."""
        assert self.controller is not None
        self._conclude(self.controller.lost(now))
        self._settle(now)

    def northbound_received(self, message: NorthboundReply | Event, now: Instant) -> None:
        assert self.controller is not None
        self._conclude(self.controller.received(message, now))
        self._settle(now)

    def _conclude(self, concluded: Sequence[Concluded]) -> None:
        for keys, error in concluded:
            self.flows.paths_concluded(keys, error)

    def uplink_seen(self, packet: PacketFields, proxy_coa: IPv6Address, now: Instant) -> None:
        """See `UplinkFollowing.seen`."""
        self.following.seen(packet, proxy_coa, now)
        self._settle(now)

    def move_flow(self, mn_id: str, fid: int, bid: int, token: int, now: Instant) -> None:
        self.move_flows(mn_id, (fid,), (bid,), token, now)

    def move_flows(
        self, mn_id: str, fids: Sequence[int], bids: Sequence[int], token: int, now: Instant
    ) -> None:
        if self.following.decides(mn_id):
            # RFC 7864 section 3.1: the decision MUST NOT be taken by both.
            return self.answer(token, error=f"mn is {mn_id!r}, which decides for itself")
        self.flows.move_flows(mn_id, fids, bids, token, now)
        return self._settle(now)

    def await_move(self, move: AwaitedMove, now: Instant) -> None:
        """Move a flow as soon as the mobile node has attached where it is to go."""
        if self.following.decides(move.mn_id):
            return self.answer(move.token, error=f"mn is {move.mn_id!r}, which decides for itself")
        if self.flows.cache.get(move.mn_id, move.fid) is None:
            error = f"fid is {move.fid}; {move.mn_id} has no such flow"
            return self.answer(move.token, error=error)
        self.awaited.order(move)
        return self._settle(now)

    def _move_awaited(self, move: AwaitedMove, now: Instant) -> bool:
        bid = self.resolve(move.mn_id, move.to)
        target = None if bid is None else self.bindings.get(bid)
        if target is None or not target.registered:
            return False
        self.flows.move_flow(move.mn_id, move.fid, target.bid, move.token, now, decided=True)
        return True

    def _settle(self, now: Instant) -> None:
        """After every input: what follows from it besides."""
        self.handovers.settle(self.registrations.handovers.take(), now)
        self.awaited.evaluate(now)
        self.policies.evaluate(now)
        self.following.refresh()
        self.registrations.refresh_routes(self.flows.settle(now))
        self.heartbeats.refresh(now)
        self.holds.settle(now)
        if self.controller is not None:
            self.controller.settle(now)

    def add_flow(self, mn_id: str, entry: FlowMobilityCacheEntry, token: int, now: Instant) -> None:
        self.flows.add_flow(mn_id, entry, token, now)
        self._settle(now)

    def remove_flow(self, mn_id: str, fid: int, token: int, now: Instant) -> None:
        self.flows.remove_flow(mn_id, fid, token)
        self._settle(now)

    def answer(self, token: int, result: object = None, error: str | None = None) -> None:
        self._outbox.put(Reply(token, result, error))

    def resolve(self, mn_id: str, binding: int | str) -> int | None:
        """The BID that a person means by a BID or by the name of an access; None if there is no
        such binding of this mobile node."""
        for entry in self.bindings.of(mn_id):
            if binding in (entry.bid, self.flows.access_name(entry.bid)):
                return entry.bid
        return None

    def peer_failed(self, peer: IPv6Address, now: Instant) -> None:
        self.registrations.invalidate(peer, now)

    def peer_restarted(self, peer: IPv6Address, since: float, now: Instant) -> None:
        self.registrations.revalidate(peer, since, now)

    def revoke(self, mn_id: str, bid: int | None, token: int, now: Instant) -> None:
        """Revoke a binding of a mobile node, or all if `bid` is None (RFC 5846 section 8.1). The
        reply comes when the MAGs have answered, or had the time to."""
        entries = [entry for entry in self.bindings.of(mn_id) if entry.registered]
        chosen = [entry for entry in entries if bid in (None, entry.bid)]
        if not chosen:
            return self.answer(token, error=f"mn is {mn_id!r}; expected one with that binding")
        self.revocations.revoke(chosen, token, now, whole=len(chosen) == len(entries))
        return self._settle(now)

    def force_registration(self, mn_id: str, token: int, now: Instant) -> None:
        """Have a mobile node registered again by each of its MAGs (RFC 7077 section 4.1)."""
        peers = sorted({e.proxy_coa for e in self.bindings.of(mn_id) if e.registered})
        if not peers:
            return self.answer(token, error=f"mn is {mn_id!r}; expected one with a binding")
        asked = [str(peer) for peer in peers if self.flows.force_registration(mn_id, peer, now)]
        if not asked:
            return self.answer(token, error=NOT_SUPPORTED)
        return self.answer(token, {"asked": asked})

    def force_registrations(self, mag: IPv6Address, token: int, now: Instant) -> None:
        """Have a MAG register all its mobile nodes again, by one order (RFC 7077 section 4.1)."""
        if not any(entry.registered for entry in self.bindings.using(mag)):
            return self.answer(token, error=f"mag is {mag}; expected one with bindings")
        if not self.flows.force_registration(None, mag, now):
            return self.answer(token, error=NOT_SUPPORTED)
        return self.answer(token, {"asked": [str(mag)]})

    def revoke_mag(self, mag: IPv6Address, token: int, now: Instant) -> None:
        """Revoke all bindings of a MAG."""
        entries = [entry for entry in self.bindings.using(mag) if entry.registered]
        if not entries:
            return self.answer(token, error=f"mag is {mag}; expected one with bindings")
        self.revocations.revoke_all(mag, entries, token, now)
        return self._settle(now)

    def revoke_realm(self, realm: str, mag: IPv6Address | None, token: int, now: Instant) -> None:
        """Revoke all bindings of the mobile nodes of a realm, at one MAG or at all."""
        entries = [
            entry
            for entry in self.bindings
            if entry.registered
            and entry.mn_id.endswith(f"@{realm}")
            and mag in (None, entry.proxy_coa)
        ]
        if not entries:
            return self.answer(token, error=f"realm is {realm!r}; expected one with bindings there")
        self.revocations.revoke_realm(realm, entries, token, now)
        return self._settle(now)

    def _unrecognized(self, peer: IPv6Address, now: Instant) -> None:
        """A Binding Error doesn't say what it is about (RFC 6275 section 6.1.9): it concerns each
        kind of message that `peer` hasn't answered yet."""
        heartbeats = self.heartbeats.refused(peer)
        revocations = self.indications.unsupported(peer, now)
        if not heartbeats and not revocations:
            self.flows.unsupported(peer)
