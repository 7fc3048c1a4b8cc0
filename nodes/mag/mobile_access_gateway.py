"""The Mobile Access Gateway (RFC 5213 section 6) with flow mobility (RFC 7864), as a pure core.

It learns of mobile nodes from events of their links and from what they solicit, and who they are
from its policy store; or from the nodes themselves, with layer-2 signalling (`mag_attachment`).
"""

from __future__ import annotations

import random
from ipaddress import IPv6Address, IPv6Network

from nodes.actions import (
    Action,
    EndAdoption,
    Instant,
    Log,
    Outbox,
    Reply,
    Send,
)
from nodes.config import AccessProfile, MagConfig
from nodes.heartbeat import FIRST_START, HeartbeatExchange, Incarnation
from nodes.mag.access_link_reporter import AccessLinkReporter
from nodes.mag.attachment import MagAttachments
from nodes.mag.binding_registration import BindingRegistration
from nodes.mag.binding_update_list import (
    BindingUpdateListEntry,
    Registration,
)
from nodes.mag.flow_mobility_acknowledgement import examine
from nodes.mag.hosted_prefixes import HostedPrefixes
from nodes.mag.neighbour_unreachability import NeighbourUnreachability
from nodes.mag.proxy_binding_update import ProxyBindingUpdateSender
from nodes.mag.revocation_request import answer_to, judge
from nodes.mag.router_advertisement import RouterAdvertiser
from nodes.mag.update_notification_receiver import UpdateNotificationReceiver
from nodes.neighbour_discovery import ALL_NODES
from nodes.wire.attachment import AttachmentRequest
from nodes.wire.messages import (
    BindingError,
    BindingErrorStatus,
    BindingRevocationIndication,
    Heartbeat,
    Message,
    ProxyBindingAcknowledgement,
    UpdateNotification,
    UpdateNotificationReason,
    UpdateNotificationStatus,
)
from nodes.wire.options import (
    ALL_SESSIONS,
    UNSPECIFIED,
    AccessLinkReport,
    MobileNodeGroupIdentifier,
    MobileNodeIdentifier,
    Option,
    Timestamp,
    VendorSpecific,
)

# As long as an LMA waits for it: MinDelayBeforeBCEDelete's default (RFC 5213 section 9.1).
ADOPTION_S = 10.0
EVERY_SESSION = MobileNodeGroupIdentifier(ALL_SESSIONS)


