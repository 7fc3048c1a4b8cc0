from __future__ import annotations

from ipaddress import IPv6Address

from nodes.kernel.address_probe import probe, solicited_node
from nodes.neighbour_discovery import NeighbourSolicitation, decode

ADDRESS = IPv6Address("2001:db8:100::ab12:3456")


def test_a_probe_comes_from_nowhere_and_goes_to_the_solicited_node_rfc4862_5_4_2() -> None:
    packet = probe(ADDRESS)
    source, destination = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
    assert (int(source), destination) == (0, IPv6Address("ff02::1:ff12:3456"))
    assert solicited_node(ADDRESS) == destination
    assert (packet[0] >> 4, packet[6], packet[7]) == (6, 58, 255)
    assert int.from_bytes(packet[4:6], "big") == len(packet) - 40
    assert decode(packet[40:], source, destination) == NeighbourSolicitation(ADDRESS)
