"""Probing of addresses before they are used (RFC 4862 section 5.4), by a mobile node."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nodes.actions import AssignAddress, Log, PreferAccess, ProbeAddress, Solicit
from nodes.config import MnConfig
from nodes.host_variables import HostVariables
from nodes.mn.mobile_node import MobileNode
from nodes.neighbour_discovery import PrefixInformation, RouterAdvertisement

if TYPE_CHECKING:
    from tests.domain import Domain

ROUTER = IPv6Address("fe80::200:5eff:fe00:5213")
PREFIX = IPv6Network("2001:db8:100::/64")
ADVERTISEMENT = RouterAdvertisement(1800, (PrefixInformation(PREFIX),))


def advertised(domain: type[Domain], **variables: Any) -> MobileNode:
    """A node that heard of the prefix 5 s after the beginning."""
    config = MnConfig(
        events=Path("/dev/null"),
        logical_interface="lif0",
        access_interfaces=("mn-wlan", "mn-cell"),
        interface_id=1,
        host=HostVariables(**variables),
    )
    node = MobileNode(config)
    node.link_up("mn-wlan", domain.at(0))
    node.router_advertised("mn-wlan", ROUTER, ADVERTISEMENT, domain.at(5))
    return node


@pytest.mark.parametrize(("probes", "timer_ms", "usable"), [(1, 1000, 6.0), (3, 500, 6.5)])
def test_an_address_is_used_when_nobody_has_objected_rfc4862_5_4(
    domain: type[Domain], probes: int, timer_ms: int, usable: float
) -> None:
    node = advertised(domain, dup_addr_detect_transmits=probes, retrans_timer_ms=timer_ms)
    actions = node.take_actions()
    assert domain.of(AssignAddress, actions) == []
    assert domain.of(PreferAccess, actions) == [PreferAccess(PREFIX, "mn-wlan")]
    found = domain.of(ProbeAddress, actions)
    while (due := node.timer()) is not None:
        assert domain.of(AssignAddress, actions) == []
        node.handle_timer(domain.at(due))
        actions = node.take_actions()
        found += domain.of(ProbeAddress, actions)
        last = due
    assert domain.of(AssignAddress, actions) == [AssignAddress(PREFIX)]
    assert last == usable
    assert found == [ProbeAddress("mn-wlan", PREFIX[1])] * probes


def test_an_address_of_a_prefix_of_its_own_is_not_probed_rfc5213_6_8(domain: type[Domain]) -> None:
    actions = advertised(domain).take_actions()
    assert domain.of(AssignAddress, actions) == [AssignAddress(PREFIX)]
    assert domain.of(ProbeAddress, actions) == []


def test_an_optimistic_address_is_used_while_it_is_probed_rfc4429_3_3(
    domain: type[Domain],
) -> None:
    node = advertised(domain, dup_addr_detect_transmits=1, optimistic=True)
    actions = node.take_actions()
    assert domain.of(AssignAddress, actions) == [AssignAddress(PREFIX)]
    assert domain.of(ProbeAddress, actions) == [ProbeAddress("mn-wlan", PREFIX[1])]
    node.handle_timer(domain.at(6))
    assert domain.of(AssignAddress, node.take_actions()) == []


def test_an_address_that_a_neighbour_has_is_not_used_rfc4862_5_4_4(domain: type[Domain]) -> None:
    node = advertised(domain, dup_addr_detect_transmits=1)
    node.take_actions()
    node.neighbour_advertised("mn-wlan", PREFIX[2])
    node.neighbour_advertised("mn-cell", PREFIX[1])
    assert node.take_actions() == [], "another address, and another link"
    node.neighbour_advertised("mn-wlan", PREFIX[1])
    (log,) = domain.of(Log, node.take_actions())
    assert log.event == "duplicate-address"
    node.handle_timer(domain.at(7))
    assert domain.of(AssignAddress, node.take_actions()) == []


@pytest.mark.parametrize("most", [0, 1, 3])
def test_so_many_solicitations_are_sent_rfc4861_6_3_7(domain: type[Domain], most: int) -> None:
    config = MnConfig(
        events=Path("/dev/null"),
        logical_interface="lif0",
        access_interfaces=("mn-wlan",),
        interface_id=1,
        host=HostVariables(max_rtr_solicitations=most),
    )
    node = MobileNode(config)
    node.link_up("mn-wlan", domain.at(0))
    while (due := node.timer()) is not None:
        node.handle_timer(domain.at(due))
    assert len(domain.of(Solicit, node.take_actions())) == most
