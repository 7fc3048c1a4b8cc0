from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Any

import pytest

from nodes.kernel.selector_rules import SelectorNotSupported, match_expressions
from nodes.wire.traffic_selector import IPv4TrafficSelector, IPv6TrafficSelector

CN, MN = IPv6Address("2001:db8:1::2"), IPv6Address("2001:db8:100::1")


def rule(**fields: Any) -> str:
    (match,) = match_expressions(IPv6TrafficSelector(**fields))
    return match


def test_a_5_tuple_rfc6088_3_2() -> None:
    text = rule(
        start_source_address=CN,
        start_destination_address=MN,
        start_next_header=17,
        start_source_port=5001,
        start_destination_port=5002,
    )
    assert text == (
        "ip6 saddr 2001:db8:1::2 ip6 daddr 2001:db8:100::1 "
        "meta l4proto 17 th sport 5001 th dport 5002"
    )


def test_ranges_are_inclusive_rfc6088_3_2() -> None:
    network = IPv6Network("2001:db8:1::/64")
    assert match_expressions(IPv6TrafficSelector.of(source=network)) == (
        "ip6 saddr 2001:db8:1::-2001:db8:1:0:ffff:ffff:ffff:ffff",
    )
    assert rule(start_next_header=6, start_destination_port=80, end_destination_port=90) == (
        "meta l4proto 6 th dport 80-90"
    )
    assert rule(start_next_header=6, end_next_header=6) == "meta l4proto 6"
    assert rule(start_flow_label=1, end_flow_label=2) == "ip6 flowlabel 1-2"


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        (184, None, "ip6 dscp 46"),
        (187, None, "ip6 dscp 46"),
        (0, 255, "ip6 dscp 0-63"),
        (184, 187, "ip6 dscp 46"),
    ],
)
def test_the_traffic_class_without_its_ecn_bits_rfc6088_3_2(
    start: int, end: int | None, text: str
) -> None:
    assert rule(start_traffic_class=start, end_traffic_class=end) == text


def test_a_selector_of_nothing_matches_all_rfc6088_3_2() -> None:
    assert rule() == ""


def test_an_spi_with_all_that_goes_with_it_rfc6088_3_2() -> None:
    text = rule(
        start_source_address=CN,
        start_flow_label=7,
        start_spi=256,
        end_spi=300,
        start_next_header=50,
        start_traffic_class=184,
    )
    assert text == "ip6 saddr 2001:db8:1::2 ip6 flowlabel 7 ip6 dscp 46 esp spi 256-300"


@pytest.mark.parametrize(
    "fields",
    [
        {"start_source_port": 1},
        {"start_destination_port": 1},
        {"start_next_header": 17},
        {"start_next_header": 52},
        {"start_next_header": 0, "end_next_header": 49},
    ],
)
def test_an_spi_in_something_that_has_none_rfc6088_3_2(fields: dict[str, int]) -> None:
    with pytest.raises(SelectorNotSupported, match="selector"):
        rule(start_spi=256, **fields)


def test_a_range_of_next_headers_with_esp_rfc6088_3_2() -> None:
    assert rule(start_spi=256, start_next_header=40, end_next_header=50) == "esp spi 256"
    assert rule(start_spi=256, start_next_header=51) == "ah spi 256"


def test_an_spi_alone_is_that_of_either_protocol_rfc6088_3_2() -> None:
    selector = IPv6TrafficSelector(start_source_address=CN, start_spi=1, end_spi=9)
    assert match_expressions(selector) == (
        "ip6 saddr 2001:db8:1::2 esp spi 1-9",
        "ip6 saddr 2001:db8:1::2 ah spi 1-9",
    )


def test_ports_are_those_of_protocols_that_have_them_rfc6088_3_2() -> None:
    """In ICMPv6 the same octets are type, code and checksum."""
    assert rule(start_destination_port=80) == "meta l4proto { 6, 17, 33, 132, 136 } th dport 80"
    assert rule(start_source_port=80, start_next_header=10, end_next_header=58) == (
        "meta l4proto { 17, 33 } th sport 80"
    )


def test_ports_in_something_that_has_none_rfc6088_3_2() -> None:
    with pytest.raises(SelectorNotSupported, match="ports"):
        rule(start_destination_port=80, start_next_header=58)


def test_ipv4_is_not_in_this_network_rfc6088_3_1() -> None:
    selector = IPv4TrafficSelector(start_source_address=IPv4Address("192.0.2.1"))
    with pytest.raises(SelectorNotSupported, match="IPv4"):
        match_expressions(selector)
