from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from nodes.actions import AssignAddress, PreferAccess, Solicit, SteerUplink, UseRouter
from nodes.config import MnConfig
from nodes.mn.flow_table import FlowTableEntry
from nodes.mn.mobile_node import MobileNode
from nodes.neighbour_discovery import PrefixInformation, RouterAdvertisement
from nodes.wire.traffic_selector import IPv6TrafficSelector

if TYPE_CHECKING:
    from tests.domain import Domain

ROUTER = IPv6Address("fe80::200:5eff:fe00:5213")
P1, P2 = IPv6Network("2001:db8:100::/64"), IPv6Network("2001:db8:100:1::/64")


CONFIG = MnConfig(
    events=Path("/dev/null"),
    logical_interface="lif0",
    access_interfaces=("mn-wlan", "mn-cell"),
    interface_id=1,
)


@pytest.fixture
def node() -> MobileNode:
    return MobileNode(CONFIG)


def advertisement(*prefixes: Any, lifetime: int = 1800, mtu: int | None = 1460) -> Any:
    information = tuple(
        prefix if isinstance(prefix, PrefixInformation) else PrefixInformation(prefix)
        for prefix in prefixes
    )
    return RouterAdvertisement(router_lifetime_s=lifetime, prefixes=information, mtu=mtu)


def solicited(domain: type[Domain], node: MobileNode) -> list[str]:
    return [action.interface for action in domain.of(Solicit, node.take_actions())]


def test_three_solicitations_4_s_apart_rfc4861_6_3_7(
    domain: type[Domain], node: MobileNode
) -> None:
    node.link_up("mn-wlan", domain.at(0))
    assert solicited(domain, node) == ["mn-wlan"]
    times = []
    while (due := node.timer()) is not None:
        node.handle_timer(domain.at(due - 0.001))
        assert solicited(domain, node) == []
        node.handle_timer(domain.at(due))
        times += [due] * len(solicited(domain, node))
    assert times == [4.0, 8.0]


def test_an_advertisement_ends_solicitation_rfc4861_6_3_7(
    domain: type[Domain], node: MobileNode
) -> None:
    node.link_up("mn-wlan", domain.at(0))
    node.router_advertised("mn-wlan", ROUTER, advertisement(P1), domain.at(1))
    assert node.timer() is None


def test_one_with_lifetime_0_does_not_end_it_rfc4861_6_3_4_and_6_3_7(
    domain: type[Domain], node: MobileNode
) -> None:
    node.link_up("mn-wlan", domain.at(0))
    node.router_advertised("mn-wlan", ROUTER, advertisement(P1, lifetime=0), domain.at(1))
    actions = node.take_actions()
    assert domain.of(UseRouter, actions) == []
    assert domain.of(AssignAddress, actions) == [AssignAddress(P1)]
    assert node.timer() == 4.0


def test_the_logical_interface_gets_an_address_of_every_prefix_rfc7847_5(
    domain: type[Domain], node: MobileNode
) -> None:
    node.router_advertised("mn-wlan", ROUTER, advertisement(P1), domain.at(1))
    node.router_advertised("mn-cell", ROUTER, advertisement(P1, P2), domain.at(2))
    actions = node.take_actions()
    assert domain.of(AssignAddress, actions) == [AssignAddress(P1), AssignAddress(P2)]
    assert domain.of(PreferAccess, actions) == [
        PreferAccess(P1, "mn-wlan"),
        PreferAccess(P2, "mn-cell"),
    ]


@pytest.mark.parametrize(
    "information",
    [
        PrefixInformation(P1, autonomous=False),
        PrefixInformation(P1, valid_lifetime_s=0, preferred_lifetime_s=0),
        PrefixInformation(IPv6Network("fe80::/64")),
        PrefixInformation(IPv6Network("2001:db8:100::/63")),
    ],
)
def test_prefixes_that_give_no_address_rfc4862_5_5_3(
    domain: type[Domain], node: MobileNode, information: PrefixInformation
) -> None:
    node.router_advertised("mn-wlan", ROUTER, advertisement(information), domain.at(1))
    assert domain.of(AssignAddress, node.take_actions()) == []


