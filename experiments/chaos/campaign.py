"""`flowmob chaos`: many scenarios side by side, or one, again and shorter."""

from __future__ import annotations

import multiprocessing
import shutil
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import NamedTuple

from experiments.chaos.generate import generate
from experiments.chaos.guests import carry_out
from experiments.chaos.ledger import Entry, append, chaos_digest, entries, summary
from experiments.chaos.scenario import Scenario, read, write
from experiments.chaos.shrink import shrink
from experiments.chaos.verdict import Verdict, judge
from experiments.engines.kernel_cache import Kernel, find_kernel
from experiments.execution import FAILED, UNFINISHED, begin
from experiments.progress import Progress
from experiments.provenance import ROOT, commit

RESULTS = ROOT / "results" / "chaos"
SHOWN = 12


class Ran(NamedTuple):
    verdict: Verdict
    wall_s: float


def run_campaign(seeds: int, first: int, jobs: int) -> int:
    """Seeds `first` and on that have not been run with this code; returns the exit status."""
    kernel = find_kernel()
    RESULTS.mkdir(parents=True, exist_ok=True)
    code = chaos_digest(kernel.sha256)
    done = {entry.seed for entry in entries(RESULTS) if entry.code == code}
    missing = [seed for seed in range(first, first + seeds) if seed not in done]
    scenarios = {seed: generate(seed) for seed in missing}
    emulated_s = sum(scenario.duration_s for scenario in scenarios.values())
    progress = Progress("chaos", len(missing), emulated_s, jobs)
    progress.start(
        f"{seeds} scenarios, {seeds - len(missing)} of them there already; {jobs} at a time, "
        f"{emulated_s / 3600:.1f} h of emulated time to go"
    )
    _run_all(kernel, code, scenarios, jobs, progress)
    progress.finish()
    wanted = range(first, first + seeds)
    found = [e for e in entries(RESULTS) if e.code == code and e.seed in wanted]
    print(summary(found))
    return 1 if any(entry.rules for entry in found) else 0


def _run_all(
    kernel: Kernel, code: str, scenarios: dict[int, Scenario], jobs: int, progress: Progress
) -> None:
    made_by = {"code": code, "commit": "", "dirty": False, **commit()}
    with ProcessPoolExecutor(jobs, initializer=begin) as pool:
        futures: dict[Future[Ran], int] = {
            pool.submit(run_one, kernel, scenario, RESULTS, f"seed-{seed}"): seed
            for seed, scenario in scenarios.items()
        }
        try:
            for future in as_completed(futures):
                seed, ran = futures[future], future.result()
                scenario, verdict = scenarios[seed], ran.verdict
                entry = Entry(
                    seed=seed,
                    emulated_s=scenario.duration_s,
                    wall_s=round(ran.wall_s, 1),
                    mags=scenario.mags,
                    mobiles=len(scenario.mobiles),
                    faults=verdict.faults,
                    looks=verdict.looks,
                    packets=verdict.packets,
                    rules=verdict.rules,
                    **made_by,
                )
                append(RESULTS, entry)
                failure = None if verdict.well else ", ".join(verdict.rules)
                progress.advance(f"seed {seed}", failure, scenario.duration_s)
        except BrokenProcessPool:
            raise OSError("a worker process was killed; finished scenarios are kept") from None
        except BaseException:
            for future in futures:
                future.cancel()
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise


def run_one(kernel: Kernel, scenario: Scenario, results: Path, name: str) -> Ran:
    """Of one that goes well nothing stays; of another all that it recorded, in results/failed."""
    place = results / UNFINISHED / name
    shutil.rmtree(place, ignore_errors=True)
    try:
        outcome = carry_out(kernel, scenario, place)
        verdict = judge(place, outcome.failure)
        kept = results / FAILED / name
        shutil.rmtree(kept, ignore_errors=True)
        if not verdict.well:
            kept.parent.mkdir(parents=True, exist_ok=True)
            place.rename(kept)
        return Ran(verdict, outcome.wall_s)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def replay(scenario: Scenario, *, shorter: bool) -> int:
    """Carry out one scenario, say what is wrong with it, and make it as short as can be."""
    kernel, name = find_kernel(), f"replay-{scenario.seed}"
    RESULTS.mkdir(parents=True, exist_ok=True)
    ran = run_one(kernel, scenario, RESULTS, name)
    _tell(scenario, ran)
    if ran.verdict.well:
        return 0
    print(f"chaos: what it recorded is in {RESULTS / FAILED / name}")
    if shorter:
        first = ran.verdict.told[0]
        fails = partial(_fails, kernel, first.rule)
        short = shrink(scenario, first.t, fails)
        path = RESULTS / f"seed-{scenario.seed}.json"
        write(path, short)
        print(
            f"chaos: {first.rule} with {len(short.faults)} of {len(scenario.faults)} faults and "
            f"{len(short.mobiles)} of {len(scenario.mobiles)} mobile nodes; "
            f"again: flowmob chaos --replay {path}"
        )
    return 1


def _fails(kernel: Kernel, rule: str, scenario: Scenario) -> bool:
    verdict = run_one(kernel, scenario, RESULTS, f"shrink-{scenario.seed}").verdict
    print(
        f"chaos: {len(scenario.faults)} faults, {len(scenario.mobiles)} mobile nodes: "
        f"{', '.join(verdict.rules) or 'well'}",
        flush=True,
    )
    return rule in verdict.rules


def _tell(scenario: Scenario, ran: Ran) -> None:
    verdict = ran.verdict
    print(
        f"chaos: seed {scenario.seed}: {scenario.mags} MAGs, {len(scenario.mobiles)} mobile nodes, "
        f"{verdict.faults} faults, {verdict.packets} packets sent or seen, {verdict.looks} looks, "
        f"{scenario.duration_s / 3600:.2f} h in {ran.wall_s:.0f} s"
    )
    for rule, count in verdict.rules.items():
        print(f"  {rule}: {count}")
    for violation in verdict.told[:SHOWN]:
        print(f"  at {violation.t:.3f} s, {violation.rule}: {violation.text}")


def show_ledger() -> int:
    print(summary(entries(RESULTS)))
    return 0


def scenario_of(seed: int | None, path: Path | None) -> Scenario | None:
    """Raises InputError, and OSError."""
    if path is not None:
        return read(path)
    return None if seed is None else generate(seed)
