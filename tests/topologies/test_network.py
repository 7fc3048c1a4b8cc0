from pathlib import Path

import pytest

mininet = pytest.importorskip("mininet", reason="comes with the distribution")

from nodes.strict import load_toml  # noqa: E402
from topologies.model import Topology  # noqa: E402
from topologies.network import FlowMobilityTopo, random_seed  # noqa: E402

REFERENCE = Path(__file__).parents[2] / "topologies" / "reference.toml"


def test_the_topo_has_the_declared_nodes_and_links() -> None:
    topology = load_toml(REFERENCE, Topology)
    topo = FlowMobilityTopo(topology=topology)
    assert set(topo.hosts()) == set(topology.nodes)
    assert topo.switches() == []
    names = {
        (info["intfName1"], info["intfName2"])
        for _, _, info in topo.links(sort=True, withInfo=True)
    }
    assert ("mag1-wlan", "mn-wlan") in names
    assert len(names) == len(topology.links)


def test_only_routers_forward() -> None:
    topo = FlowMobilityTopo(topology=load_toml(REFERENCE, Topology))
    forwarding = {
        name
        for name in topo.hosts()
        if "ipv6/conf/all/forwarding" in topo.nodeInfo(name)["sysctls"]
    }
    assert forwarding == {"lma", "core", "mag1", "mag2"}


def test_every_direction_of_every_run_has_random_numbers_of_its_own() -> None:
    seeds = {
        random_seed(seed, link, direction)
        for seed in (1, 2)
        for link in ("wlan", "cell")
        for direction in ("down", "up")
    }
    assert len(seeds) == 8
    assert all(0 <= seed < 1 << 64 for seed in seeds)
    assert random_seed(1, "wlan", "down") == random_seed(1, "wlan", "down")
