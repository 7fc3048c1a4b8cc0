"""The controller's picture of a switch's tables."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Network

from hypothesis import given
from hypothesis import strategies as st

from controllers.actions import Command, RuleChange
from controllers.openflow import Match, Rule
from controllers.rules import PREFIXES, base_rules, flow_rules, prefix_rules
from controllers.switch_table import (
    BASE,
    Table,
    destinations,
    flow_owner,
    overlap,
    owner_of,
    prefix_owner,
)
from tests.controllers.fabrics import HOME, MAG1, MAG2, OTHER_HOME, reference_fabric
from tests.controllers.model import default, flow

FABRIC = reference_fabric()
FLOW = flow_rules(FABRIC, flow(7, HOME, 80), (MAG1,))["s1"][0]
PREFIX = prefix_rules(FABRIC, default(HOME, MAG1))["s1"][0]
ports = st.tuples(st.integers(0, 15), st.integers(0, 15))


def test_the_owner_is_in_cookie_and_match() -> None:
    assert owner_of(FLOW) == flow_owner(7)
    assert owner_of(PREFIX) == prefix_owner(HOME)
    assert owner_of(base_rules(FABRIC)["s1"][0]) == BASE
    assert owner_of(replace(FLOW, cookie=7)) is None


def test_a_prefix_rule_without_prefix_still_has_an_owner() -> None:
    strange = Rule(PREFIXES, 5, Match(), (), PREFIX.cookie)
    owner = owner_of(strange)
    assert owner is not None
    assert owner != prefix_owner(HOME)


def test_rules_of_others_are_not_looked_at() -> None:
    assert len(Table([replace(FLOW, cookie=7)])) == 0


def test_adding_replaces_a_rule_of_the_same_identity_and_its_owner() -> None:
    table = Table([FLOW])
    other = replace(FLOW, cookie=FLOW.cookie + 1)
    table.apply([RuleChange(Command.ADD, other)])
    assert list(table) == [other]
    assert table.of(flow_owner(7)) == {}
    assert list(table.owners) == [flow_owner(8)]
    table.apply([RuleChange(Command.DELETE, other)])
    assert list(table) == []
    assert list(table.overlapping(FLOW.match)) == []


def test_overlapping_rules_are_found_by_prefix() -> None:
    table = Table([FLOW, PREFIX, *prefix_rules(FABRIC, default(OTHER_HOME, MAG2))["s1"]])
    assert set(table.overlapping(FLOW.match)) == {FLOW, PREFIX}


def test_a_shorter_prefix_is_all_prefixes_in_it() -> None:
    match = Match.of_ipv6(ipv6_dst=IPv6Network("2001:db8:a::/63"))
    assert list(destinations(match)) == [0x20010DB8000A0000, 0x20010DB8000A0001]
    assert list(destinations(Match.of_ipv6(ipv6_dst=IPv6Network("::/0")))) == []


@given(ports, ports)
def test_matches_overlap_if_a_packet_is_in_both(one: tuple[int, int], two: tuple[int, int]) -> None:
    first, second = (Match.of_ipv6(ip_proto=17, udp_dst=pair) for pair in (one, two))
    both = [
        number
        for number in range(16)
        if all(number & mask == value & mask for value, mask in (one, two))
    ]
    assert overlap(first, second) == bool(both)
