"""The changes of links in a run: those that its experiment lists, and those of traces.

Traces lie in `experiments/access_traces`; its README.md has the formats.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

from experiments.declaration.access_events import share_of
from experiments.declaration.spec import LinkChange, LinkTrace, RunSpec
from nodes.strict import MISSING, InputError, convert

FOLDER = Path(__file__).parent.parent / "access_traces"
VALUES = ("rate_mbit", "delay_ms", "loss", "quality", "load")
MS_PER_S = 1000


def link_changes(spec: RunSpec, seed: int, source: str) -> tuple[LinkChange, ...]:
    """All changes of the run with `seed`, in order of time; none after its end. Raises InputError,
    which names `source` or the trace."""
    changes = list(spec.changes)
    for number, trace in enumerate(spec.traces):
        path = FOLDER / trace.file
        if Path(trace.file).name != trace.file or not path.is_file():
            names = {found.name for found in FOLDER.iterdir()} - {"README.md"}
            known = ", ".join(sorted(names))
            raise InputError(
                source, f"traces[{number}].file", trace.file, f"expected one of {known}"
            )
        if path.suffix == ".csv":
            changes += _of_table(path, trace)
        else:
            changes += _of_packets(path, trace, spec.duration_s, seed)
    within = [change for change in changes if change.at_s < spec.duration_s]
    return tuple(sorted(within, key=lambda change: change.at_s))


def _of_table(path: Path, trace: LinkTrace) -> list[LinkChange]:
    with path.open(encoding="ascii", newline="") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    changes = []
    for number, row in enumerate(rows, 1):
        values: dict[str, Any] = {"link": trace.link, "direction": trace.direction}
        for name, text in row.items():
            if name not in ("time_s", *VALUES):
                expected = f"expected time_s and any of {', '.join(VALUES)}"
                raise InputError(str(path), "(header)", name, expected)
            if text:
                values[name] = _number(path, f"row {number}: {name}", text)
        at_s = values.pop("time_s", None)
        if at_s is None:
            raise InputError(str(path), f"row {number}: time_s", MISSING, "is missing")
        values["at_s"] = round(trace.from_s + at_s, 6)
        changes.append(convert(values, LinkChange, f"{path}: row {number}"))
    return changes


def _number(path: Path, key: str, text: str) -> float | int:
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        raise InputError(str(path), key, text, "expected a number") from None


def _of_packets(path: Path, trace: LinkTrace, duration_s: float, seed: int) -> list[LinkChange]:
    # Late: numpy has no place in a guest, where the job has the changes already.
    from experiments.declaration.cellular_trace import read_trace

    found = read_trace(path)
    share = share_of(seed) if trace.shift else 0.0
    skipped = int(share * found.period_ms / trace.window_ms)
    windows = math.ceil((duration_s - trace.from_s) * MS_PER_S / trace.window_ms)
    rates = found.rates_mbit(trace.window_ms, (skipped + windows) * trace.window_ms)[skipped:]
    return [
        LinkChange(
            at_s=round(trace.from_s + number * trace.window_ms / MS_PER_S, 6),
            link=trace.link,
            direction=trace.direction,
            rate_mbit=round(float(rate), 3),
        )
        for number, rate in enumerate(rates)
    ]
