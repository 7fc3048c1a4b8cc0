from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.wire import options as o
from nodes.wire.errors import MalformedMessage
from nodes.wire.tlv import OPTIONS, append_elements, decode_elements
from nodes.wire.values import AccessTechnology, HandoffHint

ADDRESS = IPv6Address("2001:db8:1::")


def encoded(option: o.Option, position: int = 0) -> str:
    out = bytearray(position)
    append_elements(out, (option,))
    return out[position:].hex()


def decoded(text: str) -> o.Option:
    data = bytes.fromhex(text)
    (option,) = decode_elements(OPTIONS, data, 0, len(data))
    return option


# Worked out by hand from the figures in the RFCs. The position is one that needs no padding.
GOLDEN = [
    ("rfc6275_6_2_5", o.AlternateCareOfAddress(ADDRESS), 6, "031020010db8000100000000000000000000"),
    ("rfc4283_3", o.MobileNodeIdentifier.of("a@b"), 0, "080401614062"),
    ("rfc4283_3_eui48", o.MobileNodeIdentifier(b"\x02\0\0\0\0\x01", 5), 0, "080705020000000001"),
    ("rfc5094", o.VendorSpecific(0x28AF, 3, b"\x01\x02"), 2, "1307000028af030102"),
    (
        "rfc5213_8_3",
        o.HomeNetworkPrefix(ADDRESS, 64),
        4,
        "1612004020010db8000100000000000000000000",
    ),
    (
        "rfc7864_4_1_l_flag",
        o.HomeNetworkPrefix(ADDRESS, 64, True),
        4,
        "1612804020010db8000100000000000000000000",
    ),
    ("rfc5213_8_4", o.HandoffIndicator(HandoffHint.HANDOFF_BETWEEN_MAGS), 0, "17020003"),
    ("rfc7864_hi_6", o.HandoffIndicator(6), 0, "17020006"),
    ("rfc5213_8_5", o.AccessTechnologyType(AccessTechnology.IEEE_802_11), 0, "18020004"),
    (
        "rfc5213_8_6",
        o.MobileNodeLinkLayerIdentifier(bytes.fromhex("020000000001")),
        0,
        "19080000020000000001",
    ),
    (
        "rfc5213_8_7",
        o.LinkLocalAddress(IPv6Address("fe80::200:5eff:fe00:5213")),
        6,
        "1a10fe8000000000000002005efffe005213",
    ),
    ("rfc5213_8_8", o.Timestamp(0x6553F1008000), 2, "1b0800006553f1008000"),
    ("rfc5847_3_4", o.RestartCounter(5), 2, "1c0400000005"),
    ("rfc6602", o.MobileNodeGroupIdentifier(0x01020304), 0, "3206010001020304"),
    ("rfc6089_4_1", o.BindingIdentifier(0x0102, 128, 9, True), 0, "230401028089"),
    (
        "rfc5648_4_3_ipv4",
        o.BindingIdentifier(1, care_of_address=IPv4Address("192.0.2.1")),
        2,
        "230800010001c0000201",
    ),
    (
        "rfc5648_4_3_ipv6",
        o.BindingIdentifier(1, care_of_address=ADDRESS),
        2,
        "23140001000120010db8000100000000000000000000",
    ),
]


@pytest.mark.parametrize(
    ("option", "position", "text"), [g[1:] for g in GOLDEN], ids=[g[0] for g in GOLDEN]
)
def test_golden(option: o.Option, position: int, text: str) -> None:
    assert encoded(option, position) == text
    assert decoded(text) == option


@given(st.data())
def test_decoding_inverts_encoding(options: Any, data: st.DataObject) -> None:
    option = data.draw(options)
    text = encoded(option)
    raw = bytes.fromhex(text)
    assert decode_elements(OPTIONS, raw, 0, len(raw)) == (option,)


@pytest.mark.parametrize(
    ("option", "position"),
    [
        (o.AlternateCareOfAddress(ADDRESS), 8 + 6),
        (o.HomeNetworkPrefix(ADDRESS, 64), 8 + 4),
        (o.LinkLocalAddress(ADDRESS), 8 + 6),
        (o.Timestamp(0), 8 + 2),
        (o.RestartCounter(0), 4 + 2),
        (o.MobileNodeGroupIdentifier(), 4),
        (o.BindingIdentifier(1), 2),
        (o.BindingIdentifier(1, care_of_address=ADDRESS), 8 + 2),
        (o.BindingIdentifier(1, care_of_address=IPv4Address("192.0.2.1")), 8 + 2),
        (o.VendorSpecific(1, 2), 4 + 2),
        (o.FlowSummary((1,)), 2),
        (o.FlowIdentification(1, 1), 2),
        # RFC 5213 section 8.6: by the size of the identifier, which follows 4 octets.
        (o.MobileNodeLinkLayerIdentifier(bytes(8)), 8 + 4),
        (o.MobileNodeLinkLayerIdentifier(bytes(6)), 2),
        (o.MobileNodeLinkLayerIdentifier(bytes(4)), 4),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, o.Option) else "",
)
def test_alignment_of_each_option(option: o.Option, position: int) -> None:
    """The first octet before `position` that is no place for the option gets padding."""
    assert not encoded(option, position).startswith(("00", "01"))
    assert encoded(option, position + 1).startswith(("00", "01"))


@pytest.mark.parametrize("text", ["080401614062", "17020003", "18020004"])
def test_options_without_alignment_get_no_padding(text: str) -> None:
    """RFC 4283 section 3, RFC 5213 sections 8.4 and 8.5."""
    assert {encoded(decoded(text), position) for position in range(8)} == {text}


