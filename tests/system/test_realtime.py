"""The engine `realtime`: the same run as in virtual time, at the pace of a real clock."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from experiments.engines.kernel_cache import Kernel
from nodes.wire.tool import decode_capture


def _smoke(results: Path, kernel: Kernel, engine: str) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "experiments.cli", "smoke", "--engine", engine],
        env={**os.environ, "FLOWMOB_RESULTS": str(results), "FLOWMOB_KERNEL": str(kernel.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return results / "smoke"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _order(events: Iterable[dict[str, str]], node: str) -> list[str]:
    return [event["event"] for event in events if event["node"] == node]


def test_same_events_in_the_same_order(kernel: Kernel, tmp_path: Path) -> None:
    folders = {
        engine: _smoke(tmp_path / engine, kernel, engine) for engine in ("virtual", "realtime")
    }
    runs = {engine: folder / "runs" / "smoke-s1" for engine, folder in folders.items()}
    events = {engine: _rows(run / "events.csv") for engine, run in runs.items()}
    nodes = {event["node"] for event in events["virtual"]}
    assert nodes == {"lma", "mag1", "mag2", "mn", "runner"}
    for node in nodes:
        assert _order(events["realtime"], node) == _order(events["virtual"], node), node
    messages = {
        engine: [
            (message["message"], message["source"], message["destination"])
            for message in decode_capture(run / "control.pcapng")
        ]
        for engine, run in runs.items()
    }
    assert messages["realtime"] == messages["virtual"]
    assert len(messages["realtime"]) == 6
    (virtual,), (real,) = (_rows(folders[engine] / "runs.csv") for engine in folders)
    same = ("status", "lost", "duplicated", "uplink_lost", "uplink_duplicated", "stay_moved")
    assert [real[column] for column in same] == [virtual[column] for column in same]
    assert real["engine"] == "realtime"
    # No bound: it depends on what else this machine does. Nothing is faster than its floor.
    assert float(real["excess_ms"]) >= -0.05
