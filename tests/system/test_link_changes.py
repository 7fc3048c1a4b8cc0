"""Links that change during a run, and policies that see it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from experiments.analysis.measure import analyse_run
from experiments.declaration.link_changes import link_changes
from experiments.engines.guest import GuestEngine
from tests.system.guests import LIMIT_S, make_job, put_job

CHANGE_S = 6.0


def _packets(virtual: GuestEngine, folder: Path, document: dict[str, Any]) -> pd.DataFrame:
    job = make_job({"moves": []}, document)
    job = job.__class__(
        **{name: getattr(job, name) for name in job.__struct_fields__ if name != "changes"},
        changes=link_changes(job.spec, 1, "test"),
    )
    outcome = virtual.run(put_job(folder, job), LIMIT_S)
    assert outcome.failure is None, outcome.failure
    analyse_run(folder)
    packets = pd.read_csv(folder / "packets.csv.gz")
    return packets[(packets["flow"] == "a") & (packets["direction"] == "down")]


def _delays_ms(packets: pd.DataFrame) -> list[float]:
    delays = (packets["received_s"] - packets["sent_s"]) * 1000
    return sorted({round(delay, 2) for delay in delays})


def test_delay_and_loss_change_when_they_are_to(virtual: GuestEngine, tmp_path: Path) -> None:
    changes = [
        {"at_s": CHANGE_S, "link": "wlan", "direction": "down", "delay_ms": 7.0},
        {"at_s": 7.0, "link": "wlan", "direction": "up", "delay_ms": 99.0},
        {"at_s": 8.0, "link": "wlan", "loss": 1.0},
    ]
    packets = _packets(virtual, tmp_path, {"changes": changes})
    # 5 + 10 + 2 ms, and 250 octets at 50 Mbit/s.
    assert _delays_ms(packets[packets["sent_s"] < CHANGE_S - 0.1]) == [17.04]
    assert _delays_ms(packets[packets["sent_s"].between(CHANGE_S, 7.9)]) == [22.04]
    assert packets[packets["sent_s"] > 8.0]["received_s"].isna().all()
    assert packets[packets["sent_s"] < 7.9]["received_s"].notna().all()


def test_a_quality_that_falls_makes_the_policy_move_the_flow(
    virtual: GuestEngine, tmp_path: Path
) -> None:
    policy = {"kind": "link-quality", "access": "wlan", "leave_below": 40, "return_above": 60}
    changes = [{"at_s": 6.0, "link": "wlan", "quality": 20}]
    document = {"changes": changes, "protocol": {"policies": [policy]}}
    packets = _packets(virtual, tmp_path, document)
    assert set(packets[packets["sent_s"] < 5.9]["access"]) == {"wlan"}
    assert set(packets[packets["sent_s"] > 6.2]["access"]) == {"cell"}
