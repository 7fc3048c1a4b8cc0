"""Runs an experiment: what is not there yet, side by side, and then its tables and figures."""

from __future__ import annotations

import contextlib
import errno
import json
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import FrameType
from typing import Any

from experiments.engines.base import Engine, EngineUnavailable
from experiments.engines.process import die_with
from experiments.experiment import Point, jobs, load, points
from experiments.job import Job, write_atomically
from experiments.progress import Progress
from experiments.provenance import FORMAT, ROOT, describe_run, run_key
from experiments.spec import Experiment
from nodes.strict import InputError, to_json

RESULTS = Path(os.environ.get("FLOWMOB_RESULTS") or ROOT / "results")
UNFINISHED = ".unfinished"
FAILED = "failed"
# What a run contributes to runs.csv.
ROWS = "rows.json"
# A run that takes longer than this many times its emulated time, and a minute, hangs.
LIMIT_FACTOR = 4.0
LIMIT_BASE_S = 60.0
# With less than this left on the disk, that is why a run failed.
ROOM_BYTES = 1 << 18


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


def run_experiment(name: str, *, engine: str, seeds: int | None, jobs: int) -> int:
    """Run experiment `name` and report. Returns 1 if a run failed, else 0.

    Raises InputError for bad input and OSError if results can't be written.
    """
    experiment = load(name)
    found = points(name, experiment, seeds)
    _check_figures(name, experiment)
    chosen = make_engine(engine)
    folder = RESULTS / name
    with _errors_name(folder):
        _prepare(folder)
        outcomes = _Runs(folder, chosen, name, found).carry_out(jobs)
        failures = {run: reason for run, reason in outcomes.items() if reason is not None}
        _conclude(folder, name, found, engine, outcomes)
        _report(folder, experiment, failures)
    return 1 if failures else 0


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
    source = str(folder / "results.json")
    try:
        written = json.loads((folder / "results.json").read_bytes())["format"]
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


class _Runs:
    """The runs of one experiment, each in a folder that appears when it is complete."""

    def __init__(self, folder: Path, engine: Engine, name: str, found: list[Point]) -> None:
        self._folder = folder
        self._engine = engine
        self._jobs = list(jobs(name, found, engine.name))
        self._name = name

    def carry_out(self, workers: int) -> dict[str, str | None]:
        """Name of each run with the reason why it failed, or None."""
        outcomes: dict[str, str | None] = {}
        missing: list[tuple[Job, str]] = []
        for job in self._jobs:
            key = run_key(job, self._engine.versions)
            if _key_of(self._folder / "runs" / _run_name(job)) == key:
                outcomes[_run_name(job)] = None
            else:
                missing.append((job, key))
        emulated = sum(job.spec.duration_s for job, _ in missing)
        progress = Progress(self._name, len(missing))
        progress.start(
            f"{len(self._jobs)} runs, {len(outcomes)} of them there already; "
            f"engine {self._engine.name}, {workers} at a time, "
            f"{emulated:.0f} s of emulated time to go"
        )
        with ProcessPoolExecutor(workers, initializer=_begin) as pool:
            futures: dict[Future[str | None], Job] = {
                pool.submit(_work, self._folder, job, key, self._engine): job
                for job, key in missing
            }
            try:
                for future in as_completed(futures):
                    run = _run_name(futures[future])
                    outcomes[run] = future.result()
                    progress.advance(run, outcomes[run])
            except BrokenProcessPool:
                raise OSError("a worker process was killed; finished runs are kept") from None
            except BaseException:
                # Not shutdown(wait=False): leaving the block then can't wait for the pool's thread,
                # which the interpreter may trip over when it ends.
                for future in futures:
                    future.cancel()
                for worker in multiprocessing.active_children():
                    worker.terminate()
                raise
        progress.finish()
        return outcomes


