"""A benchmark in a guest in real time, as seen from outside."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from experiments.declaration.job import write_atomically
from experiments.engines.base import CONSOLE, last_lines
from experiments.engines.guest import GuestEngine
from experiments.engines.kernel_cache import find_kernel
from experiments.engines.process import LimitExceeded, run_process

ENTRY = "experiments.benchmark.inside"
LIMIT_S = 900.0


class BenchmarkFailed(RuntimeError):
    """The text says how, with the end of the guest's console if that has it."""


def measure(name: str, memory_mib: int, **arguments: Any) -> dict[str, Any]:
    """What the benchmark `name` (of `inside`) measures in a guest of that size. Raises
    BenchmarkFailed, or KernelError if there is no guest kernel."""
    with tempfile.TemporaryDirectory(prefix="flowmob-") as temporary:
        work, folder = Path(temporary, "work"), Path(temporary, "run")
        work.mkdir()
        (folder / "logs").mkdir(parents=True)
        order = {"name": name, "arguments": arguments}
        write_atomically(folder / "order.json", json.dumps(order).encode())
        command = GuestEngine(find_kernel(), virtual=False).command(work, folder, ENTRY)
        command = [f"mem={memory_mib}M" if w.startswith("mem=") else w for w in command]
        environment = {
            "HOME": temporary,
            "TMPDIR": tempfile.gettempdir(),
            "PATH": "/usr/bin:/bin",
        }
        console = folder / CONSOLE
        try:
            run_process([*command, "con=null", "con0=null,fd:1"], console, LIMIT_S, environment)
        except LimitExceeded:
            raise BenchmarkFailed(f"{name} took more than {LIMIT_S:g} s") from None
        try:
            report = json.loads((folder / "report.json").read_bytes())
        except (OSError, ValueError):
            raise BenchmarkFailed(f"{name} left no report\n{last_lines(console)}") from None
    if "error" in report:
        raise BenchmarkFailed(f"{name} failed in the guest\n{report['error']}")
    found: dict[str, Any] = report["result"]
    return found
