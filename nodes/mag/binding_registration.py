"""Registering mobile nodes with their LMA, and what the answers mean (RFC 5213 sections 6.9.1 and
6.9.4)."""

from __future__ import annotations

import random
from ipaddress import IPv6Address, IPv6Network

from nodes.actions import Instant, Log, Outbox, TearDownLink, UseLinkLocal
from nodes.config import AccessProfile, MagConfig
from nodes.link_layer import link_local_address, parse_link_layer_id, random_link_local_address
from nodes.lma.registration_answers import Answer, answered, examine
from nodes.mag.attachment import MagAttachments
from nodes.mag.binding_update_list import (
    BindingUpdateListEntry,
    Registration,
)
from nodes.mag.flow_mobility_acknowledgement import flow_rows
from nodes.mag.hosted_prefixes import HostedPrefixes
from nodes.mag.neighbour_unreachability import NeighbourUnreachability
from nodes.mag.proxy_binding_update import LIFETIME_UNIT_S, ProxyBindingUpdateSender
from nodes.mag.router_advertisement import RouterAdvertiser
from nodes.wire.flow_options import FlowIdentification
from nodes.wire.messages import (
    HandoffHint,
    Option,
    ProxyBindingAcknowledgement,
    ProxyBindingStatus,
    ProxyBindingUpdate,
)
from nodes.wire.options import HomeNetworkPrefix, LinkLocalAddress, Timestamp

# What a request for certain prefixes may be refused with, and one for any may not (section 6.9.1.2,
# step 10; 159 is the same to a MAG).
_OTHER_PREFIXES = (
    ProxyBindingStatus.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX,
    ProxyBindingStatus.BCE_PBU_PREFIX_SET_DO_NOT_MATCH,
)


