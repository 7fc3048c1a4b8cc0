"""Solicitations and advertisements of routers and neighbours (RFC 4861 section 4).

The MAG sends advertisements to one mobile node at a time, which solicits and reads them, and asks
whether it is still there. Messages
are from the ICMPv6 type on. That the hop limit is 255 (section 6.1) is for who has the IPv6 header
to check.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import NoReturn

from nodes.wire.errors import BadChecksum, MalformedMessage
from nodes.wire.mobility_header import checksum

NEXT_HEADER_ICMPV6 = 58
HOP_LIMIT = 255
ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT = 133, 134
NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT = 135, 136
ALL_NODES = IPv6Address("ff02::1")
ALL_ROUTERS = IPv6Address("ff02::2")
INFINITE_LIFETIME_S = 0xFFFFFFFF

_SOURCE_LINK_LAYER_ADDRESS, _PREFIX_INFORMATION, _MTU = 1, 3, 5
_SOLICITATION = struct.Struct(">BBH4x")
_ADVERTISEMENT = struct.Struct(">BBHBBHII")
_NEIGHBOUR = struct.Struct(">BBHB3x16s")
_PREFIX = struct.Struct(">BBBBII4x16s")
_MTU_OPTION = struct.Struct(">BB2xI")
_UNSPECIFIED = IPv6Address(0)


def _require(condition: bool, name: str, value: object, expected: str) -> None:
    if not condition:
        raise ValueError(f"{name} is {value!r}; expected {expected}")


def _require_range(owner: str, bits: int, **values: int) -> None:
    for name, value in values.items():
        most = (1 << bits) - 1
        fits = isinstance(value, int) and 0 <= value <= most
        _require(fits, f"{owner}.{name}", value, f"an integer from 0 to {most}")


def _require_link_layer_address(owner: str, address: bytes | None) -> None:
    # Options are in units of 8 octets (section 4.6); Ethernet addresses fill one with type and
    # length. For others that fit, RFC 2464 and its like would have to be asked.
    fits = address is None or (type(address) is bytes and len(address) == 6)
    _require(fits, f"{owner}.source_link_layer_address", address, "6 octets as bytes, or None")


@dataclass(frozen=True, slots=True)
class PrefixInformation:
    """Section 4.6.2. The defaults are those of AdvPrefixList (section 6.2.1)."""

    prefix: IPv6Network
    on_link: bool = True
    autonomous: bool = True
    valid_lifetime_s: int = 2_592_000
    preferred_lifetime_s: int = 604_800

    def __post_init__(self) -> None:
        name = "PrefixInformation"
        is_network = isinstance(self.prefix, IPv6Network)
        _require(is_network, f"{name}.prefix", self.prefix, "an IPv6Network")
        _require_range(
            name,
            32,
            valid_lifetime_s=self.valid_lifetime_s,
            preferred_lifetime_s=self.preferred_lifetime_s,
        )
        _require(
            self.preferred_lifetime_s <= self.valid_lifetime_s,
            f"{name}.preferred_lifetime_s",
            self.preferred_lifetime_s,
            f"at most the valid lifetime, {self.valid_lifetime_s}",
        )


@dataclass(frozen=True, slots=True)
class RouterSolicitation:
    source_link_layer_address: bytes | None = None

    def __post_init__(self) -> None:
        _require_link_layer_address("RouterSolicitation", self.source_link_layer_address)


@dataclass(frozen=True, slots=True)
class RouterAdvertisement:
    """Router lifetime 0: not a default router. Other fields that are 0: unspecified."""

    router_lifetime_s: int
    prefixes: tuple[PrefixInformation, ...] = ()
    mtu: int | None = None
    source_link_layer_address: bytes | None = None
    hop_limit: int = 64
    managed: bool = False
    other: bool = False
    reachable_time_ms: int = 0
    retrans_timer_ms: int = 0

    def __post_init__(self) -> None:
        name = "RouterAdvertisement"
        _require_range(name, 16, router_lifetime_s=self.router_lifetime_s)
        _require_range(name, 8, hop_limit=self.hop_limit)
        _require_range(
            name,
            32,
            reachable_time_ms=self.reachable_time_ms,
            retrans_timer_ms=self.retrans_timer_ms,
            mtu=0 if self.mtu is None else self.mtu,
        )
        _require_link_layer_address(name, self.source_link_layer_address)
        _require(
            type(self.prefixes) is tuple
            and all(isinstance(item, PrefixInformation) for item in self.prefixes),
            f"{name}.prefixes",
            self.prefixes,
            "a tuple of PrefixInformation",
        )


@dataclass(frozen=True, slots=True)
class NeighbourSolicitation:
    target: IPv6Address
    source_link_layer_address: bytes | None = None

    def __post_init__(self) -> None:
        _require_link_layer_address("NeighbourSolicitation", self.source_link_layer_address)
        _require_unicast("NeighbourSolicitation", self.target)


@dataclass(frozen=True, slots=True)
class NeighbourAdvertisement:
    """Without its Target Link-layer Address option, which is the kernel's business."""

    target: IPv6Address
    router: bool = False
    solicited: bool = False
    override: bool = False

    def __post_init__(self) -> None:
        _require_unicast("NeighbourAdvertisement", self.target)


