from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.declaration.cellular_trace import (
    LEAST_MBIT,
    CellularTrace,
    generate_trace,
    read_trace,
    write_trace,
)
from nodes.strict import InputError


def test_rates_are_packets_of_1500_octets_per_window() -> None:
    trace = CellularTrace(np.array([1, 1, 2, 10]))
    # 3 packets of 12,000 bits in 5 ms, and 1 in the next 5.
    assert trace.rates_mbit(5, 10).tolist() == pytest.approx([7.2, 2.4])


def test_a_trace_begins_again_after_its_last_time() -> None:
    trace = CellularTrace(np.array([1, 1, 2, 10]))
    assert trace.rates_mbit(5, 30).tolist() == pytest.approx([7.2, 2.4] * 3)


def test_a_window_without_packets_keeps_a_trickle() -> None:
    assert CellularTrace(np.array([1, 100])).rates_mbit(10, 40)[1:].tolist() == [LEAST_MBIT] * 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\nx\n", r"line 2 is 'x'; expected whole milliseconds"),
        ("1\n-2\n", r"line 2 is '-2'; expected whole milliseconds"),
        ("5\n4\n", r"line 2 is 4; expected 5 or more"),
        ("0\n", r"expected a last time greater than 0"),
        ("", r"expected a last time greater than 0"),
        ("\N{SNOWMAN}", r"is not text"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "trace"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_trace(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be read: No such file"):
        read_trace(tmp_path / "none")


def test_written_and_read_again(tmp_path: Path) -> None:
    trace = generate_trace(5.0, seed=3, duration_s=10)
    write_trace(trace, tmp_path / "trace")
    assert (
        read_trace(tmp_path / "trace").opportunities_ms.tolist() == trace.opportunities_ms.tolist()
    )


def test_a_generated_trace_wanders_around_its_mean_and_repeats() -> None:
    trace = generate_trace(10.0, seed=1, duration_s=120)
    rates = trace.rates_mbit(1000, 120_000)
    assert trace.period_ms == 120_000
    assert 7 < rates.mean() < 13
    assert rates.std() > 2
    assert np.array_equal(trace.opportunities_ms, generate_trace(10.0, 1, 120).opportunities_ms)
    assert not np.array_equal(trace.opportunities_ms, generate_trace(10.0, 2, 120).opportunities_ms)


def test_a_rate_that_never_delivers_is_an_error() -> None:
    with pytest.raises(ValueError, match="mean_mbit is 0"):
        generate_trace(0.0, seed=1, duration_s=1)


@given(
    st.lists(st.integers(0, 500), min_size=1, max_size=50).map(sorted).filter(lambda t: t[-1] > 0),
    st.integers(1, 50),
    st.integers(1, 3),
)
def test_no_packet_is_lost_between_windows(times: list[int], window: int, rounds: int) -> None:
    trace = CellularTrace(np.array(times))
    duration = trace.period_ms * window * rounds
    rates = trace.rates_mbit(window, duration)
    busy = rates[rates > LEAST_MBIT]
    packets = busy.sum() * window * 1000 / 12_000
    assert packets == pytest.approx(len(times) * window * rounds)
