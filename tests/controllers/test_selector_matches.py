from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from controllers.openflow import Match, Rule
from controllers.selector_matches import MAX_MATCHES, Inexpressible, selector_matches
from nodes.selectors import selector_of
from tests.controllers.fabrics import HOME, OTHER_HOME
from tests.controllers.selections import packets_near, seen_by_switches, selectors
from tests.controllers.switch_model import Packet, Switch


def matches(prefixes=(HOME,), **fields):
    return selector_matches(selector_of(fields), prefixes)


def values(found, name):
    return [match.get(name) for match in found]


def test_selector_without_fields_matches_all_packets_to_the_prefixes():
    assert matches((HOME, OTHER_HOME)) == (Match.of_ipv6(ipv6_dst=IPv6Network("2001:db8:a::/63")),)


def test_five_tuple_is_one_match():
    found = matches(
        start_source_address="2001:db8:c::1",
        start_destination_address="2001:db8:a::9",
        start_next_header=17,
        start_source_port=5000,
        start_destination_port=5001,
    )
    assert [match.to_openflow() for match in found] == [
        {
            "eth_type": 0x86DD,
            "ip_proto": 17,
            "ipv6_dst": "2001:db8:a::9",
            "ipv6_src": "2001:db8:c::1",
            "udp_dst": 5001,
            "udp_src": 5000,
        }
    ]


def test_address_range_becomes_prefixes():
    found = matches(start_source_address="2001:db8:c::1", end_source_address="2001:db8:c::4")
    networks = [
        IPv6Network((value, 128 - (~mask & (1 << 128) - 1).bit_length()))
        for value, mask in values(found, "ipv6_src")
    ]
    assert [str(network) for network in networks] == [
        "2001:db8:c::1/128",
        "2001:db8:c::2/127",
        "2001:db8:c::4/128",
    ]


def test_destinations_outside_the_prefixes_are_left_out():
    """RFC 6089 section 5.3.6 is about packets to the mobile node."""
    found = matches(
        (HOME,), start_destination_address="2001:db8:9::", end_destination_address="2001:db8:a::1"
    )
    assert values(found, "ipv6_dst") == [
        (int(IPv6Address("2001:db8:a::")), (1 << 128) - 2),
    ]
    assert matches((HOME,), start_destination_address="2001:db8:9::1") == ()
    assert matches((), start_next_header=17) == ()


def test_a_selector_is_refused_before_the_node_has_any_prefix():
    """What it takes of the other fields alone is too much, or there is no match for it."""
    with pytest.raises(Inexpressible, match="start_spi is 5"):
        matches((), start_spi=5)
    many = {
        f"{end}_{name}": value
        for name in ("source_port", "destination_port")
        for end, value in (("start", 1), ("end", 0xFFFE))
    }
    with pytest.raises(Inexpressible, match="takes 900 OpenFlow matches"):
        matches((), start_next_header=17, **many)


def test_port_range_becomes_masks():
    found = matches(start_next_header=6, start_destination_port=1000, end_destination_port=1999)
    assert values(found, "tcp_dst") == [
        (1000, 0xFFF8),
        (1008, 0xFFF0),
        (1024, 0xFE00),
        (1536, 0xFF00),
        (1792, 0xFF80),
        (1920, 0xFFC0),
        (1984, 0xFFF0),
    ]
    assert values(found, "ip_proto") == [(6, 0xFF)] * 7


