"""Not from an RFC: docs/experiments.md says what is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from experiments.declaration.experiment import EXPERIMENTS, for_paper, jobs, points
from experiments.declaration.spec import Experiment
from experiments.evaluation.catalogue import CATALOGUE, MARK, catalogue
from experiments.runner import REFERENCE
from nodes.strict import convert
from tests.experiments.evaluation.test_reference import write_record


def test_the_catalogue_is_that_of_the_experiments() -> None:
    text = CATALOGUE.read_text()
    assert text.partition(MARK)[2] == catalogue(REFERENCE), "run `make catalogue`"


def test_every_figure_of_every_experiment_is_in_it(tmp_path: Path) -> None:
    timed = tmp_path / "prefix-models"
    timed.mkdir()
    write_record(timed)
    text = catalogue(tmp_path)
    sections = dict(re.findall(r"\n## ([a-z-]+)\n(.*?)(?=\n## |\Z)", text, re.S))
    assert [*sections] == for_paper()
    for name, section in sections.items():
        declared = tomllib.loads((EXPERIMENTS / f"{name}.toml").read_text())
        for figure in [*declared.get("figures", []), *declared.get("plots", {})]:
            assert f"| `{figure}` | `experiments.figures." in section
        assert declared["question"] in section
        assert "% confidence" in section
    assert "3 runs took 0.1 min on 2 cores and 0 MB of disk." in sections["prefix-models"]
    assert "Not timed yet." in sections["fidelity"]


def test_the_ten_lines_of_the_page_are_an_experiment() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", CATALOGUE.read_text(), re.S)
    assert len(text.splitlines()) <= 10
    experiment = convert(tomllib.loads(text), Experiment, "example")
    found = points("example", experiment, 2)
    assert [point.name for point in found] == ["near", "far"]
    assert [point.spec.topology.links["cn-lma"].delay_ms for point in found] == [5.0, 50.0]
    assert len(list(jobs("example", found, "virtual"))) == 4
