"""The runs of experiments that are not there yet, side by side."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import signal
from collections.abc import Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

from experiments.declaration.job import Job
from experiments.emulation.key_exchange import lacking_programs
from experiments.engines.base import SKIPPED, Engine
from experiments.engines.process import INTERRUPTIONS
from experiments.execution import UNFINISHED, begin, work
from experiments.progress import Progress
from experiments.provenance import run_key

# Of a guest in real time, measured: 10.1 s for 7.5 s of emulated time.
REAL_START_AND_END_S = 2.6
# Name of each run with the reason why it failed, or None.
Outcomes = dict[str, str | None]


class _Missing(NamedTuple):
    study: Study
    job: Job
    key: str


class Study:
    """The runs of one experiment, each in a folder of `folder`/runs that appears when it is
    complete. `outcomes` has those that have ended."""

    def __init__(self, name: str, folder: Path, jobs: list[Job]) -> None:
        self.name, self.folder, self.jobs = name, folder, jobs
        self.outcomes: Outcomes = {}

    def prepare(
        self, engines: Mapping[str, Engine], unavailable: Mapping[str, str]
    ) -> list[_Missing]:
        """Make the folder, clear what runs of processes that are gone left unfinished, and tell
        which runs aren't there with the same inputs. Those on engines that are `unavailable`, for
        the reason given, are skipped, and so are those that need programs that aren't here."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in (self.folder / UNFINISHED).glob("*"):
            owner = leftover.name.removesuffix(".outdated").rpartition(".")[2]
            if not (owner.isdigit() and Path("/proc", owner).exists()):
                shutil.rmtree(leftover, ignore_errors=True)
        missing = []
        for job in self.jobs:
            reason = unavailable.get(job.engine)
            if reason is None and job.spec.protocol.protection == "ikev2":
                reason = lacking_programs()
            if reason is not None:
                self.outcomes[job.run] = SKIPPED + reason
                continue
            key = run_key(job, engines[job.engine].versions)
            if _key_of(self.folder / "runs" / job.run) == key:
                self.outcomes[job.run] = None
            else:
                missing.append(_Missing(self, job, key))
        return missing


def sweep(
    title: str,
    studies: list[Study],
    engines: Mapping[str, Engine],
    workers: int,
    unavailable: Mapping[str, str] | None = None,
) -> tuple[int, float]:
    """Carry out all missing runs of all studies, each on the engine that its job names; returns
    their number and the emulated time of those, in s. Runs that measure what the machine does come
    last, one by one: side by side, each would be the other's load.

    Raises OSError if results can't be written or a worker was killed; finished runs stay.
    """
    missing = [entry for study in studies for entry in study.prepare(engines, unavailable or {})]
    total = sum(len(study.jobs) for study in studies)
    skipped = sum(why is not None for study in studies for why in study.outcomes.values())
    emulated = sum(entry.job.spec.duration_s for entry in missing)
    real = sum(_real_s(entry.job) for entry in missing)
    progress = Progress(
        title,
        len(missing),
        sum(entry.job.spec.duration_s for entry in missing if not _real_s(entry.job)),
        workers,
        real_s=real,
    )
    progress.start(
        f"{total} runs, {total - skipped - len(missing)} of them there already"
        + (f", {skipped} skipped" if skipped else "")
        + f"; engine {' and '.join(engines)}, "
        f"{workers} at a time, {emulated:.0f} s of emulated time to go"
    )
    alone = [entry for entry in missing if _alone(entry.job)]
    _carry_out(
        [entry for entry in missing if not _alone(entry.job)], studies, engines, workers, progress
    )
    if alone:
        progress.workers = 1
    _carry_out(alone, studies, engines, 1, progress)
    progress.finish()
    return len(missing), emulated


def _alone(job: Job) -> bool:
    return job.engine != "virtual" or job.spec.host_load > 0


def _real_s(job: Job) -> float:
    """What a run in real time takes, with its start and end; 0 in virtual time."""
    return 0.0 if job.engine == "virtual" else job.spec.duration_s + REAL_START_AND_END_S


def _carry_out(
    missing: list[_Missing],
    studies: list[Study],
    engines: Mapping[str, Engine],
    workers: int,
    progress: Progress,
) -> None:
    futures: dict[Future[str | None], _Missing] = {}
    with ProcessPoolExecutor(workers, initializer=begin) as pool:
        try:
            # Workers begin with what is blocked here, until they know what to do about it.
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTIONS)
            for entry in missing:
                engine = engines[entry.job.engine]
                futures[pool.submit(work, entry.study.folder, entry.job, entry.key, engine)] = entry
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            for future in as_completed(futures):
                study, job, _ = futures[future]
                run = job.run
                study.outcomes[run] = future.result()
                shown = run if len(studies) == 1 else f"{study.name} {run}"
                real = _real_s(job)
                emulated = 0.0 if real else job.spec.duration_s
                progress.advance(shown, study.outcomes[run], emulated, real)
        except BrokenProcessPool:
            raise OSError("a worker process was killed; finished runs are kept") from None
        except BaseException:
            # Not shutdown(wait=False): leaving the block then can't wait for the pool's thread,
            # which the interpreter may trip over when it ends. And no future is cancelled: that
            # thread breaks when it finds that workers have ended, and such a future with them.
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise


def _key_of(run: Path) -> str | None:
    try:
        key: str = json.loads((run / "meta.json").read_bytes())["key"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return key
