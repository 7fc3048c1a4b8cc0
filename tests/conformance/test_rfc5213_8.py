"""RFC 5213 section 8, the formats: one test a rule, named after it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING

import pytest

from nodes.actions import Send
from nodes.wire.codec import decode_without_addresses, encode_without_addresses
from nodes.wire.errors import MalformedMessage
from nodes.wire.messages import ProxyBindingUpdate
from nodes.wire.options import (
    AccessTechnologyType,
    HandoffIndicator,
    HomeNetworkPrefix,
    LinkLocalAddress,
    MobileNodeLinkLayerIdentifier,
    Option,
    Timestamp,
    UnknownOption,
)

if TYPE_CHECKING:
    from tests.domain import Domain

OPTIONS_START = 12  # of a PBU, from the start of the Mobility Header
PREFIX = HomeNetworkPrefix.of(IPv6Network("2001:db8:100::/64"))


def encoded(option: Option) -> tuple[bytes, int]:
    """A PBU with one option, and where the option's type octet is."""
    data = encode_without_addresses(ProxyBindingUpdate(1, 900, (option,)))
    code = type(option).LAYOUT.code
    start = OPTIONS_START
    while data[start] != code:
        start += 1 if data[start] == 0 else 2 + data[start + 1]
    return data, start


def check_length(option: Option, octets: int) -> None:
    """The sender sets it, and the receiver takes no other."""
    data, start = encoded(option)
    assert data[start + 1] == octets
    for wrong in (octets - 1, octets + 1):
        changed = bytearray(data + bytes(8))
        changed[1] += 1
        changed[start + 1] = wrong
        with pytest.raises(MalformedMessage, match=type(option).__name__):
            decode_without_addresses(bytes(changed))


def check_reserved(option: Option, places: dict[int, int]) -> None:
    """`places`: octets from the type on, each with the mask of its reserved bits. They are sent as
    zero, and what is received in them changes nothing."""
    data, start = encoded(option)
    assert not any(data[start + place] & mask for place, mask in places.items())
    changed = bytearray(data)
    for place, mask in places.items():
        changed[start + place] |= mask
    assert changed != data
    assert decode_without_addresses(bytes(changed)) == decode_without_addresses(data)


def test_rfc5213_8_1_01_the_p_flag_says_proxy_registration(domain: type[Domain]) -> None:
    gateway = domain.mag()
    (sent,) = domain.of(Send, gateway.link_up())
    assert isinstance(sent.message, ProxyBindingUpdate)
    assert sent.message.proxy_registration
    assert encode_without_addresses(sent.message)[8] & 0x02
    direct = replace(domain.pbu(), proxy_registration=False)
    assert not encode_without_addresses(direct)[8] & 0x02
    anchor = domain.lma()
    assert domain.of(Send, anchor.receive(direct)) == []
    assert list(anchor.core.bindings) == []


def test_rfc5213_8_1_02_the_lma_skips_options_that_it_does_not_know(domain: type[Domain]) -> None:
    strange = UnknownOption(250, b"what?")
    reply = domain.lma().acknowledged(domain.pbu(extra=(strange,)))
    assert reply.status == 0
    assert strange not in reply.options


def test_rfc5213_8_2_01_the_mag_skips_options_that_it_does_not_know(domain: type[Domain]) -> None:
    gateway = domain.mag()
    gateway.link_up()
    answer = domain.acceptance(gateway.request())
    answer = replace(answer, options=(UnknownOption(250, b"what?"), *answer.options))
    gateway.receive(answer, 0.02)
    assert gateway.core.bindings[gateway.interface].prefixes == (domain.P1,)


def test_rfc5213_8_3_01_the_home_network_prefix_option_has_18_octets() -> None:
    check_length(PREFIX, 18)


def test_rfc5213_8_3_02_its_reserved_bits_are_zero_and_ignored() -> None:
    """RFC 7864 section 4.1 took the first one for the L flag."""
    check_reserved(PREFIX, {2: 0x7F})


def test_rfc5213_8_4_01_the_handoff_indicator_option_has_2_octets() -> None:
    check_length(HandoffIndicator(1), 2)


def test_rfc5213_8_4_02_its_reserved_octet_is_zero_and_ignored() -> None:
    check_reserved(HandoffIndicator(1), {2: 0xFF})


def test_rfc5213_8_5_01_the_access_technology_type_option_has_2_octets() -> None:
    check_length(AccessTechnologyType(4), 2)


def test_rfc5213_8_5_02_its_reserved_octet_is_zero_and_ignored() -> None:
    check_reserved(AccessTechnologyType(4), {2: 0xFF})


@pytest.mark.parametrize(("octets", "step"), [(6, 2), (4, 4), (8, 8), (16, 8), (20, 4)])
def test_rfc5213_8_6_01_the_link_layer_identifier_is_aligned_by_its_size(
    octets: int, step: int
) -> None:
    """As a field of the widest of 8, 4 and 2 octets that divides it (RFC 6275 section 6.2.1)."""
    for before in (b"", b"x", b"xx", b"xxx"):
        first = UnknownOption(250, before)
        option = MobileNodeLinkLayerIdentifier(bytes(octets))
        data = encode_without_addresses(ProxyBindingUpdate(1, 900, (first, option)))
        place = data.index(bytes([25, octets + 2]), OPTIONS_START + 2 + len(before))
        assert (place + 4) % step == 0


def test_rfc5213_8_6_02_its_reserved_octets_are_zero_and_ignored() -> None:
    check_reserved(MobileNodeLinkLayerIdentifier(bytes.fromhex("020000000101")), {2: 255, 3: 255})


def test_rfc5213_8_7_01_the_link_local_address_option_has_16_octets() -> None:
    check_length(LinkLocalAddress(IPv6Address("fe80::1")), 16)


def test_rfc5213_8_8_01_the_timestamp_option_has_8_octets() -> None:
    check_length(Timestamp.of_unix_ns(1_767_225_600_000_000_000), 8)
