"""Binary traffic selectors (RFC 6088), as the sub-option 3 that carries them (RFC 6089 4.2.1.4).

Which fields are there varies, so unlike other formats they are read and written by walking their
layout. Fields come in pairs, the start and the end of a range, both inclusive.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from nodes.wire.compiler import ip_address
from nodes.wire.errors import MalformedMessage
from nodes.wire.layout import Alignment, Field, Kind, Layout, constant, reserved
from nodes.wire.tlv import ENCODERS, SUB_OPTIONS, SubOption, append_body, refuse
from nodes.wire.values import TrafficSelectorFormat

SUB_OPTION_TYPE = 3
_BEFORE_FLAGS = 2  # TS Format and Reserved, then 32 bits of flags and reserved bits
_FIXED = _BEFORE_FLAGS + 4


@dataclass(frozen=True, slots=True)
class PacketFields:
    """What selectors look at, as seen on packets from the correspondent node to the mobile node.

    None: the packet has no such field, and a selector that asks for it doesn't match.
    """

    source: IPv6Address | IPv4Address
    destination: IPv6Address | IPv4Address
    protocol: int
    source_port: int | None = None
    destination_port: int | None = None
    traffic_class: int = 0
    flow_label: int | None = None
    spi: int | None = None

    def reversed(self) -> PacketFields:
        """For a packet from the mobile node: the one that would come back. Flow label and SPI are
        chosen by each sender for itself, so those of the other direction aren't known."""
        return PacketFields(
            self.destination,
            self.source,
            self.protocol,
            self.destination_port,
            self.source_port,
            self.traffic_class,
        )


def _fields(pairs: tuple[tuple[str, Kind, int, int], ...]) -> tuple[Field, ...]:
    """The optional fields: each pair is name, kind, bits and mask. Their flags are lettered from A
    and start at the most significant bit."""
    fields = []
    for index, (name, kind, bits, mask) in enumerate(pairs):
        for half, edge in enumerate(("start", "end")):
            number = 2 * index + half
            fields.append(
                Field(
                    f"{edge}_{name}",
                    kind,
                    bits,
                    maximum=(1 << bits) - 1 if kind is Kind.UINT and not mask else mask,
                    letter=chr(ord("A") + number),
                    present=1 << (31 - number),
                    mask=mask,
                )
            )
    return tuple(fields)


def _layout(
    ts_format: TrafficSelectorFormat, section: str, pairs: tuple[tuple[str, Kind, int, int], ...]
) -> Layout:
    head = (constant("ts_format", 8, ts_format), reserved(8), Field("flags", Kind.PRESENCE, 32))
    return Layout(SUB_OPTION_TYPE, section, (*head, *_fields(pairs)))


# RFC 6088 section 3.2 takes flow labels for 24 bits long and has the receiver ignore the first 8 of
# 32 bits. They have 20 bits (RFC 8200 section 3), so 12 bits are ignored here.
_IPV6 = _layout(
    TrafficSelectorFormat.IPV6_BINARY,
    "RFC 6088 section 3.2",
    (
        ("source_address", Kind.IPV6, 128, 0),
        ("destination_address", Kind.IPV6, 128, 0),
        ("spi", Kind.UINT, 32, 0),
        ("flow_label", Kind.UINT, 32, 0xFFFFF),
        ("source_port", Kind.UINT, 16, 0),
        ("destination_port", Kind.UINT, 16, 0),
        ("traffic_class", Kind.UINT, 8, 0),
        ("next_header", Kind.UINT, 8, 0),
    ),
)
_IPV4 = _layout(
    TrafficSelectorFormat.IPV4_BINARY,
    "RFC 6088 section 3.1",
    (
        ("source_address", Kind.IPV4, 32, 0),
        ("destination_address", Kind.IPV4, 32, 0),
        ("spi", Kind.UINT, 32, 0),
        ("source_port", Kind.UINT, 16, 0),
        ("destination_port", Kind.UINT, 16, 0),
        ("ds", Kind.UINT, 8, 0),
        ("protocol", Kind.UINT, 8, 0),
    ),
)
# The attribute of PacketFields that a pair of fields is about, where the names differ.
_PACKET_FIELDS = {
    "source_address": "source",
    "destination_address": "destination",
    "next_header": "protocol",
    "ds": "traffic_class",
}


def _comparable(name: str, value: Any) -> int:
    """The two least significant bits of DS and TC belong to ECN and MUST be ignored in any
    comparison (RFC 6088 sections 3.1 and 3.2)."""
    return int(value) >> 2 if name in ("traffic_class", "ds") else int(value)


