"""Requests that wait for a deregistration (RFC 5213 section 5.4.1, MaxDelayBeforeNewBCEAssign)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address

from nodes.lma.binding_cache import Request
from nodes.wire.messages import ProxyBindingUpdate


@dataclass(frozen=True, slots=True)
class HeldRequest:
    """A request that waits until `deadline` (monotonic s) for the deregistration of `bid`. It has
    passed the checks, and is as fresh as it was when it came."""

    message: ProxyBindingUpdate
    request: Request
    source: IPv6Address
    bid: int
    deadline: float


class HeldRequests:
    def __init__(self) -> None:
        self._held: list[HeldRequest] = []
        # Bindings whose MAG was asked, so that its answer takes the place of the deadline.
        self._asked: set[int] = set()

    def hold(self, held: HeldRequest) -> None:
        self._held.append(held)

    def ask(self, bid: int) -> None:
        """What waits for `bid` does so, however long, until `answered`."""
        self._asked.add(bid)

    def answered(self, bid: int) -> None:
        self._asked.discard(bid)

    def deadline(self) -> float | None:
        return min((held.deadline for held in self._held if self._waits(held)), default=None)

    def due(self, now: float) -> list[HeldRequest]:
        """Those whose time is over; they are held no more."""
        due = [held for held in self._held if self._waits(held) and held.deadline <= now]
        self._held = [held for held in self._held if held not in due]
        return due

    def waiting_for(self, bid: int) -> list[HeldRequest]:
        """Those that wait for this binding; they are held no more."""
        waiting = [held for held in self._held if held.bid == bid]
        self._held = [held for held in self._held if held.bid != bid]
        return waiting

    def release(self, request: Request) -> HeldRequest | None:
        """The one that `request` replaces, held no more: of the same interface."""
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

    def _waits(self, held: HeldRequest) -> bool:
        return held.bid not in self._asked