class BindingRegistration:
    """Keeps `bindings`, the Binding Update List, by access interface."""

    def __init__(
        self,
        config: MagConfig,
        bindings: dict[str, BindingUpdateListEntry],
        requests: ProxyBindingUpdateSender,
        hosting: HostedPrefixes,
        advertiser: RouterAdvertiser,
        neighbours: NeighbourUnreachability,
        attachments: MagAttachments,
        outbox: Outbox,
        rng: random.Random,
    ) -> None:
        self._config = config
        self._bindings = bindings
        self._requests = requests
        self._hosting = hosting
        self._advertiser = advertiser
        self._neighbours = neighbours
        self._attachments = attachments
        self._outbox = outbox
        self._rng = rng
        # Mobile nodes that are denied the service until an administrative action is taken.
        self._denied: set[str] = set()

    def retry(self, now: Instant) -> None:
        """Who was denied the service, or got an answer that could not be trusted, is registered
        anew."""
        self._denied.clear()
        for entry in self._bindings.values():
            waiting = entry.retransmit_at is None and entry.request_at is None
            stuck = entry.state is Registration.REQUESTED and waiting
            if stuck or entry.state is Registration.REJECTED:
                self._register(entry, now)

    def anew(self, lma: IPv6Address, now: Instant) -> None:
        """`lma` may have lost its bindings: ask for each with the prefixes that the mobile node
        has, as for an attachment. They are hosted until the LMA says otherwise. Interfaces that
        share them here say so, or the LMA takes the second for the first (RFC 5213 section
        5.4.1.1, step 5: the same MAG, and perhaps the same technology)."""
        for entry in self._bindings.values():
            served = entry.state in (Registration.REQUESTED, Registration.REGISTERED)
            if served and entry.lma == lma:
                entry.refresh_at = None
                self._register(entry, now, shared=self._shares(entry))

    def _shares(self, entry: BindingUpdateListEntry) -> bool:
        return any(
            other is not entry and other.mn_id == entry.mn_id and other.prefixes == entry.prefixes
            for other in self._bindings.values()
            if entry.prefixes
        )

    def extend(
        self, entry: BindingUpdateListEntry, now: Instant, extra: tuple[Option, ...] = ()
    ) -> None:
        """RFC 5213 section 6.9.1.3, with `extra` options."""
        self._requests.request(entry, now, HandoffHint.HANDOFF_STATE_NOT_CHANGED, extra)

    def handle_timer(self, now: Instant) -> None:
        for entry in list(self._bindings.values()):
            if _due(entry.expires_at, now):
                self._expired(entry, now)
            if _due(entry.request_at, now):
                self._requests.request(entry, now, entry.handoff)
            if _due(entry.retransmit_at, now):
                if entry.state is Registration.DEREGISTERING:
                    # RFC 5213 section 6.9.1.4: after INITIAL_BINDACK_TIMEOUT, answer or not.
                    self._forget(entry)
                    continue
                self._retransmit(entry, now)
            if _due(entry.refresh_at, now):
                self._refresh(entry, now)

    def attached(
        self,
        interface: str,
        profile: AccessProfile,
        prefixes: tuple[IPv6Network, ...],
        now: Instant,
        mn_timestamp: Timestamp | None = None,
    ) -> None:
        """A mobile node attached to `interface` (RFC 5213 sections 6.9.1.1 and 6.14), with
        `prefixes` if it has told those of its session."""
        if not profile.mobility_service or profile.mn_id in self._denied:
            self._outbox.put(Log("no-service", {"interface": interface, "mn": profile.mn_id}))
            self._attachments.settled(interface, ProxyBindingStatus.ADMINISTRATIVELY_PROHIBITED)
            return
        lma = profile.lma or self._config.lma
        entry = self._bindings.get(interface)
        if entry is None:
            entry = BindingUpdateListEntry(interface, profile, lma)
            self._requests.new_session(entry)
            self._bindings[interface] = entry
        elif (entry.mn_id, entry.lma) != (profile.mn_id, lma):
            self._hosting.leave_tunnel(entry)  # it is another node's, which has just left
            entry.prefixes, entry.refused_prefixes, entry.lma = (), False, lma
        entry.profile, entry.tear_down = profile, False
        entry.link_layer_id = parse_link_layer_id(profile.link_layer_id) or entry.link_layer_id
        if any(entry.link_layer_id):
            entry.mn_link_local = link_local_address(entry.link_layer_id)
        entry.prefixes = prefixes or entry.prefixes
        if mn_timestamp is not None:
            self._requests.mobile_node_said(entry, mn_timestamp, now)
        if profile.detection == "neighbour":
            self._neighbours.watch(entry, now)
        self._log("attached", entry)
        self._register(entry, now)

    def revoked(self, entry: BindingUpdateListEntry, now: Instant) -> None:
        """The LMA has ended the session: no service."""
        if entry.state is Registration.DEREGISTERING:
            self._forget(entry)
            return
        self._deny_service(entry, now)
        entry.prefixes = ()
        entry.settled()
        entry.state = Registration.REJECTED

    def departed(self, interface: str, now: Instant) -> None:
        """The mobile node left `interface`, or has to (RFC 5213 section 6.9.1.4)."""
        entry = self._bindings.get(interface)
        if entry is None or entry.state is Registration.DEREGISTERING:
            return
        self._log("detached", entry)
        self._hosting.unhost(entry)
        entry.ended()
        if not entry.prefixes and entry.state is not Registration.REQUESTED:
            self._forget(entry)
            return
        entry.state = Registration.DEREGISTERING
        self._requests.request(entry, now, HandoffHint.HANDOFF_STATE_UNKNOWN)

    def _retransmit(self, entry: BindingUpdateListEntry, now: Instant) -> None:
        """RFC 5213 section 6.9.4, only while the mobile node is there."""
        if not self._neighbours.reachable(entry.interface):
            entry.retransmit_at = now.monotonic + entry.timeout
            return
        self._log("pbu-retransmitted", entry)
        self._requests.repeat(entry, now)

    def _refresh(self, entry: BindingUpdateListEntry, now: Instant) -> None:
        """RFC 5213 sections 6.9.1.3 and 6.13: not before the mobile node is known to be there."""
        if not self._neighbours.reachable(entry.interface):
            entry.refresh_at = now.monotonic + self._config.router.retrans_timer_ms / 1000
            return
        entry.refresh_at = None
        self._requests.request(entry, now, HandoffHint.HANDOFF_STATE_NOT_CHANGED)

    def _expired(self, entry: BindingUpdateListEntry, now: Instant) -> None:
        """The lifetime has passed and no renewal was granted: no service. The mobile node is there,
        so that the MAG goes on asking, for the same prefixes; whether the LMA still has the
        session it doesn't know."""
        self._log("expired", entry)
        self._deny_service(entry, now)
        entry.state = Registration.REQUESTED
        self._requests.request(entry, now, HandoffHint.HANDOFF_STATE_UNKNOWN)

    def acknowledged(
        self, message: ProxyBindingAcknowledgement, source: IPv6Address, now: Instant
    ) -> None:
        """RFC 5213 section 6.9.1.2."""
        entry = answered(self._bindings.values(), message, source)
        if entry is None or entry.request is None:
            self._outbox.put(Log("pba-ignored", {"sequence": message.sequence}))
            return
        leaving = entry.state is Registration.DEREGISTERING
        verdict = examine(entry.request, message)
        if verdict is not Answer.VALID:
            if verdict is Answer.NO_ECHO and not leaving:
                # Step 6: don't ask again until someone looks into it.
                entry.retransmit_at = None
            self._log("pba-mismatch", entry, why=str(verdict.value))
        elif not message.accepted:
            self._rejected(entry, message, now)
        elif leaving:
            self._forget(entry)
        else:
            self._accepted(entry, entry.request, message, now)

    def _accepted(
        self,
        entry: BindingUpdateListEntry,
        request: ProxyBindingUpdate,
        message: ProxyBindingAcknowledgement,
        now: Instant,
    ) -> None:
        """Steps 12 to 15."""
        options = [o for o in message.all_options(HomeNetworkPrefix) if not o.all_zero]
        on_link = tuple(option.prefix for option in options if not option.off_link)
        off_link = tuple(option.prefix for option in options if option.off_link)
        lifetime_s = min(message.lifetime, request.lifetime) * LIFETIME_UNIT_S
        if not on_link or not lifetime_s:
            self._log("pba-ignored", entry, sequence=message.sequence)
            return
        entry.settled()
        entry.state = Registration.REGISTERED
        flows, _ = flow_rows(message.all_options(FlowIdentification))
        self._hosting.host(entry, on_link, off_link, flows)
        entry.granted(lifetime_s, now.monotonic)
        self._log("registered", entry, prefixes=[str(prefix) for prefix in on_link])
        self._attachments.settled(entry.interface, message.status, on_link)
        unknown_to_lma = self._configure_link_local(entry, request, message)
        self._advertiser.registered(entry, now)
        if unknown_to_lma:
            self._requests.request(entry, now, HandoffHint.HANDOFF_STATE_NOT_CHANGED)

    def _configure_link_local(
        self,
        entry: BindingUpdateListEntry,
        request: ProxyBindingUpdate,
        message: ProxyBindingAcknowledgement,
    ) -> bool:
        """Step 15: the address that the LMA generated, unless it is the mobile node's. True if the
        LMA is to learn another. That one is unique without asking: the mobile node is the only
        other node on the link, and its address is known."""
        if not self._config.fixed_mag_link_local_address_on_all_access_links.is_unspecified:
            return False
        option = message.option(LinkLocalAddress)
        address = None if option is None else option.address
        if address is None or not address.is_link_local or address == entry.mn_link_local:
            address = entry.link_local
        while address is None or address == entry.mn_link_local:
            address = random_link_local_address(self._rng)
        if entry.link_local != address:
            entry.link_local = address
            self._outbox.put(UseLinkLocal(entry.interface, address))
        known = LinkLocalAddress(address)
        return known not in (option, request.option(LinkLocalAddress))

    def _rejected(
        self, entry: BindingUpdateListEntry, message: ProxyBindingAcknowledgement, now: Instant
    ) -> None:
        """Steps 7 to 11: no service; try again only where they say so."""
        status = message.status
        self._log("registration-rejected", entry, status=int(status))
        if status == ProxyBindingStatus.TIMESTAMP_LOWER_THAN_PREV_ACCEPTED:
            return  # The retransmission, with a newer timestamp, is the retry of step 8.
        leaving = entry.state is Registration.DEREGISTERING
        if status == ProxyBindingStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW:
            # RFC 6275 section 11.7.3: go on from the number that the LMA has accepted last.
            entry.sequence = message.sequence
            if leaving or not self._config.timestamp_based_approach_in_use:
                self._requests.request(entry, now, entry.handoff)
                return
        if leaving:
            return  # The node is gone all the same: the timer removes the entry (6.9.1.4).
        assert entry.request is not None
        options = entry.request.all_options(HomeNetworkPrefix)
        certain = not any(option.all_zero for option in options)
        self._deny_service(entry, now)
        entry.prefixes = ()
        named = self._attachments.names_prefixes(entry.interface)
        if status in _OTHER_PREFIXES and certain and not named:
            entry.refused_prefixes = True
            self._register(entry, now)
            return
        if status == ProxyBindingStatus.PROXY_REG_NOT_ENABLED:
            self._denied.add(entry.mn_id)
        entry.settled()
        entry.state = Registration.REJECTED
        self._attachments.settled(entry.interface, status)

    def _deny_service(self, entry: BindingUpdateListEntry, now: Instant) -> None:
        entry.ended()
        self._hosting.unhost(entry)
        self._hosting.leave_tunnel(entry)
        self._advertiser.lost(entry.interface, now)

    def _forget(self, entry: BindingUpdateListEntry) -> None:
        """RFC 5213 section 6.9.1.4, at the end of a deregistration."""
        del self._bindings[entry.interface]
        self._log("deregistered", entry)
        self._hosting.leave_tunnel(entry)
        if entry.tear_down:
            self._outbox.put(TearDownLink(entry.interface))

    def _register(
        self, entry: BindingUpdateListEntry, now: Instant, *, shared: bool = False
    ) -> None:
        entry.state = Registration.REQUESTED
        handoff = HandoffHint(entry.profile.handoff_indicator)
        if shared:
            handoff = HandoffHint.NEW_INTERFACE_SHARING_PREFIXES
        self._requests.request(entry, now, handoff)

    def _log(self, event: str, entry: BindingUpdateListEntry, **details: object) -> None:
        fields = {"interface": entry.interface, "mn": entry.mn_id, **details}
        self._outbox.put(Log(event, fields))


def _due(at: float | None, now: Instant) -> bool:
    return at is not None and at <= now.monotonic
