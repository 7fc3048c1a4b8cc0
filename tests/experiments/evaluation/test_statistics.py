from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.evaluation.statistics import (
    bootstrap_interval,
    dkw_half_width,
    ecdf,
    quantile_interval,
    ranks,
    share_interval,
    what_runs_give,
)

VALUES = [30.1, 33.4, 36.8, 40.1, 43.4, 46.8]
finite = st.floats(-1e6, 1e6, allow_nan=False)


def test_equal_values_have_an_interval_of_width_zero() -> None:
    interval = bootstrap_interval([5.0] * 6)
    assert interval[:4] == (5.0, 5.0, 5.0, 6)
    assert interval.kind == "all values equal"


@pytest.mark.parametrize("values", [[], [3.0]])
def test_too_few_values_have_no_interval(values: list[float]) -> None:
    interval = bootstrap_interval(values)
    assert interval.n == len(values)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    assert math.isnan(interval.estimate) == (not values)


def test_values_that_are_missing_are_left_out() -> None:
    assert bootstrap_interval([1.0, math.nan, 3.0]).n == 2


def test_the_order_of_values_does_not_matter_and_the_seed_decides() -> None:
    assert bootstrap_interval(VALUES) == bootstrap_interval(VALUES[::-1])
    assert bootstrap_interval(VALUES, seed=1) != bootstrap_interval(VALUES, seed=2)


@given(st.lists(finite, min_size=2, max_size=8), st.sampled_from(["mean", "median"]))
def test_intervals_are_within_the_values(values: list[float], statistic) -> None:
    interval = bootstrap_interval(values, statistic)
    slack = 1e-9 * max(1.0, *map(abs, values))
    assert min(values) - slack <= interval.low <= interval.high <= max(values) + slack


def test_a_mean_interval_covers_about_as_often_as_it_says() -> None:
    draw = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        interval = bootstrap_interval(draw.normal(10.0, 1.0, 30))
        hits += interval.low <= 10.0 <= interval.high
    assert hits >= 180


def test_median_interval_from_order_statistics() -> None:
    # n = 6: the range covers the median with 1 - 2 / 2**6; no narrower pair reaches 95 %.
    interval = quantile_interval(VALUES)
    assert interval[:4] == (pytest.approx(38.45), 30.1, 46.8, 6)
    assert interval.level == pytest.approx(1 - 2 / 64)
    assert interval.kind == "order statistics"
    # n = 10, ranks 2 and 9: 97.9 % (the textbook pair).
    interval = quantile_interval(list(range(1, 11)))
    assert (interval.low, interval.high) == (2, 9)
    assert interval.level == pytest.approx(0.978515625)


def test_median_interval_of_too_few_values_says_what_it_covers() -> None:
    interval = quantile_interval([3.0, 1.0, 2.0])
    assert (interval.low, interval.high) == (1.0, 3.0)
    assert interval.level == pytest.approx(0.75)
    assert interval.kind == "range of the values"
    assert quantile_interval([1.0]).level == 0.0
    assert quantile_interval([]).n == 0


@pytest.mark.parametrize("quantile", [0.0, 1.0, -1.0])
def test_quantile_out_of_range(quantile: float) -> None:
    with pytest.raises(ValueError, match="expected more than 0"):
        quantile_interval(VALUES, quantile)


def test_what_runs_give_is_said_in_numbers() -> None:
    # The textbook pairs of ranks: 10 and 21 of 30, 6 and 15 of 20, 2 and 9 of 10.
    assert what_runs_give(30).startswith(
        "30 runs a point give a median between ranks 10 and 21, with 95.7 % confidence"
    )
    assert "ranks 6 and 15, with 95.9 %" in what_runs_give(20)
    assert "ranks 2 and 9, with 97.9 %" in what_runs_give(10)
    assert "ranks 1 and 4, with 87.5 %" in what_runs_give(4)
    assert "an ECDF within ±0.25 (DKW, 95 %)" in what_runs_give(30)
    assert what_runs_give(1) == "1 run a point gives no interval."


def test_ranks_of_a_high_quantile() -> None:
    # Of 30 values, the interval of the 90 % quantile; Conover (1999), chapter 3.2.
    found = ranks(30, 0.9)
    assert found is not None
    inside = sum(math.comb(30, k) * 0.9**k * 0.1 ** (30 - k) for k in range(found.low, found.high))
    assert found.confidence == pytest.approx(inside)
    assert found.confidence >= 0.95
    assert ranks(0) is None


def test_dkw_band() -> None:
    assert dkw_half_width(6) == pytest.approx(math.sqrt(math.log(40) / 12))
    assert dkw_half_width(1) == 1.0
    with pytest.raises(ValueError, match="n = 0"):
        dkw_half_width(0)


def test_ecdf() -> None:
    values, fractions = ecdf([2.0, 1.0, math.nan, 1.0, 4.0])
    assert values.tolist() == [1.0, 1.0, 2.0, 4.0]
    assert fractions.tolist() == [0.25, 0.5, 0.75, 1.0]


def test_wilson_interval_of_a_share() -> None:
    # Newcombe (1998), table I: 15 of 148.
    found = share_interval(15, 148)
    assert found.estimate == pytest.approx(15 / 148)
    assert (found.low, found.high) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert share_interval(0, 10).low == 0
    assert share_interval(0, 0).n == 0
    with pytest.raises(ValueError, match="hits = 3: expected 0 to 2"):
        share_interval(3, 2)
