"""Where flows are before and after each move of a run, as it is ordered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from experiments.declaration.flow_groups import names_moved
from experiments.declaration.spec import RunSpec


class Placement(NamedTuple):
    """The access that a move takes a flow from, and all that its order names: the new one, and with
    `Move.copies` those where the flow is already, which come first. `delivered`: the new one's MAG
    has the prefix for another flow, or still has it for one that has left."""

    source: str
    targets: tuple[str, ...]
    delivered: bool = False

    @property
    def name(self) -> str:
        """As the LMA's events have it."""
        return "+".join(self.targets)


def placements(spec: RunSpec, decisions_s: Sequence[float]) -> list[Placement]:
    """One a move, in the order of the spec; `decisions_s` says in which they come about."""
    at: dict[str, tuple[str, ...]] = {name: (flow.start,) for name, flow in spec.flows.items()}
    found: dict[int, Placement] = {}
    # By MN, anchor and access, when the last flow went away.
    left: dict[tuple[int, str, str], float] = {}
    withdrawal_s = spec.protocol.withdrawal_delay_s
    for number in sorted(range(len(spec.moves)), key=lambda number: decisions_s[number]):
        move = spec.moves[number]
        before = at[move.flow]
        others = [access for access in before if access != move.to]
        targets = (*others, move.to) if move.copies else (move.to,)
        mn, anchor = spec.flows[move.flow].mn, spec.flows[move.flow].anchor
        now = decisions_s[number]
        delivered = (
            spec.protocol.granularity == "prefix"
            and move.to != anchor
            and (
                any(
                    move.to in at[name] and (flow.mn, flow.anchor) == (mn, anchor)
                    for name, flow in spec.flows.items()
                    if name != move.flow
                )
                or now - left.get((mn, anchor, move.to), -math.inf) < withdrawal_s
            )
        )
        found[number] = Placement(others[0] if others else move.to, targets, delivered)
        for access in set(before) - set(targets):
            left[mn, anchor, access] = now
        for name in names_moved(spec, move):
            at[name] = targets
    return [found[number] for number in range(len(spec.moves))]
