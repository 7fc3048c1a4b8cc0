"""Reading TOML and JSON into typed structures, with errors that name file, key, value and need.

msgspec does the checking; this module adds the value and the file to what it says, and knows the
address types of `ipaddress`.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_ADDRESS_TYPES = (
    ipaddress.IPv6Address,
    ipaddress.IPv6Network,
    ipaddress.IPv4Address,
    ipaddress.IPv4Network,
)


class InputError(ValueError):
    """Input that a person wrote is wrong. The message names source, key, value and what was
    expected, and is meant to be printed as it is."""

    def __init__(self, source: str, key: str, value: object, expected: str) -> None:
        self.source, self.key, self.value, self.expected = source, key, value, expected
        shown = "" if value is MISSING else f" is {value!r};"
        super().__init__(f"{source}: {key}{shown} {expected}")


MISSING = object()


def _decode_hook(wanted: type, value: Any) -> Any:
    if wanted in _ADDRESS_TYPES:
        try:
            return wanted(value)
        except ValueError as error:
            raise ValueError(f"Expected {wanted.__name__}: {error}") from None
    raise NotImplementedError(wanted)


def _encode_hook(value: Any) -> Any:
    if isinstance(value, _ADDRESS_TYPES):
        return str(value)
    raise NotImplementedError(type(value))


def _value_at(data: Any, key: str) -> Any:
    for part in re.findall(r"[^.\[\]]+", key):
        try:
            data = data[int(part)] if isinstance(data, (list, tuple)) else data[part]
        except (KeyError, IndexError, ValueError, TypeError):
            return MISSING
    return data


def _key_of(path: str) -> str:
    return path.removeprefix("$").removeprefix(".") or "(top level)"


def convert(data: Any, wanted: type[T], source: str) -> T:
    """Check `data` (tables, lists and scalars) against `wanted`.

    Raises InputError. `source` is the file's name or what else the user would recognise.
    """
    try:
        return msgspec.convert(data, wanted, dec_hook=_decode_hook)
    except msgspec.ValidationError as error:
        raise _explain(error, data, wanted, source) from None


def _explain(error: msgspec.ValidationError, data: Any, wanted: Any, source: str) -> InputError:
    text, _, path = str(error).rpartition(" - at ")
    if not text:
        text, path = str(error), ""
    path = path.strip("`")
    located = _locate(data, path, wanted)
    key = located or _key_of(path)
    unknown = re.search(r"unknown field `([^`]+)`", text)
    if unknown is not None:
        name = unknown.group(1)
        full = name if key == "(top level)" else f"{key}.{name}"
        near = difflib.get_close_matches(name, _field_names(wanted), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return InputError(source, full, _value_at(data, full), f"is not a known key{hint}")
    expected = text[0].lower() + text[1:] if text.startswith("Expected") else text
    return InputError(source, key, _value_at(data, key), expected)


def _locate(data: Any, path: str, wanted: Any) -> str | None:
    """Resolve `[...]` (msgspec's word for "some key of this table") to the key that fails."""
    key = path.removeprefix("$").removeprefix(".")
    if "[...]" not in key:
        return key or None
    head, _, tail = key.partition("[...]")
    table = _value_at(data, head) if head else data
    if not isinstance(table, Mapping):
        return None
    for name in table:
        candidate = f"{head}.{name}{tail}" if head else f"{name}{tail}"
        single = _with_only(data, head, name)
        try:
            msgspec.convert(single, wanted, dec_hook=_decode_hook)
        except msgspec.ValidationError as error:
            if str(error).endswith(f"`{path}`"):
                return _locate(data, "$." + candidate, wanted)
    return None


def _with_only(data: Any, head: str, name: str) -> Any:
    """A copy of `data` in which the table at `head` has no entry but `name`."""
    if not head:
        return {name: data[name]}
    first, _, rest = head.partition(".")
    copy = dict(data)
    copy[first] = _with_only(copy[first], rest, name) if rest else {name: copy[first][name]}
    return copy


def _field_names(wanted: Any) -> set[str]:
    """Every field name in `wanted` and the structures in it, for "did you mean"."""
    names: set[str] = set()
    for info in msgspec.inspect.multi_type_info([wanted]):
        _collect(info, names, set())
    return names


def _collect(info: msgspec.inspect.Type, names: set[str], seen: set[Any]) -> None:
    if isinstance(info, msgspec.inspect.StructType):
        if info.cls in seen:
            return
        seen.add(info.cls)
        for field in info.fields:
            names.add(field.encode_name)
            _collect(field.type, names, seen)
    for attribute in ("item_type", "value_type", "key_type"):
        inner = getattr(info, attribute, None)
        if inner is not None:
            _collect(inner, names, seen)
    for inner in getattr(info, "types", ()) or getattr(info, "item_types", ()):
        _collect(inner, names, seen)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises InputError for a file that can't be read or parsed."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(str(path), "(file)", MISSING, f"can't be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(str(path), "(file)", MISSING, f"is not TOML: {error}") from None


def load_toml(path: Path, wanted: type[T]) -> T:
    """Read and check a TOML file. Raises InputError."""
    return convert(read_toml(path), wanted, str(path))


def to_builtins(value: Any) -> Any:
    """The tables, lists and scalars that `convert` would read back as `value`."""
    return msgspec.to_builtins(value, enc_hook=_encode_hook)


def to_json(value: Any) -> bytes:
    return msgspec.json.encode(to_builtins(value))


def from_json(data: bytes, wanted: type[T], source: str) -> T:
    """Parse and check a JSON document. Raises InputError."""
    try:
        parsed = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise InputError(source, "(document)", MISSING, f"is not JSON: {error}") from None
    return convert(parsed, wanted, source)
