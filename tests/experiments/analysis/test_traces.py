from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.analysis.packets import COLUMNS
from experiments.analysis.traces import Trace, count, goodput, new_octets, reordered


def naive_reordered(arrivals: list[int]) -> int:
    """RFC 4737 section 3: NextExp, and only the first copy of a packet considered."""
    next_expected, seen, number = 0, set(), 0
    for sequence in arrivals:
        if sequence in seen:
            continue
        seen.add(sequence)
        if sequence >= next_expected:
            next_expected = sequence + 1
        else:
            number += 1
    return number


@given(st.lists(st.integers(0, 30), max_size=60))
def test_reordered_is_that_of_the_rfc(arrivals: list[int]) -> None:
    assert reordered(np.array(arrivals, dtype=np.int64)) == naive_reordered(arrivals)


@pytest.mark.parametrize(
    ("arrivals", "expected"),
    [([], 0), ([1, 2, 3], 0), ([1, 3, 2], 1), ([4, 1, 2, 3], 3), ([1, 2, 1, 3], 0), ([2, 1, 1], 1)],
)
def test_reordered_examples(arrivals: list[int], expected: int) -> None:
    assert reordered(np.array(arrivals, dtype=np.int64)) == expected


def table(*rows: tuple[object, ...]) -> pd.DataFrame:
    """Rows (sequence, bytes, sent, received, access) of flow f, downlink."""
    return pd.DataFrame(
        [
            ("f", "down", sequence, size, sent, sent, access, received, access, 40)
            for sequence, size, sent, received, access in rows
        ],
        columns=COLUMNS,
    )


def test_counts_of_a_datagram_flow() -> None:
    way = Trace(
        table(
            (0, 100, 0.00, 0.10, "wlan"),
            (1, 100, 0.02, np.nan, ""),
            (2, 100, 0.04, 0.30, "cell"),
            (2, 100, 0.04, 0.31, "cell"),
            (3, 100, 0.06, 0.16, "wlan"),
        ),
        "f",
    ).down
    assert count(way) == {"sent": 4, "received": 3, "lost": 1, "duplicated": 1, "reordered": 1}


def test_a_tcp_retransmission_is_another_packet() -> None:
    way = Trace(
        table(
            (1, 1000, 0.0, np.nan, ""),
            (1001, 1000, 0.1, 0.2, "wlan"),
            (1, 1000, 0.4, 0.5, "wlan"),
        ),
        "f",
    ).down
    assert count(way, tcp=True) == {
        "sent": 3,
        "received": 2,
        "lost": 1,
        "duplicated": 0,
        "reordered": 0,
    }


def test_strayed_counts_packets_over_another_access() -> None:
    trace = Trace(table((0, 1, 0.0, 0.1, "wlan"), (1, 1, 0.1, 0.2, "cell")), "f")
    assert trace.strayed("wlan") == 1
    assert trace.strayed("cell") == 1


@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.integers(1, 20), st.integers(0, 50)),
        min_size=1,
        max_size=30,
    )
)
def test_an_octet_counts_when_it_first_arrives(segments: list[tuple[int, int, int]]) -> None:
    first: dict[int, int] = {}
    for sequence, size, at in segments:
        for octet in range(sequence, sequence + size):
            first[octet] = min(first.get(octet, at), at)
    sequence, size, at = (
        np.array(column, dtype=np.int64) for column in zip(*segments, strict=True)
    )
    times, octets = new_octets(sequence, size, at.astype(float))
    by_time: dict[int, int] = {}
    for moment in first.values():
        by_time[moment] = by_time.get(moment, 0) + 1
    found: dict[int, int] = {}
    for moment, number in zip(times.tolist(), octets.tolist(), strict=True):
        found[int(moment)] = found.get(int(moment), 0) + number
    assert found == by_time


def test_goodput_bins_are_aligned_to_the_origin() -> None:
    packets = table(
        (1, 1250, 0.0, 11.95, "wlan"),  # bin -0.1
        (1251, 1250, 0.0, 12.0, "wlan"),  # just on the edge: bin 0
        (1251, 1250, 0.0, 12.01, "wlan"),  # nothing new
        (2501, 2500, 0.0, 12.25, "cell"),  # bin 0.2
    )
    rates = goodput(packets, "f", 0.1, origin_s=12.0)
    assert rates["time_s"].tolist() == [-0.1, 0.0, 0.1, 0.2]
    assert rates["goodput_mbit_s"].tolist() == pytest.approx([0.1, 0.1, 0.0, 0.2])


def test_goodput_of_nothing_is_empty() -> None:
    assert len(goodput(table((1, 10, 0.0, np.nan, "")), "f")) == 0
