from ipaddress import IPv6Network
from pathlib import Path

import msgspec
import pytest

from nodes.strict import load_toml
from topologies.model import Link, Node, Role, Topology
from topologies.plan import addresses, neighbours, routes
from topologies.switching import (
    Port,
    control_channels,
    datapath_ids,
    ports,
    switch_components,
    switch_of,
)

SWITCHED = Path(__file__).parents[2] / "topologies" / "switched.toml"


@pytest.fixture
def switched() -> Topology:
    return load_toml(SWITCHED, Topology)


def test_ports_are_numbered_in_the_order_of_links_without_the_controllers(
    switched: Topology,
) -> None:
    assert ports(switched) == {
        "s1": [
            Port(1, "s1-lma", "lma-s1", "lma"),
            Port(2, "s1-s2", "s1-s2", "s2"),
            Port(3, "s1-s3", "s1-s3", "s3"),
        ],
        "s2": [
            Port(1, "s2-s1", "s1-s2", "s1"),
            Port(2, "s2-s3", "s2-s3", "s3"),
            Port(3, "s2-mag1", "s2-mag1", "mag1"),
        ],
        "s3": [
            Port(1, "s3-s1", "s1-s3", "s1"),
            Port(2, "s3-s2", "s2-s3", "s2"),
            Port(3, "s3-mag2", "s3-mag2", "mag2"),
        ],
    }


def test_datapath_ids_are_places(switched: Topology) -> None:
    assert datapath_ids(switched) == {"s1": 1, "s2": 2, "s3": 3}


def test_every_switch_has_a_channel_of_its_own(switched: Topology) -> None:
    assert control_channels(switched) == {
        "s1": "controller-s1",
        "s2": "controller-s2",
        "s3": "controller-s3",
    }


def test_two_controllers_of_a_switch_are_an_error() -> None:
    topology = Topology(
        nodes={
            "s1": Node(Role.SWITCH),
            "a": Node(Role.CONTROLLER),
            "b": Node(Role.CONTROLLER),
        },
        links={"a": Link(ends=("a", "s1")), "b": Link(ends=("b", "s1"))},
    )
    with pytest.raises(ValueError, match=r"links\.b: s1 has a controller on a"):
        control_channels(topology)


def test_switches_that_no_link_connects_are_apart() -> None:
    topology = Topology(
        nodes={name: Node(Role.SWITCH) for name in ("s1", "s2", "s3", "s4")},
        links={"a": Link(ends=("s3", "s4")), "b": Link(ends=("s4", "s1"))},
    )
    component = switch_components(topology)
    assert component["s1"] == component["s3"] == component["s4"] != component["s2"]


def test_nodes_on_connected_switches_are_neighbours(switched: Topology) -> None:
    known = {(n.interface, str(n.address)) for n in neighbours(switched)["lma"]}
    assert {("lma-s1", "2001:db8:10::11"), ("lma-s1", "2001:db8:10::12")} <= known
    assert {str(n.address) for n in neighbours(switched)["mag2"]} >= {"2001:db8:10::11"}


def test_a_switch_has_addresses_on_its_openflow_channel_only(switched: Topology) -> None:
    assert {a.interface for a in addresses(switched)["s2"]} == {"s2-controller"}
    assert routes(switched)["s2"] == []


def test_nodes_behind_switches_reach_what_is_behind_the_lma(switched: Topology) -> None:
    plan = {str(r.network): (str(r.gateway), r.interface) for r in routes(switched)["mag1"]}
    assert plan["2001:db8:1::/64"] == ("2001:db8:10::1", "mag1-s2")
    assert "2001:db8:10::/64" not in plan


def test_no_route_leads_through_a_controller_or_a_switch(switched: Topology) -> None:
    channels = IPv6Network("2001:db8:21::/64")
    assert all(route.network != channels for route in routes(switched)["mag1"])


def test_a_node_on_switches_needs_an_address_of_its_own(switched: Topology) -> None:
    nodes = switched.nodes | {"mag1": Node(Role.MAG)}
    without = msgspec.structs.replace(switched, nodes=nodes)
    with pytest.raises(ValueError, match=r"nodes\.mag1\.address: expected an address in 2001:db8"):
        addresses(without)


def test_two_nodes_on_switches_with_one_address_are_an_error(switched: Topology) -> None:
    nodes = switched.nodes | {"mag2": switched.nodes["mag1"]}
    double = msgspec.structs.replace(switched, nodes=nodes)
    with pytest.raises(ValueError, match=r"links\.s3-mag2: mag1 and mag2 both have the address"):
        addresses(double)


def test_where_a_node_is_at_a_switch(switched: Topology) -> None:
    assert switch_of(switched, "mag2") == Port(3, "mag2-s3", "s3-mag2", "s3")
    assert switch_of(switched, "cn") is None
    assert switch_of(switched, "controller") is None
