"""Move latency against the delay between LMA and MAG, with the floor."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.evaluation.results import Results, counts_of_runs, good
from experiments.evaluation.statistics import bootstrap_interval
from experiments.evaluation.summary import DIRECTION_ORDER, DIRECTION_WORDS, MODEL_ORDER, ordered
from experiments.figures import style

# Share of the x axis by which models at one delay are drawn apart.
DODGE = 0.028
# Delays that span more than this factor are drawn on a logarithmic axis.
WIDE = 8.0


@style.styled
def draw(results: Results) -> Figure:
    """Median over runs with order-statistic interval, one panel per direction."""
    moves = results.moves("udp")
    complete = good(moves)
    delays = sorted(complete["lma_mag_delay_ms"].unique())
    directions = ordered(list(complete["direction"]), DIRECTION_ORDER)
    models = ordered(list(complete["model"]), MODEL_ORDER)
    figure = style.new_figure(style.PAGE_IN, 2.7)
    panels = figure.subplots(1, len(directions), sharey=True, squeeze=False)[0]
    logarithmic = delays[0] > 0 and delays[-1] / delays[0] >= WIDE
    grid = np.linspace(delays[0], delays[-1], 400)
    kinds: set[str] = set()
    for axes, direction in zip(panels, directions, strict=True):
        here = complete[complete["direction"] == direction]
        for number, model in enumerate(models):
            floors = here[here["model"] == model].groupby("lma_mag_delay_ms")["floor_ms"].median()
            if len(floors):
                # The floor is a linear function of the delay: straight on a linear axis only.
                axes.plot(
                    _shifted(grid, _shift(number, models), delays, logarithmic),
                    np.interp(grid, floors.index.to_numpy(), floors.to_numpy()),
                    color=style.FLOOR_COLOUR,
                    linewidth=3.0,
                    zorder=1,
                )
        for number, model in enumerate(models):
            look = style.model_look(model)
            of_model = here[here["model"] == model]
            for delay in delays:
                values = of_model[of_model["lma_mag_delay_ms"] == delay]["move_latency_ms"]
                if not len(values):
                    continue
                interval = bootstrap_interval(values.to_numpy(dtype=float), "median")
                kinds.add(f"{interval.kind}, {interval.level * 100:.1f} %")
                error = [[interval.estimate - interval.low], [interval.high - interval.estimate]]
                axes.errorbar(
                    _shifted(delay, _shift(number, models), delays, logarithmic),
                    interval.estimate,
                    yerr=np.array(error),
                    color=look.colour,
                    marker=look.marker,
                    markersize=4.0,
                    markerfacecolor="white",
                    linestyle="none",
                    linewidth=1.0,
                    zorder=3,
                )
        if logarithmic:
            axes.set_xscale("log")
        axes.set_xticks(delays, [f"{delay:g}" for delay in delays])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("LMA-MAG one-way delay (ms)")
        axes.set_ylim(bottom=0)
        axes.margins(x=0.05)
        style.panel_label(axes, DIRECTION_WORDS.get(direction, direction))
    panels[0].set_ylabel("Move latency (ms)")
    handles = [
        Line2D(
            [],
            [],
            color=look.colour,
            linestyle="none",
            marker=look.marker,
            markersize=4.5,
            markerfacecolor="white",
        )
        for look in map(style.model_look, models)
    ]
    handles.append(Line2D([], [], color=style.FLOOR_COLOUR, linewidth=3.0))
    style.legend_above(figure, handles, [*models, "floor (median)"])
    style.note(
        figure,
        f"Median over runs, {style.runs_count(counts_of_runs(moves), 'point')}; interval: "
        f"{'; '.join(sorted(kinds))}. Models at one delay are drawn side by side, each with its "
        "floor.",
    )
    return figure


def _shift(number: int, models: list[str]) -> float:
    return (number - (len(models) - 1) / 2) * DODGE


def _shifted(delay: Any, share: float, delays: list[float], logarithmic: bool) -> Any:
    """`delay` (a number or an array), moved along the axis by a share of its length."""
    if logarithmic:
        return delay * (delays[-1] / delays[0]) ** share
    return delay + share * max(delays[-1] - delays[0], 1.0)
