"""ESP packets as an independent sender makes them (RFC 4303, RFC 4106)."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from nodes.ipsec.security_associations import SecurityAssociation

ESP, MOBILITY = 50, 135


def seal(sa: SecurityAssociation, payload: bytes, next_header: int, sequence: int) -> bytes:
    """The ESP header and all behind it, padded to 4 octets."""
    padding = -(len(payload) + 2) % 4
    plain = payload + bytes(range(1, padding + 1)) + bytes([padding, next_header])
    header, iv = struct.pack("!II", sa.spi, sequence), struct.pack("!Q", sequence)
    return header + iv + AESGCM(sa.key[:-4]).encrypt(sa.key[-4:] + iv, plain, header)


def ipv6_packet(
    source: IPv6Address, destination: IPv6Address, next_header: int, payload: bytes
) -> bytes:
    head = struct.pack("!IHBB", 6 << 28, len(payload), next_header, 64)
    return head + source.packed + destination.packed + payload
