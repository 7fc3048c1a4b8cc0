"""The redirection application in the guest, under both frameworks: real switches, a client that
plays the LMA, and 1,000 packets/s to each of two ports of a mobile node all the while."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from experiments.engines.kernel_cache import Kernel
from tests.system.guests import carry_out_check

MILLISECOND = 1_000_000
MAG1, MAG2 = "2001:db8:10::11", "2001:db8:10::12"
# The controller is beside the LMA, 1 ms from s1, where the ways part, and 10 ms from s2 and s3.
FAR_ROUND_TRIP, NEAR_ROUND_TRIP = 20 * MILLISECOND, 2 * MILLISECOND


@pytest.fixture(params=["os-ken", "ryu"], scope="module")
def framework(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def moves(kernel: Kernel, framework: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp(f"moves-{framework}")
    return carry_out_check(kernel, folder, "redirection_checks.moves", framework=framework)


@pytest.fixture(scope="module")
def failures(kernel: Kernel, framework: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp(f"failures-{framework}")
    return carry_out_check(kernel, folder, "redirection_checks.failures", framework=framework)


def lossless(found: dict[str, Any]) -> bool:
    return found["missing"] == [] and found["twice"] == 0


def mags(found: dict[str, Any]) -> list[int]:
    """Who got the packets, in the order of their sending."""
    return [mag for mag, _ in found["runs"]]


def test_packets_take_the_default_path(moves: dict[str, Any]) -> None:
    assert lossless(moves["other"])
    assert mags(moves["other"]) == [1]


def test_a_move_and_the_way_back_lose_nothing(moves: dict[str, Any]) -> None:
    assert lossless(moves["there"])
    assert mags(moves["there"]) == [1, 2]
    assert lossless(moves["back"])
    assert mags(moves["back"]) == [2, 1]


def test_a_move_takes_the_round_trips_to_the_far_end_and_to_where_the_ways_part(
    moves: dict[str, Any],
) -> None:
    floor = FAR_ROUND_TRIP + NEAR_ROUND_TRIP
    for number in ("4", "5"):
        assert moves["replies"][number]["ok"]
        assert floor <= moves["replies"][number]["took_ns"] < floor + MILLISECOND


def test_the_first_packet_of_the_new_path_is_the_first_after_the_far_end_is_ready(
    moves: dict[str, Any],
) -> None:
    """Ordered 200 ms after the first packet: one round trip, and the way to s1."""
    assert 221 <= moves["there"]["runs"][0][1] <= 223


def test_of_two_moves_the_newer_one_wins(moves: dict[str, Any]) -> None:
    assert lossless(moves["twice"])
    assert mags(moves["twice"]) == [1]
    assert moves["replies"]["6"]["error"] == "superseded by request 7"
    assert moves["replies"]["7"]["ok"]


def test_a_flow_that_is_removed_while_it_moves_takes_the_default_path(
    moves: dict[str, Any],
) -> None:
    assert lossless(moves["removed"])
    assert mags(moves["removed"]) == [1]
    assert moves["replies"]["8"]["error"] == "superseded by request 9"
    assert moves["replies"]["9"]["ok"]


def test_each_switch_has_the_rules_that_it_needs(moves: dict[str, Any]) -> None:
    base = moves["rules removed"][2]
    prefix, flow = [1, 1, 0], [1, 1, 0]
    assert moves["rules removed"] == [base + n for n in prefix]
    assert moves["rules"] == [base + n + m for n, m in zip(prefix, flow, strict=True)]
    assert moves["rules there"] == [base + 2, base + 1, base + 1]


def test_rules_are_listed(moves: dict[str, Any]) -> None:
    (prefix,) = moves["replies"]["10"]["result"]["prefixes"]
    assert prefix["mag"] == MAG1
    assert [rule["switch"] for rule in prefix["rules"]] == ["s1", "s2"]
    assert all(rule["packets"] > 0 for rule in prefix["rules"])
    assert moves["replies"]["10"]["result"]["old"] == []


def test_switches_count_the_packets_of_a_flow_on_each_path(moves: dict[str, Any]) -> None:
    counts = moves["statistics"]
    # Ethernet, IPv6 and UDP headers, and a sequence number.
    assert all(count["octets"] == count["packets"] * (14 + 40 + 8 + 4) for count in counts)
    paths = [(mags, [c["packets"] for c in its]) for (mags,), its in groupby(counts, paths_of)]
    assert [mags for mags, _ in paths] == [MAG1, MAG2, MAG1]
    for _, packets in paths:
        assert packets == sorted(packets)
    # A move, and the last reading before it, up to 500 ms earlier.
    for _, packets in paths[1:]:
        assert 800 <= packets[-1] <= 2_400


def paths_of(count: dict[str, Any]) -> list[str]:
    return list(count["mags"])


def test_the_lma_hears_which_switches_are_ready(moves: dict[str, Any]) -> None:
    assert moves["switches"][-1]["ready"] == ["s1", "s2", "s3"]
    assert moves["switches"][-1]["lost"] == []


def test_when_the_controller_dies_during_a_move_the_flow_keeps_its_path(
    failures: dict[str, Any],
) -> None:
    assert lossless(failures["killed during a move"])
    assert mags(failures["killed during a move"]) == [1]
    s1, s2, s3 = failures["rules without controller"]
    assert s1 == s2 == s3 + 1, "the far end has its rule already"


def test_the_next_controller_sets_the_rules_right_and_goes_on(failures: dict[str, Any]) -> None:
    assert lossless(failures["again"])
    assert mags(failures["again"]) == [1, 2]
    s1, s2, s3 = failures["rules again"]
    assert s1 - 1 == s2 == s3


def test_flows_keep_their_path_while_the_controller_is_away(failures: dict[str, Any]) -> None:
    for course in ("killed after a move", "once more"):
        assert lossless(failures[course])
        assert mags(failures[course]) == [2]


def test_a_switch_that_comes_back_empty_gets_its_rules(failures: dict[str, Any]) -> None:
    assert lossless(failures["s3 restarted"])
    assert mags(failures["s3 restarted"]) == [2]
    assert failures["rules restarted"] == failures["rules again"]


def test_a_barrier_that_is_never_answered_takes_the_move_back(failures: dict[str, Any]) -> None:
    assert failures["replies"]["2"]["error"] == "switch s2 is lost: it doesn't answer"
    assert lossless(failures["unanswered"])
    assert mags(failures["unanswered"]) == [2]


def test_a_switch_that_answers_again_is_used_again(failures: dict[str, Any]) -> None:
    assert failures["replies"]["3"]["ok"]
    assert lossless(failures["answered again"])
    assert mags(failures["answered again"]) == [2, 1]
    s1, s2, s3 = failures["rules at last"]
    assert s1 == s2 == s3 + 2


def test_all_losses_of_switches_are_announced(failures: dict[str, Any]) -> None:
    lost = [tuple(event["lost"]) for event in failures["switches"]]
    assert ("s3",) in lost
    assert ("s2",) in lost
    assert lost[-1] == ()
