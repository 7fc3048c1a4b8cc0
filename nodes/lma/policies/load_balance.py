"""One flow at a time goes from an access whose link is full to one that has room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from nodes.lma.policies.base import BindingView, MobileNodeView, MoveFlow, Order

Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]


class LoadBalancePolicy:
    class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
        """A flow moves from an access with a load above `high` to the one with the least load, if
        that is below `low`. `settle_s`: how long to wait for the reports to show what a move did
        before the next; less than the MAGs' report interval makes too many flows move.
        `capacities` (octets/s, by access): there, the load is what switches count of the flows, and
        not what the MAG reports; it needs a controller."""

        high: Percent = 90
        low: Percent = 60
        settle_s: Annotated[float, msgspec.Meta(ge=0)] = 5.0
        capacities: dict[str, Annotated[int, msgspec.Meta(ge=1)]] = {}

        def __post_init__(self) -> None:
            if self.high <= self.low:
                raise ValueError(f"high is {self.high}; expected more than low, {self.low}")

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._settled_at = 0.0
        self._deadline: float | None = None

    def deadline(self) -> float | None:
        return self._deadline

    def decide(self, node: MobileNodeView, now: float) -> Sequence[Order]:
        self._deadline = None
        loads = {
            binding.bid: found
            for binding in node.bindings
            if (found := self._load(node, binding)) is not None
        }
        known = [binding for binding in node.bindings if binding.bid in loads]
        full = [
            binding
            for binding in known
            if loads[binding.bid] > self._settings.high and node.flows_on(binding.bid)
        ]
        free = [binding for binding in known if loads[binding.bid] < self._settings.low]
        if not full or not free:
            return ()
        if now < self._settled_at:
            self._deadline = self._settled_at
            return ()
        self._settled_at = now + self._settings.settle_s

        def load(binding: BindingView) -> int:
            return loads[binding.bid]

        source, target = max(full, key=load), min(free, key=load)
        # The flow with the least precedence: what an operator ranks first stays undisturbed.
        flow = node.flows_on(source.bid)[-1]
        reason = f"load of {source.access} is {load(source)} %, of {target.access} {load(target)} %"
        return [MoveFlow(flow.fid, target.bid, reason)]

    def _load(self, node: MobileNodeView, binding: BindingView) -> int | None:
        """In percent; None: unknown."""
        capacity = self._settings.capacities.get(binding.access)
        if capacity is None or not node.rates:
            return binding.load
        carried = (node.rates.get(flow.fid, 0.0) for flow in node.flows_on(binding.bid))
        return round(100 * sum(carried) / capacity)
