"""Which packets of a capture belong to a download, and which of its octets each of them has."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from experiments.captures.frames import (
    IPV6_BYTES,
    NEXT_HEADER_TCP,
    Booleans,
    Frames,
    Integers,
)
from experiments.declaration.flows import MptcpDownload, TcpDownload

DOWN, UP = 0, 1
TCP_SYN = 0x02
# NOP, NOP, timestamps option of 10 octets: how Linux begins the options of a data segment
# (the layout that RFC 7323 appendix A recommends), and that of Multipath TCP comes next.
TCP_TIMESTAMPS = 0x0101080A
AFTER_TIMESTAMPS = 32
# RFC 8684 section 3.3: kind, subtype, and the flags M and m of a data sequence number of 8 octets.
KIND_MPTCP, DSS, DSN_OF_8, ACK, ACK_OF_8 = 30, 2, 0x0C, 0x01, 0x02


class Segments(NamedTuple):
    """Columns over all frames; they say nothing where `which` is not. `sequence`: the first octet
    of data is 1. `stamp` tells packets apart that have the same octets."""

    which: Booleans
    sequence: Integers
    size: Integers
    stamp: Integers


def identify(
    declared: TcpDownload,
    frames: Frames,
    inner: Integers,
    next_header: Integers,
    direction: Integers,
) -> Segments:
    """`inner`: where the IPv6 header of the end hosts is in each frame. Segments that the MN threw
    away as they came count as lost (`_discarded`)."""
    transport = inner + IPV6_BYTES
    cn_port = frames.field(transport + np.where(direction == DOWN, 0, 2), 2)
    mine = (next_header == NEXT_HEADER_TCP) & (cn_port == declared.port)
    connection = _connections(frames, inner, mine, direction)
    payload_length = frames.field(inner + 4, 2)
    octets = payload_length - (frames.field(transport + 12, 1) >> 4) * 4
    raw = frames.field(transport + 4, 4)
    synchronise = frames.field(transport + 13, 1) & TCP_SYN != 0
    timestamps = frames.field(transport + 20, 4) == TCP_TIMESTAMPS
    value = np.where(timestamps, frames.field(transport + 24, 4), 0)
    which = np.zeros(len(raw), dtype=np.bool_)
    sequence = np.zeros(len(raw), dtype=np.int64)
    bases: dict[int, int] = {}
    for way in (DOWN, UP):
        data_sequence_base: int | None = None
        for number in range(int(connection.max(initial=-1)) + 1):
            sent = mine & (direction == way) & (connection == number)
            data = sent & (octets > 0) & (raw >= 0)
            first = np.flatnonzero(sent & synchronise)
            if not data.any():
                continue
            base = int(raw[first[0]]) if len(first) else int(raw[np.flatnonzero(data)[0]]) - 1
            which |= data
            relative = (raw - base) & 0xFFFF_FFFF
            if isinstance(declared, MptcpDownload):
                mapped = relative + _mapping(frames, transport, data, relative)
                if data_sequence_base is None:
                    data_sequence_base = int(mapped[data].min()) - 1
                sequence[data] = mapped[data] - data_sequence_base
                bases[way] = data_sequence_base
            else:
                # A later connection goes on where the one before was.
                sequence[data] = relative[data] + (number << 32)
    if DOWN in bases:
        acknowledged = _acknowledged(frames, transport, mine & (direction == UP), bases[DOWN])
        which &= ~_discarded(frames, which & (direction == DOWN), sequence, octets, acknowledged)
    # Multipath TCP may send the same octets over two subflows at once.
    stamp = value & 0x7FFF_FFFF | (connection & 1) << 31
    return Segments(which, sequence, octets, stamp)


def _connections(frames: Frames, inner: Integers, mine: Booleans, direction: Integers) -> Integers:
    """A number for each connection or subflow, by the MN's address, in order of time; -1: none."""
    found = np.full(len(mine), -1, dtype=np.int64)
    prefix = frames.field(inner + np.where(direction == DOWN, 24, 8), 8)
    ends, number = np.unique(prefix[mine], return_inverse=True)
    begun = np.full(len(ends), np.iinfo(np.int64).max)
    np.minimum.at(begun, number, frames.timestamp_ns[mine])
    rank = np.argsort(np.argsort(begun, kind="stable"), kind="stable")
    found[mine] = rank[number]
    return found


