from __future__ import annotations

from typing import Any

from experiments.analysis.event_log import Event
from experiments.analysis.moves import MoveRecord, follow, plan
from tests.experiments.synthetic import DEFAULT_FLOWS, run_spec

SPEC = run_spec("unique")


def event(tick: int, name: str, **detail: Any) -> Event:
    return Event(tick, "lma", name, detail)


def followed(*events: Event) -> list[MoveRecord]:
    records = plan(SPEC, (12.0, 12.0))
    follow(records, SPEC, events)
    return records


def test_moves_at_one_instant_are_told_apart_by_sequence() -> None:
    first, second = followed(
        event(1_200_000, "decision", fid=1, to="cell"),
        event(1_200_000, "fmi-sent", sequence=7),
        event(1_200_000, "decision", fid=2, to="wlan"),
        event(1_200_000, "fmi-sent", sequence=8),
        event(1_202_000, "fma-received", sequence=8, status=0),
        event(1_202_000, "switched", fid=2, to="wlan"),
        event(1_205_000, "fma-received", sequence=7, status=0),
        event(1_205_000, "switched", fid=1, to="cell"),
    )
    assert (first.fma_received, first.switched) == ([1_205_000], 1_205_000)
    assert (second.fma_received, second.switched) == ([1_202_000], 1_202_000)


def test_a_retransmitted_fmi_stays_with_its_move() -> None:
    first, second = followed(
        event(1_200_000, "decision", fid=1, to="cell"),
        event(1_200_000, "fmi-sent", sequence=7),
        event(1_250_000, "decision", fid=2, to="wlan"),
        event(1_300_000, "fmi-sent", sequence=7),
    )
    assert first.fmi_sent == [1_200_000, 1_300_000]
    assert second.fmi_sent == []


def test_other_nodes_and_other_decisions_do_not_count() -> None:
    first, second = followed(
        Event(1, "mag1", "decision", {"fid": 1, "to": "cell"}),
        event(2, "decision", fid=3, to="cell"),
        event(2, "fmi-sent", sequence=9),
        event(3, "decision", fid=1, to="wlan"),
    )
    assert (first.decision, second.decision) == (None, None)
    assert first.fmi_sent == second.fmi_sent == []


def test_the_source_of_a_move_is_where_the_one_before_left_the_flow() -> None:
    moves = [{"flow": "a", "to": "wlan", "at_s": 20}, {"flow": "a", "to": "cell", "at_s": 12}]
    back, there = plan(run_spec(moves=moves), (20.0, 12.0))
    assert (there.source, back.source) == ("wlan", "cell")


def test_the_decisions_of_an_mn_that_decides_are_its_own() -> None:
    """What it decided before, like where its flows begin, is about no move; and what the LMA logs
    when it follows is no decision."""
    moves = [{"flow": "a", "to": to, "at_s": at_s} for to, at_s in (("cell", 12), ("wlan", 20))]
    spec = run_spec(protocol={"decision_maker": "mn"}, moves=moves)
    there, back = plan(spec, (12.0, 20.0))
    events = [
        Event(300_000, "mn", "decision", {"fid": 1, "to": "mn-wlan"}),
        Event(1_199_999, "mn", "decision", {"fid": 1, "to": "mn-cell"}),
        event(1_203_000, "decision", fid=1, to="cell"),
        event(1_203_000, "switched", fid=1, to="cell"),
        Event(2_000_000, "mn", "decision", {"fid": 2, "to": "mn-wlan"}),
        Event(2_000_000, "mn", "decision", {"fid": 1, "to": "mn-wlan"}),
        event(2_001_000, "decision", fid=1, to="wlan"),
        event(2_001_000, "switched", fid=1, to="wlan"),
    ]
    follow([there, back], spec, events)
    assert (there.decision, there.switched) == (1_199_999, 1_203_000)
    assert (back.decision, back.switched) == (2_000_000, 2_001_000)


def test_flows_that_move_together_share_the_signalling_of_all_of_them() -> None:
    idle = {"count": 1, "anchor": "wlan", "start": "wlan"}
    flows = {name: DEFAULT_FLOWS[name] for name in ("a", "stay")}
    moves = [{"flow": "a", "to": "cell", "at_s": 12.0, "scope": "mn"}]
    spec = run_spec("unique", flows=flows, moves=moves, idle=idle)
    (record,) = plan(spec, (12.0,))
    events = [
        *(event(1_200_000, "decision", fid=fid, to="cell") for fid in (1, 2, 3)),
        event(1_200_000, "fmi-sent", sequence=7),
        event(1_202_000, "fma-received", sequence=7, status=0),
        event(1_202_000, "switched", fid=1, to="cell"),
        event(1_202_000, "switched", fid=3, to="cell"),
    ]
    follow([record], spec, events)
    assert (record.decision, record.switched) == (1_200_000, 1_202_000)
    assert (record.fmi_sent, record.fma_received) == ([1_200_000], [1_202_000])
    assert record.group == {1: 1_202_000, 2: None, 3: 1_202_000}
