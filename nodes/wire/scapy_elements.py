"""The layers of options, sub-options and traffic selectors, and what all layers are made with.

Needs Scapy; `scapy_layers` is what to import, and says how they behave.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from scapy.config import conf
from scapy.fields import ByteEnumField, RawVal
from scapy.packet import Packet

from nodes.wire import options as _options  # noqa: F401 - registers them
from nodes.wire.layout import Alignment, Kind, Layout, octets, reserved, uint
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

PREFIX = "PMIP6"
MOST = 0xFF  # of a length octet

# The classes without a layout: an element's octets after its type and length. 255 stands for any
# type or format that has no class.
RAW_LAYOUTS: dict[type[WireFormat], Layout] = {
    UnknownOption: Layout(255, "RFC 6275 section 6.2.1", (octets("data"),)),
    UnknownSubOption: Layout(255, "RFC 6089 section 4.2.1", (octets("data"),)),
    UnknownTrafficSelector: Layout(
        SUB_OPTION_TYPE,
        "RFC 6089 section 4.2.1.4",
        (uint("ts_format", 8, minimum=255), reserved(8), octets("data")),
    ),
}


def _state(value: Any) -> Any:
    """What a change of a layer, or of one inside it, changes."""
    if isinstance(value, Packet):
        return type(value), {name: _state(item) for name, item in value.fields.items()}
    return [_state(item) for item in value] if isinstance(value, list) else value


class Layer(Packet):
    """`LAYOUT` and `FORMAT` are the codec's: what the layer is made from."""

    LAYOUT: ClassVar[Layout]
    FORMAT: ClassVar[type[WireFormat]]

    def _raw_packet_cache_field_value(self, fld: Any, val: Any, copy: bool = False) -> Any:
        """Scapy looks at the fields of the layers in a list only, not at layers inside those: it
        would send the octets received after a change of a sub-option."""
        return _state(val)

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes | None]:
        """Nothing follows: RFC 8200 section 4.7 has octets after "no next header" ignored, and a
        short Ethernet frame is padded."""
        return b"", s


class PMIP6Element(Layer):
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
        if length > MOST:
            raise ValueError(f"{self.name} takes {length} octets; expected at most {MOST}")
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
ELEMENTS: dict[str, dict[int, list[type[Layer]]]] = {"option": {}, "sub_option": {}}


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


def chosen(layers: list[type[Layer]], body: bytes) -> type[Packet]:
    for layer in layers:
        if all(body[at : at + len(value)] == value for at, value in _constants(layer.LAYOUT)):
            return layer if _has_structure(layer.LAYOUT, body) else conf.raw_layer
    return conf.raw_layer


def _element_layer(registry: Registry, data: bytes) -> type[Packet]:
    if len(data) < 2 or 2 + data[1] > len(data):
        return conf.raw_layer
    unknown = [ELEMENTS[registry.noun][-1][0]]
    layers = ELEMENTS[registry.noun].get(data[0], unknown)
    return chosen(layers, data[2 : 2 + data[1]])


def hook(choose: Callable[[bytes], type[Packet]]) -> Any:
    """Scapy asks it which layer to make: of octets, the one that they are of."""

    def dispatch_hook(
        cls: type[Packet], _pkt: bytes = b"", *_args: Any, **_kwargs: Any
    ) -> type[Packet]:
        return choose(bytes(_pkt)) if _pkt else cls

    return classmethod(dispatch_hook)


def splitter(registry: Registry) -> Splitter:
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


def make(
    cls: type[WireFormat], base: type[Layer], layout: Layout, head: list[Any], dispatch: Any
) -> type[Layer]:
    tail = layout.tail
    registry = SUB_OPTIONS if tail is not None and tail.kind is Kind.SUB_OPTIONS else OPTIONS
    fields_desc = [*head, *scapy_fields(layout, cls, splitter(registry))]
    taken = [field.name for field in fields_desc if hasattr(Packet, field.name)]
    if taken:
        raise TypeError(f"{cls.__name__}: Scapy's packets have attributes called {taken}")
    body = {
        "__doc__": f"{cls.__name__}: {layout.section}.",
        "__module__": "nodes.wire.scapy_layers",
        "name": PREFIX + cls.__name__,
        "fields_desc": fields_desc,
        "LAYOUT": layout,
        "FORMAT": cls,
        "dispatch_hook": dispatch,
    }
    metaclass: Any = type(base)
    layer: type[Layer] = metaclass(PREFIX + cls.__name__, (base,), body)
    LAYERS[layer.__name__] = layer
    return layer


def make_element(registry: Registry, cls: type[WireFormat], layout: Layout) -> None:
    names = {} if cls is registry.unknown else {layout.code: cls.__name__}
    head = [ByteEnumField("type", layout.code, names), LengthField("length", None)]
    dispatch = hook(lambda data: _element_layer(registry, data))
    layer = make(cls, PMIP6Element, layout, head, dispatch)
    register(ELEMENTS[registry.noun], -1 if cls is registry.unknown else layout.code, layer)


def register(layers: dict[int, list[type[Layer]]], code: int, layer: type[Layer]) -> None:
    same = layers.setdefault(code, [])
    same.append(layer)
    same.sort(key=lambda item: len(_constants(item.LAYOUT)), reverse=True)
