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
Key = tuple[str | int, ...]

_ADDRESS_TYPES = (
    ipaddress.IPv6Address,
    ipaddress.IPv6Network,
    ipaddress.IPv4Address,
    ipaddress.IPv4Network,
)
_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")  # a key that TOML doesn't want quoted


class InputError(ValueError):
    """Input that a person wrote is wrong. The message names source, key, value and what was
    expected, and is meant to be printed as it is."""

    def __init__(self, source: str, key: str, value: object, expected: str) -> None:
        self.source, self.key, self.value, self.expected = source, key, value, expected
        shown = "" if value is MISSING else f" is {value!r};"
        super().__init__(f"{source}: {key}{shown} {expected}")


MISSING = object()


def _decode_hook(wanted: type, value: Any) -> Any:
    if wanted is Path:
        if not isinstance(value, str):
            raise ValueError(f"Expected a path as `str`, got `{type(value).__name__}`")
        return Path(value)
    if wanted in _ADDRESS_TYPES:
        try:
            return wanted(value if isinstance(value, str) else str(value))
        except ValueError as error:
            raise ValueError(f"Expected {wanted.__name__}: {error}") from None
    raise NotImplementedError(wanted)


def _encode_hook(value: Any) -> Any:
    if isinstance(value, (*_ADDRESS_TYPES, Path)):
        return str(value)
    raise NotImplementedError(type(value))


def _value_at(data: Any, key: Key) -> Any:
    for part in key:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return MISSING
    return data


def _shown(key: Key) -> str:
    """As TOML writes it, with the index of a list in brackets."""
    parts = [
        f"[{part}]" if isinstance(part, int) else "." + (part if _BARE.match(part) else f'"{part}"')
        for part in key
    ]
    return "".join(parts).removeprefix(".") or "(top level)"


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
    key = _locate(data, path.strip("`"), wanted)
    unknown = re.search(r"unknown field `([^`]+)`", text)
    if unknown is not None:
        name = unknown.group(1)
        full = (*key, name)
        near = difflib.get_close_matches(name, _field_names(wanted), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return InputError(source, _shown(full), _value_at(data, full), f"is not a known key{hint}")
    expected = text[0].lower() + text[1:] if text.startswith("Expected") else text
    # The text says what is wrong with a whole document, which is too long to show.
    return InputError(source, _shown(key), _value_at(data, key) if key else MISSING, expected)


def _locate(data: Any, path: str, wanted: Any) -> Key:
    """The key that a path of msgspec means: `[...]` in it is "some key of this table"."""
    key: Key = ()
    for name, index, some in re.findall(r"\.([^.\[\]]+)|\[(\d+)\]|(\[\.\.\.\])", path):
        if not some:
            key += (int(index) if index else name,)
            continue
        table = _value_at(data, key)
        for candidate in table if isinstance(table, Mapping) else ():
            single = _with_only(data, key, candidate)
            if _fails_at(single, path, wanted):
                data = single
                key += (candidate,)
                break
        else:
            return key
    return key


def _fails_at(data: Any, path: str, wanted: Any) -> bool:
    try:
        msgspec.convert(data, wanted, dec_hook=_decode_hook)
    except msgspec.ValidationError as error:
        return str(error).endswith(f"`{path}`")
    return False


def _with_only(data: Any, key: Key, name: str) -> Any:
    """A copy of `data` in which the table at `key` has no entry but `name`."""
    if not key:
        return {name: data[name]}
    copy = dict(data) if isinstance(data, Mapping) else list(data)
    copy[key[0]] = _with_only(copy[key[0]], key[1:], name)  # type: ignore[index]
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
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(source, "(document)", MISSING, f"is not JSON: {error}") from None
    return convert(parsed, wanted, source)
