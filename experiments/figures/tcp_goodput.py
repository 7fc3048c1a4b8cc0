"""Goodput of a TCP download around the move of its flow."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from experiments.analysis.traces import goodput
from experiments.evaluation.results import Results, counts_of_runs, good, middle_delay
from experiments.evaluation.summary import DIRECTION_ORDER, DIRECTION_WORDS, MODEL_ORDER, ordered
from experiments.figures import style

BIN_S = 0.1
BEFORE_S, AFTER_S = 1.0, 2.5


@style.styled
def draw(results: Results) -> Figure:
    """Median and range over runs in bins of 100 ms; a column per model, a row per direction."""
    moves = results.moves("tcp")
    delay = middle_delay(good(moves))
    moves = moves[moves["lma_mag_delay_ms"] == delay]
    complete = good(moves)
    directions = ordered(list(complete["direction"]), DIRECTION_ORDER)
    models = ordered(list(complete["model"]), MODEL_ORDER)
    figure = style.new_figure(style.PAGE_IN, 1.0 + 1.35 * len(directions))
    panels = figure.subplots(len(directions), len(models), sharex=True, sharey=True, squeeze=False)
    for row, direction in zip(panels, directions, strict=True):
        for axes, model in zip(row, models, strict=True):
            chosen = complete[(complete["direction"] == direction) & (complete["model"] == model)]
            _panel(axes, results, chosen, model)
            words = DIRECTION_WORDS.get(direction, direction)
            style.panel_label(axes, f"{model}\n{words}")
    highest = panels[0, 0].get_ylim()[1]
    panels[0, 0].set_ylim(0, highest * 1.45)
    panels[0, 0].set_xlim(-BEFORE_S, AFTER_S)
    for axes in panels[-1]:
        axes.set_xlabel("Time since decision (s)")
    for axes in panels[:, 0]:
        axes.set_ylabel("TCP goodput\n(Mbit/s)")
    handles = [
        Line2D([], [], color="0.2"),
        Patch(color="0.8"),
        Line2D([], [], color="black", linestyle=":", linewidth=0.9),
    ]
    style.legend_above(figure, handles, ["median over runs", "range over runs", "decision"])
    style.note(
        figure,
        f"New data at the MN per {BIN_S * 1000:.0f} ms, "
        f"{style.runs_count(counts_of_runs(moves), 'panel')}, LMA-MAG delay {delay:g} ms; the "
        "range is from the smallest to the largest run, not a confidence interval.",
    )
    return figure


def _panel(axes: Axes, results: Results, moves: pd.DataFrame, model: str) -> None:
    look = style.model_look(model)
    edges = np.arange(-round(BEFORE_S / BIN_S), round(AFTER_S / BIN_S) + 1)
    series = []
    for run, flow, decision in zip(moves["run"], moves["flow"], moves["decision_s"], strict=True):
        table = goodput(results.packets(str(run)), str(flow), BIN_S, float(decision))
        number = np.rint(table["time_s"].to_numpy() / BIN_S).astype(int)
        by_bin = dict(zip(number.tolist(), table["goodput_mbit_s"].tolist(), strict=True))
        series.append([by_bin.get(edge, 0.0) for edge in edges.tolist()])
    if not series:
        return
    data = np.array(series)
    times = edges * BIN_S
    axes.fill_between(
        times,
        data.min(axis=0),
        data.max(axis=0),
        step="post",
        color=look.colour,
        alpha=0.3,
        linewidth=0,
        zorder=2,
    )
    axes.step(
        times, np.median(data, axis=0), where="post", color=look.colour, linewidth=1.2, zorder=3
    )
    axes.axvline(0, color="black", linestyle=":", linewidth=0.9, zorder=1)
