from __future__ import annotations

from ipaddress import IPv6Network

import pytest

from controllers.openflow import Match
from controllers.selector_matches import Inexpressible, selector_matches
from nodes.selectors import selector_of
from tests.controllers.fabrics import HOME, OTHER_HOME


def matches(prefixes=(HOME,), **fields):
    return selector_matches(selector_of(fields), prefixes)


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


def test_spi_is_refused_with_its_name():
    with pytest.raises(Inexpressible, match=r"selector\.start_spi is 256; .*expected"):
        matches(start_spi=256)
