"""Looks at nodes: nothing is found where all is well, and each thing that is wrong is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from experiments.chaos.agreement import check_agreement, check_nobody
from experiments.chaos.checks import check_look
from experiments.chaos.scenario import Attach
from experiments.chaos.views import lma_view, mag_view
from tests.experiments.chaos.looks import (
    COA1,
    COA2,
    MN,
    P1,
    P2,
    SCENARIO,
    empty_look,
    good_look,
)

JSON = dict[str, Any]
Spoil = Callable[[JSON], object]


def rules_of(look: JSON) -> set[str]:
    found = [*check_look(look, set()), *check_agreement(look, SCENARIO, set())]
    return {rule for rule, _ in found}


def test_nothing_is_wrong_where_all_is_well() -> None:
    assert rules_of(good_look()) == set()
    assert list(check_nobody(empty_look())) == []


def test_what_the_kernel_of_the_lma_does_is_read_from_its_dump() -> None:
    view = lma_view(good_look()["nodes"]["lma"]["kernel"])
    assert view.routes == {P1: COA1, P2: COA2}
    assert view.flows == {1: [COA2], 2: [COA1, COA2]}
    assert view.home_prefixes == {P1, P2}
    assert view.unused == []
    mag = mag_view(good_look()["nodes"]["mag2"]["kernel"])
    assert mag.uplink == {("mag2-cell1", P1), ("mag2-cell1", P2)}


def _lma(look: JSON) -> JSON:
    lma: JSON = look["nodes"]["lma"]
    return lma


def _map(look: JSON, name: str) -> list[Any]:
    for item in _lma(look)["kernel"]["nftables"]:
        if item.get("map", {}).get("name") == name:
            found: list[Any] = item["map"]["elem"]
            return found
    raise AssertionError(name)


def _entry(look: JSON, mag: str) -> JSON:
    entry: JSON = look["nodes"][mag]["bindings"][0]
    return entry


SPOILT: dict[str, tuple[str, Spoil]] = {
    "a prefix leads elsewhere": (
        "lma-routes",
        lambda look: _lma(look)["kernel"]["routes"][0].update(dev="mag2"),
    ),
    "a prefix has no route": ("lma-routes", lambda look: _lma(look)["kernel"]["routes"].pop(0)),
    "a route without a binding": (
        "lma-routes",
        lambda look: _lma(look)["kernel"]["routes"].append(
            {"table": 254, "to": "2001:db8:100:9::/64", "kind": "unicast", "dev": "mag1"}
        ),
    ),
    "two nodes have a prefix": (
        "one-owner",
        lambda look: _lma(look)["bindings"][1].update(mn="mn2@flowmob.example"),
    ),
    "a tunnel without a binding": (
        "lma-tunnels",
        lambda look: _lma(look)["kernel"]["links"].update(
            mag3={"index": 9, "up": True, "kind": "ip6tnl", "remote": "2001:db8:20:3::1"}
        ),
    ),
    "a tunnel is missing": (
        "lma-tunnels",
        lambda look: _lma(look)["kernel"]["links"].pop("mag2"),
    ),
    "a rule is missing": ("lma-marks", lambda look: _lma(look)["kernel"]["rules"].pop()),
    "a flow goes elsewhere": (
        "flow-path",
        lambda look: _map(look, "binding").__setitem__(0, [0x101, 1]),
    ),
    "a copy is missing": ("flow-path", lambda look: _map(look, "copies").clear()),
    "a flow's path is left": ("flow-row", lambda look: _lma(look)["flows"].pop(0)),
    "a path without packets": ("lma-classes", lambda look: _map(look, "exact").clear()),
    "packets without a path": ("lma-classes", lambda look: _map(look, "binding").pop(0)),
    "a flow says that it is not active": (
        "flow-active",
        lambda look: _lma(look)["flows"][0].update(active=False),
    ),
    "a flow is bound to another's binding": (
        "flow-owner",
        lambda look: _lma(look)["flows"][0].update(mn="mn2@flowmob.example"),
    ),
    "a MAG lets nothing out": (
        "mag-uplink",
        lambda look: look["nodes"]["mag1"]["kernel"]["rules"].pop(),
    ),
    "a MAG lets more out": (
        "mag-uplink",
        lambda look: look["nodes"]["mag1"]["kernel"]["rules"].append(
            {"priority": 100, "action": 1, "table": 1000, "from": P2, "iif": "mag1-wlan1"}
        ),
    ),
    "a MAG doesn't route a prefix": (
        "mag-downlink",
        lambda look: look["nodes"]["mag2"]["kernel"]["routes"].pop(),
    ),
    "a MAG serves who was rejected": (
        "mag-service",
        lambda look: _entry(look, "mag1").update(state="rejected"),
    ),
    "a MAG doesn't route what it has": (
        "mag-hosted",
        lambda look: _entry(look, "mag2").update(hosted=[P2]),
    ),
    "a MAG has no tunnel": (
        "mag-tunnel",
        lambda look: look["nodes"]["mag1"]["kernel"]["links"].pop("lma0"),
    ),
    "a MAG serves another with a prefix": (
        "stolen-prefix",
        lambda look: _entry(look, "mag1").update(mn="mn2@flowmob.example"),
    ),
    "a MAG doesn't know a binding": (
        "agree-bindings",
        lambda look: look["nodes"]["mag2"]["bindings"].clear(),
    ),
    "the LMA doesn't know a binding": (
        "agree-bindings",
        lambda look: _lma(look)["bindings"].pop(),
    ),
    "prefixes differ": (
        "agree-prefixes",
        lambda look: _entry(look, "mag2").update(off_link_prefixes=[]),
    ),
    "a MAG waits for ever": (
        "agree-state",
        lambda look: _entry(look, "mag1").update(state="requested"),
    ),
    "nobody serves a link that is up": (
        "agree-attached",
        lambda look: look["nodes"]["mag1"]["bindings"].clear(),
    ),
    "a mobile node lacks an address": (
        "mn-address",
        lambda look: look["nodes"]["mn1"]["kernel"]["addresses"].pop(),
    ),
    "a mobile node has no way out": (
        "mn-route",
        lambda look: look["nodes"]["mn1"]["kernel"]["routes"].pop(),
    ),
    "a daemon doesn't run": (
        "agree-running",
        lambda look: look["nodes"]["mag2"].update(running=False),
    ),
}


@pytest.mark.parametrize(("rule", "spoil"), SPOILT.values(), ids=SPOILT.keys())
def test_what_is_wrong_is_found(rule: str, spoil: Spoil) -> None:
    look = good_look()
    spoil(look)
    assert rule in rules_of(look)


def test_a_binding_without_a_carrier_is_noticed_after_a_while() -> None:
    assert {rule for rule, _ in check_look(good_look(), {"wlan1"})} == {"mag-carrier"}


def test_what_was_revoked_need_not_be_attached() -> None:
    look = good_look()
    for node in ("lma", "mag1"):
        look["nodes"][node]["bindings"] = [
            entry for entry in look["nodes"][node]["bindings"] if entry.get("access") != "wlan"
        ][: 1 if node == "lma" else 0]
    attached = [rule for rule, _ in check_agreement(look, SCENARIO, set())]
    assert "agree-attached" in attached
    assert "agree-attached" not in [r for r, _ in check_agreement(look, SCENARIO, {"wlan1"})]


def test_a_node_that_contests_itself_may_be_known_to_a_mag_only() -> None:
    look = good_look()
    look["nodes"]["lma"]["bindings"].pop()
    contest = Attach(at_s=1.0, mn=1, access="cell", handoff=2, session="wlan")
    scenario = replace(SCENARIO, faults=(contest,))
    assert [rule for rule, _ in check_agreement(look, scenario, set())] == []
    assert [rule for rule, _ in check_agreement(look, SCENARIO, set())] == ["agree-bindings"]


LEFT: dict[str, Spoil] = {
    "a binding": lambda look: _lma(look)["bindings"].append({"mn": MN}),
    "a flow": lambda look: _lma(look)["flows"].append({"fid": 1}),
    "a prefix route": lambda look: _lma(look)["kernel"]["routes"].append(
        {"table": 254, "to": P1, "kind": "blackhole"}
    ),
    "a rule": lambda look: _lma(look)["kernel"]["rules"].append(
        {"priority": 100, "action": 1, "table": 1001, "mark": 1}
    ),
    "a path": lambda look: _lma(look)["kernel"]["nftables"][1]["map"].update(elem=[[0x101, 1]]),
    "a MAG's route": lambda look: look["nodes"]["mag1"]["kernel"]["routes"].append(
        {"table": 1100, "to": P1, "kind": "unicast", "dev": "mag1-wlan1"}
    ),
    "a MAG's tunnel": lambda look: look["nodes"]["mag2"]["kernel"]["links"].update(
        lma0={"index": 9, "up": True, "kind": "ip6tnl", "remote": "2001:db8:10::1"}
    ),
}


@pytest.mark.parametrize("spoil", LEFT.values(), ids=LEFT.keys())
def test_what_is_left_is_found(spoil: Spoil) -> None:
    look = empty_look()
    spoil(look)
    assert [rule for rule, _ in check_nobody(look)] == ["left"]
