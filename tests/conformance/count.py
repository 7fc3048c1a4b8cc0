"""Counts the key words in RFC texts and compares them with the catalogue:

    python -m tests.conformance.count rfc5213.txt rfc7864.txt

The texts are the RFC editor's plain ones; they are not part of this project.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.conformance.catalogue import RuleFile, load
from tests.conformance.rfc_text import one_line, sections


def differences(file: RuleFile, text: str) -> list[str]:
    """What the catalogue has otherwise than the text."""
    found: list[str] = []
    bodies = {s: one_line(body) for s, body in sections(text).items() if file.holds_section(s)}
    for rule in file.rule:
        if rule.text not in bodies.get(rule.section, ""):
            found.append(f"{rule.id}: the text of section {rule.section} has no such sentence")
    for section, body in bodies.items():
        there = file.occurrences(body)
        rules = [rule.text for rule in file.rule if rule.section == section]
        here = sum((file.occurrences(rule) for rule in rules), Counter())
        if there != here:
            found.append(f"section {section}: text {dict(there)}, catalogue {dict(here)}")
    return found


def table(file: RuleFile, text: str) -> list[str]:
    """Rows of: section, rules, occurrences in the text."""
    rows = []
    for section, body in sections(text).items():
        there = file.occurrences(body) if file.holds_section(section) else Counter[str]()
        if there:
            rules = sum(rule.section == section for rule in file.rule)
            words = ", ".join(f"{n} {word}" for word, n in sorted(there.items()))
            rows.append(f"{file.document} {section:<8} {rules:>4} rules  {words}")
    rules = sum((file.occurrences(rule.text) for rule in file.rule), Counter[str]())
    words = ", ".join(f"{n} {word}" for word, n in sorted(rules.items()))
    rows.append(f"{file.name}: {len(file.rule)} rules for {rules.total()} occurrences: {words}")
    return rows


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="count", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("text", type=Path, nargs="+", help="an RFC's text, named like rfc5213.txt")
    paths = {path.stem: path for path in parser.parse_args(arguments).text}
    files = [file for file in load() if file.document in paths]
    if unknown := set(paths) - {file.document for file in files}:
        print(f"no rules of {', '.join(sorted(unknown))} in the catalogue", file=sys.stderr)
        return 2
    wrong: list[str] = []
    for file in files:
        text = paths[file.document].read_text()
        print("\n".join(table(file, text)))
        wrong += differences(file, text)
    print("\n".join(wrong) if wrong else "The catalogue has every occurrence.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
