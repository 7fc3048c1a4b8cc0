from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes import neighbour_discovery as nd
from nodes.wire.errors import BadChecksum, MalformedMessage
from nodes.wire.mobility_header import checksum

ROUTER = IPv6Address("fe80::200:5eff:fe00:5213")  # RFC 6543 section 4
HOST = IPv6Address("fe80::1")
MAC = bytes.fromhex("00005e005213")
ADVERTISEMENT = nd.RouterAdvertisement(
    router_lifetime_s=1800,
    prefixes=(nd.PrefixInformation(IPv6Network("2001:db8:1::/64")),),
    mtu=1460,
    source_link_layer_address=MAC,
)
# By hand from RFC 4861 sections 4.2, 4.6.1, 4.6.4 and 4.6.2; the checksum is left out.
ADVERTISEMENT_HEX = (
    "8600" "{checksum}" "40" "00" "0708" "00000000" "00000000"
    "0101" "00005e005213"
    "0501" "0000" "000005b4"
    "0304" "40" "c0" "00278d00" "00093a80" "00000000" "20010db8000100000000000000000000"
)  # fmt: skip


def finished(text: str, source: IPv6Address, destination: IPv6Address) -> bytes:
    data = bytearray(bytes.fromhex(text.format(checksum="0000")))
    data[2:4] = checksum(data, source, destination, 58).to_bytes(2, "big")
    return bytes(data)


def decoded(text: str, source: IPv6Address = ROUTER) -> nd.NeighbourDiscovery:
    return nd.decode(finished(text, source, nd.ALL_NODES), source, nd.ALL_NODES)


def test_golden_advertisement_rfc4861_4_2() -> None:
    data = nd.encode(ADVERTISEMENT, ROUTER, nd.ALL_NODES)
    assert data == finished(ADVERTISEMENT_HEX, ROUTER, nd.ALL_NODES)
    assert nd.decode(data, ROUTER, nd.ALL_NODES) == ADVERTISEMENT


def test_golden_solicitation_rfc4861_4_1() -> None:
    data = nd.encode(nd.RouterSolicitation(MAC), HOST, nd.ALL_ROUTERS)
    assert data == finished("8500{checksum}00000000010100005e005213", HOST, nd.ALL_ROUTERS)
    assert nd.decode(data, HOST, nd.ALL_ROUTERS) == nd.RouterSolicitation(MAC)


def test_scapy_agrees_on_fields_and_checksum() -> None:
    inet6 = pytest.importorskip("scapy.layers.inet6")
    data = nd.encode(ADVERTISEMENT, ROUTER, nd.ALL_NODES)
    header = inet6.IPv6(src=str(ROUTER), dst="ff02::1", hlim=255)
    assert inet6.in6_chksum(58, header, data[:2] + b"\0\0" + data[4:]) == int.from_bytes(
        data[2:4], "big"
    )
    packet = inet6.IPv6(bytes(header / data)[:40].replace(b"\x3b\xff", b"\x3a\xff") + data)
    advertisement = packet[inet6.ICMPv6ND_RA]
    assert advertisement.routerlifetime == 1800
    assert packet[inet6.ICMPv6NDOptMTU].mtu == 1460
    prefix = packet[inet6.ICMPv6NDOptPrefixInfo]
    assert (prefix.prefix, prefix.prefixlen, prefix.L, prefix.A) == ("2001:db8:1::", 64, 1, 1)
    assert packet[inet6.ICMPv6NDOptSrcLLAddr].lladdr == "00:00:5e:00:52:13"


PREFIXES = st.builds(
    lambda bits, length, on_link, autonomous, lifetimes: nd.PrefixInformation(
        IPv6Network((bits, length), strict=False),
        on_link,
        autonomous,
        max(lifetimes),
        min(lifetimes),
    ),
    st.integers(0, 2**128 - 1),
    st.integers(0, 128),
    st.booleans(),
    st.booleans(),
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
)
ADVERTISEMENTS = st.builds(
    nd.RouterAdvertisement,
    st.integers(0, 2**16 - 1),
    st.lists(PREFIXES, max_size=3).map(tuple),
    st.none() | st.integers(0, 2**32 - 1),
    st.none() | st.binary(min_size=6, max_size=6),
    st.integers(0, 255),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
)


@given(ADVERTISEMENTS)
def test_decoding_inverts_encoding(advertisement: nd.RouterAdvertisement) -> None:
    data = nd.encode(advertisement, ROUTER, nd.ALL_NODES)
    assert len(data) % 8 == 0
    assert nd.decode(data, ROUTER, nd.ALL_NODES) == advertisement


def test_golden_neighbour_solicitation_rfc4861_4_3() -> None:
    message = nd.NeighbourSolicitation(HOST, MAC)
    data = nd.encode(message, ROUTER, HOST)
    text = "8700{checksum}00000000fe800000000000000000000000000001010100005e005213"
    assert data == finished(text, ROUTER, HOST)
    assert nd.decode(data, ROUTER, HOST) == message


def test_golden_neighbour_advertisement_rfc4861_4_4() -> None:
    message = nd.NeighbourAdvertisement(HOST, solicited=True, override=True)
    data = nd.encode(message, HOST, ROUTER)
    assert data == finished("8800{checksum}60000000fe800000000000000000000000000001", HOST, ROUTER)
    assert nd.decode(data, HOST, ROUTER) == message


