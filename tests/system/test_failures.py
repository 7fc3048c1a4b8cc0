"""Failures while a controller makes the paths. After each: no packet in a loop or steered two ways,
LMA and switches agree, nothing is left over, and flows have gone on all the while."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from experiments.engines.kernel_cache import Kernel
from tests.system import tables
from tests.system.guest_checks.failure_checks import (
    AGAIN_S,
    AWAY_S,
    ENDED_S,
    HEARD_S,
    RESTART_S,
    SILENT_S,
)
from tests.system.steered import FIRST_KEY, MODES, STAY, A, Course, course


def traffic(until_s: float, **document: Any) -> dict[str, Any]:
    flows = {name: {"until_s": until_s} for name in ("a", "stay")}
    return {"duration_s": until_s + 1.0, "flows": flows, **document}


SOON_BACK = {"switching": {"inactivity_probe_ms": 1000}}
INTERVAL_S = 0.02
# Of an OpenFlow channel: TCP, hello, features, the reading of rules, and rules; Open vSwitch goes
# on with a connection at its own instants, every 500 ms.
RECOVERY_S = 5 * 0.02 + 0.5


@pytest.fixture(scope="module", params=["sdn-core/os-ken", "sdn-assisted/ryu"])
def interrupted(
    request: pytest.FixtureRequest, kernel: Kernel, tmp_path_factory: pytest.TempPathFactory
) -> Course:
    mode, _, framework = request.param.partition("/")
    folder = tmp_path_factory.mktemp("interrupted")
    check, document = "failure_checks.interrupted", traffic(17.5, topology=SOON_BACK)
    return course(kernel, folder, check, document, data_plane=mode, framework=framework)


def test_no_failure_makes_a_loop_or_steers_a_flow_two_ways(interrupted: Course) -> None:
    interrupted.assert_each_packet_takes_one_way()


def test_a_controller_that_goes_after_a_move_leaves_old_rules_and_removes_them_when_it_is_back(
    interrupted: Course,
) -> None:
    assert interrupted.result["answers"][0]["ok"]
    if interrupted.mode == "sdn-core":
        left = tables.ways(tables.read(interrupted.result["left"]), tables.FLOW)
        assert left[FIRST_KEY] == {"s1": {"s2"}, "s2": {"s4"}, "s3": {"mag1"}, "s4": {"mag2"}}
    interrupted.assert_agreed(interrupted.result["back"])
    assert len(interrupted.over("cell", A, 5.2, RESTART_S)) > (RESTART_S - 5.3) / INTERVAL_S


def test_a_switch_that_restarts_loses_what_passes_it_until_it_has_its_rules_again(
    interrupted: Course,
) -> None:
    """docs/sdn.md: with the controller 10 ms away, 0.2 s. What doesn't pass it isn't touched."""
    interrupted.assert_agreed(interrupted.result["restarted"])
    assert not interrupted.lost(STAY)
    assert not interrupted.uplink_lost(STAY)
    lost, uplink_lost = sorted(interrupted.lost(A)), sorted(interrupted.uplink_lost(A))
    for gap in (lost, uplink_lost):
        assert gap == list(range(gap[0], gap[-1] + 1))
        assert 3 <= len(gap) <= RECOVERY_S / INTERVAL_S + 1
    # They are 20 ms before s4, or 25 ms and more, when they are sent.
    assert RESTART_S - 0.06 <= 5.0 + lost[0] * INTERVAL_S <= RESTART_S
    assert RESTART_S - 0.06 <= 5.0 + uplink_lost[0] * INTERVAL_S <= RESTART_S


def test_a_barrier_whose_answer_never_comes_takes_the_move_back(interrupted: Course) -> None:
    refused = interrupted.result["answers"][1]
    assert not refused["ok"]
    assert "switch s2 is lost: it doesn't answer" in refused["error"]
    interrupted.assert_agreed(interrupted.result["heard"])
    # s2 has done what it was told, and its answer was lost: packets go the way that was refused,
    # which is there, until the controller has read the switch again.
    assert interrupted.over("wlan", A, SILENT_S + 0.1, HEARD_S)
    assert not interrupted.over("wlan", A, AGAIN_S - 0.2, AGAIN_S)
    assert interrupted.over("cell", A, AGAIN_S - 0.2, AGAIN_S)


def test_a_switch_that_answers_again_is_used_again(interrupted: Course) -> None:
    assert interrupted.result["answers"][2]["ok"]
    interrupted.assert_agreed(interrupted.result["end"])
    assert not interrupted.over("cell", A, AGAIN_S + 0.2, AGAIN_S + 1.0)
    assert interrupted.over("wlan", A, AGAIN_S + 0.2, AGAIN_S + 1.0)


@pytest.mark.parametrize("mode", MODES)
def test_without_a_controller_the_lmas_tunnels_carry_what_moves_until_it_is_back(
    kernel: Kernel, tmp_path: Path, mode: str
) -> None:
    found = course(kernel, tmp_path, "failure_checks.away", data_plane=mode, fallback="tunnel")
    assert found.result["first"]["ok"] is True
    assert found.result["during"]["state"] == "unreachable"
    assert found.result["second"]["ok"] is True
    for state in ("after", "end"):
        found.assert_agreed(found.result[state])
    found.assert_each_packet_takes_one_way()
    found.assert_nothing_lost()
    got = found.received(A)
    assert len(got["cell"]) > 50
    assert not found.received(STAY)["cell"]
    fallen = found.in_tunnels("mag2-s4", A, outbound=False)
    assert 0 in {d.flow_label for d in fallen}, "no rule of the controller's is for these"
    if mode == "sdn-core":
        assert len(fallen) < len(got["cell"]), "the controller is back, and the tunnel is left"
        assert not found.in_tunnels("lma-s1", STAY, outbound=True), "this one never fell back"
    else:
        assert {d.flow_label for d in fallen} != {0}, "the controller is back: it knows the flow"


@pytest.mark.parametrize("mode", MODES)
def test_without_a_controller_moves_are_refused_and_flows_go_on(
    kernel: Kernel, tmp_path: Path, mode: str
) -> None:
    found = course(kernel, tmp_path, "failure_checks.away", data_plane=mode, fallback="refuse")
    assert found.result["first"]["ok"] is False
    assert "the controller is unreachable" in found.result["first"]["error"]
    assert found.result["second"]["ok"] is True
    for state in ("after", "end"):
        found.assert_agreed(found.result[state])
    found.assert_each_packet_takes_one_way()
    found.assert_nothing_lost()
    assert found.received(A)["cell"]
    assert not found.received(STAY)["cell"]


@pytest.mark.parametrize("mode", MODES)
def test_orders_that_are_overtaken_or_lost_leave_no_packet_behind(
    kernel: Kernel, tmp_path: Path, mode: str
) -> None:
    """Two moves in quick succession, a controller that goes during a move, and a flow that is
    removed while it moves."""
    found = course(kernel, tmp_path, "failure_checks.troubled", traffic(10.5), data_plane=mode)
    overtaken, newer, lost, removed, removal = found.result["answers"]
    assert "newer move" in overtaken["error"]
    assert "the controller is unreachable" in lost["error"]
    assert "removed" in removed["error"]
    assert newer["ok"]
    assert removal["ok"]
    found.assert_agreed(found.result["back"])
    found.assert_agreed(found.result["end"])
    assert [(flow["fid"], flow["access"]) for flow in found.result["end"]["flows"]] == [
        (A, ["wlan"])
    ]
    found.assert_each_packet_takes_one_way()
    found.assert_nothing_lost()
    for flow in (A, STAY):
        assert max(found.sent(flow)) in found.received(flow)["wlan"]


@pytest.mark.parametrize("mode", MODES)
def test_an_lma_that_ends_and_starts_again_rfc5847_3_2(
    kernel: Kernel, tmp_path: Path, mode: str
) -> None:
    """By SIGTERM or SIGKILL: packets go on without it. Started anew it has its bindings again after
    some 60 ms, and no flows, whose rules go; packets are lost then, and not before."""
    check = "failure_checks.lma_restarts"
    found = course(kernel, tmp_path, check, traffic(13.2), data_plane=mode)
    assert [answer["ok"] for answer in found.result["answers"]] == [True] * 3
    for state, flows in zip(found.result["states"], (0, 2, 0, 2), strict=True):
        assert len(state["flows"]) == flows
        found.assert_agreed(state)
    found.assert_each_packet_takes_one_way()
    for flow in (A, STAY):
        missing = sorted(found.lost(flow) | found.uplink_lost(flow))
        for number in missing:
            sent_s = 5.0 + number * INTERVAL_S
            # Those that were on the way to the LMA when it started, and later ones.
            assert any(-0.06 <= sent_s - (at_s + AWAY_S) <= 0.1 for at_s in ENDED_S)
        assert len(missing) <= 2 * 6
    for at_s in ENDED_S:
        assert found.over("cell", A, at_s - 0.2, at_s + AWAY_S)
        assert found.over("wlan", A, at_s + AWAY_S + 0.2, at_s + 2.0)
        assert found.over("cell", A, at_s + 2.2, at_s + 3.0)
