"""Scapy layers for every message, option, sub-option and traffic selector, made from the layouts.

    >>> from scapy.all import *
    >>> from nodes.wire.scapy_layers import *

A layer is called like the class of the codec with PMIP6 in front: Scapy's own layers of Mobile IPv6
begin with MIP6, and the codec's classes, which are no packets, with nothing. Its fields are those
of the class. Importing this makes Scapy dissect next header 135 with these layers where there is
one for the MH Type; the others stay with Scapy's own; and frames of layer-2 signalling. Nothing
else in `nodes` imports Scapy.

Octets that don't have the structure of their format become Raw. Values out of range are shown, and
sent if asked for: to see what a receiver does with them is one use of this.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from scapy.config import conf
from scapy.fields import (
    ByteEnumField,
    ByteField,
    XByteField,
    XShortField,
)
from scapy.layers import inet6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, bind_bottom_up

from nodes.wire.attachment import (
    ATTACHMENT_CLASSES,
    ETHERTYPE,
    FIRST_OCTET,
    AttachmentAnswer,
    AttachmentRequest,
    AttachmentType,
)
from nodes.wire.compiler import MESSAGE_START
from nodes.wire.layout import Layout
from nodes.wire.messages import (
    CLASSES,
    BindingError,
    BindingRevocationAcknowledgement,
    BindingRevocationIndication,
    Heartbeat,
    ProxyBindingAcknowledgement,
    ProxyBindingUpdate,
    UpdateNotification,
    UpdateNotificationAcknowledgement,
)
from nodes.wire.mobility_header import LEAST_OCTETS, NEXT_HEADER, NO_NEXT_HEADER
from nodes.wire.scapy_elements import (
    LAYERS,
    MOST,
    PREFIX,
    RAW_LAYOUTS,
    Layer,
    PMIP6Element,
    chosen,
    hook,
    make,
    make_element,
    register,
)
from nodes.wire.tlv import OPTIONS, SUB_OPTIONS, WireFormat
from nodes.wire.values import MobilityHeaderType

_REQUESTS: dict[type[WireFormat], type[WireFormat]] = {
    ProxyBindingAcknowledgement: ProxyBindingUpdate,
    Heartbeat: Heartbeat,
    BindingRevocationAcknowledgement: BindingRevocationIndication,
    UpdateNotificationAcknowledgement: UpdateNotification,
}

# What Scapy looks into for the layer after IPv6 and after its extension headers.
_SCAPYS: dict[int, Any] = inet6._mip6_mhtype2cls
_LOWER = (
    inet6.IPv6,
    inet6.IPv6ExtHdrHopByHop,
    inet6.IPv6ExtHdrDestOpt,
    inet6.IPv6ExtHdrRouting,
    inet6.IPv6ExtHdrFragment,
)


class _Message(Layer):
    """What has a header with a length, and is of whole units of 8 octets."""

    def do_dissect(self, s: bytes) -> bytes:
        end = (s[1] + 1) * 8
        super().do_dissect(s[:end])
        return s[end:]

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        if self.getfieldval("len") is None:
            length = len(pkt) // 8 - 1
            if length > MOST:
                raise ValueError(f"{self.name} takes {len(pkt)} octets; expected at most 2048")
            pkt = pkt[:1] + bytes((length,)) + pkt[2:]
        return pkt + pay


class PMIP6Message(_Message):
    """A Mobility Header message: its header, then the fields of its layout."""

    overload_fields = {lower: {"nh": NEXT_HEADER} for lower in _LOWER}  # noqa: RUF012

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        pkt = super().post_build(pkt, b"")
        if self.getfieldval("cksum") is None and self.underlayer is not None:
            value: int = inet6.in6_chksum(NEXT_HEADER, self.underlayer, pkt)  # type: ignore[no-untyped-call]
            pkt = pkt[:4] + value.to_bytes(2, "big") + pkt[6:]
        return pkt + pay

    def answers(self, other: Any) -> bool:
        """Of the request with the same sequence number; a Binding Error has none and answers all
        other messages."""
        if not isinstance(other, PMIP6Message):
            return False
        if self.FORMAT is BindingError:
            return other.FORMAT is not BindingError
        if _REQUESTS.get(self.FORMAT) is not other.FORMAT or self.sequence != other.sequence:
            return False
        return self.FORMAT is not Heartbeat or bool(self.response > other.response)


class PMIP6Attachment(_Message):
    """A message of layer-2 signalling (docs/layer-2-signalling.md), the payload of a frame."""

    # For a VLAN tag (Dot1Q), too: Scapy takes that for an alias of Ether.
    overload_fields = {Ether: {"type": ETHERTYPE}}  # noqa: RUF012

    def answers(self, other: Any) -> bool:
        """Of the request with the same sequence number and D flag."""
        if self.FORMAT is not AttachmentAnswer or not isinstance(other, PMIP6Attachment):
            return False
        mine, its = (self.sequence, self.detach), (other.sequence, other.detach)
        return other.FORMAT is AttachmentRequest and mine == its


_MESSAGES: dict[int, list[type[Layer]]] = {}
_ATTACHMENTS: dict[int, list[type[Layer]]] = {}


def _message_layer(data: bytes) -> type[Packet]:
    if len(data) < LEAST_OCTETS:
        return conf.raw_layer
    layers = _MESSAGES.get(data[2])
    if layers is None:
        other: type[Packet] = _SCAPYS.get(data[2], inet6.MIP6MH_Generic)
        return other
    return chosen(layers, data[MESSAGE_START : (data[1] + 1) * 8])


def _attachment_layer(data: bytes) -> type[Packet]:
    layers = _ATTACHMENTS.get(data[2]) if len(data) >= LEAST_OCTETS else None
    if layers is None or data[0] != FIRST_OCTET:
        return conf.raw_layer
    return chosen(layers, data[MESSAGE_START : (data[1] + 1) * 8])


def _make_message(cls: type[WireFormat], layout: Layout) -> None:
    types = {member.value: member.name for member in MobilityHeaderType}
    head = [
        ByteEnumField("nh", NO_NEXT_HEADER, inet6.ipv6nh),
        ByteField("len", None),
        ByteEnumField("mhtype", layout.code, types),
        ByteField("res", 0),
        XShortField("cksum", None),
    ]
    layer = make(cls, PMIP6Message, layout, head, hook(_message_layer))
    register(_MESSAGES, layout.code, layer)


def _make_attachment(cls: type[WireFormat], layout: Layout) -> None:
    types = {member.value: member.name for member in AttachmentType}
    head = [
        XByteField("format", FIRST_OCTET),
        ByteField("len", None),
        ByteEnumField("type", layout.code, types),
        ByteField("res", 0),
        XShortField("res_2", 0),
    ]
    layer = make(cls, PMIP6Attachment, layout, head, hook(_attachment_layer))
    register(_ATTACHMENTS, layout.code, layer)


def to_scapy(source: WireFormat) -> Packet:
    """The layer with the values of a message, option or sub-option of the codec."""

    def converted(value: Any) -> Any:
        if isinstance(value, tuple):
            return [converted(item) for item in value]
        return to_scapy(value) if isinstance(value, WireFormat) else value

    values = {field.name: getattr(source, field.name) for field in fields(source)}  # type: ignore[arg-type]
    layer = LAYERS[PREFIX + type(source).__name__]
    return layer(**{name: converted(value) for name, value in values.items() if value is not None})


for _message in CLASSES.values():
    _make_message(_message, _message.LAYOUT)
for _attachment in ATTACHMENT_CLASSES.values():
    _make_attachment(_attachment, _attachment.LAYOUT)
for _registry in (OPTIONS, SUB_OPTIONS):
    for _format in (*_registry.classes.values(), _registry.unknown):
        make_element(_registry, _format, RAW_LAYOUTS.get(_format) or _format.LAYOUT)
for _code, _layers in _MESSAGES.items():
    _SCAPYS[_code] = _layers[0]
PMIP6Message.dispatch_hook = hook(_message_layer)  # type: ignore[attr-defined]
PMIP6Attachment.dispatch_hook = hook(_attachment_layer)  # type: ignore[attr-defined]
bind_bottom_up(Ether, PMIP6Attachment, type=ETHERTYPE)


def __getattr__(name: str) -> type[Packet]:
    if name in LAYERS:
        return LAYERS[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["PMIP6Attachment", "PMIP6Element", "PMIP6Message", "to_scapy"]
__all__ += list(LAYERS)
