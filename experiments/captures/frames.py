"""Captured frames as columns, and time as this project records it.

A run has tens of thousands of captured packets, so header fields are gathered from all packets at
once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from experiments.captures import pcapng

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Octets = npt.NDArray[np.uint8]

# Recorded times are multiples of 10 us: in virtual time single instants differ by 1 us from run to
# run, because reading the clock advances it.
TICK_NS = 10_000
TICKS_PER_S = 100_000
TICKS_PER_MS = TICKS_PER_S / 1000
NO_TIME = np.iinfo(np.int64).min


ETHERNET_BYTES = 14
IPV6_BYTES = 40
UDP_BYTES = 8
NEXT_HEADER_TCP, NEXT_HEADER_UDP, NEXT_HEADER_IPV6 = 6, 17, 41
NEXT_HEADER_MOBILITY = 135


def ticks(timestamp_ns: Integers | int, start_ns: int) -> Integers:
    """Instants of the run in units of 10 us, rounded down, from nanoseconds of the epoch.

    In virtual time every event comes a few clock readings of 256 ns after the instant that it was
    planned for, and never before; two runs of one trial may differ by one or two such readings.
    Rounding down keeps them on the same side of the edge.
    """
    return np.asarray((timestamp_ns - start_ns) // TICK_NS, dtype=np.int64)


def seconds(instants: Integers) -> Floats:
    """Ticks as seconds; NO_TIME becomes NaN."""
    return np.where(instants == NO_TIME, np.nan, instants / TICKS_PER_S)


class Frames(NamedTuple):
    """The packets of a capture as columns; `start` is where a frame begins in `data`."""

    data: Octets
    start: Integers
    captured: Integers
    interface: Integers
    timestamp_ns: Integers
    outbound: Booleans

    def field(self, offset: Integers | int, size: int) -> Integers:
        """The big-endian number of `size` octets at `offset` of each frame.

        Where the frame was captured to less than that, the value is -1.
        """
        at = self.start + offset
        inside = np.asarray(offset) + size <= self.captured
        at = np.where(inside, at, 0)
        value = np.zeros(len(self.start), dtype=np.int64)
        for position in range(size):
            value = value << 8 | self.data[at + position]
        return np.where(inside, value, -1)

    def select(self, which: Booleans | Integers) -> Frames:
        """Some of the frames; by their places, in the order of these."""
        return Frames(
            self.data,
            self.start[which],
            self.captured[which],
            self.interface[which],
            self.timestamp_ns[which],
            self.outbound[which],
        )


def read_frames(data: bytes, source: str = "capture") -> tuple[list[str], Frames]:
    """Interface names and packets of a pcapng capture. Raises PcapngError."""
    interfaces, offsets = pcapng.scan(data, source)
    octets = np.frombuffer(data, dtype=np.uint8)
    block = np.array(offsets, dtype=np.int64)

    def little_endian(at: Integers) -> Integers:
        value = np.zeros(len(at), dtype=np.int64)
        for position in range(3, -1, -1):
            value = value << 8 | octets[at + position]
        return value

    interface = little_endian(block + 8)
    scale = np.array(
        [10 ** (pcapng.NANOSECONDS - entry.decimals) for entry in interfaces], dtype=np.int64
    )
    timestamp = little_endian(block + 12) << 32 | little_endian(block + 16)
    captured = little_endian(block + 20)
    start = block + pcapng.PACKET_DATA_OFFSET
    option = start + captured + -captured % 4
    end = block + little_endian(block + 4) - 4
    # Our own writer puts the flags first; only other layouts need a walk through the options.
    plain = option + 8 <= end
    at = np.where(plain, option, 0)
    head = little_endian(at)
    plain &= head == (4 << 16 | pcapng.OPTION_EPB_FLAGS)
    flags = np.where(plain, little_endian(at + 4) & pcapng.DIRECTION_BITS, 0)
    for number in np.flatnonzero(~plain):
        flags[number] = pcapng.direction_flags(data, int(block[number]))
    if np.any((flags != pcapng.INBOUND) & (flags != pcapng.OUTBOUND)):
        raise pcapng.PcapngError(f"{source}: packets without a direction (epb_flags)")
    return [entry.name for entry in interfaces], Frames(
        octets,
        start,
        captured,
        interface,
        timestamp * scale[interface] if len(interfaces) else timestamp,
        flags == pcapng.OUTBOUND,
    )
