"""A scenario that fails becomes as short as can be, and fails still."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from experiments.chaos.generate import generate
from experiments.chaos.scenario import Kill, MoveFlow, Scenario
from experiments.chaos.shrink import cut, only, reduced, shrink, with_flows


@given(st.lists(st.integers(0, 30), max_size=30, unique=True), st.data())
def test_what_is_left_fails_and_nothing_of_it_can_go(items: list[int], data: st.DataObject) -> None:
    culprits = set(
        data.draw(st.lists(st.sampled_from(items), unique=True) if items else st.just([]))
    )

    def fails(kept: Sequence[int]) -> bool:
        return culprits <= set(kept)

    assert set(reduced(items, fails)) == culprits


def test_a_failure_that_takes_two_faults_is_found_among_all() -> None:
    scenario = generate(4)
    kill = next(fault for fault in scenario.faults if isinstance(fault, Kill))
    move = next(fault for fault in scenario.faults if isinstance(fault, MoveFlow))
    runs = 0

    def fails(candidate: Scenario) -> bool:
        nonlocal runs
        runs += 1
        return {kill, move} <= set(candidate.faults)

    short = shrink(scenario, max(kill.at_s, move.at_s) + 1.0, fails)
    assert set(short.faults) == {kill, move}
    assert [flow.number for flow in short.flows] == [move.flow]
    assert len(short.mobiles) == 1
    assert short.mobiles[0].number == short.flows[0].mn
    assert runs < 120


def test_what_comes_after_the_failure_goes_first() -> None:
    scenario = generate(2)
    at_s = scenario.agreed_s[0] - 1.0
    early = cut(scenario, at_s)
    assert early.agreed_s == scenario.agreed_s[:1]
    assert all(fault.at_s <= at_s for fault in early.faults)
    assert len(early.faults) < len(scenario.faults)


def test_with_a_mobile_node_goes_what_is_about_it() -> None:
    scenario = generate(3)
    kept = {scenario.mobiles[0].number}
    fewer = only(scenario, kept)
    assert {mobile.number for mobile in fewer.mobiles} == kept
    assert {flow.mn for flow in fewer.flows} <= kept
    assert {getattr(fault, "mn", None) for fault in fewer.faults} <= kept | {None}
    numbers = {flow.number for flow in fewer.flows}
    assert {getattr(fault, "flow", None) for fault in fewer.faults} <= numbers | {None}
    assert with_flows(fewer, ()).flows == ()
