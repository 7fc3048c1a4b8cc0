from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from msgspec.structs import replace

from experiments.declaration.declarations import Table, TableColumn
from experiments.declaration.spec import Experiment
from experiments.evaluation.paper import about_runs, heading, write_paper
from experiments.evaluation.record import Source
from experiments.figures import draw_figures
from nodes.strict import convert
from tests.experiments.synthetic import make_results

EXPERIMENT = convert(
    {
        "question": "Which is faster, 50 % or all?",
        "why_these_runs": "Because.",
        "parts": {},
        "figures": ["packet-counts"],
        "plots": {
            "latency": {
                "kind": "ecdf",
                "y": "move_latency_ms",
                "y_label": "Move latency (ms)",
                "caption": "How long moves take.",
            }
        },
        "numbers": {"shared": {"y": "floor_ms", "where": {"model": "shared", "traffic": "udp"}}},
        "tables": {
            "all": {"by": {"model": "Model"}, "columns": [{"head": "Lost (1)", "y": "lost"}]}
        },
        "facts": {
            "needs": {
                "heads": ["", "MN", "Network"],
                "rows": [["One", "a & b", "<c>"], ["Other", "none", "50 %"]],
                "caption": "What each needs.",
            }
        },
        "answer": "It is {shared} ms.",
    },
    Experiment,
    "test",
)


def write_flows(folder: Path) -> None:
    """What of `flows.csv` says which runs there are; moves alone say what they lack."""
    tables = [pd.read_csv(folder / name) for name in ("runs.csv", "downloads.csv")]
    flows = pd.concat(tables)[["run", "point", "seed"]].drop_duplicates("run")
    flows.assign(status="ok").to_csv(folder / "flows.csv", index=False)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    folder = make_results(tmp_path_factory.mktemp("results"), (10.0,), 3)
    write_flows(folder)
    draw_figures(folder, EXPERIMENT.figures, plots=EXPERIMENT.plots)
    return Source("some-question", EXPERIMENT, folder)


def test_a_paper_has_everything_that_is_declared(source: Source, tmp_path: Path) -> None:
    written = write_paper([source], tmp_path)
    assert {path.name for path in written} >= {
        *("numbers.tex", "tables.tex", "captions.md", "paper.tex"),
        *("some-question-packet-counts.pdf", "some-question-packet-counts.png"),
        *("some-question-latency.pdf", "some-question-latency.png"),
    }
    assert all(path.stat().st_size for path in written)
    numbers = (tmp_path / "numbers.tex").read_text()
    assert r"\newcommand{\SomeQuestionShared}{" in numbers
    assert r"\newcommand{\SomeQuestionSharedInterval}{" in numbers
    assert "n = 3" in numbers  # runs, each with two moves
    document = (tmp_path / "paper.tex").read_text()
    assert r"Which is faster, 50 \% or all?" in document
    assert "{figures/some-question-latency.pdf}" in document
    assert r"\label{tab:some-question-all}" in (tmp_path / "tables.tex").read_text()
    tables = (tmp_path / "tables.tex").read_text()
    assert r"One & a \& b & <c> \\" in tables
    assert r"\caption{What each needs.}\label{tab:some-question-needs}" in tables
    captions = (tmp_path / "captions.md").read_text()
    assert "* `some-question-latency`: How long moves take.\n" in captions
    assert "* `some-question-packet-counts`: Lost, reordered and duplicated packets" in captions


@pytest.mark.parametrize(
    ("name", "title"),
    [("sdn-redirection", "SDN redirection"), ("cold-and-warm", "Cold and warm")],
)
def test_the_heading_of_an_experiment(name: str, title: str) -> None:
    assert heading(name) == title


def test_written_again_it_is_the_same(source: Source, tmp_path: Path) -> None:
    first = {path.name: path.read_bytes() for path in write_paper([source], tmp_path / "1")}
    second = {path.name: path.read_bytes() for path in write_paper([source], tmp_path / "2")}
    first.pop("paper.pdf", None)  # it has its date
    second.pop("paper.pdf", None)
    assert first == second


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="LaTeX is not installed")
def test_the_document_compiles_and_nothing_is_too_wide(source: Source, tmp_path: Path) -> None:
    columns = [TableColumn(head=f"Column {n} (1)", y="move_latency_ms") for n in range(9)]
    wide = {"wide": Table(by={"model": "Model"}, columns=tuple(columns))}
    write_paper([source._replace(experiment=replace(source.experiment, tables=wide))], tmp_path)
    assert (tmp_path / "paper.pdf").read_bytes().startswith(b"%PDF")
    again = ["pdflatex", "-interaction=nonstopmode", "paper.tex"]
    log = subprocess.run(again, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert not re.findall(r"Overfull|Missing character|undefined", log)


def test_a_run_that_is_missing_is_said(source: Source, tmp_path: Path) -> None:
    assert about_runs(source).startswith("Because. 3 runs a point give a median between ranks 1")
    folder = shutil.copytree(source.folder, tmp_path / "r", ignore=shutil.ignore_patterns("runs"))
    flows = pd.read_csv(folder / "flows.csv")
    flows.loc[0, "status"] = "guest hung"
    flows.to_csv(folder / "flows.csv", index=False)
    assert about_runs(source._replace(folder=folder)).endswith("1 runs are missing (guest hung).")