@given(st.binary(max_size=80))
def test_any_octets_give_a_message_or_malformed_message(data: bytes) -> None:
    for start in (b"", *(bytes((kind, 0, 0, 0)) for kind in range(133, 137))):
        try:
            nd.decode(start + data, ROUTER, nd.ALL_NODES, verify_checksum=False)
        except MalformedMessage as error:
            assert 0 <= error.offset <= len(start + data)


def test_wrong_checksum_is_refused_rfc4861_6_1() -> None:
    data = nd.encode(ADVERTISEMENT, ROUTER, nd.ALL_NODES)
    with pytest.raises(BadChecksum):
        nd.decode(data, HOST, nd.ALL_NODES)
    assert nd.decode(data, HOST, nd.ALL_NODES, verify_checksum=False) == ADVERTISEMENT


def test_checksum_of_an_odd_number_of_octets_rfc4443_2_3() -> None:
    """Such a message isn't valid, but for its options, not its checksum."""
    inet6 = pytest.importorskip("scapy.layers.inet6")
    data = bytearray(bytes.fromhex("8500000000000000") + b"\x01")
    data[2:4] = inet6.in6_chksum(
        58, inet6.IPv6(src=str(HOST), dst="ff02::2"), bytes(data)
    ).to_bytes(2, "big")
    with pytest.raises(MalformedMessage, match=r"option\.length"):
        nd.decode(bytes(data), HOST, nd.ALL_ROUTERS)


@pytest.mark.parametrize(
    ("text", "field", "offset"),
    [
        ("8501{checksum}00000000", "code", 1),
        ("8900{checksum}00000000", "type", 0),
        ("8700{checksum}00000000", "icmpv6", 8),
        ("850000", "icmpv6", 3),
        ("8600{checksum}4000070800000000", "icmpv6", 12),
        ("8500{checksum}000000000100000000000000", "option.length", 9),
        ("8500{checksum}000000000102000000000000", "option.length", 9),
        ("8600{checksum}4000070800000000000000000502" + 14 * "00", "option.length", 17),
        ("8600{checksum}4000070800000000000000000301" + 6 * "00", "option.length", 17),
        ("8600{checksum}400007080000000000000000030481c0" + 28 * "00", "prefix_length", 18),
        ("8700{checksum}00000000ff02" + 14 * "00", "target", 8),
        ("8800{checksum}40000000fe80" + 14 * "00", "solicited", 4),
    ],
)
def test_invalid_message_rfc4861_6_1_1_and_6_1_2(text: str, field: str, offset: int) -> None:
    data = bytes.fromhex(text.format(checksum="0000"))
    with pytest.raises(MalformedMessage) as caught:
        nd.decode(data, ROUTER, nd.ALL_NODES, verify_checksum=False)
    assert (caught.value.field, caught.value.offset) == (field, offset)


def test_advertisement_must_be_from_a_link_local_address_rfc4861_6_1_2() -> None:
    source = IPv6Address("2001:db8::1")
    with pytest.raises(MalformedMessage, match="expected a link-local address"):
        decoded(ADVERTISEMENT_HEX, source)
    with pytest.raises(ValueError, match=r"source is .*expected a link-local address"):
        nd.encode(ADVERTISEMENT, source, nd.ALL_NODES)


def test_solicitation_without_an_address_has_no_link_layer_address_rfc4861_6_1_1() -> None:
    unspecified = IPv6Address("::")
    with pytest.raises(ValueError, match="expected a specified address"):
        nd.encode(nd.RouterSolicitation(MAC), unspecified, nd.ALL_ROUTERS)
    with pytest.raises(MalformedMessage, match="expected a specified address"):
        decoded("8500{checksum}00000000010100005e005213", unspecified)
    assert decoded("8500{checksum}00000000", unspecified) == nd.RouterSolicitation()


def test_unknown_options_are_skipped_rfc4861_4_6() -> None:
    text = "8600{checksum}400007080000000000000000c801ffffffffffff05010000000005b4"
    assert decoded(text) == nd.RouterAdvertisement(1800, mtu=1460)


def test_prefix_with_contradicting_lifetimes_is_ignored_rfc4862_5_5_3() -> None:
    text = "8600{checksum}400007080000000000000000030440c00000000100000002" + 20 * "00"
    assert decoded(text) == nd.RouterAdvertisement(1800)


def test_bits_beyond_the_prefix_length_are_ignored_rfc4861_4_6_2() -> None:
    text = ADVERTISEMENT_HEX[:-2] + "0f"
    assert decoded(text) == ADVERTISEMENT


@pytest.mark.parametrize(
    ("cls", "arguments", "message"),
    [
        (
            nd.RouterAdvertisement,
            (65536,),
            "router_lifetime_s is 65536; expected an integer from 0",
        ),
        (nd.RouterAdvertisement, (1, [1]), "expected a tuple of PrefixInformation"),
        (nd.RouterAdvertisement, (1, (), -1), "mtu is -1"),
        (nd.RouterAdvertisement, (1, (), None, b"x"), "expected 6 octets"),
        (nd.RouterSolicitation, (bytes(7),), "source_link_layer_address is"),
        (nd.PrefixInformation, ("2001:db8::/64",), "expected an IPv6Network"),
        (
            nd.PrefixInformation,
            (IPv6Network("::/64"), True, True, 1, 2),
            "preferred_lifetime_s is 2; expected at most the valid lifetime, 1",
        ),
    ],
)
def test_constructor_names_field_value_and_what_was_expected(
    cls: type[Any], arguments: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        cls(*arguments)
