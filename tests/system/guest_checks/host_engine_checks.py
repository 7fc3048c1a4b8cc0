"""The engine `host` on a kernel that has everything: carried out in the guest in real time.

What a run must not leave behind is compared before and after.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from experiments.engines.host import HostEngine

LIMIT_S = 90.0
START_LIMIT_S = 60.0
GONE_LIMIT_S = 15.0
LOOK_EVERY_S = 0.05
SOCKETS = ("unix", "packet", "raw6", "udp6", "tcp6", "udp", "tcp", "netlink")

State = dict[str, list[str]]


def state() -> State:
    """What there is: of the caller's namespaces, and of all processes that it can see."""
    namespaces, processes = set(), set()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            command = (folder / "cmdline").read_bytes()
            if not command:  # a thread of the kernel
                continue
            for kind in ("net", "mnt", "pid", "ipc", "uts"):
                namespaces.add(str((folder / "ns" / kind).readlink()))
        except OSError:  # it has ended
            continue
        processes.add(f"{folder.name} {command.decode(errors='replace')[:120]!r}")
    return {
        "namespaces": sorted(namespaces),
        "processes": sorted(processes),
        "links": sorted(path.name for path in Path("/sys/class/net").iterdir()),
        "mounts": sorted(Path("/proc/self/mounts").read_text().splitlines()),
        "sockets": sorted(line for kind in SOCKETS for line in _sockets(kind)),
        # /tmp is the host's, where others are at work.
        "files": sorted(path.name for path in Path(os.environ["TMPDIR"]).iterdir()),
    }


def _sockets(kind: str) -> list[str]:
    """The sockets of this network namespace by what doesn't change: type, path or address."""
    try:
        lines = Path("/proc/self/net", kind).read_text().splitlines()[1:]
    except OSError:
        return []
    return [f"{kind} {line.split()[-1]}" for line in lines]


def _difference(before: State, after: State) -> dict[str, dict[str, list[str]]]:
    found = {}
    for what, old in before.items():
        new = [entry for entry in after[what] if entry not in old]
        gone = [entry for entry in old if entry not in after[what]]
        if new or gone:
            found[what] = {"new": new, "gone": gone}
    return found


def _settled(before: State) -> dict[str, dict[str, list[str]]]:
    """How things differ from `before`, at the latest after a while: the kernel takes namespaces
    and their processes down without our waiting for it."""
    end = time.monotonic() + GONE_LIMIT_S
    while (difference := _difference(before, state())) and time.monotonic() < end:
        select.select([], [], [], LOOK_EVERY_S)
    return difference


def _inside(folder: Path) -> bool:
    """Whether the run in `folder` has got to its second 0."""
    try:
        return bool(json.loads((folder / "job.json").read_bytes()).get("start_ns"))
    except (OSError, ValueError):
        return False


def two_at_once(folder: Path) -> dict[str, Any]:
    """FOLDER/first and FOLDER/second at the same time; then, meanwhile and afterwards."""
    before = state()
    engine = HostEngine()
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(engine.run, folder / name, LIMIT_S) for name in ("first", "second")]
        end = time.monotonic() + START_LIMIT_S
        both = [folder / "first", folder / "second"]
        while not all(map(_inside, both)) and time.monotonic() < end:
            select.select([], [], [], LOOK_EVERY_S)
        meanwhile = _difference(before, state())
        failures = [future.result().failure for future in running]
    return {"failures": failures, "meanwhile": meanwhile, "left": _settled(before)}


def one(folder: Path) -> dict[str, Any]:
    before = state()
    outcome = HostEngine().run(folder / "run", LIMIT_S)
    return {"failure": outcome.failure, "left": _settled(before)}


def exception(folder: Path) -> dict[str, Any]:
    """A run that fails half-way, because of what its job says."""
    before = state()
    outcome = HostEngine().run(folder / "failing", LIMIT_S)
    return {"failure": outcome.failure, "left": _settled(before)}


def signalled(folder: Path, number: int) -> dict[str, Any]:
    """`flowmob smoke --engine host` gets a signal when its run is at work."""
    before = state()
    results = folder / "results"
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.cli", "smoke", "--engine", "host"],
        # Libraries keep caches in a home.
        env={**os.environ, "FLOWMOB_RESULTS": str(results), "HOME": "/dev/shm"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        end = time.monotonic() + START_LIMIT_S
        while process.poll() is None and time.monotonic() < end:
            if any(map(_inside, results.glob("smoke/.unfinished/*"))):
                break
            select.select([], [], [], LOOK_EVERY_S)
        running = _difference(before, state())
        process.send_signal(signal.Signals(number))
        output, _ = process.communicate(timeout=GONE_LIMIT_S)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
    return {
        "status": process.returncode,
        "output": output,
        "running": running,
        "left": _settled(before),
        "results": sorted(str(path.relative_to(results)) for path in results.rglob("*")),
    }
