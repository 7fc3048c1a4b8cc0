"""Mobility messages: the data of each MH type, without header, checksum and padding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import TypeVar

from nodes.wire.compiler import compile_format
from nodes.wire.layout import Layout, constant, flag, ipv6, options, reserved, uint
from nodes.wire.tlv import Decoder, Option, WireFormat
from nodes.wire.values import (
    AccessTechnology,
    BindingErrorStatus,
    FlowBindingAction,
    FlowStatus,
    HandoffHint,
    MobileNodeIdentifierSubtype,
    MobilityHeaderType,
    ProxyBindingStatus,
    RevocationStatus,
    RevocationTrigger,
    UpdateNotificationReason,
    UpdateNotificationStatus,
)

__all__ = [
    "AccessTechnology",
    "BindingError",
    "BindingErrorStatus",
    "BindingRevocationAcknowledgement",
    "BindingRevocationIndication",
    "FlowBindingAction",
    "FlowStatus",
    "HandoffHint",
    "Heartbeat",
    "Message",
    "MobileNodeIdentifierSubtype",
    "MobilityHeaderType",
    "Option",
    "ProxyBindingAcknowledgement",
    "ProxyBindingStatus",
    "ProxyBindingUpdate",
    "RevocationStatus",
    "RevocationTrigger",
    "UpdateNotification",
    "UpdateNotificationAcknowledgement",
    "UpdateNotificationReason",
    "UpdateNotificationStatus",
]

LIFETIME_UNIT_S = 4  # RFC 6275 sections 6.1.7 and 6.1.8
REJECTED = 128  # status values from here on are errors, in all messages that have a status

O = TypeVar("O", bound=Option)  # noqa: E741 - the option asked for
M = TypeVar("M", bound="Message")

# Several messages share MH type 16; the octet at `discriminator` tells them apart.
DECODERS: dict[int, Decoder] = {}
REVOCATION_DECODERS: dict[int, Decoder] = {}
CLASSES: dict[str, type[Message]] = {}


class Message(WireFormat):
    __slots__ = ()
    options: tuple[Option, ...]

    def option(self, wanted: type[O]) -> O | None:
        """The first option of a class."""
        for option in self.options:
            if type(option) is wanted:
                return option
        return None

    def all_options(self, wanted: type[O]) -> tuple[O, ...]:
        return tuple([option for option in self.options if type(option) is wanted])


def _message(layout: Layout) -> Callable[[type[M]], type[M]]:
    def register(cls: type[M]) -> type[M]:
        decoder = compile_format(cls, layout, is_message=True)
        first = layout.fields[0]
        if layout.code == MobilityHeaderType.BINDING_REVOCATION:
            REVOCATION_DECODERS[first.constant] = decoder
        else:
            DECODERS[layout.code] = decoder
        CLASSES[cls.__name__] = cls
        return cls

    return register


@_message(
    Layout(
        MobilityHeaderType.BINDING_UPDATE,
        "RFC 5213 section 8.1, RFC 6275 section 6.1.7",
        (
            uint("sequence", 16),
            flag("acknowledge", "A"),
            flag("home_registration", "H"),
            flag("link_local_compatibility", "L"),
            flag("key_management", "K"),
            flag("map_registration", "M"),
            flag("mobile_router", "R"),
            flag("proxy_registration", "P"),
            flag("forcing_udp", "F"),
            flag("tlv_header", "T"),
            flag("bulk_registration", "B"),
            flag("s_flag", "S"),
            flag("d_flag", "D"),
            reserved(4),
            uint("lifetime", 16),
            options(),
        ),
    )
)
@dataclass(frozen=True, slots=True)
class ProxyBindingUpdate(Message):
    """Also a plain Binding Update, which is one without proxy_registration. `lifetime` is in units
    of 4 s; 0 deregisters. Flags after R: RFC 5213 (P), 5555 (F), 5845 (T), 6602 (B), 7161 (S),
    8885 (D)."""

    sequence: int
    lifetime: int
    options: tuple[Option, ...] = ()
    acknowledge: bool = True
    proxy_registration: bool = True
    home_registration: bool = False
    link_local_compatibility: bool = False
    key_management: bool = False
    map_registration: bool = False
    mobile_router: bool = False
    forcing_udp: bool = False
    tlv_header: bool = False
    bulk_registration: bool = False
    s_flag: bool = False
    d_flag: bool = False

    @property
    def lifetime_s(self) -> int:
        return self.lifetime * LIFETIME_UNIT_S


@_message(
    Layout(
        MobilityHeaderType.BINDING_ACKNOWLEDGEMENT,
        "RFC 5213 section 8.2, RFC 6275 section 6.1.8",
        (
            uint("status", 8, values=ProxyBindingStatus),
            flag("key_management", "K"),
            flag("mobile_router", "R"),
            flag("proxy_registration", "P"),
            flag("tlv_header", "T"),
            flag("bulk_registration", "B"),
            flag("s_flag", "S"),
            flag("d_flag", "D"),
            reserved(1),
            uint("sequence", 16),
            uint("lifetime", 16),
            options(),
        ),
    )
)
@dataclass(frozen=True, slots=True)
class ProxyBindingAcknowledgement(Message):
    status: int
    sequence: int
    lifetime: int
    options: tuple[Option, ...] = ()
    proxy_registration: bool = True
    key_management: bool = False
    mobile_router: bool = False
    tlv_header: bool = False
    bulk_registration: bool = False
    s_flag: bool = False
    d_flag: bool = False

    @property
    def lifetime_s(self) -> int:
        return self.lifetime * LIFETIME_UNIT_S

    @property
    def accepted(self) -> bool:
        return self.status < REJECTED


@_message(
    Layout(
        MobilityHeaderType.BINDING_ERROR,
        "RFC 6275 section 6.1.9",
        (
            uint("status", 8, values=BindingErrorStatus),
            reserved(8),
            ipv6("home_address"),
            options(),
        ),
    )
)
@dataclass(frozen=True, slots=True)
class BindingError(Message):
    """`home_address` is unspecified unless the error is about one (RFC 6275 section 9.3.3)."""

    status: int
    home_address: IPv6Address = field(default=IPv6Address(0))
    options: tuple[Option, ...] = ()


@_message(
    Layout(
        MobilityHeaderType.HEARTBEAT,
        "RFC 5847 section 3.3",
        (
            reserved(14),
            flag("unsolicited", "U"),
            flag("response", "R"),
            uint("sequence", 32),
            options(),
        ),
    )
)
@dataclass(frozen=True, slots=True)
class Heartbeat(Message):
    sequence: int
    response: bool = False
    unsolicited: bool = False
    options: tuple[Option, ...] = ()


@_message(
    Layout(
        MobilityHeaderType.BINDING_REVOCATION,
        "RFC 5846 section 5.1",
        (
            constant("revocation_type", 8, 1),
            uint("trigger", 8, values=RevocationTrigger),
            uint("sequence", 16),
            flag("proxy_binding", "P"),
            flag("ipv4_only", "V"),
            flag("global_revocation", "G"),
            reserved(13),
            options(),
        ),
    )
)
@dataclass(frozen=True, slots=True)
class BindingRevocationIndication(Message):
    trigger: int
    sequence: int
    options: tuple[Option, ...] = ()
    proxy_binding: bool = True
    ipv4_only: bool = False
    global_revocation: bool = False


@_message(
    Layout(
        MobilityHeaderType.BINDING_REVOCATION,
        "RFC 5846 section 5.2",
        (
            constant("revocation_type", 8, 2),
            uint("status", 8, values=RevocationStatus),
            uint("sequence", 16),
            flag("proxy_binding", "P"),
            flag("ipv4_only", "V"),
            flag("global_revocation", "G"),
            reserved(13),
            options(),
        ),
    )
)
@dataclass(frozen=True, slots=True)
class BindingRevocationAcknowledgement(Message):
    status: int
    sequence: int
    options: tuple[Option, ...] = ()
    proxy_binding: bool = True
    ipv4_only: bool = False
    global_revocation: bool = False

    @property
    def accepted(self) -> bool:
        return self.status < REJECTED


@_message(
    Layout(
        MobilityHeaderType.UPDATE_NOTIFICATION,
        "RFC 7077 section 4.1",
        (
            uint("sequence", 16),
            uint("reason", 16, values=UpdateNotificationReason),
            flag("acknowledge", "A"),
            flag("retransmit", "D"),
            reserved(14),
            options(),
        ),
    )
)
@dataclass(frozen=True, slots=True)
class UpdateNotification(Message):
    """With reason FLOW_MOBILITY, the Flow Mobility Initiate of RFC 7864 section 4.2."""

    sequence: int
    reason: int
    options: tuple[Option, ...] = ()
    acknowledge: bool = False
    retransmit: bool = False


@_message(
    Layout(
        MobilityHeaderType.UPDATE_NOTIFICATION_ACKNOWLEDGEMENT,
        "RFC 7077 section 4.2",
        (
            uint("sequence", 16),
            uint("status", 8, values=UpdateNotificationStatus),
            reserved(24),
            options(),
        ),
    )
)
@dataclass(frozen=True, slots=True)
class UpdateNotificationAcknowledgement(Message):
    """In answer to reason FLOW_MOBILITY, the Flow Mobility Acknowledgement of RFC 7864 4.3."""

    sequence: int
    status: int
    options: tuple[Option, ...] = ()

    @property
    def accepted(self) -> bool:
        return self.status < REJECTED
