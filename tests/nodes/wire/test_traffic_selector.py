from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.wire.errors import MalformedMessage
from nodes.wire.tlv import SUB_OPTIONS, append_elements, decode_elements
from nodes.wire.traffic_selector import (
    IPv4TrafficSelector,
    IPv6TrafficSelector,
    PacketFields,
    UnknownTrafficSelector,
    alignment_of,
)

A, B = IPv6Address("2001:db8::a"), IPv6Address("2001:db8::b")
PACKET = PacketFields(A, B, 17, 4000, 5001, traffic_class=0xB8, flow_label=0x12345, spi=0x100)
PACKET4 = PacketFields(IPv4Address("192.0.2.1"), IPv4Address("198.51.100.1"), 6, 80, 4711)


def encoded(selector: Any, position: int = 0) -> str:
    out = bytearray(position)
    append_elements(out, (selector,))
    return out[position:].hex()


def decoded(text: str) -> Any:
    data = bytes.fromhex(text)
    (selector,) = decode_elements(SUB_OPTIONS, data, 0, len(data))
    return selector


# Every field, by hand from figure 2 of RFC 6088: all 16 flags, then the fields in their order.
EVERY_IPV6 = IPv6TrafficSelector(
    start_source_address=IPv6Address("2001:db8::1"),
    end_source_address=IPv6Address("2001:db8::2"),
    start_destination_address=IPv6Address("2001:db8::3"),
    end_destination_address=IPv6Address("2001:db8::4"),
    start_spi=0x100,
    end_spi=0x200,
    start_flow_label=0x12345,
    end_flow_label=0x12346,
    start_source_port=1000,
    end_source_port=1001,
    start_destination_port=5000,
    end_destination_port=5001,
    start_traffic_class=0x20,
    end_traffic_class=0x28,
    start_next_header=6,
    end_next_header=17,
)
EVERY_IPV6_HEX = (
    "0362" + "0200" + "ffff0000"
    "20010db8000000000000000000000001" "20010db8000000000000000000000002"
    "20010db8000000000000000000000003" "20010db8000000000000000000000004"
    "00000100" "00000200" "00012345" "00012346" "03e803e9" "13881389" "20280611"
)  # fmt: skip
# Figure 1: 14 flags, then 18 reserved bits.
EVERY_IPV4 = IPv4TrafficSelector(
    start_source_address=IPv4Address("192.0.2.1"),
    end_source_address=IPv4Address("192.0.2.2"),
    start_destination_address=IPv4Address("192.0.2.3"),
    end_destination_address=IPv4Address("192.0.2.4"),
    start_spi=0x100,
    end_spi=0x200,
    start_source_port=1000,
    end_source_port=1001,
    start_destination_port=5000,
    end_destination_port=5001,
    start_ds=0x20,
    end_ds=0x28,
    start_protocol=6,
    end_protocol=17,
)
EVERY_IPV4_HEX = (
    "032a" + "0100" + "fffc0000"
    "c0000201" "c0000202" "c0000203" "c0000204" "00000100" "00000200"
    "03e803e9" "13881389" "20280611"
)  # fmt: skip


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        (EVERY_IPV6, EVERY_IPV6_HEX),
        (EVERY_IPV4, EVERY_IPV4_HEX),
        (IPv6TrafficSelector(), "0306020000000000"),
        (IPv4TrafficSelector(start_protocol=17), "030701000008000011"),
        (UnknownTrafficSelector(9, b"\xab"), "03030900ab"),
    ],
    ids=["ipv6", "ipv4", "ipv6 without fields", "ipv4 protocol", "unknown"],
)
def test_golden_rfc6088_3(selector: Any, text: str) -> None:
    assert encoded(selector) == text
    assert decoded(text) == selector


def test_order_of_flags_rfc6088_3_2() -> None:
    """A is the most significant bit, and the names follow the letters A to P."""
    fields = IPv6TrafficSelector.LAYOUT.named_fields
    assert "".join(field.letter for field in fields) == "ABCDEFGHIJKLMNOP"
    assert fields[0].present == 1 << 31
    assert [field.name for field in fields if field.letter in "AGKO"] == [
        "start_source_address",
        "start_flow_label",
        "start_destination_port",
        "start_next_header",
    ]