def _require_unicast(owner: str, target: IPv6Address) -> None:
    _require(not target.is_multicast, f"{owner}.target", target, "no multicast address")


NeighbourDiscovery = (
    RouterSolicitation | RouterAdvertisement | NeighbourSolicitation | NeighbourAdvertisement
)


def encode(message: NeighbourDiscovery, source: IPv6Address, destination: IPv6Address) -> bytes:
    """Raises ValueError for addresses that the message must not be sent with."""
    out = bytearray()
    if isinstance(message, RouterSolicitation):
        out += _SOLICITATION.pack(ROUTER_SOLICITATION, 0, 0)
    elif isinstance(message, NeighbourSolicitation):
        out += _NEIGHBOUR.pack(NEIGHBOUR_SOLICITATION, 0, 0, 0, message.target.packed)
    elif isinstance(message, NeighbourAdvertisement):
        flags = message.router << 7 | message.solicited << 6 | message.override << 5
        out += _NEIGHBOUR.pack(NEIGHBOUR_ADVERTISEMENT, 0, 0, flags, message.target.packed)
    else:
        flags = (0x80 if message.managed else 0) | (0x40 if message.other else 0)
        out += _ADVERTISEMENT.pack(
            ROUTER_ADVERTISEMENT,
            0,
            0,
            message.hop_limit,
            flags,
            message.router_lifetime_s,
            message.reachable_time_ms,
            message.retrans_timer_ms,
        )
    own = _own_link_layer_address(message)
    if own is not None:
        out += bytes((_SOURCE_LINK_LAYER_ADDRESS, 1)) + own
    if isinstance(message, RouterAdvertisement):
        if message.mtu is not None:
            out += _MTU_OPTION.pack(_MTU, 1, message.mtu)
        for prefix in message.prefixes:
            out += _encode_prefix(prefix)
    problem = _address_problem(message, source)
    _require(problem is None, "source", source, str(problem))
    total = checksum(out, source, destination, NEXT_HEADER_ICMPV6)
    out[2:4] = total.to_bytes(2, "big")
    return bytes(out)


def _own_link_layer_address(message: NeighbourDiscovery) -> bytes | None:
    if isinstance(message, NeighbourAdvertisement):
        return None
    return message.source_link_layer_address


def _encode_prefix(prefix: PrefixInformation) -> bytes:
    return _PREFIX.pack(
        _PREFIX_INFORMATION,
        4,
        prefix.prefix.prefixlen,
        (0x80 if prefix.on_link else 0) | (0x40 if prefix.autonomous else 0),
        prefix.valid_lifetime_s,
        prefix.preferred_lifetime_s,
        prefix.prefix.network_address.packed,
    )


def _address_problem(message: NeighbourDiscovery, source: IPv6Address) -> str | None:
    """What is expected of the source address and isn't so (sections 4.1 to 4.4, 6.1 and
    7.1)."""
    if isinstance(message, RouterAdvertisement):
        return None if source.is_link_local else "a link-local address"
    if isinstance(message, NeighbourAdvertisement):
        return "a specified address" if source == _UNSPECIFIED else None
    if message.source_link_layer_address is not None and source == _UNSPECIFIED:
        return "a specified address, because there is a source link-layer address"
    return None


def decode(
    data: bytes, source: IPv6Address, destination: IPv6Address, *, verify_checksum: bool = True
) -> NeighbourDiscovery:
    """Raises MalformedMessage if the message isn't valid by section 6.1 or 7.1, or is none of the
    four.

    Options that aren't known are skipped (section 4.6), and so are those that don't belong there.
    """
    if len(data) < _SOLICITATION.size:
        _fail("icmpv6", len(data), f"expected at least {_SOLICITATION.size} octets")
    if verify_checksum and _received_checksum(data, source, destination):
        raise BadChecksum("checksum", 2, "expected another value for these addresses")
    if data[1] != 0:
        _fail("code", 1, f"expected 0, found {data[1]}")
    message: NeighbourDiscovery
    if data[0] == ROUTER_SOLICITATION:
        message = RouterSolicitation(_Options(data, _SOLICITATION.size).link_layer_address)
    elif data[0] == ROUTER_ADVERTISEMENT:
        message = _decode_advertisement(data)
    elif data[0] in (NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT):
        message = _decode_neighbour(data, destination)
    else:
        _fail("type", 0, f"expected 133 to 136, found {data[0]}")
    problem = _address_problem(message, source)
    if problem is not None:
        _fail("source", 0, f"expected {problem}, found {source}")
    return message


