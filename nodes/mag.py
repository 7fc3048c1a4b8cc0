"""The Mobile Access Gateway (RFC 5213 section 6) with flow mobility (RFC 7864), as a pure core.

It learns of mobile nodes from link events, and who they are from its policy store; or from the
nodes themselves, with layer-2 signalling (`mag_attachment`).
"""

from __future__ import annotations

import random
from ipaddress import IPv6Address, IPv6Network

from nodes.access_link_reporter import AccessLinkReporter
from nodes.actions import (
    Action,
    Advertise,
    CloseTunnel,
    FilterFlows,
    HostPrefix,
    Instant,
    Log,
    OpenTunnel,
    Outbox,
    Reply,
    Send,
    UnhostPrefix,
)
from nodes.binding_update_list import BindingUpdateListEntry, Registration
from nodes.config import ANY_PREFIX, AccessProfile, MagConfig
from nodes.flow_mobility_acknowledgement import examine, flow_rows
from nodes.flow_mobility_cache import FlowMobilityCacheEntry
from nodes.heartbeat import FIRST_START, HeartbeatExchange, Incarnation
from nodes.link_layer import link_local_address, parse_link_layer_id
from nodes.mag_attachment import MagAttachments
from nodes.revocation_request import answer_to, judge
from nodes.update_notification_receiver import UpdateNotificationReceiver
from nodes.wire.attachment import AttachmentRequest
from nodes.wire.flow_options import FlowIdentification
from nodes.wire.messages import (
    BindingError,
    BindingErrorStatus,
    BindingRevocationIndication,
    HandoffHint,
    Heartbeat,
    Message,
    ProxyBindingAcknowledgement,
    ProxyBindingStatus,
    ProxyBindingUpdate,
    UpdateNotification,
    UpdateNotificationReason,
    UpdateNotificationStatus,
)
from nodes.wire.options import (
    AccessLinkReport,
    AccessTechnologyType,
    HandoffIndicator,
    HomeNetworkPrefix,
    MobileNodeIdentifier,
    MobileNodeLinkLayerIdentifier,
    Option,
    Timestamp,
    VendorSpecific,
)

LIFETIME_UNIT_S = 4
SEQUENCE_MODULUS = 0x10000
# Registrations are renewed when this share of their lifetime has passed.
REFRESH_SHARE = 0.8
_ECHOED = (
    MobileNodeIdentifier,
    HandoffIndicator,
    AccessTechnologyType,
    MobileNodeLinkLayerIdentifier,
)
_PREFIXES_REFUSED = (
    ProxyBindingStatus.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX,
    ProxyBindingStatus.BCE_PBU_PREFIX_SET_DO_NOT_MATCH,
)


