"""One row a flow, from runs with known timing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.analysis.event_log import Event
from experiments.analysis.flow_rows import COLUMNS, flow_rows
from experiments.analysis.measure import FLOW_ROWS, analyse_run, read_job
from experiments.analysis.traces import Trace
from experiments.captures.frames import TICKS_PER_S
from tests.experiments.synthetic import Plan, make_run, run_spec, write_job

FID_A = 1


def _rows(folder: Path, plan: Plan) -> dict[str, dict[str, Any]]:
    analyse_run(make_run(folder, plan))
    return {row["flow"]: row for row in json.loads((folder / FLOW_ROWS).read_bytes())}


def test_a_flow_that_moves_once_and_loses_nothing(tmp_path: Path) -> None:
    rows = _rows(tmp_path, Plan(run_spec()))
    assert list(rows) == ["a", "b", "stay"]
    a, stay = rows["a"], rows["stay"]
    assert (a["moves"], stay["moves"], a["ping_pongs"]) == (1, 0, 0)
    assert (a["sent"], a["lost"], a["status"]) == (1200, 0, "ok")
    # 5 + 10 + 2 ms, and serialisation, of which the test of delays has the rest.
    assert stay["delay_median_ms"] == pytest.approx(17.05, abs=0.05)
    assert stay["voice_score"] == pytest.approx(4.38, abs=0.03)
    assert stay["longest_gap_ms"] == pytest.approx(20.0)
    assert a["video_stalls"] is None
    assert set(a) == set(COLUMNS)


def test_lost_packets_show_in_counts_gap_and_score(tmp_path: Path) -> None:
    lost = range(100, 160)
    plan = Plan(
        run_spec(), lose=lambda flow, way, n: flow == "stay" and way == "down" and n in lost
    )
    rows = _rows(tmp_path, plan)
    assert rows["stay"]["lost"] == 60
    assert rows["stay"]["longest_gap_ms"] == pytest.approx(61 * 20.0)
    assert rows["stay"]["voice_score"] == pytest.approx(3.79, abs=0.03)
    assert rows["a"]["lost"] == 0


def test_a_copy_that_comes_later_does_not_count_as_delay(tmp_path: Path) -> None:
    rows = _rows(tmp_path, Plan(run_spec(), copies=lambda *_: 3))
    assert rows["stay"]["duplicated"] == 2400
    assert rows["stay"]["delay_p99_ms"] == pytest.approx(17.05, abs=0.05)


def _events(*moves: tuple[float, str]) -> list[Event]:
    return [
        Event(round(at * TICKS_PER_S), "lma", "switched", {"fid": FID_A, "to": to})
        for at, to in moves
    ]


@pytest.mark.parametrize(
    ("moves", "expected"),
    [
        ([(6.0, "cell"), (8.0, "wlan")], (2, 1)),
        ([(6.0, "cell"), (12.0, "wlan")], (2, 0)),
        ([(6.0, "cell"), (7.0, "cell"), (8.0, "wlan"), (9.0, "cell")], (3, 2)),
        ([(6.0, "wlan")], (0, 0)),
    ],
)
def test_a_quick_return_is_a_ping_pong(
    tmp_path: Path, moves: list[tuple[float, str]], expected: tuple[int, int]
) -> None:
    write_job(tmp_path, run_spec(moves=[]), ())
    job = read_job(tmp_path)
    empty = pd.DataFrame({name: [] for name in ("flow", "direction", "sequence", "bytes")})
    for name in ("sent_s", "lma_s", "received_s", "access", "lma_access", "overhead"):
        empty[name] = np.array([])
    (row,) = (
        r for r in flow_rows(job, {"a": Trace(empty, "a")}, _events(*moves)) if r["flow"] == "a"
    )
    assert (row["moves"], row["ping_pongs"]) == expected
    assert row["sent"] == 0
    assert row["voice_score"] is None


def test_a_download_feeds_a_player(tmp_path: Path) -> None:
    tcp = {"kind": "tcp", "anchor": "wlan", "start": "wlan", "port": 5010, "until_s": 13.0}
    write_job(tmp_path, run_spec(flows={"d": tcp}, moves=[]), ())
    times = np.arange(5.0, 13.0, 0.1)
    # 10 Mbit/s for 3 s, then nothing for 5 s, then again: 6 s of video at 5 Mbit/s by then.
    times = np.concatenate([times[:30], times[:30] + 20.0])
    table = pd.DataFrame(
        {
            "flow": "d",
            "direction": "down",
            "sequence": np.arange(60) * 125_000,
            "bytes": 125_000,
            "sent_s": times - 0.02,
            "lma_s": times - 0.01,
            "received_s": times,
            "access": "wlan",
            "lma_access": "wlan",
            "overhead": 40,
        }
    )
    (row,) = flow_rows(read_job(tmp_path), {"d": Trace(table, "d")}, [])
    assert row["traffic"] == "tcp"
    # 2 s of video are there after 1 s; what came by 8 s, 6 s of video, is played out at 11.9 s.
    assert row["video_startup_s"] == pytest.approx(0.9)
    assert row["video_stalls"] == 1
    assert row["video_stalled_s"] == pytest.approx(25.4 - 11.9, abs=0.01)
    assert row["voice_score"] is None


def test_a_run_that_failed_has_its_reason_and_no_numbers(tmp_path: Path) -> None:
    write_job(tmp_path, run_spec(moves=[]), ())
    rows = flow_rows(read_job(tmp_path), {}, [], "the guest did not end")
    assert [row["status"] for row in rows] == ["the guest did not end"] * 3
    assert {row["sent"] for row in rows} == {None}
