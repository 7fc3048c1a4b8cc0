"""The rules of docs/northbound.md for requests: repeated, refused, overtaken."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from controllers.rules import base_rules, prefix_rules
from nodes.northbound import (
    AddFlow,
    Attach,
    Detach,
    ListFlows,
    MoveFlows,
    RemoveFlow,
    Sync,
)
from tests.controllers.fabrics import HOME, MAG1, MAG2, MAG3, OTHER_HOME, description
from tests.controllers.model import World, default, flow, packet, path, tunnelled
from tests.controllers.orders import MN, NO_SPI, answers, batches, settle, with_flow


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
