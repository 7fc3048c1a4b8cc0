"""Rates that change as those of a cellular link do: packet-delivery traces in mahimahi's format.

A line is the time, in ms from the beginning, at which one packet of 1500 octets can be delivered;
several lines with the same time are several packets. The last time is the period after which the
trace begins again.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nodes.strict import MISSING, InputError
from topologies.model import BITS_PER_BYTE

PACKET_OCTETS = 1500  # mahimahi's unit of delivery
# Never none at all: a link of rate 0 would keep its packets for ever.
LEAST_MBIT = 0.05
MOST_DIGITS = 12  # 30 years


class CellularTrace(NamedTuple):
    """`opportunities_ms`: sorted; `period_ms`: its last."""

    opportunities_ms: npt.NDArray[np.int64]

    @property
    def period_ms(self) -> int:
        return int(self.opportunities_ms[-1])

    def rates_mbit(self, window_ms: int, duration_ms: int) -> npt.NDArray[np.float64]:
        """The rate in each window of `window_ms` ms until `duration_ms`, at least LEAST_MBIT."""
        windows = -(-duration_ms // window_ms)
        edges = np.arange(windows + 1) * window_ms
        counts = np.diff([self._until(int(edge)) for edge in edges])
        return np.maximum(counts * PACKET_OCTETS * BITS_PER_BYTE / (window_ms * 1000), LEAST_MBIT)

    def _until(self, edge_ms: int) -> int:
        """Opportunities up to and including `edge_ms`."""
        rounds, rest = divmod(edge_ms, self.period_ms)
        within = int(np.searchsorted(self.opportunities_ms, rest, side="right"))
        return rounds * len(self.opportunities_ms) + within


def read_trace(path: Path) -> CellularTrace:
    """Raises InputError, naming file and line."""
    try:
        lines = path.read_text(encoding="ascii").split()
    except OSError as error:
        raise InputError(str(path), "(file)", MISSING, f"can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(str(path), "(file)", MISSING, "is not text") from None
    times = [_time(path, number, line) for number, line in enumerate(lines, 1)]
    for number, (before, after) in enumerate(pairwise(times), 2):
        if after < before:
            raise InputError(str(path), f"line {number}", after, f"expected {before} or more")
    if not times or times[-1] == 0:
        raise InputError(str(path), "(file)", MISSING, "expected a last time greater than 0")
    return CellularTrace(np.array(times, dtype=np.int64))


def _time(path: Path, number: int, text: str) -> int:
    if not text.isdecimal() or len(text) > MOST_DIGITS:
        expected = f"expected whole milliseconds, of at most {MOST_DIGITS} digits"
        raise InputError(str(path), f"line {number}", text, expected)
    return int(text)


def generate_trace(
    mean_mbit: float, seed: int, duration_s: int = 60, spread: float = 0.5, memory_s: float = 2.0
) -> CellularTrace:
    """A trace whose rate wanders around `mean_mbit`: the exponential of an Ornstein-Uhlenbeck
    process with standard deviation `spread` and correlation time `memory_s`, in steps of 1 ms.

    The same arguments give the same trace. Raises ValueError if nothing would ever be delivered.
    """
    rng = np.random.default_rng(seed)
    steps = duration_s * 1000
    decay = float(np.exp(-1 / (memory_s * 1000)))
    noise = rng.standard_normal(steps) * spread * np.sqrt(1 - decay**2)
    level = np.empty(steps)
    value = spread * float(rng.standard_normal())
    for step in range(steps):
        value = value * decay + float(noise[step])
        level[step] = value
    rate_mbit = mean_mbit * np.exp(level - spread**2 / 2)
    due = np.floor(np.cumsum(rate_mbit * 1000 / (PACKET_OCTETS * BITS_PER_BYTE))).astype(np.int64)
    packets = np.diff(due, prepend=0)
    times = np.repeat(np.arange(1, steps + 1), packets)
    if not len(times):
        raise ValueError(f"mean_mbit is {mean_mbit}; expected enough for one packet at least")
    # The period is the whole duration, even if the last packet is due earlier.
    return CellularTrace(np.append(times[:-1], steps))


def write_trace(trace: CellularTrace, path: Path) -> None:
    path.write_text("".join(f"{time}\n" for time in trace.opportunities_ms), encoding="ascii")
