"""First program of a guest that carries out one benchmark.

`order.json` in the folder names it with its arguments; what it measured, or how it failed, is in
`report.json` when the guest has ended.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.benchmark.forwarding import forwarding
from experiments.benchmark.protection import protection
from experiments.benchmark.signalling import signalling
from experiments.benchmark.storm import storm
from experiments.declaration.job import write_atomically
from experiments.emulation.inside import leave

BENCHMARKS: dict[str, Callable[..., dict[str, Any]]] = {
    "forwarding": forwarding,
    "protection": protection,
    "signalling": signalling,
    "storm": storm,
}


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0])
    report: dict[str, Any] = {}
    try:
        order = json.loads((folder / "order.json").read_bytes())
        report["result"] = BENCHMARKS[order["name"]](**order["arguments"])
    except BaseException:
        report["error"] = traceback.format_exc()
    try:
        write_atomically(folder / "report.json", json.dumps(report).encode())
    finally:
        status = leave(int("error" in report), "--power-off" in arguments)
    return status


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
