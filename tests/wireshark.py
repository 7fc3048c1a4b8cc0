"""What tshark with the project's dissector shows, held against the codec."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Sequence
from enum import IntEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from nodes.wire.attachment import FIRST_OCTET, decode_attachment
from nodes.wire.codec import decode_without_addresses
from nodes.wire.json_form import message_to_json
from nodes.wire.layout import Field, Kind
from nodes.wire.lua_dissector import Format, formats

DISSECTOR = Path(__file__).parents[1] / "docs" / "wireshark" / "flowmob.lua"
needed = pytest.mark.skipif(
    shutil.which("tshark") is None, reason="tshark isn't installed: make packages"
)
_GROUPS = {group: {item.key: item for item in items} for group, items in formats().items()}
_PREFIX = "flowmob."


def tshark(capture: Path, *options: str) -> list[str]:
    """The lines that tshark prints; an error in Lua fails."""
    command = ["tshark", "-X", f"lua_script:{DISSECTOR}", "-r", str(capture), *options]
    done = subprocess.run(command, capture_output=True, check=False)
    out, errors = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
    assert done.returncode == 0, errors
    for text in (out, errors):
        at = text.lower().find("lua error")
        assert at < 0, text[max(at - 300, 0) : at + 300]
    assert ".lua:" not in errors, errors
    return out.splitlines()


def dissect(capture: Path, *, complete: bool = True, options: Sequence[str] = ()) -> list[Any]:
    """The dissector's tree of each frame; None where there is none, if that may be."""
    root = ElementTree.fromstring("\n".join(tshark(capture, *options, "-T", "pdml")))
    trees = [packet.find("proto[@name='flowmob']") for packet in root.iter("packet")]
    assert not complete or None not in trees
    return trees


def experts(tree: Any) -> list[str]:
    """The complaints about a message, but for checksums, which tests change at will."""
    names = [str(item.get("name")) for item in tree.iter("field")]
    known = ("bad_length", "bad_value", "cut_short", "undecoded")
    return [name for name in names if name.removeprefix(_PREFIX) in known]


def require_coverage(tree: Any, length: int) -> None:
    """Each of the message's octets is in a field that has no parts."""
    start = int(tree.get("pos"))
    missing = set(range(start, start + length))
    for item in tree.iter("field"):
        if _octets(item) and not any(_octets(child) for child in item):
            position = int(item.get("pos"))
            missing -= set(range(position, position + _octets(item)))
    assert not missing, f"octets {sorted(octet - start for octet in missing)} are in no field"


def _octets(item: Any) -> int:
    """Of a field of ours; what is concluded, and complaints, have none."""
    return int(item.get("size")) if str(item.get("name")).startswith(_PREFIX) else 0


def compare(data: bytes, tree: Any) -> None:
    """Nothing is left undecoded, and the values are those of the codec."""
    attachment = data[0] == FIRST_OCTET
    group = _GROUPS["attachments" if attachment else "messages"]
    require_coverage(tree, (data[1] + 1) * 8)
    assert "flowmob.undecoded" not in experts(tree)
    (item,) = [child for child in tree if _key(child) in group]
    shown = _value_of(item, group[_key(item)])
    decoded = decode_attachment(data) if attachment else decode_without_addresses(data)
    assert {"message": shown.pop("name"), **shown} == _plain(message_to_json(decoded))


def _key(item: Any) -> str:
    return str(item.get("name")).removeprefix(_PREFIX)


def _plain(value: Any) -> Any:
    """JSON without the names of enumerated values."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        if "value" in value and set(value) <= {"value", "name"}:
            return value["value"]
        return {key: _plain(item) for key, item in value.items()}
    return value


def _value_of(item: Any, form: Format) -> dict[str, Any]:
    """The JSON that the parts of a shown element make."""
    found: dict[str, Any] = {"name": form.name}
    for field in form.layout.named_fields:
        name = f"{form.key}.{field.name}"
        parts = [part for part in item if _key(part) in (name, f"{name}.ipv4", f"{name}.ipv6")]
        value = _field_value(field, parts, item)
        if value is not None:
            found[field.name] = value
    return found


def _field_value(field: Field, parts: list[Any], item: Any) -> Any:
    match field.kind:
        case Kind.OPTIONS:
            return list(_elements(item, "options", "option"))
        case Kind.SUB_OPTIONS:
            return list(_elements(item, "sub_options", "sub_option"))
        case Kind.UINT16_LIST:
            return [int(part.get("show")) for part in parts]
        case Kind.BYTES:
            return parts[0].get("value") if parts else ""
        case Kind.TEXT:
            return _text(bytes.fromhex(parts[0].get("value"))) if parts else ""
    if not parts:
        return None
    (part,) = parts
    match field.kind:
        case Kind.FLAG:
            return part.get("show") in ("1", "True")
        case Kind.TIMESTAMP:
            return int(part.get("value"), 16)
        case Kind.UINT:
            named = field.values is not None and issubclass(field.values, IntEnum)
            assert not named or part.get("showname"), part.attrib
            return int(part.get("show"), 0)
    # Of which tshark writes some, like ::0.1.0.0, in another way.
    return str(ip_address(part.get("show")))


def _text(octets: bytes) -> Any:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return {"hex": octets.hex()}


def _elements(item: Any, group: str, noun: str) -> Iterable[dict[str, Any]]:
    for child in item:
        key = _key(child)
        if key in _GROUPS[group]:
            value = _value_of(child, _GROUPS[group][key])
            yield {noun: value.pop("name"), **value}
        elif key == f"unknown_{noun}":
            parts = {_key(part): part for part in child}
            data = parts.get(f"unknown_{noun}.data")
            yield {
                noun: "Unknown" + "".join(word.capitalize() for word in noun.split("_")),
                "type": int(parts[f"{noun}.type"].get("show")),
                "data": "" if data is None else data.get("value"),
            }
