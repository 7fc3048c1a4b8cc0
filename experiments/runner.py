"""Runs experiments: what is not there yet, and then their tables, figures and answers."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.declaration.experiment import available, jobs, load, points
from experiments.declaration.job import write_atomically
from experiments.declaration.spec import Experiment, Protection
from experiments.engines.base import SKIPPED, Engine, EngineUnavailable
from experiments.evaluation.record import RECORD, WALL_S, Source, costs, read_record
from experiments.execution import FAILED, ROWS
from experiments.provenance import FORMAT, ROOT
from experiments.sweep import Study, sweep
from nodes.strict import InputError

RESULTS = Path(os.environ.get("FLOWMOB_RESULTS") or ROOT / "results")
REFERENCE = ROOT / "results" / "reference"
PAPER, VERIFY = "paper", "verify"
COSTS = "costs.json"


def make_engine(name: str) -> Engine:
    """Raises EngineUnavailable or KernelError if the engine can't run here."""
    if name == "host":
        from experiments.engines.host import HostEngine

        return HostEngine()
    if name in ("virtual", "realtime"):
        from experiments.engines.guest import GuestEngine
        from experiments.engines.kernel_cache import find_kernel

        return GuestEngine(find_kernel(), virtual=name == "virtual")
    raise EngineUnavailable(f"engine {name!r}: expected one of virtual, realtime, host")


class _Ran(NamedTuple):
    """Exit status, and the runs that were carried out: their number, emulated and real time."""

    status: int
    runs: int
    emulated_s: float
    wall_s: float


def run_experiment(
    name: str,
    *,
    engine: str,
    seeds: int | None,
    jobs: int,
    protection: Protection | None = None,
) -> int:
    """Run experiment `name` and report. Returns 1 if a run failed, else 0. `protection` of the
    signalling: instead of what the experiment says, unless that is what it varies.

    Raises InputError for bad input and OSError if results can't be written.
    """
    return _run(name, [name], engine, seeds, jobs, protection=protection).status


def run_paper(
    names: Sequence[str], *, seeds: int | None, jobs: int, protection: Protection | None = None
) -> int:
    """Run experiments in one sweep, and make `results/paper` of them. As `run_experiment`."""
    from experiments.evaluation.paper import write_paper

    ran = _run(PAPER, names, "virtual", seeds, jobs, protection=protection)
    target = RESULTS / PAPER
    with _errors_name(target):
        sources = [Source(name, load(name), RESULTS / name) for name in names]
        write_paper(sources, target)
        record = json.dumps(_costs(sources, ran, jobs), indent=1)
        write_atomically(target / COSTS, record.encode() + b"\n")
    print(f"\nFor a paper: {_shown(target)}/ (paper.tex, numbers.tex, tables.tex, captions.md)")
    return ran.status


def _costs(sources: Sequence[Source], ran: _Ran, workers: int) -> dict[str, Any]:
    """What all runs took that the results are made of, whenever they were carried out, and what
    this call carried out."""
    of_runs = {source.name: read_record(source.folder)["costs"] for source in sources}
    total = {key: sum(costs[key] for costs in of_runs.values()) for key in ("runs", "emulated_s")}
    last = {"runs": ran.runs, "emulated_s": ran.emulated_s, "wall_s": round(ran.wall_s, 1)}
    if ran.emulated_s:
        last["ratio"] = round(ran.emulated_s / ran.wall_s, 2)
    return {"total": total, "last_call": last | {"jobs": workers}, "experiments": of_runs}


def make_reference(names: Sequence[str]) -> int:
    """Make `results/reference` anew of results that are there, and docs/experiments.md with what
    they cost. Raises InputError if any are missing or incomplete, OSError."""
    from experiments.evaluation.catalogue import write_catalogue
    from experiments.evaluation.reference import write_reference

    sources = []
    for name in names:
        check_format(RESULTS / name, name)
        sources.append(Source(name, load(name), RESULTS / name))
    with _errors_name(REFERENCE):
        size = write_reference(sources, REFERENCE)
    write_catalogue(REFERENCE)
    print(f"{_shown(REFERENCE)}: {len(names)} experiments, {size / 1e6:.1f} MB")
    return 0


