"""The rules of docs/northbound.md when switches, barriers or an end are lost, or come anew."""

from __future__ import annotations

from controllers.config import Timers
from controllers.rules import FLOWS, base_rules, flow_rules, prefix_rules
from nodes.northbound import (
    AddFlow,
    Attach,
    MoveFlows,
    RemoveFlow,
    Switches,
    Sync,
)
from tests.controllers.fabrics import HOME, MAG1, MAG2, MAG3, OTHER_HOME, description
from tests.controllers.model import World, default, flow, packet, path
from tests.controllers.orders import MN, answers, batches, settle, with_flow


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
