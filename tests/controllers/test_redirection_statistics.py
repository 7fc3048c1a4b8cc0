"""The rules of docs/northbound.md for counts of packets."""

from __future__ import annotations

from ipaddress import IPv6Network

import pytest

from controllers.config import Timers
from nodes.northbound import (
    AddFlow,
    Attach,
    MoveFlows,
    Statistics,
    Sync,
)
from tests.controllers.fabrics import HOME, MAG1, MAG2, description
from tests.controllers.model import World, default, flow, packet, path
from tests.controllers.orders import MN, Mags, settle


@pytest.fixture
def counting() -> World:
    world = World(description(), Timers(statistics_interval_ms=500))
    world.core.connected(1)
    world.connect()
    world.deliver()
    world.request(Sync(id=1, epoch=1, mode="sdn-core"))
    world.request(AddFlow(id=2, flow=flow(7, HOME, 80), path=path(7, MAG2)))
    world.deliver()
    world.events.clear()
    return world


def counts(world: World) -> list[tuple[Mags, int, int]]:
    found = [
        (count.mags, count.packets, count.octets)
        for event in world.events
        if isinstance(event, Statistics)
        for count in event.flows
        if count.key == 7
    ]
    world.events.clear()
    return found


def test_statistics_come_at_the_interval_while_the_lma_listens(counting: World) -> None:
    counting.walk(packet(MN, 80))
    counting.wait(1.1)
    assert counts(counting) == [((MAG2,), 1, 100), ((MAG2,), 1, 100)]
    counting.core.disconnected(1)
    counting.wait(5)
    assert counting.events == []
    assert counting.core.deadline() is None


def test_each_path_of_a_flow_has_a_count_of_its_own(counting: World) -> None:
    """Up to the last reading before a move packets are those of the old path."""
    counting.walk(packet(MN, 80))
    counting.wait(0.6)
    counting.walk(packet(MN, 80))
    counting.request(MoveFlows(id=3, paths=(path(7, MAG1),)))
    counting.deliver()
    counting.wait(0.5)
    counting.walk(packet(MN, 80))
    counting.wait(0.5)
    assert counts(counting) == [((MAG2,), 1, 100), ((MAG1,), 1, 100), ((MAG1,), 2, 200)]


def test_a_rule_that_is_there_anew_counts_from_nothing(counting: World) -> None:
    for _ in range(3):
        counting.walk(packet(MN, 80))
    counting.wait(0.6)
    counting.disconnect("s1")
    counting.switches["s1"].reset()
    counting.connect("s1")
    counting.deliver()
    counting.walk(packet(MN, 80))
    counting.wait(0.5)
    assert counts(counting) == [((MAG2,), 3, 300), ((MAG2,), 1, 100)]


def test_a_switch_that_does_not_answer_is_left_out(counting: World) -> None:
    counting.switches["s4"].mute = True
    counting.wait(4)
    assert [mags for mags, _, _ in counts(counting)] != []


def test_a_network_of_63_bits_is_both_its_prefixes(world: World) -> None:
    """Neighbouring prefixes of a node are one rule."""
    one, other = IPv6Network("2001:db8:b::/64"), IPv6Network("2001:db8:b:1::/64")
    both = flow(7, one, 80, prefixes=(one, other))
    settle(
        world,
        Attach(id=2, path=default(one, MAG1)),
        Attach(id=3, path=default(other, MAG1)),
    )
    world.request(AddFlow(id=4, flow=both, path=path(7, MAG2)))
    world.deliver(but=["s4"])
    assert world.walk(packet(one[1], 80)) == world.walk(packet(other[1], 80)) == ["mag1"]
    world.deliver()
    assert world.walk(packet(one[1], 80)) == world.walk(packet(other[1], 80)) == ["mag2"]
