"""Static policy: each class of traffic has its accesses, in order of preference.

A rule becomes a row of the flow mobility cache once one of its accesses is registered, and follows
the most preferred one that is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from nodes.flow_mobility_cache import FlowMobilityCacheEntry
from nodes.kernel.selector_rules import match_expressions
from nodes.lma.policies.base import AddFlow, BindingView, MobileNodeView, MoveFlow, Order
from nodes.selectors import selector_of

Number = Annotated[int, msgspec.Meta(ge=1, le=65_535)]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`selector` has the fields of an IPv6 traffic selector (RFC 6088 section 3.2), for example
    {start_traffic_class = 184}; `accesses` are names, the most preferred first."""

    fid: Number
    priority: Number
    selector: dict[str, Any]
    accesses: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]

    def __post_init__(self) -> None:
        match_expressions(selector_of(self.selector))


class TrafficClassPolicy:
    class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        rules: tuple[Rule, ...]

    def __init__(self, settings: Settings) -> None:
        self._rules = settings.rules

    def decide(self, node: MobileNodeView, now: float) -> Sequence[Order]:
        orders: list[Order] = []
        for rule in self._rules:
            target = _first(node, rule.accesses)
            if target is None:
                continue
            reason = f"traffic class policy: {target.access}"
            flow = next((flow for flow in node.flows if flow.fid == rule.fid), None)
            if flow is None:
                selector = selector_of(rule.selector)
                entry = FlowMobilityCacheEntry(rule.priority, rule.fid, selector, (target.bid,))
                orders.append(AddFlow(entry, reason))
            elif flow.bids != (target.bid,):
                orders.append(MoveFlow(rule.fid, target.bid, reason))
        return orders

    def deadline(self) -> float | None:
        return None


def _first(node: MobileNodeView, accesses: tuple[str, ...]) -> BindingView | None:
    for access in accesses:
        binding = node.binding(access)
        if binding is not None:
            return binding
    return None
