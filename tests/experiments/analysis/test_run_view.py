from __future__ import annotations

import base64
import gzip
import json
import re
from itertools import accumulate
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.analysis.measure import analyse_run
from experiments.analysis.run_view import LOST, VIEW
from tests.experiments.synthetic import Plan, make_run, run_spec

LOST_SEQUENCE = 7


def _view(folder: Path) -> dict[str, Any]:
    """What the page gets."""
    call = re.fullmatch(r'flowmobRun\("([A-Za-z0-9+/=]+)"\);\n', (folder / VIEW).read_text())
    assert call is not None
    found: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(call[1])))
    return found


def test_a_view_has_the_packets_of_the_run(tmp_path: Path) -> None:
    plan = Plan(run_spec(), lose=lambda _flow, _way, number: number == LOST_SEQUENCE)
    analyse_run(make_run(tmp_path, plan))
    view = _view(tmp_path)
    packets = pd.read_csv(tmp_path / "packets.csv.gz")
    mine = packets[(packets["flow"] == "a") & (packets["direction"] == "down")]
    shown = view["flows"]["a"]["down"]
    sent = [tick / view["ticks_per_s"] for tick in accumulate(shown["sent"])]
    assert sent == [round(value, 5) for value in sorted(mine["sent_s"])]
    assert shown["delay"][LOST_SEQUENCE] == LOST
    assert shown["delay"].count(LOST) == 1
    at = view["accesses"].index("cell")
    assert shown["access"].count(at) == (mine["access"] == "cell").sum()
    assert {event for _, _, event, _ in view["events"]} == {"decision", "switched"}
    assert [move["flow"] for move in view["moves"]] == ["a", "b"]


def test_a_view_of_a_constant_flow_is_small(tmp_path: Path) -> None:
    analyse_run(make_run(tmp_path, Plan(run_spec())))
    assert (tmp_path / VIEW).stat().st_size < 4096
