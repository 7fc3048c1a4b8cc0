"""How much a path changed the order of packets: the metrics of RFC 4737.

All are of a packet's first copy to arrive. `reordered_percent` is the ratio (section 4.1);
`reordering_extent` the largest extent (section 4.2), that is how many places a packet is behind
the earliest that it should have preceded; `late_ms` the largest late time offset (section 4.3), how
long it is behind that one; `reordered_by_3` how many are 3-reordered (section 5): the three packets
that arrived before it should all have come after it, which a TCP sender without a better idea takes
for a loss.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.analysis.traces import Way, first_arrivals
from experiments.captures.frames import TICKS_PER_MS, Integers

N = 3


def reordering_columns(way: Way, tcp: bool = False) -> dict[str, Any]:
    """Of the packets in `way`; TCP's in the order of sending (`traces.count`)."""
    number, received = first_arrivals(way, tcp)
    if not len(number):
        return {}
    earliest = earliest_after(number)
    place = np.arange(len(number))
    late = earliest < place
    return {
        "reordered_percent": round(100 * float(late.mean()), 3),
        "reordering_extent": int((place - earliest).max()),
        "late_ms": round(int((received - received[earliest]).max()) / TICKS_PER_MS, 2),
        "reordered_by_3": n_reordered(number, N),
    }


def earliest_after(number: Integers) -> Integers:
    """For each packet, in order of arrival, the place of the earliest with a number that isn't
    less: its own place unless it is reordered."""
    found: Integers = np.searchsorted(np.maximum.accumulate(number), number)
    return found


def n_reordered(number: Integers, n: int) -> int:
    """How many packets arrived behind `n` in a row with larger numbers."""
    if len(number) <= n:
        return 0
    before = np.lib.stride_tricks.sliding_window_view(number, n)[:-1]
    return int((before.min(axis=1) > number[n:]).sum())
