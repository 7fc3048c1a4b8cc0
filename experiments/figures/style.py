"""How figures look: two widths, 8 pt, a palette that survives colour blindness and greyscale.

Every series differs in line style and marker too. Files are the same bytes whenever and wherever
the same data is drawn with the same matplotlib: no dates, no version, and fonts that come with it.
"""

from __future__ import annotations

import functools
import io
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.declaration.job import write_atomically
from experiments.evaluation.statistics import Values, dkw_half_width

COLUMN_IN = 3.33
PAGE_IN = 7.0
POINTS_PER_IN = 72
TEXT_POINTS = 8.0
LINE_SPACING = 1.3
# Of this font at 8 pt, measured on the notes of these figures.
CHARACTERS_PER_IN = 16.5
BAND_ALPHA = 0.1
# Of positions in the figure, whose size is 1.
LAYOUT_DECIMALS = 4

# Any: matplotlib types its keys as a union of all settings.
RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": TEXT_POINTS,
    "axes.labelsize": TEXT_POINTS,
    "axes.titlesize": TEXT_POINTS,
    "xtick.labelsize": TEXT_POINTS,
    "ytick.labelsize": TEXT_POINTS,
    "legend.fontsize": TEXT_POINTS,
    "figure.titlesize": TEXT_POINTS,
    # TrueType, as submission systems demand; the default, Type 3, is refused.
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "pdf.compression": 6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.0,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "legend.columnspacing": 1.4,
    "errorbar.capsize": 2.0,
    "savefig.dpi": 300,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
}

# The palette of Okabe and Ito.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
FLOOR_COLOUR = "0.78"


class Look(NamedTuple):
    """`width` and `size` (points) differ so that curves that coincide can still be told apart:
    what is drawn later is thinner."""

    colour: str
    line: Any
    marker: str
    width: float
    size: float


MODELS: Mapping[str, Look] = {
    "shared": Look(BLUE, "-", "o", 2.2, 7.0),
    "unique/on-ack": Look(VERMILION, (0, (4, 1.5)), "s", 1.6, 5.0),
    "unique/on-send": Look(GREEN, (0, (2, 1.2)), "^", 1.4, 4.5),
    "unique/in-place": Look(SKY, (0, (3, 1, 1, 1)), "X", 1.4, 4.5),
    "hybrid": Look(BLACK, (0, (1, 1.6)), "D", 1.2, 2.5),
    "hybrid/on-send": Look(PURPLE, (0, (5, 1, 1, 1)), "v", 1.0, 3.0),
    "dynamic": Look(ORANGE, (0, (6, 1.5)), "P", 1.2, 4.0),
}
OTHER_MODEL = Look(SKY, (0, (3, 1, 1, 1, 1, 1)), "P", 1.0, 4.0)
SERIES = [
    Look(BLUE, "-", "o", 1.6, 4.5),
    Look(VERMILION, (0, (4, 1.5)), "s", 1.5, 4.5),
    Look(GREEN, (0, (2, 1.2)), "^", 1.4, 4.5),
    Look(BLACK, (0, (1, 1.6)), "D", 1.3, 3.5),
    Look(PURPLE, (0, (5, 1, 1, 1)), "v", 1.2, 4.5),
    Look(ORANGE, (0, (6, 1.5)), "P", 1.2, 4.5),
    Look(SKY, (0, (3, 1, 1, 1, 1, 1)), "X", 1.2, 4.5),
]
ACCESSES = [
    Look(BLUE, "-", "o", 1.2, 4.0),
    Look(ORANGE, "--", "s", 1.2, 4.0),
    Look(GREEN, ":", "^", 1.2, 4.0),
    Look(PURPLE, "-.", "D", 1.2, 4.0),
]
COUNTS: Mapping[str, Look] = {
    "lost": Look(VERMILION, "none", "X", 1.2, 5.0),
    "reordered": Look(BLUE, "none", "o", 1.2, 4.5),
    "duplicated": Look(ORANGE, "none", "D", 1.2, 4.0),
}


