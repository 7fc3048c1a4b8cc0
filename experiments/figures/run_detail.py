"""One run packet by packet: what arrives at the MN around each move, and what the LMA did."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from experiments.evaluation.results import Results, good, middle_delay
from experiments.evaluation.summary import DIRECTION_ORDER, DIRECTION_WORDS, ordered
from experiments.figures import style
from nodes.strict import MISSING, InputError

# The model with the most to see; else whichever the results have.
PREFERRED = ["unique/on-ack", "hybrid", "unique/on-send", "shared"]
BEFORE_MS = 110.0
AFTER_MS = 120.0
# Room for a marker at the edge of the panel.
EDGE_MS = 6.0
MS_PER_S = 1000.0
EVENTS = {
    "decision": ("decision_s", "v", style.BLACK),
    "FMI sent": ("fmi_sent_s", ">", style.VERMILION),
    "FMA received": ("fma_received_s", "<", style.GREEN),
    "switch": ("switched_s", "D", style.PURPLE),
}


@style.styled
def draw(results: Results) -> Figure:
    """The complete run with the lowest seed at the middle delay; a panel per direction."""
    complete = good(results.moves("udp"))
    complete = complete[complete["lma_mag_delay_ms"] == middle_delay(complete)]
    model = next((name for name in PREFERRED if (complete["model"] == name).any()), None)
    if model is None:
        model = str(complete["model"].iloc[0])
    of_model = complete[complete["model"] == model].sort_values(["seed", "run", "move"])
    run = str(of_model["run"].iloc[0])
    shown = of_model[of_model["run"] == run]
    directions = ordered(list(shown["direction"]), DIRECTION_ORDER)
    packets = results.packets(run)
    accesses = sorted(set(packets["access"]) - {""})
    figure = style.new_figure(style.PAGE_IN, 3.4)
    panels = figure.subplots(
        2, len(directions), sharex="col", squeeze=False, gridspec_kw={"height_ratios": [1, 3.2]}
    )
    for column, direction in enumerate(directions):
        row = shown[shown["direction"] == direction].iloc[0]
        move = results.move(run, int(row["move"]))
        _event_strip(panels[0, column], move)
        _arrivals(panels[1, column], packets[packets["flow"] == row["flow"]], move, accesses)
        words = DIRECTION_WORDS.get(direction, direction)
        style.panel_label(panels[1, column], f"{words}: {move['from']} to {move['to']}")
        panels[1, column].set_xlabel("Time since decision (ms)")
        if column:
            panels[0, column].tick_params(labelleft=False)
    panels[1, 0].set_ylabel("Sequence number (packets)")
    handles: list[Any] = [Line2D([], [], color="0.6", linewidth=1.0)]
    handles += [
        Line2D(
            [],
            [],
            color=look.colour,
            linestyle="none",
            marker=look.marker,
            markeredgecolor="black",
            markeredgewidth=0.5,
        )
        for look in style.ACCESSES[: len(accesses)]
    ]
    labels = ["sent by CN", *(f"arrived at MN over {access}" for access in accesses)]
    style.legend_above(figure, handles, labels)
    style.note(
        figure,
        f"One run (n = 1, no interval): {model}, LMA-MAG delay "
        f"{middle_delay(complete):g} ms, seed {int(shown['seed'].iloc[0])}; downlink packets. "
        "Dotted lines: decision and switch.",
    )
    return figure


def _since(move: dict[str, Any], instants: Any) -> list[float]:
    """Instants of the run (s; one, several or None) as ms since the decision."""
    if instants is None:
        return []
    several = instants if isinstance(instants, list) else [instants]
    return [(instant - move["decision_s"]) * MS_PER_S for instant in several]


def _event_strip(axes: Axes, move: dict[str, Any]) -> None:
    for level, (key, marker, colour) in enumerate(EVENTS.values()):
        times = _since(move, move[key])
        axes.plot(
            times,
            [-level] * len(times),
            linestyle="none",
            marker=marker,
            color=colour,
            markersize=5,
            clip_on=False,
            zorder=3,
        )
    axes.set_yticks([-level for level in range(len(EVENTS))], [*EVENTS])
    axes.set_ylim(-len(EVENTS) + 0.4, 0.6)
    axes.tick_params(axis="x", bottom=False, labelbottom=False)
    axes.tick_params(axis="y", length=0)
    axes.spines["bottom"].set_visible(False)
    axes.grid(visible=False, axis="x")
    _marks(axes, move)


def _marks(axes: Axes, move: dict[str, Any]) -> None:
    for key, colour in (("decision_s", style.BLACK), ("switched_s", style.PURPLE)):
        for time in _since(move, move[key]):
            axes.axvline(time, color=colour, linestyle=":", linewidth=0.9, zorder=1)


def _arrivals(axes: Axes, packets: pd.DataFrame, move: dict[str, Any], accesses: list[str]) -> None:
    latency = _since(move, move["first_packet_s"])
    if not latency:
        raise InputError("moves.json", "first_packet_s", MISSING, "is missing of a complete move")
    start, end = -BEFORE_MS, latency[0] + AFTER_MS
    down = packets[packets["direction"] == "down"]
    sent = (down["sent_s"] - move["decision_s"]) * MS_PER_S
    got = (down["received_s"] - move["decision_s"]) * MS_PER_S
    # A packet's margin on either side, so that the line of what was sent crosses the whole panel.
    near = (sent >= start - AFTER_MS) & (sent <= end + AFTER_MS)
    axes.plot(sent[near], down["sequence"][near], color="0.6", linewidth=1.0, zorder=2)
    inside = (got >= start) & (got <= end)
    for access, look in zip(accesses, style.ACCESSES, strict=False):
        mine = inside & (down["access"] == access)
        axes.plot(
            got[mine],
            down["sequence"][mine],
            linestyle="none",
            color=look.colour,
            marker=look.marker,
            markeredgecolor="black",
            markeredgewidth=0.5,
            zorder=3,
        )
    _marks(axes, move)
    axes.set_xlim(start - EDGE_MS, end + EDGE_MS)
    visible = (sent >= start) & (sent <= end)
    numbers = down["sequence"][inside | visible]
    axes.set_ylim(numbers.min() - 1, numbers.max() + 4)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
