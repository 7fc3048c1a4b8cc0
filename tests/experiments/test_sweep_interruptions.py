"""Not from an RFC: a sweep that is ended, by whatever and whenever, leaves nothing behind that the
next one trips over, and what that one makes is what it would have been."""

from __future__ import annotations

import contextlib
import os
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
from tests.experiments.test_sweep import Synthetic

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


def await_lines(path: Path, count: int) -> list[str]:
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
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
