"""From an access that comes up to an address that can be used, in parts that are known."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Any

import pytest

from experiments.analysis.address_readiness import readiness_columns
from experiments.analysis.event_log import Event
from experiments.analysis.signalling import BINDING_ACK, BINDING_UPDATE, ControlMessage, Signalling
from tests.experiments.synthetic import run_spec

MAG1, MAG2 = IPv6Address("2001:db8:11::1"), IPv6Address("2001:db8:12::1")


def event(at_ms: float, node: str, name: str, **detail: Any) -> Event:
    return Event(round(at_ms * 100), node, name, detail)


def message(at_ms: float, kind: int, outbound: bool, peer: IPv6Address) -> ControlMessage:
    return ControlMessage(round(at_ms * 100), kind, -1, 100, outbound, peer)


EVENTS = [
    event(1000, "runner", "attach", access="wlan"),
    event(1020, "mn", "router", interface="mn-wlan"),
    event(1020, "mn", "address", interface="mn-wlan"),
    event(2000, "runner", "attach", access="cell"),
    event(2345, "mn", "router", interface="mn-cell"),
    event(3345.5, "mn", "address", interface="mn-cell"),
]
SIGNALLING = Signalling(
    [
        message(1010, BINDING_ACK, True, MAG1),
        message(2010, BINDING_UPDATE, False, MAG2),
        message(2010, BINDING_ACK, True, MAG2),
        message(2400, BINDING_ACK, True, MAG2),
    ],
    [],
)


def test_the_parts_of_the_wait_make_it_up() -> None:
    found = readiness_columns(run_spec("unique"), "cell", EVENTS, SIGNALLING)
    # 10 ms from the LMA to the MAG, and 25 ms from there to the MN.
    assert found == {
        "ready_ms": 1345.5,
        "ready_signalling_ms": 10.0,
        "ready_path_ms": 35.0,
        "ready_ra_ms": 300.0,
        "ready_dad_ms": 1000.5,
    }
    parts = [value for name, value in found.items() if name != "ready_ms" and value is not None]
    assert sum(parts) == pytest.approx(1345.5)


@pytest.mark.parametrize("lost", range(3, 6))
def test_what_did_not_come_to_it_has_no_parts(lost: int) -> None:
    events = [entry for number, entry in enumerate(EVENTS) if number != lost]
    assert readiness_columns(run_spec("unique"), "cell", events, SIGNALLING) == {}


def test_an_access_that_is_not_registered_has_no_parts() -> None:
    of_other = Signalling(SIGNALLING.control[:1], [])
    assert readiness_columns(run_spec("unique"), "cell", EVENTS, of_other) == {}