class _BinaryTrafficSelector(SubOption):
    __slots__ = ()

    def __post_init__(self) -> None:
        name = type(self).__name__
        for field in self.LAYOUT.named_fields:
            value = getattr(self, field.name)
            if value is not None and not _fits(field, value):
                raise refuse(name, field.name, value, _expected(field))
        problem = _range_problem(self)
        if problem is not None:
            wrong, expected = problem
            raise refuse(name, wrong.name, getattr(self, wrong.name), expected)

    def _ranges(self) -> list[tuple[str, Any, Any]]:
        """Name, start and end of the ranges that are there."""
        found = []
        for field in self.LAYOUT.named_fields[::2]:
            start = getattr(self, field.name)
            if start is not None:
                name = field.name.removeprefix("start_")
                end = getattr(self, f"end_{name}")
                found.append((name, start, start if end is None else end))
        return found

    def matches(self, packet: PacketFields) -> bool:
        """Whether all ranges hold the packet's values; a selector without any matches all packets
        of its IP version."""
        if packet.source.version != (6 if self.LAYOUT is _IPV6 else 4):
            return False
        for name, start, end in self._ranges():
            value = getattr(packet, _PACKET_FIELDS.get(name, name))
            if value is None:
                return False
            value = _comparable(name, value)
            if not _comparable(name, start) <= value <= _comparable(name, end):
                return False
        return True


def _fits(field: Field, value: object) -> bool:
    if field.kind is Kind.UINT:
        return isinstance(value, int) and 0 <= value <= field.maximum
    return type(value) is (IPv6Address if field.kind is Kind.IPV6 else IPv4Address)


def _expected(field: Field) -> str:
    if field.kind is Kind.UINT:
        return f"an integer from 0 to {field.maximum} or None"
    return f"an {'IPv6Address' if field.kind is Kind.IPV6 else 'IPv4Address'} or None"


