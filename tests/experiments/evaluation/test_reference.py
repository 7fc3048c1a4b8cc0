"""Not from an RFC: the reference, and what agrees with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from experiments.analysis.flow_rows import FLOWS
from experiments.analysis.measure import RUNS
from experiments.declaration.experiment import Point
from experiments.evaluation import reference
from experiments.evaluation.record import RECORD, Source, costs, read_record
from experiments.evaluation.statistics import Interval
from experiments.evaluation.summary import write_summary
from experiments.evaluation.verify import compare, overlap
from experiments.figures import draw_figures
from nodes.strict import InputError
from tests.experiments.evaluation.test_paper import EXPERIMENT
from tests.experiments.synthetic import make_results, run_spec

NAME = "some-question"
VERSIONS = {"virtual": {"kernel": "7.3", "kernel_sha256": "aa"}}
SHARED = "shared-on-ack-10ms-s1"


def write_record(folder: Path, **changes: Any) -> None:
    record = {
        "format": 1,
        "versions": VERSIONS,
        "failed": {},
        "costs": {"runs": 3, "emulated_s": 90.0, "runs_wall_s": 9.0, "octets": 1000},
    }
    (folder / RECORD).write_text(json.dumps(record | changes))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results as the runner leaves them."""
    folder = make_results(tmp_path_factory.mktemp("results") / NAME, (10.0,), 3)
    write_summary(folder)
    tables = [pd.read_csv(folder / name) for name in (RUNS, "downloads.csv")]
    flows = pd.concat(tables)[["run", "seed", "status"]].drop_duplicates("run")
    flows.to_csv(folder / FLOWS, index=False)
    draw_figures(folder, EXPERIMENT.figures, plots=EXPERIMENT.plots)
    write_record(folder)
    return folder


