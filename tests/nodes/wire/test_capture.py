from __future__ import annotations

import contextlib
import struct
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.ipsec.esp import EspKeys
from nodes.ipsec.security_associations import SecurityAssociation
from nodes.wire.capture import CapturedHeader, CaptureError, is_capture, read_headers
from tests.sealing import seal

MAG, LMA = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")
HEADER = bytes.fromhex("3b010d000000000000000001" + "01020000")
SECOND = 1_000_000_000


def ipv6(payload: bytes, next_header: int = 135, source: IPv6Address = MAG) -> bytes:
    head = struct.pack(">IHBB", 6 << 28, len(payload), next_header, 64)
    return head + source.packed + LMA.packed + payload


def pcap(*frames: bytes, link_type: int = 101, order: str = "<", magic: int = 0xA1B2C3D4) -> bytes:
    file = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link_type)
    for frame in frames:
        file += struct.pack(order + "IIII", 1_700_000_000, 5, len(frame), len(frame)) + frame
    return file


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def pcapng(
    frame: bytes, order: str = "<", resolution: int | None = None, link_type: int = 1
) -> bytes:
    options = b""
    units = 10**6
    if resolution is not None:
        options = struct.pack(order + "HHB3xHH", 9, 1, resolution, 0, 0)
        units = 2 ** (resolution & 0x7F) if resolution & 0x80 else 10**resolution
    time = 1_700_000_000 * units + units // 2
    packet = struct.pack(order + "IIIII", 0, time >> 32, time & 0xFFFFFFFF, len(frame), len(frame))
    return (
        block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
        + block(order, 1, struct.pack(order + "HHI", link_type, 0, 65535) + options)
        + block(order, 5, bytes(12))
        + block(order, 6, packet + frame)
        + block(order, 3, struct.pack(order + "I", len(frame)) + frame)
    )


def headers(tmp_path: Path, file: bytes) -> list[CapturedHeader]:
    path = tmp_path / "capture"
    path.write_bytes(file)
    assert is_capture(path)
    return list(read_headers(path))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "unit"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_pcap_in_either_byte_order_and_unit(
    tmp_path: Path, order: str, magic: int, unit: int
) -> None:
    found = headers(tmp_path, pcap(b"", ipv6(HEADER), order=order, magic=magic))
    assert [(h.frame.number, h.data, h.source, h.destination) for h in found] == [
        (2, HEADER, MAG, LMA)
    ]
    assert found[0].frame.time_ns == 1_700_000_000 * SECOND + 5 * unit


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("resolution", [None, 3, 9, 0x80 | 20])
def test_pcapng_in_either_byte_order_and_resolution(
    tmp_path: Path, order: str, resolution: int | None
) -> None:
    frame = bytes(12) + b"\x86\xdd" + ipv6(HEADER)
    enhanced, simple = headers(tmp_path, pcapng(frame, order, resolution))
    assert enhanced.data == simple.data == HEADER
    assert enhanced.frame.time_ns == 1_700_000_000 * SECOND + SECOND // 2
    assert simple.frame.time_ns is None
    assert (enhanced.frame.number, simple.frame.number) == (1, 2)


@pytest.mark.parametrize(
    ("link_type", "head"),
    [
        (1, bytes(12) + b"\x86\xdd"),
        (1, bytes(12) + b"\x81\x00\x00\x07\x86\xdd"),
        (101, b""),
        (229, b""),
        (113, bytes(14) + b"\x86\xdd"),
        (276, b"\x86\xdd" + bytes(18)),
    ],
)
def test_link_types(tmp_path: Path, link_type: int, head: bytes) -> None:
    (found,) = headers(tmp_path, pcap(head + ipv6(HEADER), link_type=link_type))
    assert found.data == HEADER


@pytest.mark.parametrize(
    ("link_type", "frame"),
    [
        (1, bytes(12) + b"\x08\x00" + ipv6(HEADER)),
        (101, b"\x45" + bytes(60)),
        (101, b"\x60"),
        (101, ipv6(HEADER, next_header=17)),
        (147, ipv6(HEADER)),
    ],
)
def test_other_packets_are_passed_over(tmp_path: Path, link_type: int, frame: bytes) -> None:
    assert headers(tmp_path, pcap(frame, link_type=link_type)) == []


