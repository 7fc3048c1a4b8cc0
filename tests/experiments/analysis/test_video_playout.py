import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.analysis.video_playout import playout

SECOND = 125_000.0  # octets of a second of video at 1 Mbit/s


def test_a_stream_that_comes_as_fast_as_it_plays_starts_and_never_stalls() -> None:
    found = playout(np.arange(20.0), np.full(20, SECOND), 1.0, start_s=2.0)
    assert found == (1.0, 0, 0.0)


def test_a_gap_longer_than_the_buffer_is_a_stall() -> None:
    # Two seconds of video at 0 and 1; nothing until 5: empty at 3, when a second more would be due.
    times = np.array([0.0, 1.0, 5.0, 6.0])
    found = playout(times, np.full(4, SECOND), 1.0, start_s=2.0, resume_s=1.0)
    assert found == (1.0, 1, 2.0)


def test_playing_goes_on_only_with_enough_in_the_buffer() -> None:
    times = np.array([0.0, 1.0, 5.0, 6.0])
    found = playout(times, np.full(4, SECOND), 1.0, start_s=2.0, resume_s=2.0)
    assert found == (1.0, 1, 3.0)


def test_a_stall_without_end_counts_up_to_the_last_octet() -> None:
    times = np.array([0.0, 1.0, 5.0, 6.0])
    found = playout(times, np.array([SECOND, SECOND, 1.0, 1.0]), 1.0, start_s=2.0)
    assert found == (1.0, 1, 3.0)


def test_too_little_video_never_starts() -> None:
    assert playout(np.array([0.0]), np.array([SECOND]), 1.0) == (None, 0, 0.0)
    assert playout(np.array([]), np.array([]), 1.0) == (None, 0, 0.0)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="octets has 1 values; expected 2"):
        playout(np.array([0.0, 1.0]), np.array([1.0]), 1.0)
    with pytest.raises(ValueError, match="received_s falls"):
        playout(np.array([1.0, 0.0]), np.array([1.0, 1.0]), 1.0)


@given(
    st.lists(st.tuples(st.floats(0, 3), st.floats(0, 3)), min_size=1, max_size=40),
    st.floats(0.1, 4),
    st.floats(0.1, 4),
)
def test_time_is_startup_play_or_stall(
    steps: list[tuple[float, float]], start_s: float, resume_s: float
) -> None:
    times = np.cumsum([step for step, _ in steps])
    found = playout(
        times, np.array([amount for _, amount in steps]) * SECOND, 1.0, start_s, resume_s
    )
    span = times[-1] - times[0]
    if found.startup_s is None:
        assert found[1:] == (0, 0.0)
    else:
        played = span - found.startup_s - found.stalled_s
        assert -1e-9 <= played <= sum(amount for _, amount in steps) + 1e-9
        assert (found.stalled_s > 0) <= (found.stalls > 0)
