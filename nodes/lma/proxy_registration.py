"""Proxy registration at the LMA: sessions come, change and go (RFC 5213 sections 5.3 and 5.4)."""

from __future__ import annotations

import random
from collections.abc import Iterable
from ipaddress import IPv6Address

from nodes.actions import Instant, Log, Outbox, Send
from nodes.config import LmaConfig
from nodes.deadlines import Deadlines
from nodes.lma.binding_cache import (
    UNKNOWN_LINK_LAYER_ID,
    BidsExhausted,
    BindingCache,
    BindingCacheEntry,
    CreateSession,
    RejectRequest,
    Request,
    UpdateEntry,
    WaitForDeregistration,
)
from nodes.lma.default_path import DefaultPath
from nodes.lma.flow_mobility import FlowMobility
from nodes.lma.handovers import Handovers
from nodes.lma.held_requests import HeldRequest, HeldRequests
from nodes.lma.new_session import bid_priority, mag_link_local_address
from nodes.lma.prefix_allocation import PoolExhausted, PrefixAllocation, PrefixNotAllowed
from nodes.lma.registration_checks import check, look_up_keys
from nodes.lma.uplink_sources import UplinkSources
from nodes.mag.proxy_binding_acknowledgement import acknowledge
from nodes.wire.messages import LIFETIME_UNIT_S, ProxyBindingStatus, ProxyBindingUpdate
from nodes.wire.options import (
    AccessLinkReport,
    AlternateCareOfAddress,
    LinkLocalAddress,
    MobileNodeIdentifier,
    Timestamp,
)

_TIMESTAMP_REFUSED = (
    ProxyBindingStatus.TIMESTAMP_MISMATCH,
    ProxyBindingStatus.TIMESTAMP_LOWER_THAN_PREV_ACCEPTED,
)


