from __future__ import annotations

import pytest

from experiments.declaration.experiment import TOPOLOGIES
from nodes.strict import InputError, convert, read_toml
from topologies.crowd import expanded, mobile_nodes
from topologies.model import Topology
from topologies.plan import MAG_MAC, mac

MOST = 250
INTERFACE_NAME = 15  # octets at most, IFNAMSIZ without its end


def topology(count: int = 1, **changes: object) -> Topology:
    document = read_toml(TOPOLOGIES / "reference.toml")
    document["nodes"]["mn"]["count"] = count
    document["nodes"].update(changes)
    return convert(document, Topology, "test")


def test_one_mobile_node_changes_nothing() -> None:
    alone = topology()
    assert expanded(alone) is alone
    assert mobile_nodes(alone) == ["mn"]


def test_each_mobile_node_has_links_of_its_own_to_the_same_mags_rfc5213_6_3() -> None:
    found = expanded(topology(3))
    assert mobile_nodes(topology(3)) == ["mn", "mn2", "mn3"]
    assert [found.accesses[name].ends for name in ("wlan", "wlan2", "wlan3")] == [
        ("mag1", "mn"),
        ("mag1", "mn2"),
        ("mag1", "mn3"),
    ]
    assert found.accesses["cell3"].ends == ("mag2", "mn3")
    assert found.accesses["cell3"].uplink == found.accesses["cell"].uplink
    assert len(found.links) == len(topology().links) + 4
    assert all(node.count == 1 for node in found.nodes.values())


def test_what_is_there_comes_first_so_that_its_addresses_stay() -> None:
    alone, found = topology(), expanded(topology(MOST))
    for link in alone.links.values():
        assert link in found.links.values()
    for name, link in alone.links.items():
        for end in link.ends:
            assert mac(found, name, end) == mac(alone, name, end)


def test_names_and_mac_addresses_of_many_are_different_and_fit() -> None:
    found = expanded(topology(MOST))
    ends = [(name, end) for name, link in found.links.items() for end in link.ends]
    names = [found.links[name].interface(end) for name, end in ends]
    macs = [mac(found, name, end) for name, end in ends]
    own = [address for address in macs if address != MAG_MAC]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= INTERFACE_NAME
    assert len(set(own)) == len(own)


def test_only_mobile_nodes_have_a_count() -> None:
    with pytest.raises(InputError, match=r"nodes\.mag1\.count: 2; expected 1"):
        topology(mag1={"role": "mag", "address": "2001:db8:11::1", "count": 2})


def test_a_name_that_is_taken_is_refused() -> None:
    with pytest.raises(ValueError, match=r"nodes\.mn2: the name"):
        expanded(topology(2, mn2={"role": "router"}))