@given(st.integers(1, 0xFFFF), st.integers(1, 0xFFFF))
def test_port_ranges_take_the_fewest_prefix_masks(one, other):
    first, last = sorted((one, other))
    found = matches(start_next_header=17, start_source_port=first, end_source_port=last)

    def fewest(low: int, size: int) -> int:
        """In the binary tree of all ports."""
        if last < low or low + size - 1 < first:
            return 0
        if first <= low and low + size - 1 <= last:
            return 1
        return fewest(low, size // 2) + fewest(low + size // 2, size // 2)

    assert len(found) == fewest(0, 1 << 16)


def test_ports_without_next_header_are_those_of_three_transports():
    found = matches(start_destination_port=443)
    assert [match.to_openflow() for match in found] == [
        {"eth_type": 0x86DD, "ip_proto": number, "ipv6_dst": ANY, f"{name}_dst": 443}
        for number, name in ((6, "tcp"), (17, "udp"), (132, "sctp"))
    ]


ANY = ("2001:db8:a::", "ffff:ffff:ffff:ffff::")


def test_port_0_is_in_no_range_but_the_whole_one():
    """Switches show it for first fragments; no packet has it (RFC 6335 section 6)."""
    found = matches(start_next_header=17, start_source_port=0, end_source_port=3)
    assert values(found, "udp_src") == [(1, 0xFFFF), (2, 0xFFFE)]


def test_whole_port_range_asks_for_a_protocol_with_ports():
    found = matches(start_source_port=0, end_source_port=0xFFFF)
    assert values(found, "ip_proto") == [(6, 0xFF), (17, 0xFF), (132, 0xFF)]
    assert values(found, "udp_src") == [None] * 3


def test_whole_next_header_range_is_no_match():
    found = matches(start_next_header=0, end_next_header=255)
    assert values(found, "ip_proto") == [None]
    found = matches(start_next_header=0, end_next_header=255, start_source_port=9)
    assert values(found, "ip_proto") == [(6, 0xFF), (17, 0xFF), (132, 0xFF)]


def test_next_header_range_has_no_extension_headers():
    """Open vSwitch shows 44 for all fragments that aren't the first."""
    found = matches(start_next_header=41, end_next_header=47)
    assert [value for value, _ in values(found, "ip_proto")] == [41, 42, 45, 46, 47]


def test_traffic_class_becomes_code_points_without_ecn():
    """RFC 6088 section 3.2: the two bits of ECN MUST be ignored."""
    found = matches(start_traffic_class=0b101110_11, end_traffic_class=0b110000_00)
    assert values(found, "ip_dscp") == [(0b101110, 63), (0b101111, 63), (0b110000, 63)]
    assert values(found, "ip_ecn") == [None] * 3
    assert values(matches(start_traffic_class=3, end_traffic_class=252), "ip_dscp") == [None]


def test_flow_label_range_becomes_masks():
    found = matches(start_flow_label=4, end_flow_label=8)
    assert values(found, "ipv6_flabel") == [(4, 0xFFFFC), (8, 0xFFFFF)]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"start_spi": 256}, r"selector\.start_spi is 256; OpenFlow 1\.3 has no such field"),
        (
            {"start_spi": 0, "end_spi": 9},
            r"selector\.start_spi is 0 and selector\.end_spi is 9; .*expected a selector without",
        ),
        (
            {"start_next_header": 136, "start_source_port": 5},
            r"start_next_header is 136; .* no ports of 136; expected 6, 17 or 132",
        ),
        ({"start_next_header": 51}, r"start_next_header is 51; .*expected values other than 51"),
        ({"start_source_port": 0}, r"start_source_port is 0; .*expected 1 to 65535"),
        (
            {"start_next_header": 43, "end_next_header": 44},
            r"start_next_header is 43 and .* is 44; an extension header; expected",
        ),
        (
            {
                "start_source_port": 1,
                "end_source_port": 0xFFFE,
                "start_destination_port": 3,
                "end_destination_port": 40,
            },
            rf"start_source_port is 1 and .*_port is 65534; .* takes 540 .* at most {MAX_MATCHES}",
        ),
        (
            {
                "start_traffic_class": 4,
                "end_traffic_class": 255,
                "start_next_header": 1,
                "end_next_header": 7,
            },
            r"start_traffic_class is 4 and .*takes 441 OpenFlow matches",
        ),
    ],
)
def test_what_openflow_can_not_express_is_refused_by_name(fields, message):
    with pytest.raises(Inexpressible, match=message):
        matches(**fields)


@given(st.data())
def test_matches_are_those_of_the_selector(data):
    """Against the codec's own matcher; and no packet has two matches."""
    selector = data.draw(selectors())
    prefixes = data.draw(st.sampled_from(((HOME,), (OTHER_HOME,), (HOME, OTHER_HOME))))
    try:
        found = selector_matches(selector, prefixes)
    except Inexpressible as error:
        event("inexpressible")
        assert str(error).startswith("selector.start_")
        assume(False)
    switch = Switch()
    for number, match in enumerate(found):
        switch.add(Rule(0, 1, match, (), number))
    assert len(switch.rules) == len(found) <= MAX_MATCHES
    for _ in range(10):
        fields = data.draw(packets_near(selector))
        expected = seen_by_switches(selector, fields) and any(
            fields.destination in prefix for prefix in prefixes
        )
        event(f"matches: {expected}")
        assert (switch.lookup(0, Packet(fields).headers(1)) is not None) == expected
