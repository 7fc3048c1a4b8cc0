"""Runs and checks in guests, started from the tests."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.declaration.experiment import TOPOLOGIES, Point, decisions, merge
from experiments.declaration.job import Job, write_atomically
from experiments.declaration.spec import RunSpec
from experiments.engines.base import last_lines
from experiments.engines.guest import GuestEngine
from experiments.engines.kernel_cache import Kernel
from experiments.engines.process import run_process
from nodes.strict import convert, read_toml, to_json

ENTRY = "tests.system.guest_checks.entry"
LIMIT_S = 120.0

# Flow `a` leaves its home access; flow `stay` doesn't.
SHORT_RUN: dict[str, Any] = {
    "duration_s": 10.0,
    "attachments": [{"access": "wlan", "at_s": 1.0}, {"access": "cell", "at_s": 2.0}],
    "protocol": {"prefix_model": "unique", "switch": "on-ack"},
    "flows": {
        "a": {"kind": "udp", "anchor": "wlan", "start": "wlan", "port": 5001, "until_s": 9.0},
        "stay": {"kind": "udp", "anchor": "wlan", "start": "wlan", "port": 5003, "until_s": 9.0},
    },
    "moves": [{"flow": "a", "to": "cell", "at_s": 6.0}],
}


def make_job(
    *changes: dict[str, Any], engine: str = "virtual", seed: int = 1, network: str = "reference"
) -> Job:
    """A job of the short run on a network of topologies/, with `changes` to its document."""
    topology = read_toml(TOPOLOGIES / f"{network}.toml")
    spec = convert(merge({"topology": topology}, SHORT_RUN, *changes), RunSpec, "test")
    return job_of(Point("test", {}, {}, spec, 1), engine, seed)


def job_of(point: Point, engine: str, seed: int) -> Job:
    return Job(
        experiment="test",
        point=point.name,
        levels=point.levels,
        values=point.values,
        seed=seed,
        engine=engine,
        spec=point.spec,
        decisions_s=decisions(point.spec, seed),
    )


def put_job(folder: Path, job: Job) -> Path:
    """A folder for a run of this job."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "job.json", to_json(job))
    return folder


def guest_environment(temporary: str) -> dict[str, str]:
    return {"HOME": temporary, "TMPDIR": tempfile.gettempdir(), "PATH": "/usr/bin:/bin"}


def carry_out_check(
    kernel: Kernel,
    folder: Path,
    function: str,
    *,
    virtual: bool = True,
    memory_mib: int | None = None,
    limit_s: float = LIMIT_S,
    **arguments: Any,
) -> Any:
    """Boot a guest that calls `function` of tests.system.guest_checks; returns what it returns."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "logs").mkdir(exist_ok=True)
    order = {"function": function, "arguments": arguments}
    write_atomically(folder / "order.json", json.dumps(order).encode())
    console = folder / "logs" / "console.txt"
    with tempfile.TemporaryDirectory(prefix="flowmob-") as name:
        command = GuestEngine(kernel, virtual=virtual).command(Path(name), folder, ENTRY)
        if memory_mib is not None:
            command = [f"mem={memory_mib}M" if w.startswith("mem=") else w for w in command]
        consoles = ["con=null", "con0=null,fd:1"]
        run_process([*command, *consoles], console, limit_s, guest_environment(name))
    report = folder / "report.json"
    assert report.exists(), f"no report; console:\n{last_lines(console)}"
    found = json.loads(report.read_bytes())
    assert "error" not in found, found["error"]
    return found["result"]


def processes(matches: Callable[[bytes], bool]) -> set[int]:
    """Processes whose command line matches, but for this one."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                command = (folder / "cmdline").read_bytes()
            except OSError:  # it has ended
                continue
            if matches(command):
                found.add(int(folder.name))
    return found
