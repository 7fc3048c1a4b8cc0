"""Rows of a table by the values of their columns, and what a statistic says of them.

What experiments declare (figures, numbers, tables) is all made of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from experiments.analysis.measure import OK
from experiments.declaration.declarations import Statistic, Where
from experiments.evaluation.results import Results, good
from experiments.evaluation.statistics import (
    Interval,
    bootstrap_interval,
    largest,
    quantile_interval,
    share_interval,
)
from nodes.strict import InputError

# What makes two moves of different points the same one.
PAIR = ("seed", "flow", "move")


def select(results: Results, table: str, where: Where, columns: Sequence[str]) -> pd.DataFrame:
    """The rows of `runs` or `flows` that have these values, numbers compared as they are written.
    Raises InputError if the table lacks a column, or no row is left."""
    rows = results.runs if table == "runs" else results.flows
    absent = [name for name in (*columns, *where) if name not in rows.columns]
    if absent:
        known = ", ".join(rows.columns)
        raise InputError(f"{table}.csv", "columns", absent, f"expected some of {known}")
    for column, value in where.items():
        wanted = [as_text(one) for one in (value if isinstance(value, list) else [value])]
        rows = rows[rows[column].map(as_text).isin(wanted)]
    if not len(rows):
        raise InputError(f"{table}.csv", "where", dict(where), "leaves no rows")
    return rows


def as_text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def values_of(rows: pd.DataFrame, column: str | None) -> list[str]:
    """The distinct values, as text, numbers in order and names in that of the experiment."""
    if column is None:
        return [""]
    found = rows[column].dropna()
    if pd.api.types.is_numeric_dtype(found):
        return [f"{value:g}" for value in sorted(found.unique())]
    return [str(value) for value in found.unique()]


def of(rows: pd.DataFrame, column: str | None, value: str) -> pd.DataFrame:
    return rows if column is None else rows[rows[column].map(as_text) == value]


def estimate(rows: pd.DataFrame, y: str, statistic: Statistic) -> Interval:
    """A statistic of column `y` as `over_values` has it, of rows that are ok; or the share that
    failed, with Wilson's interval, which needs no `y`."""
    if statistic == "failed":
        return share_interval(int((rows["status"] != OK).sum()), len(rows))
    if statistic == "max":
        return largest(good(rows)[y].to_numpy(dtype=float))
    return over_values(of_runs(rows, y), statistic)


def of_runs(rows: pd.DataFrame, y: str) -> npt.NDArray[np.float64]:
    """Column `y` of rows that are ok, one value a run, the mean of its rows: what moves in one run
    is not independent."""
    known = good(rows).dropna(subset=[y])
    return known.groupby("run", sort=False)[y].mean().to_numpy(dtype=float)


def over_values(values: npt.NDArray[np.float64], statistic: Statistic) -> Interval:
    """Mean and median with BCa bootstrap interval; other quantiles (p90) with that of order
    statistics; the largest with none."""
    if statistic == "max":
        return largest(values)
    if statistic in ("mean", "median"):
        return bootstrap_interval(values, statistic)
    return quantile_interval(values, int(statistic.removeprefix("p")) / 100)


def paired_difference(
    rows: pd.DataFrame, less: pd.DataFrame, y: str, statistic: Statistic
) -> Interval:
    """Of `rows` less `less`, pair by pair of the same seed, flow and move; pairs of one seed count
    as one value, because the run is the unit. Raises ValueError if pairs aren't unique."""
    keys = [name for name in PAIR if name in rows.columns]
    first, second = (good(part).set_index(keys)[y] for part in (rows, less))
    if not (first.index.is_unique and second.index.is_unique):
        raise ValueError(f"{y}: several rows have the same {', '.join(keys)}")
    differences = (first - second).dropna().groupby("seed").mean().to_numpy(dtype=float)
    return over_values(differences, statistic)
