from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from experiments.analysis import flow_rows, group_moves, interruption, measure, redirection
from experiments.declaration.declarations import Plot
from experiments.declaration.experiment import available, load
from experiments.evaluation.record import WALL_S
from experiments.evaluation.results import Results
from experiments.evaluation.statistics import dkw_half_width
from experiments.figures import declared, draw_figures, style
from nodes.strict import InputError, convert
from tests.experiments.synthetic import make_results

LATENCY = {"y": "move_latency_ms", "y_label": "Move latency (ms)"}
FAST_UDP = {"direction": "fast-to-slow", "traffic": "udp"}
DELAY = {"x": "lma_mag_delay_ms", "x_label": "Delay (ms)"}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return Results(make_results(tmp_path_factory.mktemp("results"), (1.0, 10.0), 3))


def _plot(**fields: Any) -> Plot:
    return convert({"kind": "lines", **LATENCY, **DELAY, **fields}, Plot, "test")


def _ecdf(**fields: Any) -> Plot:
    return convert({"kind": "ecdf", **LATENCY, **fields}, Plot, "test")


def _note(figure: Figure) -> str:
    return " ".join(text.get_text().replace("\n", " ") for text in figure.texts)


def test_lines_go_through_the_statistic_of_each_x(results: Results) -> None:
    figure = declared.draw(_plot(series="model", where=FAST_UDP, statistic="median"), results)
    (axes,) = figure.axes
    moves = results.moves("udp")
    of_model = moves[(moves["model"] == "shared") & (moves["direction"] == "fast-to-slow")]
    expected = [
        of_model[of_model["lma_mag_delay_ms"] == delay]["move_latency_ms"].median()
        for delay in (1.0, 10.0)
    ]
    line = axes.containers[0].lines[0]  # type: ignore[attr-defined]
    assert np.allclose(line.get_ydata(), expected)
    assert len(axes.containers) == 4
    assert axes.get_xlabel() == "Delay (ms)"
    assert "Median over runs with 95 % BCa bootstrap interval, n = 3 runs per point" in _note(
        figure
    )


def test_panels_are_told_apart_and_series_have_names(results: Results) -> None:
    plot = _ecdf(
        series="model",
        panels="direction",
        panel_text="moves {}",
        names={"shared": "one prefix", "fast-to-slow": "down"},
    )
    figure = declared.draw(plot, results)
    assert [axes.texts[0].get_text() for axes in figure.axes] == [
        "moves down",
        "moves slow-to-fast",
    ]
    (legend,) = figure.legends
    assert "one prefix" in [text.get_text() for text in legend.get_texts()]


def test_an_ecdf_counts_moves_that_failed(results: Results) -> None:
    figure = declared.draw(_ecdf(series="model", where={"lma_mag_delay_ms": 1}), results)
    ends = [line.get_ydata()[-1] for line in figure.axes[0].lines]
    # Of hybrid's moves at the first delay, those of the last seed are missing.
    assert sorted(round(float(end), 3) for end in ends) == [0.667, 1, 1, 1]
    assert "curves end below 1 for these" in _note(figure)
    # Two moves a run are not independent: the band is that of as many runs.
    assert "ECDF over moves, n = 3 runs (6 moves) per curve. Shaded: 95 % DKW" in _note(figure)
    (band, *others) = figure.axes[0].collections
    assert len(others) == 3
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (0, 1)


def test_a_band_is_as_wide_as_its_runs_allow(results: Results, tmp_path: Path) -> None:
    rows = results.runs[results.runs["model"] == "shared"].head(1)
    many = pd.concat([rows.assign(run=f"r{n}", move_latency_ms=n) for n in range(100)])
    changed = copy.copy(results)
    changed.runs = many
    figure = declared.draw(_ecdf(), changed)
    (band,) = figure.axes[0].collections
    vertices = band.get_paths()[0].vertices
    half = dkw_half_width(100)
    low, high = (bound(vertices[np.isclose(vertices[:, 0], 50), 1]) for bound in (min, max))
    assert (low, high) == pytest.approx((0.5 - half, 0.51 + half))


def test_the_share_of_failed_moves_needs_no_column(results: Results) -> None:
    plot = _plot(
        kind="points", x="model", x_label="", y="failed", statistic="failed", y_label="Failed (1)"
    )
    (axes,) = declared.draw(plot, results).axes
    (container,) = axes.containers
    shares = dict(
        zip(
            [label.get_text() for label in axes.get_xticklabels()],
            container.lines[0].get_ydata(),  # type: ignore[attr-defined]
            strict=True,
        )
    )
    assert shares["shared"] == 0
    assert 0 < shares["hybrid"] < 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"x": None}, "x is None; lines expects the column of a factor"),
        ({"kind": "ecdf"}, "x is 'lma_mag_delay_ms'; ecdf expects none"),
        ({"y_label": "Latency"}, "y_label is 'Latency'; expected quantity and unit"),
        ({"x_label": ""}, "x_label is ''; expected quantity and unit"),
    ],
)
def test_a_figure_that_can_not_be_drawn_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _plot(**fields)


def test_a_column_that_is_not_there(results: Results) -> None:
    with pytest.raises(InputError, match=r"runs.csv: columns is \['colour'\]; expected some"):
        declared.draw(_plot(series="colour"), results)


def test_values_over_decades_have_an_axis_of_decades(results: Results) -> None:
    figure = declared.draw(_plot(series="model", log_y=True), results)
    low, high = figure.axes[0].get_ylim()
    assert figure.axes[0].get_yscale() == "log"
    assert (low, high > 100) == (10.0, True)
    with pytest.raises(InputError, match=r"lost is 0\.0; expected more than 0 for log_y"):
        declared.draw(_plot(y="lost", log_y=True), results)


def test_a_filter_that_leaves_nothing(results: Results) -> None:
    with pytest.raises(InputError, match=r"where is \{'model': 'none'\}; leaves no rows"):
        declared.draw(_plot(where={"model": "none"}), results)


def test_drawn_again_they_are_the_same_bytes(results: Results, tmp_path: Path) -> None:
    plots = {"one": _plot(series="model", floor="floor_ms", log_x=True), "two": _ecdf()}
    first, second = (
        [path.read_bytes() for path in draw_figures(results.folder, [], tmp_path / name, plots)]
        for name in ("1", "2")
    )
    assert len(first) == 4
    assert first == second


def test_a_long_legend_takes_several_rows_and_stays_inside(results: Results) -> None:
    names = {"shared": "a name that is quite long", "unique/on-ack": "another one of its length"}
    figure = declared.draw(_plot(series="model", width="column", names=names), results)
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent().transformed(figure.transFigure.inverted())
    assert box.x0 >= 0
    assert box.x1 <= 1
    assert figure.get_size_inches()[0] == style.COLUMN_IN


@pytest.mark.parametrize("name", available())
def test_what_experiments_declare_is_well_formed(name: str) -> None:
    experiment = load(name)
    factors = {factor.name for part in experiment.parts.values() for factor in part.factors}
    tables = (measure, redirection, group_moves, flow_rows, interruption)
    known = factors | {"model", WALL_S} | {name for table in tables for name in table.COLUMNS}
    for plot in experiment.plots.values():
        assert known.issuperset(plot.columns())
