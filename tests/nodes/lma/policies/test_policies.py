from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.flow_mobility_cache import FlowMobilityCacheEntry
from nodes.lma.policies import BUILT_IN, make_policy
from nodes.lma.policies.base import AddFlow, BindingView, MobileNodeView, MoveFlow, Policy
from nodes.strict import InputError
from nodes.wire.traffic_selector import IPv6TrafficSelector

ANY = IPv6TrafficSelector()
RULE = {"fid": 9, "priority": 9, "selector": {"start_traffic_class": 184}, "accesses": ["wlan"]}


def policy(kind: str, **settings: Any) -> Policy:
    return make_policy({"kind": kind, **settings}, "test", counted=True)


def node(
    wlan: dict[str, int] | None = None, cell: dict[str, int] | None = None, **flows: int
) -> MobileNodeView:
    """Flows are named f1, f2, ... with the BID that carries them: 1 is wlan's, 2 is cell's."""
    rows = [
        FlowMobilityCacheEntry(int(name[1:]), int(name[1:]), ANY, (bid,))
        for name, bid in flows.items()
    ]
    bindings = []
    if wlan is not None:
        bindings.append(BindingView(1, "wlan", 10, **wlan))
    if cell is not None:
        bindings.append(BindingView(2, "cell", 20, **cell))
    return MobileNodeView("mn", tuple(bindings), tuple(rows))


def moves(found: Any) -> list[tuple[int, int]]:
    return [(order.fid, order.bid) for order in found if isinstance(order, MoveFlow)]


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({}, "kind"),
        ({"kind": "best"}, "kind"),
        ({"kind": "nowhere.at_all:Policy"}, "kind"),
        ({"kind": "nodes.lma.policies.base:MoveFlow"}, "kind"),
        ({"kind": "link-quality"}, "access"),
        ({"kind": "link-quality", "access": "wlan", "leave_below": 120}, "leave_below"),
        ({"kind": "link-quality", "access": "wlan", "leave_below": 60}, "return_above"),
        ({"kind": "load-balance", "high": 50}, "high"),
        ({"kind": "traffic-class", "rules": [{**RULE, "fid": 0}]}, "fid"),
        ({"kind": "traffic-class", "rules": [{**RULE, "selector": {"dscp": 1}}]}, "selector.dscp"),
        ({"kind": "traffic-class", "rules": [{**RULE, "accesses": []}]}, "accesses"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], key: str) -> None:
    with pytest.raises(InputError) as caught:
        make_policy(settings, "mobile_nodes.mn.policies[0]", counted=True)
    assert key in str(caught.value)
    assert "mobile_nodes.mn.policies[0]" in str(caught.value)


def test_a_class_from_elsewhere_is_a_policy() -> None:
    named = make_policy({"kind": BUILT_IN["load-balance"], "high": 95}, "test", counted=True)
    assert moves(named.decide(node({"load": 94}, {"load": 1}, f1=1), 0.0)) == []
    assert moves(named.decide(node({"load": 96}, {"load": 1}, f1=1), 0.0)) == [(1, 2)]


def test_a_class_of_traffic_is_bound_to_its_first_access_that_is_there() -> None:
    static = policy("traffic-class", rules=[{**RULE, "accesses": ["wlan", "cell"]}])
    assert static.decide(node(), 0.0) == []
    (order,) = static.decide(node(cell={}), 0.0)
    assert isinstance(order, AddFlow)
    assert (order.entry.fid, order.entry.priority, order.entry.bids) == (9, 9, (2,))
    assert order.entry.selector == IPv6TrafficSelector(start_traffic_class=184)
    assert moves(static.decide(node({}, {}, f9=2), 1.0)) == [(9, 1)]
    assert static.decide(node({}, {}, f9=1), 2.0) == []


