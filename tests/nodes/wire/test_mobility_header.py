from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.wire import mobility_header as mh
from nodes.wire.errors import BadChecksum, BadPayloadProto, MalformedMessage

SOURCE, DESTINATION = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")
ADDRESSES = st.integers(0, 2**128 - 1).map(IPv6Address)


def checksum_word_by_word(data: bytes, source: IPv6Address, destination: IPv6Address) -> int:
    """RFC 6275 section 6.1.1 and RFC 8200 section 8.1, as they put it."""
    pseudo = (
        source.packed + destination.packed + len(data).to_bytes(4, "big") + bytes((0, 0, 0, 135))
    )
    total = 0
    for index in range(0, len(pseudo + data), 2):
        total += int.from_bytes((pseudo + data)[index : index + 2], "big")
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@given(
    st.binary(min_size=8, max_size=64).filter(lambda data: len(data) % 8 == 0), ADDRESSES, ADDRESSES
)
def test_checksum_is_the_complement_of_the_complement_sum_rfc6275_6_1_1(
    data: bytes, source: IPv6Address, destination: IPv6Address
) -> None:
    assert mh.checksum(data, source, destination) == checksum_word_by_word(
        data, source, destination
    )


@given(st.binary(min_size=16, max_size=16), ADDRESSES, ADDRESSES)
def test_checksum_agrees_with_scapy(
    data: bytes, source: IPv6Address, destination: IPv6Address
) -> None:
    inet6 = pytest.importorskip("scapy.layers.inet6")
    header = inet6.IPv6(src=str(source), dst=str(destination))
    assert mh.checksum(data, source, destination) == inet6.in6_chksum(135, header, data)


def test_checksum_of_scapys_own_binding_update_is_right() -> None:
    inet6 = pytest.importorskip("scapy.layers.inet6")
    message = inet6.MIP6MH_BU(seq=7, mhtime=300, flags="PA")
    packet = bytes(inet6.IPv6(src=str(SOURCE), dst=str(DESTINATION)) / message)
    mh.require_checksum(packet[40:], SOURCE, DESTINATION)


def test_wrong_checksum_is_refused_rfc6275_9_2() -> None:
    with pytest.raises(BadChecksum) as caught:
        mh.require_checksum(bytes.fromhex("3b01050000000000"), SOURCE, DESTINATION)
    assert (caught.value.field, caught.value.offset) == ("checksum", 4)


def test_sum_of_zero_may_be_sent_as_either_zero() -> None:
    """0x0000 and 0xffff are the same number in one's complement."""
    data = bytearray(bytes.fromhex("3b00070000000000"))
    data[6:8] = mh.checksum(data, SOURCE, DESTINATION).to_bytes(2, "big")
    assert mh.checksum(data, SOURCE, DESTINATION) == 0
    data[4:6] = b"\xff\xff"
    mh.require_checksum(bytes(data), SOURCE, DESTINATION)


def test_length_is_in_units_of_8_octets_without_the_first_8_rfc6275_6_1_1() -> None:
    assert mh.header_octets(bytes((59, 2, *bytes(22)))) == 24


@pytest.mark.parametrize(
    ("data", "field", "offset"),
    [(b"", "header", 0), (bytes(7), "header", 7), (bytes((59, 1, *bytes(13))), "header_len", 1)],
)
def test_message_that_is_cut_short_is_malformed(data: bytes, field: str, offset: int) -> None:
    with pytest.raises(MalformedMessage) as caught:
        mh.header_octets(data)
    assert (caught.value.field, caught.value.offset) == (field, offset)


def test_payload_proto_must_be_no_next_header_rfc6275_9_2() -> None:
    mh.require_no_next_header(b"\x3b")
    with pytest.raises(BadPayloadProto) as caught:
        mh.require_no_next_header(b"\x3a")
    assert caught.value.offset == 0


@pytest.mark.parametrize(("octets", "padded"), [(12, 16), (16, 16), (17, 24), (15, 16)])
def test_message_is_padded_to_a_multiple_of_8_rfc6275_6_1_1(octets: int, padded: int) -> None:
    out = bytearray(octets)
    mh.finish(out)
    assert len(out) == padded
    assert out[1] == padded // 8 - 1


def test_message_that_is_too_long_for_header_len_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at most 2048"):
        mh.finish(bytearray(2049))
