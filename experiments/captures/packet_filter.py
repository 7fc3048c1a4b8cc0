"""Classic BPF programs that choose the packets of a capture, for SO_ATTACH_FILTER."""

from __future__ import annotations

import struct
from collections.abc import Sequence

ETH_P_IPV6 = 0x86DD
NH_TCP, NH_UDP, NH_IPV6, NH_FRAGMENT, NH_ESP = 6, 17, 41, 44, 50
NH_DEST_OPTIONS, NH_MOBILITY = 60, 135
# Offsets in an Ethernet frame that carries IPv6, and within an IPv6 header.
ETHERTYPE_AT, NEXT_HEADER_AT, PAYLOAD_AT = 12, 20, 54
IPV6_NEXT_HEADER, TUNNEL_OPTIONS_BYTES = 6, 8

# Classic BPF. Instructions are (code, jump if true, jump if false, constant).
Instruction = tuple[int, int, int, int]
_LOAD_HALF, _LOAD_BYTE, _JUMP_EQUAL, _RETURN = 0x28, 0x30, 0x15, 0x06
_WHOLE_PACKET = 0x40000


def accept_next_headers(next_headers: Sequence[int]) -> list[Instruction]:
    """Accept IPv6 packets with one of these next headers."""
    count = len(next_headers)
    program: list[Instruction] = [
        (_LOAD_HALF, 0, 0, ETHERTYPE_AT),
        (_JUMP_EQUAL, 0, count + 1, ETH_P_IPV6),
        (_LOAD_BYTE, 0, 0, NEXT_HEADER_AT),
    ]
    program += [(_JUMP_EQUAL, count - i, 0, value) for i, value in enumerate(next_headers)]
    return [*program, (_RETURN, 0, 0, 0), (_RETURN, 0, 0, _WHOLE_PACKET)]


def accept_signalling() -> list[Instruction]:
    """Accept Mobility Headers and ESP, whole or in fragments: each tells what it is a piece of."""
    return [
        (_LOAD_HALF, 0, 0, ETHERTYPE_AT),
        (_JUMP_EQUAL, 0, 7, ETH_P_IPV6),
        (_LOAD_BYTE, 0, 0, NEXT_HEADER_AT),
        (_JUMP_EQUAL, 6, 0, NH_MOBILITY),
        (_JUMP_EQUAL, 5, 0, NH_ESP),
        (_JUMP_EQUAL, 0, 3, NH_FRAGMENT),
        (_LOAD_BYTE, 0, 0, PAYLOAD_AT),
        (_JUMP_EQUAL, 2, 0, NH_MOBILITY),
        (_JUMP_EQUAL, 1, 0, NH_ESP),
        (_RETURN, 0, 0, 0),
        (_RETURN, 0, 0, _WHOLE_PACKET),
    ]


def accept_ethertype(ethertype: int) -> list[Instruction]:
    """Accept frames of one EtherType."""
    return [
        (_LOAD_HALF, 0, 0, ETHERTYPE_AT),
        (_JUMP_EQUAL, 1, 0, ethertype),
        (_RETURN, 0, 0, 0),
        (_RETURN, 0, 0, _WHOLE_PACKET),
    ]


def accept_udp_or_tunnelled_udp() -> list[Instruction]:
    """Accept UDP as it is, and in an RFC 2473 tunnel with or without a tunnel encapsulation limit
    option."""
    plain = PAYLOAD_AT + IPV6_NEXT_HEADER
    return [
        (_LOAD_HALF, 0, 0, ETHERTYPE_AT),
        (_JUMP_EQUAL, 0, 9, ETH_P_IPV6),
        (_LOAD_BYTE, 0, 0, NEXT_HEADER_AT),
        (_JUMP_EQUAL, 8, 0, NH_UDP),
        (_JUMP_EQUAL, 4, 0, NH_IPV6),
        (_JUMP_EQUAL, 0, 5, NH_DEST_OPTIONS),
        (_LOAD_BYTE, 0, 0, plain + TUNNEL_OPTIONS_BYTES),
        (_JUMP_EQUAL, 2, 3, NH_UDP),
        (_RETURN, 0, 0, 0),
        (_LOAD_BYTE, 0, 0, plain),
        (_JUMP_EQUAL, 1, 0, NH_UDP),
        (_RETURN, 0, 0, 0),
        (_RETURN, 0, 0, _WHOLE_PACKET),
    ]


def filter_bytes(program: Sequence[Instruction]) -> bytes:
    """The kernel's `struct sock_filter` array."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
