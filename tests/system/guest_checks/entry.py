"""First program of a guest that carries out one check: `python -m tests.system.guest_checks.entry`.

`order.json` in the run's folder names a function and its arguments; what the function returns, or
how it failed, is in `report.json` when the guest has ended.
"""

from __future__ import annotations

import importlib
import json
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import Any

from experiments.declaration.job import write_atomically
from experiments.emulation.inside import leave

PACKAGE = "tests.system.guest_checks"


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0])
    report: dict[str, Any] = {}
    try:
        order = json.loads((folder / "order.json").read_bytes())
        module, _, name = order["function"].rpartition(".")
        function = getattr(importlib.import_module(f"{PACKAGE}.{module}"), name)
        # A check decides by itself; a course leaves captures in the folder, for a test to judge.
        call = function if name.startswith("check_") else partial(function, folder)
        report["result"] = call(**order["arguments"])
    except BaseException:
        report["error"] = traceback.format_exc()
    try:
        write_atomically(folder / "report.json", json.dumps(report).encode())
    finally:
        status = leave(int("error" in report), "--power-off" in arguments)
    return status


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
