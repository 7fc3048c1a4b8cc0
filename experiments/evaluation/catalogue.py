"""`docs/experiments.md`: all experiments, with what makes each figure of what, and what it takes.

What is above `MARK` is written by hand, the rest here, from the experiments' files and, for time
and disk, from the runs that made the reference.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from experiments.declaration.experiment import for_paper, load, points
from experiments.declaration.job import write_atomically
from experiments.declaration.spec import Experiment
from experiments.evaluation.record import read_record
from experiments.evaluation.statistics import what_runs_give
from experiments.figures import FIGURES, declared
from experiments.provenance import ROOT
from nodes.strict import InputError

CATALOGUE = ROOT / "docs" / "experiments.md"
MARK = "<!-- below: `make catalogue` -->\n"
CORES = 2


def write_catalogue(reference: Path) -> Path:
    """Write what is below the mark anew; returns the file. Raises OSError."""
    head = CATALOGUE.read_text(encoding="utf-8").partition(MARK)[0]
    write_atomically(CATALOGUE, (head + MARK + catalogue(reference)).encode())
    return CATALOGUE


def catalogue(reference: Path) -> str:
    """What is below the mark. `reference` has the records of the runs that were timed."""
    names = for_paper()
    experiments = {name: load(name) for name in names}
    known = {name: _costs(reference / name) for name in names}
    return "".join(
        [
            _overview(experiments, known),
            *(_section(name, experiments[name], known[name]) for name in names),
        ]
    )


def _costs(folder: Path) -> dict[str, Any] | None:
    try:
        costs: dict[str, Any] = read_record(folder)["costs"]
    except InputError:
        return None
    return costs


def _runs(name: str, experiment: Experiment) -> int:
    return sum(point.seeds for point in points(name, experiment))


def _overview(experiments: dict[str, Experiment], known: dict[str, dict[str, Any] | None]) -> str:
    lines = [
        "\n## What it takes\n\n",
        "| experiment | runs | emulated time (s) | wall time (min) | disk (MB) |\n",
        "|---|---|---|---|---|\n",
    ]
    for name, experiment in experiments.items():
        found = points(name, experiment)
        emulated_s = sum(point.seeds * point.spec.duration_s for point in found)
        took = _took(known[name])
        lines.append(
            f"| [{name}](#{name}) | {_runs(name, experiment)} | {emulated_s:.0f} | {took} |\n"
        )
    timed = [costs for costs in known.values() if costs is not None]
    if timed:
        total = {key: sum(costs[key] for costs in timed) for key in ("runs_wall_s", "octets")}
        lines.append(f"| those timed | | | {_took(total)} |\n")
    lines.append(
        f"\nWall times are those of the runs that made `results/reference`, {CORES} side by side "
        "on as many cores; runs in real time, which are carried out alone, take twice what is "
        "said.\n"
    )
    return "".join(lines)


def _took(costs: dict[str, Any] | None) -> str:
    if costs is None:
        return "not timed | not timed"
    return " | ".join(_shown(costs))


def _shown(costs: dict[str, Any]) -> tuple[str, str]:
    """Wall time in min, disk in MB."""
    return f"{costs['runs_wall_s'] / CORES / 60:.1f}", f"{costs['octets'] / 1e6:.0f}"


def _section(name: str, experiment: Experiment, costs: dict[str, Any] | None) -> str:
    seeds = sorted({point.seeds for point in points(name, experiment)}, reverse=True)
    gives = " ".join(what_runs_give(count) for count in seeds)
    rows = [
        f"| `{figure}` | `{function}` | `{table}` |\n"
        for figure, function, table in _figures(experiment)
    ]
    cost = "Not timed yet."
    if costs is not None:
        minutes, megabytes = _shown(costs)
        cost = (
            f"{costs['runs']} runs took {minutes} min on {CORES} cores and {megabytes} MB of disk."
        )
    factors: dict[str, dict[str, None]] = {}
    for part in experiment.parts.values():
        for factor in part.factors:
            labels = factors.setdefault(factor.name, {})
            labels.update(dict.fromkeys(level.label for level in factor.levels))
    varied = "; ".join(f"`{factor}` ({', '.join(labels)})" for factor, labels in factors.items())
    return (
        f"\n## {name}\n\n*{experiment.question}*\n\n"
        f"Config: `experiments/{name}.toml`. Data: `results/{name}/`. "
        f"Repeat: `make run EXP={name} SEEDS={seeds[0]}`. {cost}\n\n"
        f"Factors: {varied or 'none'}.\n\n"
        f"Runs: {experiment.why_these_runs} {gives}\n\n"
        "| figure | drawn by | from |\n|---|---|---|\n" + "".join(rows)
    )


def _figures(experiment: Experiment) -> list[tuple[str, str, str]]:
    """Name, function and table of each figure."""
    found = [
        (
            name,
            _path_of(FIGURES[name]),
            "runs.csv" if name != "run-detail" else "runs/*/packets.csv.gz",
        )
        for name in experiment.figures
    ]
    drawn = f"{declared.draw.__module__}.{declared.draw.__name__}"
    return [
        *found,
        *((name, drawn, f"{plot.table}.csv") for name, plot in experiment.plots.items()),
    ]


def _path_of(function: Any) -> str:
    module = inspect.getmodule(inspect.unwrap(function))
    assert module is not None
    return f"{module.__name__}.{function.__name__}"
