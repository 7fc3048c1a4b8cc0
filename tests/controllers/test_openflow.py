from __future__ import annotations

import importlib
from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.openflow import FIELD_BITS, UNMASKED, Match, Output, Rule, SetField, output_ports


@st.composite
def matches(draw):
    fields = {}
    for name in draw(st.sets(st.sampled_from(sorted(FIELD_BITS)))):
        full = (1 << FIELD_BITS[name]) - 1
        mask = full if name in UNMASKED else draw(st.sampled_from((full, 1)) | st.integers(1, full))
        fields[name] = (draw(st.integers(0, full)), mask)
    return Match.of(fields)


def test_matches_of_the_same_packets_are_equal():
    assert Match.of({"ipv6_dst": IPv6Network("2001:db8::/32")}) == Match.of(
        {"ipv6_dst": (int(IPv6Address("2001:db8::5")), 0xFFFFFFFF << 96)}
    )
    assert Match.of({"tcp_src": (5, 0xFFFF), "ip_proto": 6}) == Match.of(
        {"ip_proto": 6, "tcp_src": 5}
    )
    assert Match.of({"ipv6_src": IPv6Network("::/0")}) == Match()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ip_dscp": 64}, "ip_dscp is 64; expected 6 bits"),
        ({"ip_proto": -1}, "ip_proto is -1; expected 8 bits"),
        ({"udp_dst": (1, 0x10000)}, "expected 16 bits"),
        ({"ip_dscp": (8, 0x38)}, "expected no mask"),
    ],
)
def test_what_a_field_can_not_have_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Match.of(fields)


@pytest.mark.parametrize("framework", ["os_ken", "ryu"])
@given(match=matches())
def test_frameworks_encode_matches_and_read_them_back(framework, match):
    """Masks of ports, which OpenFlow 1.3 leaves out, included."""
    if framework == "ryu":
        pytest.importorskip("ryu")
    parser = importlib.import_module(f"{framework}.ofproto.ofproto_v1_3_parser")
    octets = bytearray()
    parser.OFPMatch(**match.to_openflow()).serialize(octets, 0)
    back = parser.OFPMatch.parser(bytes(octets), 0)
    assert Match.from_openflow(dict(back.items())) == match


def test_field_that_no_rule_of_ours_has_is_refused():
    with pytest.raises(ValueError, match=r"eth_src is '02:.*; expected one of in_port, eth_type"):
        Match.from_openflow({"eth_src": "02:00:00:00:00:01"})


def test_rules_with_the_same_identity_replace_each_other():
    one = Rule(1, 5, Match.of_ipv6(ip_proto=17), (Output(1),), 7)
    other = Rule(1, 5, Match.of_ipv6(ip_proto=17), (), 8, goto=2)
    assert one != other
    assert one.identity == other.identity
    assert one.identity != Rule(1, 6, one.match, one.actions, 7).identity


def test_output_ports_are_those_of_a_rules_copies():
    assert output_ports((SetField("eth_dst", "02:00:00:00:00:01"), Output(3), Output(1))) == (3, 1)
