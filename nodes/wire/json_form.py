"""Messages as JSON values, derived from the layouts.

Keys are the names of the fields. Addresses are strings; octets are hex, but text where text is
expected; an enumerated value is {"value": 6, "name": "..."}, for which the number or the name alone
will do on the way back. Fields that are missing take the default that their class has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from nodes.wire.attachment import ATTACHMENT_CLASSES
from nodes.wire.layout import Field, Kind
from nodes.wire.messages import CLASSES, Message
from nodes.wire.tlv import (
    OPTIONS,
    SUB_OPTIONS,
    Registry,
    UnknownOption,
    UnknownSubOption,
    WireFormat,
)
from nodes.wire.traffic_selector import UnknownTrafficSelector

Json = dict[str, Any]

# Classes without a layout, whose last attribute is raw octets.
_RAW = (UnknownOption, UnknownSubOption, UnknownTrafficSelector)


class InvalidJson(ValueError):
    """A JSON value isn't the form of a message. `path` is like "options[1].prefix_length"."""

    def __init__(self, path: str, value: object, expected: str) -> None:
        self.path, self.value, self.expected = path, value, expected
        super().__init__(f"{path or 'message'} is {value!r}; expected {expected}")


def message_to_json(message: Message) -> Json:
    return {"message": type(message).__name__, **_format_to_json(message)}


def message_from_json(value: Mapping[str, Any]) -> Message:
    """Raises InvalidJson."""
    if not isinstance(value, Mapping):
        raise InvalidJson("", value, "an object")
    message = _format_from_json(value, "message", {**CLASSES, **ATTACHMENT_CLASSES}, "")
    assert isinstance(message, Message)
    return message


def _format_to_json(element: WireFormat) -> Json:
    if isinstance(element, _RAW):
        first = fields(element)[0].name
        return {first: getattr(element, first), "data": element.data.hex()}
    result: Json = {}
    for field in element.LAYOUT.named_fields:
        value = getattr(element, field.name)
        if value is not None:
            result[field.name] = _value_to_json(field, value)
    return result


def _value_to_json(field: Field, value: Any) -> Any:
    match field.kind:
        case Kind.UINT if field.values is not None:
            return _enum_to_json(field.values, value)
        case Kind.IPV6 | Kind.IPV4 | Kind.ADDRESS:
            return str(value)
        case Kind.BYTES:
            return value.hex()
        case Kind.TEXT:
            return _text_to_json(value)
        case Kind.UINT16_LIST:
            return list(value)
        case Kind.OPTIONS | Kind.SUB_OPTIONS:
            key = _registry(field).noun
            return [{key: type(item).__name__, **_format_to_json(item)} for item in value]
        case _:
            return value


def _registry(field: Field) -> Registry:
    return OPTIONS if field.kind is Kind.OPTIONS else SUB_OPTIONS


def _enum_to_json(values: type[IntEnum], value: int) -> Json:
    names = {member.value: member.name for member in values}
    named = {"name": names[value]} if value in names else {}
    return {"value": int(value), **named}


def _text_to_json(value: bytes) -> str | Json:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"hex": value.hex()}


def _format_from_json(
    value: Mapping[str, Any], key: str, classes: Mapping[str, type[Any]], path: str
) -> WireFormat:
    name = value.get(key)
    cls = classes.get(name) if isinstance(name, str) else None
    if cls is None:
        raise InvalidJson(_joined(path, key), name, f"one of {', '.join(sorted(classes))}")
    readers = _readers(cls)
    arguments = {}
    for given, item in value.items():
        if given == key:
            continue
        if given not in readers:
            expected = f"only the keys {', '.join(readers)}"
            raise InvalidJson(_joined(path, given), item, expected)
        arguments[given] = readers[given](item, _joined(path, given))
    for attribute in fields(cls):
        if attribute.name not in arguments and attribute.default is MISSING:
            raise InvalidJson(path, dict(value), f"the key {attribute.name}")
    try:
        result: WireFormat = cls(**arguments)
    except ValueError as error:
        raise InvalidJson(path, dict(value), str(error)) from None
    return result


