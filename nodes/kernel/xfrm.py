"""IPsec in the kernel: security policies and associations (XFRM), as netlink requests.

Numbers and layouts are from linux/xfrm.h.
"""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address, IPv6Network
from typing import Literal, NamedTuple

from nodes.ipsec.security_associations import SecurityAssociation
from nodes.kernel.netlink import NLM_F_CREATE, NLM_F_EXCL, Request, attribute, dump
from nodes.kernel.netlink_replies import attributes

XFRM_MSG_NEWSA, XFRM_MSG_GETSA, XFRM_MSG_UPDPOLICY = 0x10, 0x12, 0x19
XFRMA_TMPL, XFRMA_ALG_AEAD, XFRMA_REPLAY_ESN_VAL = 5, 18, 23
POLICY_IN, POLICY_OUT = 0, 1
ALLOW, BLOCK = 0, 1
MODE_TRANSPORT = 0
IPPROTO_MOBILITY = 135
ICV_BITS = 128
# RFC 4303 section 3.4.3: a window of 64 SHOULD be the default.
REPLAY_WINDOW = 64
NO_LIMIT = 0xFFFF_FFFF_FFFF_FFFF
ANY_ALGORITHM = 0xFFFF_FFFF
WHOLE_PORT = 0xFFFF
# Of policies; smaller ones go first.
PROTECTED, REMAINING = 1_000, 2_000
ANYBODY = IPv6Network("::/0")

_SELECTOR = struct.Struct("=16s16sHHHHHBBB3xiI")
_ID = struct.Struct("=16s4sB3x")
_LIFETIME = struct.pack("=8Q", *[NO_LIMIT] * 4, *[0] * 4)
_USED_SO_FAR = bytes(32)
_STATISTICS = bytes(12)
_STATE_OCTETS = 224

Direction = Literal["in", "out"]


class Traffic(NamedTuple):
    """What a policy is for: Mobility Headers from `source` to `destination`, of one type or all."""

    source: IPv6Network
    destination: IPv6Network
    mh_type: int | None = None


def protect(traffic: Traffic, direction: Direction, reqid: int) -> Request:
    """A policy that asks for ESP in transport mode with the associations that have this `reqid`: in
    place of one for the same traffic, if there is one."""
    template = _ID.pack(traffic.destination.network_address.packed, bytes(4), socket.IPPROTO_ESP)
    template += struct.pack("=H2x", socket.AF_INET6) + traffic.source.network_address.packed
    template += struct.pack("=IBBBx", reqid, MODE_TRANSPORT, 0, 0)
    template += struct.pack("=3I", *[ANY_ALGORITHM] * 3)
    policy = _policy(traffic, direction, ALLOW, PROTECTED)
    return _update(policy + attribute(XFRMA_TMPL, template), traffic, direction, "ESP for")


def refuse(traffic: Traffic, direction: Direction) -> Request:
    """A policy that drops what no other is for."""
    policy = _policy(traffic, direction, BLOCK, REMAINING)
    return _update(policy, traffic, direction, "nothing else of")


def new_association(sa: SecurityAssociation, reqid: int) -> Request:
    """For Mobility Headers from its source alone: an ESP packet in transport mode doesn't
    authenticate the addresses of the IPv6 header."""
    between = Traffic(IPv6Network(sa.source), IPv6Network(sa.destination))
    body = _selector(between)
    body += _ID.pack(sa.destination.packed, struct.pack("!I", sa.spi), socket.IPPROTO_ESP)
    body += sa.source.packed + _LIFETIME + _USED_SO_FAR + _STATISTICS
    body += struct.pack("=IIHBBB7x", 0, reqid, socket.AF_INET6, MODE_TRANSPORT, 0, 0)
    algorithm = b"rfc4106(gcm(aes))".ljust(64, b"\0")
    algorithm += struct.pack("=II", 8 * len(sa.key), ICV_BITS) + sa.key
    words = REPLAY_WINDOW // 32
    replay = struct.pack("=6I", words, 0, 0, 0, 0, REPLAY_WINDOW) + bytes(4 * words)
    body += attribute(XFRMA_ALG_AEAD, algorithm) + attribute(XFRMA_REPLAY_ESN_VAL, replay)
    what = f"security association {sa.spi:#010x} from {sa.source} to {sa.destination}"
    return Request(XFRM_MSG_NEWSA, NLM_F_CREATE | NLM_F_EXCL, body, what)


def associations(channel: socket.socket) -> list[SecurityAssociation]:
    """Those with AES-GCM that the kernel has, keys included."""
    found = []
    for body in dump(channel, XFRM_MSG_GETSA):
        algorithm = dict(attributes(body[_STATE_OCTETS:])).get(XFRMA_ALG_AEAD)
        if algorithm is not None:
            destination, spi, _ = _ID.unpack_from(body, _SELECTOR.size)
            source = body[_SELECTOR.size + _ID.size :][:16]
            ends = IPv6Address(source), IPv6Address(destination)
            found.append(SecurityAssociation(*ends, int.from_bytes(spi, "big"), algorithm[72:]))
    return sorted(found)


def _update(body: bytes, traffic: Traffic, direction: Direction, verb: str) -> Request:
    kind = "Mobility Headers" if traffic.mh_type is None else f"Mobility Header {traffic.mh_type}"
    what = f"policy {direction}: {verb} {kind} from {traffic.source} to {traffic.destination}"
    return Request(XFRM_MSG_UPDPOLICY, 0, body, what)


def _policy(traffic: Traffic, direction: Direction, action: int, priority: int) -> bytes:
    way = POLICY_IN if direction == "in" else POLICY_OUT
    numbers = struct.pack("=IIBBBB4x", priority, 0, way, action, 0, 0)
    return _selector(traffic) + _LIFETIME + _USED_SO_FAR + numbers


def _selector(traffic: Traffic) -> bytes:
    """Where other protocols have the source port, the kernel looks for the Mobility Header type."""
    typed = traffic.mh_type is not None
    return _SELECTOR.pack(
        traffic.destination.network_address.packed,
        traffic.source.network_address.packed,
        0,
        0,
        socket.htons(traffic.mh_type or 0),
        WHOLE_PORT if typed else 0,
        socket.AF_INET6,
        traffic.destination.prefixlen,
        traffic.source.prefixlen,
        IPPROTO_MOBILITY,
        0,
        0,
    )
