"""The MAG's Binding Update List (RFC 5213 section 6.1) and the retransmission of PBUs (6.9.4)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Address, IPv6Network

from nodes.config import AccessProfile
from nodes.flow_mobility_cache import FlowMobilityCacheEntry
from nodes.wire.messages import ProxyBindingUpdate

INITIAL_BINDACK_TIMEOUT_S = 1.0  # RFC 6275 section 12
MAX_BINDACK_TIMEOUT_S = 32.0


class Registration(StrEnum):
    REQUESTED = "requested"
    REGISTERED = "registered"
    DEREGISTERING = "deregistering"
    REJECTED = "rejected"


@dataclass(slots=True)
class BindingUpdateListEntry:
    """One attached interface of a mobile node, by the access interface that it attached to.

    `prefixes` are on-link; `off_link_prefixes` are routed and never advertised (RFC 7864 section
    4.1); `hosted` are those that are routed at present, and none are while the node is away.
    `flows` is this binding's part of the flow mobility cache (section 5.2), in order of precedence;
    `filtered` are the prefixes that are routed for these flows only.
    `request` is the PBU that waits for an answer, to be sent again at `retransmit_at`.
    Times are monotonic, in s.
    """

    interface: str
    profile: AccessProfile
    mn_link_local: IPv6Address
    state: Registration = Registration.REQUESTED
    prefixes: tuple[IPv6Network, ...] = ()
    off_link_prefixes: tuple[IPv6Network, ...] = ()
    hosted: tuple[IPv6Network, ...] = ()
    flows: tuple[FlowMobilityCacheEntry, ...] = ()
    filtered: tuple[IPv6Network, ...] = ()
    request: ProxyBindingUpdate | None = None
    retransmit_at: float | None = None
    timeout: float = INITIAL_BINDACK_TIMEOUT_S
    refresh_at: float | None = None
    advertise_at: float | None = None

    def sent(self, request: ProxyBindingUpdate, now: float, *, again: bool) -> None:
        """Start the timer: INITIAL_BINDACK_TIMEOUT, doubled with each retransmission up to
        MAX_BINDACK_TIMEOUT (RFC 5213 section 6.9.4)."""
        self.timeout = (
            min(self.timeout * 2, MAX_BINDACK_TIMEOUT_S) if again else INITIAL_BINDACK_TIMEOUT_S
        )
        self.request = request
        self.retransmit_at = now + self.timeout

    def settled(self) -> None:
        """Nothing is awaited any more."""
        self.request = None
        self.retransmit_at = None

    def deadline(self) -> float | None:
        due = (self.retransmit_at, self.refresh_at, self.advertise_at)
        return min((time for time in due if time is not None), default=None)
