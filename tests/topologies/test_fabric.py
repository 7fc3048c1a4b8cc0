from __future__ import annotations

from ipaddress import IPv6Address
from pathlib import Path

import msgspec
import pytest

from controllers.fabric import Fabric, FabricNode, Link
from nodes.strict import load_toml
from topologies.fabric import fabric_description
from topologies.model import Role, Topology
from topologies.plan import mac

TOPOLOGIES = Path(__file__).parents[2] / "topologies"


@pytest.fixture
def switched() -> Topology:
    return load_toml(TOPOLOGIES / "switched.toml", Topology)


def test_fabric_of_the_switched_network(switched):
    found = fabric_description(switched)
    assert found.switches == ("s1", "s2", "s3")
    assert found.links == (
        Link(switch="s1", port=2, peer="s2", peer_port=1),
        Link(switch="s1", port=3, peer="s3", peer_port=1),
        Link(switch="s2", port=2, peer="s3", peer_port=2),
    )
    assert found.lma == FabricNode(
        name="lma",
        addresses=(IPv6Address("2001:db8:10::1"),),
        mac=mac(switched, "lma-s1", "lma"),
        switch="s1",
        port=1,
    )
    assert [(mag.name, mag.switch, mag.port) for mag in found.mags] == [
        ("mag1", "s2", 3),
        ("mag2", "s3", 3),
    ]
    assert Fabric(found).path(found.mags[1].addresses[0]) == ("s1", "s3")


def test_only_lma_and_mags_are_at_switches(switched):
    nodes = switched.nodes | {
        "mag1": msgspec.structs.replace(switched.nodes["mag1"], role=Role.ROUTER)
    }
    topology = msgspec.structs.replace(switched, nodes=nodes)
    with pytest.raises(ValueError, match=r"links\.s2-mag1: mag1 can't be at a switch"):
        fabric_description(topology)


def test_one_lma_is_at_a_switch():
    topology = load_toml(TOPOLOGIES / "reference.toml", Topology)
    with pytest.raises(ValueError, match="0 ports have an LMA behind them; expected one"):
        fabric_description(topology)