class MobileAccessGateway:
    def __init__(
        self, config: MagConfig, rng: random.Random, incarnation: Incarnation = FIRST_START
    ) -> None:
        self.config = config
        self.bindings: dict[str, BindingUpdateListEntry] = {}
        self._next_sequence = rng.randrange(SEQUENCE_MODULUS)
        self._last_timestamp = 0
        self._tunnel_open = False
        self._outbox = Outbox()
        self._reporter = AccessLinkReporter(config.link_reports)
        self._attachments = MagAttachments(
            config, self.bindings, self._attach, self._detach, self._outbox
        )
        self._notifications = UpdateNotificationReceiver(
            config.proxy_coa, self._act_on, self._outbox
        )
        self._heartbeats = HeartbeatExchange(
            config.proxy_coa, config, incarnation, self._sessions, self, self._outbox
        )
        self._heartbeats.announce([config.lma])

    def take_actions(self) -> list[Action]:
        return self._outbox.take()

    def answer(self, token: int, result: object = None, error: str | None = None) -> None:
        self._outbox.put(Reply(token, result, error))

    def timer(self) -> float | None:
        """Monotonic time (s) at which `handle_timer` wants to be called."""
        deadlines = [entry.deadline() for entry in self.bindings.values()]
        deadlines += [
            self._reporter.deadline(entry.interface)
            for entry in self.bindings.values()
            if _may_report(entry)
        ]
        deadlines.append(self._heartbeats.deadline())
        return min((due for due in deadlines if due is not None), default=None)

    def link_up(self, interface: str, now: Instant) -> None:
        """A mobile node attached to `interface`, if that has no layer-2 signalling."""
        profile = self.config.access_interfaces.get(interface)
        entry = self.bindings.get(interface)
        if profile is None:
            return
        if entry is not None and entry.state is not Registration.DEREGISTERING:
            return
        self._attach(interface, profile, (), now)

    def attachment_requested(
        self, interface: str, request: AttachmentRequest, source: bytes, now: Instant
    ) -> None:
        """Layer-2 signalling from the node with link-layer address `source`."""
        self._attachments.receive(interface, request, source, now)

    def _attach(
        self,
        interface: str,
        profile: AccessProfile,
        prefixes: tuple[IPv6Network, ...],
        now: Instant,
    ) -> None:
        """Register a node that attached (RFC 5213 section 6.9.1.1), with `prefixes` if it has told
        those of its session."""
        mn_link_local = link_local_address(parse_link_layer_id(profile.link_layer_id))
        entry = self.bindings.get(interface)
        if entry is None:
            entry = BindingUpdateListEntry(interface, profile, mn_link_local)
            self.bindings[interface] = entry
        elif entry.profile.mn_id != profile.mn_id:
            entry.prefixes = ()  # another node's, which has just left
        entry.profile, entry.mn_link_local = profile, mn_link_local
        entry.prefixes = prefixes or entry.prefixes
        entry.state = Registration.REQUESTED
        self._log("attached", entry)
        self._request(entry, now, HandoffHint(profile.handoff_indicator))

    def link_down(self, interface: str, now: Instant) -> None:
        """The carrier of `interface` is gone, and with it the mobile node."""
        self._detach(interface, now)
        self._attachments.link_down(interface)

    def _detach(self, interface: str, now: Instant) -> None:
        """The mobile node left `interface` (RFC 5213 section 6.9.1.4)."""
        entry = self.bindings.get(interface)
        if entry is None or entry.state is Registration.DEREGISTERING:
            return
        self._log("detached", entry)
        registered = bool(entry.prefixes)
        for prefix in entry.hosted:
            self._outbox.put(UnhostPrefix(interface, prefix))
        entry.hosted = entry.off_link_prefixes = ()
        self._filter(entry, (), ())
        entry.refresh_at = entry.advertise_at = None
        self._reporter.forget(interface)
        if not registered and entry.state is not Registration.REQUESTED:
            self._forget(entry)
            return
        entry.state = Registration.DEREGISTERING
        self._request(entry, now, HandoffHint.HANDOFF_STATE_UNKNOWN)

    def router_solicited(self, interface: str, now: Instant) -> None:
        """RFC 5213 section 6.9.2: advertise only once the registration is complete."""
        entry = self.bindings.get(interface)
        if entry is not None and entry.state is Registration.REGISTERED:
            self._advertise(entry, now)

    def link_measured(
        self,
        interface: str,
        now: Instant,
        *,
        quality: int | None = None,
        load: int | None = None,
        queue_delay_ms: int | None = None,
    ) -> None:
        """New values of an access link; the LMA is told if they are worth it."""
        self._reporter.measured(interface, quality, load, queue_delay_ms)
        entry = self.bindings.get(interface)
        if entry is not None:
            self._report(entry, now)

    def receive(self, message: Message, source: IPv6Address, now: Instant) -> None:
        """Process a message that arrived at this MAG's Proxy-CoA from `source`."""
        if source != self.config.lma:
            self._outbox.put(Log("foreign-message", {"source": str(source)}))
        elif isinstance(message, ProxyBindingAcknowledgement) and message.proxy_registration:
            self._acknowledged(message, now)
        elif isinstance(message, UpdateNotification):
            self._notifications.receive(message, source, now)
        elif isinstance(message, BindingRevocationIndication):
            self._revoke(message, source)
        elif isinstance(message, Heartbeat):
            self._heartbeats.receive(message, source, now)
        elif isinstance(message, BindingError):
            self._outbox.put(Log("binding-error", {"status": int(message.status)}))
            if message.status == BindingErrorStatus.UNRECOGNIZED_MH_TYPE:
                self._heartbeats.refused(source)
        self._heartbeats.refresh(now)

    def handle_timer(self, now: Instant) -> None:
        for entry in list(self.bindings.values()):
            if entry.retransmit_at is not None and entry.retransmit_at <= now.monotonic:
                if entry.state is Registration.DEREGISTERING:
                    # RFC 5213 section 6.9.1.4: after INITIAL_BINDACK_TIMEOUT, answer or not.
                    self._forget(entry)
                    continue
                self._retransmit(entry, now)
            if entry.refresh_at is not None and entry.refresh_at <= now.monotonic:
                entry.refresh_at = None
                self._request(entry, now, HandoffHint.HANDOFF_STATE_NOT_CHANGED)
            if entry.advertise_at is not None and entry.advertise_at <= now.monotonic:
                self._advertise(entry, now)
            self._report(entry, now)
        self._heartbeats.handle_timer(now)

    def peer_failed(self, peer: IPv6Address, now: Instant) -> None:
        self._register_anew(now)

    def peer_restarted(self, peer: IPv6Address, since: float, now: Instant) -> None:
        self._notifications.forget()
        self._register_anew(now)

    def _sessions(self) -> list[IPv6Address]:
        """The LMA, if it has a binding of this MAG."""
        states = [entry.state for entry in self.bindings.values()]
        return [self.config.lma] if Registration.REGISTERED in states else []

    def _revoke(self, message: BindingRevocationIndication, source: IPv6Address) -> None:
        """RFC 5846 section 9.1. The mobile node stays without service until it attaches anew."""
        status, revoked = judge(message, self.bindings.values())
        for entry in revoked:
            self._log("revoked", entry, trigger=int(message.trigger))
            if entry.state is Registration.DEREGISTERING:
                self._forget(entry)
                continue
            entry.settled()
            self._host(entry, (), ())
            entry.refresh_at = entry.advertise_at = None
            entry.state = Registration.REJECTED
            self._reporter.forget(entry.interface)
            # No router any more: RFC 4861 section 6.2.5.
            self._outbox.put(Advertise(entry.interface, (), 0))
        self._outbox.put(Send(answer_to(message, status), self.config.proxy_coa, source))

    def _register_anew(self, now: Instant) -> None:
        """The LMA may have lost its bindings: ask for each with the prefixes that the mobile node
        has, as for an attachment. They are hosted until the LMA says otherwise."""
        for entry in self.bindings.values():
            if entry.state in (Registration.REQUESTED, Registration.REGISTERED):
                entry.state = Registration.REQUESTED
                entry.refresh_at = None
                self._request(entry, now, HandoffHint(entry.profile.handoff_indicator))

    def _report(self, entry: BindingUpdateListEntry, now: Instant) -> None:
        """One request at a time: a report waits for the answer to the one before."""
        if not _may_report(entry):
            return
        report = self._reporter.take(entry.interface, now.monotonic)
        if report is not None:
            self._request(entry, now, HandoffHint.HANDOFF_STATE_NOT_CHANGED, (report,))

    def _request(
        self,
        entry: BindingUpdateListEntry,
        now: Instant,
        handoff: HandoffHint,
        extra: tuple[Option, ...] = (),
    ) -> None:
        """Build and send a PBU (RFC 5213 section 6.9.1.5). Until the LMA has assigned prefixes it
        asks for any; afterwards it lists all of the session (6.9.1.3, 6.9.1.4)."""
        leaving = entry.state is Registration.DEREGISTERING
        prefixes = [HomeNetworkPrefix.of(prefix) for prefix in entry.prefixes]
        request = ProxyBindingUpdate(
            sequence=self._allocate_sequence(),
            acknowledge=True,
            proxy_registration=True,
            lifetime=0 if leaving else self.config.lifetime_s // LIFETIME_UNIT_S,
            options=(
                MobileNodeIdentifier.of(entry.profile.mn_id),
                *(prefixes or [HomeNetworkPrefix.of(ANY_PREFIX)]),
                HandoffIndicator(handoff),
                AccessTechnologyType(entry.profile.access_technology),
                self._timestamp(now),
                MobileNodeLinkLayerIdentifier(parse_link_layer_id(entry.profile.link_layer_id)),
                *extra,
            ),
        )
        entry.sent(request, now.monotonic, again=False)
        self._outbox.put(Send(request, self.config.proxy_coa, self.config.lma))

    def _retransmit(self, entry: BindingUpdateListEntry, now: Instant) -> None:
        """The same request with the latest timestamp (RFC 5213 section 6.9.4, step 4)."""
        assert entry.request is not None
        options = tuple(
            self._timestamp(now) if isinstance(option, Timestamp) else option
            for option in entry.request.options
        )
        request = ProxyBindingUpdate(
            sequence=self._allocate_sequence(),
            acknowledge=True,
            proxy_registration=True,
            lifetime=entry.request.lifetime,
            options=options,
        )
        entry.sent(request, now.monotonic, again=True)
        self._log("pbu-retransmitted", entry)
        self._outbox.put(Send(request, self.config.proxy_coa, self.config.lma))

    def _allocate_sequence(self) -> int:
        sequence = self._next_sequence
        self._next_sequence = (sequence + 1) % SEQUENCE_MODULUS
        return sequence

    def _timestamp(self, now: Instant) -> Timestamp:
        """Each timestamp is greater than the one before, even within 1/65536 s of it: the LMA
        takes an equal one for no newer (RFC 5213 section 5.5)."""
        value = max(Timestamp.of_unix_ns(now.unix_ns).value, self._last_timestamp + 1)
        self._last_timestamp = value
        return Timestamp(value)

    def _acknowledged(self, message: ProxyBindingAcknowledgement, now: Instant) -> None:
        """RFC 5213 section 6.9.1.2."""
        entry = next(
            (
                entry
                for entry in self.bindings.values()
                if entry.request is not None and entry.request.sequence == message.sequence
            ),
            None,
        )
        if entry is None or entry.request is None:
            self._outbox.put(Log("pba-ignored", {"sequence": message.sequence}))
            return
        leaving = entry.state is Registration.DEREGISTERING
        if any(message.option(kind) != entry.request.option(kind) for kind in _ECHOED):
            # Step 6: ignore it, and don't ask again until someone looks into it.
            if not leaving:
                entry.retransmit_at = None
            self._log("pba-mismatch", entry)
            return
        if not message.accepted:
            self._rejected(entry, message, now)
            return
        if leaving:
            self._forget(entry)
            return
        entry.settled()
        self._registered(entry, message, now)

    def _registered(
        self, entry: BindingUpdateListEntry, message: ProxyBindingAcknowledgement, now: Instant
    ) -> None:
        options = [
            option for option in message.all_options(HomeNetworkPrefix) if not option.all_zero
        ]
        on_link = tuple(option.prefix for option in options if not option.off_link)
        off_link = tuple(option.prefix for option in options if option.off_link)
        if not self._tunnel_open:
            self._tunnel_open = True
            self._outbox.put(OpenTunnel(self.config.lma))
        entry.state = Registration.REGISTERED
        flows, _ = flow_rows(message.all_options(FlowIdentification))
        self._host(entry, on_link, off_link, flows)
        entry.refresh_at = now.monotonic + message.lifetime * LIFETIME_UNIT_S * REFRESH_SHARE
        self._log("registered", entry, prefixes=[str(prefix) for prefix in on_link])
        self._attachments.settled(entry.interface, message.status, on_link)
        self._advertise(entry, now)

    def _rejected(
        self, entry: BindingUpdateListEntry, message: ProxyBindingAcknowledgement, now: Instant
    ) -> None:
        """RFC 5213 section 6.9.1.2, steps 7 to 11: no service; try again only where it says so."""
        status = int(message.status)
        self._log("registration-rejected", entry, status=status)
        if status == ProxyBindingStatus.TIMESTAMP_LOWER_THAN_PREV_ACCEPTED:
            return  # The retransmission, with a newer timestamp, is the retry of step 8.
        if entry.state is Registration.DEREGISTERING:
            return  # The node is gone all the same: the timer removes the entry (6.9.1.4).
        entry.settled()
        entry.refresh_at = entry.advertise_at = None
        listed = bool(entry.prefixes)
        self._host(entry, (), ())
        entry.state = Registration.REJECTED
        named = self._attachments.names_prefixes(entry.interface)
        if listed and status in _PREFIXES_REFUSED and not named:
            # Step 10: a restarted LMA may have given a prefix to another before it was asked for
            # it, and may have none or some of these for the mobile node's other interface.
            entry.state = Registration.REQUESTED
            self._request(entry, now, HandoffHint(entry.profile.handoff_indicator))
            return
        self._attachments.settled(entry.interface, status)

    def _host(
        self,
        entry: BindingUpdateListEntry,
        on_link: tuple[IPv6Network, ...],
        off_link: tuple[IPv6Network, ...],
        flows: tuple[FlowMobilityCacheEntry, ...] = (),
    ) -> None:
        """Make the set of routed prefixes be `on_link` and `off_link` and no others; with `flows`,
        the off-link ones for these only."""
        self._filter(entry, off_link, flows)
        before, after = entry.hosted, on_link + off_link
        for prefix in after:
            if prefix not in before:
                self._outbox.put(
                    HostPrefix(entry.interface, prefix, self.config.lma, entry.mn_link_local)
                )
        for prefix in before:
            if prefix not in after:
                self._outbox.put(UnhostPrefix(entry.interface, prefix))
        entry.prefixes, entry.off_link_prefixes, entry.hosted = on_link, off_link, after

    def _filter(
        self,
        entry: BindingUpdateListEntry,
        off_link: tuple[IPv6Network, ...],
        flows: tuple[FlowMobilityCacheEntry, ...],
    ) -> None:
        """Before a prefix is routed, so that nothing passes that shouldn't."""
        before = FilterFlows(entry.interface, entry.filtered, entry.flows)
        after = FilterFlows(entry.interface, *((off_link, flows) if off_link and flows else ()))
        if after != before:
            self._outbox.put(after)
        entry.filtered, entry.flows = after.prefixes, flows

    def _forget(self, entry: BindingUpdateListEntry) -> None:
        del self.bindings[entry.interface]
        self._log("deregistered", entry)
        if not self.bindings and self._tunnel_open:
            self._tunnel_open = False
            self._outbox.put(CloseTunnel(self.config.lma))

    def _advertise(self, entry: BindingUpdateListEntry, now: Instant) -> None:
        """Only on-link prefixes: those with the L bit MUST NOT be advertised (RFC 7864 3.2.2)."""
        entry.advertise_at = now.monotonic + self.config.max_rtr_adv_interval_s
        self._outbox.put(Advertise(entry.interface, entry.prefixes, self.config.router_lifetime_s))

    def _act_on(
        self, message: UpdateNotification, now: Instant
    ) -> tuple[UpdateNotificationStatus, tuple[Option, ...]]:
        if message.reason == UpdateNotificationReason.FLOW_MOBILITY:
            return self._flow_mobility(message)
        if message.reason == UpdateNotificationReason.FORCE_REREGISTRATION:
            return self._register_again(message, now), ()
        if message.reason == UpdateNotificationReason.UPDATE_SESSION_PARAMETERS:
            # There are none that could be applied here: RFC 7077 section 6.1.
            return UpdateNotificationStatus.FAILED_TO_UPDATE_SESSION_PARAMETERS, ()
        if (
            message.reason == UpdateNotificationReason.VENDOR_SPECIFIC_REASON
            and message.option(VendorSpecific) is None
            and message.option(AccessLinkReport) is None
        ):
            return UpdateNotificationStatus.MISSING_VENDOR_SPECIFIC_OPTION, ()
        return UpdateNotificationStatus.REASON_UNSPECIFIED, ()

    def _register_again(
        self, message: UpdateNotification, now: Instant
    ) -> UpdateNotificationStatus:
        """RFC 7077 section 6.1: a PBU for each session of the mobile node; one that waits for its
        answer brings the session's parameters, too."""
        identifier = message.option(MobileNodeIdentifier)
        if identifier is None:
            return UpdateNotificationStatus.REASON_UNSPECIFIED
        sessions = [
            entry
            for entry in self.bindings.values()
            if entry.profile.mn_id == identifier.nai and entry.state is Registration.REGISTERED
        ]
        for entry in sessions:
            if entry.request is None:
                self._request(entry, now, HandoffHint.HANDOFF_STATE_NOT_CHANGED)
        if not sessions:
            return UpdateNotificationStatus.MN_NOT_ATTACHED
        return UpdateNotificationStatus.SUCCESS

    def _flow_mobility(
        self, message: UpdateNotification
    ) -> tuple[UpdateNotificationStatus, tuple[Option, ...]]:
        verdict = examine(message, self.bindings.values())
        entry = verdict.entry
        if entry is not None:
            self._host(entry, entry.prefixes, verdict.off_link, verdict.flows)
            prefixes = [str(prefix) for prefix in verdict.off_link]
            self._log("flow-mobility", entry, prefixes=prefixes)
        return verdict.status, verdict.answer

    def _log(self, event: str, entry: BindingUpdateListEntry, **details: object) -> None:
        fields = {"interface": entry.interface, "mn": entry.profile.mn_id, **details}
        self._outbox.put(Log(event, fields))


def _may_report(entry: BindingUpdateListEntry) -> bool:
    return entry.state is Registration.REGISTERED and entry.request is None
