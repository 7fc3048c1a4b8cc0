"""`results.json`: what the results of an experiment were made with, and what their runs cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.declaration.spec import Experiment
from nodes.strict import MISSING, InputError

RECORD = "results.json"
# The real time of a run, which never repeats: in meta.json and, to compare engines, in runs.csv.
WALL_S = "wall_s"


class Source(NamedTuple):
    """An experiment and the folder that its results are in."""

    name: str
    experiment: Experiment
    folder: Path


def read_record(folder: Path) -> dict[str, Any]:
    """Raises InputError if it isn't there, or is another version's."""
    path = folder / RECORD
    try:
        record: dict[str, Any] = json.loads(path.read_bytes())
        if {"versions", "failed", "costs"} <= record.keys():
            return record
    except (OSError, ValueError, AttributeError):
        pass
    raise InputError(str(path), "(file)", MISSING, "is no record of results; run the experiment")


def costs(folder: Path, runs: Sequence[str]) -> dict[str, Any]:
    """Of these complete runs: their number, the time that they emulated and took, one after the
    other, in s, and the octets that they take on the disk."""
    emulated_s = wall_s = 0.0
    octets = 0
    for run in runs:
        place = folder / "runs" / run
        meta = json.loads((place / "meta.json").read_bytes())
        emulated_s += meta["parameters"]["spec"]["duration_s"]
        wall_s += meta[WALL_S]
        octets += sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    return {
        "runs": len(runs),
        "emulated_s": round(emulated_s, 1),
        "runs_wall_s": round(wall_s, 1),
        "octets": octets,
    }
