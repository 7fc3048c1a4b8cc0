"""Traffic selectors as people write them: the fields of RFC 6088 section 3.2 by name."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Address
from typing import Any

from nodes.strict import to_builtins
from nodes.wire.traffic_selector import IPv6TrafficSelector, TrafficSelector


def selector_of(fields: Mapping[str, Any]) -> IPv6TrafficSelector:
    """Addresses come as text, everything else as numbers. Raises ValueError, naming the field."""
    values: dict[str, Any] = {}
    for name, value in fields.items():
        if name not in IPv6TrafficSelector.__dataclass_fields__:
            raise ValueError(f"selector.{name}: not a field of a traffic selector")
        is_address = name.endswith("_address")
        if type(value) is not (str if is_address else int):
            expected = "an IPv6 address as text" if is_address else "a number"
            raise ValueError(f"selector.{name} is {value!r}; expected {expected}")
        try:
            values[name] = IPv6Address(value) if is_address else value
        except ValueError as error:
            raise ValueError(f"selector.{name} is {value!r}: {error}") from None
        if is_address and values[name].scope_id is not None:
            raise ValueError(f"selector.{name} is {value!r}; expected no zone")
    return IPv6TrafficSelector(**values)


def selector_fields(selector: TrafficSelector) -> dict[str, Any]:
    """The way back: the fields that are set."""
    fields = {
        name: value
        for name in selector.__dataclass_fields__
        if (value := getattr(selector, name)) is not None
    }
    return dict(to_builtins(fields))
