"""The MAG's Binding Update List (RFC 5213 section 6.1) and the retransmission of PBUs (6.9.4)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Address, IPv6Network

from nodes.config import AccessProfile
from nodes.flow_mobility_cache import FlowMobilityCacheEntry
from nodes.wire.messages import HandoffHint, ProxyBindingUpdate

# Registrations are renewed when this share of their lifetime has passed.
REFRESH_SHARE = 0.8
UNKNOWN_LINK_LAYER_ID = bytes(2)  # RFC 5213 section 6.1


class Registration(StrEnum):
    REQUESTED = "requested"
    REGISTERED = "registered"
    DEREGISTERING = "deregistering"
    REJECTED = "rejected"


@dataclass(slots=True)
class BindingUpdateListEntry:
    """One attached interface of a mobile node, by the access interface (if-id) that it attached to.

    `prefixes` are on-link; `off_link_prefixes` are routed and never advertised (RFC 7864 section
    4.1); `hosted` are those that are routed at present, and none are while the node is away.
    `flows` is this binding's part of the flow mobility cache (section 5.2), in order of precedence;
    `filtered` are the prefixes that are routed for these flows only.
    `link_local` is the MAG's own address on the link, None until it is known. `tunnel` says
    whether the tunnel to `lma` is in use for this entry: it is one a LMA, so that the LMA names it
    (tunnel-if-id). `sequence` and `timestamp` are the last that were sent for this session, and
    `mn_clock` is what the mobile node's own timestamps are ahead of monotonic time.

    `request` is the PBU that waits for an answer, to be sent again at `retransmit_at`;
    `request_at` is when one that rate limiting holds back may go, with `handoff`. `expires_at` is
    the end of the granted lifetime. `tear_down`: the link is still there, and goes with the entry.
    Times are monotonic, in s.
    """

    interface: str
    profile: AccessProfile
    lma: IPv6Address
    link_layer_id: bytes = UNKNOWN_LINK_LAYER_ID
    mn_link_local: IPv6Address | None = None
    link_local: IPv6Address | None = None
    state: Registration = Registration.REQUESTED
    prefixes: tuple[IPv6Network, ...] = ()
    off_link_prefixes: tuple[IPv6Network, ...] = ()
    hosted: tuple[IPv6Network, ...] = ()
    flows: tuple[FlowMobilityCacheEntry, ...] = ()
    filtered: tuple[IPv6Network, ...] = ()
    tunnel: bool = False
    sequence: int = 0
    timestamp: int = 0
    mn_clock: int | None = None
    request: ProxyBindingUpdate | None = None
    handoff: HandoffHint = HandoffHint.HANDOFF_STATE_UNKNOWN
    request_at: float | None = None
    retransmit_at: float | None = None
    timeout: float = 0.0
    refresh_at: float | None = None
    expires_at: float | None = None
    refused_prefixes: bool = False
    tear_down: bool = False

    @property
    def mn_id(self) -> str:
        return self.profile.mn_id

    def sent(self, request: ProxyBindingUpdate, now: float, timeout: float) -> None:
        self.request = request
        self.request_at = None
        self.timeout = timeout
        self.retransmit_at = now + timeout

    def settled(self) -> None:
        """Nothing is awaited any more."""
        self.request = None
        self.request_at = self.retransmit_at = None

    def granted(self, lifetime_s: float, now: float) -> None:
        """The binding holds for `lifetime_s` from now on."""
        self.refresh_at = now + lifetime_s * REFRESH_SHARE
        self.expires_at = now + lifetime_s

    def ended(self) -> None:
        """There is no binding any more."""
        self.refresh_at = self.expires_at = None

    def deadline(self) -> float | None:
        due = (self.request_at, self.retransmit_at, self.refresh_at, self.expires_at)
        return min((time for time in due if time is not None), default=None)
