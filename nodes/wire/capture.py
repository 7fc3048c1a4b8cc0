"""Mobility Headers, and attachment messages, in pcap and pcapng files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING

from nodes.wire import attachment
from nodes.wire.fragments import Reassembly
from nodes.wire.mobility_header import NEXT_HEADER

if TYPE_CHECKING:  # it needs a library that is large
    from nodes.ipsec.esp import EspKeys

ETHERNET, RAW_IP, LINUX_SLL, RAW_IPV6, LINUX_SLL2 = 1, 101, 113, 229, 276
_ETHERTYPE_IPV6 = 0x86DD
_ETHERTYPES_VLAN = (0x8100, 0x88A8)

_HOP_BY_HOP, _IPV6, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION = 0, 41, 43, 44, 51, 60
_ESP = 50
_IPV6_HEADER = 40

# The byte order is that of the writer; the magic number tells it (and for pcap, the unit of time).
_PCAP_MAGIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
_PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
_SECTION, _INTERFACE, _SIMPLE_PACKET, _ENHANCED_PACKET = 0x0A0D0D0A, 1, 3, 6
_IF_TSRESOL = 9


class CaptureError(ValueError):
    """A file isn't a capture, or is damaged. `offset` counts octets from its start."""

    def __init__(self, path: Path, offset: int, expected: str) -> None:
        self.path, self.offset, self.expected = path, offset, expected
        super().__init__(f"{path} at offset {offset}: expected {expected}")


@dataclass(frozen=True, slots=True)
class Frame:
    """`number` counts from 1, as capture tools do. A simple packet block of pcapng has no time."""

    number: int
    time_ns: int | None
    link_type: int
    data: bytes


@dataclass(frozen=True, slots=True)
class CapturedHeader:
    """A Mobility Header and the addresses of the IPv6 header that carries it."""

    frame: Frame
    source: IPv6Address
    destination: IPv6Address
    data: bytes


@dataclass(frozen=True, slots=True)
class CapturedAttachment:
    """The payload of an Ethernet frame of layer-2 signalling, with the frame's addresses."""

    frame: Frame
    source: str
    destination: str
    data: bytes


def is_capture(path: Path) -> bool:
    with path.open("rb") as file:
        magic = file.read(4)
    return magic in _PCAP_MAGIC or magic == _PCAPNG_MAGIC


def read_messages(
    path: Path, keys: EspKeys | None = None
) -> Iterator[CapturedHeader | CapturedAttachment]:
    """Those in ESP as well that `keys` open; what came in fragments, with the frame of the last.
    Raises CaptureError, if need be after the messages before the damage."""
    reassembly = Reassembly()
    for frame in read_frames(path):
        packet = _ipv6_packet(frame)
        if packet is not None:
            if whole := reassembly.add(packet, len(packet)):
                yield from _headers(frame, whole.packet, keys)
        elif frame.link_type == ETHERNET:
            payload = _ethernet_payload(frame.data, attachment.ETHERTYPE)
            if payload:
                source, destination = frame.data[6:12].hex(":"), frame.data[:6].hex(":")
                yield CapturedAttachment(frame, source, destination, payload)


def read_headers(path: Path, keys: EspKeys | None = None) -> Iterator[CapturedHeader]:
    """The Mobility Headers alone."""
    return (item for item in read_messages(path, keys) if isinstance(item, CapturedHeader))


def read_frames(path: Path) -> Iterator[Frame]:
    data = path.read_bytes()
    if data[:4] in _PCAP_MAGIC:
        return _pcap_frames(path, data)
    if data[:4] == _PCAPNG_MAGIC:
        return _pcapng_frames(path, data)
    raise CaptureError(path, 0, "a pcap or pcapng file")


def _pcap_frames(path: Path, data: bytes) -> Iterator[Frame]:
    order, unit_ns = _PCAP_MAGIC[data[:4]]
    if len(data) < 24:
        raise CaptureError(path, len(data), "a file header of 24 octets")
    link_type = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF
    record = struct.Struct(order + "IIII")
    offset, number = 24, 0
    while offset < len(data):
        if offset + record.size > len(data):
            raise CaptureError(path, offset, "a packet header of 16 octets")
        seconds, fraction, captured, _ = record.unpack_from(data, offset)
        offset += record.size
        if offset + captured > len(data):
            raise CaptureError(path, offset, f"{captured} octets of packet")
        number += 1
        time_ns = seconds * 1_000_000_000 + fraction * unit_ns
        yield Frame(number, time_ns, link_type, data[offset : offset + captured])
        offset += captured


