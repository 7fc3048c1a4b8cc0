from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.evaluation.statistics import Interval, bootstrap_interval
from experiments.evaluation.summary import (
    model_name,
    read_runs,
    show,
    summarise,
    terminal_summary,
    write_summary,
)
from nodes.strict import InputError
from tests.experiments.synthetic import make_results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_results(tmp_path_factory.mktemp("results"), (1.0, 10.0), 3)


def test_summary_has_a_row_per_group_and_metric(results: Path) -> None:
    summary = summarise(read_runs(results))
    latency = summary[(summary["metric"] == "move_latency_ms") & (summary["traffic"] == "udp")]
    assert len(latency) == 4 * 2 * 2
    chosen = latency[
        (latency["prefix_model"] == "unique")
        & (latency["switch_policy"] == "on-ack")
        & (latency["direction"] == "fast-to-slow")
        & (latency["lma_mag_delay_ms"] == 10.0)
    ].iloc[0]
    runs = read_runs(results)
    values = runs[
        (runs["model"] == "unique/on-ack")
        & (runs["direction"] == "fast-to-slow")
        & (runs["lma_mag_delay_ms"] == 10.0)
        & (runs["traffic"] == "udp")
    ]["move_latency_ms"]
    assert chosen["n"] == 3
    assert chosen["mean"] == pytest.approx(values.mean())
    assert chosen["median"] == pytest.approx(values.median())
    assert chosen["mean_low"] < chosen["mean"] < chosen["mean_high"]
    assert chosen["median_low"] <= chosen["median"] <= chosen["median_high"]
    assert chosen["p90"] == pytest.approx(values.quantile(0.9))
    # Three values: their range, which has the 90 % quantile between them with this confidence.
    assert chosen["p90_level"] == pytest.approx(1 - 0.9**3 - 0.1**3)


def test_moves_of_one_run_are_one_value(results: Path) -> None:
    runs = read_runs(results)
    again = runs.assign(move=runs["move"] + 10, move_latency_ms=runs["move_latency_ms"] + 2)
    keys = ["metric", "prefix_model", "switch_policy", "direction", "lma_mag_delay_ms", "traffic"]
    once, twice = (
        summarise(rows).set_index(keys).loc["move_latency_ms"]
        for rows in (runs, pd.concat([runs, again]))
    )
    assert (twice["n"] == once["n"]).all()
    assert np.allclose(twice["mean"], once["mean"] + 1)
    width = once["mean_high"] - once["mean_low"]
    assert np.allclose(twice["mean_high"] - twice["mean_low"], width, equal_nan=True)


def test_summary_says_what_is_missing(results: Path) -> None:
    summary = summarise(read_runs(results))
    hybrid = summary[
        (summary["prefix_model"] == "hybrid")
        & (summary["lma_mag_delay_ms"] == 1.0)
        & (summary["metric"] == "excess_ms")
    ]
    assert set(zip(hybrid["n"], hybrid["missing"], strict=True)) == {(2, 1)}


def test_files_are_the_same_each_time(results: Path) -> None:
    write_summary(results)
    files = [results / "summary.csv", results / "table.tex"]
    first = [path.read_bytes() for path in files]
    write_summary(results)
    assert first == [path.read_bytes() for path in files]
    table = first[1].decode()
    assert r"\toprule" in table
    assert r"\caption" not in table
    body = [line for line in table.splitlines() if line.startswith(("shared", "unique", "hybrid"))]
    assert len(body) == 8
    assert {line.count("&") for line in body} == {1 + 2 + 5}
    assert "On the access" not in table
    assert len(pd.read_csv(results / "summary.csv")) > 100


