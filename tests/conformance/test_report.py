"""The table: what counts as covered, and what a run lacks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conformance import __main__ as command
from tests.conformance import catalogue, report
from tests.conformance.catalogue import Rule, RuleFile
from tests.conformance.core import Collector
from tests.conformance.report import Result, rows, totals
from tests.conformance.sockets.carry_out import merge

FILE = RuleFile(
    "rfc1",
    (
        Rule("rfc1-1-01", "It MUST | MUST NOT."),
        Rule("rfc1-1-02", "It MUST."),
        Rule("rfc1-1-03", "It MUST.", not_applicable="nobody does"),
        Rule("rfc1-1-04", "It MUST."),
        Rule("rfc1-1-05", "It MUST."),
    ),
)
CORE = {"rfc1-1-01": Result("pass"), "rfc1-1-02": Result("pass"), "rfc1-1-05": Result("skipped")}
SOCKETS = {"rfc1-1-02": Result("fail", "lma: no")}


def test_verdicts_of_rows() -> None:
    verdicts = [(row.verdict, row.core, row.sockets) for row in rows(FILE, CORE, SOCKETS)]
    assert verdicts == [
        ("pass", "pass", None),
        ("fail", "pass", "fail"),
        ("not applicable", None, None),
        ("untested", None, None),
        ("skipped", "skipped", None),
    ]


def test_totals_count_occurrences_of_each_key_word() -> None:
    found = {total.keyword: total for total in totals({"rfc1": rows(FILE, CORE, SOCKETS)})}
    assert (found["MUST"].covered, found["MUST"].occurrences) == (3, 5)
    assert (found["MUST NOT"].covered, found["MUST NOT"].occurrences) == (1, 1)
    assert (found["all"].covered, found["all"].occurrences) == (4, 6)
    wanted = {"pass": 1, "fail": 1, "skipped": 1, "not applicable": 1, "untested": 1}
    assert found["all"].verdicts == wanted


def test_tables_are_written(tmp_path: Path) -> None:
    report.write(tmp_path, {"rfc1": rows(FILE, CORE, SOCKETS)}, {"commit": "0123"})
    text = (tmp_path / "table.md").read_text()
    assert "| rfc1-1-01 |" in text
    assert "It MUST \\| MUST NOT." in text
    assert "commit: 0123" in text
    data = json.loads((tmp_path / "table.json").read_text())
    assert [row["verdict"] for row in data["rules"]][:2] == ["pass", "fail"]


def test_a_test_that_did_not_run_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    test = catalogue.Test("rfc1-1-01", Path("x.py"), "test_x")
    monkeypatch.setattr(report, "core_tests", lambda: [test])
    assert report.missing({}, {}, ("core",)) == ["test_x (core) didn't run"]
    assert report.missing({"rfc1-1-01": Result("pass")}, {}, ("core",)) == []


def test_one_node_that_fails_fails_the_rule() -> None:
    passed, failed = {"r": Result("pass")}, {"r": Result("fail", "no")}
    for order in ((("lma", passed), ("mag", failed)), (("mag", failed), ("lma", passed))):
        assert merge(*order) == {"r": Result("fail", "mag: no")}


def test_without_the_right_to_raw_sockets_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(address: object) -> None:
        raise PermissionError

    monkeypatch.setattr(command, "Peer", refuse)
    assert command.main(["--lma", "2001:db8::1", "--own", "2001:db8::2"]) == 2
    assert "CAP_NET_RAW" in capsys.readouterr().err


def test_a_node_needs_an_address_to_speak_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--lma", "2001:db8::1"]) == 2
    assert "OWN" in capsys.readouterr().err


@pytest.mark.parametrize("parameter", ["2001:db8::1", "a[0]"])
def test_a_parametrized_test_is_known_by_its_name_whatever_its_parameters(parameter: str) -> None:
    path = "tests/conformance/test_rfc1.py"
    name = f"{path}::test_rfc1_1_01_it_does[{parameter}]"
    collector = Collector()
    collector.pytest_runtest_logreport(
        pytest.TestReport(name, (path, 1, ""), {}, "passed", None, "call")
    )
    assert collector.results == {"rfc1-1-01": Result("pass")}