def _mapping(frames: Frames, transport: Integers, data: Booleans, relative: Integers) -> Integers:
    """What to add to a subflow's relative sequence number to get the data sequence number (RFC 8684
    section 3.3.1); segments without a mapping have that of the one before."""
    option = transport + AFTER_TIMESTAMPS
    flags = frames.field(option + 3, 1)
    known = data & (frames.field(option, 1) == KIND_MPTCP)
    known &= (frames.field(option + 2, 1) >> 4 == DSS) & (flags & DSN_OF_8 == DSN_OF_8)
    acknowledged = np.where(flags & ACK, np.where(flags & ACK_OF_8, 8, 4), 0)
    at = option + 4 + acknowledged
    difference = frames.field(at, 8) - frames.field(at + 8, 4)
    places = np.flatnonzero(known)
    if not len(places):
        return np.zeros(len(data), dtype=np.int64)
    order = places[np.argsort(relative[places], kind="stable")]
    before = np.searchsorted(relative[order], relative, side="right") - 1
    return np.where(known, difference, difference[order[np.maximum(before, 0)]])


class _Acknowledged(NamedTuple):
    """Instants in ns, in order, and the last octet of data that was acknowledged by then."""

    times: Integers
    octets: Integers


def _acknowledged(
    frames: Frames, transport: Integers, candidates: Booleans, base: int
) -> _Acknowledged:
    """Data ACKs (RFC 8684 section 3.3.2) that leave the MN; `base`: the data sequence number before
    the first octet."""
    option = transport + AFTER_TIMESTAMPS
    flags = frames.field(option + 3, 1)
    said = candidates & frames.outbound & (frames.field(option, 1) == KIND_MPTCP)
    said &= (frames.field(option + 2, 1) >> 4 == DSS) & (flags & ACK == ACK)
    low = np.where(flags & ACK_OF_8, option + 8, option + 4)
    octets = (frames.field(low, 4) - base - 1) & 0xFFFF_FFFF
    places = np.flatnonzero(said)
    places = places[np.argsort(frames.timestamp_ns[places], kind="stable")]
    return _Acknowledged(frames.timestamp_ns[places], np.maximum.accumulate(octets[places]))


def _discarded(
    frames: Frames, data: Booleans, sequence: Integers, size: Integers, acked: _Acknowledged
) -> Booleans:
    """Segments that arrived at the MN and whose octets all came again before the MN acknowledged
    them. When a subflow is closed, Linux throws away what it has behind a gap, and what still comes
    over it; the sender has to send all that again over another."""
    places = np.flatnonzero(data & ~frames.outbound)
    found = np.zeros(len(data), dtype=np.bool_)
    if not len(places):
        return found
    first, end, at = sequence[places], (sequence + size)[places], frames.timestamp_ns[places]
    edges = np.unique(np.concatenate([first, end]))
    begin = np.searchsorted(edges, first)
    pieces = np.searchsorted(edges, end) - begin
    segment = np.repeat(np.arange(len(places)), pieces)
    within = np.arange(len(segment)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    piece = begin[segment] + within
    until = np.full(len(edges), np.iinfo(np.int64).max)
    passed = np.searchsorted(acked.octets, edges[1:] - 1)
    known = passed < len(acked.times)
    until[:-1][known] = acked.times[passed[known]]
    in_time = at[segment] <= until[piece]
    kept = np.full(len(edges), np.iinfo(np.int64).min)
    np.maximum.at(kept, piece[in_time], at[segment][in_time])
    needed = np.zeros(len(places), dtype=np.int64)
    np.add.at(needed, segment, (at[segment] >= kept[piece]).astype(np.int64))
    found[places[needed == 0]] = True
    return found
