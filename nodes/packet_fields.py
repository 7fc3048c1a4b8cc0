"""The fields of an IPv6 packet that traffic selectors look at (RFC 6088 section 3.2)."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

from nodes.wire.traffic_selector import PacketFields

_HEADER_OCTETS = 40
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION = 0, 43, 44, 60
AH, ESP = 51, 50  # RFC 4302, RFC 4303
WITH_PORTS = (6, 17, 33, 132, 136)  # TCP, UDP, DCCP, SCTP, UDP-Lite


def packet_fields(packet: bytes) -> PacketFields | None:
    """None if `packet` isn't IPv6. Ports and SPI are None where the packet, or what there is of it,
    has none: also in a fragment that isn't the first."""
    if len(packet) < _HEADER_OCTETS or packet[0] >> 4 != 6:
        return None
    word, _, protocol = struct.unpack_from("!IHB", packet)
    place, first = _HEADER_OCTETS, True
    while protocol in (_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION):
        if place + 8 > len(packet):
            first = False
            break
        if protocol == _FRAGMENT:
            first = first and int.from_bytes(packet[place + 2 : place + 4], "big") >> 3 == 0
            octets = 8
        else:
            octets = 8 * (packet[place + 1] + 1)
        protocol, place = packet[place], place + octets
        if not first:
            break
    there = first and place + 4 <= len(packet)
    source_port = destination_port = spi = None
    if there and protocol in WITH_PORTS:
        source_port, destination_port = struct.unpack_from("!HH", packet, place)
    elif there and protocol == ESP:
        spi = int.from_bytes(packet[place : place + 4], "big")
    elif there and protocol == AH and place + 8 <= len(packet):
        spi = int.from_bytes(packet[place + 4 : place + 8], "big")
    return PacketFields(
        IPv6Address(packet[8:24]),
        IPv6Address(packet[24:40]),
        protocol,
        source_port,
        destination_port,
        word >> 20 & 0xFF,
        word & 0xFFFFF,
        spi,
    )
