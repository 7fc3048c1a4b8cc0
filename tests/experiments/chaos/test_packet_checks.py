"""Packets: each comes once, at the right node, from where it has to come."""

from __future__ import annotations

from typing import Any

import pytest

from experiments.chaos.packet_checks import check_delivery, check_packets, way_down
from experiments.chaos.probes import DOWN, DOWN_ANSWER, SPOOFED, UP, Probe
from experiments.chaos.record import Arrived, Sent
from tests.experiments.chaos.looks import A1, A2, CN_ADDRESS, COA1, COA2, MN, SCENARIO, good_look

JSON = dict[str, Any]
DOWN_1, UP_1 = Probe(DOWN, 1, 1, 7), Probe(UP, 1, 1, 7)


def came(node: str, interface: str, probe: Probe | None, t: float = 100.5) -> Arrived:
    ends = (A1, CN_ADDRESS) if node == "cn" else (CN_ADDRESS, A1)
    return Arrived(t, node, interface, *ends, probe)


def rules_of(packets: list[Sent | Arrived], record: list[JSON] | None = None) -> list[str]:
    found = check_packets(SCENARIO, [good_look(), *(record or [])], packets)
    return [violation.rule for violation in found]


def test_a_packet_that_comes_once_where_it_belongs_is_well() -> None:
    down, up = came("mn1", "mn1-cell1", DOWN_1), came("cn", "cn-lma", UP_1)
    assert rules_of([down, up]) == []


@pytest.mark.parametrize(
    ("rule", "packet"),
    [
        ("wrong-node", came("mn2", "mn2-wlan2", DOWN_1)),
        ("address", came("mn1", "mn1-wlan1", UP_1)),
        ("untunnelled", came("core", "core-lma", DOWN_1)),
        ("stranger", came("mn1", "mn1-wlan1", None)),
        ("spoofed", came("cn", "cn-lma", Probe(SPOOFED, 0, 1, 0))),
        ("address", Arrived(100.5, "cn", "cn-lma", "2001:db8:100:5::1", CN_ADDRESS, UP_1)),
        ("address", Arrived(100.5, "cn", "cn-lma", A1, CN_ADDRESS, UP_1._replace(mn=2))),
    ],
)
def test_a_packet_at_the_wrong_place_is_found(rule: str, packet: Arrived) -> None:
    assert rule in rules_of([packet])


def test_a_packet_comes_twice_only_to_a_flow_that_was_ordered_to_two_accesses() -> None:
    twice: list[Sent | Arrived] = [came("mn1", f"mn1-{a}1", DOWN_1) for a in ("wlan", "cell")]
    assert rules_of(twice) == ["twice"]
    request = {"op": "move-flow", "mn": MN, "fid": 1, "to": ["wlan", "cell"]}
    order = {"t": 50.0, "what": "order", "number": 1, "node": "lma", "request": request}
    assert rules_of(twice, [order]) == []
    assert rules_of(twice, [{**order, "t": 101.0}]) == ["twice"]
    assert rules_of([*twice, twice[0]], [order]) == ["twice"]
    everything = {**order, "request": {**request, "fid": "all"}}
    assert rules_of(twice, [everything]) == []


def test_what_a_mobile_node_sends_comes_once_whatever_was_ordered() -> None:
    request = {"op": "add-flow", "mn": MN, "fid": 1, "to": ["wlan", "cell"]}
    order = {"t": 50.0, "what": "order", "number": 1, "node": "lma", "request": request}
    up: list[Sent | Arrived] = [came("cn", "cn-lma", UP_1), came("cn", "cn-lma", UP_1)]
    assert rules_of(up, [order]) == ["twice"]


def sent(probe: Probe, to: str = A1, t: float = 100.1) -> Sent:
    up = probe.kind in (UP, DOWN_ANSWER)
    return Sent(t, probe, *((to, CN_ADDRESS) if up else (CN_ADDRESS, to)), None)


@pytest.mark.parametrize(
    ("flow", "to", "wanted"),
    [(1, A1, [COA2]), (1, A2, [COA2]), (2, A1, [COA1]), (0, A1, [COA1]), (0, A2, [COA2])],
)
def test_the_way_down_follows_rows_and_then_bindings(flow: int, to: str, wanted: list[str]) -> None:
    """A flow that goes to two bindings, of which one doesn't route its prefix, takes the default
    path, and so does one whose selector has another address."""
    look = good_look()
    look["nodes"]["lma"]["bindings"][1]["flow_mobility_prefixes"] = (
        [] if flow == 2 else look["nodes"]["lma"]["bindings"][1]["flow_mobility_prefixes"]
    )
    assert way_down(look["nodes"]["lma"], Probe(DOWN, flow, 1, 1), to) == wanted


def delivery(*packets: Sent | Arrived, look: JSON | None = None, forgot: str = "") -> list[str]:
    found = check_delivery(SCENARIO, look or good_look(), 103.0, list(packets), {forgot} - {""})
    return [violation.rule for violation in found]


def test_when_all_agree_packets_go_where_the_lma_says() -> None:
    assert delivery(sent(DOWN_1), came("mn1", "mn1-cell1", DOWN_1)) == []
    assert delivery(sent(DOWN_1), came("mn1", "mn1-wlan1", DOWN_1)) == ["delivery"]
    assert delivery(sent(DOWN_1)) == ["delivery"]
    both = [came("mn1", f"mn1-{a}1", DOWN_1._replace(flow=2)) for a in ("wlan", "cell")]
    assert delivery(sent(DOWN_1._replace(flow=2)), *both) == []
    assert delivery(sent(DOWN_1._replace(flow=2)), both[0]) == ["delivery"]


def test_a_flow_that_is_dropped_comes_nowhere() -> None:
    look = good_look()
    look["nodes"]["lma"]["flows"][0]["action"] = "drop"
    assert delivery(sent(DOWN_1), look=look) == []
    assert delivery(sent(DOWN_1), came("mn1", "mn1-cell1", DOWN_1), look=look) == ["delivery"]


def test_when_all_agree_what_a_node_sends_arrives() -> None:
    late, answer = sent(UP_1, t=101.0), sent(Probe(DOWN_ANSWER, 1, 1, 7))
    assert delivery(late, answer) == ["uplink", "uplink"]
    assert delivery(late, came("cn", "cn-lma", UP_1)) == []
    assert delivery(sent(UP_1)) == [], "a flow goes where it came from, which it has yet to learn"
    assert delivery(late._replace(error="EINVAL")) == ["not-sent"]


def test_what_a_mag_has_forgotten_that_it_told_a_node_is_no_ones_fault() -> None:
    """docs/invariants.md, exceptions."""
    look = good_look()
    look["nodes"]["mag1"]["bindings"][0]["prefixes"] = []
    assert delivery(sent(UP_1, t=101.0), look=look, forgot="mag1") == []
    assert delivery(sent(UP_1, t=101.0), look=look, forgot="mag2") == ["uplink"]
