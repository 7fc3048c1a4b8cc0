"""One run, in a worker process: carried out, analysed, put in its place."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from experiments.declaration.job import Job, write_atomically
from experiments.engines.base import Engine
from experiments.engines.host_load import host_load
from experiments.engines.process import INTERRUPTIONS, die_with
from experiments.provenance import describe_run
from nodes.strict import to_json
from topologies.crowd import mobile_nodes

UNFINISHED = ".unfinished"
FAILED = "failed"
# What a run contributes to runs.csv.
ROWS = "rows.json"
# A run that takes longer than this many times its emulated time, and a minute, hangs.
LIMIT_FACTOR = 4.0
LIMIT_BASE_S = 60.0
# Each further mobile node is a process that starts and ends.
LIMIT_PER_NODE_S = 2.0
# With less than this left on the disk, that is why a run failed.
ROOM_BYTES = 1 << 18


def begin() -> None:
    """A worker process ends with the runner, and when the runner says so; Ctrl-C is for that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTIONS)
    die_with(os.getppid(), signal.SIGTERM)


def _stop(_number: int, _frame: FrameType | None) -> None:
    # Whoever says it twice, as the pool does when another worker has ended, must not disturb the
    # clearing up.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(1)


def work(folder: Path, job: Job, key: str, engine: Engine) -> str | None:
    try:
        return _execute(folder, job, key, engine)
    except SystemExit:
        # The pool would take this for the run's failure, and give the worker the next run.
        os._exit(1)


def _execute(folder: Path, job: Job, key: str, engine: Engine) -> str | None:
    """One run, in a worker process: carry it out, analyse it, put it in its place."""
    # Late, because workers need it and a call that finds everything done does not.
    from experiments.analysis.measure import analyse_run

    run = job.run
    place = folder / UNFINISHED / f"{run}.{os.getpid()}"
    place.mkdir(parents=True)
    try:
        write_atomically(place / "job.json", to_json(job))
        limit_s = LIMIT_BASE_S + LIMIT_FACTOR * job.spec.duration_s
        limit_s += LIMIT_PER_NODE_S * (len(mobile_nodes(job.spec.topology)) - 1)
        with host_load(job.spec.host_load):
            outcome = engine.run(place, limit_s)
        failure = outcome.failure or _analyse(analyse_run, place)
        if failure is not None:
            if shutil.disk_usage(place).free < ROOM_BYTES:
                # A guest can't tell, for it can't write. The other runs would fail alike.
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
            _replace(place, folder / FAILED / run)
            return failure
        (place / "outcome.json").unlink()
        meta = describe_run(place, job, key, engine.versions, outcome.wall_s)
        write_atomically(place / "meta.json", json.dumps(meta, indent=1).encode() + b"\n")
        _replace(place, folder / "runs" / run)
        shutil.rmtree(folder / FAILED / run, ignore_errors=True)
        return None
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _analyse(analyse_run: Callable[[Path], list[dict[str, Any]]], place: Path) -> str | None:
    try:
        rows = analyse_run(place)
    except ValueError as error:
        return f"analysis: {error}"
    write_atomically(place / ROWS, json.dumps(rows, indent=1).encode() + b"\n")
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
