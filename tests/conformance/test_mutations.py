"""The breaks that `make mutations` tries fit the code; docs/mutations.md has what came of them."""

from __future__ import annotations

import pytest

from tests.conformance.mutate import (
    DOCUMENT,
    ROOT,
    Mutation,
    Outcome,
    broken,
    document,
    load_mutations,
)


@pytest.mark.parametrize("mutation", load_mutations(), ids=lambda mutation: mutation.rule)
def test_the_place_to_break_is_there_once(mutation: Mutation) -> None:
    assert broken(mutation, (ROOT / mutation.file).read_text(encoding="utf-8"))


def test_every_break_was_tried_and_noticed() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for mutation in load_mutations():
        assert f"| {mutation.rule} | {mutation.breaks} |" in text, "`make mutations` tries them"
    assert "**nobody**" not in text


def test_a_break_that_nobody_notices_is_said() -> None:
    mutation = Mutation("a rule", "so", "nodes/mn/mobile_node.py", "old", "new")
    text = document([Outcome(mutation, ()), Outcome(mutation, ("tests/x.py::test_y[1]",))])
    assert "| a rule | so | **nobody** |" in text
    assert "| a rule | so | `test_y` |" in text
    assert "1 of 2 are noticed." in text


def test_a_place_that_is_not_there_is_an_error() -> None:
    mutation = Mutation("a rule", "so", "nodes/mn/mobile_node.py", "old", "new")
    for text in ("", "old old"):
        with pytest.raises(ValueError, match=r"nodes/mn/mobile_node\.py: 'old' is there"):
            broken(mutation, text)
