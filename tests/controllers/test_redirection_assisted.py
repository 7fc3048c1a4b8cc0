"""The rules of docs/northbound.md in sdn-assisted: rules where the ways part."""

from __future__ import annotations

from functools import partial
from ipaddress import IPv6Address

import pytest

from controllers.rules import FLOWS, base_rules
from nodes.northbound import (
    AddFlow,
    MoveFlows,
)
from tests.controllers.fabrics import HOME, MAG1, MAG2, MAG3
from tests.controllers.model import World, flow, path, tunnelled
from tests.controllers.orders import Mags, answers, settle


def test_assisted_a_redirect_is_one_rule_where_the_ways_part(assisted: World) -> None:
    assert assisted.walk(tunnelled(MAG1, 7)) == ["mag1"]
    settle(assisted, MoveFlows(id=4, paths=(path(7, MAG2, anchor=MAG1),)))
    assert assisted.walk(tunnelled(MAG1, 7)) == ["mag2"]
    assert assisted.walk(tunnelled(MAG1, 8)) == ["mag1"]
    base = base_rules(assisted.fabric)
    more = {n: len(table) - len(base[n]) for n, table in assisted.tables().items()}
    assert more == {"s1": 0, "s2": 1, "s3": 0, "s4": 0}


def test_assisted_back_at_the_anchor_the_rule_goes(assisted: World) -> None:
    settle(assisted, MoveFlows(id=4, paths=(path(7, MAG2, anchor=MAG1),)))
    assisted.request(MoveFlows(id=5, paths=(path(7, MAG1, anchor=MAG1),)))
    assisted.deliver()
    assert answers(assisted) == [(5, True, None)]
    assert assisted.walk(tunnelled(MAG1, 7)) == ["mag1"]


def test_assisted_a_move_back_needs_the_switch_that_has_the_rule(assisted: World) -> None:
    settle(assisted, MoveFlows(id=4, paths=(path(7, MAG2, anchor=MAG1),)))
    assisted.disconnect("s2")
    assisted.request(MoveFlows(id=5, paths=(path(7, MAG1, anchor=MAG1),)))
    assert answers(assisted) == [(5, False, "switch s2 is not connected")]


def note(world: World, ways: list[list[str]]) -> None:
    ways.append(world.walk(tunnelled(MAG2, 8)))


def test_assisted_a_move_from_one_target_to_another_may_change_the_switch(assisted: World) -> None:
    settle(assisted, AddFlow(id=4, flow=flow(8, HOME, 90), path=path(8, MAG2, anchor=MAG2)))
    for number, target in enumerate((MAG1, MAG3, MAG1, MAG2), 5):
        before = assisted.walk(tunnelled(MAG2, 8))
        assisted.request(MoveFlows(id=number, paths=(path(8, target, anchor=MAG2),)))
        name = assisted.fabric.mag(target).name
        ways: list[list[str]] = []
        assisted.deliver(watch=partial(note, assisted, ways))
        assert answers(assisted) == [(number, True, None)]
        assert assisted.walk(tunnelled(MAG2, 8)) == [name]
        assert all(way in (before, [name]) for way in ways)
    assisted.wait(5)
    assert not any(r.table == FLOWS and r.priority for t in assisted.tables().values() for r in t)


def test_assisted_no_mag_gets_two_copies_when_the_ways_part_earlier(assisted: World) -> None:
    """A copy for the anchor must not meet the rule that made the whole way."""
    settle(assisted, AddFlow(id=4, flow=flow(8, HOME, 90), path=path(8, MAG3, anchor=MAG2)))
    ways: list[list[str]] = []
    assisted.request(MoveFlows(id=5, paths=(path(8, MAG1, MAG2, MAG3, anchor=MAG2),)))
    assisted.deliver(watch=partial(note, assisted, ways))
    assert ways[-1] == ["mag1", "mag2", "mag3"]
    assisted.request(MoveFlows(id=6, paths=(path(8, MAG3, anchor=MAG2),)))
    assisted.deliver(watch=partial(note, assisted, ways))
    assert ways[-1] == ["mag3"]
    assert all(way and len(set(way)) == len(way) for way in ways)


@pytest.mark.parametrize(
    ("before", "lost", "after"),
    [
        pytest.param(MAG3, "s4", (MAG1, MAG2, MAG3), id="farther, met by the anchor's own copy"),
        pytest.param(MAG1, "s2", (MAG3,), id="nearer, met by all packets"),
    ],
)
def test_assisted_a_move_needs_the_switch_whose_old_rule_its_packets_would_meet(
    assisted: World, before: IPv6Address, lost: str, after: Mags
) -> None:
    settle(assisted, AddFlow(id=4, flow=flow(8, HOME, 90), path=path(8, before, anchor=MAG2)))
    was = assisted.walk(tunnelled(MAG2, 8))
    assisted.disconnect(lost)
    assisted.request(MoveFlows(id=5, paths=(path(8, *after, anchor=MAG2),)))
    assisted.deliver()
    assert assisted.walk(tunnelled(MAG2, 8)) == was
    assert answers(assisted) == [(5, False, f"switch {lost} is not connected")]


def test_assisted_a_move_does_not_need_a_lost_switch_that_its_packets_no_longer_pass(
    assisted: World,
) -> None:
    settle(assisted, AddFlow(id=4, flow=flow(8, HOME, 90), path=path(8, MAG3, anchor=MAG2)))
    assisted.disconnect("s4")
    settle(assisted, MoveFlows(id=5, paths=(path(8, MAG1, anchor=MAG2),)))
    assert assisted.walk(tunnelled(MAG2, 8)) == ["mag1"]
