"""What a new prefix waits for before it can be used, as stacked bars."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from experiments.evaluation.results import Results, good
from experiments.evaluation.selection import estimate, of, select, values_of
from experiments.figures import style

PARTS = {
    "ready_signalling_ms": ("signalling", style.BLUE, ""),
    "ready_path_ms": ("path", style.SKY, "///"),
    "ready_ra_ms": ("advertisement", style.ORANGE, "..."),
    "ready_dad_ms": ("address detection", style.VERMILION, "xxx"),
}
TOTAL = "ready_ms"
ADVERTISED = {
    "at-once": "told at once",
    "solicited": "solicited",
    "unsolicited": "unsolicited,\n3 to 4 s",
}
DETECTED = {"off": "no DAD", "optimistic": "optimistic DAD", "on": "DAD"}


@style.styled
def draw(results: Results) -> Figure:
    """Means over runs of the parts, and of all with its BCa bootstrap interval."""
    rows = select(results, "flows", {"flow": "new"}, ["ra", "dad", TOTAL, *PARTS])
    rows = rows[rows["ra"].notna()]
    advertised, detected = values_of(rows, "ra"), values_of(rows, "dad")
    figure = style.new_figure(style.PAGE_IN, 2.8)
    panels = figure.subplots(1, len(detected), sharey=True, squeeze=False)[0]
    counts: list[int] = []
    for axes, dad in zip(panels, detected, strict=True):
        for position, ra in enumerate(advertised):
            here = good(of(of(rows, "dad", dad), "ra", ra))
            counts.append(len(here))
            bottom = 0.0
            for part, (_, colour, hatch) in PARTS.items():
                height = estimate(here, part, "mean").estimate
                axes.bar(
                    position,
                    height,
                    0.6,
                    bottom,
                    color=colour,
                    hatch=hatch,
                    edgecolor="white",
                    linewidth=0.4,
                )
                bottom += height
            whole = estimate(here, TOTAL, "mean")
            low = whole.low if np.isfinite(whole.low) else whole.estimate
            high = whole.high if np.isfinite(whole.high) else whole.estimate
            error = [[max(whole.estimate - low, 0.0)], [max(high - whole.estimate, 0.0)]]
            axes.errorbar(position, whole.estimate, yerr=np.array(error), color=style.BLACK)
            axes.annotate(
                f"{whole.estimate:.0f}",
                (position, max(high, bottom)),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
            )
        axes.set_xticks(range(len(advertised)), [ADVERTISED.get(ra, ra) for ra in advertised])
        axes.grid(visible=False, axis="x")
        style.panel_label(axes, DETECTED.get(dad, dad))
    panels[0].set_ylabel("Access up to address usable (ms)")
    panels[0].set_ylim(0, panels[0].get_ylim()[1] * 1.2)
    looks = [(colour, hatch) for _, colour, hatch in PARTS.values()]
    handles = [Patch(facecolor=colour, hatch=hatch, edgecolor="white") for colour, hatch in looks]
    style.legend_above(figure, handles, [name for name, _, _ in PARTS.values()])
    least, most = min(counts), max(counts)
    n = f"{most}" if least == most else f"{least} to {most}"
    style.note(figure, f"Mean over runs, 95 % BCa bootstrap interval of the sum, n = {n} per bar.")
    return figure
