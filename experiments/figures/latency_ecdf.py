"""Distribution of move latency per prefix model, with the floor of every move."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.evaluation.results import Results, counts_of_runs, good, middle_delay
from experiments.evaluation.statistics import dkw_half_width, ecdf
from experiments.evaluation.summary import DIRECTION_ORDER, DIRECTION_WORDS, MODEL_ORDER, ordered
from experiments.figures import style


@style.styled
def draw(results: Results) -> Figure:
    """ECDF over runs at the middle LMA-MAG delay, one panel per direction."""
    moves = results.moves("udp")
    delay = middle_delay(good(moves))
    moves = moves[moves["lma_mag_delay_ms"] == delay]
    complete = good(moves)
    directions = ordered(list(complete["direction"]), DIRECTION_ORDER)
    models = ordered(list(complete["model"]), MODEL_ORDER)
    figure = style.new_figure(style.PAGE_IN, 2.55)
    panels = figure.subplots(1, len(directions), sharey=True, squeeze=False)[0]
    for axes, direction in zip(panels, directions, strict=True):
        here = complete[complete["direction"] == direction]
        for model in models:
            of_model = here[here["model"] == model]
            values, fractions = ecdf(of_model["floor_ms"].to_numpy(dtype=float))
            if len(values):
                axes.step(
                    *_from_zero(values, fractions),
                    where="post",
                    color=style.FLOOR_COLOUR,
                    linewidth=5.0,
                    zorder=1,
                )
        for model in models:
            look = style.model_look(model)
            of_model = here[here["model"] == model]
            values, fractions = ecdf(of_model["move_latency_ms"].to_numpy(dtype=float))
            if len(values):
                x, steps = _from_zero(values, fractions)
                style.ecdf_band(axes, x, steps, len(values), look)
                axes.step(
                    x,
                    steps,
                    where="post",
                    color=look.colour,
                    linestyle=look.line,
                    linewidth=look.width,
                    zorder=2,
                )
                axes.plot(
                    values,
                    fractions,
                    linestyle="none",
                    marker=look.marker,
                    markersize=look.size,
                    markerfacecolor="white",
                    markeredgecolor=look.colour,
                    markeredgewidth=1.0,
                    zorder=3,
                )
        axes.set_xlabel("Move latency (ms)")
        axes.set_ylim(0, 1.12)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
        axes.margins(x=0.06)
        style.panel_label(axes, DIRECTION_WORDS.get(direction, direction))
    panels[0].set_ylabel("Fraction of runs (1)")
    handles = [
        Line2D(
            [],
            [],
            color=look.colour,
            linestyle=look.line,
            linewidth=look.width,
            marker=look.marker,
            markersize=look.size,
            markerfacecolor="white",
        )
        for look in map(style.model_look, models)
    ]
    handles.append(Line2D([], [], color=style.FLOOR_COLOUR, linewidth=5.0))
    style.legend_above(figure, handles, [*models, "floor"])
    counts = counts_of_runs(moves)
    style.note(
        figure,
        f"ECDF over runs, {style.runs_count(counts, 'curve')}, LMA-MAG delay "
        f"{delay:g} ms. Shaded: 95 % DKW bands (±{dkw_half_width(max(counts[0], 1)):.2f}). Curves "
        "that coincide lie on one another, the thinner on top.",
    )
    return figure


def _from_zero(
    values: npt.NDArray[np.float64], fractions: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The steps of an ECDF, beginning at 0."""
    return np.concatenate([values[:1], values]), np.concatenate([[0.0], fractions])
