"""Draws the figures that experiments declare (`experiments.declaration.declarations.Plot`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from experiments.analysis.measure import OK
from experiments.declaration.declarations import Plot
from experiments.engines.base import SKIPPED
from experiments.evaluation.results import Results, good
from experiments.evaluation.selection import estimate, of, select, values_of
from experiments.evaluation.statistics import Interval
from experiments.figures import goodput_around, style
from nodes.strict import InputError

# Points of one x are drawn this share of the axis, or of a category, apart.
DODGE, CATEGORY_DODGE = 0.012, 0.12
WHAT = {
    "mean": "Mean over runs with 95 % BCa bootstrap interval",
    "median": "Median over runs with 95 % BCa bootstrap interval",
    **{
        f"p{share}": f"{share} % quantile over runs with order-statistic interval"
        for share in (5, 10, 90, 95)
    },
    "max": "Largest of all runs",
    "failed": "Share of moves that failed, with 95 % Wilson interval",
}


def draw(plot: Plot, results: Results) -> Figure:
    """Raises InputError if the table lacks a column, no row is left, or `log_y` has no values."""
    figure: Figure = (goodput_around.draw if plot.kind == "goodput" else _draw)(plot, results)
    return figure


@style.styled
def _draw(plot: Plot, results: Results) -> Figure:
    rows = select(results, plot.table, plot.where, plot.columns())
    panels = values_of(rows, plot.panels)
    series = values_of(rows, plot.series)
    looks = {name: _look(number, name) for number, name in enumerate(series)}
    width = style.PAGE_IN if plot.width == "page" else style.COLUMN_IN
    figure = style.new_figure(width, plot.height_in)
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    counts: list[tuple[int, int]] = []
    painter: Callable[..., None] = _ecdf if plot.kind == "ecdf" else _against
    for axes, panel in zip(grid, panels, strict=True):
        here = of(rows, plot.panels, panel)
        for number, name in enumerate(series):
            of_series = of(here, plot.series, name)
            if len(of_series):
                shift = number - (len(series) - 1) / 2
                painter(axes, plot, here, of_series, looks[name], shift, counts)
        if plot.panels is not None:
            style.panel_label(axes, plot.panel_text.format(plot.names.get(panel, panel)))
        axes.set_xlabel(plot.y_label if plot.kind == "ecdf" else plot.x_label)
    _axes(plot, rows, grid)
    if len(series) > 1:
        handles = [_handle(looks[name], plot) for name in series]
        style.legend_above(figure, handles, [plot.names.get(name, name) for name in series])
    style.note(figure, _note(plot, rows, counts))
    return figure


def _look(number: int, name: str) -> style.Look:
    return style.MODELS.get(name) or style.SERIES[number % len(style.SERIES)]


def _against(
    axes: Axes,
    plot: Plot,
    rows: pd.DataFrame,
    of_series: pd.DataFrame,
    look: style.Look,
    shift: float,
    counts: list[tuple[int, int]],
) -> None:
    """A point with its interval for each x; with `lines`, joined."""
    places: list[float] = []
    found: list[Interval] = []
    floors: list[float] = []
    for position, text in enumerate(values_of(rows, plot.x)):
        group = of(of_series, plot.x, text)
        if not len(group):
            continue
        counts.append((group["run"].nunique(), len(group)))
        interval = estimate(group, plot.y, plot.statistic)
        if interval.n:
            place = float(text) if plot.kind == "lines" else float(position)
            places.append(_dodged(place, shift, plot, rows))
            found.append(interval)
            floors.append(float(good(group)[plot.floor].median()) if plot.floor else np.nan)
    estimates = np.array([interval.estimate for interval in found])
    low = np.array([_or(interval.low, interval.estimate) for interval in found])
    high = np.array([_or(interval.high, interval.estimate) for interval in found])
    if plot.floor:
        axes.plot(
            places,
            floors,
            color=style.FLOOR_COLOUR,
            linewidth=3.0,
            marker="_",
            markersize=10.0,
            markeredgewidth=3.0,
            linestyle="-" if plot.kind == "lines" else "none",
            zorder=1,
        )
    axes.errorbar(
        places,
        estimates,
        yerr=np.maximum(np.array([estimates - low, high - estimates]), 0.0),
        color=look.colour,
        marker=look.marker,
        markersize=4.5,
        markerfacecolor="white",
        linestyle=look.line if plot.kind == "lines" else "none",
        linewidth=1.2,
        elinewidth=1.0,
        clip_on=False,
        zorder=3,
    )


def _or(bound: float, estimate: float) -> float:
    return bound if np.isfinite(bound) else estimate


def _dodged(place: float, shift: float, plot: Plot, rows: pd.DataFrame) -> float:
    if plot.kind == "points":
        return place + shift * CATEGORY_DODGE
    values = [float(text) for text in values_of(rows, plot.x)]
    span = values[-1] / values[0] if plot.log_x else values[-1] - values[0]
    return place * span ** (shift * DODGE) if plot.log_x else place + shift * DODGE * span


def _ecdf(
    axes: Axes,
    plot: Plot,
    rows: pd.DataFrame,
    of_series: pd.DataFrame,
    look: style.Look,
    _shift: float,
    counts: list[tuple[int, int]],
) -> None:
    """Of all moves, those that failed included: they have no value, so the curve ends below 1."""
    values = np.sort(good(of_series)[plot.y].dropna().to_numpy(dtype=float))
    counts.append((of_series["run"].nunique(), len(of_series)))
    if len(values):
        fractions = np.arange(1, len(values) + 1) / len(of_series)
        # As far as any curve of the panel goes: what failed took longer than that.
        end = float(good(rows)[plot.y].max())
        x = np.concatenate([values[:1], values, [end]])
        steps = np.concatenate([[0.0], fractions, fractions[-1:]])
        style.ecdf_band(axes, x, steps, of_series["run"].nunique(), look)
        axes.step(
            x,
            steps,
            where="post",
            color=look.colour,
            linestyle=look.line,
            linewidth=look.width,
        )


def _axes(plot: Plot, rows: pd.DataFrame, grid: Sequence[Axes]) -> None:
    first = grid[0]
    for axes in grid:
        if plot.log_x:
            axes.set_xscale("log")
        if plot.kind == "ecdf":
            axes.set_ylim(0, 1.25)
            axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
            axes.margins(x=0.06)
            continue
        texts = values_of(rows, plot.x)
        places = [float(text) for text in texts] if plot.kind == "lines" else range(len(texts))
        axes.set_xticks(list(places), [_shown(plot, text) for text in texts])
        axes.set_xticks([], minor=True)
        if plot.kind == "points":
            axes.set_xlim(-0.5, len(texts) - 0.5)
            axes.grid(visible=False, axis="x")
        else:
            axes.margins(x=0.06)
    if plot.kind == "ecdf":
        first.set_ylabel(
            "Fraction of moves (1)" if plot.table == "runs" else "Fraction of runs (1)"
        )
        return
    first.set_ylabel(plot.y_label)
    if not plot.log_x:
        first.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    if plot.log_y:
        # From the decade that the least value is in, with a third of one above the largest.
        values = np.concatenate([line.get_ydata() for axes in grid for line in axes.get_lines()])
        known = values[np.isfinite(values)]
        if not len(known) or known.min() <= 0:
            low = float(known.min(initial=0.0))
            raise InputError(f"{plot.table}.csv", plot.y, low, "expected more than 0 for log_y")
        first.set_yscale("log")
        first.set_ylim(10 ** np.floor(np.log10(known.min())), known.max() * 2.5)
        return
    low, high = first.get_ylim()
    # Room for what is said at the top of the panel.
    first.set_ylim(min(low, 0.0), high + (high - min(low, 0.0)) * 0.18)


def _shown(plot: Plot, text: str) -> str:
    return plot.names.get(text) or text.replace("/", "/\n")


def _handle(look: style.Look, plot: Plot) -> Line2D:
    bare = plot.kind == "points"
    return Line2D(
        [],
        [],
        color=look.colour,
        linestyle="none" if bare else look.line,
        linewidth=1.2,
        marker="none" if plot.kind == "ecdf" else look.marker,
        markersize=4.5,
        markerfacecolor="white",
    )


def _note(plot: Plot, rows: pd.DataFrame, counts: list[tuple[int, int]]) -> str:
    """`counts` are runs and rows of each point or curve."""
    skipped = int(rows["status"].str.startswith(SKIPPED).sum())
    missing = int((rows["status"] != OK).sum()) - skipped
    what = "moves" if plot.table == "runs" else "flows"
    runs = [count for count, _ in counts] or [0]
    n = f"n = {_span(runs)} runs"
    if any(count != several for count, several in counts):
        n += f" ({_span([several for _, several in counts])} {what})"
    if plot.kind == "ecdf":
        text = f"ECDF over {what}, {n} per curve. Shaded: 95 % DKW bands for as many runs."
    else:
        text = f"{WHAT[plot.statistic]}, {n} per point."
    if missing and plot.statistic != "failed":
        told = "end below 1 for these" if plot.kind == "ecdf" else "are without them"
        shown = "Curves" if plot.kind == "ecdf" else "Points"
        text += f" {missing} of {len(rows)} {what} failed; {shown.lower()} {told}."
    if skipped:
        text += f" {skipped} {what} skipped: their engine can't run on this machine."
    if plot.floor:
        text += " Grey: floor (median)."
    return text


def _span(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low} to {high}"
