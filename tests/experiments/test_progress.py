"""Not from an RFC: what the user sees of an experiment's progress."""

from __future__ import annotations

import io

import pytest

from experiments import progress
from experiments.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def test_a_terminal_shows_one_line_that_is_rewritten(clock: Clock) -> None:
    stream = Terminal()
    shown = Progress("smoke", 4, 40.0, 2, stream)
    clock.seconds += 10
    shown.advance("a", None, 10.0)
    clock.seconds += 10
    shown.advance("b", None, 20.0)
    shown.finish()
    lines = stream.getvalue().split("\r")
    assert lines[1] == "smoke: 1 of 4 runs, 2 running, 10 s so far, about 30 s to go"
    assert lines[2].rstrip() == "smoke: 2 of 4 runs, 2 running, 20 s so far, about 7 s to go"
    assert lines[3].rstrip() == "smoke: 4 runs in 20 s"
    assert len(lines[3].rstrip("\n")) == len(lines[2].rstrip())  # nothing of the longer one stays
    assert stream.getvalue().count("\n") == 1


def test_runs_in_real_time_take_their_time_and_do_not_count_for_the_rate(clock: Clock) -> None:
    stream = Terminal()
    shown = Progress("paper", 4, 100.0, 2, stream, real_s=20.0)
    clock.seconds += 5
    shown.advance("virtual-s1", None, 50.0)
    clock.seconds += 5
    shown.advance("virtual-s2", None, 50.0)
    clock.seconds += 10
    shown.advance("realtime-s1", None, 0.0, 10.0)
    told = [line.rpartition(", ")[2] for line in stream.getvalue().split("\r")[1:]]
    assert told == ["about 25 s to go", "about 20 s to go", "about 10 s to go"]


def test_a_file_gets_a_line_every_15_s(clock: Clock) -> None:
    stream = io.StringIO()
    shown = Progress("smoke", 100, 100.0, 1, stream)
    for _ in range(40):
        clock.seconds += 1
        shown.advance("a", None, 1.0)
    assert [line.split(",")[0] for line in stream.getvalue().splitlines()] == [
        "smoke: 15 of 100 runs",
        "smoke: 30 of 100 runs",
    ]


@pytest.mark.parametrize(
    ("failure", "reason"), [("no\nTraceback", "no"), ("", "no reason given"), ("\n", "")]
)
def test_failures_are_shown_at_once_and_counted(clock: Clock, failure: str, reason: str) -> None:
    stream = io.StringIO()
    shown = Progress("smoke", 2, 20.0, 2, stream)
    clock.seconds += 15
    shown.advance("a-s1", failure, 10.0)
    assert stream.getvalue().splitlines() == [
        f"smoke: a-s1 failed: {reason}",
        "smoke: 1 of 2 runs, 1 running, 1 failed, 15 s so far, about 15 s to go",
    ]


def test_nothing_to_do_is_finished_without_a_word(clock: Clock) -> None:
    stream = io.StringIO()
    shown = Progress("smoke", 0, 0.0, 2, stream)
    shown.start("all runs are there")
    shown.finish()
    assert stream.getvalue() == "smoke: all runs are there\n"