@pytest.mark.parametrize(("advertised", "used"), [(1460, 1460), (1279, 1280), (None, 1280)])
def test_the_mtu_is_the_tunnels_rfc5213_6_9_2_step_3(
    domain: type[Domain], node: MobileNode, advertised: int | None, used: int
) -> None:
    node.router_advertised("mn-wlan", ROUTER, advertisement(P1, mtu=advertised), domain.at(1))
    routers = domain.of(UseRouter, node.take_actions())
    assert routers == [UseRouter("mn-wlan", ROUTER, used)]


def test_each_access_has_its_router_and_keeps_it_rfc4861_6_3_4(
    domain: type[Domain], node: MobileNode
) -> None:
    for interface in ("mn-wlan", "mn-cell", "mn-wlan"):
        node.router_advertised(interface, ROUTER, advertisement(P1), domain.at(1))
    routers = domain.of(UseRouter, node.take_actions())
    assert [router.interface for router in routers] == ["mn-wlan", "mn-cell"]
    node.link_down("mn-wlan", domain.at(2))
    node.router_advertised("mn-wlan", ROUTER, advertisement(P1), domain.at(3))
    routers = domain.of(UseRouter, node.take_actions())
    assert [router.interface for router in routers] == ["mn-wlan"]


def test_addresses_survive_their_access_rfc7847_5(domain: type[Domain], node: MobileNode) -> None:
    node.router_advertised("mn-wlan", ROUTER, advertisement(P1), domain.at(1))
    node.link_down("mn-wlan", domain.at(2))
    node.take_actions()
    node.link_up("mn-wlan", domain.at(3))
    node.router_advertised("mn-wlan", ROUTER, advertisement(P1), domain.at(3))
    assert domain.of(AssignAddress, node.take_actions()) == []
    assert node.prefixes == {P1: "mn-wlan"}


def test_a_link_that_goes_down_is_not_solicited_on_rfc4861_6_3_7(
    domain: type[Domain], node: MobileNode
) -> None:
    node.link_up("mn-wlan", domain.at(0))
    node.link_down("mn-wlan", domain.at(1))
    assert node.timer() is None


def test_other_interfaces_are_none_of_its_business_rfc7847_5(
    domain: type[Domain], node: MobileNode
) -> None:
    node.link_up("eth0", domain.at(0))
    node.router_advertised("eth0", ROUTER, advertisement(P1), domain.at(1))
    node.link_down("eth0", domain.at(2))
    assert node.take_actions() == []


def own(**changes: Any) -> MobileNode:
    return MobileNode(msgspec.structs.replace(CONFIG, uplink="own", **changes))


FLOW = FlowTableEntry(1, 10, IPv6TrafficSelector(start_source_port=5001), "mn-wlan")


def test_a_node_that_decides_steers_its_uplink_rfc7864_6(domain: type[Domain]) -> None:
    core = own()
    for interface in CONFIG.access_interfaces:
        core.link_up(interface, domain.at(0))
    core.take_actions()
    core.bind_flow(FLOW)
    assert domain.of(SteerUplink, core.take_actions()) == [SteerUplink((FLOW,))]
    moved = replace(FLOW, interface="mn-cell")
    core.bind_flow(moved)
    assert domain.of(SteerUplink, core.take_actions()) == [SteerUplink((moved,))]
    core.link_down("mn-cell", domain.at(1))
    assert domain.of(SteerUplink, core.take_actions()) == [SteerUplink(())]
    core.link_up("mn-cell", domain.at(2))
    assert domain.of(SteerUplink, core.take_actions()) == [SteerUplink((moved,))]
    core.unbind_flow(1)
    assert domain.of(SteerUplink, core.take_actions()) == [SteerUplink(())]


