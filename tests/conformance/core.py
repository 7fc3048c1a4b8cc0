"""Runs the core-level tests and keeps what each said."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest

from tests.conformance.catalogue import HERE, rule_of
from tests.conformance.report import FAIL, PASS, SKIP, Result, Results

_NOTE_LENGTH = 200


class Collector:
    """A pytest plugin. Of a parametrized test, one failing case fails the rule."""

    def __init__(self) -> None:
        self.results: Results = {}
        self.problems: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.partition("[")[0].rpartition("::")[2]
        rule = rule_of(name)
        if rule is None:
            if report.failed:
                self.problems.append(f"{report.nodeid}: {_note(report)}")
            return
        before = self.results.get(rule)
        if report.failed:
            self.results[rule] = Result(FAIL, f"{name}: {_note(report)}")
        elif report.skipped:
            self.results.setdefault(rule, Result(SKIP, _note(report)))
        elif report.when == "call" and (before is None or before.verdict == SKIP):
            self.results[rule] = Result(PASS)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.problems.append(f"{report.nodeid}: {_note(report)}")


def _note(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The line of a failure that says what was expected."""
    text = report.longreprtext
    lines = [line[1:].strip() for line in text.splitlines() if line.startswith("E ")]
    return (lines[0] if lines else text.strip().rpartition("\n")[2])[:_NOTE_LENGTH]


def run() -> tuple[Results, list[str]]:
    """What each rule's test said, and what went wrong besides: in the catalogue, in collecting."""
    collector = Collector()
    paths = [str(path) for path in sorted(Path(HERE).glob("test_*.py"))]
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main(["-q", "-p", "no:cacheprovider", *paths], plugins=[collector])
    return collector.results, collector.problems
