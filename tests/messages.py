"""Strategies for messages, derived from the layouts: new formats are tested as they come."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

from hypothesis import strategies as st

from nodes.wire import codec  # noqa: F401 - registers the options
from nodes.wire.attachment import ATTACHMENT_CLASSES
from nodes.wire.layout import Field, Kind, Layout
from nodes.wire.messages import CLASSES
from nodes.wire.tlv import OPTIONS, SUB_OPTIONS, UnknownOption, UnknownSubOption
from nodes.wire.traffic_selector import (
    IPv4TrafficSelector,
    IPv6TrafficSelector,
    UnknownTrafficSelector,
)

IPV6 = st.one_of(
    st.integers(0, 2**128 - 1).map(IPv6Address),
    st.sampled_from([IPv6Address("::"), IPv6Address("fe80::200:5eff:fe00:5213")]),
)
IPV4 = st.integers(0, 2**32 - 1).map(IPv4Address)


def _value(field: Field) -> st.SearchStrategy[Any]:
    match field.kind:
        case Kind.UINT | Kind.TIMESTAMP:
            return st.integers(field.minimum, field.maximum)
        case Kind.FLAG:
            return st.booleans()
        case Kind.IPV6:
            return IPV6
        case Kind.IPV4:
            return IPV4
        case Kind.BYTES | Kind.TEXT:
            return st.binary(max_size=24)
        case Kind.ADDRESS:
            return st.one_of(st.none(), IPV4, IPV6) if 0 in field.sizes else st.one_of(IPV4, IPV6)
        case Kind.UINT16_LIST:
            return st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=8).map(tuple)
        case Kind.OPTIONS:
            return st.lists(option_strategy(), max_size=7).map(tuple)
        case Kind.SUB_OPTIONS:
            return _sub_options()
        case kind:
            raise AssertionError(f"no strategy for {kind}")


def _formatted(cls: type[Any], layout: Layout) -> st.SearchStrategy[Any]:
    return st.builds(cls, **{field.name: _value(field) for field in layout.named_fields})


@st.composite
def selectors(draw: st.DrawFn, cls: type[Any]) -> Any:
    arguments = {}
    named = cls.LAYOUT.named_fields
    for start, end in zip(named[::2], named[1::2], strict=True):
        count = draw(st.integers(0, 2))
        values = sorted(draw(st.lists(_value(start), min_size=count, max_size=count)))
        arguments.update(zip((start.name, end.name), values, strict=False))
    return cls(**arguments)


def _any_selector() -> st.SearchStrategy[Any]:
    unknown = st.builds(UnknownTrafficSelector, st.sampled_from([0, 3, 255]), st.binary(max_size=9))
    return st.one_of(selectors(IPv6TrafficSelector), selectors(IPv4TrafficSelector), unknown)


def _sub_options() -> st.SearchStrategy[Any]:
    """At most one selector, and the whole short enough for the length octet."""
    rest = [
        _formatted(cls, cls.LAYOUT)
        for name, cls in SUB_OPTIONS.classes.items()
        if "Selector" not in name
    ]
    unknown = st.builds(UnknownSubOption, st.integers(6, 255), st.binary(max_size=4))
    others = st.lists(
        st.one_of(*rest, unknown), max_size=2, unique_by=lambda item: type(item).__name__
    )
    selector = st.lists(_any_selector(), max_size=1)
    return st.builds(lambda first, then: (*first, *then), selector, others)


def option_strategy() -> st.SearchStrategy[Any]:
    codes = sorted(set(range(2, 256)) - set(OPTIONS.decoders))
    unknown = st.builds(UnknownOption, st.sampled_from(codes), st.binary(max_size=12))
    known = [_formatted(cls, cls.LAYOUT) for cls in OPTIONS.classes.values()]
    return st.one_of(*known, unknown)


def message_strategy() -> st.SearchStrategy[Any]:
    return st.one_of(*[_formatted(cls, cls.LAYOUT) for cls in CLASSES.values()])


def attachment_strategy() -> st.SearchStrategy[Any]:
    return st.one_of(*[_formatted(cls, cls.LAYOUT) for cls in ATTACHMENT_CLASSES.values()])