def _received_checksum(data: bytes, source: IPv6Address, destination: IPv6Address) -> int:
    """0 if right. The sum pads an odd number of octets with zero; the length doesn't count it."""
    padding = len(data) % 2
    total = checksum(data + bytes(padding), source, destination, NEXT_HEADER_ICMPV6)
    return (total + padding) % 0xFFFF


def _fail(field: str, offset: int, reason: str) -> NoReturn:
    raise MalformedMessage(field, offset, reason)


def _decode_advertisement(data: bytes) -> RouterAdvertisement:
    if len(data) < _ADVERTISEMENT.size:
        _fail("icmpv6", len(data), f"expected at least {_ADVERTISEMENT.size} octets")
    _, _, _, hop_limit, flags, lifetime, reachable, retrans = _ADVERTISEMENT.unpack_from(data)
    options = _Options(data, _ADVERTISEMENT.size)
    return RouterAdvertisement(
        router_lifetime_s=lifetime,
        prefixes=tuple(options.prefixes),
        mtu=options.mtu,
        source_link_layer_address=options.link_layer_address,
        hop_limit=hop_limit,
        managed=flags & 0x80 != 0,
        other=flags & 0x40 != 0,
        reachable_time_ms=reachable,
        retrans_timer_ms=retrans,
    )


def _decode_neighbour(
    data: bytes, destination: IPv6Address
) -> NeighbourSolicitation | NeighbourAdvertisement:
    if len(data) < _NEIGHBOUR.size:
        _fail("icmpv6", len(data), f"expected at least {_NEIGHBOUR.size} octets")
    kind, _, _, flags, octets = _NEIGHBOUR.unpack_from(data)
    target = IPv6Address(octets)
    if target.is_multicast:
        _fail("target", 8, f"expected no multicast address, found {target}")
    options = _Options(data, _NEIGHBOUR.size)
    if kind == NEIGHBOUR_SOLICITATION:
        return NeighbourSolicitation(target, options.link_layer_address)
    router, solicited, override = (flags & bit != 0 for bit in (0x80, 0x40, 0x20))
    if solicited and destination.is_multicast:
        _fail("solicited", 4, "expected 0, because the destination is a multicast address")
    return NeighbourAdvertisement(target, router, solicited, override)


class _Options:
    """The options that are of use, from `start` to the end."""

    def __init__(self, data: bytes, start: int) -> None:
        self.link_layer_address: bytes | None = None
        self.mtu: int | None = None
        self.prefixes: list[PrefixInformation] = []
        while start < len(data):
            if start + 2 > len(data) or data[start + 1] == 0:
                _fail("option.length", start + 1, "expected a length of at least 1")
            stop = start + data[start + 1] * 8
            if stop > len(data):
                reason = f"expected at most {len(data) - start} octets, found {stop - start}"
                _fail("option.length", start + 1, reason)
            self._take(data, start, stop)
            start = stop

    def _take(self, data: bytes, start: int, stop: int) -> None:
        kind, octets = data[start], stop - start
        if kind == _SOURCE_LINK_LAYER_ADDRESS and octets == 8:
            self.link_layer_address = data[start + 2 : stop]
        elif kind == _MTU:
            _require_octets(start, octets, _MTU_OPTION.size)
            self.mtu = _MTU_OPTION.unpack_from(data, start)[2]
        elif kind == _PREFIX_INFORMATION:
            _require_octets(start, octets, _PREFIX.size)
            prefix = _decode_prefix(data, start)
            if prefix is not None:
                self.prefixes.append(prefix)


def _require_octets(start: int, found: int, expected: int) -> None:
    if found != expected:
        _fail("option.length", start + 1, f"expected {expected} octets, found {found}")


def _decode_prefix(data: bytes, start: int) -> PrefixInformation | None:
    """None if the lifetimes contradict each other, for the receiver to ignore (RFC 4862 5.5.3)."""
    _, _, length, flags, valid, preferred, prefix = _PREFIX.unpack_from(data, start)
    if length > 128:
        _fail("prefix_length", start + 2, f"expected 0 to 128, found {length}")
    if preferred > valid:
        return None
    return PrefixInformation(
        IPv6Network((prefix, length), strict=False),
        on_link=flags & 0x80 != 0,
        autonomous=flags & 0x40 != 0,
        valid_lifetime_s=valid,
        preferred_lifetime_s=preferred,
    )
