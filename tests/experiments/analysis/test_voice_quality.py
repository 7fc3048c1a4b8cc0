"""ITU-T G.107: published values, and what has to hold for any call."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.analysis.voice_quality import (
    G711,
    G729A,
    burst_ratio,
    call_quality,
    delay_impairment,
    loss_impairment,
    mean_opinion_score,
)


@pytest.mark.parametrize(
    ("rating", "score"), [(90, 4.34), (80, 4.03), (70, 3.60), (60, 3.10), (50, 2.58)]
)
def test_scores_are_those_of_g107_table_b1(rating: float, score: float) -> None:
    assert mean_opinion_score(rating) == pytest.approx(
        score, abs=0.0061
    )  # the table rounds 4.024 up


def test_a_perfect_g711_call_has_a_score_of_4_41() -> None:
    found = call_quality(np.full(100, 20.0), playout_ms=60.0)
    assert found.score == pytest.approx(4.41, abs=0.005)
    assert (found.missing, found.burst_ratio) == (0.0, 1.0)


def test_g107_7_4_delay_is_free_up_to_100_ms_and_costs_more_and_more() -> None:
    assert delay_impairment(100.0) == 0
    # Values of the formula, worked out by hand: X is 1 at 200 ms, and 2 at 400 ms.
    assert delay_impairment(200.0) == pytest.approx(25 * (2 ** (1 / 6) - 3.0006856 + 2), abs=1e-3)
    assert delay_impairment(400.0) == pytest.approx(
        25 * (65 ** (1 / 6) - 3 * (1 + (2 / 3) ** 6) ** (1 / 6) + 2)
    )


def test_g107_7_5_loss() -> None:
    assert loss_impairment(0.0, G729A) == 11
    assert loss_impairment(0.02, G711) == pytest.approx(95 * 2 / 27.1)
    assert loss_impairment(0.02, G711, burst_ratio=2.0) == pytest.approx(95 * 2 / 26.1)


def test_late_packets_are_lost_ones() -> None:
    delays = np.array([50.0] * 98 + [math.inf, 101.0])
    assert call_quality(delays, playout_ms=100.0).missing == pytest.approx(0.02)
    assert call_quality(delays, playout_ms=101.0).missing == pytest.approx(0.01)


def test_bursts() -> None:
    played = np.array([True] * 100)
    assert burst_ratio(played) == 1
    played[10:15] = False
    assert burst_ratio(played) == pytest.approx(5 * 0.95)
    played[:] = True
    played[::20] = False
    assert burst_ratio(played) == pytest.approx(0.95)


def test_a_call_without_packets_is_an_error() -> None:
    with pytest.raises(ValueError, match="delays_ms is empty"):
        call_quality(np.array([]))


@given(
    st.lists(st.one_of(st.floats(0, 500), st.just(math.inf)), min_size=1, max_size=60),
    st.floats(0, 400),
)
def test_scores_are_in_range_and_losing_a_packet_never_helps(
    delays: list[float], playout_ms: float
) -> None:
    values = np.array(delays)
    before = call_quality(values, playout_ms)
    assert 1 <= before.score <= 4.5
    values[np.argmin(values)] = math.inf
    assert call_quality(values, playout_ms).missing >= before.missing
