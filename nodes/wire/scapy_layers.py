"""Scapy layers for every message, option, sub-option and traffic selector, made from the layouts.

    >>> from scapy.all import *
    >>> from nodes.wire.scapy_layers import *

A layer is called like the class of the codec with PMIP6 in front: Scapy's own layers of Mobile IPv6
begin with MIP6, and the codec's classes, which are no packets, with nothing. Its fields are those
of the class. Importing this makes Scapy dissect next header 135 with these layers where there is
one for the MH Type; the others stay with Scapy's own. Nothing else in `nodes` imports Scapy.

Octets that don't have the structure of their format become Raw. Values out of range are shown, and
sent if asked for: to see what a receiver does with them is one use of this.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, ClassVar

from scapy.config import conf
from scapy.fields import ByteEnumField, ByteField, RawVal, XShortField
from scapy.layers import inet6
from scapy.packet import Packet

from nodes.wire import options as _options  # noqa: F401 - registers them
from nodes.wire.compiler import MESSAGE_START
from nodes.wire.layout import Alignment, Kind, Layout, octets, reserved, uint
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
from nodes.wire.scapy_fields import LengthField, Splitter, scapy_fields
from nodes.wire.tlv import (
    OPTIONS,
    PAD1,
    PADDING,
    PADN,
    RAW_ALIGNMENTS,
    SUB_OPTIONS,
    Registry,
    UnknownOption,
    UnknownSubOption,
    WireFormat,
)
from nodes.wire.traffic_selector import SUB_OPTION_TYPE, UnknownTrafficSelector, alignment_of
from nodes.wire.values import MobilityHeaderType

PREFIX = "PMIP6"
_MOST = 0xFF  # of a length octet
_REQUESTS: dict[type[WireFormat], type[WireFormat]] = {
    ProxyBindingAcknowledgement: ProxyBindingUpdate,
    Heartbeat: Heartbeat,
    BindingRevocationAcknowledgement: BindingRevocationIndication,
    UpdateNotificationAcknowledgement: UpdateNotification,
}

# The classes without a layout: an element's octets after its type and length. 255 stands for any
# type or format that has no class.
_RAW_LAYOUTS: dict[type[WireFormat], Layout] = {
    UnknownOption: Layout(255, "RFC 6275 section 6.2.1", (octets("data"),)),
    UnknownSubOption: Layout(255, "RFC 6089 section 4.2.1", (octets("data"),)),
    UnknownTrafficSelector: Layout(
        SUB_OPTION_TYPE,
        "RFC 6089 section 4.2.1.4",
        (uint("ts_format", 8, minimum=255), reserved(8), octets("data")),
    ),
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


def _state(value: Any) -> Any:
    """What a change of a layer, or of one inside it, changes."""
    if isinstance(value, Packet):
        return type(value), {name: _state(item) for name, item in value.fields.items()}
    return [_state(item) for item in value] if isinstance(value, list) else value


class _Layer(Packet):
    """`LAYOUT` and `FORMAT` are the codec's: what the layer is made from."""

    LAYOUT: ClassVar[Layout]
    FORMAT: ClassVar[type[WireFormat]]
    overload_fields = {lower: {"nh": NEXT_HEADER} for lower in _LOWER}  # noqa: RUF012

    def _raw_packet_cache_field_value(self, fld: Any, val: Any, copy: bool = False) -> Any:
        """Scapy looks at the fields of the layers in a list only, not at layers inside those: it
        would send the octets received after a change of a sub-option."""
        return _state(val)

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes | None]:
        """Nothing follows: RFC 8200 section 4.7 has octets after "no next header" ignored."""
        return b"", s


class PMIP6Message(_Layer):
    """A Mobility Header message: its header, then the fields of its layout."""

    def do_dissect(self, s: bytes) -> bytes:
        end = (s[1] + 1) * 8
        super().do_dissect(s[:end])
        return s[end:]

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        if self.getfieldval("len") is None:
            length = len(pkt) // 8 - 1
            if length > _MOST:
                raise ValueError(f"{self.name} takes {len(pkt)} octets; expected at most 2048")
            pkt = pkt[:1] + bytes((length,)) + pkt[2:]
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


