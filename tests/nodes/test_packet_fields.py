from __future__ import annotations

import struct
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.packet_fields import packet_fields

SOURCE, DESTINATION = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")


def ipv6(next_header: int, payload: bytes) -> bytes:
    word = 6 << 28 | 0xB8 << 20 | 0x12345
    head = struct.pack("!IHBB", word, len(payload), next_header, 64)
    return head + SOURCE.packed + DESTINATION.packed + payload


def fragment(next_header: int, offset: int) -> bytes:
    return struct.pack("!BBHI", next_header, 0, offset << 3 | 1, 7)


UDP = struct.pack("!HHHH", 5001, 5002, 8, 0)
OPTIONS = bytes([17, 0, 1, 4, 0, 0, 0, 0])


@pytest.mark.parametrize(
    "packet",
    [
        ipv6(17, UDP),
        ipv6(0, OPTIONS + UDP),
        ipv6(60, bytes([44, *OPTIONS[1:]]) + fragment(17, 0) + UDP),
    ],
)
def test_the_first_transport_header_is_found_rfc8200_4(packet: bytes) -> None:
    fields = packet_fields(packet)
    assert fields is not None
    assert (fields.source, fields.destination) == (SOURCE, DESTINATION)
    assert (fields.protocol, fields.source_port, fields.destination_port) == (17, 5001, 5002)
    assert (fields.traffic_class, fields.flow_label) == (0xB8, 0x12345)


def test_a_later_fragment_has_no_ports_rfc8200_4_5() -> None:
    fields = packet_fields(ipv6(44, fragment(17, 100) + UDP))
    assert fields is not None
    assert (fields.protocol, fields.source_port) == (17, None)


def test_esp_has_an_spi_rfc4303_2() -> None:
    fields = packet_fields(ipv6(50, struct.pack("!II", 0xCAFE, 1)))
    assert fields is not None
    assert (fields.spi, fields.source_port) == (0xCAFE, None)


def test_icmp_has_neither() -> None:
    fields = packet_fields(ipv6(58, bytes(8)))
    assert fields is not None
    assert (fields.source_port, fields.spi) == (None, None)


@given(st.one_of(st.binary(max_size=120), st.binary(max_size=60).map(lambda tail: ipv6(0, tail))))
def test_any_octets_are_read_without_an_error(data: bytes) -> None:
    fields = packet_fields(data)
    assert (fields is None) == (len(data) < 40 or data[0] >> 4 != 6)
