"""A Wireshark dissector in Lua, made from the layouts.

What varies with the formats is written here as Lua tables; the parts in `dissector/` walk them. A
format that gets a layout shows up when the file is made anew: see `REGENERATE`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

# Importing the options registers them.
from nodes.wire import options as _options  # noqa: F401
from nodes.wire.attachment import ATTACHMENT_CLASSES, ETHERTYPE, FIRST_OCTET, AttachmentType
from nodes.wire.layout import TAIL_KINDS, Field, Kind, Layout, octets, reserved, uint
from nodes.wire.messages import CLASSES
from nodes.wire.tlv import OPTIONS, SUB_OPTIONS
from nodes.wire.traffic_selector import SUB_OPTION_TYPE, UnknownTrafficSelector
from nodes.wire.values import MobilityHeaderType

REGENERATE = ".venv/bin/flowmob wireshark > docs/wireshark/flowmob.lua"

_PARTS = Path(__file__).with_name("dissector")
# In the order of the file, because a part uses what those before it define.
_NAMES = ("fields.lua", "elements.lua", "messages.lua")
_MARK = "-- @FORMATS@\n"
_WORD_BITS = (8, 16, 24, 32)
_SPELLINGS = {
    "bid": "BID",
    "bids": "BIDs",
    "fid": "FID",
    "fids": "FIDs",
    "ds": "DS",
    "id": "ID",
    "ipv4": "IPv4",
    "ipv6": "IPv6",
    "map": "MAP",
    "ms": "(ms)",
    "spi": "SPI",
    "tlv": "TLV",
    "ts": "TS",
    "udp": "UDP",
}
# Has no layout of its own, because the codec keeps what it doesn't know.
_UNKNOWN_SELECTOR = Layout(
    SUB_OPTION_TYPE,
    "RFC 6089 section 4.2.1.4",
    (uint("ts_format", 8), reserved(8), octets("data")),
)


@dataclass(frozen=True, slots=True)
class Format:
    """A class and its layout. `key` is the part of the filter names after "flowmob."."""

    name: str
    key: str
    layout: Layout


def snake_case(name: str) -> str:
    """IPv6TrafficSelector: ipv6_traffic_selector."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.replace("IPv", "Ipv")).lower()


def label(key: str) -> str:
    """start_source_port: Start Source Port."""
    words = [_SPELLINGS.get(word, word) for word in key.split("_")]
    text = " ".join(word if word != word.lower() else word.capitalize() for word in words)
    for compound in ("Care Of", "Link Local", "Link Layer", "Sub Option", "Off Link"):
        first, second = compound.split()
        text = text.replace(compound, f"{first}-{second.lower()}")
    return text


def formats() -> dict[str, list[Format]]:
    """By kind of format. Those that constants tell apart come before the one that takes the rest
    of their type."""
    found = {
        "messages": _formats(CLASSES),
        "attachments": _formats(ATTACHMENT_CLASSES),
        "options": _formats(OPTIONS.classes),
        "sub_options": _formats(SUB_OPTIONS.classes),
    }
    name = UnknownTrafficSelector.__name__
    found["sub_options"].append(Format(name, snake_case(name), _UNKNOWN_SELECTOR))
    return found


def _formats(classes: dict[str, type[Any]]) -> list[Format]:
    known = [
        Format(name, snake_case(name), cls.LAYOUT)
        for name, cls in classes.items()
        if hasattr(cls, "LAYOUT")
    ]
    return sorted(known, key=lambda item: (item.layout.code, not _constants(item.layout)))


