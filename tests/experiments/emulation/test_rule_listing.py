"""Rules of switches as the prompt shows them."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from typing import Any

import pytest

pytest.importorskip("mininet", reason="comes with the distribution")

from controllers.fabric import Fabric
from controllers.flow_counts import CountedRule, _shown
from controllers.rules import flow_rules, prefix_rules, redirect_rules
from experiments.declaration.experiment import TOPOLOGIES
from experiments.emulation.rule_listing import rule_lines
from nodes.northbound import Flow, FlowPath, PrefixPath
from nodes.strict import load_toml
from topologies.fabric import fabric_description
from topologies.model import Topology

FABRIC = Fabric(fabric_description(load_toml(TOPOLOGIES / "sdn.toml", Topology)))
MAG1, MAG2 = (mag.addresses[0] for mag in FABRIC.mags)
HOME = IPv6Network("2001:db8:a::/64")
FLOW = Flow(
    key=7,
    mn="mn1",
    fid=3,
    priority=20,
    selector={"start_next_header": 17},
    prefixes=(HOME,),
    label=8,
)


def shown(rules: dict[str, Any]) -> list[dict[str, Any]]:
    return [_shown(name, CountedRule(r, 5, 500)) for name, own in rules.items() for r in own]


def listing(rules: dict[str, Any], mags: tuple[IPv6Address, ...], **more: Any) -> dict[str, Any]:
    flow = {"key": 7, "mn": "mn1", "fid": 3, "mags": [str(mag) for mag in mags]}
    return {
        "flows": [{**flow, "state": "in force", "rules": shown(rules)}],
        "prefixes": [],
        "base": 44,
        "old": [],
        "unknown": [],
        **more,
    }


def test_rules_of_flows_before_those_of_prefixes_from_the_lma_outwards() -> None:
    prefix = shown(prefix_rules(FABRIC, PrefixPath(prefix=HOME, mag=MAG1)))
    default = {"prefix": str(HOME), "mag": str(MAG1), "state": "in force", "rules": prefix}
    found = listing(flow_rules(FABRIC, FLOW, (MAG2,)), (MAG2,), prefixes=[default])
    assert rule_lines(FABRIC, found) == [
        "s1  flow mn1/3 at priority 20 (mag2), udp to 2001:db8:a::/64: to s2 (5 packets)",
        "s1  default path, to 2001:db8:a::/64: to s2 (5 packets)",
        "s2  flow mn1/3 at priority 20 (mag2), udp to 2001:db8:a::/64: to s4 (5 packets)",
        "s2  default path, to 2001:db8:a::/64: to s3 (5 packets)",
        "s3  default path, to 2001:db8:a::/64: to mag1 (5 packets)",
        "s4  flow mn1/3 at priority 20 (mag2), udp to 2001:db8:a::/64: to mag2 (5 packets)",
        "and 44 base rules of all switches",
    ]
    assert len(rule_lines(FABRIC, found, "s3")) == 2


def test_a_redirected_tunnel_and_what_is_not_as_it_should_be() -> None:
    rules = redirect_rules(FABRIC, FLOW, FlowPath(key=7, mags=(MAG2,), anchor=MAG1))
    found = listing(rules, (MAG2,), unknown=["s4"])
    found["flows"][0]["state"] = "changing"
    old = flow_rules(FABRIC, Flow(**{**_fields(FLOW), "key": 9}), (MAG1,))["s3"]
    found["old"] = shown({"s3": old})
    redirected, left_over, silent, changing, _ = rule_lines(FABRIC, found)
    assert redirected.startswith("s2  flow mn1/3 at priority 20 (mag2), next header 41 from ")
    assert redirected.endswith("label 8: to s4, as to mag2 (5 packets)")
    assert left_over.startswith("s3  left over of flow 9, udp")
    assert silent == "s4  doesn't answer"
    assert changing == "flow mn1/3 is changing"


def test_a_flow_without_rules_is_as_the_lma_sends_it() -> None:
    first, _ = rule_lines(FABRIC, listing({}, (MAG1,)))
    assert first == "flow mn1/3 has no rules: as the LMA sends it"


def _fields(flow: Flow) -> dict[str, Any]:
    return {name: getattr(flow, name) for name in flow.__struct_fields__}
