from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest

from nodes.strict import load_toml
from topologies.model import Direction, Link, Node, Role, Topology
from topologies.plan import (
    MAG_MAC,
    UNLIMITED_PACKETS,
    Address,
    Route,
    addresses,
    is_shaped,
    link_local,
    mac,
    neighbours,
    netem_limit,
    routes,
)

REFERENCE = Path(__file__).parents[2] / "topologies" / "reference.toml"


@pytest.fixture
def reference() -> Topology:
    return load_toml(REFERENCE, Topology)


def test_the_mags_link_local_address_is_that_of_rfc_6543() -> None:
    assert link_local(MAG_MAC) == IPv6Address("fe80::200:5eff:fe00:5213")


def test_ends_take_their_own_address_and_the_other_end_what_is_left(reference: Topology) -> None:
    plan = {
        name: {a.interface: str(a.address) for a in own}
        for name, own in addresses(reference).items()
    }
    assert plan == {
        "cn": {"cn-lma": "2001:db8:1::2"},
        "lma": {"lma-cn": "2001:db8:1::1", "lma-core": "2001:db8:10::1"},
        "core": {
            "core-lma": "2001:db8:10::2",
            "core-mag1": "2001:db8:11::2",
            "core-mag2": "2001:db8:12::2",
        },
        "mag1": {"mag1-core": "2001:db8:11::1"},
        "mag2": {"mag2-core": "2001:db8:12::1"},
        "mn": {},
    }


def test_an_address_keeps_its_networks_prefix_length(reference: Topology) -> None:
    assert addresses(reference)["mag1"] == [Address("mag1-core", IPv6Address("2001:db8:11::1"), 64)]


def test_an_address_outside_the_nodes_links_is_an_error() -> None:
    topology = Topology(
        nodes={
            "cn": Node(Role.CORRESPONDENT, IPv6Address("2001:db8:99::1")),
            "lma": Node(Role.LMA),
        },
        links={"a": Link(ends=("cn", "lma"), network=IPv6Network("2001:db8:1::/64"))},
    )
    with pytest.raises(ValueError, match=r"nodes\.cn\.address: 2001:db8:99::1 lies in no network"):
        addresses(topology)


def test_two_ends_with_one_address_are_an_error() -> None:
    node = IPv6Address("2001:db8:1::7")
    topology = Topology(
        nodes={"cn": Node(Role.CORRESPONDENT, node), "lma": Node(Role.LMA, node)},
        links={"a": Link(ends=("cn", "lma"), network=IPv6Network("2001:db8:1::/64"))},
    )
    with pytest.raises(ValueError, match=r"links\.a: cn and lma both have the address"):
        addresses(topology)


def test_every_router_reaches_every_numbered_network(reference: Topology) -> None:
    plan = routes(reference)
    everything = {link.network for link in reference.links.values() if link.network is not None}
    for node in ("lma", "core", "mag1", "mag2"):
        own = {
            network
            for network in everything
            for a in addresses(reference)[node]
            if a.address in network
        }
        assert {route.network for route in plan[node]} == everything - own, node


def test_next_hops_lie_on_the_shortest_path(reference: Topology) -> None:
    plan = routes(reference)
    assert plan["mag1"] == [
        Route(IPv6Network(network), IPv6Address("2001:db8:11::2"), "mag1-core")
        for network in ("2001:db8:10::/64", "2001:db8:12::/64", "2001:db8:1::/64")
    ]
    assert (
        Route(IPv6Network("2001:db8:1::/64"), IPv6Address("2001:db8:10::1"), "core-lma")
        in (plan["core"])
    )


def test_the_correspondent_node_sends_everything_else_to_the_lma(reference: Topology) -> None:
    assert routes(reference)["cn"][-1] == Route(None, IPv6Address("2001:db8:1::1"), "cn-lma")


def test_the_mn_gets_no_routes(reference: Topology) -> None:
    assert routes(reference)["mn"] == []


def test_routes_do_not_lead_through_nodes_that_do_not_forward() -> None:
    net = [IPv6Network(f"2001:db8:{i}::/64") for i in range(1, 4)]
    topology = Topology(
        nodes={
            "lma": Node(Role.LMA),
            "cn": Node(Role.CORRESPONDENT),
            "r1": Node(Role.ROUTER),
        },
        links={
            "a": Link(ends=("cn", "lma"), network=net[0]),
            "b": Link(ends=("cn", "r1"), network=net[1]),
        },
    )
    assert routes(topology)["lma"] == []


def test_macs_are_distinct_but_for_the_mags(reference: Topology) -> None:
    macs = [
        mac(reference, name, end)
        for name, link in reference.links.items()
        for end in link.ends
        if not (link.access and end == link.ends[0])
    ]
    assert len(macs) == len(set(macs))
    assert mac(reference, "wlan", "mag1") == mac(reference, "cell", "mag2") == MAG_MAC


def test_neighbours_know_each_others_link_local_address(reference: Topology) -> None:
    known = {(n.interface, str(n.address), n.mac) for n in neighbours(reference)["mn"]}
    assert known == {
        ("mn-wlan", "fe80::200:5eff:fe00:5213", MAG_MAC),
        ("mn-cell", "fe80::200:5eff:fe00:5213", MAG_MAC),
    }


@pytest.mark.parametrize(
    ("direction", "limit"),
    [
        (Direction(delay_ms=25.0, rate_mbit=20.0, queue_packets=100), 142),
        (Direction(delay_ms=0.0, rate_mbit=1000.0, queue_packets=1000), 1000),
        (Direction(delay_ms=25.0), UNLIMITED_PACKETS),
    ],
)
def test_packets_in_flight_come_on_top_of_the_queue(direction: Direction, limit: int) -> None:
    assert netem_limit(direction) == limit


def test_a_direction_without_delay_rate_and_loss_needs_no_netem() -> None:
    assert not is_shaped(Direction())
    assert is_shaped(Direction(loss=0.1))