class PMIP6Element(_Layer):
    """A mobility option, or a sub-option of the flow identification option."""

    def do_dissect(self, s: bytes) -> bytes:
        end = 2 + s[1]
        super().do_dissect(s[:end])
        for field in self.LAYOUT.fields:
            if field.kind is Kind.PRESENCE:
                del self.fields[field.name]
        del self.fields["length"]  # computed from the rest, as presence is, also after a change
        return s[end:]

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        return self._with_length(pkt, 0) + pay

    def _with_length(self, out: bytes, begin: int) -> bytes:
        if self.getfieldval("length") is not None:
            return out
        length = len(out) - begin - 2
        if length > _MOST:
            raise ValueError(f"{self.name} takes {length} octets; expected at most {_MOST}")
        return out[: begin + 1] + bytes((length,)) + out[begin + 2 :]

    def alignment(self, tail_octets: int) -> Alignment:
        if issubclass(self.FORMAT, UnknownOption):
            return RAW_ALIGNMENTS.get(self.type, Alignment())
        if any(field.present for field in self.LAYOUT.fields):
            return alignment_of(self)
        return self.LAYOUT.alignment_for(tail_octets)

    def append_to(self, out: bytes) -> bytes:
        """`out` starts where the Mobility Header does; alignment counts from there."""
        packet: Any = self if self.explicit else next(iter(self))
        tail = self.LAYOUT.tail
        if tail is None or tail.kind is not Kind.SUB_OPTIONS:
            built: bytes = bytes(packet)
            alignment: Alignment = packet.alignment(len(built) - 2 - self.LAYOUT.fixed_octets)
            return out + PADDING[alignment.padding(len(out))] + built
        out += PADDING[self.LAYOUT.alignment.padding(len(out))]
        begin = len(out)
        for field in packet.fields_desc:
            value = packet.getfieldval(field.name)
            if isinstance(value, RawVal):
                out += bytes(value)
            else:
                out = field.addfield(packet, out, value)
        whole: bytes = packet._with_length(out, begin)
        return whole


# By name, and by type: those with more constants to tell them come first.
LAYERS: dict[str, type[Packet]] = {}
_MESSAGES: dict[int, list[type[_Layer]]] = {}
_ELEMENTS: dict[str, dict[int, list[type[_Layer]]]] = {"option": {}, "sub_option": {}}


