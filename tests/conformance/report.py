"""What a conformance run found, as rows and tables."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.conformance.catalogue import RuleFile, core_tests, load, socket_tests

PASS, FAIL, SKIP = "pass", "fail", "skipped"
NOT_APPLICABLE, UNTESTED = "not applicable", "untested"
VERDICTS = (PASS, FAIL, SKIP, NOT_APPLICABLE, UNTESTED)


@dataclass(frozen=True)
class Result:
    """What one test said. `note`: why it failed or was skipped."""

    verdict: str
    note: str = ""


Results = dict[str, Result]  # by rule


@dataclass(frozen=True)
class Row:
    """One rule. `core` and `sockets` are None where no test of that kind ran."""

    rule: str
    reference: str
    keyword: str
    occurrences: dict[str, int]  # of each key word in the text
    role: str
    verdict: str
    core: str | None
    sockets: str | None
    note: str
    text: str


def rows(file: RuleFile, core: Results, sockets: Results) -> list[Row]:
    found = []
    for rule in file.rule:
        results = [r for r in (core.get(rule.id), sockets.get(rule.id)) if r is not None]
        if rule.not_applicable is not None:
            verdict, note = NOT_APPLICABLE, rule.not_applicable
        else:
            said = [result.verdict for result in results]
            verdict = next((v for v in (FAIL, PASS, SKIP) if v in said), UNTESTED)
            note = "; ".join(result.note for result in results if result.note)
        found.append(
            Row(
                rule=rule.id,
                reference=f"{file.document.upper().replace('RFC', 'RFC ')} {rule.section}",
                keyword=rule.keyword,
                occurrences=dict(file.occurrences(rule.text)),
                role=rule.role or "",
                verdict=verdict,
                core=core[rule.id].verdict if rule.id in core else None,
                sockets=sockets[rule.id].verdict if rule.id in sockets else None,
                note=note,
                text=rule.text,
            )
        )
    return found


def all_rows(core: Results, sockets: Results) -> dict[str, list[Row]]:
    """Rows by the name of the file of rules."""
    return {file.name: rows(file, core, sockets) for file in load()}


@dataclass(frozen=True)
class Total:
    """Of one part of the catalogue and one key word, or all of them: rules per verdict (those whose
    first key word it is), and occurrences in the text, which are covered if a test said something
    or a reason says why there is none."""

    part: str
    keyword: str
    verdicts: dict[str, int]
    covered: int
    occurrences: int


def totals(tables: dict[str, list[Row]]) -> list[Total]:
    found = []
    for name, table in tables.items():
        words = sorted({word for row in table for word in row.occurrences})
        for word in [*words, "all"]:
            verdicts = Counter(row.verdict for row in table if word in (row.keyword, "all"))
            every, covered = 0, 0
            for row in table:
                here = sum(n for w, n in row.occurrences.items() if word in (w, "all"))
                every += here
                covered += 0 if row.verdict in (UNTESTED, SKIP) else here
            found.append(Total(name, word, {v: verdicts[v] for v in VERDICTS}, covered, every))
    return found


def as_text(tables: dict[str, list[Row]]) -> str:
    """What is printed: a line a rule, then the totals."""
    lines = []
    for table in tables.values():
        for row in table:
            note = f"  ({row.note.splitlines()[0]})" if row.note else ""
            kinds = f"{_shown(row.core):>8} {_shown(row.sockets):>8}"
            lines.append(f"{row.rule:<22} {row.keyword:<10} {kinds}  {row.verdict}{note}")
    lines += ["", f"{'':<22} {'':<10} " + " ".join(f"{v:>14}" for v in VERDICTS) + "   occurrences"]
    for total in totals(tables):
        counts = " ".join(f"{total.verdicts[v]:>14}" for v in VERDICTS)
        covered = f"{total.covered} of {total.occurrences}"
        lines.append(f"{total.part:<22} {total.keyword:<10} {counts}   {covered}")
    return "\n".join(lines)


def as_markdown(tables: dict[str, list[Row]], about: dict[str, Any]) -> str:
    lines = ["# Conformance", ""]
    lines += [f"- {key}: {value}" for key, value in about.items()]
    lines += ["", "| part | key word | " + " | ".join(VERDICTS) + " | occurrences covered |"]
    lines.append("|---" * (len(VERDICTS) + 3) + "|")
    for total in totals(tables):
        counts = " | ".join(str(total.verdicts[v]) for v in VERDICTS)
        covered = f"{total.covered} of {total.occurrences}"
        lines.append(f"| {total.part} | {total.keyword} | {counts} | {covered} |")
    for name, table in tables.items():
        lines += ["", f"## {name}", "", "| rule | role | verdict | core | sockets | text | note |"]
        lines.append("|---" * 7 + "|")
        for row in table:
            cells = (row.rule, row.role, row.verdict, _shown(row.core), _shown(row.sockets))
            texts = (row.text, row.note.splitlines()[0] if row.note else "")
            lines.append("| " + " | ".join((*cells, *map(_cell, texts))) + " |")
    return "\n".join(lines) + "\n"


def write(folder: Path, tables: dict[str, list[Row]], about: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.md").write_text(as_markdown(tables, about), encoding="utf-8")
    document = {"about": about, "rules": [asdict(row) for t in tables.values() for row in t]}
    text = json.dumps(document, indent=1) + "\n"
    (folder / "table.json").write_text(text, encoding="utf-8")


def missing(core: Results, sockets: Results, kinds: Sequence[str]) -> list[str]:
    """Tests that a run of these kinds should have had and hasn't."""
    wanted = {"core": (core_tests, core), "sockets": (socket_tests, sockets)}
    return [
        f"{test.function} ({kind}) didn't run"
        for kind in kinds
        for test in wanted[kind][0]()
        if test.rule not in wanted[kind][1]
    ]


def _shown(verdict: str | None) -> str:
    return "-" if verdict is None else verdict


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