def verify(names: Sequence[str], *, seeds: int, jobs: int) -> int:
    """Run experiments with few seeds in a place of their own, and say for each number whether it
    agrees with the reference. Returns 1 if one doesn't, or a run failed. As `run_experiment`."""
    from experiments.evaluation.verify import compare

    known = [name for name in names if (REFERENCE / name / RECORD).is_file()]
    for name in names:
        if name not in known:
            print(f"{name}: not in {_shown(REFERENCE)}, so there is nothing to compare it with")
    if not known:
        return 1
    place = RESULTS / VERIFY
    ran = _run(VERIFY, known, "virtual", seeds, jobs, root=place, report=False)
    agrees = True
    for name in known:
        found = compare(Source(name, load(name), place / name), REFERENCE / name)
        print(f"\n{found.text}")
        agrees &= found.agrees
    print("\nEverything agrees with the reference." if agrees else "\nNOT all agrees, see above.")
    return 0 if agrees and not ran.status else 1


def _run(
    title: str,
    names: Sequence[str],
    engine: str,
    seeds: int | None,
    workers: int,
    *,
    root: Path | None = None,
    report: bool = True,
    protection: Protection | None = None,
) -> _Ran:
    """With `report`, figures, tables and answers are made, printed and put into the report."""
    root = RESULTS if root is None else root
    experiments = {name: load(name) for name in names}
    studies = []
    for name, experiment in experiments.items():
        found = points(name, experiment, seeds, protection)
        _check_figures(name, experiment)
        studies.append(Study(name, root / name, list(jobs(name, found, engine))))
    wanted = sorted({job.engine for study in studies for job in study.jobs})
    engines, unavailable = _engines(wanted, engine)
    begun = time.monotonic()
    with _errors_name(root):
        carried_out, emulated_s = sweep(title, studies, engines, workers, unavailable)
    wall_s = time.monotonic() - begun
    failed = False
    for study in studies:
        failures = {run: why for run, why in study.outcomes.items() if why is not None}
        failed |= any(not why.startswith(SKIPPED) for why in failures.values())
        with _errors_name(study.folder):
            _conclude(study, engine, engines)
            if report:
                _report(study.folder, experiments[study.name])
            _tell(failures, study.folder)
    if report:
        with _errors_name(RESULTS):
            print(f"\nFor a browser: {_shown(_write_report())}")
    if emulated_s:
        ratio = emulated_s / wall_s
        print(f"\n{emulated_s:.0f} s of emulated time in {wall_s:.0f} s: {ratio:.1f} times as fast")
    return _Ran(1 if failed else 0, carried_out, emulated_s, wall_s)


def _engines(wanted: Sequence[str], asked: str) -> tuple[dict[str, Engine], dict[str, str]]:
    """Those that can run here, and why others can't. One that was asked for has to; one that only
    parts of experiments name is done without."""
    engines: dict[str, Engine] = {}
    unavailable: dict[str, str] = {}
    for name in wanted:
        try:
            engines[name] = make_engine(name)
        except EngineUnavailable as error:
            if name == asked:
                raise
            unavailable[name] = str(error)
    return engines, unavailable


def _write_report() -> Path:
    """Of all experiments that have results of this version."""
    from experiments.report import write_report

    sources = []
    for name in available():
        with contextlib.suppress(InputError):
            check_format(RESULTS / name, name)
            sources.append(Source(name, load(name), RESULTS / name))
    return write_report(sources, RESULTS)


def redraw(name: str) -> int:
    """Draw an experiment's figures from its results. Raises InputError if there are none."""
    experiment = load(name)
    folder = RESULTS / name
    check_format(folder, name)
    with _errors_name(folder):
        _draw(folder, experiment)
    return 0