def _constants(layout: Layout) -> list[tuple[int, bytes]]:
    """Octets that tell the format from others of its type, and where they are."""
    found, bits = [], 0
    for field in layout.fields:
        if field.kind is Kind.CONSTANT:
            found.append((bits // 8, field.constant.to_bytes(field.bits // 8, "big")))
        bits += field.bits
    return found


def _has_structure(layout: Layout, body: bytes) -> bool:
    """Whether there is a place in `body` for all fields, and no octet without one."""
    left = len(body) - layout.fixed_octets
    if left < 0:
        return False
    optional = [field for field in layout.fields if field.present]
    if optional:
        word = int.from_bytes(body[layout.fixed_octets - 4 : layout.fixed_octets], "big")
        return left == sum(field.bits // 8 for field in optional if word & field.present)
    tail = layout.tail
    if tail is None:
        return left == 0
    if tail.kind is Kind.UINT16_LIST:
        return left > 0 and left % 2 == 0
    return not tail.sizes or left in tail.sizes


def _chosen(layers: list[type[_Layer]], body: bytes) -> type[Packet]:
    for layer in layers:
        if all(body[at : at + len(value)] == value for at, value in _constants(layer.LAYOUT)):
            return layer if _has_structure(layer.LAYOUT, body) else conf.raw_layer
    return conf.raw_layer


def _message_layer(data: bytes) -> type[Packet]:
    if len(data) < LEAST_OCTETS:
        return conf.raw_layer
    layers = _MESSAGES.get(data[2])
    if layers is None:
        other: type[Packet] = _SCAPYS.get(data[2], inet6.MIP6MH_Generic)
        return other
    return _chosen(layers, data[MESSAGE_START : (data[1] + 1) * 8])


def _element_layer(registry: Registry, data: bytes) -> type[Packet]:
    if len(data) < 2 or 2 + data[1] > len(data):
        return conf.raw_layer
    unknown = [_ELEMENTS[registry.noun][-1][0]]
    layers = _ELEMENTS[registry.noun].get(data[0], unknown)
    return _chosen(layers, data[2 : 2 + data[1]])


def _hook(choose: Callable[[bytes], type[Packet]]) -> Any:
    """Scapy asks it which layer to make: of octets, the one that they are of."""

    def dispatch_hook(
        cls: type[Packet], _pkt: bytes = b"", *_args: Any, **_kwargs: Any
    ) -> type[Packet]:
        return choose(bytes(_pkt)) if _pkt else cls

    return classmethod(dispatch_hook)


def _splitter(registry: Registry) -> Splitter:
    def split(parent: Packet, data: bytes) -> list[Packet]:
        """Padding is dropped wherever it is; what doesn't hold together becomes Raw."""
        found: list[Packet] = []
        start = 0
        while start < len(data):
            if data[start] == PAD1:
                start += 1
                continue
            whole = start + 2 <= len(data) and start + 2 + data[start + 1] <= len(data)
            stop = start + 2 + data[start + 1] if whole else len(data)
            if not whole or data[start] != PADN:
                element = data[start:stop]
                layer = _element_layer(registry, element)
                found.append(layer(element, _internal=1, _parent=parent))
            start = stop
        return found

    return split


def _make(
    cls: type[WireFormat], base: type[_Layer], layout: Layout, head: list[Any], hook: Any
) -> type[_Layer]:
    tail = layout.tail
    registry = SUB_OPTIONS if tail is not None and tail.kind is Kind.SUB_OPTIONS else OPTIONS
    fields_desc = [*head, *scapy_fields(layout, cls, _splitter(registry))]
    taken = [field.name for field in fields_desc if hasattr(Packet, field.name)]
    if taken:
        raise TypeError(f"{cls.__name__}: Scapy's packets have attributes called {taken}")
    body = {
        "__doc__": f"{cls.__name__}: {layout.section}.",
        "__module__": __name__,
        "name": PREFIX + cls.__name__,
        "fields_desc": fields_desc,
        "LAYOUT": layout,
        "FORMAT": cls,
        "dispatch_hook": hook,
    }
    metaclass: Any = type(base)
    layer: type[_Layer] = metaclass(PREFIX + cls.__name__, (base,), body)
    LAYERS[layer.__name__] = layer
    return layer


def _make_message(cls: type[WireFormat], layout: Layout) -> None:
    types = {member.value: member.name for member in MobilityHeaderType}
    head = [
        ByteEnumField("nh", NO_NEXT_HEADER, inet6.ipv6nh),
        ByteField("len", None),
        ByteEnumField("mhtype", layout.code, types),
        ByteField("res", 0),
        XShortField("cksum", None),
    ]
    layer = _make(cls, PMIP6Message, layout, head, _hook(_message_layer))
    _register(_MESSAGES, layout.code, layer)


def _make_element(registry: Registry, cls: type[WireFormat], layout: Layout) -> None:
    names = {} if cls is registry.unknown else {layout.code: cls.__name__}
    head = [ByteEnumField("type", layout.code, names), LengthField("length", None)]
    hook = _hook(lambda data: _element_layer(registry, data))
    layer = _make(cls, PMIP6Element, layout, head, hook)
    _register(_ELEMENTS[registry.noun], -1 if cls is registry.unknown else layout.code, layer)


def _register(layers: dict[int, list[type[_Layer]]], code: int, layer: type[_Layer]) -> None:
    same = layers.setdefault(code, [])
    same.append(layer)
    same.sort(key=lambda item: len(_constants(item.LAYOUT)), reverse=True)


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
for _registry in (OPTIONS, SUB_OPTIONS):
    for _format in (*_registry.classes.values(), _registry.unknown):
        _make_element(_registry, _format, _RAW_LAYOUTS.get(_format) or _format.LAYOUT)
for _code, _layers in _MESSAGES.items():
    _SCAPYS[_code] = _layers[0]
PMIP6Message.dispatch_hook = _hook(_message_layer)  # type: ignore[attr-defined]


def __getattr__(name: str) -> type[Packet]:
    if name in LAYERS:
        return LAYERS[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["PMIP6Element", "PMIP6Message", "to_scapy"]
__all__ += list(LAYERS)
