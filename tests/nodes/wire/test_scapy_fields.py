from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

pytest.importorskip("scapy")
from scapy.packet import Packet

from nodes.wire.layout import Field, Kind, Layout, flag, options, reserved, uint, uint16_list
from nodes.wire.options import BindingIdentifier, FlowIdentification, ProxyBindingStatus
from nodes.wire.scapy_fields import (
    AnyAddressField,
    FlagField,
    IPv4Field,
    IPv6Field,
    MaskedField,
    NumbersField,
    TimestampField,
    scapy_fields,
)


def packet_of(layout: Layout, cls: Any = None) -> type[Packet]:
    return type(Packet)("Made", (Packet,), {"fields_desc": scapy_fields(layout, cls)})


def test_order_widths_and_names_are_those_of_the_layout() -> None:
    layout = Layout(1, "", (flag("x", "X"), reserved(3), uint("y", 12), reserved(8), uint("z", 24)))
    made = packet_of(layout)
    assert [field.name for field in made.fields_desc] == ["x", "reserved", "y", "reserved_2", "z"]
    assert bytes(made(x=1, y=0xABC, z=0x010203, reserved_2=0xFF)).hex() == "8abcff010203"
    assert made(bytes.fromhex("0abcff010203")).y == 0xABC


def test_defaults_are_those_of_the_class_or_the_least_legal() -> None:
    flow = packet_of(Layout(1, "", FlowIdentification.LAYOUT.fields[:-1]), FlowIdentification)()
    assert (flow.fid, flow.priority, flow.status) == (1, 1, 0)
    binding = packet_of(BindingIdentifier.LAYOUT, BindingIdentifier)()
    assert (binding.bid, binding.priority, binding.care_of_address) == (0, 1, None)
    assert packet_of(Layout(1, "", (uint16_list("x"),)))().x == [0]


def test_enumerated_field_within_an_octet_has_names() -> None:
    status = uint("status", 12, values=ProxyBindingStatus)
    made = packet_of(Layout(1, "", (reserved(4), status)))
    assert bytes(made(status="TIMESTAMP_MISMATCH")) == (156).to_bytes(2, "big")
    assert "status    = TIMESTAMP_MISMATCH" in made(b"\0\x9c").show(dump=True)


def test_kind_without_a_field_is_refused() -> None:
    with pytest.raises(TypeError, match=r"no Scapy field for Kind\.OPTIONS"):
        scapy_fields(Layout(1, "", (options(),)))
    with pytest.raises(AssertionError):
        scapy_fields(Layout(1, "", (Field("x", Kind.UINT, 8, present=1),)))


def test_flag_shows_its_letter() -> None:
    assert FlagField("x", 0, "L").i2repr(None, True) == "1 (L)"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1_767_225_600 << 16 | 1 << 15, "(2026-01-01 00:00:00.500000 UTC)"),
        ((1 << 64) - 1, "18446744073709551615"),
        (None, "None"),
    ],
)
def test_timestamp_shows_the_time_if_there_is_such_a_time(value: Any, shown: str) -> None:
    assert TimestampField("x", 0).i2repr(None, value).endswith(shown)


def test_bits_outside_a_mask_are_ignored_and_sent_as_zero_rfc6088_3_2() -> None:
    field = MaskedField("flow_label", None, 0xFFFFF)
    assert field.m2i(None, 0xFFF12345) == field.i2m(None, 0xFFF12345) == 0x12345


def test_addresses_of_ipaddress_and_strings_are_taken() -> None:
    assert IPv6Field("x", "::").any2i(None, IPv6Address("2001:db8::1")) == "2001:db8::1"
    assert IPv4Field("x", None).any2i(None, IPv4Address("192.0.2.1")) == "192.0.2.1"
    either = AnyAddressField("x", None)
    assert either.addfield(Packet(), b"", either.any2i(None, IPv4Address(1))) == b"\0\0\0\1"
    assert either.addfield(Packet(), b"", either.any2i(None, "::1")) == bytes(15) + b"\1"
    assert either.getfield(Packet(), b"") == (b"", None)
    with pytest.raises(ValueError, match="not appear to be"):
        either.any2i(None, "x")


def test_numbers_may_be_a_tuple() -> None:
    layout = Layout(1, "", (uint16_list("x"),))
    assert bytes(packet_of(layout)(x=(1, 2))) == b"\0\1\0\2"
    assert isinstance(packet_of(layout).fields_desc[0], NumbersField)
    assert len(packet_of(layout)(bytes(254)).x) == 127
