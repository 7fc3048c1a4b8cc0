"""Type-length-value elements: mobility options (RFC 6275 section 6.2) and the sub-options of the
flow identification option (RFC 6089 section 4.2.1), which follow the same rules.

Pad1 and PadN never show up as elements: decoding accepts and drops them wherever they are, and
encoding puts in what the alignment of each element needs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from nodes.wire.errors import MalformedMessage
from nodes.wire.layout import Alignment, Layout

# A decoder gets the octets from the start of the Mobility Header, and where the body of the element
# starts and ends. An encoder appends to the octets from the start of the Mobility Header.
Decoder = Callable[[bytes, int, int], Any]
Encoder = Callable[[Any, bytearray], None]

PAD1, PADN = 0, 1
PADDING = (b"", b"\0", *(bytes((PADN, count - 2, *bytes(count - 2))) for count in range(2, 8)))

ENCODERS: dict[type, Encoder] = {}
CHECKS: dict[type, Callable[[Any], None]] = {}


class WireFormat:
    """A format that a Layout describes. Constructing one with values that don't fit raises
    ValueError; decoding goes around the constructor and checks what the widths don't."""

    __slots__ = ()
    LAYOUT: ClassVar[Layout]

    def __post_init__(self) -> None:
        CHECKS[type(self)](self)


class Option(WireFormat):
    """A mobility option."""

    __slots__ = ()


class SubOption(WireFormat):
    """A sub-option of the flow identification option."""

    __slots__ = ()


def refuse(format_name: str, name: str, value: object, expected: str) -> ValueError:
    return ValueError(f"{format_name}.{name} is {value!r}; expected {expected}")


def _check_unknown(element: UnknownOption | UnknownSubOption, known: Iterable[int]) -> None:
    name, code, data = type(element).__name__, element.type, element.data
    if not isinstance(code, int) or not PADN < code <= 255:
        raise refuse(name, "type", code, "an integer from 2 to 255")
    if code in known:
        raise refuse(name, "type", code, "a type that has no class of its own")
    if type(data) is not bytes or len(data) > 255:
        raise refuse(name, "data", data, "at most 255 octets as bytes")


@dataclass(frozen=True, slots=True)
class UnknownOption(Option):
    """An option without a class here, as it came."""

    type: int
    data: bytes = b""

    def __post_init__(self) -> None:
        _check_unknown(self, OPTIONS.decoders)


@dataclass(frozen=True, slots=True)
class UnknownSubOption(SubOption):
    """A sub-option without a class here, as it came."""

    type: int
    data: bytes = b""

    def __post_init__(self) -> None:
        _check_unknown(self, SUB_OPTIONS.decoders)


@dataclass(frozen=True, slots=True)
class Registry:
    """The known types of one kind of element."""

    noun: str
    unknown: type[UnknownOption | UnknownSubOption]
    decoders: dict[int, Decoder] = field(default_factory=dict)
    classes: dict[str, type[Any]] = field(default_factory=dict)


OPTIONS = Registry("option", UnknownOption)
SUB_OPTIONS = Registry("sub_option", UnknownSubOption)

# By vendor and sub-type: bodies of the vendor-specific option (RFC 5094) that are known here.
VENDOR_DECODERS: dict[tuple[int, int], Decoder] = {}
VENDOR_SPECIFIC = 19
_VENDOR = struct.Struct(">IB")


def decode_vendor_specific(generic: Decoder, data: bytes, start: int, end: int) -> Any:
    decoder = None
    if end - start >= _VENDOR.size:
        decoder = VENDOR_DECODERS.get(_VENDOR.unpack_from(data, start))
    return (decoder or generic)(data, start, end)


# Options that are kept raw, but whose alignment is known, so that the padding before them comes
# out as their sender put it. RFC 6275 section 6.2 (2, 4, 5), RFC 5844 section 3.3 (36 to 38),
# RFC 7222 section 4 (58).
RAW_ALIGNMENTS = {
    2: Alignment(2),
    4: Alignment(2),
    5: Alignment(8, 2),
    36: Alignment(4),
    37: Alignment(4),
    38: Alignment(4),
    58: Alignment(4),
}


def _append_unknown_option(option: UnknownOption, out: bytearray) -> None:
    alignment = RAW_ALIGNMENTS.get(option.type, Alignment())
    append_body(out, option.type, option.data, alignment)


def _append_unknown_sub_option(sub_option: UnknownSubOption, out: bytearray) -> None:
    append_body(out, sub_option.type, sub_option.data, Alignment())


ENCODERS[UnknownOption] = _append_unknown_option
ENCODERS[UnknownSubOption] = _append_unknown_sub_option


def decode_elements(registry: Registry, data: bytes, start: int, end: int) -> tuple[Any, ...]:
    """The elements from `start` to `end`. Those of unknown type are kept, not interpreted: the
    receiver MUST skip them and go on with the rest (RFC 6275 section 6.2.1)."""
    decoders = registry.decoders
    elements = []
    while start < end:
        code = data[start]
        if code == PAD1:
            start += 1
            continue
        body = start + 2
        if body > end:
            raise MalformedMessage(
                f"{registry.noun}.length", start + 1, f"expected a length octet after type {code}"
            )
        stop = body + data[start + 1]
        if stop > end:
            raise MalformedMessage(
                f"{registry.noun}.length",
                start + 1,
                f"expected at most {end - body} for type {code}, found {data[start + 1]}",
            )
        if code != PADN:
            decoder = decoders.get(code)
            if decoder is None:
                elements.append(registry.unknown(code, data[body:stop]))
            else:
                elements.append(decoder(data, body, stop))
        start = stop
    return tuple(elements)


def append_elements(out: bytearray, elements: Iterable[WireFormat]) -> None:
    for element in elements:
        ENCODERS[type(element)](element, out)


def append_body(out: bytearray, code: int, body: bytes, alignment: Alignment) -> None:
    """Append one element whose body is at hand."""
    out += PADDING[alignment.padding(len(out))]
    out += bytes((code, len(body)))
    out += body