@given(st.data())
@pytest.mark.parametrize("cls", [IPv6TrafficSelector, IPv4TrafficSelector])
def test_decoding_inverts_encoding(cls: type[Any], selector_of: Any, data: st.DataObject) -> None:
    selector = data.draw(selector_of(cls))
    assert decoded(encoded(selector)) == selector


@pytest.mark.parametrize(
    ("selector", "step"),
    [
        (IPv6TrafficSelector(start_source_address=A, start_next_header=6), 8),
        (IPv6TrafficSelector(start_spi=1), 4),
        (IPv6TrafficSelector(start_flow_label=1), 4),
        (IPv6TrafficSelector(start_source_port=1), 2),
        (IPv6TrafficSelector(start_next_header=1), 1),
        (IPv4TrafficSelector(start_source_address=IPv4Address("192.0.2.1")), 4),
        (IPv4TrafficSelector(start_destination_port=1), 2),
        (IPv4TrafficSelector(start_ds=1), 1),
    ],
)
def test_alignment_depends_on_the_fields_rfc6088_3(selector: Any, step: int) -> None:
    assert alignment_of(selector).step == step
    assert alignment_of(selector).offset == 0


@pytest.mark.parametrize(
    ("text", "field", "offset"),
    [
        ("030102", "TrafficSelector.length", 1),
        ("03050200000000", "IPv6TrafficSelector.length", 1),
        ("030702000020000013", "IPv6TrafficSelector.start_destination_port", 8),
        ("0309020000200000138900", "IPv6TrafficSelector.length", 1),
        ("03080200001000001389", "IPv6TrafficSelector.end_destination_port", 8),
        ("030a02000030000013891388", "IPv6TrafficSelector.end_destination_port", 10),
    ],
)
def test_malformed_selector_rfc6088_3(text: str, field: str, offset: int) -> None:
    with pytest.raises(MalformedMessage) as caught:
        decoded(text)
    assert (caught.value.field, caught.value.offset) == (field, offset)


def test_reserved_bits_are_ignored_rfc6088_3() -> None:
    text = "030701ff0008ffff11"
    flags_of_ipv4 = "0003ffff"  # the 18 bits after the 14 flags
    assert decoded(text.replace("0008ffff", "000bffff")) == IPv4TrafficSelector(start_protocol=17)
    assert decoded("030601ff" + flags_of_ipv4) == IPv4TrafficSelector()


