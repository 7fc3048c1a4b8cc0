from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from typing import Any

import pytest

from nodes.wire import messages as m
from nodes.wire.codec import decode_without_addresses, encode_without_addresses
from nodes.wire.layout import Kind
from nodes.wire.options import (
    HandoffIndicator,
    HomeNetworkPrefix,
    MobileNodeIdentifier,
    RestartCounter,
)


def data_of(message: m.Message) -> str:
    """Message data, without header and checksum."""
    return encode_without_addresses(message)[6:].hex()


# By hand from the figures. What follows the fields is padding to 8 octets: PadN of 4 or so.
@pytest.mark.parametrize(
    ("message", "mh_type", "text"),
    [
        (m.ProxyBindingUpdate(0x1234, 300), 5, "12348200012c01020000"),
        (m.ProxyBindingAcknowledgement(156, 0x1234, 300), 6, "9c201234012c01020000"),
        (m.BindingError(2), 7, "0200" + 16 * "00"),
        (m.Heartbeat(0x01020304), 13, "00000102030401020000"),
        (m.Heartbeat(1, True, True), 13, "00030000000101020000"),
        (m.BindingRevocationIndication(7, 0x63), 16, "01070063800001020000"),
        (
            m.BindingRevocationAcknowledgement(132, 0x63, (), False, True, True),
            16,
            "02840063600001020000",
        ),
        (m.UpdateNotification(7, 8, (), True), 19, "00070008800001020000"),
        (m.UpdateNotification(7, 8, (), True, True), 19, "00070008c00001020000"),
        (m.UpdateNotificationAcknowledgement(7, 132), 20, "00078400000001020000"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, m.Message) else None,
)
def test_golden_fixed_part(message: m.Message, mh_type: int, text: str) -> None:
    encoded = encode_without_addresses(message)
    assert encoded[2] == mh_type
    assert encoded[6:].hex() == text
    assert decode_without_addresses(encoded) == message


def test_message_without_options_has_4_octets_of_padding() -> None:
    """RFC 6275 sections 6.1.7 and 6.1.8, RFC 5846 sections 5.1 and 5.2: Header Len is 1."""
    assert encode_without_addresses(m.ProxyBindingUpdate(1, 1))[1] == 1


def test_binding_error_without_options_needs_no_padding_rfc6275_6_1_9() -> None:
    assert encode_without_addresses(m.BindingError(2))[1] == 2


@pytest.mark.parametrize(
    ("name", "bit"),
    [
        ("acknowledge", 0x8000),
        ("home_registration", 0x4000),
        ("link_local_compatibility", 0x2000),
        ("key_management", 0x1000),
        ("map_registration", 0x0800),
        ("mobile_router", 0x0400),
        ("proxy_registration", 0x0200),
        ("forcing_udp", 0x0100),
        ("tlv_header", 0x0080),
        ("bulk_registration", 0x0040),
        ("s_flag", 0x0020),
        ("d_flag", 0x0010),
    ],
)
def test_flags_of_the_update_rfc5213_8_1_and_iana(name: str, bit: int) -> None:
    none = {"acknowledge": False, "proxy_registration": False}
    message = m.ProxyBindingUpdate(0, 0, **{**none, name: True})  # type: ignore[arg-type]
    assert data_of(message)[4:8] == f"{bit:04x}"
    assert decode_without_addresses(encode_without_addresses(message)) == message


@pytest.mark.parametrize(
    ("name", "bit"),
    [
        ("key_management", 0x80),
        ("mobile_router", 0x40),
        ("proxy_registration", 0x20),
        ("tlv_header", 0x10),
        ("bulk_registration", 0x08),
        ("s_flag", 0x04),
        ("d_flag", 0x02),
    ],
)
def test_flags_of_the_acknowledgement_rfc5213_8_2_and_iana(name: str, bit: int) -> None:
    arguments: dict[str, Any] = {"proxy_registration": False, name: True}
    message = m.ProxyBindingAcknowledgement(0, 0, 0, **arguments)
    assert data_of(message)[2:4] == f"{bit:02x}"
    assert decode_without_addresses(encode_without_addresses(message)) == message


def test_letters_of_flags_are_those_of_the_rfcs() -> None:
    def letters(cls: type[m.Message]) -> str:
        return "".join(f.letter for f in cls.LAYOUT.fields if f.kind is Kind.FLAG)

    assert letters(m.ProxyBindingUpdate) == "AHLKMRPFTBSD"
    assert letters(m.ProxyBindingAcknowledgement) == "KRPTBSD"
    assert letters(m.UpdateNotification) == "AD"
    assert letters(m.Heartbeat) == "UR"
    assert letters(m.BindingRevocationIndication) == "PVG"


def test_lifetime_is_in_units_of_4_s_rfc6275_6_1_7() -> None:
    assert m.ProxyBindingUpdate(1, 300).lifetime_s == 1200
    assert m.ProxyBindingAcknowledgement(0, 1, 1).lifetime_s == 4


@pytest.mark.parametrize(
    ("status", "accepted"), [(0, True), (127, True), (128, False), (255, False)]
)
def test_status_from_128_on_is_a_rejection(status: int, accepted: bool) -> None:
    """RFC 5213 section 8.2, RFC 7077 section 4.2, RFC 5846 section 5.2."""
    assert m.ProxyBindingAcknowledgement(status, 0, 0).accepted is accepted
    assert m.UpdateNotificationAcknowledgement(0, status).accepted is accepted
    assert m.BindingRevocationAcknowledgement(status, 0).accepted is accepted


def test_options_are_found_by_class_in_their_order() -> None:
    first, second = (
        HomeNetworkPrefix.of(IPv6Network(f"2001:db8:{number}::/64")) for number in (1, 2)
    )
    name = MobileNodeIdentifier.of("mn1")
    message = m.ProxyBindingUpdate(1, 1, (first, name, second))
    assert message.option(MobileNodeIdentifier) is name
    assert message.option(HomeNetworkPrefix) is first
    assert message.all_options(HomeNetworkPrefix) == (first, second)
    assert message.option(HandoffIndicator) is None
    assert message.all_options(HandoffIndicator) == ()


@pytest.mark.parametrize(
    ("cls", "arguments", "message"),
    [
        (
            m.ProxyBindingUpdate,
            (65536, 1),
            "sequence is 65536; expected an integer from 0 to 65535",
        ),
        (m.ProxyBindingUpdate, (1, -4), "lifetime is -4"),
        (m.ProxyBindingUpdate, (1, 1, [RestartCounter(1)]), "expected a tuple of Options"),
        (m.ProxyBindingUpdate, (1, 1, ("mn1",)), "expected a tuple of Options"),
        (m.ProxyBindingUpdate, (1, 1, (), "A"), "acknowledge is 'A'; expected True or False"),
        (m.ProxyBindingAcknowledgement, (256, 1, 1), "status is 256"),
        (m.Heartbeat, (1 << 32,), "sequence is 4294967296"),
        (m.BindingError, (2, "::"), "home_address is '::'; expected an IPv6Address"),
        (m.UpdateNotification, (1, 65536), "reason is 65536"),
    ],
)
def test_constructor_names_field_value_and_what_was_expected(
    cls: type[Any], arguments: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=rf"^{cls.__name__}\..*{message}"):
        cls(*arguments)


def test_messages_are_immutable_and_have_no_other_attributes() -> None:
    message = m.Heartbeat(1)
    with pytest.raises(AttributeError):
        message.sequence = 2  # type: ignore[misc]
    assert not hasattr(message, "__dict__")
    assert m.BindingError(1).home_address == IPv6Address("::")
