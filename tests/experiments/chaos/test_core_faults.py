"""Partitions and damage in the core."""

from __future__ import annotations

import random
from typing import Literal

import pytest

from experiments.chaos.core_faults import HEADER_BYTES, damaged, rules_of
from experiments.chaos.scenario import Partition


@pytest.mark.parametrize(
    ("node", "direction", "rules"),
    [
        ("mag2", "down", ['oifname "core-mag2" drop']),
        ("mag2", "up", ['iifname "core-mag2" drop']),
        ("lma", "down", ['iifname "core-lma" drop']),
        ("lma", "up", ['oifname "core-lma" drop']),
        ("mag1", "both", ['oifname "core-mag1" drop', 'iifname "core-mag1" drop']),
    ],
)
def test_down_is_away_from_the_lma(
    node: str, direction: Literal["down", "up", "both"], rules: list[str]
) -> None:
    fault = Partition(at_s=1.0, node=node, for_s=1.0, direction=direction)
    assert list(rules_of([fault], disturbed=False)) == rules


def test_only_signalling_is_disturbed() -> None:
    assert list(rules_of([], disturbed=False)) == []
    assert list(rules_of([], disturbed=True)) == [
        "meta l4proto 135 queue flags bypass to 3",
    ]


def test_damage_changes_something_behind_the_ipv6_header_and_keeps_the_length_right() -> None:
    rng = random.Random(1)
    data = bytes(range(HEADER_BYTES)) + bytes(64)
    shorter = 0
    for _ in range(200):
        found = damaged(data, rng)
        assert found != data
        assert found[6:HEADER_BYTES] == data[6:HEADER_BYTES]
        if len(found) < len(data):
            shorter += 1
            assert int.from_bytes(found[4:6], "big") == len(found) - HEADER_BYTES
    assert 0 < shorter < 100