class MobileAccessGateway:
    def __init__(
        self, config: MagConfig, rng: random.Random, incarnation: Incarnation = FIRST_START
    ) -> None:
        self.config = config
        self.bindings: dict[str, BindingUpdateListEntry] = {}
        self._outbox = Outbox()
        self._hosting = HostedPrefixes(config.enable_mag_local_routing, self._outbox)
        self._advertiser = RouterAdvertiser(config, rng, self._outbox)
        self._neighbours = NeighbourUnreachability(config.router, self._outbox)
        self._attachments = MagAttachments(
            config, self.bindings, self._attach, self._leave, self._outbox
        )
        self._registration = BindingRegistration(
            config,
            self.bindings,
            ProxyBindingUpdateSender(config, rng, self._outbox),
            self._hosting,
            self._advertiser,
            self._neighbours,
            self._attachments,
            self._outbox,
            rng,
        )
        self._reporter = AccessLinkReporter(config.link_reports)
        self._notifications = UpdateNotificationReceiver(
            config.proxy_coa, self._act_on, self._outbox
        )
        self._heartbeats = HeartbeatExchange(
            config.proxy_coa, config, incarnation, self._sessions, self, self._outbox
        )
        self._heartbeats.announce(sorted(config.lmas))
        # Until when what an earlier start left in the kernel waits to be asked for again.
        self._restarted = incarnation.restarted
        self._adopts_until: float | None = None

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
        deadlines += [part.deadline() for part in (self._advertiser, self._neighbours)]
        deadlines += [self._heartbeats.deadline(), self._adopts_until]
        return min((due for due in deadlines if due is not None), default=None)

    def adopts(self, now: Instant) -> bool:
        """Whether an earlier start has left its forwarding state in the kernel, where it is to stay
        until mobile nodes have had the time to be registered again."""
        if self._restarted:
            self._adopts_until = now.monotonic + ADOPTION_S
        return self._restarted

    def link_up(self, interface: str, now: Instant, mn_timestamp: Timestamp | None = None) -> None:
        """The link of `interface` came up, and with it the mobile node if it has no other way to
        show; with `mn_timestamp`, if it said one."""
        profile = self.config.access_interfaces.get(interface)
        if profile is not None and profile.detection == "link":
            self._appear(interface, profile, now, mn_timestamp)

    def began(self, interface: str) -> None:
        """The link of `interface` was up when this MAG started."""
        if interface in self.config.layer_2_interfaces:
            self._attachments.began(interface)

    def attachment_requested(
        self, interface: str, request: AttachmentRequest, source: bytes, now: Instant
    ) -> None:
        """Layer-2 signalling from the node with link-layer address `source`."""
        self._attachments.receive(interface, request, source, now)

    def link_down(self, interface: str, now: Instant) -> None:
        """The link went down, and the mobile node with it."""
        self._advertiser.link_lost(interface)
        entry = self.bindings.get(interface)
        if entry is not None:
            entry.tear_down = False
        self._depart(interface, now)
        self._attachments.link_down(interface)

    def router_solicited(
        self,
        interface: str,
        now: Instant,
        source: IPv6Address = UNSPECIFIED,
        link_layer_address: bytes | None = None,
    ) -> None:
        """RFC 5213 section 6.9.2. It may also be the first sign of a mobile node, and tell its
        addresses (6.1)."""
        profile = self.config.access_interfaces.get(interface)
        if profile is not None and profile.detection == "neighbour":
            self._appear(interface, profile, now)
        entry = self.bindings.get(interface)
        if entry is not None:
            profile = entry.profile
            if link_layer_address is not None and not any(entry.link_layer_id):
                entry.link_layer_id = link_layer_address
            if source.is_link_local:
                self._hosting.move_to(entry, source)
        self._neighbours.confirmed(interface, now)
        known = link_layer_address is not None or (profile and profile.link_layer_id)
        host = source if known and source != UNSPECIFIED else ALL_NODES
        self._advertiser.solicited(interface, host, now)

    def neighbour_advertised(self, interface: str, source: IPv6Address, now: Instant) -> None:
        """A solicited Neighbour Advertisement of `source`."""
        entry = self.bindings.get(interface)
        if entry is not None and entry.mn_link_local == source:
            self._neighbours.confirmed(interface, now)

    def tunnel_mtu_changed(self, lma: IPv6Address, now: Instant) -> None:
        """RFC 5213 section 6.9.5: the mobile nodes behind that tunnel are told."""
        for entry in self.bindings.values():
            if entry.lma == lma:
                self._advertiser.changed(entry.interface, now)

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

    def terminate(self, interface: str, now: Instant) -> None:
        """End the mobility session of a mobile node that is there (RFC 5213 section 6.9.1.4)."""
        self._advertiser.lost(interface, now)
        entry = self.bindings.get(interface)
        if entry is not None:
            entry.tear_down = True
        self._depart(interface, now)

    def retry(self, now: Instant) -> None:
        """The administrative action that sections 6.9.1.2 and RFC 7077 wait for: who was denied the
        service, or got an answer that could not be trusted, is registered anew."""
        self._registration.retry(now)

    def receive(self, message: Message, source: IPv6Address, now: Instant) -> None:
        """Process a message that arrived at this MAG from `source`."""
        if source not in self.config.lmas:
            self._outbox.put(Log("foreign-message", {"source": str(source)}))
        elif isinstance(message, ProxyBindingAcknowledgement) and message.proxy_registration:
            self._registration.acknowledged(message, source, now)
        elif isinstance(message, UpdateNotification) and not self.config.update_notifications:
            answer = BindingError(BindingErrorStatus.UNRECOGNIZED_MH_TYPE)
            self._outbox.put(Send(answer, self.config.proxy_coa, source))
        elif isinstance(message, UpdateNotification):
            self._notifications.receive(message, source, now)
        elif isinstance(message, BindingRevocationIndication):
            self._revoke(message, source, now)
        elif isinstance(message, Heartbeat):
            self._heartbeats.receive(message, source, now)
        elif isinstance(message, BindingError):
            self._outbox.put(Log("binding-error", {"status": int(message.status)}))
            if message.status == BindingErrorStatus.UNRECOGNIZED_MH_TYPE:
                self._heartbeats.refused(source)
        self._heartbeats.refresh(now)

    def handle_timer(self, now: Instant) -> None:
        for interface in self._neighbours.handle_timer(now):
            self._outbox.put(Log("unreachable", {"interface": interface}))
            self._advertiser.link_lost(interface)
            self.bindings[interface].tear_down = True
            self._depart(interface, now)
        if self._adopts_until is not None and self._adopts_until <= now.monotonic:
            self._adopts_until = None
            self._outbox.put(EndAdoption())
        self._registration.handle_timer(now)
        for entry in list(self.bindings.values()):
            self._report(entry, now)
        self._advertiser.handle_timer(now)
        self._heartbeats.handle_timer(now)

    def peer_failed(self, peer: IPv6Address, now: Instant) -> None:
        self._registration.anew(peer, now)

    def peer_restarted(self, peer: IPv6Address, since: float, now: Instant) -> None:
        self._notifications.forget(peer)
        self._registration.anew(peer, now)

    def _sessions(self) -> set[IPv6Address]:
        """The LMAs that have a binding of this MAG."""
        entries = self.bindings.values()
        return {entry.lma for entry in entries if entry.state is Registration.REGISTERED}

    def _appear(
        self,
        interface: str,
        profile: AccessProfile,
        now: Instant,
        mn_timestamp: Timestamp | None = None,
    ) -> None:
        entry = self.bindings.get(interface)
        if entry is None or entry.state is Registration.DEREGISTERING:
            self._attach(interface, profile, (), now, mn_timestamp)

    def _attach(
        self,
        interface: str,
        profile: AccessProfile,
        prefixes: tuple[IPv6Network, ...],
        now: Instant,
        mn_timestamp: Timestamp | None = None,
    ) -> None:
        self._registration.attached(interface, profile, prefixes, now, mn_timestamp)

    def _revoke(
        self, message: BindingRevocationIndication, source: IPv6Address, now: Instant
    ) -> None:
        """RFC 5846 section 9.1. The mobile node stays without service until it attaches anew."""
        status, revoked = judge(message, self._of_lma(source), self.config.proxy_coa)
        for entry in revoked:
            self._log("revoked", entry, trigger=int(message.trigger))
            self._reporter.forget(entry.interface)
            self._registration.revoked(entry, now)
        self._outbox.put(Send(answer_to(message, status), self.config.proxy_coa, source))

    def _leave(self, interface: str, now: Instant) -> None:
        """The mobile node takes its leave of a link that stays up, and where it may listen on."""
        self._advertiser.lost(interface, now)
        self._depart(interface, now)

    def _of_lma(self, lma: IPv6Address) -> list[BindingUpdateListEntry]:
        """An LMA has a say about its own sessions only."""
        return [entry for entry in self.bindings.values() if entry.lma == lma]

    def _depart(self, interface: str, now: Instant) -> None:
        self._neighbours.forget(interface)
        self._reporter.forget(interface)
        self._registration.departed(interface, now)

    def _report(self, entry: BindingUpdateListEntry, now: Instant) -> None:
        """One request at a time: a report waits for the answer to the one before."""
        if not _may_report(entry):
            return
        report = self._reporter.take(entry.interface, now.monotonic)
        if report is not None:
            self._registration.extend(entry, now, (report,))

    def _act_on(
        self, message: UpdateNotification, source: IPv6Address, now: Instant
    ) -> tuple[UpdateNotificationStatus, tuple[Option, ...]]:
        if message.reason == UpdateNotificationReason.FLOW_MOBILITY:
            return self._flow_mobility(message, source)
        if message.reason == UpdateNotificationReason.FORCE_REREGISTRATION:
            return self._register_again(message, source, now), ()
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
        self, message: UpdateNotification, source: IPv6Address, now: Instant
    ) -> UpdateNotificationStatus:
        """RFC 7077 section 6.1: a PBU for each session of the mobile node, or of all; one that
        waits for its answer brings the session's parameters, too. No other groups are negotiated
        here."""
        identifier = message.option(MobileNodeIdentifier)
        if identifier is None and message.option(MobileNodeGroupIdentifier) != EVERY_SESSION:
            return UpdateNotificationStatus.REASON_UNSPECIFIED
        sessions = [
            entry
            for entry in self._of_lma(source)
            if (identifier is None or identifier.names(entry.mn_id))
            and entry.state is Registration.REGISTERED
        ]
        for entry in sessions:
            if entry.request is None:
                self._registration.extend(entry, now)
        if not sessions:
            return UpdateNotificationStatus.MN_NOT_ATTACHED
        return UpdateNotificationStatus.SUCCESS

    def _flow_mobility(
        self, message: UpdateNotification, source: IPv6Address
    ) -> tuple[UpdateNotificationStatus, tuple[Option, ...]]:
        verdict = examine(message, self._of_lma(source))
        entry = verdict.entry
        if entry is not None:
            self._hosting.host(entry, entry.prefixes, verdict.off_link, verdict.flows)
            prefixes = [str(prefix) for prefix in verdict.off_link]
            self._log("flow-mobility", entry, prefixes=prefixes)
        return verdict.status, verdict.answer

    def _log(self, event: str, entry: BindingUpdateListEntry, **details: object) -> None:
        fields = {"interface": entry.interface, "mn": entry.profile.mn_id, **details}
        self._outbox.put(Log(event, fields))


def _may_report(entry: BindingUpdateListEntry) -> bool:
    return entry.state is Registration.REGISTERED and entry.request is None
