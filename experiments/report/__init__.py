"""`results/index.html`: what all experiments found, for a browser, from disk and with no network.

The pages are templates beside this module; what they show is put in as JSON, and of single runs is
loaded from their `view.js` (`experiments.analysis.run_view`) when one is opened.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from experiments.analysis.measure import OK
from experiments.declaration.declarations import Facts
from experiments.declaration.experiment import text_of
from experiments.declaration.job import write_atomically
from experiments.evaluation.paper import about_runs, answer, caption, figure_names
from experiments.evaluation.record import Source
from experiments.evaluation.summary import factor_columns, read_runs

HERE = Path(__file__).parent
ASSETS = ("report.css", "index.js", "run.js")
INDEX, RUN_PAGE = "index.html", "run.html"
# What the table of runs shows of a move, besides the experiment's factors.
RUN_COLUMNS = (
    *("run", "flow", "source", "target", "status", "move_latency_ms", "floor_ms", "excess_ms"),
    *("interruption_ms", "lost", "reordered", "duplicated", "signalling_messages"),
)


def write_report(sources: Iterable[Source], results: Path) -> Path:
    """Write the pages into `results`; returns the first one's path. Raises InputError, OSError."""
    sections = [_section(source) for source in sources]
    page = _filled(INDEX, {"sections": "".join(sections)})
    write_atomically(results / INDEX, page)
    write_atomically(results / RUN_PAGE, _filled(RUN_PAGE, {}))
    return results / INDEX


def _filled(name: str, values: dict[str, str]) -> bytes:
    """A template with its styles and scripts in it, so that a page is one file."""
    text = (HERE / name).read_text(encoding="utf-8")
    for asset in ASSETS:
        text = text.replace(f"/*{asset}*/", (HERE / asset).read_text(encoding="utf-8"))
    for key, value in values.items():
        text = text.replace(f"<!--{key}-->", value)
    return text.encode()


def _section(source: Source) -> str:
    experiment, name = source.experiment, source.name
    figures = "".join(
        f'<figure><a href="{name}/figures/{figure}.pdf">'
        f'<img src="{name}/figures/{figure}.png" alt="{figure}" loading="lazy"></a>'
        f"<figcaption>{html.escape(caption(experiment, figure))}</figcaption></figure>"
        for figure in figure_names(experiment)
    )
    found = answer(source) if experiment.answer else "See the figures."
    first, stop, rest = found.partition(". ")
    parameters = text_of(name)
    files = " ".join(
        f'<a href="{name}/{file}">{file}</a>'
        for file in ("runs.csv", "flows.csv", "summary.csv", "table.tex")
        if (source.folder / file).exists()
    )
    table = json.dumps(_table(source), separators=(",", ":")).replace("</", "<\\/")
    return f"""<section id="{name}">
<h2>{html.escape(name)}</h2>
<p class="question">{html.escape(experiment.question)}</p>
<p class="answer"><strong>{html.escape(first + stop.rstrip())}</strong> {html.escape(rest)}</p>
<p class="runs">{html.escape(about_runs(source))}</p>
<div class="figures">{figures}</div>
{"".join(map(_facts, experiment.facts.values()))}
<details><summary>Parameters</summary>
<pre>{html.escape(parameters)}</pre></details>
<details class="runs"><summary>Runs</summary><p>Files: {files}. A row is a move; its run opens by a
click on its name, and a heading sorts.</p>
<div class="wide"><table></table></div>
<script type="application/json" class="rows">{table}</script></details>
</section>
"""


def _facts(facts: Facts) -> str:
    def row(kind: str, texts: Iterable[str]) -> str:
        cells = "".join(f"<{kind}>{html.escape(text)}</{kind}>" for text in texts)
        return f"<tr>{cells}</tr>"

    rows = row("th", facts.heads) + "".join(row("td", texts) for texts in facts.rows)
    caption = f"<caption>{html.escape(facts.caption)}</caption>"
    return f'<div class="wide"><table class="facts">{caption}{rows}</table></div>'


def _table(source: Source) -> dict[str, Any]:
    runs = read_runs(source.folder)
    factors = [name for name in factor_columns(runs) if name not in RUN_COLUMNS]
    columns = ["run", *factors, *(name for name in RUN_COLUMNS[1:] if name in runs.columns)]
    rows = [
        [None if isinstance(value, float) and math.isnan(value) else value for value in row]
        for row in runs[columns].astype(object).itertuples(index=False)
    ]
    return {"experiment": source.name, "columns": columns, "rows": rows, "ok": OK}
