"""What an experiment declares in its file to be made of its results: figures, numbers, tables."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec

Digits = Annotated[int, msgspec.Meta(ge=0, le=6)]
Statistic = Literal["mean", "median", "p5", "p10", "p90", "p95", "max", "failed"]
Where = dict[str, str | float | list[str | float]]
_LABEL = re.compile(r".+ \([^()]+\)\Z")


class Plot(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One figure, from `runs.csv` (moves) or `flows.csv`.

    `lines` and `points` show a statistic of column `y` (p90: what 90 % don't exceed) against the
    factor `x`, along an axis or as categories; `ecdf` shows the distribution of `y`, and `goodput`
    that of downloads over time around the instant at which they are judged (of `flows.csv`, from
    packets of the runs). Each
    `series` (a column) is a curve, each of `panels` (a column) a panel. `where` keeps the rows with
    these values. The share of moves that failed, `failed`, needs no column. `names` are what series
    and categories are called in the figure, `caption` says what it shows, `panel_text` says what
    the value of a panel, "{}", is.
    Labels end with a unit in brackets; (1) is none. `log_y` is for values above 0.
    """

    kind: Literal["lines", "points", "ecdf", "goodput"]
    y: str
    y_label: str
    x: str | None = None
    x_label: str = ""
    table: Literal["runs", "flows"] = "runs"
    statistic: Statistic = "mean"
    series: str | None = None
    panels: str | None = None
    where: Where = {}
    names: dict[str, str] = {}
    panel_text: str = "{}"
    log_x: bool = False
    log_y: bool = False
    floor: str | None = None
    caption: str = ""
    width: Literal["column", "page"] = "page"
    height_in: float = 2.6

    def __post_init__(self) -> None:
        without = self.kind in ("ecdf", "goodput")
        if without != (self.x is None):
            expected = "none" if without else "the column of a factor"
            raise ValueError(f"x is {self.x!r}; {self.kind} expects {expected}")
        labels = {"y_label": self.y_label}
        if self.kind == "lines" or self.x_label:
            labels["x_label"] = self.x_label
        for key, label in labels.items():
            if not _LABEL.match(label):
                expected = "expected quantity and unit, as in Delay (ms)"
                raise ValueError(f"{key} is {label!r}; {expected}")

    def columns(self) -> list[str]:
        """All columns that the table has to have."""
        used = [self.x, self.series, self.panels, self.floor, *self.where]
        used.append(None if self.statistic == "failed" else self.y)
        return [name for name in used if name is not None]


class Number(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A statistic of column `y` over the rows with `where`, or with `minus` its difference to the
    rows that have these values instead, in pairs of the same seed, flow and move. `scale`
    multiplies it: 100 makes a share a percentage. `within` says between which values its estimate
    has to be for what the experiment claims; then `{name-verdict}` in the answer says whether it
    is."""

    y: str
    statistic: Statistic = "mean"
    table: Literal["runs", "flows"] = "runs"
    where: Where = {}
    minus: Where = {}
    digits: Digits = 1
    scale: float = 1.0
    within: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.minus and self.statistic == "failed":
            raise ValueError('statistic is "failed"; expected one of values with minus')
        if self.within is not None and self.within[0] > self.within[1]:
            raise ValueError(f"within is {list(self.within)}; expected the lower bound first")


class TableColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`head` is what stands above it, with the unit."""

    head: str
    y: str
    statistic: Statistic = "mean"
    digits: Digits = 1


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A row for each combination of the values of `by`, which maps columns to what is printed above
    them; `names` are what their values are called."""

    by: dict[str, str]
    columns: tuple[TableColumn, ...]
    caption: str = ""
    table: Literal["runs", "flows"] = "runs"
    where: Where = {}
    names: dict[str, str] = {}


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of statements that no run measures: a row for each thing that is compared."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.heads):
                raise ValueError(
                    f"rows[{number}] has {len(row)} texts; expected {len(self.heads)}, one for "
                    "each of heads"
                )
