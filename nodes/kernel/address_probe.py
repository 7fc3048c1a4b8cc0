"""Neighbor Solicitations of Duplicate Address Detection: from no address at all, which a socket for
ICMPv6 can't send from."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address

from nodes.neighbour_discovery import (
    HOP_LIMIT,
    NEXT_HEADER_ICMPV6,
    NeighbourSolicitation,
    encode,
)

ETH_P_IPV6 = 0x86DD
UNSPECIFIED = IPv6Address("::")
_SOLICITED_NODE = int(IPv6Address("ff02::1:ff00:0"))


def solicited_node(address: IPv6Address) -> IPv6Address:
    """RFC 4291 section 2.7.1."""
    return IPv6Address(_SOLICITED_NODE | int(address) & 0xFF_FFFF)


def probe(address: IPv6Address) -> bytes:
    """The IPv6 packet (RFC 4862 section 5.4.2)."""
    destination = solicited_node(address)
    message = encode(NeighbourSolicitation(address), UNSPECIFIED, destination)
    head = struct.pack("!IHBB", 6 << 28, len(message), NEXT_HEADER_ICMPV6, HOP_LIMIT)
    return head + UNSPECIFIED.packed + destination.packed + message


def send_probe(interface: str, address: IPv6Address) -> None:
    """Raises OSError."""
    # RFC 2464 section 7: 33-33 and the last four octets of the destination.
    link_layer = b"\x33\x33" + solicited_node(address).packed[12:]
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as channel:
        channel.sendto(probe(address), (interface, ETH_P_IPV6, 0, 0, link_layer))
