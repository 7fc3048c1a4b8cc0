"""Framing of Mobility Header messages (RFC 6275 sections 6.1.1 and 9.2): length and checksum."""

from __future__ import annotations

from ipaddress import IPv6Address

from nodes.wire.errors import BadChecksum, BadPayloadProto, MalformedMessage
from nodes.wire.tlv import PADDING

NEXT_HEADER = 135
NO_NEXT_HEADER = 59
LEAST_OCTETS = 8
MOST_OCTETS = (255 + 1) * 8
_WORDS = 0xFFFF


def checksum(
    data: bytes | bytearray,
    source: IPv6Address,
    destination: IPv6Address,
    next_header: int = NEXT_HEADER,
) -> int:
    """The checksum over the pseudo-header and `data`, an even number of octets.

    It is 0 over data with a checksum that is right in it. A sum of 16-bit words in one's complement
    is the number that they make together modulo 65535, where 0 stands for 65535.
    """
    pseudo_header = int(source) + int(destination) + len(data) + next_header
    return -(pseudo_header + int.from_bytes(data, "big")) % _WORDS


def header_octets(data: bytes) -> int:
    """Length of the message at the start of `data`. What follows it is to be ignored, because the
    Payload Proto is "no next header" (RFC 8200 section 4.7)."""
    if len(data) < LEAST_OCTETS:
        raise MalformedMessage(
            "header", len(data), f"expected at least {LEAST_OCTETS} octets, found {len(data)}"
        )
    length = (data[1] + 1) * 8
    if length > len(data):
        raise MalformedMessage(
            "header_len", 1, f"expected at most {len(data)} octets, found {length}"
        )
    return length


def require_checksum(data: bytes, source: IPv6Address, destination: IPv6Address) -> None:
    if checksum(data, source, destination):
        found = int.from_bytes(data[4:6], "big")
        expected = checksum(data[:4] + b"\0\0" + data[6:], source, destination)
        raise BadChecksum("checksum", 4, f"expected {expected:#06x}, found {found:#06x}")


def require_no_next_header(data: bytes) -> None:
    if data[0] != NO_NEXT_HEADER:
        raise BadPayloadProto(
            "payload_proto", 0, f"expected {NO_NEXT_HEADER} (no next header), found {data[0]}"
        )


def finish(out: bytearray) -> None:
    """Pad to a multiple of 8 octets and fill in the Header Len."""
    out += PADDING[-len(out) % 8]
    if len(out) > MOST_OCTETS:
        raise ValueError(f"the message takes {len(out)} octets; expected at most {MOST_OCTETS}")
    out[1] = len(out) // 8 - 1