@contextlib.contextmanager
def _errors_name(folder: Path) -> Iterator[None]:
    """What goes wrong with a file that is open already, like a disk that is full by now, comes
    without the file's name: say at least in which folder."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(folder)) from error


def check_format(folder: Path, name: str) -> None:
    """Raises InputError unless `folder` has results that this version wrote."""
    source = str(folder / RECORD)
    try:
        written = json.loads((folder / RECORD).read_bytes())["format"]
    except FileNotFoundError:
        raise InputError(
            str(folder), "results", name, f"has no results yet; `make run EXP={name}` makes them"
        ) from None
    except (OSError, ValueError, KeyError, TypeError):
        written = "unreadable"
    if written != FORMAT:
        raise InputError(
            source,
            "format",
            written,
            f"expected {FORMAT}, the format of this version; `make run EXP={name}` runs it anew",
        )


def _conclude(study: Study, engine: str, engines: Mapping[str, Engine]) -> None:
    """The tables of all runs, failed ones with their reason."""
    from experiments.analysis import flow_rows
    from experiments.analysis.measure import FLOW_ROWS, missing_rows, write_runs
    from experiments.evaluation.summary import write_summary
    from experiments.tables import write_table

    rows: list[dict[str, Any]] = []
    flows: list[dict[str, Any]] = []
    folder = study.folder
    for job in study.jobs:
        run = job.run
        reason = study.outcomes[run]
        if reason is None:
            rows.extend(json.loads((folder / "runs" / run / ROWS).read_bytes()))
            flows.extend(json.loads((folder / "runs" / run / FLOW_ROWS).read_bytes()))
        else:
            rows.extend(missing_rows(job, reason.splitlines()[0]))
            flows.extend(flow_rows.flow_rows(job, {}, (), reason.splitlines()[0]))
    if len({job.engine for job in study.jobs}) > 1:
        _add_costs(rows, folder)
    write_runs(rows, folder)
    write_table(flows, flow_rows.COLUMNS, folder / flow_rows.FLOWS)
    write_summary(folder)
    used = {job.engine for job in study.jobs} & engines.keys()
    record = {
        "format": FORMAT,
        "experiment": study.name,
        "engine": engine,
        "versions": {name: engines[name].versions for name in sorted(used)},
        # A run that was skipped, because its engine isn't available here, didn't fail.
        "failed": {
            run: why.splitlines()[0]
            for run, why in study.outcomes.items()
            if why and not why.startswith(SKIPPED)
        },
        "costs": costs(folder, [run for run, why in study.outcomes.items() if why is None]),
    }
    write_atomically(folder / RECORD, json.dumps(record, indent=1).encode() + b"\n")


def _add_costs(rows: list[dict[str, Any]], folder: Path) -> None:
    """The real time that each run took."""
    for row in rows:
        path = folder / "runs" / row["run"] / "meta.json"
        there = row["status"].startswith(SKIPPED) or not path.exists()
        row[WALL_S] = None if there else json.loads(path.read_bytes())[WALL_S]


def _check_figures(name: str, experiment: Experiment) -> None:
    if experiment.figures:
        from experiments.figures import check_names

        check_names(experiment.figures, f"{name}.toml")


def _draw(folder: Path, experiment: Experiment) -> list[Path]:
    from experiments.figures import draw_figures

    drawn = draw_figures(folder, experiment.figures, plots=experiment.plots)
    for path in drawn:
        print(f"  {_shown(path)}")
    return drawn


def _report(folder: Path, experiment: Experiment) -> None:
    from experiments.evaluation.paper import answer
    from experiments.evaluation.summary import terminal_summary

    print()
    print(terminal_summary(folder))
    print(f"\nResults: {_shown(folder)}/ (runs.csv, summary.csv, table.tex, runs/)\nFigures:")
    _draw(folder, experiment)
    if experiment.answer:
        print(f"\n{answer(Source(folder.name, experiment, folder))}")


def _tell(failures: dict[str, str], folder: Path) -> None:
    skipped = {why.splitlines()[0] for why in failures.values() if why.startswith(SKIPPED)}
    for reason in sorted(skipped):
        runs = [run for run, why in failures.items() if why.splitlines()[0] == reason]
        print(f"\n{len(runs)} runs {reason}")
        failures = {run: why for run, why in failures.items() if run not in runs}
    if not failures:
        return
    print(f"\n{len(failures)} runs are missing from these numbers:", file=sys.stderr)
    told: set[str] = set()
    for run, reason in failures.items():
        first = reason.splitlines()[0]
        print(f"  {run}: {first if first in told else reason}", file=sys.stderr)
        told.add(first)
    print(f"What they left is in {_shown(folder / FAILED)}/.", file=sys.stderr)


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