@pytest.mark.parametrize(
    ("text", "field", "offset"),
    [
        ("1611004020010db80001000000000000000000", "HomeNetworkPrefix.length", 1),
        ("1612008120010db8000100000000000000000000", "HomeNetworkPrefix.prefix_length", 3),
        ("1703000100", "HandoffIndicator.length", 1),
        ("180100", "AccessTechnologyType.length", 1),
        ("1b0700000000000000", "Timestamp.length", 1),
        ("1c03000000", "RestartCounter.length", 1),
        ("0800", "MobileNodeIdentifier.length", 1),
        ("190100", "MobileNodeLinkLayerIdentifier.length", 1),
        ("23050001000100", "BindingIdentifier.length", 1),
        ("130400000001", "VendorSpecific.length", 1),
        ("2c00", "FlowSummary.fids", 2),
        ("2c03000100", "FlowSummary.fids", 2),
    ],
)
def test_wrong_length_or_value_is_malformed(text: str, field: str, offset: int) -> None:
    """RFC 5213 sections 8.3 to 8.8: "This field MUST be set to"; RFC 5648 section 4.3: 4, 8, 20."""
    with pytest.raises(MalformedMessage) as caught:
        decoded(text)
    assert (caught.value.field, caught.value.offset) == (field, offset)
    assert "expected" in caught.value.reason


@pytest.mark.parametrize(
    "text",
    [
        "1612ff4020010db8000100000000000000000000",
        "1702ff03",
        "1802ff04",
        "1908ffff020000000001",
    ],
)
def test_reserved_bits_are_ignored_and_sent_as_zero_rfc5213_8(text: str) -> None:
    option = decoded(text)
    start = encoded(option, 12)
    assert "ff" not in start.removeprefix("0100")


def test_bits_beyond_the_prefix_length_survive_but_are_not_in_the_prefix() -> None:
    text = "1612004020010db800010000000000000000000f"
    option = decoded(text)
    assert isinstance(option, o.HomeNetworkPrefix)
    assert option.prefix == IPv6Network("2001:db8:1::/64")
    assert encoded(option, 4) == text


def test_all_zero_prefix_asks_for_one_rfc5213_8_3() -> None:
    assert o.HomeNetworkPrefix.of(IPv6Network("::/0")).all_zero
    assert o.HomeNetworkPrefix(IPv6Address("::"), 64).all_zero
    assert not o.HomeNetworkPrefix(ADDRESS, 64).all_zero
    assert o.LinkLocalAddress(IPv6Address("::")).all_zero


def test_timestamp_is_48_bits_of_seconds_and_16_of_65536ths_rfc5213_8_8() -> None:
    assert o.Timestamp.of_unix_ns(1_700_000_000_500_000_000).value == (1_700_000_000 << 16) + 0x8000
    assert o.Timestamp.of_unix_seconds(1.25).value == 0x14000
    assert o.Timestamp(0x18000).unix_ns == 1_500_000_000
    assert o.Timestamp(0x18000).unix_seconds == 1.5


@given(st.integers(0, 2**64 - 1))
def test_timestamp_in_ns_and_back_is_exact(value: int) -> None:
    assert o.Timestamp.of_unix_ns(o.Timestamp(value).unix_ns) == o.Timestamp(value)


@given(st.integers(0, 2**60), st.integers(0, 2**60))
def test_later_timestamp_is_never_lower(first: int, second: int) -> None:
    earlier, later = sorted((first, second))
    assert o.Timestamp.of_unix_ns(earlier).value <= o.Timestamp.of_unix_ns(later).value


@given(st.binary(max_size=50))
def test_identifier_as_text_survives_any_octets(identifier: bytes) -> None:
    option = o.MobileNodeIdentifier(identifier)
    assert o.MobileNodeIdentifier.of(option.nai) == option


@pytest.mark.parametrize(
    ("cls", "arguments", "message"),
    [
        (
            o.HomeNetworkPrefix,
            (ADDRESS, 129),
            "prefix_length is 129; expected an integer from 0 to 128",
        ),
        (
            o.HomeNetworkPrefix,
            ("2001:db8::", 64),
            "address is '2001:db8::'; expected an IPv6Address",
        ),
        (o.HomeNetworkPrefix, (ADDRESS, 64, 1), "off_link is 1; expected True or False"),
        (o.HandoffIndicator, (256,), "hint is 256; expected an integer from 0 to 255"),
        (o.HandoffIndicator, (-1,), "hint is -1"),
        (o.HandoffIndicator, ("4",), "hint is '4'"),
        (o.Timestamp, (1 << 64,), "value is 18446744073709551616"),
        (o.MobileNodeIdentifier, ("mn1",), "identifier is 'mn1'; expected at most 254 octets"),
        (o.MobileNodeIdentifier, (bytes(255),), "expected at most 254 octets"),
        (o.MobileNodeLinkLayerIdentifier, (bytes(254),), "expected at most 253 octets"),
        (o.BindingIdentifier, (1, 0, 128), "priority is 128; expected an integer from 0 to 127"),
        (o.BindingIdentifier, (1, 0, 1, False, "::"), "care_of_address is '::'"),
        (o.FlowSummary, ((),), r"fids is \(\); expected a tuple of 1 to 127 integers"),
        (o.FlowSummary, ((65536,),), "fids is"),
        (o.FlowSummary, ([1],), r"fids is \[1\]"),
    ],
)
def test_constructor_names_field_value_and_what_was_expected(
    cls: type[Any], arguments: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=rf"^{cls.__name__}\..*{message}"):
        cls(*arguments)


def test_unknown_values_of_enumerations_are_kept() -> None:
    assert decoded("170200c8") == o.HandoffIndicator(200)
