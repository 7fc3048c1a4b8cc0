"""Losses of signalling in a run: of nothing else, and the same ones for the same seed."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from experiments.analysis.measure import analyse_run
from experiments.engines.guest import GuestEngine
from tests.system.guests import LIMIT_S, make_job, put_job

LOST = "message-lost"


def _run(
    virtual: GuestEngine, folder: Path, probability: float
) -> tuple[dict[str, Any], list[str]]:
    """The row of flow `a`, and the instants and places of the losses."""
    job = make_job({"signalling_loss": {"probability": probability}})
    outcome = virtual.run(put_job(folder, job), LIMIT_S)
    assert outcome.failure is None, outcome.failure
    (row,) = analyse_run(folder)
    with (folder / "events.csv").open(encoding="utf-8") as events:
        rows = list(csv.DictReader(events))
    return row, [f"{event['time_s']} {event['node']}" for event in rows if event["event"] == LOST]


def test_without_any_signalling_a_move_fails_and_loses_no_packet(
    virtual: GuestEngine, tmp_path: Path
) -> None:
    row, losses = _run(virtual, tmp_path, 1.0)
    assert row["status"] == "move failed: the MAG didn't answer the FMI"
    # The FMI and its one retransmission.
    assert [loss.split()[1] for loss in losses] == ["mag2", "mag2"]
    assert row["lost"] == row["uplink_lost"] == 0


@pytest.mark.parametrize("probability", [0.0, 0.4])
def test_the_same_seed_loses_the_same_messages(
    virtual: GuestEngine, tmp_path: Path, probability: float
) -> None:
    first = _run(virtual, tmp_path / "1", probability)
    assert first == _run(virtual, tmp_path / "2", probability)
    assert bool(first[1]) == (probability > 0)