class ProxyRegistration:
    def __init__(
        self,
        config: LmaConfig,
        bindings: BindingCache,
        flows: FlowMobility,
        outbox: Outbox,
        rng: random.Random,
    ) -> None:
        self._rng = rng
        self._config = config
        self._bindings = bindings
        self._flows = flows
        self._outbox = outbox
        self._prefixes = PrefixAllocation(config, bindings)
        self._default_path = DefaultPath()
        self._sources = UplinkSources()
        self.held = HeldRequests()
        self.handovers = Handovers()
        # When each binding is deleted, by BID.
        self._ends: Deadlines[int] = Deadlines()

    def deadline(self) -> float | None:
        """Monotonic time (s) at which `handle_timer` wants to be called."""
        deadlines = (self.held.deadline(), self._ends.first())
        return min((due for due in deadlines if due is not None), default=None)

    def handle_timer(self, now: Instant) -> None:
        for bid in self._ends.due(now.monotonic):
            entry = self._bindings.get(bid)
            assert entry is not None  # else it would have no end any more: _delete
            self._delete(entry, now)
        for held in self.held.due(now.monotonic):
            self._admit(held.message, held.request, held.source, now, wait_on_unknown=False)

    def receive(self, message: ProxyBindingUpdate, source: IPv6Address, now: Instant) -> None:
        """RFC 5213 section 5.3.1; the order of the checks is that of the text."""
        alternate = message.option(AlternateCareOfAddress)
        proxy_coa = source if alternate is None else alternate.address
        request = look_up_keys(message, proxy_coa)
        session = self._session_of(message, request, proxy_coa)
        rejection = check(self._config, message, source, proxy_coa, session, now)
        if rejection is not None:
            return self._reject(message, source, rejection, now, session)
        assert request is not None
        if (
            session is not None
            and session.revocation_in_progress
            and session.proxy_coa == proxy_coa
            and message.lifetime > 0
        ):
            # RFC 5846 section 8.1: a request that crosses the indication doesn't take it back.
            prohibited = ProxyBindingStatus.ADMINISTRATIVELY_PROHIBITED
            return self._reject(message, source, prohibited, now, session)
        return self._admit(message, request, source, now, wait_on_unknown=True)

    def _admit(
        self,
        message: ProxyBindingUpdate,
        request: Request,
        source: IPv6Address,
        now: Instant,
        *,
        wait_on_unknown: bool,
    ) -> None:
        """Steps 13 and 14 of RFC 5213 section 5.3.1, for a request that has passed the others."""
        earlier = self.held.release(request)
        wait = wait_on_unknown and self._config.max_delay_before_new_bce_assign_ms > 0
        lookup = self._bindings.look_up(request, wait_on_unknown=wait)
        if isinstance(lookup, RejectRequest):
            return self._reject(message, source, lookup.status, now)
        if isinstance(lookup, WaitForDeregistration) and message.lifetime > 0:
            # The MAG sends its request again while it waits; that doesn't start the wait anew.
            deadline = now.monotonic + self._config.max_delay_before_new_bce_assign_ms / 1000
            if earlier is not None:
                deadline = earlier.deadline
            else:
                self.handovers.supposed(lookup.entry)
            self.held.hold(HeldRequest(message, request, source, lookup.entry.bid, deadline))
            self._outbox.put(Log("registration-held", {"mn": request.mn_id}))
            return None
        if isinstance(lookup, UpdateEntry):
            return self._extend(lookup.entry, message, request, source, now)
        if message.lifetime == 0:
            # RFC 5213 section 5.4.1: a deregistration that fits no session is ignored silently.
            self._outbox.put(Log("deregistration-ignored", {"mn": request.mn_id}))
            return None
        assert isinstance(lookup, CreateSession)
        return self._create(lookup, message, request, source, now)

    def _session_of(
        self, message: ProxyBindingUpdate, request: Request | None, proxy_coa: IPv6Address
    ) -> BindingCacheEntry | None:
        """The existing session that a request is about. One without handoff indicator or access
        technology can't be looked up, but its age is checked before these (section 5.3.1)."""
        if request is not None:
            lookup = self._bindings.look_up(request)
            return lookup.entry if isinstance(lookup, UpdateEntry) else None
        identifier = message.option(MobileNodeIdentifier)
        own = [] if identifier is None else self._bindings.of(identifier.nai)
        return next((entry for entry in own if entry.proxy_coa == proxy_coa), None)

    def _create(
        self,
        lookup: CreateSession,
        message: ProxyBindingUpdate,
        request: Request,
        source: IPv6Address,
        now: Instant,
    ) -> None:
        """RFC 5213 section 5.3.2."""
        try:
            prefixes = self._prefixes.assign(request, lookup)
            bid = self._bindings.allocate_bid(self._flows.names)
        except (PoolExhausted, BidsExhausted):
            return self._reject(message, source, ProxyBindingStatus.INSUFFICIENT_RESOURCES, now)
        except PrefixNotAllowed:
            return self._reject(
                message, source, ProxyBindingStatus.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX, now
            )
        entry = BindingCacheEntry(
            bid=bid,
            bid_priority=bid_priority(self._config, request.access_technology),
            mn_id=request.mn_id,
            access_technology=request.access_technology,
            link_layer_id=request.link_layer_id or UNKNOWN_LINK_LAYER_ID,
            prefixes=prefixes,
            proxy_coa=request.proxy_coa,
            expires=0.0,
            link_local_address=mag_link_local_address(self._config, self._rng),
        )
        self._bindings.add(entry)
        self._accept(entry, message, request, source, now, "registered")
        if self._config.mobile_nodes[request.mn_id].prefix_delivery == "at-attach":
            for other in self._bindings.of(request.mn_id):
                if other is not entry and other.registered:
                    self._flows.deliver(other, now)
        return None

    def _extend(
        self,
        entry: BindingCacheEntry,
        message: ProxyBindingUpdate,
        request: Request,
        source: IPv6Address,
        now: Instant,
    ) -> None:
        """RFC 5213 sections 5.3.3 (same MAG), 5.3.4 (after a handoff), 5.3.5 (deregistration)."""
        if message.lifetime == 0:
            return self._deregister(entry, message, request, source, now)
        event = "extended" if entry.proxy_coa == request.proxy_coa else "handed-off"
        if event == "handed-off":
            self.handovers.certain(entry, request)
            self._flows.binding_removed(entry, "the target moved to another MAG")
            entry.access_link_report = AccessLinkReport()  # that was of the other link
        self._bindings.hand_over(entry, request.proxy_coa)
        entry.access_technology = request.access_technology
        entry.link_layer_id = request.link_layer_id or UNKNOWN_LINK_LAYER_ID
        entry.bid_priority = bid_priority(self._config, request.access_technology)
        entry.deletion = None
        entry.revocation_in_progress = False
        return self._accept(entry, message, request, source, now, event)

    def _accept(
        self,
        entry: BindingCacheEntry,
        message: ProxyBindingUpdate,
        request: Request,
        source: IPv6Address,
        now: Instant,
        event: str,
    ) -> None:
        lifetime = min(message.lifetime, self._config.max_lifetime_s // LIFETIME_UNIT_S)
        entry.accepted_at = now.monotonic
        self.end_at(entry, now.monotonic + lifetime * LIFETIME_UNIT_S)
        self._remember(entry, message)
        report = message.option(AccessLinkReport)
        if report is not None:
            entry.access_link_report = report
            link = {"quality": report.quality, "load": report.load}
            self._outbox.put(Log("link-reported", {"mn": entry.mn_id, "bid": entry.bid, **link}))
        flow_mobility = self._flows.convey(entry)
        self._synchronise(entry.mn_id)
        self._outbox.put(
            Log(
                event,
                {
                    "mn": entry.mn_id,
                    "bid": entry.bid,
                    "access": self._flows.access_name(entry.bid),
                    "prefixes": [str(prefix) for prefix in entry.prefixes],
                    "proxy_coa": str(entry.proxy_coa),
                },
            )
        )
        # The acknowledgement repeats every L=1 prefix that the MAG has or is to have: RFC 7864
        # section 3.3.
        reply = acknowledge(
            message,
            ProxyBindingStatus.ACCEPTED,
            now,
            lifetime=lifetime,
            prefixes=entry.prefixes,
            flow_mobility=flow_mobility,
            link_local_address=entry.link_local_address,
        )
        self._outbox.put(Send(reply, self._config.address, source))

    def _deregister(
        self,
        entry: BindingCacheEntry,
        message: ProxyBindingUpdate,
        request: Request,
        source: IPv6Address,
        now: Instant,
    ) -> None:
        """RFC 5213 section 5.3.5."""
        if entry.proxy_coa != request.proxy_coa:
            self._outbox.put(Log("deregistration-ignored", {"mn": entry.mn_id}))
            return
        self._remember(entry, message)
        self._end(entry, "the target deregistered", now)
        reply = acknowledge(
            message,
            ProxyBindingStatus.ACCEPTED,
            now,
            prefixes=entry.prefixes,
            link_local_address=entry.link_local_address,
        )
        self._outbox.put(Send(reply, self._config.address, source))
        self.admit_waiting(entry.bid, now)

    def admit_waiting(self, bid: int, now: Instant) -> None:
        """Go on with the requests that waited for the deregistration of `bid`."""
        for held in self.held.waiting_for(bid):
            self._admit(held.message, held.request, held.source, now, wait_on_unknown=False)

    def left(self, entry: BindingCacheEntry, now: Instant) -> None:
        """The MAG of `entry` says that the mobile node is gone, which is as good as a
        deregistration (RFC 5846 section 8.1)."""
        self._end(entry, "the target's MAG has released it", now)
        self.admit_waiting(entry.bid, now)

    def invalidate(self, peer: IPv6Address, now: Instant) -> None:
        """`peer` failed: its bindings are invalid (RFC 5847 section 3). They stay as long as after
        a deregistration, so that a PBU which shows the contrary revives them."""
        for entry in self._bindings.using(peer):
            if entry.registered:
                self._end(entry, "the target's MAG failed", now)

    def revalidate(self, peer: IPv6Address, since: float, now: Instant) -> None:
        """`peer` restarted, and lost the bindings that it had at `since`: those of mobile nodes
        that are still there are registered anew in a moment, or have been by now, and the others
        end (RFC 5847 section 3)."""
        limit = now.monotonic + self._config.min_delay_before_bce_delete_ms / 1000
        for entry in self._bindings.using(peer):
            if entry.accepted_at <= since:
                self._bindings.touched.add(entry.mn_id)
                self.end_at(entry, min(entry.expires, limit))

    def end_at(self, entry: BindingCacheEntry, expires: float) -> None:
        """Unless it is extended, or waits for its deletion."""
        entry.expires = expires
        self._ends.set(entry.bid, _due(entry))

    def revoked(self, entry: BindingCacheEntry, now: Instant) -> bool:
        """Delete a binding that was revoked; False if it is gone already."""
        if self._bindings.get(entry.bid) is not entry:
            return False
        self._delete(entry, now)
        return True

    def changed(self, entry: BindingCacheEntry) -> None:
        """Something of `entry` that nothing else follows from."""
        self._bindings.touched.add(entry.mn_id)

    def _end(self, entry: BindingCacheEntry, reason: str, now: Instant) -> None:
        """From now on without service, and to be deleted after MinDelayBeforeBCEDelete."""
        entry.deletion = now.monotonic + self._config.min_delay_before_bce_delete_ms / 1000
        self._ends.set(entry.bid, _due(entry))
        self._flows.binding_removed(entry, reason)
        self._synchronise(entry.mn_id)
        self._outbox.put(Log("deregistered", {"mn": entry.mn_id, "bid": entry.bid}))

    def _delete(self, entry: BindingCacheEntry, now: Instant) -> None:
        self._bindings.remove(entry)
        self._ends.set(entry.bid, None)
        self._flows.binding_removed(entry, "the target's registration ended")
        self._synchronise(entry.mn_id)
        self._outbox.put(Log("binding-deleted", {"mn": entry.mn_id, "bid": entry.bid}))

    def resume(self) -> None:
        """After a start with the binding cache of an earlier one: all that it says anew."""
        self._outbox.put(*self._default_path.open_tunnels(self._bindings, anew=True))
        self.refresh_routes(self._bindings.mobile_nodes())
        rows = (mn_id for mn_id, _ in self._flows.cache.all_rows())
        for mn_id in dict.fromkeys((*self._bindings.mobile_nodes(), *rows)):
            self._flows.refresh(mn_id)
        for entry in self._bindings:
            self._ends.set(entry.bid, _due(entry))

    def refresh_routes(self, mn_ids: Iterable[str]) -> None:
        """The prefixes that MAGs route for flows changed, and with them what there is to route."""
        for mn_id in mn_ids:
            self._outbox.put(*self._default_path.refresh_routes(self._bindings, mn_id))
            self._outbox.put(*self._sources.refresh(self._bindings, mn_id))

    def _synchronise(self, mn_id: str) -> None:
        """Make forwarding agree with the binding cache: tunnels, then routes, then flows, and only
        then take down what nothing points to any more."""
        self._outbox.put(*self._default_path.open_tunnels(self._bindings))
        self._outbox.put(*self._default_path.refresh_routes(self._bindings, mn_id))
        self._outbox.put(*self._sources.refresh(self._bindings, mn_id))
        self._flows.refresh(mn_id)
        self._outbox.put(*self._default_path.close_tunnels(self._bindings))

    def _reject(
        self,
        message: ProxyBindingUpdate,
        source: IPv6Address,
        status: ProxyBindingStatus,
        now: Instant,
        session: BindingCacheEntry | None = None,
    ) -> None:
        self._outbox.put(Log("rejected", {"status": int(status), "reason": status.name}))
        # RFC 6275 section 9.5.1: with status 135, the last accepted sequence number.
        stale = status == ProxyBindingStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW
        sequence = session.sequence if stale and session is not None else None
        # RFC 5213 section 5.5, steps 8 and 9. With a timestamp that the mobile node made, the LMA's
        # time says nothing, and step 7 has the same value returned.
        own_time = status in _TIMESTAMP_REFUSED
        own_time = own_time and not self._config.mobile_node_generated_timestamp_in_use
        reply = acknowledge(message, status, now, sequence=sequence, own_time=own_time)
        self._outbox.put(Send(reply, self._config.address, source))

    @staticmethod
    def _remember(entry: BindingCacheEntry, message: ProxyBindingUpdate) -> None:
        """What an accepted request says about its session, whatever it asks for."""
        entry.sequence = message.sequence
        timestamp = message.option(Timestamp)
        entry.timestamp = 0 if timestamp is None else timestamp.value
        entry.greatest_timestamp = max(entry.greatest_timestamp, entry.timestamp)
        link_local = message.option(LinkLocalAddress)
        if link_local is not None and not link_local.address.is_unspecified:
            entry.link_local_address = link_local.address


def _due(entry: BindingCacheEntry) -> float:
    return entry.expires if entry.deletion is None else entry.deletion
