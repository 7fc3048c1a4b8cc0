from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.fabric import Branches, Fabric, FabricDescription, FabricError
from nodes.strict import convert, to_builtins
from tests.controllers.fabrics import (
    LMA,
    MAG1,
    MAG2,
    MAG3,
    description,
    fabrics,
    link,
    node,
    reference_fabric,
)


def test_paths_of_the_reference_fabric():
    fabric = reference_fabric()
    assert fabric.path(MAG1) == ("s1", "s2", "s3")
    assert fabric.path(MAG2) == ("s1", "s2", "s4")
    assert [fabric.depth(name) for name in fabric.switches] == [0, 1, 2, 2]
    assert [fabric.upstream_port(name) for name in fabric.switches] == [1, 1, 1, 1]


def test_tree_is_the_union_of_paths_from_the_lma_outwards():
    fabric = reference_fabric()
    _, mag2, mag3 = fabric.mags
    assert list(fabric.tree((MAG2, MAG1, MAG3)).items()) == [
        ("s1", Branches((2,))),
        ("s2", Branches((2, 3))),
        ("s3", Branches((), (fabric.mags[0],))),
        ("s4", Branches((), (mag2, mag3))),
    ]
    assert fabric.tree(()) == {}


def test_branching_is_the_switch_where_paths_part():
    fabric = reference_fabric()
    assert fabric.branching(MAG1, (MAG2,)) == "s2"
    assert fabric.branching(MAG2, (MAG3,)) == "s4"
    assert fabric.branching(MAG2, (MAG3, MAG1)) == "s2"
    assert fabric.branching(MAG1, (MAG1,)) == "s3"


def test_next_hops_in_both_directions():
    fabric = reference_fabric()
    mag1, mag2, _ = fabric.mags
    assert [fabric.next_hop(name, mag1) for name in fabric.switches] == [2, 2, 2, 1]
    assert [fabric.next_hop(name, mag2) for name in fabric.switches] == [2, 3, 1, 2]
    assert [fabric.next_hop(name, fabric.lma) for name in fabric.switches] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"switches": ("s1", "s2", "s3", "s4", "s5")}, "switch s5 has no path to s1"),
        ({"switches": ("s1", "s2", "s3")}, "mag2: there is no switch s4"),
        ({"switches": ("s1", "s1")}, "a name is there twice"),
        ({"links": (link("s1", 1, "s2", 1),)}, "port 1 of s1 is that of lma and of the link to s2"),
        ({"mags": (node("mag1", MAG1, 2, "s9", 2),)}, "mag1: there is no switch s9"),
        ({"mags": (node("mag1", LMA, 2, "s4", 2),)}, f"{LMA} belongs to lma and to mag1"),
        ({"mags": (node("lma", MAG1, 2, "s4", 2),)}, "lma belongs to lma and to lma"),
        ({"links": (link("s1", 2, "s7", 1),)}, "the link to s1: there is no switch s7"),
        ({"links": (link("s1", 2, "s1", 2),)}, "port 2 of s1 is that of"),
    ],
)
def test_what_can_not_work_is_refused(changes, message):
    with pytest.raises(FabricError, match=message):
        Fabric(msgspec.structs.replace(description(), **changes))


def test_unknown_addresses_are_refused():
    fabric = reference_fabric()
    with pytest.raises(FabricError, match="no node of the fabric has the address"):
        fabric.path(MAG3 + 1)
    with pytest.raises(FabricError, match="expected that of a MAG"):
        fabric.path(LMA)


@given(fabrics(), st.data())
def test_tree_has_shortest_paths_and_one_way_into_each_switch(fabric, data):
    neighbours = {
        name: {peer for port in range(1, 40) if (peer := fabric.neighbour(name, port))}
        for name in fabric.switches
    }
    distances = {fabric.ingress: 0}
    edge = [fabric.ingress]
    while edge:
        edge = [peer for name in edge for peer in sorted(neighbours[name]) if peer not in distances]
        distances |= dict.fromkeys(edge, 1 + max(distances.values()))
    for mag in fabric.mags:
        path = fabric.path(mag.addresses[0])
        assert [distances[name] for name in path] == list(range(len(path)))
        assert path[-1] == mag.switch
    mags = data.draw(st.lists(st.sampled_from(fabric.mags), unique_by=lambda mag: mag.name))
    tree = fabric.tree(mag.addresses[0] for mag in mags)
    for switch, branches in tree.items():
        for port in branches.ports:
            child = fabric.neighbour(switch, port)
            assert child in tree
            assert fabric.neighbour(child, fabric.upstream_port(child)) == switch


def test_description_is_read_from_data():
    data = to_builtins(description())
    assert data["lma"]["addresses"] == (str(LMA),)
    assert convert(data, FabricDescription, "fabric.json") == description()
