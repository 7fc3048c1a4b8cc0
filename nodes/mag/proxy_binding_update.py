"""Constructing Proxy Binding Updates and pacing them (RFC 5213 sections 6.9.1.5 and 6.9.4)."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import replace

from nodes.actions import Instant, Outbox, Send
from nodes.config import ANY_PREFIX, MagConfig
from nodes.mag.binding_update_list import BindingUpdateListEntry, Registration
from nodes.wire.messages import HandoffHint, ProxyBindingUpdate
from nodes.wire.options import (
    UNSPECIFIED,
    AccessTechnologyType,
    AlternateCareOfAddress,
    HandoffIndicator,
    HomeNetworkPrefix,
    LinkLocalAddress,
    MobileNodeIdentifier,
    MobileNodeLinkLayerIdentifier,
    Option,
    Timestamp,
)

LIFETIME_UNIT_S = 4
SEQUENCE_MODULUS = 0x10000
RATE_WINDOW_S = 1.0
TIMESTAMPS_A_SECOND = 65_536  # RFC 5213 section 8.8


class ProxyBindingUpdateSender:
    """Sends PBUs for Binding Update List entries, and remembers them there until they are
    answered."""

    def __init__(self, config: MagConfig, rng: random.Random, outbox: Outbox) -> None:
        self._config = config
        self._rng = rng
        self._outbox = outbox
        self._next_sequence = rng.randrange(SEQUENCE_MODULUS)
        self._last_timestamp = 0
        # Of each access interface, when its last PBUs were sent.
        self._recent: dict[str, deque[float]] = {}

    def request(
        self,
        entry: BindingUpdateListEntry,
        now: Instant,
        handoff: HandoffHint,
        extra: tuple[Option, ...] = (),
    ) -> None:
        """Send a PBU, or hold it back until `entry.request_at` for the sake of MAX_UPDATE_RATE."""
        entry.handoff = handoff
        allowed_at = self._allowed_at(entry.interface)
        if allowed_at > now.monotonic:
            entry.settled()
            entry.request_at = allowed_at
            return
        leaving = entry.state is Registration.DEREGISTERING
        message = ProxyBindingUpdate(
            sequence=self._sequence(entry),
            acknowledge=True,
            proxy_registration=True,
            lifetime=0 if leaving else self._config.lifetime_s // LIFETIME_UNIT_S,
            options=(*self._options(entry, now), *extra),
        )
        self._send(entry, message, now, self._config.initial_bindack_timeout_ms / 1000)

    def repeat(self, entry: BindingUpdateListEntry, now: Instant) -> None:
        """The same with the latest timestamp and a greater sequence number; the timeout doubles
        up to MAX_BINDACK_TIMEOUT (RFC 5213 section 6.9.4)."""
        assert entry.request is not None
        options = tuple(
            self._timestamp(entry, now) if isinstance(option, Timestamp) else option
            for option in entry.request.options
        )
        message = replace(entry.request, sequence=self._sequence(entry), options=options)
        most = self._config.max_bindack_timeout_ms / 1000
        self._send(entry, message, now, min(entry.timeout * 2, most))

    def mobile_node_said(
        self, entry: BindingUpdateListEntry, timestamp: Timestamp, now: Instant
    ) -> None:
        """Timestamps of this entry go on from the mobile node's own (RFC 5213 section 5.5), as long
        as it is attached."""
        entry.mn_clock = timestamp.value - int(now.monotonic * TIMESTAMPS_A_SECOND)

    def new_session(self, entry: BindingUpdateListEntry) -> None:
        """Sequence numbers of a mobility session begin anywhere (RFC 6275 section 11.7.1)."""
        entry.sequence = self._rng.randrange(SEQUENCE_MODULUS)

    def _send(
        self,
        entry: BindingUpdateListEntry,
        message: ProxyBindingUpdate,
        now: Instant,
        timeout: float,
    ) -> None:
        recent = self._recent.setdefault(
            entry.interface, deque(maxlen=self._config.max_update_rate)
        )
        recent.append(now.monotonic)
        entry.sent(message, now.monotonic, timeout)
        source = self._config.egress_address or self._config.proxy_coa
        self._outbox.put(Send(message, source, entry.lma))

    def _allowed_at(self, interface: str) -> float:
        recent = self._recent.get(interface)
        if recent is None or len(recent) < self._config.max_update_rate:
            return 0.0
        return recent[0] + RATE_WINDOW_S

    def _options(self, entry: BindingUpdateListEntry, now: Instant) -> tuple[Option, ...]:
        options: list[Option] = [
            MobileNodeIdentifier.of(entry.mn_id),
            *self._prefixes(entry),
            HandoffIndicator(entry.handoff),
            AccessTechnologyType(entry.profile.access_technology),
        ]
        if self._config.timestamp_based_approach_in_use:
            options.append(self._timestamp(entry, now))
        if any(entry.link_layer_id):
            options.append(MobileNodeLinkLayerIdentifier(entry.link_layer_id))
        if self._config.fixed_mag_link_local_address_on_all_access_links.is_unspecified:
            options.append(LinkLocalAddress(entry.link_local or UNSPECIFIED))
        if self._config.egress_address not in (None, self._config.proxy_coa):
            options.append(AlternateCareOfAddress(self._config.proxy_coa))
        return tuple(options)

    def _prefixes(self, entry: BindingUpdateListEntry) -> list[HomeNetworkPrefix]:
        """Those of the session (6.9.1.3, 6.9.1.4); before there is one, those of the policy
        profile, unless the LMA has refused them; or else any, in a single option (6.9.1.1)."""
        wanted = entry.prefixes
        if not wanted and not entry.refused_prefixes:
            wanted = entry.profile.home_network_prefixes
        return [HomeNetworkPrefix.of(prefix) for prefix in wanted or (ANY_PREFIX,)]

    def _sequence(self, entry: BindingUpdateListEntry) -> int:
        """With timestamps, a counter of this MAG, which tells answers apart; without, the mobility
        session's own (RFC 5213 section 6.9.1.1, step 6)."""
        if self._config.timestamp_based_approach_in_use:
            sequence = self._next_sequence
            self._next_sequence = (sequence + 1) % SEQUENCE_MODULUS
            return sequence
        entry.sequence = (entry.sequence + 1) % SEQUENCE_MODULUS
        return entry.sequence

    def _timestamp(self, entry: BindingUpdateListEntry, now: Instant) -> Timestamp:
        """Each timestamp is greater than the one before, even within 1/65536 s of it: the LMA
        takes an equal one for no newer (RFC 5213 section 5.5). One that the mobile node generated
        goes on from where it was."""
        if self._config.mobile_node_generated_timestamp_in_use and entry.mn_clock is not None:
            elapsed = int(now.monotonic * TIMESTAMPS_A_SECOND)
            entry.timestamp = max(elapsed + entry.mn_clock, entry.timestamp + 1)
            return Timestamp(entry.timestamp)
        value = max(Timestamp.of_unix_ns(now.unix_ns).value, self._last_timestamp + 1)
        self._last_timestamp = value
        return Timestamp(value)
