"""The metrics of RFC 4737, against its definitions and examples worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.analysis.reordering import earliest_after, n_reordered, reordering_columns
from experiments.analysis.traces import Way


def way(arrivals: list[int], copies: tuple[int, ...] = ()) -> Way:
    """Packets sent every 10 ms that arrive every 10 ms from 1 s on in this order; after them, 10 ms
    apart as well, copies. Those that aren't in it are lost."""
    sent = sorted({*arrivals, *range(max(arrivals) + 1)})
    rows = [(number, 1 + arrivals.index(number) / 100) for number in arrivals]
    rows += [(number, float("nan")) for number in sent if number not in arrivals]
    rows += [(number, 1 + (len(arrivals) + n) / 100) for n, number in enumerate(copies)]
    return Way(
        pd.DataFrame(
            {
                "sequence": [number for number, _ in rows],
                "bytes": 100,
                "sent_s": [number / 100 for number, _ in rows],
                "lma_s": float("nan"),
                "received_s": [received for _, received in rows],
                "access": "wlan",
                "lma_access": "",
                "overhead": 0,
            }
        )
    )


@pytest.mark.parametrize(
    ("arrivals", "percent", "extent", "late_ms", "by_3"),
    [
        ([0, 1, 2, 3], 0.0, 0, 0.0, 0),
        # 4 is behind 5, 6, 7 and 8, the earliest of which came 40 ms before it.
        ([0, 1, 2, 3, 5, 6, 7, 8, 4, 9], 10.0, 4, 40.0, 1),
        # 4 and 5 are two late ones: 5 is five places behind 6, and 4 stands between.
        ([0, 1, 2, 3, 6, 7, 8, 9, 4, 5], 20.0, 5, 50.0, 1),
        # Two only are before it.
        ([0, 2, 3, 1], 25.0, 2, 20.0, 0),
    ],
)
def test_examples_rfc4737_4_and_5(
    arrivals: list[int], percent: float, extent: int, late_ms: float, by_3: int
) -> None:
    assert reordering_columns(way(arrivals)) == {
        "reordered_percent": percent,
        "reordering_extent": extent,
        "late_ms": late_ms,
        "reordered_by_3": by_3,
    }


def test_copies_and_losses_are_no_reordering_rfc4737_3() -> None:
    found = reordering_columns(way([0, 1, 4, 5], copies=(0, 1, 4)))
    assert found == dict.fromkeys(found, 0)
    assert reordering_columns(way([1]).between(0, 0)) == {}


@given(st.permutations(range(9)), st.integers(1, 4))
def test_definitions_rfc4737_4_2_and_5(arrivals: list[int], n: int) -> None:
    number = np.array(arrivals, dtype=np.int64)
    extents = [
        max((i - j for j in range(i) if arrivals[j] > arrivals[i]), default=0) for i in range(9)
    ]
    assert list(np.arange(9) - earliest_after(number)) == extents
    late = [i for i in range(n, 9) if all(arrivals[j] > arrivals[i] for j in range(i - n, i))]
    assert n_reordered(number, n) == len(late)
