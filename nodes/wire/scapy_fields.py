"""The Scapy fields that a Layout asks for. Needs Scapy; see `scapy_layers`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from scapy.fields import (
    BitEnumField,
    BitField,
    ByteField,
    ConditionalField,
    EnumField,
    Field,
    FieldListField,
    IntField,
    IP6Field,
    IPField,
    LongField,
    PacketListField,
    ShortField,
    StrField,
    XStrField,
)
from scapy.packet import Packet

from nodes.wire import layout as formats
from nodes.wire.layout import Kind, Layout
from nodes.wire.tlv import PADDING, WireFormat

_INTEGERS: dict[int, type[Field[Any, Any]]] = {
    8: ByteField,
    16: ShortField,
    32: IntField,
    64: LongField,
}
_CODES = {8: "B", 16: "H", 32: "I"}
_MOST_ELEMENTS = 127  # 16-bit numbers in the 255 octets of an option

# What cuts the octets of a list into layers, given the layer that holds the list.
Splitter = Callable[[Packet, bytes], list[Packet]]


class FlagField(BitField):
    """A bit, shown with the letter that its RFC gives it."""

    __slots__ = ("letter",)

    def __init__(self, name: str, default: int, letter: str) -> None:
        super().__init__(name, default, 1)
        self.letter = letter

    def i2repr(self, pkt: Packet | None, x: Any) -> str:
        return f"{int(x)} ({self.letter})" if isinstance(x, int) else repr(x)


class LengthField(ByteField):
    """The length octet of an element: that of its content, whatever becomes of it, unless set."""

    def i2h(self, pkt: Packet | None, x: int | None) -> int | None:
        octets = None if pkt is None else pkt.raw_packet_cache
        return len(octets) - 2 if x is None and octets is not None else x


class PresenceField(IntField):
    """The word that says which optional fields are there: those that aren't None, unless set."""

    __slots__ = ("optional",)

    def __init__(self, name: str, optional: tuple[formats.Field, ...]) -> None:
        self.optional = optional
        super().__init__(name, None)

    def word(self, pkt: Packet | None) -> int:
        values = {} if pkt is None else pkt.fields
        given = values.get(self.name)
        if given is not None:
            return int(given)
        return sum(field.present for field in self.optional if values.get(field.name) is not None)

    def i2h(self, pkt: Packet | None, x: Any) -> Any:
        return self.word(pkt) if x is None else x

    def i2repr(self, pkt: Packet | None, x: Any) -> str:
        word = self.i2h(pkt, x)
        letters = [field.letter for field in self.optional if word & field.present]
        return f"{word:#010x} ({', '.join(letters)})"

    def addfield(self, pkt: Packet, s: bytes, val: Any) -> bytes:
        return super().addfield(pkt, s, self.i2h(pkt, val))


class TimestampField(LongField):
    """Shown as a time, too. The value is 48 bits of seconds and 16 bits of 1/65536 s."""

    def i2repr(self, pkt: Packet | None, x: Any) -> str:
        try:
            moment = datetime.fromtimestamp(x / 65536, UTC)
        except (TypeError, ValueError, OverflowError, OSError):
            return repr(x)
        return f"{x} ({moment:%Y-%m-%d %H:%M:%S.%f} UTC)"


class MaskedField(IntField):
    """Bits outside the mask are ignored by the receiver and zero from the sender."""

    __slots__ = ("mask",)

    def __init__(self, name: str, default: int | None, mask: int) -> None:
        self.mask = mask
        super().__init__(name, default)

    def m2i(self, pkt: Packet | None, x: int) -> int:
        return x & self.mask

    def i2m(self, pkt: Packet | None, x: int | None) -> int:
        return int(x or 0) & self.mask


class IPv6Field(IP6Field):
    """Takes addresses of the `ipaddress` module as well."""

    def h2i(self, pkt: Packet | None, x: Any) -> Any:
        return super().h2i(pkt, str(x) if isinstance(x, IPv6Address) else x)


class IPv4Field(IPField):
    """Takes addresses of the `ipaddress` module as well."""

    def h2i(self, pkt: Packet | None, x: Any) -> Any:
        return super().h2i(pkt, str(x) if isinstance(x, IPv4Address) else x)


class AnyAddressField(Field[str | None, bytes]):
    """What is left of the octets: nothing (None), an IPv4 address or an IPv6 address."""

    def any2i(self, pkt: Packet | None, x: Any) -> str | None:
        return None if x is None else str(ip_address(x))

    def i2repr(self, pkt: Packet | None, x: Any) -> str:
        return str(x)

    def addfield(self, pkt: Packet, s: bytes, val: str | None) -> bytes:
        return s if val is None else s + ip_address(val).packed

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, str | None]:
        return b"", str(ip_address(s)) if s else None


class NumbersField(FieldListField):
    """Takes tuples as well as lists."""

    def any2i(self, pkt: Packet | None, x: Any) -> list[Any]:
        return super().any2i(pkt, list(x) if isinstance(x, tuple) else x)


