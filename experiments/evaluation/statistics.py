"""Intervals over runs: bootstrap for means and medians, order statistics for other quantiles, DKW
for an ECDF.

One value per run and move goes in, never one per packet: packets of one run are not independent.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

LEVEL = 0.95
RESAMPLES = 9999
_ROUNDING = 1e-12
Values = Sequence[float] | npt.NDArray[np.float64]


class Interval(NamedTuple):
    """An estimate with its interval. NaN bounds: too few values for one.

    `level` is the confidence that the interval has, which for order statistics is not just what
    was asked for; `kind` says in words what the interval is.
    """

    estimate: float
    low: float
    high: float
    n: int
    level: float
    kind: str


def _finite(values: Values) -> npt.NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    return np.sort(array[np.isfinite(array)])


def bootstrap_interval(
    values: Values,
    statistic: Literal["mean", "median"] = "mean",
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """Bias-corrected and accelerated bootstrap interval of the mean or the median.

    Values that are not finite are left out. Fewer than two values have no interval; values that
    are all equal have one of width 0. With fewer than about ten values the interval is narrower
    than its level promises. The same values (in any order) and seed give the same interval.
    """
    data = _finite(values)
    function = np.mean if statistic == "mean" else np.median
    estimate = float(function(data)) if len(data) else math.nan
    if len(data) < 2:
        return Interval(estimate, math.nan, math.nan, len(data), level, "none: fewer than 2 values")
    if data[0] == data[-1]:
        value = float(data[0])
        return Interval(value, value, value, len(data), level, "all values equal")
    kind = "BCa bootstrap"
    low, high = _bootstrap(data, statistic, level, seed, "BCa")
    if not (math.isfinite(low) and math.isfinite(high)):
        # The jackknife of a median may have no spread, which leaves BCa undefined.
        kind = "percentile bootstrap"
        low, high = _bootstrap(data, statistic, level, seed, "percentile")
    return Interval(estimate, low, high, len(data), level, kind)


def _bootstrap(
    data: npt.NDArray[np.float64],
    statistic: Literal["mean", "median"],
    level: float,
    seed: int,
    method: Literal["BCa", "percentile"],
) -> tuple[float, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        interval = stats.bootstrap(
            (data,),
            np.mean if statistic == "mean" else np.median,
            n_resamples=RESAMPLES,
            confidence_level=level,
            method=method,
            vectorized=True,
            axis=-1,
            rng=np.random.default_rng(seed),
        ).confidence_interval
    return float(interval.low), float(interval.high)


def quantile_interval(values: Values, quantile: float = 0.5, level: float = LEVEL) -> Interval:
    """Distribution-free interval of a quantile from two order statistics.

    That of `ranks`; where no pair reaches `level`, the range of the values, whose real coverage is
    in `level`. Raises ValueError unless 0 < quantile < 1.
    """
    data = _finite(values)
    n = len(data)
    found = ranks(n, quantile, level)
    if found is None:
        return Interval(math.nan, math.nan, math.nan, 0, 0.0, "none: no values")
    kind = "order statistics" if found.confidence >= level - _ROUNDING else "range of the values"
    low, high = float(data[found.low - 1]), float(data[found.high - 1])
    return Interval(float(np.quantile(data, quantile)), low, high, n, found.confidence, kind)


class Ranks(NamedTuple):
    """Ranks from 1 of two order statistics, and the confidence of the interval between them."""

    low: int
    high: int
    confidence: float


@cache
def ranks(n: int, quantile: float = 0.5, level: float = LEVEL) -> Ranks | None:
    """The narrowest pair of ranks around a quantile of `n` values whose binomial coverage reaches
    `level`; smallest and largest value when no pair does (fewer than 6 values, for a median at
    95 %), None without values. Raises ValueError unless 0 < quantile < 1."""
    if not 0 < quantile < 1:
        raise ValueError(f"quantile {quantile}: expected more than 0 and less than 1")
    if n == 0:
        return None
    # P(x[i] <= q < x[j]), ranks from 1, is P(i <= B < j) with B ~ Binomial(n, quantile).
    below = np.concatenate(([0.0], np.cumsum(stats.binom.pmf(np.arange(n + 1), n, quantile))))
    best: tuple[int, float, int, int] | None = None
    for i in range(1, n + 1):
        for j in range(i + 1, n + 1):
            coverage = float(below[j] - below[i])
            if coverage >= level - _ROUNDING:
                candidate = (j - i, -coverage, i, j)
                best = candidate if best is None else min(best, candidate)
                break
    if best is None:
        return Ranks(1, n, max(float(below[n] - below[1]), 0.0))
    _, negative, i, j = best
    return Ranks(i, j, -negative)


def what_runs_give(n: int) -> str:
    """How much `n` runs a point tell of a median and of a distribution, in a sentence."""
    found = ranks(n)
    if found is None or n < 2:
        return f"{n} run a point gives no interval." if n == 1 else "There are no runs."
    median = f"{n} runs a point give a median between ranks {found.low} and {found.high}, with "
    median += f"{100 * found.confidence:.1f} % confidence"
    ecdf_known = f"an ECDF within ±{dkw_half_width(n):.2f} (DKW, 95 %)"
    return f"{median}, and {ecdf_known}."


def largest(values: Values) -> Interval:
    """The largest value that is finite; it has no interval."""
    data = _finite(values)
    value = float(data[-1]) if len(data) else math.nan
    return Interval(value, math.nan, math.nan, len(data), 0.0, "none: the largest value")


def share_interval(hits: int, n: int, level: float = LEVEL) -> Interval:
    """Wilson's score interval of a share. Raises ValueError unless 0 <= hits <= n."""
    if not 0 <= hits <= n:
        raise ValueError(f"hits = {hits}: expected 0 to {n}")
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0, level, "none: no values")
    low, high = stats.binomtest(hits, n).proportion_ci(level, method="wilson")
    return Interval(hits / n, float(low), float(high), n, level, "Wilson")


def dkw_half_width(n: int, level: float = LEVEL) -> float:
    """Half the width of the Dvoretzky-Kiefer-Wolfowitz band of an ECDF of n values (Massart's
    constant), at most 1. Raises ValueError for n < 1."""
    if n < 1:
        raise ValueError(f"n = {n}: expected at least 1")
    return min(1.0, math.sqrt(math.log(2 / (1 - level)) / (2 * n)))


def ecdf(values: Values) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Sorted values and the fraction of values not larger than each."""
    data = _finite(values)
    return data, np.arange(1, len(data) + 1) / max(len(data), 1)
