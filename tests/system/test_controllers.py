"""Both controller frameworks in the guest, with three switches and one application."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from experiments.engines.kernel_cache import Kernel
from tests.system.guests import carry_out_check

MILLISECOND = 1_000_000
# The controller is 10 ms from the farthest switch that gets rules.
ROUND_TRIP = 20 * MILLISECOND
FREE_KIB = 20_000


@pytest.fixture(params=["os-ken", "ryu"], scope="module")
def framework(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def found(kernel: Kernel, framework: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp(framework)
    return carry_out_check(kernel, folder, "switching.control", framework=framework)


def test_the_chosen_framework_runs(found: dict[str, Any], framework: str) -> None:
    assert found["connected"]["framework"] == framework


def test_switches_connect_and_tell_their_features(found: dict[str, Any]) -> None:
    assert found["connected"]["connected"] == [1, 2, 3]
    assert found["connected"]["counts"] == {"features": 3}


def test_nothing_passes_before_the_controllers_rules(found: dict[str, Any]) -> None:
    assert found["before"] == [None]


def test_packets_pass_once_all_barriers_are_answered(found: dict[str, Any]) -> None:
    assert found["rules"] == [2, 2, 0]
    assert None not in found["after"]


def test_installing_takes_the_round_trip_to_the_farthest_switch(found: dict[str, Any]) -> None:
    assert ROUND_TRIP <= found["install_ns"] < ROUND_TRIP + MILLISECOND


def test_a_timer_fires_when_it_should_and_a_cancelled_one_does_not(found: dict[str, Any]) -> None:
    assert 500 * MILLISECOND <= found["later_ns"] < 502 * MILLISECOND
    assert found["s1 restarted"]["counts"]["barriers"] == 3


def test_an_application_is_told_at_once_that_a_switch_has_gone(found: dict[str, Any]) -> None:
    assert found["s1 restarted"]["gone"] == [1]
    assert found["s1 restarted"]["connected"] == [1, 2, 3]
    assert found["then"] == [None]


def test_rules_stay_when_the_controller_dies(found: dict[str, Any]) -> None:
    assert None not in found["without controller"]


def test_switches_connect_to_the_next_controller(found: dict[str, Any]) -> None:
    assert found["second"]["connected"] == [1, 2, 3]


def test_the_guest_has_memory_left(found: dict[str, Any]) -> None:
    assert found["memory_kib"] > FREE_KIB
