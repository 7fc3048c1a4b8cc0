"""Not from an RFC: a reference made here agrees with what runs here, and notices what doesn't."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from experiments import runner
from experiments.evaluation import catalogue


@pytest.mark.usefixtures("kernel")
def test_a_run_is_verified_against_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(runner, "REFERENCE", tmp_path / "reference")
    monkeypatch.setattr(catalogue, "CATALOGUE", tmp_path / "experiments.md")
    (tmp_path / "experiments.md").write_text(f"By hand.\n{catalogue.MARK}old")
    assert runner.run_experiment("smoke", engine="virtual", seeds=1, jobs=1) == 0
    assert runner.verify(["smoke"], seeds=1, jobs=1) == 1
    assert "so there is nothing to compare it with" in capsys.readouterr().out
    assert runner.make_reference(["smoke"]) == 0
    assert (tmp_path / "experiments.md").read_text().startswith("By hand.\n<!--")
    assert runner.verify(["smoke"], seeds=1, jobs=1) == 0
    shown = capsys.readouterr().out
    assert "rows: all 1 identical to the byte" in shown
    assert "Everything agrees with the reference." in shown
    table = tmp_path / "reference" / "smoke" / "runs.csv"
    (row,) = csv.DictReader(io.StringIO(table.read_text()))
    table.write_text(table.read_text().replace(f",{row['move_latency_ms']},", ",1.23,"))
    assert runner.verify(["smoke"], seeds=1, jobs=1) == 1
    assert "rows: 1 of 1 DIFFER" in capsys.readouterr().out
