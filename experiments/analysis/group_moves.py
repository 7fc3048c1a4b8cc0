"""What became of flows that were moved together."""

from __future__ import annotations

from typing import Any

from experiments.analysis.move_floors import first_packet, floors
from experiments.analysis.moves import MoveRecord
from experiments.analysis.signalling import MoveSignalling
from experiments.analysis.traces import Trace
from experiments.captures.frames import TICKS_PER_MS
from experiments.declaration.flow_groups import names_moved
from experiments.declaration.job import Job

# What runs with such moves have in `runs.csv` besides.
COLUMNS = (
    "flows_ordered",
    "flows_switched",
    "flows_measured",
    "last_switch_ms",
    "last_packet_ms",
    "last_floor_ms",
)


def group_columns(
    job: Job, record: MoveRecord, traces: dict[str, Trace], signalling: MoveSignalling
) -> dict[str, Any]:
    """Of flows that move together: how many were ordered to and did, until the last of them was
    switched, and until the last of those with packets had one over the new access."""
    decision = record.decision
    if decision is None:
        return {}
    switched = [tick for tick in record.group.values() if tick is not None]
    names = names_moved(job.spec, record.move)
    firsts = [first_packet(job, record, name, traces[name], decision) for name in names]
    lowest = [floors(job, record, name, traces[name], signalling)[0] for name in names]
    last = None if None in firsts else max(tick for tick in firsts if tick is not None)
    return {
        "flows_ordered": len(record.group),
        "flows_switched": len(switched),
        "flows_measured": len(names),
        "last_switch_ms": _ms(max(switched) - decision) if switched else None,
        "last_packet_ms": None if last is None else _ms(last - decision),
        "last_floor_ms": max((value for value in lowest if value is not None), default=None),
    }


def _ms(ticks: int) -> float:
    return round(ticks / TICKS_PER_MS, 2)