@pytest.fixture
def source(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    folder = tmp_path / "results" / NAME
    shutil.copytree(made, folder, ignore=shutil.ignore_patterns("runs"))
    point = Point("shared-on-ack-10ms", {}, {}, run_spec(), 3)
    monkeypatch.setattr(reference, "points", lambda *_: [point])
    return Source(NAME, EXPERIMENT, folder)


def change(path: Path, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    edit(rows).to_csv(path, index=False, lineterminator="\n")


def test_a_reference_has_tables_figures_and_numbers_and_nothing_else(
    source: Source, tmp_path: Path
) -> None:
    target = tmp_path / "reference"
    (target / "gone").mkdir(parents=True)
    size = reference.write_reference([source], target)
    found = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    tables = (RUNS, FLOWS, "downloads.csv", "summary.csv", "table.tex", RECORD, "numbers.csv")
    figures = ("packet-counts.pdf", "packet-counts.png", "latency.pdf", "latency.png")
    assert found == {f"{NAME}/{name}" for name in tables} | {
        f"{NAME}/figures/{name}" for name in figures
    }
    assert [path.name for path in target.iterdir()] == [NAME]
    assert size == sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    lines = (target / NAME / "numbers.csv").read_text().splitlines()
    assert lines[0] == "number,estimate,low,high,runs,interval"
    assert lines[1].startswith("shared,3")


def test_results_that_lack_a_run_are_refused(source: Source, tmp_path: Path) -> None:
    change(source.folder / FLOWS, lambda rows: rows[rows["run"] != SHARED])
    with pytest.raises(InputError, match=rf"{SHARED}.*1 runs are missing, of 3; `make paper`"):
        reference.write_reference([source], tmp_path / "reference")
    assert not (tmp_path / "reference").exists()


def test_results_with_a_failed_run_are_refused(source: Source, tmp_path: Path) -> None:
    write_record(source.folder, failed={SHARED: "guest hung"})
    with pytest.raises(InputError, match="1 runs failed, of 3"):
        reference.write_reference([source], tmp_path / "reference")


def test_results_of_several_kernels_are_refused(source: Source, tmp_path: Path) -> None:
    other = source.folder.with_name("other")
    shutil.copytree(source.folder, other)
    write_record(other, versions={"virtual": {"kernel": "6.1"}})
    with pytest.raises(InputError, match=r"versions\.virtual"):
        reference.write_reference([source, Source("other", EXPERIMENT, other)], tmp_path / "r")


def test_results_without_a_record_are_refused(source: Source) -> None:
    (source.folder / RECORD).write_text('{"format": 1}')
    with pytest.raises(InputError, match="is no record of results; run the experiment"):
        read_record(source.folder)


def test_costs_are_those_of_the_runs_named(tmp_path: Path) -> None:
    for number in (1, 2):
        run = tmp_path / "runs" / f"p-s{number}"
        run.mkdir(parents=True)
        meta = {"wall_s": 1.5, "parameters": {"spec": {"duration_s": 30.0}}}
        (run / "meta.json").write_text(json.dumps(meta))
    found = costs(tmp_path, ["p-s1"])
    size = (tmp_path / "runs" / "p-s1" / "meta.json").stat().st_size
    assert found == {"runs": 1, "emulated_s": 30.0, "runs_wall_s": 1.5, "octets": size}


@pytest.fixture
def kept(source: Source, tmp_path: Path) -> Path:
    reference.write_reference([source], tmp_path / "reference")
    return tmp_path / "reference" / NAME


def test_the_same_results_are_identical(source: Source, kept: Path) -> None:
    found = compare(source, kept)
    assert found.agrees
    assert "], identical\n" in found.text
    assert "identical to the byte" in found.text


def test_only_what_both_have_is_compared(source: Source, kept: Path) -> None:
    """The quick evaluation has fewer seeds: its numbers are compared with those of its seeds."""
    for table in (RUNS, FLOWS, "downloads.csv"):
        change(source.folder / table, lambda rows: rows[rows["seed"] != "3"])
    found = compare(source, kept)
    assert found.agrees
    assert "16 runs that are in the reference too" in found.text
    assert found.text.splitlines()[1].endswith("identical")


def _set(folder: Path, column: str, value: str) -> None:
    change(folder / RUNS, lambda rows: rows.assign(**{column: value}))


def _later(folder: Path, column: str, by: float) -> None:
    def edit(rows: pd.DataFrame) -> pd.DataFrame:
        later = [f"{float(text) + by:.2f}" if text else "" for text in rows[column]]
        return rows.assign(**{column: later})

    change(folder / RUNS, edit)


def test_a_number_outside_the_interval_differs(source: Source, kept: Path) -> None:
    _set(source.folder, "floor_ms", "99")
    write_record(source.folder, versions={"virtual": {"kernel": "6.1"}})
    found = compare(source, kept)
    assert not found.agrees
    assert "shared: 99.0, DIFFERS from 3" in found.text
    assert "kernels differ" in found.text


def test_a_number_within_the_interval_agrees_on_another_kernel(source: Source, kept: Path) -> None:
    _later(source.folder, "floor_ms", 3.0)
    write_record(source.folder, versions={"virtual": {"kernel": "6.1"}})
    found = compare(source, kept)
    assert found.agrees
    assert ", agrees with 3" in found.text


def test_on_the_same_kernel_rows_have_to_be_identical(source: Source, kept: Path) -> None:
    _later(source.folder, "move_latency_ms", 0.02)
    found = compare(source, kept)
    assert not found.agrees
    assert "DIFFER, the first: hybrid-on-ack-10ms-s1 a move 0" in found.text


def test_the_resolution_of_recorded_times_is_said_and_allowed(source: Source, kept: Path) -> None:
    _later(source.folder, "move_latency_ms", 0.01)
    found = compare(source, kept)
    assert found.agrees
    assert "differ by the resolution of 0.01 ms" in found.text
    _set(source.folder, "lost", "1")
    assert not compare(source, kept).agrees


def test_what_a_run_cost_never_repeats_and_is_not_compared(source: Source, kept: Path) -> None:
    for folder, cost in ((source.folder, "1.5"), (kept, "2.5")):
        change(folder / RUNS, lambda rows, cost=cost: rows.assign(wall_s=cost))
    assert "identical to the byte" in compare(source, kept).text


def test_a_row_that_is_missing_differs(source: Source, kept: Path) -> None:
    change(source.folder / RUNS, lambda rows: rows.drop(index=0))
    found = compare(source, kept)
    assert "rows: 1 of" in found.text
    assert not found.agrees


def test_nothing_in_common_is_no_agreement(source: Source, kept: Path) -> None:
    change(kept / FLOWS, lambda rows: rows.assign(run="x"))
    assert not compare(source, kept).agrees


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [
        ((1.0, 2.0), (2.0, 3.0), True),
        ((1.0, 2.0), (2.04, 3.0), True),
        ((1.0, 2.0), (2.2, 3.0), False),
        ((2.2, 3.0), (1.0, 2.0), False),
        ((float("nan"), float("nan")), (2.4, 3.0), True),
        ((float("nan"), float("nan")), (2.6, 3.0), False),
    ],
)
def test_overlap(one: tuple[float, float], other: tuple[float, float], common: bool) -> None:
    first, second = (Interval(2.5, *bounds, 3, 0.95, "") for bounds in (one, other))
    assert overlap(first, second, 0.05) is common
    nothing = Interval(2.5, *one, 0, 0.95, "")
    assert not overlap(nothing, second, 0.05)
    assert overlap(nothing, nothing, 0.05)
