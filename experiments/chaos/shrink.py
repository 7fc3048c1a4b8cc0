"""A scenario that fails, made as short as can be: delta debugging over its faults, flows and
mobile nodes (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", 2002)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from experiments.chaos.scenario import Scenario

T = TypeVar("T")
Fails = Callable[[Scenario], bool]


def reduced(items: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> list[T]:
    """As few of `items` as still fail; with any one less they don't. All of them have to fail."""
    kept, parts = list(items), 2
    if kept and fails(()):
        return []
    while len(kept) > 1:
        size = -(-len(kept) // parts)
        for start in range(0, len(kept), size):
            rest = kept[:start] + kept[start + size :]
            if fails(rest):
                kept, parts = rest, max(parts - 1, 2)
                break
        else:
            if parts >= len(kept):
                break
            parts = min(2 * parts, len(kept))
    return kept


def shrink(scenario: Scenario, broken_at_s: float, fails: Fails) -> Scenario:
    """`broken_at_s`: when the scenario fails, so that nothing after it is needed."""
    early = cut(scenario, broken_at_s)
    if early != scenario and fails(early):
        scenario = early
    scenario = _with_fewer_faults(scenario, fails)
    mobiles = reduced(
        [mobile.number for mobile in scenario.mobiles],
        lambda kept: bool(kept) and fails(only(scenario, set(kept))),
    )
    scenario = only(scenario, set(mobiles))
    flows = reduced(scenario.flows, lambda kept: fails(with_flows(scenario, kept)))
    return _with_fewer_faults(with_flows(scenario, flows), fails)


def _with_fewer_faults(scenario: Scenario, fails: Fails) -> Scenario:
    faults = reduced(scenario.faults, lambda kept: fails(replace(scenario, faults=tuple(kept))))
    return replace(scenario, faults=tuple(faults))


def cut(scenario: Scenario, at_s: float) -> Scenario:
    """Without the faults after an instant, and what follows the next agreement."""
    agreed = [t for t in scenario.agreed_s if t < at_s]
    agreed += [t for t in scenario.agreed_s if t >= at_s][:1]
    faults = tuple(fault for fault in scenario.faults if fault.at_s <= at_s)
    return replace(scenario, faults=faults, agreed_s=tuple(agreed))


def only(scenario: Scenario, mobiles: set[int]) -> Scenario:
    """With these mobile nodes, and what is theirs."""
    kept = tuple(mobile for mobile in scenario.mobiles if mobile.number in mobiles)
    flows = [flow for flow in scenario.flows if flow.mn in mobiles]
    faults = [fault for fault in scenario.faults if _nodes_of(fault) <= mobiles]
    return with_flows(
        replace(scenario, mobiles=kept, flows=tuple(flows), faults=tuple(faults)), flows
    )


def with_flows(scenario: Scenario, flows: Sequence[Any]) -> Scenario:
    numbers = {flow.number for flow in flows}
    faults = [f for f in scenario.faults if getattr(f, "flow", None) in numbers | {None}]
    return replace(scenario, flows=tuple(flows), faults=tuple(faults))


def _nodes_of(fault: Any) -> set[int]:
    """The mobile nodes that a fault is about."""
    named = {getattr(fault, "mn", None), getattr(fault, "victim", None)}
    node = getattr(fault, "node", "")
    if node.startswith("mn"):
        named.add(int(node[2:]))
    return {number for number in named if number is not None}
