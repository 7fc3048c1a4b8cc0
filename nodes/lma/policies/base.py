"""What a policy sees and what it may order. Policies are pure: state and time in, orders out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from nodes.flow_mobility_cache import FlowMobilityCacheEntry


@dataclass(frozen=True, slots=True)
class BindingView:
    """A registered binding of the mobile node. `access` is its name in the LMA's configuration.
    The rest is what its MAG said last of the access link (`wire.options.AccessLinkReport`): quality
    and load in percent, the delay of its queue in ms; None if it never did."""

    bid: int
    access: str
    priority: int
    quality: int | None = None
    load: int | None = None
    queue_delay_ms: int | None = None


@dataclass(frozen=True, slots=True)
class MobileNodeView:
    """One mobile node: bindings in order of BID-PRI, flows in order of FID-PRI. A flow whose move
    is under way shows the binding that it moves to. `rates` (octets/s, by FID) has the flows that
    switches count."""

    mn_id: str
    bindings: tuple[BindingView, ...]
    flows: tuple[FlowMobilityCacheEntry, ...]
    rates: Mapping[int, float] = field(default_factory=dict)

    def binding(self, access: str) -> BindingView | None:
        return next((item for item in self.bindings if item.access == access), None)

    def flows_on(self, bid: int) -> list[FlowMobilityCacheEntry]:
        """Those that this binding alone carries, the one with precedence first."""
        return [flow for flow in self.flows if flow.bids == (bid,)]


@dataclass(frozen=True, slots=True)
class MoveFlow:
    """Flow `fid` is to go to binding `bid`; `reason` is for whoever reads the events."""

    fid: int
    bid: int
    reason: str


@dataclass(frozen=True, slots=True)
class AddFlow:
    entry: FlowMobilityCacheEntry
    reason: str


Order = MoveFlow | AddFlow


class Policy(Protocol):
    """Made from an instance of its class attribute `Settings`, for one mobile node."""

    Settings: Any

    def decide(self, node: MobileNodeView, now: float) -> Sequence[Order]:
        """Called after every change of `node`, and at `deadline`; `now` is monotonic, in s."""

    def deadline(self) -> float | None:
        """When `decide` wants to be called even if nothing changes."""
