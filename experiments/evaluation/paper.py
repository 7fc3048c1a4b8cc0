"""What a paper takes from all experiments: `results/paper/`, made from results that are there.

Figures, `tables.tex`, `numbers.tex` (a macro for each number, so that a text can't be out of date),
`captions.md`, and a document that includes them all and is compiled where LaTeX is installed.
"""

from __future__ import annotations

import inspect
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from experiments.analysis.measure import OK
from experiments.declaration.job import write_atomically
from experiments.declaration.spec import Experiment
from experiments.evaluation.numbers import (
    NONE,
    escaped,
    filled,
    latex_facts,
    latex_rows,
    macro,
    shown,
    value,
)
from experiments.evaluation.record import Source
from experiments.evaluation.results import Results
from experiments.evaluation.statistics import what_runs_give
from experiments.evaluation.summary import show
from experiments.figures import FIGURES

PAPER = "paper"
LATEX = "pdflatex"
LATEX_LIMIT_S = 120
_HEAD = r"""\documentclass[10pt]{article}
\usepackage[a4paper,margin=1.6cm]{geometry}
\usepackage[T1]{fontenc}
\usepackage{booktabs,graphicx}
\input{numbers}
\begin{document}
\title{Flow mobility in Proxy Mobile IPv6: results}
\author{}
\date{}
\maketitle
"""
# A table that is too wide for its column is made smaller, one that is far too wide turned.
_FITTED = r"""\providecommand{\fitted}[1]{%
  \sbox0{#1}%
  \ifdim\wd0>1.3\linewidth
    \rotatebox{90}{%
      \resizebox{\ifdim\wd0>.85\textheight .85\textheight\else\wd0\fi}{!}{\usebox0}}%
  \else
    \resizebox{\ifdim\wd0>\linewidth\linewidth\else\wd0\fi}{!}{\usebox0}%
  \fi}
"""
# Of names of experiments.
_ACRONYMS = {"sdn": "SDN"}


def write_paper(sources: Iterable[Source], target: Path) -> list[Path]:
    """Make everything anew in `target`; returns the files. Raises InputError if results lack what
    is declared, OSError."""
    sources = list(sources)
    (target / "figures").mkdir(parents=True, exist_ok=True)
    files = {
        "numbers.tex": "".join(_numbers(source) for source in sources),
        "tables.tex": _FITTED + "\n".join(_tables(source) for source in sources),
        "captions.md": "# Captions\n" + "".join(_captions(source) for source in sources),
        "paper.tex": _document(sources),
    }
    written = []
    for source in sources:
        for name in figure_names(source.experiment):
            for kind in ("pdf", "png"):
                path = target / "figures" / f"{source.name}-{name}.{kind}"
                drawn = (source.folder / "figures" / f"{name}.{kind}").read_bytes()
                write_atomically(path, drawn)
                written.append(path)
    for name, content in files.items():
        write_atomically(target / name, content.encode())
        written.append(target / name)
    return written + _compile(target)


def figure_names(experiment: Experiment) -> list[str]:
    return [*experiment.figures, *experiment.plots]


def answer(source: Source) -> str:
    """The answer to the experiment's question, with its numbers. Raises InputError."""
    numbers = shown(source.experiment.numbers, Results(source.folder))
    return filled(source.experiment.answer, numbers, f"{source.name}.toml")


def heading(name: str) -> str:
    """The name of an experiment, as prose."""
    first, *others = name.split("-")
    return " ".join([_ACRONYMS.get(first, first.capitalize()), *others])


def caption(experiment: Experiment, figure: str) -> str:
    if figure in experiment.plots:
        return experiment.plots[figure].caption or figure.replace("-", " ").capitalize() + "."
    return (inspect.getdoc(inspect.getmodule(FIGURES[figure])) or figure).partition("\n")[0]


