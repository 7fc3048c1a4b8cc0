"""Goodput of downloads over time around the instant at which something happens to their access."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.analysis.interruption import instant_of
from experiments.analysis.measure import read_job
from experiments.analysis.traces import goodput
from experiments.captures.frames import Integers
from experiments.declaration.declarations import Plot
from experiments.evaluation.results import Results, good
from experiments.evaluation.selection import of, select, values_of
from experiments.figures import style

BIN_S = 0.05
BEFORE_S, AFTER_S = 0.5, 1.5
COLUMNS = 4
# Room for what is said at the top of a panel, as a share of the highest value.
HEADROOM = 1.45


@style.styled
def draw(plot: Plot, results: Results) -> Figure:
    """Median and quartiles over runs per bin; a panel for each value of `plot.panels`. Raises
    InputError if rows or packets of runs aren't there."""
    rows = select(results, plot.table, plot.where, plot.columns())
    panels, series = values_of(rows, plot.panels), values_of(rows, plot.series)
    looks = dict(zip(series, style.SERIES, strict=False))
    lines = math.ceil(len(panels) / COLUMNS)
    figure = style.new_figure(style.PAGE_IN, 0.9 + 1.25 * lines)
    grid = figure.subplots(
        lines, min(COLUMNS, len(panels)), sharex=True, sharey=True, squeeze=False
    )
    counts = []
    for axes, panel in zip(grid.flat, panels, strict=False):
        here = of(rows, plot.panels, panel)
        for name in series:
            chosen = of(here, plot.series, name)
            counts.append((len(good(chosen)), len(chosen)))
            _curve(axes, results, good(chosen), looks[name])
        style.panel_label(axes, plot.names.get(panel, panel).replace("\n", " "))
        axes.axvline(0, color="black", linestyle=":", linewidth=0.9, zorder=1)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    first = grid[0, 0]
    first.set_ylim(0, first.get_ylim()[1] * HEADROOM)
    first.set_xlim(-BEFORE_S, AFTER_S)
    for number, axes in enumerate(grid.flat):
        if number + COLUMNS >= len(panels):
            axes.set_xlabel("Time since instant (s)")
            axes.tick_params(labelbottom=True)
    for axes in grid[:, 0]:
        axes.set_ylabel("Goodput (Mbit/s)")
    handles = [
        Line2D([], [], color=looks[name].colour, linestyle=looks[name].line, linewidth=1.2)
        for name in series
    ]
    style.legend_above(figure, handles, [plot.names.get(name, name) for name in series])
    fewest = min(counts, key=lambda count: count[0] - count[1])
    style.note(
        figure,
        f"New data at the MN per {BIN_S * 1000:.0f} ms: median over runs, shaded from the first to "
        f"the third quartile, {style.runs_count(fewest, 'curve')}.",
    )
    return figure


def _curve(axes: Axes, results: Results, flows: pd.DataFrame, look: style.Look) -> None:
    edges = np.arange(-round(BEFORE_S / BIN_S), round(AFTER_S / BIN_S) + 1, dtype=np.int64)
    found = [
        _binned(results, str(run), str(flow), edges)
        for run, flow in zip(flows["run"], flows["flow"], strict=True)
    ]
    if not found:
        return
    low, middle, high = np.quantile(np.array(found), [0.25, 0.5, 0.75], axis=0)
    times = edges * BIN_S
    axes.fill_between(
        times, low, high, step="post", color=look.colour, alpha=0.2, linewidth=0, zorder=2
    )
    axes.step(
        times, middle, where="post", color=look.colour, linestyle=look.line, linewidth=1.1, zorder=3
    )


def _binned(results: Results, run: str, flow: str, edges: Integers) -> list[float]:
    """Mbit/s in each bin of a run."""
    instant = instant_of(read_job(results.folder / "runs" / run))
    assert instant is not None  # or its rows wouldn't have been chosen
    table = goodput(results.packets(run), flow, BIN_S, instant)
    number = np.rint(table["time_s"].to_numpy() / BIN_S).astype(int)
    by_bin = dict(zip(number.tolist(), table["goodput_mbit_s"].tolist(), strict=True))
    return [by_bin.get(edge, 0.0) for edge in edges.tolist()]
