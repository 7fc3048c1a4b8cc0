"""The options about flows of RFC 6089, and the sub-options of flow identification."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from nodes.wire.compiler import element
from nodes.wire.layout import (
    Alignment,
    Layout,
    address,
    reserved,
    sub_options,
    uint,
    uint16_list,
)
from nodes.wire.tlv import OPTIONS, SUB_OPTIONS, Option, SubOption, refuse
from nodes.wire.traffic_selector import (
    IPv4TrafficSelector,
    IPv6TrafficSelector,
    TrafficSelector,
    UnknownTrafficSelector,
)
from nodes.wire.values import FlowBindingAction, FlowStatus

_SELECTORS = (IPv6TrafficSelector, IPv4TrafficSelector)


@element(SUB_OPTIONS, Layout(2, "RFC 6089 section 4.2.1.3", (uint16_list("bids"),), Alignment(2)))
@dataclass(frozen=True, slots=True)
class BindingReference(SubOption):
    bids: tuple[int, ...]


@element(
    SUB_OPTIONS,
    Layout(4, "RFC 7109 section 6.2.1", (reserved(8), uint("action", 8, values=FlowBindingAction))),
)
@dataclass(frozen=True, slots=True)
class FlowBindingActionSubOption(SubOption):
    action: int


@element(
    SUB_OPTIONS,
    Layout(
        5,
        "RFC 7109 section 6.2.2",
        (reserved(16), address("address", optional=False)),
        # The RFC gives no alignment; this is the rule of RFC 6275 section 6.2.1 for its fields.
        Alignment(2),
        ((16, Alignment(8, 4)), (4, Alignment(4))),
    ),
)
@dataclass(frozen=True, slots=True)
class TargetCareOfAddress(SubOption):
    address: IPv4Address | IPv6Address


@element(OPTIONS, Layout(44, "RFC 6089 section 4.2.2", (uint16_list("fids"),), Alignment(2)))
@dataclass(frozen=True, slots=True)
class FlowSummary(Option):
    fids: tuple[int, ...]


@element(
    OPTIONS,
    Layout(
        45,
        "RFC 6089 section 4.2",
        (
            uint("fid", 16, minimum=1),
            uint("priority", 16, minimum=1),
            reserved(8),
            uint("status", 8, values=FlowStatus),
            sub_options(),
        ),
        Alignment(2),
    ),
)
@dataclass(frozen=True, slots=True)
class FlowIdentification(Option):
    """A flow, and what is to be done with it.

    More than one binding reference or traffic selector MUST NOT be sent (RFC 6089 sections 4.2.1.3
    and 4.2.1.4), so it can't be constructed. What to do on receipt isn't said: decoding keeps
    them, and the properties here give the first.
    """

    fid: int
    priority: int
    status: int = FlowStatus.SUCCESSFUL
    sub_options: tuple[SubOption, ...] = ()

    def __post_init__(self) -> None:
        Option.__post_init__(self)
        for bases in (BindingReference, (*_SELECTORS, UnknownTrafficSelector)):
            found = [item for item in self.sub_options if isinstance(item, bases)]
            if len(found) > 1:
                expected = f"at most one {type(found[0]).__name__}"
                raise refuse("FlowIdentification", "sub_options", self.sub_options, expected)

    @property
    def selector(self) -> TrafficSelector | None:
        """None also for a format that isn't known: see `UnknownTrafficSelector`."""
        for sub_option in self.sub_options:
            if isinstance(sub_option, _SELECTORS):
                return sub_option
            if isinstance(sub_option, UnknownTrafficSelector):
                return None
        return None

    @property
    def bids(self) -> tuple[int, ...]:
        for sub_option in self.sub_options:
            if isinstance(sub_option, BindingReference):
                return sub_option.bids
        return ()

    @property
    def action(self) -> int | None:
        for sub_option in self.sub_options:
            if isinstance(sub_option, FlowBindingActionSubOption):
                return sub_option.action
        return None

    @property
    def target_care_of_address(self) -> IPv4Address | IPv6Address | None:
        for sub_option in self.sub_options:
            if isinstance(sub_option, TargetCareOfAddress):
                return sub_option.address
        return None
