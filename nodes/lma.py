"""The Local Mobility Anchor (RFC 5213 section 5) with flow mobility (RFC 7864), as a pure core.

Feed it messages, control requests and time; carry out the actions that it returns, in order.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from nodes.actions import Action, Instant, Log, Reply, Send
from nodes.binding_cache import (
    BindingCache,
    BindingCacheEntry,
    CreateSession,
    RejectRequest,
    Request,
    UpdateEntry,
    WaitForDeregistration,
)
from nodes.config import LmaConfig
from nodes.default_path import DefaultPath
from nodes.flow_mobility import FlowMobility
from nodes.flow_mobility_cache import FlowMobilityCacheEntry
from nodes.prefix_allocation import PoolExhausted, PrefixAllocation, PrefixNotAllowed
from nodes.proxy_binding_acknowledgement import acknowledge
from nodes.wire.messages import (
    BindingError,
    BindingErrorStatus,
    Heartbeat,
    Message,
    ProxyBindingStatus,
    ProxyBindingUpdate,
    UpdateNotificationAcknowledgement,
)
from nodes.wire.options import (
    AccessTechnologyType,
    AlternateCareOfAddress,
    HandoffIndicator,
    HomeNetworkPrefix,
    MobileNodeIdentifier,
    MobileNodeLinkLayerIdentifier,
    RestartCounter,
    Timestamp,
)

LIFETIME_UNIT_S = 4  # RFC 5213 section 8.1
SEQUENCE_WINDOW = 0x8000  # RFC 6275 section 9.5.1: serial number arithmetic modulo 2^16


@dataclass(frozen=True, slots=True)
class HeldRequest:
    """A request that waits until `deadline` for the deregistration of `bid`. It has passed the
    checks, and is as fresh as it was when it came."""

    message: ProxyBindingUpdate
    request: Request
    source: IPv6Address
    bid: int
    deadline: float


class LocalMobilityAnchor:
    def __init__(self, config: LmaConfig, rng: random.Random) -> None:
        self.config = config
        self.bindings = BindingCache()
        self.flows = FlowMobility(config, self.bindings, rng)
        self._prefixes = PrefixAllocation(config, self.bindings)
        self._default_path = DefaultPath()
        self._held: list[HeldRequest] = []
        self._actions: list[Action] = []

    def take_actions(self) -> list[Action]:
        """What is to be done since the last call, in order."""
        actions, self._actions = self._actions, []
        return actions

    def timer(self) -> float | None:
        """Monotonic time (s) at which `handle_timer` wants to be called."""
        deadlines = [held.deadline for held in self._held]
        for entry in self.bindings:
            deadlines.append(entry.expires if entry.deletion is None else entry.deletion)
        notification = self.flows.deadline()
        if notification is not None:
            deadlines.append(notification)
        return min(deadlines, default=None)

    def handle_timer(self, now: Instant) -> None:
        self.flows.handle_timer(now)
        self._collect()
        for entry in list(self.bindings):
            due = entry.expires if entry.deletion is None else entry.deletion
            if due <= now.monotonic:
                self._delete(entry, now)
        due_requests = [held for held in self._held if held.deadline <= now.monotonic]
        self._held = [held for held in self._held if held.deadline > now.monotonic]
        for held in due_requests:
            self._admit(held.message, held.request, held.source, now, wait_on_unknown=False)

    def receive(self, message: Message, source: IPv6Address, now: Instant) -> None:
        """Process a message that `source` sent to this LMA's address."""
        if isinstance(message, ProxyBindingUpdate):
            if message.proxy_registration:
                self._register(message, source, now)
            else:
                # Without the P flag it is a mobile node's own, and this is no home agent.
                self._actions.append(Log("binding-update-ignored", {"source": str(source)}))
        elif isinstance(message, UpdateNotificationAcknowledgement):
            self.flows.acknowledged(message, source, now)
            self._collect()
        elif isinstance(message, BindingError):
            known = source in self.config.authorized_mags
            if known and message.status == BindingErrorStatus.UNRECOGNIZED_MH_TYPE:
                self.flows.unsupported(source)
                self._collect()
        elif isinstance(message, Heartbeat) and not message.response:
            self._answer_heartbeat(message, source)

    def move_flow(self, mn_id: str, fid: int, bid: int, token: int, now: Instant) -> None:
        self.flows.move_flow(mn_id, fid, bid, token, now)
        self._collect()

    def add_flow(self, mn_id: str, entry: FlowMobilityCacheEntry, token: int, now: Instant) -> None:
        self.flows.add_flow(mn_id, entry, token, now)
        self._collect()

    def remove_flow(self, mn_id: str, fid: int, token: int) -> None:
        self.flows.remove_flow(mn_id, fid, token)
        self._collect()

    def answer(self, token: int, result: object = None, error: str | None = None) -> None:
        self._actions.append(Reply(token, result, error))

    def resolve(self, mn_id: str, binding: int | str) -> int | None:
        """The BID that a person means by a BID or by the name of an access; None if there is no
        such binding of this mobile node."""
        for entry in self.bindings.of(mn_id):
            if binding in (entry.bid, self.flows.access_name(entry.bid)):
                return entry.bid
        return None

    def _answer_heartbeat(self, message: Heartbeat, source: IPv6Address) -> None:
        """RFC 5847 section 3.3: MUST answer, whether there is a binding or not."""
        reply = Heartbeat(sequence=message.sequence, response=True, options=(RestartCounter(0),))
        self._actions.append(Send(reply, self.config.address, source))

    def _collect(self) -> None:
        self._actions.extend(self.flows.take_actions())

    def _register(self, message: ProxyBindingUpdate, source: IPv6Address, now: Instant) -> None:
        """RFC 5213 section 5.3.1; the order of the checks is that of the text."""
        alternate = message.option(AlternateCareOfAddress)
        proxy_coa = source if alternate is None else alternate.address
        request = _request(message, proxy_coa)
        session = self._session_of(request)
        rejection = self._check(message, source, session, now)
        if rejection is not None:
            return self._reject(message, source, rejection, now, session)
        assert request is not None
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
        earlier = self._release(request)
        lookup = self.bindings.look_up(request, wait_on_unknown=wait_on_unknown)
        if isinstance(lookup, RejectRequest):
            return self._reject(message, source, lookup.status, now)
        if isinstance(lookup, WaitForDeregistration) and message.lifetime > 0:
            # The MAG sends its request again while it waits; that doesn't start the wait anew.
            deadline = now.monotonic + self.config.max_delay_before_new_bce_assign_ms / 1000
            if earlier is not None:
                deadline = earlier.deadline
            self._held.append(HeldRequest(message, request, source, lookup.entry.bid, deadline))
            self._actions.append(Log("registration-held", {"mn": request.mn_id}))
            return None
        if isinstance(lookup, UpdateEntry):
            return self._extend(lookup.entry, message, request, source, now)
        if message.lifetime == 0:
            # RFC 5213 section 5.4.1: a deregistration that fits no session is ignored silently.
            self._actions.append(Log("deregistration-ignored", {"mn": request.mn_id}))
            return None
        assert isinstance(lookup, CreateSession)
        return self._create(lookup, message, request, source, now)

    def _release(self, request: Request) -> HeldRequest | None:
        """The held request that `request` replaces, no longer held: of the same interface."""
        for held in self._held:
            if (
                held.request.mn_id == request.mn_id
                and held.request.proxy_coa == request.proxy_coa
                and held.request.access_technology == request.access_technology
                and held.request.link_layer_id == request.link_layer_id
            ):
                self._held.remove(held)
                return held
        return None

    def _session_of(self, request: Request | None) -> BindingCacheEntry | None:
        """The existing session that a request is about."""
        lookup = None if request is None else self.bindings.look_up(request)
        return lookup.entry if isinstance(lookup, UpdateEntry) else None

    def _check(
        self,
        message: ProxyBindingUpdate,
        source: IPv6Address,
        session: BindingCacheEntry | None,
        now: Instant,
    ) -> ProxyBindingStatus | None:
        """Steps 4 to 12 of RFC 5213 section 5.3.1: the status to reject with, or None."""
        identifier = message.option(MobileNodeIdentifier)
        if identifier is None:
            return ProxyBindingStatus.MISSING_MN_IDENTIFIER_OPTION
        if source not in self.config.authorized_mags:
            return ProxyBindingStatus.MAG_NOT_AUTHORIZED_FOR_PROXY_REG
        policy = self.config.mobile_nodes.get(identifier.nai)
        if policy is None:
            return ProxyBindingStatus.NOT_LMA_FOR_THIS_MOBILE_NODE
        if not policy.enabled:
            return ProxyBindingStatus.PROXY_REG_NOT_ENABLED
        order = self._check_order(message, session, now)
        if order is not None:
            return order
        if message.option(HomeNetworkPrefix) is None:
            return ProxyBindingStatus.MISSING_HOME_NETWORK_PREFIX_OPTION
        if message.option(HandoffIndicator) is None:
            return ProxyBindingStatus.MISSING_HANDOFF_INDICATOR_OPTION
        if message.option(AccessTechnologyType) is None:
            return ProxyBindingStatus.MISSING_ACCESS_TECH_TYPE_OPTION
        return None

    def _check_order(
        self, message: ProxyBindingUpdate, entry: BindingCacheEntry | None, now: Instant
    ) -> ProxyBindingStatus | None:
        """RFC 5213 section 5.5. Timestamps are compared within a mobility session: two MAGs at
        different distances may register two interfaces of one MN at the same time."""
        timestamp = message.option(Timestamp)
        if timestamp is None:
            if entry is not None and not _newer(message.sequence, entry.sequence):
                return ProxyBindingStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW
            return None
        if entry is not None and timestamp.value < entry.accepted_timestamp:
            return ProxyBindingStatus.TIMESTAMP_LOWER_THAN_PREV_ACCEPTED
        # "Greater than all previously accepted": an equal one isn't valid, nor is it lower.
        if entry is not None and timestamp.value == entry.accepted_timestamp:
            return ProxyBindingStatus.TIMESTAMP_MISMATCH
        window_ns = self.config.timestamp_validity_window_ms * 1_000_000
        if abs(timestamp.unix_ns - now.unix_ns) > window_ns:
            return ProxyBindingStatus.TIMESTAMP_MISMATCH
        return None

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
            prefixes = self._prefixes.assign(request.mn_id, request.prefixes, lookup)
        except PoolExhausted:
            return self._reject(message, source, ProxyBindingStatus.INSUFFICIENT_RESOURCES, now)
        except PrefixNotAllowed:
            return self._reject(
                message, source, ProxyBindingStatus.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX, now
            )
        entry = BindingCacheEntry(
            bid=self.bindings.allocate_bid(),
            bid_priority=self._priority(request.access_technology),
            mn_id=request.mn_id,
            access_technology=request.access_technology,
            link_layer_id=request.link_layer_id,
            prefixes=prefixes,
            proxy_coa=request.proxy_coa,
            expires=0.0,
        )
        self.bindings.add(entry)
        self._accept(entry, message, request, source, now, "registered")
        if self.config.mobile_nodes[request.mn_id].prefix_delivery == "at-attach":
            for other in self.bindings.of(request.mn_id):
                if other is not entry and other.registered:
                    self.flows.deliver(other, now)
            self._collect()
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
            self.flows.binding_removed(entry, "the target moved to another MAG")
        entry.proxy_coa = request.proxy_coa
        entry.access_technology = request.access_technology
        entry.link_layer_id = request.link_layer_id
        entry.bid_priority = self._priority(request.access_technology)
        entry.deletion = None
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
        lifetime = min(message.lifetime, self.config.max_lifetime_s // LIFETIME_UNIT_S)
        entry.expires = now.monotonic + lifetime * LIFETIME_UNIT_S
        self._remember_order(entry, message)
        entry.flow_mobility_prefixes = self.flows.off_link_prefixes(entry)
        off_link = dict.fromkeys(entry.flow_mobility_prefixes + self.flows.asked_prefixes(entry))
        self._synchronise(entry.mn_id)
        self._actions.append(
            Log(
                event,
                {
                    "mn": entry.mn_id,
                    "bid": entry.bid,
                    "access": self.flows.access_name(entry.bid),
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
            off_link_prefixes=tuple(off_link),
        )
        self._actions.append(Send(reply, self.config.address, source))

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
            self._actions.append(Log("deregistration-ignored", {"mn": entry.mn_id}))
            return
        self._remember_order(entry, message)
        entry.deletion = now.monotonic + self.config.min_delay_before_bce_delete_ms / 1000
        entry.flow_mobility_prefixes = ()
        self.flows.binding_removed(entry, "the target deregistered")
        self._synchronise(entry.mn_id)
        self._actions.append(Log("deregistered", {"mn": entry.mn_id, "bid": entry.bid}))
        reply = acknowledge(
            message, ProxyBindingStatus.ACCEPTED, now, lifetime=0, prefixes=entry.prefixes
        )
        self._actions.append(Send(reply, self.config.address, source))
        waiting = [held for held in self._held if held.bid == entry.bid]
        self._held = [held for held in self._held if held.bid != entry.bid]
        for held in waiting:
            self._admit(held.message, held.request, held.source, now, wait_on_unknown=False)

    def _delete(self, entry: BindingCacheEntry, now: Instant) -> None:
        self.bindings.remove(entry)
        self.flows.binding_removed(entry, "the target's registration ended")
        self._synchronise(entry.mn_id)
        self._actions.append(Log("binding-deleted", {"mn": entry.mn_id, "bid": entry.bid}))

    def _synchronise(self, mn_id: str) -> None:
        """Make forwarding agree with the binding cache: tunnels, then routes, then flows, and only
        then take down what nothing points to any more."""
        self._actions.extend(self._default_path.open_tunnels(self.bindings))
        self._actions.extend(self._default_path.refresh_routes(self.bindings))
        self.flows.refresh(mn_id)
        self._collect()
        self._actions.extend(self._default_path.close_tunnels(self.bindings))

    def _reject(
        self,
        message: ProxyBindingUpdate,
        source: IPv6Address,
        status: ProxyBindingStatus,
        now: Instant,
        session: BindingCacheEntry | None = None,
    ) -> None:
        self._actions.append(Log("rejected", {"status": int(status), "reason": status.name}))
        # RFC 6275 section 9.5.1: with status 135, the last accepted sequence number.
        stale = status == ProxyBindingStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW
        sequence = session.sequence if stale and session is not None else None
        reply = acknowledge(message, status, now, sequence=sequence)
        self._actions.append(Send(reply, self.config.address, source))

    @staticmethod
    def _remember_order(entry: BindingCacheEntry, message: ProxyBindingUpdate) -> None:
        entry.sequence = message.sequence
        timestamp = message.option(Timestamp)
        if timestamp is not None:
            entry.accepted_timestamp = max(entry.accepted_timestamp, timestamp.value)

    def _priority(self, access_technology: int) -> int:
        """BID-PRI of an access; technologies that the configuration doesn't know come last."""
        return next(
            (
                access.priority
                for access in self.config.accesses.values()
                if access.technology == access_technology
            ),
            127,
        )


def _request(message: ProxyBindingUpdate, proxy_coa: IPv6Address) -> Request | None:
    """The look-up keys of a PBU; None if a mandatory option is missing."""
    identifier = message.option(MobileNodeIdentifier)
    handoff = message.option(HandoffIndicator)
    technology = message.option(AccessTechnologyType)
    if identifier is None or handoff is None or technology is None:
        return None
    link_layer = message.option(MobileNodeLinkLayerIdentifier)
    # An identifier of zeros says no more than none (RFC 5213 section 5.4.1.2, figure 8).
    prefixes: list[IPv6Network] = [
        option.prefix for option in message.all_options(HomeNetworkPrefix) if not option.all_zero
    ]
    return Request(
        mn_id=identifier.nai,
        access_technology=int(technology.technology),
        link_layer_id=link_layer.identifier if link_layer and any(link_layer.identifier) else None,
        handoff=int(handoff.hint),
        prefixes=tuple(prefixes),
        proxy_coa=proxy_coa,
    )


def _newer(sequence: int, than: int) -> bool:
    """RFC 6275 section 9.5.1."""
    return 0 < (sequence - than) % (2 * SEQUENCE_WINDOW) < SEQUENCE_WINDOW
