"""The numbers and tables that an experiment declares, made from its results."""

from __future__ import annotations

import re
from collections.abc import Mapping

from experiments.declaration.declarations import Facts, Number, Table
from experiments.evaluation.results import Results
from experiments.evaluation.selection import estimate, of, paired_difference, select, values_of
from experiments.evaluation.statistics import Interval
from experiments.evaluation.summary import show
from nodes.strict import InputError

NONE = "(no value)"
PLACEHOLDER = re.compile(r"\{([A-Za-z0-9-]+)\}")


def value(number: Number, results: Results) -> Interval:
    """Raises InputError if the rows aren't there, or don't pair."""
    columns = [] if number.statistic == "failed" else [number.y]
    rows = select(results, number.table, number.where, columns)
    if not number.minus:
        return _scaled(estimate(rows, number.y, number.statistic), number.scale)
    less = select(results, number.table, {**number.where, **number.minus}, columns)
    try:
        found = paired_difference(rows, less, number.y, number.statistic)
    except ValueError as error:
        raise InputError(f"{number.table}.csv", "minus", number.minus, str(error)) from None
    return _scaled(found, number.scale)


def _scaled(interval: Interval, scale: float) -> Interval:
    bounds = (interval.estimate * scale, interval.low * scale, interval.high * scale)
    return Interval(*bounds, *interval[3:])


def filled(template: str, values: Mapping[str, str], source: str) -> str:
    """`template` with every `{name}` replaced. Raises InputError for a name that isn't there."""

    def one(match: re.Match[str]) -> str:
        if match[1] not in values:
            known = ", ".join(values) or "none"
            raise InputError(source, "answer", match[0], f"is no number; expected one of {known}")
        return values[match[1]]

    return PLACEHOLDER.sub(one, template)


def shown(numbers: Mapping[str, Number], results: Results) -> dict[str, str]:
    """Each number as people read it: `27.1 [24.1, 30.2]`; NONE where all its runs failed. With the
    verdict, as `name-verdict`, of each that has to be within bounds. Raises InputError."""
    texts = {}
    for name, number in numbers.items():
        found = value(number, results)
        texts[name] = show(found, number.digits) or NONE
        if number.within is not None:
            texts[f"{name}-verdict"] = verdict(number.within, found)
    return texts


def verdict(within: tuple[float, float], found: Interval) -> str:
    """Of the estimate; without runs there is none."""
    low, high = within
    bounds = f"{low:g} to {high:g}"
    if not found.n:
        return f"no runs to compare with {bounds}"
    return f"{'within' if low <= found.estimate <= high else 'OUTSIDE'} {bounds}"


def latex_rows(table: Table, results: Results) -> str:
    """A booktabs tabular. Raises InputError."""
    columns = [*table.by, *(c.y for c in table.columns if c.statistic != "failed")]
    rows = select(results, table.table, table.where, columns)
    heads = [*map(escaped, table.by.values()), *(_stacked(c.head) for c in table.columns)]
    lines = [
        r"\begin{tabular}{" + "l" * len(table.by) + "r" * len(table.columns) + "}",
        r"\toprule",
        " & ".join(heads) + r" \\",
        r"\midrule",
    ]
    combinations: list[tuple[str, ...]] = [()]
    for name in table.by:
        combinations = [(*begun, v) for begun in combinations for v in values_of(rows, name)]
    for combination in combinations:
        group = rows
        for name, value in zip(table.by, combination, strict=True):
            group = of(group, name, value)
        if not len(group):
            continue
        cells = [escaped(table.names.get(value, value)) for value in combination]
        for column in table.columns:
            text = show(estimate(group, column.y, column.statistic), column.digits)
            cells.append(text.replace("-", "$-$") or "--")
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _stacked(head: str) -> str:
    """With its unit below it: a column is as wide as its numbers, and not as its head."""
    what, bracket, unit = escaped(head).partition(" (")
    return rf"\shortstack[r]{{{what}\\({unit}}}" if bracket else what


def latex_facts(facts: Facts) -> str:
    """A booktabs tabular whose columns, but for the first, have the same width."""
    others = len(facts.heads) - 1
    width = rf"p{{\dimexpr0.82\linewidth/{max(others, 1)}-2\tabcolsep}}"
    rows = [" & ".join(map(escaped, row)) + r" \\" for row in facts.rows]
    return "\n".join(
        [
            r"\begin{tabular}{p{0.18\linewidth}" + width * others + "}",
            r"\toprule",
            " & ".join(map(escaped, facts.heads)) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def escaped(text: str) -> str:
    """`text` for LaTeX."""
    special = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
    }
    plain = {character: f"\\{character}" for character in "&%$#_{}"}
    return "".join((special | plain).get(character, character) for character in text)


def macro(experiment: str, name: str) -> str:
    """The LaTeX macro of a number: letters only, so digits are spelled out."""
    digits = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
    words = re.split(r"[^A-Za-z0-9]+", f"{experiment}-{name}")
    capital = "".join(word[:1].upper() + word[1:] for word in words)
    return "\\" + re.sub(r"\d", lambda digit: digits[int(digit[0])], capital)
