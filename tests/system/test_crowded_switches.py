"""1,000 flows of 100 mobile nodes in the tables of real switches, whose controller is 10 ms from
them and from what plays the LMA."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from controllers.rules import Cookie, CookieKind
from experiments.analysis.controller_messages import (
    BARRIER_REPLY,
    BARRIER_REQUEST,
    FLOW_MOD,
    ControllerMessages,
    read_controller_messages,
)
from experiments.engines.kernel_cache import Kernel
from tests.system.guest_checks.crowd_checks import (
    ALL_OF_A_NODE,
    FLOWS_OF_A_NODE,
    NODES,
    ONE,
)
from tests.system.guests import carry_out_check, make_job, put_job

MILLISECOND = 1_000_000
TICK_NS = 10_000
# One way to the controller, to a switch or back; see topologies/sdn.toml.
WAY_MS = 10
COUNTED = {FLOW_MOD: "rules", BARRIER_REQUEST: "barriers", BARRIER_REPLY: "replies"}


class Crowd(NamedTuple):
    mode: str
    found: dict[str, Any]
    messages: ControllerMessages


@pytest.fixture(
    params=[("sdn-core", "os-ken"), ("sdn-core", "ryu"), ("sdn-assisted", "os-ken")],
    ids="-".join,
    scope="module",
)
def crowd(kernel: Kernel, request: Any, tmp_path_factory: pytest.TempPathFactory) -> Crowd:
    mode, framework = request.param
    folder: Path = tmp_path_factory.mktemp("crowd")
    protocol = {"protocol": {"data_plane": mode, "framework": framework}}
    job = make_job(protocol, {"moves": []}, network="sdn")
    put_job(folder, job)
    found = carry_out_check(kernel, folder, "crowd_checks.moves")
    data = (folder / "control.pcapng").read_bytes()
    messages = read_controller_messages(data, job.spec.topology, 0)
    return Crowd(mode, found, messages)


def changed_keys(move: dict[str, Any]) -> set[Cookie | None]:
    """Whose rules differ before and after."""
    rules = [rule for part in ("gone", "new") for its in move[part].values() for rule in its]
    return {Cookie.decode(int(re.findall(r"cookie=(0x\w+)", rule)[0], 16)) for rule in rules}


def numbers(of: dict[str, list[str]]) -> dict[str, int]:
    return {name: len(rules) for name, rules in of.items() if rules}


def openflow(crowd: Crowd, move: dict[str, Any]) -> dict[tuple[str, int], Counter[str]]:
    """Messages by switch and transaction number, without statistics and echoes."""
    found: dict[tuple[str, int], Counter[str]] = {}
    window = range(move["begin_ns"] // TICK_NS, move["end_ns"] // TICK_NS)
    for message in crowd.messages.openflow:
        if message.tick in window and message.type in COUNTED:
            batch = found.setdefault((message.switch, message.xid), Counter())
            batch[COUNTED[message.type]] += 1
    return found


def test_all_flows_have_their_rules(crowd: Crowd) -> None:
    flows = NODES * FLOWS_OF_A_NODE
    assert crowd.found["sync"]["ok"]
    rules = crowd.found["rules"]
    if crowd.mode == "sdn-core":
        base = rules["s4"]
        assert rules == dict.fromkeys(("s1", "s2", "s3"), base + NODES + flows) | {"s4": base}
    else:
        base = rules["s1"]
        assert rules == dict.fromkeys(("s1", "s3", "s4"), base) | {"s2": base + flows}


@pytest.mark.parametrize("keys", [ONE, ALL_OF_A_NODE])
def test_a_move_changes_only_its_own_rules(crowd: Crowd, keys: tuple[int, ...]) -> None:
    count, move = len(keys), crowd.found[f"move {len(keys)}"]
    assert move["ok"]
    assert changed_keys(move) == {Cookie(CookieKind.FLOW, key) for key in keys}
    if crowd.mode == "sdn-core":
        assert numbers(move["gone"]) == {"s2": count, "s3": count}
        assert numbers(move["new"]) == {"s2": count, "s4": count}
    else:
        assert numbers(move["gone"]) == {"s2": count}
        assert numbers(move["new"]) == {}


@pytest.mark.parametrize("keys", [ONE, ALL_OF_A_NODE])
def test_all_flows_of_a_node_move_with_the_barriers_of_one(
    crowd: Crowd, keys: tuple[int, ...]
) -> None:
    """One request, and for each switch and step its rules and one barrier with one transaction
    number."""
    count, move = len(keys), crowd.found[f"move {len(keys)}"]
    batches = openflow(crowd, move)
    empty = Counter(barriers=1, replies=1)
    full = empty + Counter(rules=count)
    seen = sorted((switch, batch["rules"]) for (switch, _), batch in batches.items())
    assert all(batch in (empty, full) for batch in batches.values())
    if crowd.mode == "sdn-core":
        assert seen == [("s1", 0), ("s2", 0), ("s2", count), ("s3", count), ("s4", count)]
    else:
        assert seen == [("s2", count)]


@pytest.mark.parametrize("keys", [ONE, ALL_OF_A_NODE])
def test_the_rules_of_a_batch_leave_together(crowd: Crowd, keys: tuple[int, ...]) -> None:
    move = crowd.found[f"move {len(keys)}"]
    for switch, xid in openflow(crowd, move):
        ticks = {
            message.tick
            for message in crowd.messages.openflow
            if (message.switch, message.xid, message.outbound) == (switch, xid, True)
        }
        assert max(ticks) - min(ticks) <= 1


@pytest.mark.parametrize("keys", [ONE, ALL_OF_A_NODE])
def test_other_flows_in_the_tables_cost_no_time(crowd: Crowd, keys: tuple[int, ...]) -> None:
    """LMA to controller and back, and for each step from controller to switch and back."""
    steps = 2 if crowd.mode == "sdn-core" else 1
    took_ns = crowd.found[f"move {len(keys)}"]["took_ns"]
    floor_ns = (1 + steps) * 2 * WAY_MS * MILLISECOND
    assert floor_ns <= took_ns <= floor_ns + MILLISECOND
