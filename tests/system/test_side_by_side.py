"""Runs next to each other; guests that hang or panic; runners that are told to end."""

from __future__ import annotations

import csv
import json
import os
import select
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from experiments import runner
from experiments.analysis.measure import analyse_run
from experiments.declaration.job import Job
from experiments.engines import guest
from experiments.engines.base import Engine, Outcome
from experiments.engines.guest import GuestEngine
from experiments.engines.kernel_cache import Kernel
from nodes.strict import from_json
from tests.system.guests import LIMIT_S, make_job, processes, put_job

GRACE_S = 20.0
EXPERIMENT = """
question = "?"
why_these_runs = "."
[base]
duration_s = 7.0
attachments = [{ access = "wlan", at_s = 1.0 }, { access = "cell", at_s = 2.0 }]
flows.a = { kind = "udp", anchor = "wlan", start = "wlan", port = 5001, until_s = 6.5 }
flows.stay = { kind = "udp", anchor = "wlan", start = "wlan", port = 5003, until_s = 6.5 }
moves = [{ flow = "a", to = "cell", at_s = 5.5 }]
[[parts.p.factors]]
name = "model"
levels = [
    { label = "shared", set = { protocol = { prefix_model = "shared" } } },
    { label = "unique", set = { protocol = { prefix_model = "unique" } } },
    { label = "hybrid", set = { protocol = { prefix_model = "hybrid" } } },
]
[parts.p]
"""


def _script(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)
    return path


def _fake(path: Path) -> Kernel:
    return Kernel(path, "0.0", "0" * 64, supports_seccomp=False)


def _sleep_seconds(tmp_path: Path) -> str:
    """A time to sleep that no other process has."""
    return f"{86_400 + os.getpid()}.{abs(hash(tmp_path)) % 10**8}"


def _hanging(path: Path, seconds: str) -> Kernel:
    """A kernel that starts a process of its own, prints, and hangs."""
    return _fake(
        _script(
            path,
            "for n in $(seq 20); do echo line $n; done",
            f"sleep {seconds} &",
            f"exec sleep {seconds}",
        )
    )


def _sleeping(seconds: str) -> set[int]:
    return processes(lambda command: command == f"sleep\0{seconds}\0".encode())


def test_two_guests_at_once_are_as_one_alone(virtual: GuestEngine, tmp_path: Path) -> None:
    folders = {
        name: put_job(tmp_path / name, make_job(seed=seed))
        for name, seed in (("together 1", 1), ("together 2", 2), ("alone 1", 1))
    }
    with ThreadPoolExecutor(2) as pool:
        pair = [folders["together 1"], folders["together 2"]]
        for outcome in pool.map(lambda folder: virtual.run(folder, LIMIT_S), pair):
            assert outcome.failure is None
    assert virtual.run(folders["alone 1"], LIMIT_S).failure is None
    rows = {name: json.dumps(analyse_run(folder)) for name, folder in folders.items()}
    assert rows["together 1"] == rows["alone 1"]
    assert rows["together 2"] != rows["alone 1"]


def test_hanging_guest_is_ended_and_reported(tmp_path: Path) -> None:
    seconds = _sleep_seconds(tmp_path)
    kernel = _hanging(tmp_path / "linux", seconds)
    folder = put_job(tmp_path / "run", make_job())
    outcome = GuestEngine(kernel, virtual=True).run(folder, 2.0)
    assert outcome.failure is not None
    first, *rest = outcome.failure.splitlines()
    assert first == "did not finish within 2 s"
    assert rest[-12:] == [f"line {n}" for n in range(9, 21)]
    assert not _sleeping(seconds)


def test_panicking_guest_is_reported(
    virtual: GuestEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest, "INIT", _script(tmp_path / "init", "echo no init today", "exit 3"))
    folder = put_job(tmp_path / "run", make_job())
    outcome = virtual.run(folder, LIMIT_S)
    assert outcome.failure is not None
    first, *rest = outcome.failure.splitlines()
    assert first.startswith("the guest's kernel panicked: Attempted to kill init!")
    assert "no init today" in rest
    assert outcome.wall_s < LIMIT_S / 4


