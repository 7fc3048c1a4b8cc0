"""Makes decoder, encoder and constructor checks of a class from its Layout.

They are generated as Python source, as `dataclasses` does it with constructors: one function per
format without a loop over its fields. Interpreting the layouts instead takes three times as long,
and an LMA decodes and encodes some 14 options per registration. `source_of` shows the result.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache, partial
from ipaddress import IPv4Address, IPv6Address
from typing import Any, TypeVar

from nodes.wire import tlv
from nodes.wire.errors import HeaderTooShort, MalformedMessage
from nodes.wire.layout import Field, Kind, Layout
from nodes.wire.tlv import Decoder, Registry, WireFormat

T = TypeVar("T", bound=WireFormat)

MESSAGE_START = 6  # where message data begins in a Mobility Header (RFC 6275 section 6.1.1)
NO_NEXT_HEADER = 59
_CODES = {8: "B", 16: "H", 32: "I", 64: "Q"}


@lru_cache(maxsize=1 << 16)
def ipv6_address(packed: bytes) -> IPv6Address:
    """Constructing an IPv6Address takes longer than decoding an option, and few are used often."""
    return IPv6Address(packed)


def ip_address(packed: bytes) -> IPv4Address | IPv6Address | None:
    if not packed:
        return None
    return IPv4Address(packed) if len(packed) == 4 else ipv6_address(packed)


@dataclass(frozen=True, slots=True)
class _Word:
    """Octets that `struct` handles as one: a field, or several that share them."""

    code: str
    variable: str
    parts: tuple[tuple[Field, int], ...]  # each with its shift


def _words(layout: Layout) -> list[_Word]:
    words: list[_Word] = []
    parts: list[Field] = []
    for field in layout.fields:
        if field is layout.tail:
            break
        if field.kind is Kind.IPV6:
            words.append(_Word("16s", field.name, ((field, 0),)))
        elif field.kind is Kind.RESERVED and not parts and field.bits % 8 == 0:
            words.append(_Word(f"{field.bits // 8}x", "", ()))
        else:
            parts.append(field)
            width = sum(part.bits for part in parts)
            if width in _CODES:
                words.append(_word(parts, width, len(words)))
                parts = []
    if parts:
        raise TypeError(f"{layout.section}: the fields don't fill whole octets")
    return words


def _word(parts: list[Field], width: int, number: int) -> _Word:
    if len(parts) == 1:
        return _Word(_CODES[width], parts[0].name, ((parts[0], 0),))
    shifted = []
    for part in parts:
        width -= part.bits
        shifted.append((part, width))
    return _Word(_CODES[sum(part.bits for part in parts)], f"word{number}", tuple(shifted))


def _read(field: Field, word: _Word, shift: int) -> str:
    """The expression for the value of `field` once `word` is unpacked."""
    if field.kind is Kind.IPV6:
        return f"ipv6_address({word.variable})"
    if field.kind is Kind.FLAG:
        return f"{word.variable} & {1 << shift} != 0"
    if len(word.parts) == 1:
        return word.variable
    return f"({word.variable} >> {shift} & {(1 << field.bits) - 1})"


def _written(word: _Word) -> str:
    """The expression for what to pack into `word`."""
    terms = []
    for field, shift in word.parts:
        if field.kind is Kind.FLAG:
            terms.append(f"({1 << shift} if self.{field.name} else 0)")
        elif field.kind is Kind.CONSTANT:
            terms.append(str(field.constant << shift))
        elif field.kind is Kind.IPV6:
            terms.append(f"self.{field.name}.packed")
        elif field.kind is not Kind.RESERVED:
            terms.append(f"self.{field.name} << {shift}" if shift else f"self.{field.name}")
    return " | ".join(terms)


_TAIL_DECODERS = {
    Kind.BYTES: "data[{start}:end]",
    Kind.TEXT: "data[{start}:end]",
    Kind.ADDRESS: "ip_address(data[{start}:end])",
    Kind.UINT16_LIST: "uint16_list(NAME, {name!r}, data, {start}, end)",
    Kind.OPTIONS: "decode_elements(OPTIONS, data, {start}, end)",
    Kind.SUB_OPTIONS: "decode_elements(SUB_OPTIONS, data, {start}, end)",
}
_TAIL_ENCODERS = {
    Kind.BYTES: "self.{name}",
    Kind.TEXT: "self.{name}",
    Kind.ADDRESS: "b'' if self.{name} is None else self.{name}.packed",
    Kind.UINT16_LIST: "struct.pack(f'>{{len(self.{name})}}H', *self.{name})",
}


def _uint16_list(format_name: str, name: str, data: bytes, start: int, end: int) -> tuple[int, ...]:
    if (end - start) % 2 or end == start:
        raise MalformedMessage(
            f"{format_name}.{name}", start, f"expected one or more pairs of octets in {end - start}"
        )
    return struct.unpack(f">{(end - start) // 2}H", data[start:end])


def _all_uint16(values: tuple[object, ...]) -> bool:
    return all(isinstance(value, int) and 0 <= value <= 0xFFFF for value in values)


def _all_of(values: tuple[object, ...], base: type) -> bool:
    for value in values:  # noqa: SIM110 - takes half as long as all() with a generator
        if not isinstance(value, base):
            return False
    return True


def _wrong_length(format_name: str, start: int, end: int, expected: str) -> MalformedMessage:
    reason = f"expected {expected} octets, found {end - start}"
    return MalformedMessage(f"{format_name}.length", start - 1, reason)


def _too_short(format_name: str, least: int, end: int) -> HeaderTooShort:
    reason = f"expected at least {least} octets for a {format_name}, found {end}"
    return HeaderTooShort("header_len", 1, reason)


def _out_of_range(field: str, offset: int, value: int, expected: str) -> MalformedMessage:
    return MalformedMessage(field, offset, f"expected {expected}, found {value}")


def _decoder_source(layout: Layout, words: list[_Word], is_message: bool) -> list[str]:
    fixed, tail = layout.fixed_octets, layout.tail
    lines = ["def decode(data, start, end):"]
    if is_message:
        lines += [f"    if end - start < {fixed}:"]
        least = -(-(MESSAGE_START + fixed) // 8) * 8
        lines += [f"        raise too_short(NAME, {least}, end)"]
    elif tail is None or tail.sizes:
        sizes = [fixed + size for size in tail.sizes] if tail else [fixed]
        expected = " or ".join(map(str, sizes))
        lines += [f"    if end - start not in {tuple(sizes)}:"]
        lines += [f"        raise wrong_length(NAME, start, end, {expected!r})"]
    else:
        lines += [f"    if end - start < {fixed}:"]
        lines += [f"        raise wrong_length(NAME, start, end, 'at least {fixed}')"]
    variables = [_unpacked(word) for word in words if _unpacked(word)]
    if variables:
        lines += [f"    {', '.join(variables)}, = unpack(data, start)"]
    lines += ["    self = new(cls)"]
    position = 0
    for word in words:
        for field, shift in word.parts:
            if field.kind in (Kind.RESERVED, Kind.CONSTANT):
                continue
            value = _read(field, word, shift)
            if field.kind is Kind.UINT and (field.minimum or field.maximum < (1 << field.bits) - 1):
                place = f"NAME + '.{field.name}', start + {position}"
                expected = f"{field.minimum} to {field.maximum}"
                lines += [f"    if not {field.minimum} <= {value} <= {field.maximum}:"]
                lines += [f"        raise out_of_range({place}, {value}, {expected!r})"]
            lines += [f"    set_{field.name}(self, {value})"]
        position += struct.calcsize(">" + word.code)
    if tail is not None:
        expression = _TAIL_DECODERS[tail.kind].format(start=f"start + {fixed}", name=tail.name)
        lines += [f"    set_{tail.name}(self, {expression})"]
    return [*lines, "    return self"]


def _unpacked(word: _Word) -> str:
    """The variable that `word` is unpacked into; a constant was looked at to get here."""
    return "unused" if any(f.kind is Kind.CONSTANT for f, _ in word.parts) else word.variable


def _encoder_source(
    layout: Layout, words: list[_Word], is_message: bool, first_octet: int
) -> list[str]:
    values = ", ".join(_written(word) for word in words if word.parts)
    values = f", {values}" if values else ""
    lines = ["def encode(self, out):"]
    tail = layout.tail
    if is_message:
        lines += [f"    out += pack({first_octet}, 0, {layout.code}, 0, 0{values})"]
        return [*lines, "    append_elements(out, self.options)"]
    if tail is None:
        lines += _alignment_source(layout.alignment.step, layout.alignment.offset)
        return [*lines, f"    out += pack({layout.code}, {layout.fixed_octets}{values})"]
    if tail.kind is Kind.SUB_OPTIONS:
        lines += _alignment_source(layout.alignment.step, layout.alignment.offset)
        lines += ["    begin = len(out)", f"    out += pack({layout.code}, 0{values})"]
        lines += [f"    append_elements(out, self.{tail.name})"]
        return [*lines, "    set_length(NAME, out, begin)"]
    lines += [f"    tail = {_TAIL_ENCODERS[tail.kind].format(name=tail.name)}"]
    if layout.tail_alignments:
        lines += ["    out += PADDING[alignment_for(len(tail)).padding(len(out))]"]
    else:
        lines += _alignment_source(layout.alignment.step, layout.alignment.offset)
    lines += [f"    out += pack({layout.code}, {layout.fixed_octets} + len(tail){values})"]
    return [*lines, "    out += tail"]


def _alignment_source(step: int, offset: int) -> list[str]:
    if step == 1:
        return []
    return [f"    out += PADDING[{offset} - len(out) & {step - 1}]"]


def _set_length(format_name: str, out: bytearray, begin: int) -> None:
    length = len(out) - begin - 2
    if length > 255:
        raise ValueError(f"{format_name} takes {length} octets; expected at most 255")
    out[begin + 1] = length


def _check_source(layout: Layout) -> list[str]:
    lines = ["def check(self):"]
    for field in layout.named_fields:
        test, expected = _expectation(field, layout.fixed_octets)
        lines += [f"    value = self.{field.name}", f"    if not ({test}):"]
        lines += [f"        raise refuse(NAME, {field.name!r}, value, {expected!r})"]
    return lines


def _expectation(field: Field, fixed: int) -> tuple[str, str]:
    """What a value has to satisfy to fit `field`, as an expression and in words."""
    room = 255 - fixed
    if field.kind in (Kind.UINT, Kind.TIMESTAMP):
        return (
            f"isinstance(value, int) and {field.minimum} <= value <= {field.maximum}",
            f"an integer from {field.minimum} to {field.maximum}",
        )
    if field.kind is Kind.FLAG:
        return "value is True or value is False", "True or False"
    if field.kind is Kind.IPV6:
        return "type(value) is IPv6Address", "an IPv6Address"
    if field.kind in (Kind.BYTES, Kind.TEXT):
        return f"type(value) is bytes and len(value) <= {room}", f"at most {room} octets as bytes"
    if field.kind is Kind.ADDRESS:
        test = "type(value) is IPv6Address or type(value) is IPv4Address"
        if 0 in field.sizes:
            return f"value is None or {test}", "an IPv4Address, an IPv6Address or None"
        return test, "an IPv4Address or an IPv6Address"
    if field.kind is Kind.UINT16_LIST:
        return (
            f"type(value) is tuple and 1 <= len(value) <= {room // 2} and all_uint16(value)",
            f"a tuple of 1 to {room // 2} integers from 0 to 65535",
        )
    base = "Option" if field.kind is Kind.OPTIONS else "SubOption"
    return (
        f"type(value) is tuple and all_of(value, {base})",
        f"a tuple of {base}s",
    )


def source_of(layout: Layout, is_message: bool = False, first_octet: int = NO_NEXT_HEADER) -> str:
    """The functions that `compile_format` makes of a layout."""
    words = _words(layout)
    functions = (
        _decoder_source(layout, words, is_message),
        _encoder_source(layout, words, is_message, first_octet),
        _check_source(layout),
    )
    return "\n\n\n".join("\n".join(lines) for lines in functions)


# Names that generated code uses.
NAMESPACE: dict[str, Any] = {
    "struct": struct,
    "IPv4Address": IPv4Address,
    "IPv6Address": IPv6Address,
    "Option": tlv.Option,
    "SubOption": tlv.SubOption,
    "OPTIONS": tlv.OPTIONS,
    "SUB_OPTIONS": tlv.SUB_OPTIONS,
    "PADDING": tlv.PADDING,
    "append_elements": tlv.append_elements,
    "decode_elements": tlv.decode_elements,
    "refuse": tlv.refuse,
    "ip_address": ip_address,
    "ipv6_address": ipv6_address,
    "all_of": _all_of,
    "all_uint16": _all_uint16,
    "uint16_list": _uint16_list,
    "wrong_length": _wrong_length,
    "too_short": _too_short,
    "out_of_range": _out_of_range,
    "set_length": _set_length,
    "new": object.__new__,
}


def compile_format(
    cls: type[WireFormat],
    layout: Layout,
    is_message: bool = False,
    first_octet: int = NO_NEXT_HEADER,
) -> Decoder:
    """Register encoder and check of `cls`; the decoder is returned. A message begins with
    `first_octet`: in a Mobility Header that is the Payload Proto."""
    named = {field.name for field in layout.named_fields}
    if named != {field.name for field in fields(cls)}:  # type: ignore[arg-type]
        raise TypeError(f"{cls.__name__}: attributes and layout differ")
    words = _words(layout)
    head = ">BBBBH" if is_message else ">BB"
    unpack_code = ">" + "".join(word.code for word in words)
    names = {
        "NAME": cls.__name__,
        "cls": cls,
        "unpack": struct.Struct(unpack_code).unpack_from,
        "pack": struct.Struct(head + unpack_code[1:]).pack,
        "alignment_for": layout.alignment_for,
        **{f"set_{name}": cls.__dict__[name].__set__ for name in named},
    }
    namespace = {**NAMESPACE, **names}
    source = source_of(layout, is_message, first_octet)
    exec(compile(source, f"<layout of {cls.__name__}>", "exec"), namespace)
    cls.LAYOUT = layout
    tlv.ENCODERS[cls] = namespace["encode"]
    tlv.CHECKS[cls] = namespace["check"]
    decoder: Decoder = namespace["decode"]
    return decoder


def element(registry: Registry, layout: Layout) -> Callable[[type[T]], type[T]]:
    """Class decorator: a known type of element, whose attributes are the fields of `layout`."""

    def register(cls: type[T]) -> type[T]:
        decoder = compile_format(cls, layout)
        if registry is tlv.OPTIONS and layout.code == tlv.VENDOR_SPECIFIC:
            decoder = partial(tlv.decode_vendor_specific, decoder)
        registry.decoders[layout.code] = decoder
        registry.classes[cls.__name__] = cls
        return cls

    return register


def vendor_element(layout: Layout) -> Callable[[type[T]], type[T]]:
    """Class decorator: a known body of the vendor-specific option, told by the constants that its
    layout starts with."""

    def register(cls: type[T]) -> type[T]:
        vendor, sub_type = (field.constant for field in layout.fields[:2])
        tlv.VENDOR_DECODERS[vendor, sub_type] = compile_format(cls, layout)
        tlv.OPTIONS.classes[cls.__name__] = cls
        return cls

    return register
