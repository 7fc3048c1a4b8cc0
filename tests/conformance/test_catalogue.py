"""The catalogue itself: its ids, and that tests and rules belong together."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.conformance.catalogue import (
    Rule,
    RuleFile,
    core_tests,
    load,
    rule_of,
    socket_tests,
)
from tests.conformance.count import differences
from tests.conformance.rfc_text import keywords, sections

FILES = pytest.mark.parametrize("file", load(), ids=lambda file: file.name)


@FILES
def test_ids_count_the_rules_of_each_section(file: RuleFile) -> None:
    seen: Counter[str] = Counter()
    for rule in file.rule:
        seen[rule.section] += 1
        assert rule.id == f"{file.document}-{rule.section}-{seen[rule.section]:02d}"
        assert file.holds_section(rule.section)
        assert file.occurrences(rule.text), rule.id


@FILES
def test_complete_files_have_a_role_and_a_test_or_a_reason_for_each_rule(file: RuleFile) -> None:
    if file.complete:
        tested = {test.rule for test in (*core_tests(), *socket_tests())}
        for rule in file.rule:
            assert rule.role is not None, rule.id
            assert (rule.id in tested) != (rule.not_applicable is not None), rule.id


def test_every_test_covers_a_rule_that_exists_and_applies() -> None:
    rules = {rule.id: rule for file in load() for rule in file.rule}
    for test in (*core_tests(), *socket_tests()):
        assert test.rule in rules, f"{test.path.name}: {test.function} covers no rule"
        assert rules[test.rule].not_applicable is None, f"{test.function}: not applicable"


@pytest.mark.parametrize("tests", [core_tests, socket_tests])
def test_a_rule_has_one_test_function(tests: object) -> None:
    assert callable(tests)
    counts = Counter(test.rule for test in tests())
    assert [rule for rule, count in counts.items() if count > 1] == []


def test_core_tests_are_in_the_file_of_their_document_and_section() -> None:
    for test in core_tests():
        document, section, _ = test.rule.split("-")
        expected = f"test_{document}_{section.replace('.', '_')}"
        stem = test.path.stem
        assert expected == stem or expected.startswith(f"{stem}_"), test.function


@pytest.mark.parametrize(
    ("function", "rule"),
    [
        ("test_rfc5213_5_3_1_04_mag_is_authorized", "rfc5213-5.3.1-04"),
        ("test_rfc5213_5_01_lma", "rfc5213-5-01"),
        ("test_rfc5213_6_10_05_x", "rfc5213-6.10-05"),
        ("test_rfc5213_6_9_1_1_12_two_words", "rfc5213-6.9.1.1-12"),
        ("test_rfc5213_nothing", None),
        ("test_other", None),
    ],
)
def test_a_name_says_the_rule(function: str, rule: str | None) -> None:
    assert rule_of(function) == rule


RFC = """\
Table of Contents
   1.  Introduction ... 1

1.  Introduction

   The key words "MUST", "SHOULD" are as described in RFC 2119 [RFC2119].
   An anchor MUST



Author, et al.              Standards Track                    [Page 3]
\f
RFC 1234                      Something                       May 2016


   NOT sleep.  Registration is REQUIRED, De-
   Registration SHOULD follow.

1.1.  More

   It SHALL NOT.

Appendix A.  None

   It MUST.
"""


def test_sections_of_a_text() -> None:
    found = sections(RFC)
    assert list(found) == ["1", "1.1"]
    assert keywords(found["1"]) == {"MUST NOT": 1, "REQUIRED": 1, "SHOULD": 1}
    assert keywords(found["1.1"]) == {"SHALL NOT": 1}


def test_count_finds_what_the_catalogue_lacks_and_has_too_much() -> None:
    first = Rule("rfc1234-1-01", "An anchor MUST NOT sleep.")
    second = Rule("rfc1234-1-02", "Registration is REQUIRED, De-Registration SHOULD follow.")
    third = Rule("rfc1234-1.1-01", "It SHALL NOT.")
    whole = RuleFile("rfc1234", (first, second, third), should=True)
    assert differences(whole, RFC) == []
    assert differences(RuleFile("rfc1234", (third,), section="1.1"), RFC) == []
    (missing,) = differences(RuleFile("rfc1234", (first, third)), RFC)
    assert missing.startswith("section 1: ")
    wrong = Rule("rfc1234-1.1-01", "It SHALL NOT ever.")
    assert any("no such" in d for d in differences(RuleFile("rfc1234", (wrong,)), RFC))
