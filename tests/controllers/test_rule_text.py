from __future__ import annotations

from ipaddress import IPv6Network

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.openflow import FIELD_BITS, UNMASKED, Match, Output, Rule
from controllers.rule_text import Known, describe, match_text
from controllers.rules import base_rules, flow_rules, prefix_rules, redirect_rules
from nodes.northbound import Flow, FlowPath, PrefixPath
from tests.controllers.fabrics import HOME, MAG1, MAG2, MAG3, reference_fabric

FABRIC = reference_fabric()
FLOW = Flow(
    key=65540,
    mn="mn1",
    fid=3,
    priority=10,
    selector={"start_next_header": 17, "start_source_port": 1024, "end_source_port": 2047},
    prefixes=(HOME,),
    label=4,
)


def known(*mags):
    return Known(FABRIC, {FLOW.key: FLOW}, {FLOW.key: FlowPath(key=FLOW.key, mags=mags)})


def lines(rules, *mags):
    return [
        f"{switch}: {describe(known(*mags), switch, rule)}"
        for switch, found in rules.items()
        for rule in found
    ]


def test_flow_is_named_with_its_bindings():
    start = "flow mn1/3 at priority 10 (mag1, mag2), udp from port 1024-2047 to 2001:db8:a::/64: "
    assert lines(flow_rules(FABRIC, FLOW, (MAG1, MAG2)), MAG1, MAG2) == [
        f"s1: {start}to s2",
        f"s2: {start}to s3; to s4",
        f"s3: {start}to mag1",
        f"s4: {start}to mag2",
    ]


def test_redirect_says_where_its_packets_are_sent_as_to():
    path = FlowPath(key=FLOW.key, mags=(MAG1, MAG3), anchor=MAG1)
    (line,) = lines(redirect_rules(FABRIC, FLOW, path), MAG1, MAG3)
    assert line == (
        "s2: flow mn1/3 at priority 10 (mag1, mag3), next header 41 from 2001:db8:1::1 "
        "to 2001:db8:2::1 label 4: to s3; to s4, as to mag3"
    )


def test_dropped_flow():
    dropped = msgspec.structs.replace(FLOW, action="drop")
    (line,) = lines(flow_rules(FABRIC, dropped, (MAG1,)), MAG1)
    assert line.endswith(": dropped")


def test_default_path():
    found = lines(prefix_rules(FABRIC, PrefixPath(prefix=HOME, mag=MAG2)))
    assert found[-1] == "s4: default path, to 2001:db8:a::/64: to mag2"
    assert lines(prefix_rules(FABRIC, PrefixPath(prefix=HOME))) == [
        "s1: default path, to 2001:db8:a::/64: dropped"
    ]


def test_base_rules():
    found = lines({"s2": base_rules(FABRIC)["s2"]})
    assert "s2: base, to 2001:db8:2::2: to s4" in found
    assert "s2: base, all packets: to s1" in found
    assert "s2: base, in at port 1: on to flows" in found


def test_left_over_rule_is_named_by_its_key():
    (line, *_) = lines(flow_rules(FABRIC, FLOW, (MAG1,)))
    assert "(" not in line
    rule = flow_rules(FABRIC, FLOW, (MAG1,))["s1"][0]
    assert describe(Known(FABRIC), "s1", rule).startswith("left over of flow 65540, udp from")


def test_rule_of_somebody_else():
    rule = Rule(0, 1, Match(), (Output(1),), 0xABC)
    assert describe(known(), "s1", rule) == "not ours (cookie 0xabc), all packets"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "all packets"),
        ({"ip_proto": 58}, "next header 58"),
        ({"ip_proto": 6, "tcp_dst": (1024, 0xFC00)}, "tcp to port 1024-2047"),
        ({"ip_proto": 132, "sctp_src": 7}, "sctp from port 7"),
        ({"ip_dscp": 46, "ipv6_flabel": (16, 0xFFFF0)}, "DSCP 46 label 16-31"),
        ({"ipv6_src": IPv6Network("2001:db8::/32")}, "from 2001:db8::/32"),
        ({"ipv6_src": (5, 5)}, "from ::5/::5"),
        ({"ip_proto": 17, "udp_src": (1, 0xFF01)}, "udp from port 0x1/0xff01"),
    ],
)
def test_matches_as_text(fields, text):
    assert match_text(Match.of_ipv6(**fields)) == text


@given(st.data())
def test_any_match_has_a_text(data):
    fields = {}
    for name in data.draw(st.sets(st.sampled_from(sorted(FIELD_BITS)))):
        full = (1 << FIELD_BITS[name]) - 1
        mask = full if name in UNMASKED else data.draw(st.integers(0, full))
        fields[name] = (data.draw(st.integers(0, full)), mask)
    assert match_text(Match.of(fields))