def test_flows_leave_a_bad_link_and_return_when_it_has_been_good() -> None:
    quality = policy("link-quality", access="wlan", leave_after_s=1.0, return_after_s=2.0)
    assert quality.decide(node({"quality": 31}, {}, f1=1, f2=2), 0.0) == ()
    assert quality.deadline() is None
    assert quality.decide(node({"quality": 29}, {}, f1=1, f2=2), 1.0) == ()
    assert quality.deadline() == 2.0
    assert moves(quality.decide(node({"quality": 20}, {}, f1=1, f2=2), 2.0)) == [(1, 2)]
    assert quality.decide(node({"quality": 45}, {}, f1=2, f2=2), 3.0) == ()
    assert quality.deadline() is None
    assert quality.decide(node({"quality": 51}, {}, f1=2, f2=2), 4.0) == ()
    assert quality.deadline() == 6.0
    assert moves(quality.decide(node({"quality": 70}, {}, f1=2, f2=2), 6.0)) == [(1, 1)]
    assert quality.decide(node({"quality": 70}, {}, f1=1, f2=2), 7.0) == ()


def test_a_quality_that_recovers_in_time_moves_nothing() -> None:
    quality = policy("link-quality", access="wlan", leave_after_s=1.0)
    quality.decide(node({"quality": 10}, {}, f1=1), 0.0)
    quality.decide(node({"quality": 40}, {}, f1=1), 0.5)
    assert quality.decide(node({"quality": 10}, {}, f1=1), 1.2) == ()
    assert quality.deadline() == 2.2


def test_a_flow_has_nowhere_to_go_without_another_access() -> None:
    quality = policy("link-quality", access="wlan")
    assert quality.decide(node({"quality": 10}, None, f1=1), 0.0) == []
    assert moves(quality.decide(node({"quality": 10}, {}, f1=1), 1.0)) == [(1, 2)]


@given(st.lists(st.tuples(st.floats(0.01, 3), st.integers(0, 100)), max_size=60))
def test_hysteresis_bounds_the_moves(course: list[tuple[float, int]]) -> None:
    """A flow comes back at most once every `return_after_s`, whatever the quality does."""
    quality = policy("link-quality", access="wlan", return_after_s=2.0)
    bid, now, returned = 1, 0.0, []
    for step, value in course:
        now += step
        for _, target in moves(quality.decide(node({"quality": value}, {}, f1=bid), now)):
            bid = target
            if target == 1:
                returned.append(now)
    gaps = [later - earlier for earlier, later in itertools.pairwise(returned)]
    assert all(gap >= 2.0 for gap in gaps)


def test_load_balance_moves_one_flow_and_waits() -> None:
    balance = policy("load-balance", settle_s=3.0)
    full = node({"load": 95}, {"load": 10}, f1=1, f2=1, f3=2)
    assert moves(balance.decide(full, 0.0)) == [(2, 2)]
    full = node({"load": 95}, {"load": 30}, f1=1, f2=2, f3=2)
    assert balance.decide(full, 1.0) == ()
    assert balance.deadline() == 3.0
    assert moves(balance.decide(full, 3.0)) == [(1, 2)]


@pytest.mark.parametrize(
    ("wlan", "cell"),
    [({"load": 90}, {"load": 0}), ({"load": 100}, {"load": 60}), ({}, {"load": 0}), ({}, None)],
)
def test_load_balance_leaves_alone_what_is_not_full_or_has_no_room(
    wlan: dict[str, int], cell: dict[str, int] | None
) -> None:
    assert policy("load-balance").decide(node(wlan, cell, f1=1), 0.0) == ()


@pytest.mark.parametrize("kind", ["load-balance", BUILT_IN["load-balance"]])
def test_capacities_need_switches_that_count_all_flows(kind: str) -> None:
    settings = {"kind": kind, "capacities": {"wlan": 1_000}}
    with pytest.raises(InputError, match=r'capacities is .* data_plane "sdn-core"'):
        make_policy(settings, "test", counted=False)
    assert make_policy({"kind": kind}, "test", counted=False)


def test_counted_octets_are_the_load_where_capacities_say_so() -> None:
    balance = policy("load-balance", capacities={"wlan": 1_000, "cell": 10_000}, settle_s=0)
    seen = node({"load": 10}, {"load": 95}, f1=1, f2=1, f3=2)
    assert moves(balance.decide(seen, 0)) == [(3, 1)]  # nothing is counted yet: as reported
    counted = dataclasses.replace(seen, rates={1: 500.0, 2: 450.0, 3: 100.0})
    assert moves(balance.decide(counted, 0)) == [(2, 2)]
    assert not balance.decide(dataclasses.replace(seen, rates={1: 500.0}), 0)
