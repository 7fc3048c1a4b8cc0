"""The same seed gives the same numbers, whoever runs it and whatever else the machine does."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.analysis.measure import analyse_run
from experiments.declaration.experiment import Point
from experiments.engines.guest import GuestEngine
from experiments.engines.kernel_cache import Kernel
from tests.system.guests import LIMIT_S, job_of, put_job

Run = Callable[[str], tuple[Path, list[dict[str, Any]]]]
SPIN = "print(flush=True)\nwhile True: pass"
# Not events.csv: what happens while the MN attaches may lie on an edge of the 10 us resolution.
SAME = ("moves.json", "packets.csv.gz")


@contextlib.contextmanager
def busy_cores() -> Iterator[None]:
    """Every core has something else to do for the time of the block."""
    spinning: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(len(os.sched_getaffinity(0))):
            process = subprocess.Popen([sys.executable, "-c", SPIN], stdout=subprocess.PIPE)
            spinning.append(process)
            assert process.stdout is not None
            process.stdout.readline()
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


@pytest.mark.parametrize("model", ["shared", "unique-ack"])
def test_same_run_on_busy_cores(
    virtual: GuestEngine,
    reference_run: Run,
    reference_point: Callable[[str], Point],
    tmp_path: Path,
    model: str,
) -> None:
    first, rows = reference_run(model)
    folder = put_job(tmp_path, job_of(reference_point(model), "virtual", 1))
    with busy_cores():
        outcome = virtual.run(folder, LIMIT_S)
    assert outcome.failure is None
    assert json.dumps(analyse_run(folder)) == json.dumps(rows)
    for name in SAME:
        assert (folder / name).read_bytes() == (first / name).read_bytes(), name


def _smoke(environment: dict[str, str], *before: str) -> None:
    done = subprocess.run(
        [*before, sys.executable, "-m", "experiments.cli", "smoke"],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_same_results_as_another_user_and_on_busy_cores(kernel: Kernel) -> None:
    if os.geteuid() != 0:
        pytest.skip("not root: can't become another user")
    nobody = pwd.getpwnam("nobody")
    other = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    reachable = [*other, "test", "-x", sys.executable, "-a", "-r", __file__]
    if subprocess.run(reachable, check=False).returncode != 0:
        pytest.skip("nobody can't read this checkout: a folder above it is closed to others")
    # Not below pytest's folder, which is closed to others.
    with tempfile.TemporaryDirectory(prefix="flowmob-test-") as name:
        place = Path(name)
        place.chmod(0o755)
        home = place / "home"
        home.mkdir()
        shutil.copy2(kernel.path, place / "linux")
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        folders = {who: home / who for who in ("root", "busy", "nobody")}

        def environment(who: str) -> dict[str, str]:
            return {
                **os.environ,
                "FLOWMOB_KERNEL": str(place / "linux"),
                "FLOWMOB_RESULTS": str(folders[who]),
                "HOME": str(home),
                "TMPDIR": str(home),
                "MPLCONFIGDIR": str(place / "matplotlib") if who != "nobody" else str(home / "mpl"),
            }

        _smoke(environment("root"))
        with busy_cores():
            _smoke(environment("busy"))
        _smoke(environment("nobody"), *other)
        written = folders["nobody"] / "smoke" / "runs.csv"
        assert written.stat().st_uid == nobody.pw_uid
        for relative in ("runs.csv", "summary.csv", "table.tex", *_in_run(folders["root"])):
            found = {(folder / "smoke" / relative).read_bytes() for folder in folders.values()}
            assert len(found) == 1, relative
        left = {path.name for path in home.iterdir()} - {*folders, "mpl", ".config", ".cache"}
        assert not left, f"temporary files stayed: {left}"


def _in_run(results: Path) -> list[str]:
    (run,) = (results / "smoke" / "runs").iterdir()
    return [f"runs/{run.name}/{name}" for name in SAME]
