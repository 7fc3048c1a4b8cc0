"""Reading and writing the part of pcapng (draft-ietf-opsawg-pcapng) that captures here use.

One little-endian section; Ethernet interfaces with a name (if_name) and nanosecond timestamps
(if_tsresol 9); enhanced packet blocks whose epb_flags option tells the direction. Standard library
only: the guest imports this module, where every import costs real time.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

SECTION_HEADER = 0x0A0D0D0A
INTERFACE_DESCRIPTION = 1
ENHANCED_PACKET = 6

BYTE_ORDER_MAGIC = 0x1A2B3C4D
UNKNOWN_SECTION_LENGTH = 0xFFFF_FFFF_FFFF_FFFF
LINKTYPE_ETHERNET = 1

OPTION_END = 0
OPTION_IF_NAME = 2
OPTION_IF_TSRESOL = 9
OPTION_EPB_FLAGS = 2

NANOSECONDS = 9
MICROSECONDS = 6
INBOUND = 1
OUTBOUND = 2
DIRECTION_BITS = 3

# Type, length, interface, timestamp high and low, captured length, original length.
_PACKET_HEAD = struct.Struct("<IIIIIII")
# The flags option, the end of options, and the block length once more.
_PACKET_TAIL = struct.Struct("<HHIHHI")
_BLOCK_HEAD = struct.Struct("<II")
_OPTION_HEAD = struct.Struct("<HH")
_SMALLEST_BLOCK = 12
LATEST_NS = (1 << 63) - 1  # 2262

PACKET_DATA_OFFSET = _PACKET_HEAD.size


class PcapngError(ValueError):
    """The bytes are not a capture that this module reads; the message names the place."""


class Packet(NamedTuple):
    """One captured frame. `outbound` is None when the capture doesn't tell the direction."""

    interface: str
    timestamp_ns: int
    outbound: bool | None
    original_length: int
    data: bytes


class Interface(NamedTuple):
    """A capture interface; one unit of its timestamps is 10**-`decimals` seconds."""

    name: str
    decimals: int


class Index(NamedTuple):
    """Where things are in a capture: its interfaces, and the offset of each packet block."""

    interfaces: list[Interface]
    packets: list[int]


class PcapngWriter:
    """Writes packets of `interfaces` to `file`, at most `snaplen` bytes of each (0: all).

    The file's headers are written at once; closing the file is the caller's business.
    """

    def __init__(self, file: BinaryIO, interfaces: Sequence[str], snaplen: int = 0) -> None:
        if snaplen < 0:
            raise ValueError(f"snaplen {snaplen}: expected 0 (all) or more")
        self._write = file.write
        self._snaplen = snaplen
        self._interfaces = len(interfaces)
        body = struct.pack("<IHHQ", BYTE_ORDER_MAGIC, 1, 0, UNKNOWN_SECTION_LENGTH)
        self._write(_block(SECTION_HEADER, body))
        for name in interfaces:
            body = (
                struct.pack("<HHI", LINKTYPE_ETHERNET, 0, snaplen)
                + _option(OPTION_IF_NAME, name.encode())
                + _option(OPTION_IF_TSRESOL, bytes([NANOSECONDS]))
                + _option(OPTION_END, b"")
            )
            self._write(_block(INTERFACE_DESCRIPTION, body))

    def packet(
        self,
        interface_index: int,
        timestamp_ns: int,
        data: bytes,
        original_length: int,
        outbound: bool,
    ) -> None:
        """Append one frame, in one write. `timestamp_ns` is nanoseconds since the epoch."""
        if not 0 <= interface_index < self._interfaces:
            raise ValueError(f"interface {interface_index}: the capture has {self._interfaces}")
        if self._snaplen and len(data) > self._snaplen:
            data = data[: self._snaplen]
        captured = len(data)
        padding = -captured % 4
        length = _PACKET_HEAD.size + captured + padding + _PACKET_TAIL.size
        self._write(
            _PACKET_HEAD.pack(
                ENHANCED_PACKET,
                length,
                interface_index,
                timestamp_ns >> 32,
                timestamp_ns & 0xFFFF_FFFF,
                captured,
                original_length,
            )
            + data
            + bytes(padding)
            + _PACKET_TAIL.pack(
                OPTION_EPB_FLAGS, 4, OUTBOUND if outbound else INBOUND, OPTION_END, 0, length
            )
        )


def _block(kind: int, body: bytes) -> bytes:
    length = _SMALLEST_BLOCK + len(body)
    return _BLOCK_HEAD.pack(kind, length) + body + struct.pack("<I", length)


def _option(code: int, value: bytes) -> bytes:
    return _OPTION_HEAD.pack(code, len(value)) + value + bytes(-len(value) % 4)


