"""The catalogue of rules (rules/*.toml), and the tests that cover them.

A test's name says which rule it covers: `test_rfc5213_5_3_1_04_mag_is_authorized` covers the rule
`rfc5213-5.3.1-04`, the fourth sentence with a key word in section 5.3.1.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from nodes.strict import read_toml
from tests.conformance.rfc_text import MANDATORY, keywords

HERE = Path(__file__).parent
RULES = HERE / "rules"
SOCKETS = HERE / "sockets"

# `wire`: what a message looks like, whoever sends it. `domain`: what its nodes do together.
Role = Literal["LMA", "MAG", "MN", "wire", "domain"]

_TEST = re.compile(r"test_(rfc\d+)_(\d+(?:_\d+)*)_(\d\d)_[a-z]\w*")


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sentence of an RFC with a key word. `not_applicable` is the reason why no test covers
    it."""

    id: str
    text: str
    role: Role | None = None
    not_applicable: str | None = None

    @property
    def section(self) -> str:
        return self.id.split("-")[1]

    @property
    def keyword(self) -> str:
        """The first one, which the rule is counted under."""
        return next(iter(keywords(self.text)))


class RuleFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rules of one document or of one section of it with its subsections. `complete`: each has
    a test or a reason for having none."""

    document: str
    rule: tuple[Rule, ...]
    section: str | None = None
    should: bool = False
    complete: bool = False

    @property
    def name(self) -> str:
        return self.document if self.section is None else f"{self.document}-{self.section}"

    def holds_section(self, section: str) -> bool:
        wanted = self.section
        return wanted is None or section == wanted or section.startswith(f"{wanted}.")

    def occurrences(self, text: str) -> Counter[str]:
        """How often each key word that makes a rule here occurs in `text`."""
        wanted = (*MANDATORY, "SHOULD", "SHOULD NOT") if self.should else MANDATORY
        return Counter({word: n for word, n in keywords(text).items() if word in wanted})


@dataclass(frozen=True)
class Test:
    """A test function that covers a rule."""

    __test__ = False  # to pytest

    rule: str
    path: Path
    function: str


@cache
def load() -> tuple[RuleFile, ...]:
    return tuple(
        msgspec.convert(read_toml(path), RuleFile, strict=True)
        for path in sorted(RULES.glob("*.toml"))
    )


def rule_of(function: str) -> str | None:
    """The id of the rule that a test function covers by its name; None: its name says none."""
    found = _TEST.fullmatch(function)
    return f"{found[1]}-{found[2].replace('_', '.')}-{found[3]}" if found else None


def core_tests() -> list[Test]:
    return list(_tests(sorted(HERE.glob("test_rfc*.py"))))


def socket_tests() -> list[Test]:
    return list(_tests(sorted(SOCKETS.glob("*.py"))))


def _tests(paths: list[Path]) -> Iterator[Test]:
    for path in paths:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield Test(rule_of(node.name) or node.name, path, node.name)