def model_look(model: str) -> Look:
    return MODELS.get(model, OTHER_MODEL)


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """A function that draws under this module's settings, whatever the process's own are, and
    whose figure has its final layout."""

    @functools.wraps(draw)
    def wrapped(*args: Any, **kwargs: Any) -> Figure:
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(RC)
            figure = draw(*args, **kwargs)
            _freeze_layout(figure)
            return figure

    return wrapped


def _freeze_layout(figure: Figure) -> None:
    """Lay the figure out once and for all, on a grid far finer than anyone can see.

    The constraint solver orders its equations by addresses in memory, so its results differ in
    their last bits from call to call, and with them the shades of single pixels.
    """
    figure.draw_without_rendering()
    positions = [axes.get_position() for axes in figure.axes]
    figure.set_layout_engine("none")
    for axes, box in zip(figure.axes, positions, strict=True):
        axes.set_position(tuple(round(value, LAYOUT_DECIMALS) for value in box.bounds))


def new_figure(width_in: float, height_in: float) -> Figure:
    return Figure(figsize=(width_in, height_in), layout="constrained")


def note(figure: Figure, *sentences: str) -> None:
    """State under the axes what is shown: n, kind of interval, conditions."""
    width, height = figure.get_size_inches()
    text = textwrap.fill(
        " ".join(sentences), int(width * CHARACTERS_PER_IN), break_on_hyphens=False
    )
    lines = text.count("\n") + 1
    room = (lines * TEXT_POINTS * LINE_SPACING + 4) / POINTS_PER_IN / height
    figure.text(0.01, 0.01, text, ha="left", va="bottom", color="0.25", linespacing=LINE_SPACING)
    engine: Any = figure.get_layout_engine()
    engine.set(rect=(0, room, 1, 1 - room))


def panel_label(axes: Axes, text: str) -> None:
    """Say in the plot, at its top left, what this panel is about."""
    axes.annotate(
        text,
        xy=(0, 1),
        xytext=(4, -3),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="left",
        va="top",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
        zorder=10,
    )


def ecdf_band(axes: Axes, x: Values, fractions: Values, runs: int, look: Look) -> None:
    """The 95 % DKW band of an ECDF that steps at `x`, for as many independent runs."""
    half = dkw_half_width(max(runs, 1))
    low, high = (np.clip(np.asarray(fractions) + sign * half, 0, 1) for sign in (-1, 1))
    shade: dict[str, Any] = {"color": look.colour, "alpha": BAND_ALPHA, "linewidth": 0}
    axes.fill_between(x, low, high, step="post", zorder=0.5, **shade)


def legend_above(figure: Figure, handles: list[Any], labels: list[str]) -> None:
    """One legend for all panels, above them, in as many rows as it takes: it covers no data."""
    bare = all(
        isinstance(handle, Line2D) and handle.get_linestyle() == "None" for handle in handles
    )
    length = 1.0 if bare else 2.6
    widest = (
        max(map(len, labels)) / CHARACTERS_PER_IN + (length + 2.2) * TEXT_POINTS / POINTS_PER_IN
    )
    columns = max(1, min(len(labels), int(figure.get_size_inches()[0] / widest)))
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, handlelength=length)


def runs_count(counts: tuple[int, int], unit: str) -> str:
    """How many runs each curve, point or panel (`unit`) stands for; `counts` are those that are
    complete and those expected, where most are missing."""
    present, expected = counts
    if present == expected:
        return f"n = {present} runs per {unit}"
    return f"n = {present} of {expected} runs per {unit} where runs are missing, else {expected}"


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `stem`.pdf and `stem`.png so that each appears whole; returns their paths."""
    written = []
    without_dates: dict[str, dict[str, Any]] = {
        "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
        "png": {"Software": None},
    }
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(RC)
        for kind, metadata in without_dates.items():
            path = stem.with_name(f"{stem.name}.{kind}")
            # In memory first: on a full disk the PDF backend hides the error behind one of its own.
            drawn = io.BytesIO()
            figure.savefig(drawn, format=kind, metadata=metadata)
            write_atomically(path, drawn.getvalue())
            written.append(path)
    return written
