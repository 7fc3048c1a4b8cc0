"""The moves of a run as they were ordered and as they went, from what LMA or MN logged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from experiments.analysis.event_log import Event
from experiments.captures.frames import TICKS_PER_S
from experiments.declaration.flow_groups import moved_together
from experiments.declaration.placements import placements
from experiments.declaration.spec import Move, RunSpec
from topologies.model import Role

# By which a decision may seem to precede its order: outside virtual time the clock of the events is
# adjusted while that of the schedule goes on.
EARLY_TICKS = TICKS_PER_S // 10


@dataclass
class MoveRecord:
    """One move as it went: instants in ticks of 10 us, None when it didn't come to that.
    `target` is what the LMA's events name, `attaches`: the MN attaches there for it (dynamic
    attachment). `delivered`: the target's MAG has the prefix for other flows, or still has it.
    `group`: the FIDs that move together, with the instants at which they did."""

    number: int
    move: Move
    source: str
    target: str
    planned: int
    attaches: bool = False
    delivered: bool = False
    decision: int | None = None
    failed: str | None = None
    fmi_sent: list[int] = field(default_factory=list)
    fma_received: list[int] = field(default_factory=list)
    switched: int | None = None
    first_packet: int | None = None
    sequences: set[int] = field(default_factory=set)
    group: dict[int, int | None] = field(default_factory=dict)


def plan(spec: RunSpec, decisions_s: Sequence[float]) -> list[MoveRecord]:
    """The moves as ordered; the source of each is where the one before left the flow."""
    places = placements(spec, decisions_s)
    records = [
        MoveRecord(number, move, place.source, place.name, round(planned * TICKS_PER_S))
        for number, (move, place, planned) in enumerate(
            zip(spec.moves, places, decisions_s, strict=True)
        )
    ]
    attached: set[str] = set()
    for record in sorted(records, key=lambda entry: entry.planned):
        record.attaches = spec.dynamic(record.move.to) and record.move.to not in attached
        record.delivered = places[record.number].delivered
        attached.add(record.move.to)
        record.group = dict.fromkeys(moved_together(spec, record.move))
    return records


def follow(records: Sequence[MoveRecord], spec: RunSpec, events: Sequence[Event]) -> None:
    """Fill in what the LMA's events say, and the decisions of an MN that decides. Events of one
    node are in its own order, so what comes between two decisions belongs to the first;
    acknowledgements are told apart by sequence."""
    fids = {name: number for number, name in enumerate(spec.flows, start=1)}
    lma = spec.topology.node_with_role(Role.LMA)
    decider, names = _decider(spec)
    waiting = sorted(records, key=lambda record: record.planned)
    decided: list[MoveRecord] = []  # the latest first
    current: MoveRecord | None = None
    for tick, node, event, detail in events:
        if event == "decision" and node == decider:
            found = _decided(waiting, fids, detail, names, tick)
            if found is not None:
                found.decision = tick
                decided.insert(0, found)
            if found is not None or current is None or not _is_one_of(current, detail):
                current = found
        if node != lma:
            continue
        of_flow = [r for r in decided if fids[r.move.flow] == detail.get("fid")]
        signalled = [r for r in decided if detail.get("sequence") in r.sequences]
        match event:
            case "fmi-sent":
                for record in signalled[:1] or ([current] if current else []):
                    record.fmi_sent.append(tick)
                    record.sequences.add(detail.get("sequence", -1))
            case "fma-received":
                for record in signalled[:1]:
                    record.fma_received.append(tick)
            case "switched":
                _switched(decided, of_flow[:1], int(detail["fid"]), tick)
            case "move-failed":
                for record in of_flow[:1]:
                    record.failed = str(detail.get("reason", "no reason given"))


def _switched(decided: list[MoveRecord], own: list[MoveRecord], fid: int, tick: int) -> None:
    for record in own:
        record.switched = tick if record.switched is None else record.switched
    for record in [record for record in decided if fid in record.group][:1]:
        record.group[fid] = tick


def _is_one_of(record: MoveRecord, detail: dict[str, Any]) -> bool:
    """Whether a decision is about a flow that moves together with that of `record`."""
    return detail.get("fid") in record.group and len(record.group) > 1


def _decider(spec: RunSpec) -> tuple[str, dict[str, str]]:
    """The node whose decisions are the moves, and what it calls accesses otherwise than the LMA."""
    topology = spec.topology
    if spec.protocol.decision_maker == "lma":
        return topology.node_with_role(Role.LMA), {}
    mn = topology.node_with_role(Role.MN)
    return mn, {access: link.interface(mn) for access, link in topology.accesses.items()}


def _decided(
    waiting: list[MoveRecord],
    fids: dict[str, int],
    detail: dict[str, Any],
    names: dict[str, str],
    tick: int,
) -> MoveRecord | None:
    """The next planned move that a decision is about; it no longer waits then. What was decided
    before it was ordered, like where a flow begins, is about none."""
    for record in waiting:
        target = names.get(record.target, record.target)
        if tick >= record.planned - EARLY_TICKS and (
            (fids[record.move.flow], target) == (detail.get("fid"), detail.get("to"))
        ):
            waiting.remove(record)
            return record
    return None


def moves_entry(record: MoveRecord, row: dict[str, Any]) -> dict[str, Any]:
    """What `moves.json` says of a move; `row` is its row of runs.csv. Times in s of the run."""

    def instant(tick: int | None) -> float | None:
        return None if tick is None else round(tick / TICKS_PER_S, 5)

    return {
        "move": record.number,
        "flow": record.move.flow,
        "from": record.source,
        "to": record.target,
        "direction": row["direction"],
        "status": row["status"],
        "planned_s": instant(record.planned),
        "decision_s": instant(record.decision),
        "fmi_sent_s": [instant(tick) for tick in record.fmi_sent],
        "fma_received_s": [instant(tick) for tick in record.fma_received],
        "switched_s": instant(record.switched),
        "first_packet_s": instant(record.first_packet),
        "floor_ms": row["floor_ms"],
    }
