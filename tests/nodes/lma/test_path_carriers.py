"""What the LMA's own forwarding does for paths of a controller: as differences, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nodes.actions import (
    Action,
    BlockPrefix,
    ForwardFlows,
    InstallFlow,
    LabelFlow,
    RoutePrefix,
    UnroutePrefix,
)
from nodes.controller_config import FABRIC_GATEWAY
from nodes.flow_mobility_cache import FlowAction, FlowMobilityCacheEntry
from nodes.lma.flow_forwarding import FIRST_FLOW_KEY
from nodes.lma.path_carriers import MOST_LABELS, Item, PathCarriers, WantedPaths, flow_label
from nodes.wire.traffic_selector import IPv6TrafficSelector
from tests.domain import MAG1, MAG2, P1

if TYPE_CHECKING:
    from nodes.northbound import Mode

KEY = FIRST_FLOW_KEY


class Made:
    def __init__(self, mode: Mode) -> None:
        self.done: list[Action] = []
        self.tunnelled: set[Item] = set()
        self.wanted = WantedPaths()
        self.carriers = PathCarriers(
            mode,
            self.wanted,
            lambda item: item in self.tunnelled,
            lambda *actions: self.done.extend(actions),
        )

    def refresh(self, *items: Item) -> list[Action]:
        self.carriers.refresh(items)
        done = self.done.copy()
        self.done.clear()
        return done

    def install(self, action: FlowAction = FlowAction.FORWARD) -> Made:
        row = FlowMobilityCacheEntry(1, 1, IPv6TrafficSelector(), (1,), action)
        installed = InstallFlow(KEY, row, (P1,), "mn")
        self.wanted.flows[KEY] = installed
        self.carriers.install(installed)
        assert self.done == [installed]
        self.done.clear()
        return self


def test_in_the_core_the_lma_does_the_same_whichever_mag_it_is() -> None:
    made = Made("sdn-core").install()
    made.wanted.prefixes[P1] = MAG1
    made.wanted.forward(KEY, (MAG1,))
    assert made.refresh(KEY, P1) == [
        RoutePrefix(P1, FABRIC_GATEWAY),
        ForwardFlows(((KEY, (FABRIC_GATEWAY,)),)),
    ]
    made.wanted.forward(KEY, (MAG1, MAG2))  # the switches make the copies
    made.wanted.prefixes[P1] = MAG2
    assert made.refresh(KEY, P1) == []
    made.wanted.prefixes[P1] = None
    assert made.refresh(P1) == [BlockPrefix(P1)]
    del made.wanted.prefixes[P1]
    assert made.refresh(P1) == [UnroutePrefix(P1)]
    assert made.refresh(P1) == []


def test_with_tunnels_the_anchor_stays_until_there_is_no_path() -> None:
    made = Made("sdn-assisted").install()
    made.wanted.forward(KEY, (MAG1,))
    assert made.refresh(KEY) == [
        LabelFlow(KEY, flow_label(KEY)),
        ForwardFlows(((KEY, (MAG1,)),)),
    ]
    made.wanted.forward(KEY, (MAG2,))
    assert made.refresh(KEY) == []
    made.wanted.anchor_anew([KEY])
    assert made.refresh(KEY) == [ForwardFlows(((KEY, (MAG2,)),))]
    made.wanted.forward(KEY, ())
    assert made.refresh(KEY) == [LabelFlow(KEY, 0), ForwardFlows(((KEY, ()),))]
    made.wanted.forward(KEY, (MAG1,))
    assert ForwardFlows(((KEY, (MAG1,)),)) in made.refresh(KEY)


@pytest.mark.parametrize("mode", ["sdn-core", "sdn-assisted"])
def test_what_is_tunnelled_has_no_label_and_no_anchor(mode: Mode) -> None:
    made = Made(mode).install()
    made.wanted.forward(KEY, (MAG1,))
    made.refresh(KEY)
    made.wanted.forward(KEY, (MAG2, MAG1))
    made.tunnelled = {KEY}
    assert ForwardFlows(((KEY, (MAG2, MAG1)),)) in made.refresh(KEY)
    assert made.carriers.in_tunnels == {KEY}
    made.tunnelled = set()
    assert made.refresh(KEY)
    assert made.carriers.in_tunnels == set()


@pytest.mark.parametrize("mode", ["sdn-core", "sdn-assisted"])
def test_a_flow_that_is_dropped_is_dropped_by_the_lma(mode: Mode) -> None:
    made = Made(mode).install(FlowAction.DROP)
    made.wanted.forward(KEY, (MAG1,))
    assert made.refresh(KEY) == [ForwardFlows(((KEY, (MAG1,)),))]


def test_a_flow_that_is_installed_anew_is_forwarded_anew() -> None:
    made = Made("sdn-core").install()
    made.wanted.forward(KEY, (MAG1,))
    made.refresh(KEY)
    assert made.install().refresh(KEY) == [ForwardFlows(((KEY, (FABRIC_GATEWAY,)),))]


def test_labels_are_20_bits_and_never_zero() -> None:
    labels = {flow_label(KEY + number) for number in (0, 1, MOST_LABELS - 1)}
    assert len(labels) == 3
    assert all(0 < flow_label(key) < 1 << 20 for key in range(MOST_LABELS - 2, MOST_LABELS + 2))
