"""Not from an RFC: a sweep that stops goes on where it was, and runs again what has changed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from experiments.analysis.measure import read_job
from experiments.declaration.job import Job
from experiments.engines.base import Outcome
from experiments.execution import UNFINISHED
from experiments.sweep import Study, sweep
from tests.experiments.synthetic import Plan, make_run, run_spec

STARTED = "started"


class Synthetic:
    """An engine whose runs are made up, and which writes down what it began. It kills the sweep at
    the run with seed `fatal`, and those with seed `failing` fail."""

    name = "virtual"

    def __init__(self, log: Path, fatal: int = 0, failing: int = 0, kernel: str = "1") -> None:
        self.log, self.fatal, self.failing = log, fatal, failing
        self.versions = {"kernel": kernel}

    def run(self, folder: Path, _limit_s: float) -> Outcome:
        job = read_job(folder)
        with self.log.open("a") as file:
            file.write(f"{job.run}\n")
        if job.seed == self.fatal:
            os.kill(os.getppid(), signal.SIGKILL)
            signal.pause()
        if job.seed == self.failing:
            return Outcome("guest hung", 1.0)
        make_run(folder, Plan(job.spec), point=job.point, seed=job.seed)
        (folder / "outcome.json").write_text("{}")
        return Outcome(None, 1.0)


def study(folder: Path, seeds: int = 4, model: str = "shared", name: str = "p") -> Study:
    made = [
        Job(
            experiment="e",
            point=name,
            levels={},
            values={},
            seed=seed,
            engine="virtual",
            spec=run_spec(model),
            decisions_s=(12.003, 20.003),
        )
        for seed in range(1, seeds + 1)
    ]
    return Study("e", folder, made)


def begun(log: Path) -> list[str]:
    found = log.read_text().split() if log.exists() else []
    log.unlink(missing_ok=True)
    return sorted(found)


def test_a_killed_sweep_goes_on_where_it_was(tmp_path: Path) -> None:
    log, folder = tmp_path / STARTED, tmp_path / "e"
    program = (
        "from pathlib import Path; from experiments.sweep import sweep;"
        "from tests.experiments.test_sweep import Synthetic, study;"
        f"sweep('e', [study(Path({str(folder)!r}))],"
        f" {{'virtual': Synthetic(Path({str(log)!r}), fatal=3)}}, 1)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=300
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert begun(log) == ["p-s1", "p-s2", "p-s3"]
    runs = folder / "runs"
    assert sorted(path.name for path in runs.iterdir()) == ["p-s1", "p-s2"]
    stamps = {path: (path / "meta.json").stat().st_mtime_ns for path in runs.iterdir()}
    again = study(folder)
    carried_out, emulated_s = sweep("e", [again], {"virtual": Synthetic(log)}, 1)
    assert begun(log) == ["p-s3", "p-s4"]
    assert (carried_out, emulated_s) == (2, 60.0)
    assert again.outcomes == {f"p-s{seed}": None for seed in range(1, 5)}
    assert {path: (path / "meta.json").stat().st_mtime_ns for path in stamps} == stamps
    assert not list((folder / UNFINISHED).iterdir())
    assert sweep("e", [study(folder)], {"virtual": Synthetic(log)}, 1) == (0, 0)
    assert begun(log) == []


def test_what_changed_is_run_again_and_nothing_else(tmp_path: Path) -> None:
    log = tmp_path / STARTED
    engines = {"virtual": Synthetic(log)}

    def studies(model: str) -> list[Study]:
        return [study(tmp_path / "one", 1), study(tmp_path / "two", 1, model, "q")]

    sweep("e", studies("shared"), engines, 1)
    assert begun(log) == ["p-s1", "q-s1"]
    sweep("e", studies("unique"), engines, 1)
    assert begun(log) == ["q-s1"]
    sweep("e", studies("unique"), {"virtual": Synthetic(log, kernel="2")}, 1)
    assert begun(log) == ["p-s1", "q-s1"]


def test_a_failed_run_keeps_its_reason_and_is_tried_again(tmp_path: Path) -> None:
    log = tmp_path / STARTED
    first = study(tmp_path / "e", 2)
    sweep("e", [first], {"virtual": Synthetic(log, failing=2)}, 1)
    assert first.outcomes == {"p-s1": None, "p-s2": "guest hung"}
    assert json.loads((tmp_path / "e" / "failed" / "p-s2" / "job.json").read_text())["seed"] == 2
    begun(log)
    sweep("e", [study(tmp_path / "e", 2)], {"virtual": Synthetic(log)}, 1)
    assert begun(log) == ["p-s2"]
    assert not (tmp_path / "e" / "failed" / "p-s2").exists()