class ElementsField(PacketListField):
    """A list of options or sub-options: the rest of its layer's octets, without the padding.

    On building, each is padded as its alignment asks. What has no alignment (Pad1, PadN, Raw) goes
    in as it is.
    """

    __slots__ = ("split",)

    def __init__(self, name: str, split: Splitter) -> None:
        super().__init__(name, [], Packet)
        self.split = split

    def any2i(self, pkt: Packet | None, x: Any) -> list[Any]:
        return super().any2i(pkt, list(x) if isinstance(x, tuple) else x)

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, list[Any]]:
        return b"", list(self.split(pkt, s))

    def addfield(self, pkt: Packet, s: bytes, val: Any) -> bytes:
        for item in val:
            append = getattr(type(item), "append_to", None)
            s = s + bytes(item) if append is None else append(item, s)
        return s


class OptionsField(ElementsField):
    """Those of a message, which they end on a multiple of 8 octets (RFC 6275 section 6.1.1)."""

    def addfield(self, pkt: Packet, s: bytes, val: Any) -> bytes:
        s = super().addfield(pkt, s, val)
        return s + PADDING[-len(s) % 8]


def _default(field: formats.Field, cls: type[WireFormat] | None) -> Any:
    """That of the codec's class; where it has none, the least legal value."""
    if cls is not None:
        for attribute in fields(cls):  # type: ignore[arg-type]
            if attribute.name == field.name and attribute.default is not MISSING:
                value = attribute.default
                return int(value) if isinstance(value, int) else value
    match field.kind:
        case Kind.IPV6:
            return "::"
        case Kind.ADDRESS:
            return None if 0 in field.sizes else "::"
        case Kind.BYTES | Kind.TEXT:
            return b""
        case Kind.UINT16_LIST:
            return [0]
        case _:
            return field.minimum


def _integer(field: formats.Field, default: int | None, at_octet: bool) -> Field[Any, Any]:
    if field.values is not None:
        names = {member.value: member.name for member in field.values}
        if at_octet and field.bits in _CODES:
            return EnumField(field.name, default, names, _CODES[field.bits])
        return BitEnumField(field.name, default, field.bits, names)
    if field.mask:
        return MaskedField(field.name, default, field.mask)
    if at_octet and field.bits in _INTEGERS:
        return _INTEGERS[field.bits](field.name, default)
    return BitField(field.name, default, field.bits)


def _made(
    field: formats.Field, default: Any, at_octet: bool, split: Splitter | None
) -> Field[Any, Any]:
    match field.kind:
        case Kind.UINT | Kind.CONSTANT | Kind.RESERVED:
            return _integer(field, default, at_octet)
        case Kind.FLAG:
            return FlagField(field.name, default, field.letter)
        case Kind.TIMESTAMP:
            return TimestampField(field.name, default)
        case Kind.IPV6:
            return IPv6Field(field.name, default)
        case Kind.IPV4:
            return IPv4Field(field.name, default)
        case Kind.BYTES:
            return XStrField(field.name, default)
        case Kind.TEXT:
            return StrField(field.name, default)
        case Kind.ADDRESS:
            return AnyAddressField(field.name, default)
        case Kind.UINT16_LIST:
            number = ShortField("number", 0)
            return NumbersField(field.name, default, number, max_count=_MOST_ELEMENTS)
        case Kind.OPTIONS | Kind.SUB_OPTIONS if split is not None:
            made = OptionsField if field.kind is Kind.OPTIONS else ElementsField
            return made(field.name, split)
        case kind:
            raise TypeError(f"{field.name}: no Scapy field for {kind}")


def scapy_fields(
    layout: Layout, cls: type[WireFormat] | None = None, split: Splitter | None = None
) -> list[Any]:
    """In the order of the wire, with the defaults of `cls`. Reserved fields can be set, to see what
    a receiver does; further ones of a layout are called reserved_2 and so on."""
    optional = tuple(field for field in layout.fields if field.present)
    result: list[Any] = []
    presence: PresenceField | None = None
    bits = reserved = 0
    for field in layout.fields:
        if field.kind is Kind.PRESENCE:
            presence = PresenceField(field.name, optional)
            made: Any = presence
        elif field.present:
            assert presence is not None
            made = _conditional(_made(field, None, True, None), presence, field.present)
        else:
            default = int(field.constant) or _default(field, cls)
            made = _made(field, default, bits % 8 == 0, split)
        if field.kind is Kind.RESERVED:
            reserved += 1
            if reserved > 1:
                made.name = f"{field.name}_{reserved}"
        bits += field.bits
        result.append(made)
    return result


def _conditional(field: Field[Any, Any], presence: PresenceField, bit: int) -> ConditionalField:
    return ConditionalField(field, lambda pkt: bool(presence.word(pkt) & bit))
