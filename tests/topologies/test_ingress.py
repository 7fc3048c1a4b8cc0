"""RFC 2827: which interfaces are the domain's edge, and what comes in there."""

from __future__ import annotations

import pytest

from experiments.declaration.experiment import TOPOLOGIES
from nodes.strict import load_toml
from topologies.ingress import internet_interfaces, source_rules
from topologies.model import Topology


def topology(name: str) -> Topology:
    return load_toml(TOPOLOGIES / f"{name}.toml", Topology)


@pytest.mark.parametrize("name", ["reference", "switched", "sdn"])
def test_only_the_link_to_the_correspondent_leads_to_the_internet(name: str) -> None:
    assert internet_interfaces(topology(name), "lma") == ("lma-cn",)


def test_routers_filter_what_comes_from_mags_and_nothing_else() -> None:
    """Per MAG: its link's network, link-local addresses, and that is all."""
    reference = topology("reference")
    assert {name: len(source_rules(reference, name)) for name in reference.nodes} == {
        **dict.fromkeys(reference.nodes, 0),
        "core": 6,
    }
