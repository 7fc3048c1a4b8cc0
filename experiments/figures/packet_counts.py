"""Lost, reordered and duplicated packets per move, by prefix model and direction."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from experiments.evaluation.results import Results, counts_of_runs, good, middle_delay
from experiments.evaluation.statistics import bootstrap_interval
from experiments.evaluation.summary import DIRECTION_ORDER, DIRECTION_WORDS, MODEL_ORDER, ordered
from experiments.figures import style

WAYS = {"": "Downlink", "uplink_": "Uplink"}


@style.styled
def draw(results: Results) -> Figure:
    """Means over runs with BCa bootstrap interval at the middle LMA-MAG delay."""
    moves = results.moves("udp")
    delay = middle_delay(good(moves))
    moves = moves[moves["lma_mag_delay_ms"] == delay]
    complete = good(moves)
    directions = ordered(list(complete["direction"]), DIRECTION_ORDER)
    models = ordered(list(complete["model"]), MODEL_ORDER)
    figure = style.new_figure(style.PAGE_IN, 3.5)
    panels = figure.subplots(len(WAYS), len(directions), sharex=True, sharey=True, squeeze=False)
    for row, (prefix, way) in zip(panels, WAYS.items(), strict=True):
        for axes, direction in zip(row, directions, strict=True):
            here = complete[complete["direction"] == direction]
            for place, (kind, look) in enumerate(style.COUNTS.items()):
                for position, model in enumerate(models):
                    values = here[here["model"] == model][prefix + kind].to_numpy(dtype=float)
                    interval = bootstrap_interval(values)
                    if not interval.n:
                        continue
                    low = interval.low if np.isfinite(interval.low) else interval.estimate
                    high = interval.high if np.isfinite(interval.high) else interval.estimate
                    error = [[max(interval.estimate - low, 0)], [max(high - interval.estimate, 0)]]
                    axes.errorbar(
                        position + (place - 1) * 0.22,
                        interval.estimate,
                        yerr=np.array(error),
                        color=look.colour,
                        marker=look.marker,
                        markersize=look.size,
                        markeredgecolor="black",
                        markeredgewidth=0.5,
                        linestyle="none",
                        linewidth=1.2,
                        clip_on=False,
                        zorder=3,
                    )
            axes.set_xticks(range(len(models)), [model.replace("/", "/\n") for model in models])
            axes.set_xlim(-0.5, len(models) - 0.5)
            axes.grid(visible=False, axis="x")
            axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
            style.panel_label(axes, DIRECTION_WORDS.get(direction, direction))
        row[0].set_ylabel(f"{way}, mean per\nmove (packets)")
    for axes in panels[-1]:
        axes.set_xlabel("Prefix model / switch policy")
    top = max(1.0, panels[0, 0].get_ylim()[1])
    panels[0, 0].set_ylim(0, top * 1.3)
    handles = [
        Line2D(
            [],
            [],
            color=look.colour,
            linestyle="none",
            marker=look.marker,
            markersize=look.size,
            markeredgecolor="black",
            markeredgewidth=0.5,
        )
        for look in style.COUNTS.values()
    ]
    style.legend_above(figure, handles, [*style.COUNTS])
    style.note(
        figure,
        f"Mean over runs with 95 % BCa bootstrap interval, "
        f"{style.runs_count(counts_of_runs(moves), 'point')}, LMA-MAG delay {delay:g} ms. "
        "Reordered: RFC 4737 type-P-reordered.",
    )
    return figure