def about_runs(source: Source) -> str:
    """Why there are so many runs, what so many tell, and what is missing of them."""
    results = Results(source.folder)
    counts = results.flows.groupby("point")["run"].nunique().unique()
    said = [source.experiment.why_these_runs]
    said += [what_runs_give(int(count)) for count in sorted(counts, reverse=True)]
    failed = results.flows[results.flows["status"] != OK].drop_duplicates("run")
    moves = results.runs[results.runs["status"] != OK]
    if len(failed):
        reasons = ", ".join(sorted(set(failed["status"])))
        said.append(f"{len(failed)} runs are missing ({reasons}).")
    elif len(moves):
        reasons = ", ".join(sorted(set(moves["status"])))
        said.append(f"{len(moves)} of {len(results.runs)} moves do not count ({reasons}).")
    return " ".join(said)


def _numbers(source: Source) -> str:
    results = Results(source.folder)
    lines = [f"% {source.name}\n"]
    for name, number in source.experiment.numbers.items():
        found = value(number, results)
        command = macro(source.name, name)
        estimate = f"{round(found.estimate, number.digits) + 0.0:.{number.digits}f}"
        if not found.n:
            estimate = NONE
        lines.append(f"\\newcommand{{{command}}}{{{_minus(estimate)}}}\n")
        text = _minus(show(found, number.digits)) or NONE
        lines.append(f"\\newcommand{{{command}Interval}}{{{text}}} % {found.kind}, n = {found.n}\n")
    return "".join(lines)


def _minus(text: str) -> str:
    return text.replace("-", "$-$")


def _tables(source: Source) -> str:
    results = Results(source.folder)
    parts = []
    for name, table in source.experiment.tables.items():
        text = escaped(table.caption or name.replace("-", " ").capitalize() + ".")
        interval = "Means or medians over runs with 95\\,\\% intervals in brackets."
        parts += [
            r"\begin{table}[p]\centering\small",
            rf"\caption{{{text} {interval}}}\label{{tab:{source.name}-{name}}}",
            r"\setlength{\tabcolsep}{3pt}\fitted{%",
            latex_rows(table, results).rstrip() + "}",
            r"\end{table}",
            "",
        ]
    for name, facts in source.experiment.facts.items():
        parts += [
            r"\begin{table}[p]\centering\footnotesize\raggedright",
            rf"\caption{{{escaped(facts.caption)}}}\label{{tab:{source.name}-{name}}}",
            r"\fitted{%",
            latex_facts(facts).rstrip() + "}",
            r"\end{table}",
            "",
        ]
    return "\n".join(parts)


def _captions(source: Source) -> str:
    lines = [f"\n## {source.name}\n\n{source.experiment.question}\n\n{about_runs(source)}\n\n"]
    for name in figure_names(source.experiment):
        lines.append(f"* `{source.name}-{name}`: {caption(source.experiment, name)}\n")
    return "".join(lines)


def _document(sources: list[Source]) -> str:
    parts = [_HEAD]
    for source in sources:
        parts.append(f"\\section{{{escaped(heading(source.name))}}}\n")
        parts.append(escaped(source.experiment.question) + "\n\n")
        if source.experiment.answer:
            parts.append(escaped(answer(source)) + "\n\n")
        parts.append(escaped(about_runs(source)) + "\n\n")
        for name in figure_names(source.experiment):
            text = escaped(caption(source.experiment, name))
            parts.append(
                "\\begin{figure}[htbp]\\centering\n"
                f"\\includegraphics{{figures/{source.name}-{name}.pdf}}\n"
                f"\\caption{{{text}}}\\label{{fig:{source.name}-{name}}}\n"
                "\\end{figure}\n"
            )
        parts.append("\\clearpage\n")
    return "".join([*parts, "\\input{tables}\n\\end{document}\n"])


def _compile(target: Path) -> list[Path]:
    """Nothing where LaTeX isn't installed. Raises OSError with the end of its log if it fails."""
    program = shutil.which(LATEX)
    if program is None:
        return []
    for _ in range(2):  # the second time it knows its references
        result = subprocess.run(
            [program, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
            cwd=target,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LATEX_LIMIT_S,
            check=False,
        )
        if result.returncode:
            raise OSError(f"{LATEX} paper.tex in {target}: {result.stdout[-500:]}")
    for suffix in ("aux", "log"):
        (target / f"paper.{suffix}").unlink(missing_ok=True)
    return [target / "paper.pdf"]
