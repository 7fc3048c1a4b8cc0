"""Open vSwitch in the guest: what it forwards, how long that takes, and what is left of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from experiments.engines.kernel_cache import Kernel
from tests.system.guest_checks.switching import TCP_BYTES
from tests.system.guests import carry_out_check

MILLISECOND, MICROSECOND = 1_000_000, 1_000
# What two switches add to the delay of the link between them, at most: clock readings.
TWO_SWITCHES = {
    "kernel": 10 * MICROSECOND,
    "kernel, cached": 2 * MICROSECOND,
    "userspace": 40 * MICROSECOND,
}
# The first packet of a flow goes to ovs-vswitchd, which tells the kernel what to do with the rest,
# or handles it itself.
FIRST_PACKET = 15 * MICROSECOND
# By how much runs differ: ovs-vswitchd has random numbers of its own, and so a different number of
# clock readings.
REPEATS = {
    "kernel": 2 * MICROSECOND,
    "kernel, cached": MICROSECOND,
    "userspace": 10 * MICROSECOND,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "kernel": {},
    "kernel, cached": {"flow_cache": True},
    "userspace": {"datapath": "netdev"},
}
COUNT = 20


@pytest.fixture(params=list(SETTINGS), scope="module")
def datapath(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def forwarding(kernel: Kernel, folder: Path, datapath: str) -> Any:
    settings = SETTINGS[datapath]
    return carry_out_check(kernel, folder, "switching.forwarding", count=COUNT, **settings)


@pytest.fixture(scope="module")
def found(kernel: Kernel, datapath: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return forwarding(kernel, tmp_path_factory.mktemp("found"), datapath)


def test_nothing_passes_before_rules(found: dict[str, Any]) -> None:
    assert found["before"] == [None]


def test_rules_pass_packets_with_the_delay_of_the_links(
    found: dict[str, Any], datapath: str
) -> None:
    for first, *later in (found["after"], found["back"]):
        limit = 10 * MILLISECOND + TWO_SWITCHES[datapath]
        assert 10 * MILLISECOND <= first <= limit + FIRST_PACKET
        assert all(10 * MILLISECOND <= delay <= limit for delay in later)


def test_counters_are_of_the_instant_without_a_flow_cache(
    found: dict[str, Any], datapath: str
) -> None:
    assert (found["counted"] == COUNT) == (datapath != "kernel, cached")


def test_checksums_are_complete(found: dict[str, Any]) -> None:
    assert found["tcp"] == TCP_BYTES


def test_a_restarted_switch_has_an_empty_table_and_the_others_keep_theirs(
    found: dict[str, Any],
) -> None:
    assert found["rules"] == [2, 2, 0]
    assert found["s1 restarted"] == [0, 2, 0]
    assert found["then"] == [None]


def test_killed_switches_start_again(found: dict[str, Any]) -> None:
    assert found["all restarted"] == [0, 0, 0]
    assert None not in found["again"]


def test_the_systems_own_instance_is_not_touched(found: dict[str, Any]) -> None:
    assert found["system"] == []


def test_delays_repeat(
    kernel: Kernel, tmp_path: Path, datapath: str, found: dict[str, Any]
) -> None:
    again = forwarding(kernel, tmp_path, datapath)
    pairs = zip(found["after"] + found["back"], again["after"] + again["back"], strict=True)
    assert all(abs(one - other) <= REPEATS[datapath] for one, other in pairs)


def test_a_port_that_cannot_be_added_is_named(kernel: Kernel, tmp_path: Path) -> None:
    text = carry_out_check(kernel, tmp_path, "switching.missing_datapath")
    assert "s2-s3" in text
    assert "datapath" in text