def _pcapng_frames(path: Path, data: bytes) -> Iterator[Frame]:
    offset, number, order = 0, 0, "<"
    interfaces: list[tuple[int, int]] = []  # link type, and time units per second
    while offset < len(data):
        if offset + 12 > len(data):
            raise CaptureError(path, offset, "a block of at least 12 octets")
        if data[offset : offset + 4] == _PCAPNG_MAGIC:
            order = ">" if data[offset + 8 : offset + 12] == b"\x1a\x2b\x3c\x4d" else "<"
            interfaces = []
        kind, length = struct.unpack_from(order + "II", data, offset)
        if length < 12 or length % 4 or offset + length > len(data):
            raise CaptureError(path, offset + 4, "the length of a block that is in the file")
        body = data[offset + 8 : offset + length - 4]
        try:
            if kind == _INTERFACE:
                interfaces.append(_interface(order, body))
            elif kind in (_ENHANCED_PACKET, _SIMPLE_PACKET):
                number += 1
                yield _pcapng_frame(order, kind, body, interfaces, number)
        except (struct.error, IndexError):
            raise CaptureError(path, offset, f"a block of type {kind} that is complete") from None
        offset += length


def _interface(order: str, body: bytes) -> tuple[int, int]:
    link_type = struct.unpack_from(order + "H", body)[0]
    units, offset = 1_000_000, 8
    while offset + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, offset)
        if code == _IF_TSRESOL:
            resolution = body[offset + 4]
            exponent = resolution & 0x7F
            units = 2**exponent if resolution & 0x80 else 10**exponent
        offset += 4 + -(-length // 4) * 4
    return link_type, units


def _pcapng_frame(
    order: str, kind: int, body: bytes, interfaces: list[tuple[int, int]], number: int
) -> Frame:
    if kind == _SIMPLE_PACKET:
        original = struct.unpack_from(order + "I", body)[0]
        return Frame(number, None, interfaces[0][0], body[4 : 4 + original])
    interface, high, low, captured = struct.unpack_from(order + "IIII", body)
    link_type, units = interfaces[interface]
    time_ns = ((high << 32) + low) * 1_000_000_000 // units
    return Frame(number, time_ns, link_type, body[20 : 20 + captured])


def _ipv6_packet(frame: Frame) -> bytes | None:
    """The IPv6 packet in a frame; None if there is none, or the link type isn't known."""
    data = frame.data
    if frame.link_type in (RAW_IP, RAW_IPV6):
        packet = data
    elif frame.link_type == ETHERNET:
        packet = _ethernet_payload(data, _ETHERTYPE_IPV6)
    elif frame.link_type == LINUX_SLL:
        packet = _after_ethertype(data, 14, 16, _ETHERTYPE_IPV6)
    elif frame.link_type == LINUX_SLL2:
        packet = _after_ethertype(data, 0, 20, _ETHERTYPE_IPV6)
    else:
        return None
    return packet if packet and packet[0] >> 4 == 6 else None


def _ethernet_payload(data: bytes, ethertype: int) -> bytes:
    offset = 12
    while int.from_bytes(data[offset : offset + 2], "big") in _ETHERTYPES_VLAN:
        offset += 4
    return _after_ethertype(data, offset, offset + 2, ethertype)


def _after_ethertype(data: bytes, position: int, start: int, ethertype: int) -> bytes:
    found = int.from_bytes(data[position : position + 2], "big")
    return data[start:] if found == ethertype else b""


def _headers(frame: Frame, packet: bytes, keys: EspKeys | None) -> Iterator[CapturedHeader]:
    """Follow the chain of headers, into tunnels (RFC 2473) too. A packet that is cut short in
    between isn't followed further; a Mobility Header that is cut short comes as it is."""
    while len(packet) >= _IPV6_HEADER and packet[0] >> 4 == 6:
        addresses = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
        packet = packet[: _IPV6_HEADER + int.from_bytes(packet[4:6], "big")]
        kind, offset = packet[6], _IPV6_HEADER
        while kind in (_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION):
            if offset + 8 > len(packet):
                return
            following, length = packet[offset], packet[offset + 1]
            if kind == _FRAGMENT:
                if packet[offset + 2] or packet[offset + 3] & 0xF9:
                    return  # a piece of a packet (RFC 8200 section 4.5)
                octets = 8
            else:
                octets = (length + 2) * 4 if kind == _AUTHENTICATION else (length + 1) * 8
            kind, offset = following, offset + octets
        if kind == _ESP and keys is not None:
            opened = keys.open(addresses[1], packet[offset:])
            if opened is None:
                return
            (kind, packet), offset = opened, 0
        if kind == NEXT_HEADER:
            yield CapturedHeader(frame, *addresses, packet[offset:])
        if kind != _IPV6:
            return
        packet = packet[offset:]