def scan(data: bytes, source: str = "capture") -> Index:
    """Find the interfaces and packet blocks of a capture.

    Raises PcapngError, which names `source` and the offset, for anything but one whole
    little-endian section of Ethernet interfaces.
    """
    interfaces: list[Interface] = []
    packets: list[int] = []
    offset, end = 0, len(data)
    read_head = _BLOCK_HEAD.unpack_from
    if end < _SMALLEST_BLOCK + 16 or read_head(data)[0] != SECTION_HEADER:
        raise PcapngError(f"{source}: is not a pcapng file (no section header)")
    if struct.unpack_from("<I", data, 8)[0] != BYTE_ORDER_MAGIC:
        raise PcapngError(f"{source}: is not a little-endian pcapng file")
    while offset < end:
        if offset + _SMALLEST_BLOCK > end:
            raise PcapngError(f"{source}: ends within a block at offset {offset}")
        kind, length = read_head(data, offset)
        if length < _SMALLEST_BLOCK or length % 4:
            raise PcapngError(f"{source}: block length {length} at offset {offset}")
        if offset + length > end:
            raise PcapngError(f"{source}: ends within a block at offset {offset}")
        if kind == ENHANCED_PACKET:
            _check_packet(data, offset, length, interfaces, source)
            packets.append(offset)
        elif kind == INTERFACE_DESCRIPTION:
            interfaces.append(_interface(data, offset, length, source))
        elif kind == SECTION_HEADER and offset:
            raise PcapngError(f"{source}: second section at offset {offset}; expected one")
        offset += length
    return Index(interfaces, packets)


def _check_packet(
    data: bytes, offset: int, length: int, interfaces: Sequence[Interface], source: str
) -> None:
    """Raises PcapngError unless what a packet block says of itself can be so."""
    if length < _PACKET_HEAD.size + 4:
        raise PcapngError(f"{source}: packet block too short at offset {offset}")
    interface, high, low, captured = struct.unpack_from("<IIII", data, offset + 8)
    if interface >= len(interfaces):
        raise PcapngError(f"{source}: unknown interface {interface} at offset {offset}")
    unit_ns = 10 ** (NANOSECONDS - interfaces[interface].decimals)
    if (high << 32 | low) * unit_ns > LATEST_NS:
        raise PcapngError(f"{source}: time stamp out of range at offset {offset}")
    if captured > length - _PACKET_HEAD.size - 4:
        raise PcapngError(f"{source}: packet longer than its block at offset {offset}")


def _interface(data: bytes, offset: int, length: int, source: str) -> Interface:
    if length < _SMALLEST_BLOCK + 8:
        raise PcapngError(f"{source}: interface block too short at offset {offset}")
    link_type = struct.unpack_from("<H", data, offset + 8)[0]
    if link_type != LINKTYPE_ETHERNET:
        raise PcapngError(f"{source}: link type {link_type} at offset {offset}; expected Ethernet")
    name, decimals = "", MICROSECONDS
    for code, value in options(data, offset + 16, offset + length - 4):
        if code == OPTION_IF_NAME:
            name = value.decode(errors="replace")
        elif code == OPTION_IF_TSRESOL and len(value) == 1:
            decimals = value[0]
    if decimals > NANOSECONDS:
        raise PcapngError(
            f"{source}: timestamp resolution {decimals} at offset {offset}; expected 0 to 9"
        )
    return Interface(name, decimals)


def options(data: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """The options (code, value) between two offsets; stops at what doesn't fit."""
    while start + _OPTION_HEAD.size <= end:
        code, length = _OPTION_HEAD.unpack_from(data, start)
        start += _OPTION_HEAD.size
        if code == OPTION_END or start + length > end:
            return
        yield code, data[start : start + length]
        start += length + -length % 4


def direction_flags(data: bytes, offset: int) -> int:
    """Direction bits of the packet block at `offset`: INBOUND, OUTBOUND or 0 (not told)."""
    length = struct.unpack_from("<I", data, offset + 4)[0]
    captured = struct.unpack_from("<I", data, offset + 20)[0]
    start = offset + _PACKET_HEAD.size + captured + -captured % 4
    for code, value in options(data, start, offset + length - 4):
        if code == OPTION_EPB_FLAGS and len(value) == 4:
            return int.from_bytes(value, "little") & DIRECTION_BITS
    return 0


def packets_of(data: bytes, source: str = "capture") -> Iterator[Packet]:
    """The packets of a capture held in memory, in the order of the file. Raises PcapngError."""
    interfaces, offsets = scan(data, source)
    for offset in offsets:
        _, _, number, high, low, captured, original = _PACKET_HEAD.unpack_from(data, offset)
        interface = interfaces[number]
        start = offset + _PACKET_HEAD.size
        flags = direction_flags(data, offset)
        yield Packet(
            interface.name,
            (high << 32 | low) * 10 ** (NANOSECONDS - interface.decimals),
            None if flags not in (INBOUND, OUTBOUND) else flags == OUTBOUND,
            original,
            data[start : start + captured],
        )


def read_packets(path: Path) -> Iterator[Packet]:
    """The packets of a capture file. Raises OSError and PcapngError."""
    return packets_of(path.read_bytes(), str(path))
