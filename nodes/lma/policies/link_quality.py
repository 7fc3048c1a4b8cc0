"""Flows leave an access whose link is bad, and return when it has been good for a while.

Hysteresis is twofold: `leave_below` is less than `return_above`, and either has to hold for a time,
so that a link at the edge doesn't make flows go back and forth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from nodes.lma.policies.base import BindingView, MobileNodeView, MoveFlow, Order

Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]


class LinkQualityPolicy:
    class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
        """`access` is the one that is watched. Its flows go to the other registered access with
        the lowest BID-PRI; those that left return, and no others."""

        access: str
        leave_below: Percent = 30
        return_above: Percent = 50
        leave_after_s: Seconds = 0.0
        return_after_s: Seconds = 2.0

        def __post_init__(self) -> None:
            if self.return_above < self.leave_below:
                raise ValueError(
                    f"return_above is {self.return_above}; expected at least leave_below, "
                    f"{self.leave_below}"
                )

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._left: set[int] = set()
        self._bad_since: float | None = None
        self._good_since: float | None = None
        self._deadline: float | None = None

    def deadline(self) -> float | None:
        return self._deadline

    def decide(self, node: MobileNodeView, now: float) -> Sequence[Order]:
        self._deadline = None
        self._left &= {flow.fid for flow in node.flows}
        watched = node.binding(self._settings.access)
        if watched is None or watched.quality is None:
            self._bad_since = self._good_since = None
            return ()
        quality = watched.quality
        self._bad_since = _since(self._bad_since, quality < self._settings.leave_below, now)
        self._good_since = _since(self._good_since, quality > self._settings.return_above, now)
        if self._held(self._bad_since, self._settings.leave_after_s, now):
            return self._leave(node, watched, quality)
        if self._left and self._held(self._good_since, self._settings.return_after_s, now):
            return self._come_back(node, watched, quality)
        return ()

    def _held(self, since: float | None, needed_s: float, now: float) -> bool:
        """Whether a state has lasted for long enough; if not yet, when to look again."""
        if since is None:
            return False
        if now >= since + needed_s:
            return True
        self._deadline = since + needed_s
        return False

    def _leave(self, node: MobileNodeView, watched: BindingView, quality: int) -> list[Order]:
        target = next((item for item in node.bindings if item.bid != watched.bid), None)
        if target is None:
            return []
        leaving = node.flows_on(watched.bid)
        self._left |= {flow.fid for flow in leaving}
        reason = f"link quality of {watched.access} is {quality} %"
        return [MoveFlow(flow.fid, target.bid, reason) for flow in leaving]

    def _come_back(self, node: MobileNodeView, watched: BindingView, quality: int) -> list[Order]:
        returning = [flow for flow in node.flows if flow.fid in self._left]
        self._left.clear()
        reason = f"link quality of {watched.access} is {quality} % again"
        return [
            MoveFlow(flow.fid, watched.bid, reason)
            for flow in returning
            if flow.bids != (watched.bid,)
        ]


def _since(since: float | None, holds: bool, now: float) -> float | None:
    if not holds:
        return None
    return now if since is None else since