def test_flow_label_has_20_bits() -> None:
    """RFC 6088 section 3.2 has the receiver ignore 8 of 32 bits; RFC 8200 section 3 leaves 20."""
    assert decoded("030a020002000000fff12345").start_flow_label == 0x12345
    with pytest.raises(
        ValueError, match=r"start_flow_label is 1048576; expected an integer from 0"
    ):
        IPv6TrafficSelector(start_flow_label=1 << 20)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"end_spi": 1}, "end_spi is 1; expected None, because start_spi is None"),
        (
            {"start_source_port": 5, "end_source_port": 4},
            "end_source_port is 4; expected at least start_source_port, which is 5",
        ),
        ({"start_source_address": B, "end_source_address": A}, "end_source_address is"),
        ({"start_next_header": 256}, "start_next_header is 256; expected an integer from 0 to 255"),
        ({"start_source_port": "80"}, "start_source_port is '80'"),
        ({"start_source_address": IPv4Address("192.0.2.1")}, "expected an IPv6Address or None"),
    ],
)
def test_impossible_selector_is_refused_rfc6088_3(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        IPv6TrafficSelector(**arguments)


@pytest.mark.parametrize(("ts_format", "data"), [(1, b""), (2, b""), (256, b""), (9, bytes(254))])
def test_impossible_unknown_selector_is_refused(ts_format: int, data: bytes) -> None:
    with pytest.raises(ValueError, match="UnknownTrafficSelector"):
        UnknownTrafficSelector(ts_format, data)


FIELD_OF_PACKET = [
    ("source_address", "source", A),
    ("destination_address", "destination", B),
    ("spi", "spi", 0x100),
    ("flow_label", "flow_label", 0x12345),
    ("source_port", "source_port", 4000),
    ("destination_port", "destination_port", 5001),
    ("traffic_class", "traffic_class", 0xB8),
    ("next_header", "protocol", 17),
]


@pytest.mark.parametrize(("name", "attribute", "value"), FIELD_OF_PACKET)
def test_start_alone_matches_one_value(name: str, attribute: str, value: Any) -> None:
    selector = IPv6TrafficSelector(**{f"start_{name}": value})
    assert selector.matches(PACKET)
    step = 4 if name == "traffic_class" else 1
    assert not selector.matches(replace(PACKET, **{attribute: value + step}))


@pytest.mark.parametrize(("name", "attribute", "value"), FIELD_OF_PACKET)
def test_range_is_inclusive_at_both_ends_rfc6088_3(name: str, attribute: str, value: Any) -> None:
    step = 4 if name == "traffic_class" else 1
    first, last = value - step, value + step
    selector = IPv6TrafficSelector(**{f"start_{name}": first, f"end_{name}": last})
    for inside in (first, value, last):
        assert selector.matches(replace(PACKET, **{attribute: inside}))
    for outside in (first - step, last + step):
        assert not selector.matches(replace(PACKET, **{attribute: outside}))


def test_all_ranges_have_to_match() -> None:
    selector = IPv6TrafficSelector(start_next_header=17, start_destination_port=5001)
    assert selector.matches(PACKET)
    assert not selector.matches(replace(PACKET, protocol=6))
    assert not selector.matches(replace(PACKET, destination_port=5002))


@pytest.mark.parametrize("ecn", range(4))
def test_ecn_bits_must_be_ignored_in_comparisons_rfc6088_3(ecn: int) -> None:
    selector = IPv6TrafficSelector(start_traffic_class=0xB8 | (3 - ecn))
    assert selector.matches(replace(PACKET, traffic_class=0xB8 | ecn))
    # ... so a range whose ends differ in them only isn't the wrong way round.
    assert IPv6TrafficSelector(start_traffic_class=3, end_traffic_class=0).matches(
        replace(PACKET, traffic_class=ecn)
    )
    ds = IPv4TrafficSelector(start_ds=0xB8)
    assert ds.matches(replace(PACKET4, traffic_class=0xB8 | ecn))


def test_field_that_the_packet_lacks_does_not_match() -> None:
    """ICMPv6 has no ports, for example."""
    icmp = PacketFields(A, B, 58)
    assert not IPv6TrafficSelector(start_source_port=0, end_source_port=65535).matches(icmp)
    assert not IPv6TrafficSelector(start_spi=0, end_spi=0xFFFFFFFF).matches(icmp)


def test_selector_is_for_one_ip_version_rfc6088_3() -> None:
    assert IPv6TrafficSelector().matches(PACKET)
    assert not IPv6TrafficSelector().matches(PACKET4)
    assert IPv4TrafficSelector().matches(PACKET4)
    assert not IPv4TrafficSelector().matches(PACKET)


def test_uplink_packet_is_matched_reversed() -> None:
    """Selectors describe packets to the mobile node (RFC 6088 section 3)."""
    selector = IPv6TrafficSelector(start_source_address=A, start_destination_port=5001)
    uplink = PacketFields(B, A, 17, 5001, 4000)
    assert not selector.matches(uplink)
    assert selector.matches(uplink.reversed())


def test_selector_of_networks_and_single_values() -> None:
    selector = IPv6TrafficSelector.of(
        source=IPv6Network("2001:db8::/64"),
        destination=IPv6Network("2001:db8:1::1/128"),
        protocol=6,
    )
    assert selector.start_source_address == IPv6Address("2001:db8::")
    assert selector.end_source_address == IPv6Address("2001:db8::ffff:ffff:ffff:ffff")
    assert selector.end_destination_address is None
    packet = PacketFields(A, IPv6Address("2001:db8:1::1"), 6)
    assert selector.matches(packet)
    ipv4 = IPv4TrafficSelector.of(source=IPv4Network("192.0.2.0/24"), source_port=80)
    assert ipv4.matches(PACKET4)
