"""The rules of docs/northbound.md, one by one: default paths, and moves of flows."""

from __future__ import annotations

import pytest

from controllers.rules import FLOWS, base_rules, flow_rules, prefix_rules
from nodes.northbound import (
    AddFlow,
    Attach,
    Detach,
    MoveFlows,
    RemoveFlow,
    Sync,
)
from tests.controllers.fabrics import HOME, MAG1, MAG2, MAG3, description
from tests.controllers.model import World, default, flow, packet, path
from tests.controllers.orders import MN, answers, batches, settle, with_flow


def test_base_rules_when_a_switch_connects() -> None:
    world = World(description())
    world.connect()
    world.deliver()
    assert {n: set(r) for n, r in base_rules(world.fabric).items()} == world.tables()


def test_an_attached_prefix_has_a_default_path(world: World) -> None:
    settle(world, Attach(id=2, path=default(HOME, MAG1)))
    assert world.walk(packet(MN, 80)) == ["mag1"]


def test_a_default_path_is_answered_when_its_switches_have_confirmed(world: World) -> None:
    world.request(Attach(id=2, path=default(HOME, MAG1)))
    world.deliver(but=["s1"])
    assert answers(world) == []
    world.deliver()
    assert answers(world) == [(2, True, None)]


def test_a_prefix_without_mag_is_dropped_and_a_detached_one_has_no_rules(world: World) -> None:
    settle(world, Attach(id=2, path=default(HOME, None)))
    assert len(world.switches["s1"].table) == 1 + len(base_rules(world.fabric)["s1"])
    settle(world, Detach(id=3, prefix=HOME))
    assert {n: set(r) for n, r in base_rules(world.fabric).items()} == world.tables()


def test_what_a_detached_prefix_has_left_goes_when_packets_of_a_wider_one_meet_it(
    world: World,
) -> None:
    """It was to drain, and isn't only where no packet comes any more."""
    settle(world, Attach(id=2, path=default(HOME, MAG2)))
    world.request(Detach(id=3, prefix=HOME))
    world.deliver()
    wider = default(HOME.supernet(new_prefix=56), MAG3)
    world.request(Attach(id=4, path=wider))
    world.deliver()
    assert answers(world) == [(3, True, None), (4, True, None)]
    world.wait(5)
    assert world.walk(packet(MN, 80)) == ["mag3"]
    base, rules = base_rules(world.fabric), prefix_rules(world.fabric, wider)
    assert world.tables() == {n: {*base[n], *rules.get(n, ())} for n in base}


def test_in_mode_tunnel_there_are_base_rules_only(world: World) -> None:
    with_flow(world)
    settle(world, Sync(id=4, epoch=1, mode="tunnel", prefixes=(default(HOME, MAG1),)))
    settle(world, AddFlow(id=5, flow=flow(7, HOME, 80), path=path(7, MAG2)))
    assert {n: set(r) for n, r in base_rules(world.fabric).items()} == world.tables()


def test_a_move_makes_the_far_end_first_then_the_switch_where_the_ways_part(world: World) -> None:
    with_flow(world)
    world.request(MoveFlows(id=4, paths=(path(7, MAG2),)))
    assert batches(world) == [("s1", []), ("s2", []), ("s4", ["add"])]
    world.deliver(but=["s4"])
    assert batches(world) == [("s4", ["add"])]
    assert world.walk(packet(MN, 80)) == ["mag1"]
    world.switches["s4"].process()
    world.answer("s4")
    assert batches(world) == [("s2", ["modify"])]
    assert answers(world) == []
    world.switches["s2"].process()
    assert world.walk(packet(MN, 80)) == ["mag2"]
    world.answer("s2")
    assert answers(world) == [(4, True, None)]


def test_a_move_is_answered_when_every_switch_of_its_path_has_confirmed(world: World) -> None:
    """Also those whose rules stay as they are."""
    with_flow(world)
    world.request(MoveFlows(id=4, paths=(path(7, MAG2),)))
    world.deliver(but=["s1"])
    assert world.walk(packet(MN, 80)) == ["mag2"]
    assert answers(world) == []
    world.deliver()
    assert answers(world) == [(4, True, None)]


def test_the_old_path_stays_until_it_has_drained(world: World) -> None:
    with_flow(world)
    world.request(MoveFlows(id=4, paths=(path(7, MAG2),)))
    world.deliver()
    before = len(world.switches["s3"].table)
    world.wait(0.99)
    assert len(world.switches["s3"].table) == before
    world.wait(0.02)
    assert len(world.switches["s3"].table) == before - 1


def test_a_flow_that_returns_while_its_old_path_drains(world: World) -> None:
    with_flow(world)
    world.request(MoveFlows(id=4, paths=(path(7, MAG2),)))
    world.deliver()
    world.request(MoveFlows(id=5, paths=(path(7, MAG1),)))
    assert batches(world) == [("s2", ["modify"])] + [(name, []) for name in ()] or (
        "s2",
        ["modify"],
    ) in batches(world)
    world.deliver()
    world.wait(5)
    assert world.walk(packet(MN, 80)) == ["mag1"]
    tables = world.tables()
    assert not any(rule.table == FLOWS and rule.priority for rule in tables["s4"])


def test_a_new_flow_does_not_catch_packets_before_its_way_is_there(world: World) -> None:
    settle(world, Attach(id=2, path=default(HOME, MAG1)))
    world.request(AddFlow(id=3, flow=flow(7, HOME, 80), path=path(7, MAG2)))
    world.deliver(but=["s4"])
    assert world.walk(packet(MN, 80)) == ["mag1"]
    world.deliver()
    assert world.walk(packet(MN, 80)) == ["mag2"]
    assert world.walk(packet(MN, 81)) == ["mag1"]


def test_a_removed_flow_takes_the_default_path(world: World) -> None:
    with_flow(world, MAG2)
    world.request(RemoveFlow(id=4, key=7))
    world.deliver()
    assert answers(world) == [(4, True, None)]
    assert world.walk(packet(MN, 80)) == ["mag1"]
    world.wait(5)
    assert not any(r.table == FLOWS and r.priority for t in world.tables().values() for r in t)


def test_a_flow_without_mags_takes_the_default_path_and_stays_known(world: World) -> None:
    with_flow(world, MAG2)
    settle(world, MoveFlows(id=4, paths=(path(7),)))
    assert world.walk(packet(MN, 80)) == ["mag1"]
    settle(world, MoveFlows(id=5, paths=(path(7, MAG3),)))
    assert world.walk(packet(MN, 80)) == ["mag3"]


def test_several_mags_get_a_copy_each(world: World) -> None:
    with_flow(world)
    settle(world, MoveFlows(id=4, paths=(path(7, MAG1, MAG2, MAG3),)))
    assert world.walk(packet(MN, 80)) == ["mag1", "mag2", "mag3"]
    settle(world, MoveFlows(id=5, paths=(path(7, MAG3),)))
    assert world.walk(packet(MN, 80)) == ["mag3"]


def test_a_flow_to_drop_ends_at_the_first_switch(world: World) -> None:
    settle(
        world,
        Attach(id=2, path=default(HOME, MAG1)),
        AddFlow(id=3, flow=flow(7, HOME, 80, action="drop"), path=path(7, MAG1)),
    )
    assert world.walk(packet(MN, 80)) == []
    assert [n for n, t in world.tables().items() if any(r.priority > 60_000 for r in t)] == ["s1"]


def test_all_flows_of_a_move_are_one_batch_to_each_switch(world: World) -> None:
    flows = [flow(key, HOME, 1_000 + key) for key in range(1, 11)]
    settle(world, *(AddFlow(id=k + 1, flow=f, path=path(k, MAG1)) for k, f in enumerate(flows, 1)))
    for switch in world.switches.values():
        switch.received.clear()
    world.request(MoveFlows(id=20, paths=tuple(path(f.key, MAG2) for f in flows)))
    world.deliver()
    assert answers(world) == [(20, True, None)]
    sent = {
        n: [len(message.changes) for message in switch.received]
        for n, switch in world.switches.items()
    }
    assert sent == {"s1": [0], "s2": [0, 10], "s3": [], "s4": [10]}


def test_a_move_changes_only_its_own_rules(world: World) -> None:
    flows = [flow(key, HOME, 1_000 + key) for key in range(1, 21)]
    settle(world, *(AddFlow(id=k + 1, flow=f, path=path(k, MAG1)) for k, f in enumerate(flows, 1)))
    before = world.tables()
    settle(world, MoveFlows(id=40, paths=(path(5, MAG2),)))
    cookies = {r.cookie & 0xFFFF_FFFF for n in before for r in before[n] ^ world.tables()[n]}
    assert cookies == {5}


def test_a_flow_whose_packets_and_way_change_takes_the_way_first(world: World) -> None:
    with_flow(world)
    wide = flow(7, HOME, 80, 95)
    world.request(AddFlow(id=4, flow=wide, path=path(7, MAG2)))
    one_by_one(world, (["mag1"], ["mag2"]), 80)
    assert answers(world) == [(4, True, None)]
    assert world.walk(packet(MN, 95)) == ["mag2"]
    world.wait(5)
    expected = flow_rules(world.fabric, wide, (MAG2,))
    for name, table in world.tables().items():
        assert {r for r in table if r.table == FLOWS and r.priority} == set(expected.get(name, ()))


def one_by_one(world: World, allowed: tuple[list[str], ...], port: int) -> None:
    """Each message takes effect on its own, and packets go one of these ways all the while."""
    assert world.walk(packet(MN, port)) in allowed
    while any(switch.inbox for switch in world.switches.values()):
        for switch in world.switches.values():
            if switch.inbox:
                switch.process()
                assert world.walk(packet(MN, port)) in allowed
                while switch.outbox:
                    world.answer(switch.name)


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_move_overtakes_a_new_selector_of_its_flow(world: World, confirmed: bool) -> None:
    """The one who asked for the selector is told that it isn't in force; a switch that has rules
    for both must not choose between two ways."""
    settle(world, Attach(id=2, path=default(HOME, MAG1)))
    settle(world, AddFlow(id=3, flow=flow(7, HOME, 80, 95), path=path(7, MAG1)))
    world.request(AddFlow(id=4, flow=flow(7, HOME, 88), path=path(7, MAG1)))
    for name in ("s1", "s2", "s3") if confirmed else ():
        world.switches[name].process()
        world.answer(name)
    world.request(MoveFlows(id=5, paths=(path(7, MAG2),)))
    one_by_one(world, (["mag1"], ["mag2"]), 88)
    assert answers(world) == [(4, False, "superseded by request 5"), (5, True, None)]
    world.wait(5)
    expected = flow_rules(world.fabric, flow(7, HOME, 80, 95), (MAG2,))
    for name, table in world.tables().items():
        assert {r for r in table if r.table == FLOWS and r.priority} == set(expected.get(name, ()))


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_selector_overtakes_another_one_of_its_flow(world: World, confirmed: bool) -> None:
    settle(world, Attach(id=2, path=default(HOME, MAG1)))
    settle(world, AddFlow(id=3, flow=flow(7, HOME, 80, 95), path=path(7, MAG1)))
    world.request(AddFlow(id=4, flow=flow(7, HOME, 88), path=path(7, MAG1)))
    for name in ("s1", "s2", "s3") if confirmed else ():
        world.switches[name].process()
        world.answer(name)
    world.request(AddFlow(id=5, flow=flow(7, HOME, 88, 89), path=path(7, MAG2)))
    one_by_one(world, (["mag1"], ["mag2"]), 88)
    assert answers(world) == [(4, False, "superseded by request 5"), (5, True, None)]
    assert world.walk(packet(MN, 89)) == ["mag2"]
    assert world.walk(packet(MN, 90)) == ["mag1"]


def over_another_one(world: World) -> None:
    """Flow 7 has some packets of flow 8, which takes the same way; all others go to MAG 2."""
    settle(
        world,
        Attach(id=2, path=default(HOME, MAG2)),
        AddFlow(id=3, flow=flow(7, HOME, 80, 95), path=path(7, MAG1)),
        AddFlow(id=4, flow=flow(8, HOME, 88), path=path(8, MAG1)),
    )


@pytest.mark.parametrize("port", [80, 88])
def test_a_removed_flow_loses_no_packet_where_another_one_stays(world: World, port: int) -> None:
    """Its rules go where packets come first, and last where some of them would find none."""
    over_another_one(world)
    world.request(RemoveFlow(id=5, key=7))
    one_by_one(world, (["mag1"], ["mag2"]), port)
    assert world.walk(packet(MN, port)) == [{80: "mag2", 88: "mag1"}[port]]
    world.wait(5)
    assert not any(r.cookie & 0xFFFF == 7 for table in world.tables().values() for r in table)


@pytest.mark.parametrize("confirmed", [False, True])
def test_rules_of_a_removed_flow_stay_behind_a_lost_switch(world: World, confirmed: bool) -> None:
    over_another_one(world)
    world.request(RemoveFlow(id=5, key=7))
    if not confirmed:
        world.disconnect("s2")
    one_by_one(world, (["mag1"], ["mag2"]), 80)
    world.disconnect("s2")
    world.wait(60)
    assert world.walk(packet(MN, 80)) == [["mag1"], ["mag2"]][confirmed]
    world.connect("s2")
    one_by_one(world, (["mag1"], ["mag2"]), 80)
    world.wait(5)
    assert world.walk(packet(MN, 80)) == ["mag2"]
    assert not any(r.cookie & 0xFFFF == 7 for table in world.tables().values() for r in table)


def test_what_a_lost_switch_sends_to_leftovers_still_finds_them(world: World) -> None:
    """The rules of a flow that has been removed, of which one is in a switch that is away."""
    settle(
        world,
        Attach(id=2, path=default(HOME, MAG1)),
        AddFlow(id=3, flow=flow(7, HOME, 80, 95), path=path(7, MAG2)),
        AddFlow(id=4, flow=flow(8, HOME, 88), path=path(8, MAG1)),
    )
    world.disconnect("s2")
    for request in (RemoveFlow(id=5, key=7), RemoveFlow(id=6, key=8)):
        world.request(request)
        one_by_one(world, (["mag2"],), 88)
        world.wait(5)
        assert world.walk(packet(MN, 88)) == ["mag2"]
    world.connect("s2")
    one_by_one(world, (["mag1"], ["mag2"]), 88)
    assert world.walk(packet(MN, 88)) == ["mag1"]
    world.wait(5)
    assert not any(r.table == FLOWS and r.priority for t in world.tables().values() for r in t)