def _constants(layout: Layout) -> list[tuple[int, int, int]]:
    """Offset, octets and value of what tells a format from others with its code."""
    found, position = [], 0
    for field in layout.fields:
        if field.kind is Kind.CONSTANT:
            found.append((position // 8, field.bits // 8, field.constant))
        position += field.bits
    return found


def _words(layout: Layout) -> Iterable[list[tuple[Field, int]]]:
    """The fields that share whole octets, each with its mask there; 0 if it has them for itself."""
    parts: list[Field] = []
    for field in layout.fields:
        alone = field.bits > 32 or field.present or field.kind in TAIL_KINDS
        if not parts and alone:
            yield [(field, field.mask)]
            continue
        parts.append(field)
        shift = sum(part.bits for part in parts)
        if shift in _WORD_BITS:
            masked = []
            for part in parts:
                shift -= part.bits
                masked.append((part, ((1 << part.bits) - 1) << shift if len(parts) > 1 else 0))
            yield masked
            parts = []
    if parts:
        raise TypeError(f"{layout.section}: the fields don't fill whole octets")


def _lua(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(int(value))
        case str():
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            return f'"{escaped}"'
        case dict():
            return "{" + ", ".join(f"{key} = {_lua(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "{" + ", ".join(map(_lua, value)) + "}"
    raise TypeError(f"no Lua for {value!r}")


def _part(field: Field, mask: int, name: str) -> dict[str, Any]:
    part: dict[str, Any] = {
        "kind": field.kind.name,
        "name": name,
        "label": label(field.name) + (f" ({field.letter})" if field.letter else ""),
    }
    if field.kind is Kind.UINT:
        widest = (1 << field.bits) - 1
        if field.minimum:
            part["minimum"] = field.minimum
        if field.maximum < widest and not field.mask:
            part["maximum"] = field.maximum
    if field.values is not None:
        part["values"] = field.values.__name__
    if field.sizes:
        part["sizes"] = field.sizes
    if mask:
        part["mask"] = mask
        part["shift"] = (mask & -mask).bit_length() - 1
    if field.present:
        part["present"] = field.present
    return part


def _format_lines(item: Format) -> list[str]:
    layout = item.layout
    head = {
        "code": layout.code,
        "name": item.name,
        "key": item.key,
        "label": label(item.key),
        "section": layout.section,
    }
    constants = _constants(layout)
    if constants:
        head["constants"] = constants
    lines = [f"    {{{_lua(head)[1:-1]}, words = {{"]
    names: dict[str, int] = {}
    for word in _words(layout):
        parts = []
        for field, mask in word:
            count = names[field.name] = names.get(field.name, 0) + 1
            name = field.name if count == 1 else f"{field.name}_{count}"
            parts.append(_part(field, mask, name))
        size = sum(field.bits for field, _ in word) // 8
        lines.append(f"      {{size = {size}, {', '.join(map(_lua, parts))}}},")
    return [*lines, "    }},"]


def _enum_lines(enums: Sequence[type[IntEnum]]) -> list[str]:
    lines = []
    for enum in enums:
        members = ", ".join(f'[{member.value}] = "{member.name}"' for member in enum)
        lines.append(f"  {enum.__name__} = {{{members}}},")
    return lines


def format_tables() -> str:
    found = formats()
    fields = [field for items in found.values() for item in items for field in item.layout.fields]
    enums = {field.values.__name__: field.values for field in fields if field.values is not None}
    for codes in (MobilityHeaderType, AttachmentType):
        enums[codes.__name__] = codes
    lines = [f"local ATTACHMENT_ETHERTYPE, ATTACHMENT_FORMAT = {ETHERTYPE}, {FIRST_OCTET}"]
    lines += ["local VALUES = {", *_enum_lines([enums[name] for name in sorted(enums)]), "}"]
    lines += ["local FORMATS = {"]
    for group, items in found.items():
        lines += [f"  {group} = {{"]
        for item in items:
            lines += _format_lines(item)
        lines += ["  },"]
    return "\n".join([*lines, "}", ""])


def lua_dissector() -> str:
    """The text of the dissector."""
    text = "\n".join((_PARTS / name).read_text(encoding="utf-8") for name in _NAMES)
    head, mark, rest = text.partition(_MARK)
    if not mark:
        raise ValueError(f"the parts of the dissector have no line {_MARK.strip()!r}")
    notice = f"-- Made from the layouts in nodes/wire. To make it anew: {REGENERATE}\n"
    return notice + head + format_tables() + rest
