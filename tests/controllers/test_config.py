"""Configuration of the controller: what is wrong is named."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Any

import pytest

from controllers.config import RedirectionConfig
from nodes.strict import InputError, convert, to_builtins
from tests.controllers.fabrics import description


def tables(**changes: Any) -> dict[str, Any]:
    return {
        "events": "controller.jsonl",
        "fabric": to_builtins(description()),
        "datapath_ids": {"s1": 1, "s2": 2, "s3": 3, "s4": 4},
        **changes,
    }


def test_defaults() -> None:
    config = convert(tables(), RedirectionConfig, "controller.toml")
    assert config.timers.drain_ms == 1_000
    assert config.fabric == description()
    assert {config.northbound_address, *config.lma_addresses} == {IPv6Address("::1")}


def test_a_request_fails_before_the_lma_gives_the_controller_up() -> None:
    timers = {"barrier_timeout_ms": 2_000, "barrier_retries": 1, "request_timeout_ms": 4_001}
    config = convert(tables(timers=timers), RedirectionConfig, "controller.toml")
    assert config.timers.request_timeout_ms == 4_001


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"timers": {"drain_ms": -1}}, "timers.drain_ms is -1; expected `int` >= 0"),
        ({"timers": {"drain": 5}}, "timers.drain is 5; is not a known key"),
        (
            {"timers": {"barrier_timeout_ms": 2_000}},
            "barrier_retries is 2, which makes 6000 ms; expected less than request_timeout_ms",
        ),
        (
            {"timers": {"barrier_timeout_ms": 1_000, "request_timeout_ms": 3_000}},
            "which makes 3000 ms; expected less than request_timeout_ms, 3000",
        ),
        (
            {"timers": {"connect_timeout_ms": 5_000}},
            "connect_timeout_ms is 5000; expected less than request_timeout_ms, 5000",
        ),
        (
            {"lma_addresses": []},
            "lma_addresses is empty; expected the addresses that LMAs come from",
        ),
        ({"northbound_port": 0}, "northbound_port is 0; expected `int` >= 1"),
        ({"datapath_ids": {"s1": 1}}, "datapath_ids has no 's2'; expected all of fabric.switches"),
        (
            {"datapath_ids": {"s1": 1, "s2": 1, "s3": 3, "s4": 4}},
            "datapath_ids.s2 is 1, that of s1; expected another for each switch",
        ),
        (
            {"datapath_ids": {"s1": 1, "s2": 2, "s3": 3, "s4": 4, "s5": 5}},
            "datapath_ids has 's5'; expected some of fabric.switches: s1, s2, s3, s4",
        ),
    ],
)
def test_errors_name_the_field(changes: dict[str, Any], error: str) -> None:
    with pytest.raises(InputError, match=r"^controller\.toml: ") as caught:
        convert(tables(**changes), RedirectionConfig, "controller.toml")
    assert error in str(caught.value)


def test_a_fabric_that_cannot_work_is_an_error_of_its_field() -> None:
    fabric = to_builtins(description())
    fabric["links"] = fabric["links"][:2]
    with pytest.raises(InputError, match="fabric: switch s4 has no path"):
        convert(tables(fabric=fabric), RedirectionConfig, "controller.toml")
