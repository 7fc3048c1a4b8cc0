"""Deadlines of many keys agree with the plain way of keeping them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nodes.deadlines import Deadlines

STEPS = st.lists(
    st.tuples(st.integers(0, 5), st.one_of(st.none(), st.integers(0, 20).map(float))), max_size=200
)


@given(steps=STEPS, asked=st.lists(st.integers(0, 20), max_size=4))
def test_as_a_dictionary_says(steps: list[tuple[int, float | None]], asked: list[int]) -> None:
    deadlines: Deadlines[int] = Deadlines()
    plain: dict[int, float] = {}
    for key, at in steps:
        deadlines.set(key, at)
        plain.pop(key, None)
        if at is not None:
            plain[key] = at
        assert deadlines.first() == min(plain.values(), default=None)
    for now in sorted(asked):
        found = deadlines.due(now)
        assert sorted(found) == sorted(key for key, at in plain.items() if at <= now)
        assert [plain[key] for key in found] == sorted(plain[key] for key in found)
        plain = {key: at for key, at in plain.items() if at > now}


def test_equal_times_come_up_as_they_were_set() -> None:
    deadlines: Deadlines[str] = Deadlines()
    for key in ("b", "a", "c"):
        deadlines.set(key, 1.0)
    assert deadlines.due(1.0) == ["b", "a", "c"]


def test_a_key_set_over_and_over_takes_no_more_room() -> None:
    deadlines: Deadlines[int] = Deadlines()
    for turn in range(10_000):
        deadlines.set(1, float(turn))
    assert len(deadlines._heap) < 100
    assert deadlines.first() == 9999.0