def _range_problem(selector: _BinaryTrafficSelector) -> tuple[Field, str] | None:
    """The end that has no start, which MUST NOT be (RFC 6088 section 3), or is below it."""
    fields = selector.LAYOUT.named_fields
    for first, last in zip(fields[::2], fields[1::2], strict=True):
        start, end = getattr(selector, first.name), getattr(selector, last.name)
        if end is None:
            continue
        if start is None:
            return last, f"None, because {first.name} is None"
        name = first.name.removeprefix("start_")
        if _comparable(name, end) < _comparable(name, start):
            return last, f"at least {first.name}, which is {start!s}"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class IPv6TrafficSelector(_BinaryTrafficSelector):
    start_source_address: IPv6Address | None = None
    end_source_address: IPv6Address | None = None
    start_destination_address: IPv6Address | None = None
    end_destination_address: IPv6Address | None = None
    start_spi: int | None = None
    end_spi: int | None = None
    start_flow_label: int | None = None
    end_flow_label: int | None = None
    start_source_port: int | None = None
    end_source_port: int | None = None
    start_destination_port: int | None = None
    end_destination_port: int | None = None
    start_traffic_class: int | None = None
    end_traffic_class: int | None = None
    start_next_header: int | None = None
    end_next_header: int | None = None

    @classmethod
    def of(
        cls,
        *,
        source: IPv6Network | None = None,
        destination: IPv6Network | None = None,
        protocol: int | None = None,
        source_port: int | None = None,
        destination_port: int | None = None,
    ) -> IPv6TrafficSelector:
        """Networks become ranges of addresses, the rest single values."""
        start_source, end_source = _edges(source)
        start_destination, end_destination = _edges(destination)
        return cls(
            start_source_address=start_source,
            end_source_address=end_source,
            start_destination_address=start_destination,
            end_destination_address=end_destination,
            start_next_header=protocol,
            start_source_port=source_port,
            start_destination_port=destination_port,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class IPv4TrafficSelector(_BinaryTrafficSelector):
    start_source_address: IPv4Address | None = None
    end_source_address: IPv4Address | None = None
    start_destination_address: IPv4Address | None = None
    end_destination_address: IPv4Address | None = None
    start_spi: int | None = None
    end_spi: int | None = None
    start_source_port: int | None = None
    end_source_port: int | None = None
    start_destination_port: int | None = None
    end_destination_port: int | None = None
    start_ds: int | None = None
    end_ds: int | None = None
    start_protocol: int | None = None
    end_protocol: int | None = None

    @classmethod
    def of(
        cls,
        *,
        source: IPv4Network | None = None,
        destination: IPv4Network | None = None,
        protocol: int | None = None,
        source_port: int | None = None,
        destination_port: int | None = None,
    ) -> IPv4TrafficSelector:
        """Networks become ranges of addresses, the rest single values."""
        start_source, end_source = _edges(source)
        start_destination, end_destination = _edges(destination)
        return cls(
            start_source_address=start_source,
            end_source_address=end_source,
            start_destination_address=start_destination,
            end_destination_address=end_destination,
            start_protocol=protocol,
            start_source_port=source_port,
            start_destination_port=destination_port,
        )


def _edges(network: IPv4Network | IPv6Network | None) -> tuple[Any, Any]:
    """First and last address; no last one if there is only one."""
    if network is None:
        return None, None
    return network[0], network[-1] if network.num_addresses > 1 else None


TrafficSelector = IPv6TrafficSelector | IPv4TrafficSelector


@dataclass(frozen=True, slots=True)
class UnknownTrafficSelector(SubOption):
    """A traffic selector whose format isn't one of RFC 6088, as it came."""

    ts_format: int
    data: bytes = b""

    def __post_init__(self) -> None:
        known = set(TrafficSelectorFormat)
        if not isinstance(self.ts_format, int) or self.ts_format not in set(range(256)) - known:
            expected = "an integer from 0 to 255 other than 1 and 2"
            raise refuse("UnknownTrafficSelector", "ts_format", self.ts_format, expected)
        if type(self.data) is not bytes or len(self.data) > 255 - _BEFORE_FLAGS:
            expected = f"at most {255 - _BEFORE_FLAGS} octets as bytes"
            raise refuse("UnknownTrafficSelector", "data", self.data, expected)


_CLASSES: dict[int, type[_BinaryTrafficSelector]] = {
    TrafficSelectorFormat.IPV4_BINARY: IPv4TrafficSelector,
    TrafficSelectorFormat.IPV6_BINARY: IPv6TrafficSelector,
}
IPv4TrafficSelector.LAYOUT = _IPV4
IPv6TrafficSelector.LAYOUT = _IPV6


def _decode(data: bytes, start: int, end: int) -> SubOption:
    if end - start < _BEFORE_FLAGS:
        reason = f"expected at least {_BEFORE_FLAGS} octets, found {end - start}"
        raise MalformedMessage("TrafficSelector.length", start - 1, reason)
    cls = _CLASSES.get(data[start])
    if cls is None:
        return UnknownTrafficSelector(data[start], data[start + _BEFORE_FLAGS : end])
    name = cls.__name__
    position = start + _FIXED
    if position > end:
        reason = f"expected at least {_FIXED} octets, found {end - start}"
        raise MalformedMessage(f"{name}.length", start - 1, reason)
    flags = int.from_bytes(data[position - 4 : position], "big")
    values: dict[str, Any] = {}
    offsets: dict[str, int] = {}
    for field in cls.LAYOUT.named_fields:
        if flags & field.present:
            stop = position + field.bits // 8
            if stop > end:
                reason = f"expected {field.bits // 8} octets, found {end - position}"
                raise MalformedMessage(f"{name}.{field.name}", position, reason)
            values[field.name] = _value(field, data[position:stop])
            offsets[field.name] = position
            position = stop
    if position != end:
        reason = f"expected {position - start} octets for these flags, found {end - start}"
        raise MalformedMessage(f"{name}.length", start - 1, reason)
    selector = object.__new__(cls)
    for field in cls.LAYOUT.named_fields:
        object.__setattr__(selector, field.name, values.get(field.name))
    problem = _range_problem(selector)
    if problem is not None:
        wrong, expected = problem
        found = values[wrong.name]
        raise MalformedMessage(
            f"{name}.{wrong.name}", offsets[wrong.name], f"expected {expected}, found {found}"
        )
    return selector


def _value(field: Field, packed: bytes) -> Any:
    if field.kind is not Kind.UINT:
        return ip_address(packed)
    value = int.from_bytes(packed, "big")
    return value & field.mask if field.mask else value


def alignment_of(selector: Any) -> Alignment:
    """Of a selector or what has its layout and attributes: that of the widest kind of field
    that is there (RFC 6088 sections 3.1 and 3.2), 8n at most."""
    fields = selector.LAYOUT.named_fields
    widths = [field.bits // 8 for field in fields if getattr(selector, field.name) is not None]
    return Alignment(min(max(widths, default=1), 8))


def _encode(selector: _BinaryTrafficSelector, out: bytearray) -> None:
    flags, values = 0, b""
    for field in selector.LAYOUT.named_fields:
        value = getattr(selector, field.name)
        if value is not None:
            flags |= field.present
            octets = field.bits // 8
            values += value.to_bytes(octets, "big") if field.kind is Kind.UINT else value.packed
    head = bytes((selector.LAYOUT.fields[0].constant, 0)) + flags.to_bytes(4, "big")
    append_body(out, SUB_OPTION_TYPE, head + values, alignment_of(selector))


def _encode_unknown(selector: UnknownTrafficSelector, out: bytearray) -> None:
    # What the selector needs isn't known; the sub-option's own fields are octets.
    append_body(out, SUB_OPTION_TYPE, bytes((selector.ts_format, 0)) + selector.data, Alignment())


SUB_OPTIONS.decoders[SUB_OPTION_TYPE] = _decode
ENCODERS[IPv6TrafficSelector] = ENCODERS[IPv4TrafficSelector] = _encode
ENCODERS[UnknownTrafficSelector] = _encode_unknown
for _cls in (IPv6TrafficSelector, IPv4TrafficSelector, UnknownTrafficSelector):
    SUB_OPTIONS.classes[_cls.__name__] = _cls
