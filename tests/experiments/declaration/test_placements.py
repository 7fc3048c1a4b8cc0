from __future__ import annotations

from typing import Any

import pytest

from experiments.analysis.event_log import Event
from experiments.analysis.moves import follow, moves_entry, plan
from experiments.declaration.placements import Placement, placements
from nodes.strict import InputError
from tests.experiments.synthetic import run_spec


def moves(*orders: tuple[str, float, bool]) -> list[dict[str, Any]]:
    return [{"flow": "a", "to": to, "at_s": at_s, "copies": copies} for to, at_s, copies in orders]


def test_copies_go_where_the_flow_was_as_well_rfc6089_5_3_6() -> None:
    orders = moves(("cell", 12, True), ("cell", 15, False), ("wlan", 20, False))
    found = placements(run_spec(moves=orders), (12.0, 15.0, 20.0))
    assert found == [
        Placement("wlan", ("wlan", "cell")),
        Placement("wlan", ("cell",)),
        Placement("cell", ("wlan",)),
    ]


def test_going_back_ends_the_copies() -> None:
    orders = moves(("wlan", 15, False), ("cell", 12, True))
    assert placements(run_spec(moves=orders), (15.0, 12.0)) == [
        Placement("cell", ("wlan",)),
        Placement("wlan", ("wlan", "cell")),
    ]


def test_a_move_to_where_the_flow_is() -> None:
    for copies in (False, True):
        (found,) = placements(run_spec(moves=moves(("wlan", 12, copies))), (12.0,))
        assert found == Placement("wlan", ("wlan",))


def test_the_lma_names_all_accesses_of_a_decision() -> None:
    spec = run_spec(moves=moves(("cell", 12, True), ("cell", 15, False)))
    records = plan(spec, (12.0, 15.0))
    both, alone = records
    events = [
        Event(1_200_000, "lma", "decision", {"fid": 1, "to": "wlan+cell"}),
        Event(1_200_000, "lma", "switched", {"fid": 1, "to": "wlan+cell"}),
        Event(1_500_000, "lma", "decision", {"fid": 1, "to": "cell"}),
    ]
    follow(records, spec, events)
    assert (both.decision, both.switched, alone.decision) == (1_200_000, 1_200_000, 1_500_000)
    row = {"direction": "equal", "status": "ok", "floor_ms": None}
    assert moves_entry(both, row)["to"] == "wlan+cell"


@pytest.mark.parametrize(
    "more",
    [
        {"protocol": {"decision_maker": "mn"}},
        {
            "protocol": {"attachment": "layer-2"},
            "attachments": [{"access": "cell", "at_s": 2, "dynamic": True}],
            "flows": {"a": {"kind": "udp", "anchor": "wlan", "start": "wlan", "port": 5001}},
        },
    ],
)
def test_who_can_not_have_copies_is_told(more: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"moves\[0\]\.copies: true; .* expected false"):
        run_spec(moves=moves(("cell", 12, True)), **more)


def test_a_prefix_that_is_there_for_another_flow_needs_no_delivery() -> None:
    orders = [
        {"flow": "a", "to": "cell", "at_s": 6.0},
        {"flow": "stay", "to": "cell", "at_s": 8.0},  # of the same anchor
        {"flow": "a", "to": "wlan", "at_s": 10.0},
        {"flow": "stay", "to": "wlan", "at_s": 12.0},
        {"flow": "a", "to": "cell", "at_s": 15.0},  # withdrawn only 10 s after the last left
        {"flow": "a", "to": "wlan", "at_s": 16.0},
        {"flow": "a", "to": "cell", "at_s": 27.0},
        {"flow": "b", "to": "wlan", "at_s": 28.0},  # of another anchor
    ]
    spec = run_spec("unique", moves=orders)
    found = placements(spec, (6.0, 8.0, 10.0, 12.0, 15.0, 16.0, 27.0, 28.0))
    delivered = [number for number, place in enumerate(found) if place.delivered]
    assert delivered == [1, 4]


def test_a_mag_that_is_told_of_each_flow_is_told_of_this_one_too() -> None:
    orders = [
        {"flow": "a", "to": "cell", "at_s": 6.0},
        {"flow": "stay", "to": "cell", "at_s": 8.0},
    ]
    spec = run_spec(
        "unique", moves=orders, protocol={"prefix_model": "unique", "granularity": "flow"}
    )
    assert not any(place.delivered for place in placements(spec, (6.0, 8.0)))
