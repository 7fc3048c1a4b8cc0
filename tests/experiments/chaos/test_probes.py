"""Packets of the scenario's traffic."""

from __future__ import annotations

from ipaddress import IPv6Address

from experiments.chaos.probes import HEADER_BYTES, UP, Probe, parse, payload, udp_packet

SOURCE, DESTINATION = IPv6Address("2001:db8:100::1"), IPv6Address("2001:db8:1::2")


def test_a_packet_says_whose_it_is() -> None:
    probe = Probe(UP, 37, 20, 123_456)
    packet = udp_packet(SOURCE, DESTINATION, 20_037, payload(probe))
    assert parse(packet) == (SOURCE, DESTINATION, probe)


def test_others_are_nobodys() -> None:
    assert parse(udp_packet(SOURCE, DESTINATION, 1, b"hello, world"))[2] is None
    assert parse(udp_packet(SOURCE, DESTINATION, 1, b"")) == (SOURCE, DESTINATION, None)


def test_its_checksum_is_right_rfc8200_8_1() -> None:
    packet = udp_packet(SOURCE, DESTINATION, 20_001, payload(Probe(UP, 1, 1, 1)))
    length = len(packet) - HEADER_BYTES
    pseudo = packet[8:40] + length.to_bytes(4, "big") + bytes((0, 0, 0, 17))
    data = pseudo + packet[HEADER_BYTES:]
    total = sum(int.from_bytes(data[n : n + 2], "big") for n in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF
