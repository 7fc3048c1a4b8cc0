"""The rules of docs/northbound.md, one by one."""

from __future__ import annotations

from functools import partial
from ipaddress import IPv6Address, IPv6Network

import pytest

from controllers.actions import SendRules
from controllers.config import Timers
from controllers.rules import FLOWS, base_rules, flow_rules, prefix_rules
from nodes.northbound import (
    AddFlow,
    Attach,
    Detach,
    ListFlows,
    MoveFlows,
    RemoveFlow,
    Reply,
    Statistics,
    Switches,
    Sync,
)
from tests.controllers.fabrics import HOME, MAG1, MAG2, MAG3, OTHER_HOME, description
from tests.controllers.model import World, default, flow, packet, path, tunnelled

MN = HOME[1]
Mags = tuple[IPv6Address, ...]
NO_SPI = "OpenFlow 1.3 has no such field; expected a selector without SPI"


@pytest.fixture
def world() -> World:
    """All switches ready, the LMA has said that there is nothing."""
    world = World(description())
    world.core.connected(1)
    world.connect()
    world.deliver()
    world.request(Sync(id=1, epoch=1, mode="sdn-core"))
    assert world.replies == [(1, Reply(id=1, ok=True, result={"lost": []}))]
    world.replies.clear()
    return world


def answers(world: World) -> list[tuple[int, bool, str | None]]:
    found = [(reply.id, reply.ok, reply.error) for _, reply in world.replies]
    world.replies.clear()
    return found


def settle(world: World, *requests: object) -> None:
    for request in requests:
        world.request(request)  # type: ignore[arg-type]
        world.deliver()
    world.wait(5)
    assert all(ok for _, ok, _ in answers(world))


def batches(world: World) -> list[tuple[str, list[str]]]:
    """What has been sent and not been processed, with the commands."""
    return [
        (name, [str(change.command) for change in message.changes])
        for name, switch in world.switches.items()
        for message in switch.inbox
        if isinstance(message, SendRules)
    ]


def with_flow(world: World, mag: IPv6Address = MAG1) -> None:
    settle(
        world,
        Attach(id=2, path=default(HOME, MAG1)),
        AddFlow(id=3, flow=flow(7, HOME, 80), path=path(7, mag)),
    )


# Base rules and default paths


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


# Order of a change


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


# sdn-assisted


@pytest.fixture
def assisted(world: World) -> World:
    settle(world, Sync(id=2, epoch=1, mode="sdn-assisted", prefixes=(default(HOME, MAG1),)))
    added = AddFlow(id=3, flow=flow(7, HOME, 80), path=path(7, MAG1, anchor=MAG1))
    settle(world, added)
    return world


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


# Requests


def test_a_repeated_request_has_the_same_answer_and_changes_nothing(world: World) -> None:
    with_flow(world)
    move = MoveFlows(id=4, paths=(path(7, MAG2),))
    world.request(move)
    world.request(move)
    world.deliver()
    assert answers(world) == [(4, True, None)]
    for switch in world.switches.values():
        switch.received.clear()
    world.request(move)
    assert answers(world) == [(4, True, None)]
    assert not any(switch.inbox or switch.received for switch in world.switches.values())


def test_a_request_repeated_on_a_new_connection_is_answered_there(world: World) -> None:
    with_flow(world)
    move = MoveFlows(id=4, paths=(path(7, MAG2),))
    world.request(move)
    world.core.disconnected(1)
    world.core.connected(2)
    world.deliver()
    assert world.replies == []
    sync = Sync(
        id=5,
        epoch=1,
        mode="sdn-core",
        prefixes=(default(HOME, MAG1),),
        flows=(flow(7, HOME, 80),),
        paths=(path(7, MAG2),),
    )
    world.request(sync, 2)
    world.request(move, 2)
    assert [(c, r.id, r.ok) for c, r in world.replies] == [(2, 5, True), (2, 4, True)]


def test_an_id_is_not_used_twice(world: World) -> None:
    world.request(Detach(id=3, prefix=HOME))
    world.request(Detach(id=3, prefix=OTHER_HOME))
    world.request(Detach(id=2, prefix=OTHER_HOME))
    assert answers(world) == [
        (3, True, None),
        (3, False, "id is 3, which another request had; expected a new one"),
        (2, False, "id is 2; expected one above 3"),
    ]


def test_a_new_epoch_has_ids_of_its_own(world: World) -> None:
    world.request(Sync(id=1, epoch=2, mode="sdn-core"))
    world.request(Attach(id=2, path=default(HOME, MAG1)))
    world.deliver()
    assert answers(world) == [(1, True, None), (2, True, None)]


def test_sync_is_the_first_request_of_a_connection(world: World) -> None:
    world.core.connected(2)
    world.request(Detach(id=9, prefix=HOME), 2)
    (answer,) = world.replies
    assert answer[0] == 2
    assert answer[1].error is not None
    assert answer[1].error.startswith("sync: another connection has sent one since")
    assert World(description()).replies == []


def test_without_any_sync_the_error_says_so() -> None:
    world = World(description())
    world.core.connected(1)
    world.request(Detach(id=9, prefix=HOME))
    assert answers(world) == [(9, False, "sync: expected as the first request of a connection")]


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (
            MoveFlows(id=9, paths=(path(8, MAG2),)),
            "paths has flow 8, which has not been added",
        ),
        (
            MoveFlows(id=9, paths=(path(7, MAG2), path(7, MAG1))),
            "paths has flow 7 twice; expected one path of each",
        ),
        (
            MoveFlows(id=9, paths=(path(7, IPv6Address("2001:db8::9")),)),
            "flow 7: no node of the fabric has the address 2001:db8::9",
        ),
        (
            AddFlow(id=9, flow=flow(8, HOME, 80), path=path(7, MAG1)),
            "path.key is 7; expected 8, that of flow.key",
        ),
        (
            AddFlow(id=9, flow=flow(8, HOME, 80, priority=17), path=path(8, MAG1)),
            "flow 8 has priority and selector of flow 7; expected another priority or selector",
        ),
        (
            AddFlow(
                id=9,
                flow=flow(8, HOME, 80, selector={"start_spi": 5}),
                path=path(8, MAG1),
            ),
            f"flow 8: selector.start_spi is 5; {NO_SPI}",
        ),
        (
            AddFlow(id=9, flow=flow(8, HOME, 80, selector={"start_spi": 5}), path=path(8)),
            f"flow 8: selector.start_spi is 5; {NO_SPI}",
        ),
        (
            AddFlow(
                id=9,
                flow=flow(8, HOME, 80, selector={"start_spi": 5}, prefixes=()),
                path=path(8),
            ),
            f"flow 8: selector.start_spi is 5; {NO_SPI}",
        ),
        (
            AddFlow(id=9, flow=flow(7, HOME, 80, selector={"start_spi": 5}), path=path(7)),
            f"flow 7: selector.start_spi is 5; {NO_SPI}",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(
    world: World, request_: MoveFlows | AddFlow, error: str
) -> None:
    with_flow(world)
    before = world.tables()
    world.request(request_)
    assert answers(world) == [(9, False, error)]
    assert not any(switch.inbox for switch in world.switches.values())
    assert world.tables() == before


def test_assisted_any_selector_will_do(assisted: World) -> None:
    """There, switches match the label that the LMA gives the flow."""
    added = flow(8, HOME, 80, selector={"start_spi": 5})
    settle(assisted, AddFlow(id=4, flow=added, path=path(8, MAG2, anchor=MAG1)))
    assert assisted.walk(tunnelled(MAG1, 8)) == ["mag2"]


def test_all_flows_of_a_move_or_none(world: World) -> None:
    with_flow(world)
    world.request(MoveFlows(id=4, paths=(path(7, MAG2), path(8, MAG2))))
    assert [ok for _, ok, _ in answers(world)] == [False]
    world.deliver()
    assert world.walk(packet(MN, 80)) == ["mag1"]


def test_the_newest_request_for_a_flow_wins(world: World) -> None:
    with_flow(world)
    world.request(MoveFlows(id=4, paths=(path(7, MAG2),)))
    world.request(MoveFlows(id=5, paths=(path(7, MAG3),)))
    assert answers(world) == [(4, False, "superseded by request 5")]
    world.deliver()
    assert answers(world) == [(5, True, None)]
    assert world.walk(packet(MN, 80)) == ["mag3"]


def test_of_a_move_of_several_flows_the_rest_goes_on(world: World) -> None:
    with_flow(world)
    settle(world, AddFlow(id=4, flow=flow(8, HOME, 90), path=path(8, MAG1)))
    world.request(MoveFlows(id=5, paths=(path(7, MAG2), path(8, MAG2))))
    world.request(MoveFlows(id=6, paths=(path(8, MAG3),)))
    world.deliver()
    assert sorted((r.id, r.ok, r.result) for _, r in world.replies) == [
        (5, True, {"superseded": {"8": 6}}),
        (6, True, None),
    ]
    assert world.walk(packet(MN, 80)) == ["mag2"]
    assert world.walk(packet(MN, 90)) == ["mag3"]


def test_a_flow_that_is_removed_while_it_moves(world: World) -> None:
    with_flow(world)
    world.request(MoveFlows(id=4, paths=(path(7, MAG2),)))
    world.request(RemoveFlow(id=5, key=7))
    world.deliver()
    assert answers(world) == [(4, False, "superseded by request 5"), (5, True, None)]
    world.wait(5)
    expected = {n: set(r) for n, r in base_rules(world.fabric).items()}
    for name, rules in prefix_rules(world.fabric, default(HOME, MAG1)).items():
        expected[name] |= set(rules)
    assert world.tables() == expected


def test_changes_of_one_prefix_wait_for_each_other_and_moves_do_not(world: World) -> None:
    """A packet that falls out of one flow may fall into another that is half built."""
    with_flow(world)
    settle(world, AddFlow(id=4, flow=flow(8, HOME, 90), path=path(8, MAG1)))
    world.request(Attach(id=5, path=default(HOME, MAG2)))
    first = batches(world)
    world.request(AddFlow(id=6, flow=flow(9, HOME, 100), path=path(9, MAG3)))
    assert batches(world) == first
    world.deliver()
    assert answers(world) == [(5, True, None), (6, True, None)]
    world.request(MoveFlows(id=7, paths=(path(7, MAG2),)))
    first = batches(world)
    world.request(MoveFlows(id=8, paths=(path(8, MAG2),)))
    assert len(batches(world)) > len(first)


def test_list_flows_has_the_rules_by_flow_and_switch(world: World) -> None:
    with_flow(world, MAG2)
    world.request(ListFlows(id=1), 5)
    world.deliver()
    ((connection, reply),) = world.replies
    assert connection == 5
    (listed,) = reply.result["flows"]
    assert (listed["key"], listed["mags"], listed["state"]) == (7, [str(MAG2)], "in force")
    assert [rule["switch"] for rule in listed["rules"]] == ["s1", "s2", "s4"]
    assert listed["rules"][0]["match"]["udp_dst"] == 80
    assert listed["rules"][2]["actions"][-1] == "output:2"
    assert (reply.result["old"], reply.result["unknown"]) == ([], [])


# Switches


def test_a_request_that_needs_a_lost_switch_fails(world: World) -> None:
    with_flow(world)
    world.disconnect("s4")
    world.request(MoveFlows(id=4, paths=(path(7, MAG2),)))
    assert answers(world) == [(4, False, "switch s4 is not connected")]
    assert world.walk(packet(MN, 80)) == ["mag1"]


def test_a_switch_that_is_lost_during_a_move_takes_it_back(world: World) -> None:
    with_flow(world)
    world.request(MoveFlows(id=4, paths=(path(7, MAG2),)))
    world.deliver(but=["s2"])
    world.disconnect("s2")
    error = "switch s2 is lost: its connection has ended"
    assert answers(world) == [(4, False, error)]
    world.deliver()
    world.wait(5)
    assert world.walk(packet(MN, 80)) == ["mag1"]


def test_the_far_end_stays_while_it_is_not_known_whether_packets_come(world: World) -> None:
    with_flow(world)
    world.request(MoveFlows(id=4, paths=(path(7, MAG2),)))
    world.deliver(but=["s2"])
    world.switches["s2"].process()
    world.switches["s2"].outbox.clear()
    world.deliver(but=["s2"])
    world.switches["s2"].process()
    world.disconnect("s2")
    assert world.walk(packet(MN, 80)) == ["mag2"]
    world.wait(60)
    assert world.walk(packet(MN, 80)) == ["mag2"]
    world.connect("s2")
    world.deliver()
    assert world.walk(packet(MN, 80)) == ["mag1"]
    world.wait(5)
    assert not any(r.table == FLOWS and r.priority for r in world.tables()["s4"])


def test_a_far_end_that_no_packet_can_come_to_goes_while_the_lost_switch_is_away(
    world: World,
) -> None:
    with_flow(world)
    world.request(MoveFlows(id=4, paths=(path(7, MAG2),)))
    world.disconnect("s2")
    world.deliver()
    world.wait(5)
    assert world.walk(packet(MN, 80)) == ["mag1"]
    assert not any(r.table == FLOWS and r.priority for r in world.tables()["s4"])


def test_the_old_path_stays_while_it_is_not_known_whether_packets_take_it(world: World) -> None:
    settle(
        world,
        Attach(id=2, path=default(HOME, MAG3)),
        AddFlow(id=3, flow=flow(7, HOME, 80), path=path(7, MAG1)),
    )
    world.request(MoveFlows(id=4, paths=(path(7, MAG2),)))
    world.switches["s2"].process()
    world.answer("s2")
    world.deliver(but=["s2"])
    assert ("s2", ["modify"]) in batches(world)
    world.disconnect("s2")
    world.request(RemoveFlow(id=5, key=7))
    world.deliver()
    world.wait(60)
    assert world.walk(packet(MN, 80)) == ["mag1"]
    world.connect("s2")
    world.deliver()
    world.wait(5)
    assert world.walk(packet(MN, 80)) == ["mag3"]


def test_a_barrier_that_is_late_is_asked_for_again(world: World) -> None:
    with_flow(world)
    world.switches["s4"].mute = True
    world.request(MoveFlows(id=4, paths=(path(7, MAG2),)))
    world.deliver()
    world.wait(1.5)
    assert answers(world) == []
    world.switches["s4"].mute = False
    world.wait(1)
    assert answers(world) == [(4, True, None)]
    assert [len(m.changes) for m in world.switches["s4"].received[-3:]] == [1, 0, 0]


def test_a_barrier_that_never_comes_takes_the_request_back(world: World) -> None:
    with_flow(world)
    world.switches["s4"].mute = True
    world.request(MoveFlows(id=4, paths=(path(7, MAG2),)))
    world.deliver()
    world.wait(3.5)
    assert answers(world) == [(4, False, "switch s4 is lost: it doesn't answer")]
    assert not world.switches["s4"].connected
    assert world.walk(packet(MN, 80)) == ["mag1"]
    world.switches["s4"].mute = False
    world.connect("s4")
    world.deliver()
    world.wait(5)
    assert not any(r.table == FLOWS and r.priority for r in world.tables()["s4"])


def test_a_rule_that_is_refused_takes_the_request_back(world: World) -> None:
    with_flow(world)
    world.switches["s4"].full = True
    world.request(MoveFlows(id=4, paths=(path(7, MAG2),)))
    world.deliver()
    assert answers(world) == [(4, False, "switch s4 refused a rule: table full")]
    world.wait(10)
    assert world.walk(packet(MN, 80)) == ["mag1"]
    world.switches["s4"].full = False
    settle(world, MoveFlows(id=5, paths=(path(7, MAG2),)))
    assert world.walk(packet(MN, 80)) == ["mag2"]


def test_a_refused_rule_of_a_returning_switch_is_tried_again_later(world: World) -> None:
    with_flow(world, MAG2)
    s4 = world.switches["s4"]
    world.disconnect("s4")
    s4.reset()
    s4.full = True
    world.connect("s4")
    world.deliver()
    assert len(s4.received) < 20
    world.wait(3)
    s4.full = False
    world.wait(10)
    assert world.walk(packet(MN, 80)) == ["mag2"]


def test_a_switch_with_an_empty_table_gets_all_its_rules(world: World) -> None:
    with_flow(world, MAG2)
    before = world.tables()
    for name in world.switches:
        world.disconnect(name)
        world.switches[name].reset()
    world.connect()
    world.deliver()
    world.wait(5)
    assert world.tables() == before


def test_a_switch_with_a_stale_table_is_set_right(world: World) -> None:
    with_flow(world)
    old = world.switches["s4"].table
    settle(world, MoveFlows(id=4, paths=(path(7, MAG2),)))
    right = world.tables()
    world.disconnect("s4")
    world.switches["s4"].reset(old)
    world.connect("s4")
    world.deliver()
    world.wait(5)
    assert world.tables() == right


def test_a_switch_whose_table_is_right_is_sent_nothing(world: World) -> None:
    with_flow(world)
    world.disconnect("s2")
    world.switches["s2"].received.clear()
    world.connect("s2")
    world.deliver()
    world.wait(5)
    assert world.switches["s2"].received == []


def test_a_removed_flow_goes_from_a_switch_that_was_away(world: World) -> None:
    with_flow(world)
    world.disconnect("s3")
    world.request(RemoveFlow(id=4, key=7))
    world.deliver()
    assert answers(world) == [(4, True, None)]
    world.connect("s3")
    world.deliver()
    world.wait(5)
    assert not any(r.table == FLOWS and r.priority for t in world.tables().values() for r in t)


def test_a_request_waits_for_switches_when_the_controller_has_just_started() -> None:
    world = World(description())
    world.core.connected(1)
    world.request(Sync(id=1, epoch=1, mode="sdn-core"))
    world.request(Attach(id=2, path=default(HOME, MAG1)))
    world.wait(1)
    assert answers(world) == []
    world.connect()
    world.deliver()
    assert answers(world) == [(1, True, None), (2, True, None)]


def test_a_switch_that_never_connects_is_lost() -> None:
    world = World(description(), Timers(connect_timeout_ms=2_000))
    world.core.connected(1)
    world.connect("s1", "s2", "s3")
    world.request(Sync(id=1, epoch=1, mode="sdn-core"))
    world.request(Attach(id=2, path=default(HOME, MAG2)))
    world.request(Attach(id=3, path=default(OTHER_HOME, MAG1)))
    world.deliver()
    world.wait(3)
    assert answers(world) == [
        (2, False, "switch s4 is lost: it has not connected"),
        (1, True, None),
        (3, True, None),
    ]


def test_announcements_say_which_switches_are_ready(world: World) -> None:
    with_flow(world, MAG2)
    world.events.clear()
    world.disconnect("s4")
    assert world.events == [Switches(ready=("s1", "s2", "s3"), lost=("s4",))]
    world.events.clear()
    world.switches["s4"].reset()
    world.connect("s4")
    world.switches["s4"].process()
    world.answer("s4")
    assert world.events == [Switches(ready=("s1", "s2", "s3"), lost=())]
    world.deliver()
    assert world.events[1:] == [Switches(ready=("s1", "s2", "s3", "s4"), lost=())]


# A controller that starts anew


def test_before_the_lma_has_spoken_flows_stay_as_they_are(world: World) -> None:
    with_flow(world, MAG2)
    before = world.tables()
    world.restart()
    world.connect()
    world.deliver()
    world.wait(60)
    assert world.tables() == before


def test_after_a_restart_leftovers_go_when_the_new_paths_are_there(world: World) -> None:
    with_flow(world, MAG2)
    settle(world, AddFlow(id=4, flow=flow(8, HOME, 90), path=path(8, MAG2)))
    world.restart()
    world.core.connected(1)
    world.connect()
    world.deliver()
    new = flow(8, HOME, 90)
    sync = Sync(
        id=1,
        epoch=2,
        mode="sdn-core",
        prefixes=(default(HOME, MAG1),),
        flows=(new,),
        paths=(path(8, MAG3),),
    )
    world.request(sync)
    world.deliver(but=["s4"])
    assert world.walk(packet(MN, 80)) == ["mag2"]
    assert world.walk(packet(MN, 90)) == ["mag2"]
    world.deliver()
    assert answers(world) == [(1, True, None)]
    assert world.walk(packet(MN, 80)) == ["mag1"]
    assert world.walk(packet(MN, 90)) == ["mag3"]
    world.wait(5)
    expected = {n: set(r) for n, r in base_rules(world.fabric).items()}
    for rules in (
        prefix_rules(world.fabric, default(HOME, MAG1)),
        flow_rules(world.fabric, new, (MAG3,)),
    ):
        for name, here in rules.items():
            expected[name] |= set(here)
    assert world.tables() == expected


def test_a_sync_leaves_out_what_openflow_cannot_express(world: World) -> None:
    bad = flow(7, HOME, 80, selector={"start_spi": 5})
    sync = Sync(
        id=2,
        epoch=1,
        mode="sdn-core",
        prefixes=(default(HOME, MAG1),),
        flows=(bad, flow(8, HOME, 90)),
        paths=(path(7, MAG2), path(8, MAG2)),
    )
    world.request(sync)
    world.deliver()
    ((_, reply),) = world.replies
    assert reply.ok
    assert list(reply.result["refused"]) == ["7"]
    assert "selector.start_spi" in reply.result["refused"]["7"]
    assert world.walk(packet(MN, 90)) == ["mag2"]


# Statistics


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
