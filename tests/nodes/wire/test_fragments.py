from __future__ import annotations

import random
import struct
from ipaddress import IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from nodes.wire.fragments import Reassembly, Whole
from tests.sealing import ipv6_packet

MAG, LMA = IPv6Address("2001:db8:11::1"), IPv6Address("2001:db8:10::1")


def pieces(packet: bytes, octets: int, identification: int = 1) -> list[bytes]:
    """RFC 8200 section 4.5: all but the last with a multiple of 8 octets."""
    found, payload = [], packet[40:]
    for offset in range(0, len(payload), octets):
        part = payload[offset : offset + octets]
        more = offset + octets < len(payload)
        header = struct.pack("!BBHI", packet[6], 0, offset | more, identification)
        found.append(ipv6_packet(MAG, LMA, 44, header + part))
    return found


@given(st.binary(min_size=1, max_size=400), st.sampled_from([8, 16, 200]), st.integers(0, 99))
def test_pieces_in_any_order_make_the_packet(payload: bytes, octets: int, seed: int) -> None:
    packet = ipv6_packet(MAG, LMA, 135, payload)
    found = pieces(packet, octets)
    random.Random(seed).shuffle(found)
    reassembly = Reassembly()
    *early, last = [reassembly.add(piece, len(piece)) for piece in found]
    assert early == [None] * (len(found) - 1)
    assert last == Whole(packet, sum(map(len, found)))


def test_packets_whose_pieces_are_mixed_are_told_apart() -> None:
    one, other = (ipv6_packet(MAG, LMA, 135, bytes([n]) * 32) for n in (1, 2))
    first, second = pieces(one, 16, 1), pieces(other, 16, 2)
    reassembly = Reassembly()
    assert reassembly.add(first[0], 1) is None
    assert reassembly.add(second[0], 1) is None
    assert reassembly.add(second[1], 1) == Whole(other, 2)
    assert reassembly.add(first[1], 1) == Whole(one, 2)


def test_the_same_identification_may_come_again() -> None:
    packet = ipv6_packet(MAG, LMA, 135, bytes(32))
    reassembly = Reassembly()
    for _ in range(2):
        assert [reassembly.add(piece, 10) for piece in pieces(packet, 16)][-1] == Whole(packet, 20)


@given(st.binary(max_size=100))
def test_what_is_no_fragment_is_itself(packet: bytes) -> None:
    other = packet[:6] + b"\x87" + packet[7:]
    assert Reassembly().add(other, 5) == Whole(other, 5)


def test_a_piece_without_the_others_never_comes() -> None:
    found = pieces(ipv6_packet(MAG, LMA, 135, bytes(48)), 16)
    reassembly = Reassembly()
    assert [reassembly.add(piece, 1) for piece in found[1:]] == [None, None]
    cut = found[0][:40]
    assert reassembly.add(cut, 1) == Whole(cut, 1)
    empty = ipv6_packet(MAG, LMA, 44, struct.pack("!BBHI", 135, 0, 1, 9))
    assert reassembly.add(empty, 1) is None
