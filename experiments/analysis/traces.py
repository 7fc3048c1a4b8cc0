"""What happened to the packets of a flow: counts, reordering, goodput, and where they went."""

from __future__ import annotations

import numpy as np
import pandas as pd

from experiments.captures.frames import TICKS_PER_S, Floats, Integers
from topologies.model import BITS_PER_BYTE

NEVER = int(np.iinfo(np.int64).max)


class Trace:
    """A flow's packets as arrays in ticks of 10 us; a time that is not known is NEVER."""

    def __init__(self, packets: pd.DataFrame, flow: str) -> None:
        mine = packets[packets["flow"].to_numpy() == flow]
        is_down = mine["direction"].to_numpy() == "down"
        self.down = Way(mine[is_down])
        self.up = Way(mine[~is_down])

    def strayed(self, start: str) -> int:
        """Packets that arrived over, or went up through, an access other than `start`."""
        down, up = self.down, self.up
        arrived = (down.received != NEVER) & (down.access != start)
        left = (up.access != start) | ((up.lma != NEVER) & (up.lma_access != start))
        return int(arrived.sum() + left.sum())

    def first_over(self, access: str, decision: int, lma_from: int) -> int | None:
        """When the first packet over `access` after a decision arrived at the MN, of those that the
        LMA sent at `lma_from` or later: what had gone that way before is none of the move's doing.
        """
        down = self.down
        over_new = (down.access == access) & (down.received >= decision) & (down.received != NEVER)
        over_new &= down.lma >= lma_from
        return int(down.received[over_new].min()) if over_new.any() else None


class Way:
    def __init__(self, table: pd.DataFrame) -> None:
        self.sequence: Integers = table["sequence"].to_numpy(dtype=np.int64)
        self.bytes: Integers = table["bytes"].to_numpy(dtype=np.int64)
        self.sent = _to_ticks(table["sent_s"])
        self.lma = _to_ticks(table["lma_s"])
        self.received = _to_ticks(table["received_s"])
        self.access = table["access"].to_numpy(dtype=object)
        self.lma_access = table["lma_access"].to_numpy(dtype=object)
        self.overhead: Integers = table["overhead"].to_numpy(dtype=np.int64)

    def between(self, start: int, end: int) -> Way:
        which = (self.sent >= start) & (self.sent < end)
        part = object.__new__(Way)
        for name, column in vars(self).items():
            setattr(part, name, column[which])
        return part

    def sent_s(self) -> Floats:
        known = self.sent[self.sent != NEVER]
        return np.unique(known) / TICKS_PER_S


def _to_ticks(column: pd.Series[float]) -> Integers:
    values = column.to_numpy(dtype=np.float64)
    known = np.isfinite(values)
    return np.where(
        known, np.rint(np.where(known, values, 0.0) * TICKS_PER_S).astype(np.int64), NEVER
    )


def count(way: Way, tcp: bool = False) -> dict[str, int]:
    """Packets sent, received (at least one copy), lost, duplicated (copies beyond the first) and
    reordered, of the packets in `way`.

    A UDP packet is its sequence number; a TCP segment sent again is another packet, so there the
    order of sending counts, and reordering is that of the network.
    """
    identity = _identity(way, tcp)
    arrived = way.received != NEVER
    sent = int(identity.max()) + 1 if len(identity) else 0
    received = len(np.unique(identity[arrived]))
    return {
        "sent": sent,
        "received": received,
        "lost": sent - received,
        "duplicated": int(arrived.sum()) - received,
        "reordered": reordered(first_arrivals(way, tcp)[0]),
    }


def _identity(way: Way, tcp: bool) -> Integers:
    """Which packet each row is a copy of: numbers from 0 in the order of sending."""
    number = way.sequence
    if tcp:
        _, sending = np.unique(way.sent, return_inverse=True)
        number = sending.astype(np.int64) << 33 | way.sequence
    _, identity = np.unique(number, return_inverse=True)
    return identity.astype(np.int64)


def first_arrivals(way: Way, tcp: bool = False) -> tuple[Integers, Integers]:
    """The number of each packet that arrived, by its first copy, in order of arrival, and when."""
    arrived = np.flatnonzero(way.received != NEVER)
    arrived = arrived[np.argsort(way.received[arrived], kind="stable")]
    number = _identity(way, tcp)[arrived]
    _, first = np.unique(number, return_index=True)
    first.sort()
    return number[first], way.received[arrived][first]


def reordered(arrivals: Integers) -> int:
    """Type-P-reordered packets (RFC 4737 section 3) among sequence numbers in order of arrival.

    A packet is reordered if it arrives after one with a larger number. Of several copies only the
    first to arrive counts.
    """
    _, first = np.unique(arrivals, return_index=True)
    order = arrivals[np.sort(first)]
    if not len(order):
        return 0
    return int((order < np.maximum.accumulate(order)).sum())


def goodput(
    packets: pd.DataFrame, flow: str, bin_s: float = 0.1, origin_s: float = 0.0
) -> pd.DataFrame:
    """New data that reached the MN per bin: columns time_s (start of the bin, counted from
    `origin_s` of the run) and goodput_mbit_s.

    An octet counts when it first arrives; what arrives again counts for nothing. Bins begin at
    multiples of `bin_s` from the origin, from the bin of the first arrival to that of the last.
    """
    mine = packets[(packets["flow"] == flow) & (packets["direction"] == "down")]
    mine = mine[mine["received_s"].notna()]
    times, octets = new_octets(
        mine["sequence"].to_numpy(dtype=np.int64),
        mine["bytes"].to_numpy(dtype=np.int64),
        mine["received_s"].to_numpy(dtype=np.float64),
    )
    if not len(times):
        return pd.DataFrame({"time_s": [], "goodput_mbit_s": []}, dtype=np.float64)
    # Exact at the edges of bins: both are whole numbers of the resolution.
    instants = np.rint((times - origin_s) * TICKS_PER_S).astype(np.int64)
    number = instants // round(bin_s * TICKS_PER_S)
    first = int(number.min())
    sums = np.bincount(number - first, weights=octets)
    return pd.DataFrame(
        {
            "time_s": np.round((np.arange(len(sums)) + first) * bin_s, 9),
            "goodput_mbit_s": sums * BITS_PER_BYTE / bin_s / 1e6,
        }
    )


def new_octets(sequence: Integers, size: Integers, received_s: Floats) -> tuple[Floats, Integers]:
    """When octets arrived for the first time: instants and how many octets at each.

    Segments may overlap in any way, as they do when a retransmission is cut differently.
    """
    edges = np.unique(np.concatenate([sequence, sequence + size]))
    first, last = np.searchsorted(edges, sequence), np.searchsorted(edges, sequence + size)
    pieces = last - first
    segment = np.repeat(np.arange(len(sequence)), pieces)
    within = np.arange(len(segment)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    piece = first[segment] + within
    arrival = np.full(max(len(edges) - 1, 0), np.inf)
    np.minimum.at(arrival, piece, received_s[segment])
    length = np.diff(edges)
    known = np.isfinite(arrival)
    return arrival[known], length[known].astype(np.int64)