def test_a_static_policy_holds_while_its_access_is_up_rfc7864_6(domain: type[Domain]) -> None:
    policy = {"5001": "mn-wlan", "5002": "mn-cell"}
    core = MobileNode(msgspec.structs.replace(CONFIG, uplink="static", static_policy=policy))
    steered: list[list[str]] = []

    def look() -> None:
        for action in domain.of(SteerUplink, core.take_actions()):
            steered.append([row.interface for row in action.rows])

    core.link_up("mn-wlan", domain.at(0))
    core.link_up("mn-cell", domain.at(1))
    look()
    core.link_down("mn-wlan", domain.at(2))
    look()
    assert steered == [["mn-wlan"], ["mn-wlan", "mn-cell"], ["mn-cell"]]
    with pytest.raises(ValueError, match="doesn't decide"):
        core.bind_flow(FLOW)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"5001": "mn-dsl"}, "static_policy has 'mn-dsl'"),
        ({"http": "mn-wlan"}, "static_policy has 'http'"),
        ({"0": "mn-wlan"}, "static_policy has '0'"),
    ],
)
def test_a_static_policy_names_ports_and_accesses(policy: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        msgspec.structs.replace(CONFIG, uplink="static", static_policy=policy)


def test_a_node_that_follows_the_network_decides_nothing_rfc7864_3_1() -> None:
    core = MobileNode(CONFIG)
    with pytest.raises(ValueError, match="doesn't decide"):
        core.bind_flow(FLOW)
    with pytest.raises(ValueError, match="to is 'mn-dsl'"):
        own().bind_flow(replace(FLOW, interface="mn-dsl"))
    assert core.take_actions() == []


def test_after_a_handover_packets_leave_where_the_prefix_is_now_rfc7847_3_2(
    domain: type[Domain], node: MobileNode
) -> None:
    for interface in ("mn-wlan", "mn-cell"):
        node.link_up(interface, domain.at(0))
        node.router_advertised(interface, ROUTER, advertisement(P1), domain.at(1))
    assert domain.of(PreferAccess, node.take_actions()) == [PreferAccess(P1, "mn-wlan")]
    node.link_down("mn-wlan", domain.at(2))
    assert domain.of(PreferAccess, node.take_actions()) == [PreferAccess(P1, "mn-cell")]
    node.link_down("mn-cell", domain.at(3))
    node.link_up("mn-wlan", domain.at(4))
    assert domain.of(PreferAccess, node.take_actions()) == []
    node.router_advertised("mn-wlan", ROUTER, advertisement(P1), domain.at(5))
    assert domain.of(PreferAccess, node.take_actions()) == [PreferAccess(P1, "mn-wlan")]


def test_what_a_router_withdraws_leaves_elsewhere_rfc5213_6_12_rfc7847_3_2(
    domain: type[Domain], node: MobileNode
) -> None:
    """The session moved to the other interface, and the first is still linked with a MAG, which
    drops what comes from the prefix now."""
    for interface in ("mn-wlan", "mn-cell"):
        node.link_up(interface, domain.at(0))
    node.router_advertised("mn-wlan", ROUTER, advertisement(P1), domain.at(1))
    node.router_advertised("mn-cell", ROUTER, advertisement(P1), domain.at(2))
    node.take_actions()
    withdrawal = PrefixInformation(P1, valid_lifetime_s=0, preferred_lifetime_s=0)
    node.router_advertised("mn-wlan", ROUTER, advertisement(withdrawal, lifetime=0), domain.at(3))
    assert domain.of(PreferAccess, node.take_actions()) == [PreferAccess(P1, "mn-cell")]
    node.link_down("mn-cell", domain.at(4))
    assert domain.of(PreferAccess, node.take_actions()) == [], "there is no other"
    node.router_advertised("mn-wlan", ROUTER, advertisement(P1), domain.at(5))
    assert domain.of(PreferAccess, node.take_actions()) == [PreferAccess(P1, "mn-wlan")]