class _SomeHang:
    """The real engine, but for runs of the point `hangs`."""

    name = "virtual"

    def __init__(self, good: Engine, bad: Engine, hangs: str) -> None:
        self._good, self._bad, self._hangs = good, bad, hangs
        self.versions = good.versions

    def run(self, folder: Path, limit_s: float) -> Outcome:
        job = from_json((folder / "job.json").read_bytes(), Job, "job.json")
        if job.point == self._hangs:
            return self._bad.run(folder, 2.0)
        return self._good.run(folder, limit_s)


def test_other_runs_go_on_when_one_hangs(
    virtual: GuestEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seconds = _sleep_seconds(tmp_path)
    bad = GuestEngine(_hanging(tmp_path / "linux", seconds), virtual=True)
    (tmp_path / "trial.toml").write_text(EXPERIMENT)
    monkeypatch.setattr("experiments.declaration.experiment.EXPERIMENTS", tmp_path)
    monkeypatch.setattr(runner, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(runner, "make_engine", lambda _: _SomeHang(virtual, bad, "unique"))
    assert runner.run_experiment("trial", engine="virtual", seeds=1, jobs=2) == 1
    assert not _sleeping(seconds)
    results = tmp_path / "results" / "trial"
    with (results / "runs.csv").open(newline="") as file:
        status = {row["run"]: row["status"] for row in csv.DictReader(file)}
    assert status == {
        "shared-s1": "ok",
        "unique-s1": "did not finish within 2 s",
        "hybrid-s1": "ok",
    }
    assert {path.name for path in (results / "runs").iterdir()} == {"shared-s1", "hybrid-s1"}
    assert (results / "failed" / "unique-s1" / "logs" / "console.txt").exists()
    assert not list((results / ".unfinished").iterdir())
    shown = capsys.readouterr()
    assert "unique-s1 failed: did not finish within 2 s" in shown.out
    assert "1 runs are missing from these numbers" in shown.err
    assert "line 20" in shown.err
    # The next time only the missing run is carried out.
    monkeypatch.setattr(runner, "make_engine", lambda _: virtual)
    assert runner.run_experiment("trial", engine="virtual", seeds=1, jobs=2) == 0
    assert "3 runs, 2 of them there already" in capsys.readouterr().out
    assert not (results / "failed" / "unique-s1").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_runs_on_when_the_runner_ends(
    kernel: Kernel, tmp_path: Path, number: signal.Signals
) -> None:
    seconds = _sleep_seconds(tmp_path)
    guests = tmp_path / "guests"
    os.mkfifo(guests)
    # A kernel like ours, but that it only says that it has started. What it starts holds the FIFO.
    fake = _script(
        tmp_path / "linux",
        f'case "$1" in --version|--showconfig|--help) exec "{kernel.path}" "$1";; esac',
        f'exec 3> "{guests}"',
        "echo started >&3",
        f"sleep {seconds} &",
        f"exec sleep {seconds}",
    )
    temporary, results = tmp_path / "temporary", tmp_path / "results"
    temporary.mkdir()
    reader = os.open(guests, os.O_RDONLY | os.O_NONBLOCK)
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.cli", "smoke"],
        env={
            **os.environ,
            "FLOWMOB_KERNEL": str(fake),
            "FLOWMOB_RESULTS": str(results),
            "TMPDIR": str(temporary),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert select.select([reader], [], [], GRACE_S)[0], "the guest did not start"
        assert os.read(reader, 100) == b"started\n"
        process.send_signal(number)
        # Workers have its output open: this waits for them too.
        output, _ = process.communicate(timeout=GRACE_S)
        assert select.select([reader], [], [], GRACE_S)[0]
        assert os.read(reader, 100) == b"", "what the guest started is still there"
    finally:
        process.kill()
        process.wait()
        os.close(reader)
    assert not _sleeping(seconds)
    assert process.returncode == (-number if number == signal.SIGKILL else 130)
    assert "Traceback" not in output
    if number != signal.SIGKILL:
        assert "interrupted; finished runs are kept" in output
    assert not list((results / "smoke" / ".unfinished").iterdir())
    assert not list(temporary.iterdir())
    assert not (results / "smoke" / "runs.csv").exists()