def _readers(cls: type[Any]) -> dict[str, Callable[[Any, str], Any]]:
    """What reads the value of each key."""
    if issubclass(cls, _RAW):
        first = fields(cls)[0].name
        return {first: _read_integer, "data": _read_hex}
    readers = {}
    for field in cls.LAYOUT.named_fields:
        readers[field.name] = _reader(field)
    return readers


def _reader(field: Field) -> Callable[[Any, str], Any]:
    def read(value: Any, path: str) -> Any:
        match field.kind:
            case Kind.UINT if field.values is not None:
                return _read_enum(field.values, value, path)
            case Kind.UINT | Kind.TIMESTAMP:
                return _read_integer(value, path)
            case Kind.IPV6 | Kind.IPV4 | Kind.ADDRESS:
                return _read_address(field, value, path)
            case Kind.BYTES:
                return _read_hex(value, path)
            case Kind.TEXT:
                return _read_text(value, path)
            case Kind.UINT16_LIST:
                items = _read_list(value, path)
                return tuple(_read_integer(item, f"{path}[{i}]") for i, item in enumerate(items))
            case Kind.OPTIONS | Kind.SUB_OPTIONS:
                return _read_elements(_registry(field), value, path)
            case _:
                return value

    return read


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _read_integer(value: Any, path: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidJson(path, value, "an integer")
    return value


def _read_enum(values: type[IntEnum], value: Any, path: str) -> int:
    if isinstance(value, str):
        if value not in values.__members__:
            raise InvalidJson(path, value, f"an integer or one of {', '.join(values.__members__)}")
        return int(values[value])
    if not isinstance(value, Mapping):
        return _read_integer(value, path)
    if not value or not set(value) <= {"value", "name"}:
        raise InvalidJson(path, dict(value), "the keys value, name or both")
    numbers = {_read_enum(values, item, f"{path}.{key}") for key, item in value.items()}
    if len(numbers) > 1:
        raise InvalidJson(path, dict(value), "value and name to agree")
    return numbers.pop()


def _read_address(field: Field, value: Any, path: str) -> IPv4Address | IPv6Address | None:
    if value is None:  # an optional field that isn't there; where there has to be one, the
        return None  # constructor says so
    versions = {Kind.IPV6: (6,), Kind.IPV4: (4,)}.get(field.kind, (4, 6))
    expected = " or ".join(f"an IPv{version} address" for version in versions)
    try:
        address = ip_address(value if isinstance(value, str) else "")
    except ValueError:
        raise InvalidJson(path, value, expected) from None
    if address.version not in versions or getattr(address, "scope_id", None):
        raise InvalidJson(path, value, expected)
    return address


def _read_hex(value: Any, path: str) -> bytes:
    try:
        return bytes.fromhex(value)
    except (TypeError, ValueError):
        raise InvalidJson(path, value, "pairs of hexadecimal digits") from None


def _read_text(value: Any, path: str) -> bytes:
    if isinstance(value, Mapping) and set(value) == {"hex"}:
        return _read_hex(value["hex"], f"{path}.hex")
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            pass  # half of a surrogate pair
    raise InvalidJson(path, value, 'text, or {"hex": pairs of hexadecimal digits}')


def _read_list(value: Any, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidJson(path, value, "a list")
    return value


def _read_elements(registry: Registry, value: Any, path: str) -> tuple[WireFormat, ...]:
    classes = {**registry.classes, registry.unknown.__name__: registry.unknown}
    elements = []
    for index, item in enumerate(_read_list(value, path)):
        place = f"{path}[{index}]"
        if not isinstance(item, Mapping):
            raise InvalidJson(place, item, "an object")
        elements.append(_format_from_json(item, registry.noun, classes, place))
    return tuple(elements)