def test_terminal_summary_is_a_few_lines_with_numbers(results: Path) -> None:
    text = terminal_summary(results)
    lines = text.splitlines()
    assert len(lines) <= 12
    assert "2 moves do not count: 2 guest hung (first: hybrid-on-ack-1ms-s3)" in lines[0]
    # Rounding both to 10 us may leave as much between them.
    assert re.search(r"over the floor in ms: shared 0\.0[01], unique/on-ack 0\.0[01]", text)
    assert "20.0 at 10 ms" in text
    assert "Lost: 0 of" in text
    assert "1.00 slow to fast" in text
    expected = "octets: shared 0 of 0, unique/on-ack 2 of 192, unique/on-send 2 of 192, hybrid 1"
    assert expected in text
    assert "Flows that have to stay: 0 packets over the other access in 23 runs." in text


def test_signalling_on_the_access_is_told_apart(results: Path, tmp_path: Path) -> None:
    runs = pd.read_csv(results / "runs.csv")
    which = runs["switch_policy"] == "on-send"
    runs.loc[which, "attachment"] = "dynamic"
    runs.loc[which, "access_signalling_messages"] = 2
    runs.loc[which, "access_signalling_bytes"] = 128
    runs.to_csv(tmp_path / "runs.csv", index=False)
    assert "dynamic 2 of 192 and 2 of 128 on the access." in terminal_summary(tmp_path)
    write_summary(tmp_path)
    lines = (tmp_path / "table.tex").read_text().splitlines()
    assert r"\multicolumn{2}{c}{Signalling} & \multicolumn{2}{c}{On the access}" in lines[3]
    (row,) = [line for line in lines if line.startswith("dynamic & fast")]
    assert row.endswith(r"& 2 & 192 & 2 & 128 \\")
    columns = lines[1].removeprefix(r"\begin{tabular}{").removesuffix("}")
    assert len(columns) == row.count("&") + 1


def test_nothing_complete_is_said_and_no_error(results: Path, tmp_path: Path) -> None:
    runs = pd.read_csv(results / "runs.csv")
    runs["status"] = "guest hung"
    runs.to_csv(tmp_path / "runs.csv", index=False)
    assert "do not count" in terminal_summary(tmp_path)
    write_summary(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "can't be read"),
        ("", "is not a runs.csv"),
        ("run,seed\na,1\n", "written by another version"),
        ("seed\nx\n", "is not a runs.csv"),
    ],
)
def test_bad_runs_csv(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "runs.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        read_runs(tmp_path)


def test_model_names() -> None:
    assert model_name("shared", "on-send") == "shared"
    assert model_name("unique", "on-send") == "unique/on-send"
    assert model_name("hybrid", "on-ack") == "hybrid"
    assert model_name("hybrid", "on-send") == "hybrid/on-send"
    assert model_name("unique", "on-ack", "lma", "layer-2") == "unique/on-ack"
    assert model_name("unique", "on-ack", "lma", "dynamic") == "dynamic"
    assert model_name("unique", "on-ack", "mn", "link") == "unique/mn"
    assert model_name("unique", "on-ack", prefix_delivery="at-attach") == "unique/in-place"
    assert model_name("shared", "on-ack", prefix_delivery="at-attach") == "shared"


def test_show() -> None:
    assert show(Interval(1.26, 1.0, 2.04, 6, 0.95, "")) == "1.3 [1.0, 2.0]"
    assert show(bootstrap_interval([-0.001, 0.0, 0.001])) == "0.0"
    assert show(bootstrap_interval([4.0])) == "4.0"
    assert show(bootstrap_interval([])) == ""


def test_what_makes_the_paths_is_a_model_and_what_that_cost_is_measured(
    results: Path, tmp_path: Path
) -> None:
    runs = pd.read_csv(results / "runs.csv")
    first = runs["model"] == "shared/on-ack"
    runs["data_plane"] = ["sdn-core" if value else None for value in first]
    runs["openflow_messages"] = range(len(runs))
    runs.to_csv(tmp_path / "runs.csv", index=False)
    found = read_runs(tmp_path)
    assert set(found["model"]) == {"shared/sdn-core", "unique/on-ack", "unique/on-send", "hybrid"}
    summary = summarise(found)
    assert "openflow_messages" not in summary.columns
    counted = summary[summary["metric"] == "openflow_messages"]
    assert set(counted["data_plane"].dropna()) == {"sdn-core"}
    assert counted["n"].max() == 3
