"""Not from an RFC: a sweep that is ended, by whatever and whenever, leaves nothing behind that the
next one trips over, and what that one makes is what it would have been."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from unittest import mock

import pytest

from experiments import cli
from experiments.engines.base import Outcome
from experiments.execution import UNFINISHED
from experiments.sweep import Study, sweep
from tests.experiments.test_sweep import Synthetic, study

LIMIT_S = 60.0


class Waiting(Synthetic):
    """Its runs don't end."""

    def run(self, folder: Path, _limit_s: float) -> Outcome:
        with self.log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        while True:
            signal.pause()


def as_command(studies: list[Study], engine: Synthetic, workers: int = 2) -> int:
    """As `flowmob run` does it, on a machine where it takes a while to tell all workers to end."""

    def run(_options: object) -> int:
        sweep("e", studies, {"virtual": engine}, workers)
        return 0

    def terminate(process: BaseProcess) -> None:
        told(process)
        time.sleep(0.2)

    told = BaseProcess.terminate
    with (
        mock.patch.object(cli, "_smoke", run),
        mock.patch.object(BaseProcess, "terminate", terminate),
    ):
        return cli.main(["smoke"])


def started(program: str) -> subprocess.Popen[str]:
    """In a process group of its own, as from a shell."""
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@contextlib.contextmanager
def whole_group(process: subprocess.Popen[str]) -> Iterator[None]:
    """Nothing of it is left when a test fails."""
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def await_lines(path: Path, count: int, process: subprocess.Popen[str] | None = None) -> list[str]:
    """Raises TimeoutError, at once if `process` ends before."""
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end and (process is None or process.poll() is None):
        found = path.read_text().splitlines() if path.exists() else []
        if len(found) >= count:
            return found
        time.sleep(0.02)
    raise TimeoutError(f"{path} has no {count} lines")


def gone(pid: int) -> bool:
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        if not Path("/proc", str(pid)).exists():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_a_sweep_that_is_told_to_end_does_so_without_a_trace(
    tmp_path: Path, number: signal.Signals, again: bool
) -> None:
    """Also when the one who tells it is impatient."""
    log, folder = tmp_path / "started", tmp_path / "e"
    process = started(
        "import sys; from pathlib import Path;"
        "from tests.experiments.test_sweep_interruptions import Waiting, as_command;"
        "from tests.experiments.test_sweep import study;"
        f"sys.exit(as_command([study(Path({str(folder)!r}), 20)], Waiting(Path({str(log)!r}))))"
    )
    with whole_group(process):
        workers = await_lines(log, 2)
        process.send_signal(number)
        if again:
            time.sleep(0.05)
            process.send_signal(number)
        _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130, errors
    assert errors == "flowmob: interrupted; finished runs are kept\n"
    assert all(gone(int(pid)) for pid in workers)
    assert not list((folder / UNFINISHED).iterdir())


class Slow(Synthetic):
    """Its runs take a while, so that most instants are within one."""

    def run(self, folder: Path, limit_s: float) -> Outcome:
        time.sleep(0.02)
        done = super().run(folder, limit_s)
        time.sleep(0.02)
        return done


def results(folder: Path) -> dict[str, bytes]:
    """All that there is, but for what tells when and how fast it was made."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.name == "meta.json":
            meta = json.loads(content)
            del meta["wall_s"]
            content = json.dumps(meta).encode()
        found[str(path.relative_to(folder))] = content
    return found


def test_killed_at_any_moment_and_gone_on_with_the_results_are_the_same(tmp_path: Path) -> None:
    """SIGKILL of the runner, and of the runner and all its workers at once, again and again at
    instants of chance; each time what is there as a run is whole. In the end, octet for octet what
    nobody disturbed has made."""
    seeds, chance = 5, random.Random(1)
    undisturbed, folder, log = tmp_path / "undisturbed", tmp_path / "killed", tmp_path / "log"
    sweep("e", [study(undisturbed, seeds)], {"virtual": Slow(log)}, 2)
    whole = results(undisturbed)
    program = (
        "import sys; from pathlib import Path;"
        "from tests.experiments.test_sweep_interruptions import Slow, as_command;"
        "from tests.experiments.test_sweep import study;"
        f"sys.exit(as_command([study(Path({str(folder)!r}), {seeds})], Slow(Path({str(log)!r}))))"
    )
    kills = 0
    while len(list((folder / "runs").glob("*"))) < seeds and kills < 60:
        log.unlink(missing_ok=True)
        process = started(program)
        with whole_group(process):
            with contextlib.suppress(TimeoutError):
                await_lines(log, 1, process)
            time.sleep(chance.uniform(0, 0.4))
            if chance.random() < 0.5:
                process.kill()
                process.wait()
            kills += 1
        for run in (folder / "runs").glob("*"):
            there = {
                name: data for name, data in whole.items() if name.startswith(f"runs/{run.name}/")
            }
            assert {f"runs/{run.name}/{name}": data for name, data in results(run).items()} == there
    assert kills > 1
    # A process that was killed is there until the system has taken note of its end.
    assert all(gone(int(left.suffix[1:])) for left in (folder / UNFINISHED).glob("*.[0-9]*"))
    last = study(folder, seeds)
    sweep("e", [last], {"virtual": Slow(log)}, 2)
    assert set(last.outcomes.values()) == {None}
    assert results(folder) == whole
