"""A run that was recorded is judged."""

from __future__ import annotations

from typing import Any

from experiments.chaos.verdict import flows_kept
from tests.experiments.chaos.looks import good_look

JSON = dict[str, Any]
STARTED = {"t": 101.0, "what": "started", "node": "lma"}


def without_flow(t: float) -> JSON:
    look = good_look(t)
    look["nodes"]["lma"]["flows"].pop()
    return look


def rules_of(*record: JSON) -> list[str]:
    return [violation.rule for violation in flows_kept(list(record))]


def test_an_lma_that_is_started_again_has_its_flows() -> None:
    away = good_look(100.5)
    away["nodes"]["lma"] = {"running": False}
    assert rules_of(good_look(), away, STARTED, good_look(101.0)) == []
    assert rules_of(good_look(), away, STARTED, without_flow(101.0)) == ["flows-kept"]
    assert rules_of(without_flow(100.0), STARTED, good_look(101.0)) == ["flows-kept"]


def test_flows_come_and_go_by_order_and_when_a_mag_is_started_again() -> None:
    assert rules_of(good_look(), without_flow(102.0)) == []
    assert rules_of(good_look(), {**STARTED, "node": "mag1"}, without_flow(102.0)) == []
    assert rules_of(good_look(), STARTED, good_look(101.0), without_flow(102.0)) == []
