"""Whether results agree with the reference: each number, and each row that has to be the same."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import NamedTuple

from experiments.analysis.measure import RUNS
from experiments.declaration.declarations import Number
from experiments.evaluation.numbers import value
from experiments.evaluation.record import WALL_S, Source, read_record
from experiments.evaluation.results import Results
from experiments.evaluation.statistics import Interval
from experiments.evaluation.summary import show
from nodes.strict import InputError

VIRTUAL = "virtual"
# Recorded times have this resolution, by which runs on one kernel may differ (docs/design.md).
RESOLUTION_MS = 0.01
_ROUNDING = 1e-6
Row = dict[str, str]


class Verdict(NamedTuple):
    """`text` has a line for each number, and one for all rows."""

    agrees: bool
    text: str


def compare(source: Source, reference: Path) -> Verdict:
    """Compare what both have runs of, the same points and seeds.

    A number agrees if both intervals, as shown, have a value in common. Rows of moves of UDP flows
    in virtual time have to be the same bytes if the kernel is the same, but for `RESOLUTION_MS`, by
    which readings of the clock may make them differ. Raises InputError if results can't be read.
    """
    fresh, kept = Results(source.folder), Results(reference)
    common = set(fresh.flows["run"]) & set(kept.flows["run"])
    if not common:
        return Verdict(False, f"{source.name}: no run of these is in the reference")
    fresh, kept = fresh.only(common), kept.only(common)
    lines, agrees = [f"{source.name}: {len(common)} runs that are in the reference too"], True
    for name, number in source.experiment.numbers.items():
        good, line = _number(name, number, fresh, kept)
        agrees &= good
        lines.append(f"  {line}")
    good, line = _rows(source.folder, reference, common)
    return Verdict(agrees and good, "\n".join([*lines, f"  {line}"]))


def _number(name: str, number: Number, fresh: Results, kept: Results) -> tuple[bool, str]:
    try:
        known = value(number, kept)
    except InputError:
        return True, f"{name}: not in the reference"
    found = value(number, fresh)
    shown, expected = (show(interval, number.digits) for interval in (found, known))
    if shown == expected:
        return True, f"{name}: {shown or 'no value'}, identical"
    good = overlap(found, known, 0.5 * 10**-number.digits)
    said = "agrees with" if good else "DIFFERS from"
    return good, f"{name}: {shown or 'no value'}, {said} {expected or 'no value'}"


def overlap(one: Interval, other: Interval, slack: float) -> bool:
    """Whether two intervals have a value in common, give or take `slack`; without bounds an
    interval is its estimate."""
    if not (one.n and other.n):
        return one.n == other.n
    (low, high), (other_low, other_high) = _bounds(one), _bounds(other)
    return low <= other_high + slack + _ROUNDING and other_low <= high + slack + _ROUNDING


def _bounds(interval: Interval) -> tuple[float, float]:
    if math.isnan(interval.low) or math.isnan(interval.high):
        return interval.estimate, interval.estimate
    return interval.low, interval.high


def _rows(folder: Path, reference: Path, common: set[str]) -> tuple[bool, str]:
    versions = [read_record(place)["versions"].get(VIRTUAL) for place in (folder, reference)]
    if versions[0] != versions[1] or versions[0] is None:
        return True, "rows: kernels differ, so they don't have to be identical"
    fresh, kept = (_read(place / RUNS, common) for place in (folder, reference))
    names = sorted(fresh.keys() | kept.keys())
    others = [name for name in names if fresh.get(name) != kept.get(name)]
    far = [name for name in others if not _close(fresh.get(name), kept.get(name))]
    if far:
        where = " ".join(far[0])
        return False, f"rows: {len(far)} of {len(names)} DIFFER, the first: {where}"
    if others:
        part = f"{len(others)} of {len(names)} differ"
        return True, f"rows: {part} by the resolution of {RESOLUTION_MS} ms, the others identical"
    return True, f"rows: all {len(names)} identical to the byte"


def _read(path: Path, runs: set[str]) -> dict[tuple[str, ...], Row]:
    with path.open(newline="") as file:
        return {
            (row["run"], row["flow"], f"move {row['move']}"): {
                column: text for column, text in row.items() if column != WALL_S
            }
            for row in csv.DictReader(file)
            if row["run"] in runs and row["engine"] == VIRTUAL
        }


def _close(one: Row | None, other: Row | None) -> bool:
    if one is None or other is None or one.keys() != other.keys():
        return False
    for column, text in one.items():
        if text == other[column]:
            continue
        try:
            apart = abs(float(text) - float(other[column]))
        except ValueError:
            return False
        if not (column.endswith("_ms") and apart <= RESOLUTION_MS + _ROUNDING):
            return False
    return True