def _begin() -> None:
    """A worker process ends with the runner, and when the runner says so; Ctrl-C is for that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    die_with(os.getppid(), signal.SIGTERM)


def _stop(_number: int, _frame: FrameType | None) -> None:
    # Whoever says it twice, as the pool does when another worker has ended, must not disturb the
    # clearing up.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(1)


def _work(folder: Path, job: Job, key: str, engine: Engine) -> str | None:
    try:
        return _execute(folder, job, key, engine)
    except SystemExit:
        # The pool would take this for the run's failure, and give the worker the next run.
        os._exit(1)


def _execute(folder: Path, job: Job, key: str, engine: Engine) -> str | None:
    """One run, in a worker process: carry it out, analyse it, put it in its place."""
    # Late, because workers need it and a call that finds everything done does not.
    from experiments.measure import analyse_run

    run = _run_name(job)
    work = folder / UNFINISHED / f"{run}.{os.getpid()}"
    work.mkdir(parents=True)
    try:
        write_atomically(work / "job.json", to_json(job))
        limit_s = LIMIT_BASE_S + LIMIT_FACTOR * job.spec.duration_s
        outcome = engine.run(work, limit_s)
        failure = outcome.failure or _analyse(analyse_run, work)
        if failure is not None:
            if shutil.disk_usage(work).free < ROOM_BYTES:
                # A guest can't tell, for it can't write. The other runs would fail alike.
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
            _replace(work, folder / FAILED / run)
            return failure
        (work / "outcome.json").unlink()
        meta = describe_run(work, job, key, engine.versions, outcome.wall_s)
        write_atomically(work / "meta.json", json.dumps(meta, indent=1).encode() + b"\n")
        _replace(work, folder / "runs" / run)
        shutil.rmtree(folder / FAILED / run, ignore_errors=True)
        return None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _analyse(analyse_run: Callable[[Path], list[dict[str, Any]]], work: Path) -> str | None:
    try:
        rows = analyse_run(work)
    except ValueError as error:
        return f"analysis: {error}"
    write_atomically(work / ROWS, json.dumps(rows, indent=1).encode() + b"\n")
    return None


def _replace(source: Path, target: Path) -> None:
    """Move a folder to where an older one may be; at no instant is there half a folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        outdated = source.with_name(f"{source.name}.outdated")
        target.rename(outdated)
        source.rename(target)
        shutil.rmtree(outdated)
    else:
        source.rename(target)


def _run_name(job: Job) -> str:
    return f"{job.point}-s{job.seed}"


def _key_of(run: Path) -> str | None:
    try:
        key: str = json.loads((run / "meta.json").read_bytes())["key"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return key


def _prepare(folder: Path) -> None:
    """The experiment's folder, without what runs of processes that are gone left unfinished."""
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in (folder / UNFINISHED).glob("*"):
        owner = leftover.name.removesuffix(".outdated").rpartition(".")[2]
        if not (owner.isdigit() and Path("/proc", owner).exists()):
            shutil.rmtree(leftover, ignore_errors=True)


def _conclude(
    folder: Path, name: str, found: list[Point], engine: str, outcomes: dict[str, str | None]
) -> None:
    """The tables of all runs, failed ones with their reason."""
    from experiments import flow_rows
    from experiments.measure import FLOW_ROWS, missing_rows, write_runs
    from experiments.summary import write_summary
    from experiments.tables import write_table

    rows: list[dict[str, Any]] = []
    flows: list[dict[str, Any]] = []
    for job in jobs(name, found, engine):
        run = _run_name(job)
        reason = outcomes[run]
        if reason is None:
            rows.extend(json.loads((folder / "runs" / run / ROWS).read_bytes()))
            flows.extend(json.loads((folder / "runs" / run / FLOW_ROWS).read_bytes()))
        else:
            rows.extend(missing_rows(job, reason.splitlines()[0]))
            flows.extend(flow_rows.flow_rows(job, {}, (), reason.splitlines()[0]))
    write_runs(rows, folder)
    write_table(flows, flow_rows.COLUMNS, folder / flow_rows.FLOWS)
    write_summary(folder)
    write_atomically(
        folder / "results.json",
        json.dumps({"format": FORMAT, "experiment": name, "engine": engine}).encode() + b"\n",
    )


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


def _report(folder: Path, experiment: Experiment, failures: dict[str, str]) -> None:
    from experiments.summary import terminal_summary

    print()
    print(terminal_summary(folder))
    print(f"\nResults: {_shown(folder)}/ (runs.csv, summary.csv, table.tex, runs/)\nFigures:")
    _draw(folder, experiment)
    if failures:
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
