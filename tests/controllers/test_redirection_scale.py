"""1,000 flows of 100 mobile nodes in the tables: what a move costs then."""

from __future__ import annotations

from ipaddress import IPv6Network

import pytest

from nodes.northbound import MoveFlows, Sync
from tests.controllers.fabrics import MAG1, MAG2, description
from tests.controllers.model import World, default, flow, packet, path

NODES, FLOWS_OF_A_NODE = 100, 10
PREFIXES = [IPv6Network((0x20010DB8_AAAA_0000 + node << 64, 64)) for node in range(NODES)]
FLOWS = [
    flow(
        1 + node * FLOWS_OF_A_NODE + number,
        PREFIXES[node],
        5_000 + number,
        mn=f"mn{node}",
        fid=number + 1,
        priority=number + 1,
    )
    for node in range(NODES)
    for number in range(FLOWS_OF_A_NODE)
]
OF_ONE_NODE = FLOWS[420:430]


@pytest.fixture(scope="module")
def world() -> World:
    world = World(description())
    world.core.connected(1)
    world.connect()
    world.deliver()
    sync = Sync(
        id=1,
        epoch=1,
        mode="sdn-core",
        prefixes=tuple(default(prefix, MAG1) for prefix in PREFIXES),
        flows=tuple(FLOWS),
        paths=tuple(path(each.key, MAG1) for each in FLOWS),
    )
    world.request(sync)
    world.deliver()
    assert [reply.ok for _, reply in world.replies] == [True]
    return world


def moved(world: World, request: MoveFlows) -> dict[str, list[int]]:
    """The numbers of rules in the batches that each switch was sent for it, and afterwards."""
    for switch in world.switches.values():
        switch.received.clear()
    world.replies.clear()
    world.request(request)
    world.deliver()
    world.wait(5)
    assert [reply.ok for _, reply in world.replies] == [True]
    return {
        name: [len(message.changes) for message in switch.received]
        for name, switch in world.switches.items()
    }


def test_a_sync_is_one_batch_to_each_switch_and_step(world: World) -> None:
    """Prefixes and flows: nothing of either passed before but at the LMA's switch."""
    s1, s2 = (
        [len(m.changes) for m in world.switches[name].received if m.changes][1:]
        for name in ("s1", "s2")
    )
    assert sum(s1) == sum(s2) == NODES + len(FLOWS)
    assert len(s1) <= 2
    assert len(s2) <= 2


def test_one_move_changes_only_its_own_rules(world: World) -> None:
    (chosen, *_) = OF_ONE_NODE
    before = world.tables()
    sent = moved(world, MoveFlows(id=2, paths=(path(chosen.key, MAG2),)))
    assert sent == {"s1": [0], "s2": [0, 1], "s3": [1], "s4": [1]}
    after = world.tables()
    changed = {rule.cookie & 0xFFFF_FFFF for name in before for rule in before[name] ^ after[name]}
    assert changed == {chosen.key}


def test_a_move_of_all_flows_of_a_node_is_one_batch_to_each_switch_and_step(world: World) -> None:
    rest = OF_ONE_NODE[1:]
    sent = moved(world, MoveFlows(id=3, paths=tuple(path(each.key, MAG2) for each in rest)))
    assert sent == {"s1": [0], "s2": [0, 9], "s3": [9], "s4": [9]}
    destination = rest[0].prefixes[0][1]
    assert world.walk(packet(destination, 5_003)) == ["mag2"]
    assert world.walk(packet(FLOWS[3].prefixes[0][1], 5_003)) == ["mag1"]