HOP_BY_HOP = bytes((60, 0)) + bytes(6)
DESTINATION = bytes((43, 1)) + bytes(14)
ROUTING = bytes((44, 0)) + bytes(6)
ATOMIC_FRAGMENT = bytes((51, 0)) + bytes(6)
AUTHENTICATION = bytes((135, 4)) + bytes(22)


def test_extension_headers_are_passed_rfc8200_4(tmp_path: Path) -> None:
    chain = HOP_BY_HOP + DESTINATION + ROUTING + ATOMIC_FRAGMENT + AUTHENTICATION
    (found,) = headers(tmp_path, pcap(ipv6(chain + HEADER, next_header=0)))
    assert found.data == HEADER


@pytest.mark.parametrize("offset", [b"\x00\x08", b"\x00\x01", b"\x01\x00"])
def test_fragments_are_passed_over_rfc8200_4_5(tmp_path: Path, offset: bytes) -> None:
    fragment = bytes((135, 0)) + offset + bytes(4)
    assert headers(tmp_path, pcap(ipv6(fragment + HEADER, next_header=44))) == []


def test_tunnelled_message_has_the_inner_addresses_rfc2473(tmp_path: Path) -> None:
    inner = ipv6(HEADER, source=IPv6Address("2001:db8:9::9"))
    (found,) = headers(tmp_path, pcap(ipv6(inner, next_header=41)))
    assert str(found.source) == "2001:db8:9::9"


def test_padding_of_the_link_layer_is_left_out(tmp_path: Path) -> None:
    (found,) = headers(tmp_path, pcap(ipv6(HEADER) + bytes(6)))
    assert found.data == HEADER


@pytest.mark.parametrize(
    ("file", "offset"),
    [
        (b"", 0),
        (b"text", 0),
        (pcap()[:20], 20),
        (pcap(ipv6(HEADER))[:30], 24),
        (pcap(ipv6(HEADER))[:-1], 40),
        (pcapng(b"")[:30], 28),
        (pcapng(b"")[:-4], len(pcapng(b"")) - 16 + 4),
        (block("<", 0x0A0D0D0A, struct.pack("<I", 0x1A2B3C4D)) + block("<", 6, bytes(20)), 16),
        (block("<", 0x0A0D0D0A, struct.pack("<I", 0x1A2B3C4D)) + block("<", 6, bytes(3)), 16),
    ],
)
def test_damaged_file_names_the_offset(tmp_path: Path, file: bytes, offset: int) -> None:
    path = tmp_path / "capture"
    path.write_bytes(file)
    with pytest.raises(CaptureError) as caught:
        list(read_headers(path))
    assert caught.value.offset == offset


def test_headers_before_the_damage_are_given(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_bytes(pcap(ipv6(HEADER)) + b"\0")
    reader = read_headers(path)
    assert next(reader).data == HEADER
    with pytest.raises(CaptureError):
        next(reader)


@given(st.sampled_from([pcap(ipv6(HEADER)), pcapng(ipv6(HEADER), link_type=101)]), st.data())
def test_file_with_octets_changed_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, file: bytes, data: st.DataObject
) -> None:
    changed = bytearray(file)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "changed"
    path.write_bytes(changed[: data.draw(st.integers(0, len(file)))])
    with contextlib.suppress(CaptureError):
        list(read_headers(path))


def test_protected_messages_are_those_of_the_keys(tmp_path: Path) -> None:
    sa = SecurityAssociation(MAG, LMA, 256, bytes(36))
    file = pcap(ipv6(seal(sa, HEADER, 135, 1), 50), ipv6(HEADER), ipv6(bytes(60), 50))
    path = tmp_path / "capture"
    path.write_bytes(file)
    found = list(read_headers(path, EspKeys([sa])))
    assert [(item.frame.number, item.data) for item in found] == [(1, HEADER), (2, HEADER)]
    assert [item.frame.number for item in read_headers(path)] == [2]
