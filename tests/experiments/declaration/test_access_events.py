"""What is declared to happen at an instant, and what a file may not declare."""

from __future__ import annotations

from typing import Any

import pytest

from experiments.declaration.access_events import instant_s
from experiments.declaration.experiment import decisions
from experiments.emulation.roles import configure
from nodes.strict import InputError
from nodes.wire.values import HandoffHint
from tests.experiments.synthetic import run_spec

TCP = {"kind": "tcp", "anchor": "wlan", "start": "wlan", "port": 5010}
MPTCP = TCP | {"kind": "mptcp"}
QUIC = TCP | {"kind": "quic"}


def event(do: str, access: str = "cell", **more: Any) -> dict[str, Any]:
    return {"x": {"at_s": 8.0, "do": do, "access": access, **more}}


@pytest.mark.parametrize("seed", range(1, 8))
def test_an_event_and_a_move_for_the_same_second_come_at_the_same_instant(seed: int) -> None:
    spec = run_spec(moves=[{"flow": "a", "to": "cell", "at_s": 8.0}])
    assert decisions(spec, seed) == (instant_s(8.0, spec.decision_spread_ms, seed),)


@pytest.mark.parametrize(
    ("events", "flows", "named"),
    [
        (event("handover", "lte"), {"d": TCP}, "events.x.access: 'lte'"),
        (event("link-down", flow="d"), {"d": TCP}, "events.x.flow: 'd'; expected none"),
        (event("reconnect"), {"d": TCP}, "events.x.flow: None; expected one of d"),
        (event("reconnect", flow="d"), {"d": MPTCP}, "expected one of none"),
        (event("reconnect", flow="d"), {"d": QUIC}, "expected one of none"),
        (event("migrate", flow="d"), {"d": TCP}, "no download to migrate"),
        (event("migrate"), {"d": QUIC, "t": TCP}, "events.x.flow: None; expected one of d$"),
        (event("prefer"), {"d": TCP}, "events.x.do: 'prefer'"),
        (event("abandon", "wlan"), {"d": TCP}, "events.x.do: 'abandon'"),
    ],
)
def test_an_event_about_nothing_is_refused(
    events: dict[str, Any], flows: dict[str, Any], named: str
) -> None:
    with pytest.raises(InputError, match=named):
        run_spec(flows=flows, moves=[], events=events)


def test_events_that_are_about_something() -> None:
    run_spec(flows={"d": TCP}, moves=[], events=event("reconnect", flow="d"))
    run_spec(flows={"d": MPTCP}, moves=[], events=event("prefer"))
    run_spec(flows={"d": QUIC}, moves=[], events=event("migrate", flow="d"))


def test_a_download_over_quic_has_no_congestion_control_but_cubic_and_no_pace() -> None:
    for more in ({"congestion": "bbr"}, {"rate_mbit": 5.0}):
        with pytest.raises(InputError, match=next(iter(more))):
            run_spec(flows={"d": QUIC | more}, moves=[])


def test_moves_need_flow_mobility() -> None:
    with pytest.raises(InputError, match=r"protocol.flow_mobility: false"):
        run_spec(protocol={"flow_mobility": False})


def test_only_the_access_that_takes_over_says_handoff_rfc5213_8_4() -> None:
    from pathlib import Path

    spec = run_spec(flows={"d": TCP}, moves=[], events=event("handover", "cell"))
    mags = configure(spec, Path("/events"), Path("/control"), seed=1).mags
    hints = {
        mag: [profile.handoff_indicator for profile in config.access_interfaces.values()]
        for mag, config in mags.items()
    }
    assert hints["mag2"] == [HandoffHint.HANDOFF_BETWEEN_INTERFACES]
    assert hints["mag1"] == [HandoffHint.NEW_INTERFACE_SHARING_PREFIXES]
