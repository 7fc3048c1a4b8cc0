"""`results/reference/`: what a full run of each experiment found, committed, to compare with."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Sequence
from pathlib import Path

from experiments.analysis.flow_rows import FLOWS
from experiments.analysis.measure import DOWNLOADS, RUNS
from experiments.declaration.experiment import points
from experiments.declaration.job import run_name, write_atomically
from experiments.evaluation.numbers import value
from experiments.evaluation.paper import figure_names
from experiments.evaluation.record import RECORD, Source, read_record
from experiments.evaluation.results import Results
from nodes.strict import InputError

TABLES = (RUNS, DOWNLOADS, FLOWS, "summary.csv", "table.tex", RECORD)
NUMBERS = "numbers.csv"


def write_reference(sources: Sequence[Source], target: Path) -> int:
    """Make the folders of these experiments in `target` anew, and remove those of others that were
    there; returns the octets that they take. Raises InputError, before anything is changed, if a
    run is missing, or not all results are of the same engines; OSError."""
    for source in sources:
        check_complete(source)
    _check_versions(sources)
    target.mkdir(parents=True, exist_ok=True)
    names = {source.name for source in sources}
    for folder in target.iterdir():
        if folder.is_dir() and folder.name not in names:
            shutil.rmtree(folder)
    return sum(_copy(source, target / source.name) for source in sources)


def check_complete(source: Source) -> None:
    """Raises InputError unless all runs that the experiment asks for are there and none failed."""
    wanted = {
        run_name(point.name, seed)
        for point in points(source.name, source.experiment)
        for seed in range(1, point.seeds + 1)
    }
    lacking = sorted(wanted - set(Results(source.folder).flows["run"]))
    failed = sorted(read_record(source.folder)["failed"])
    if lacking or failed:
        what = f"{len(lacking)} runs are missing" if lacking else f"{len(failed)} runs failed"
        expected = f"{what}, of {len(wanted)}; `make paper` makes them"
        raise InputError(str(source.folder), "runs", (lacking or failed)[0], expected)


def _check_versions(sources: Sequence[Source]) -> None:
    """One kernel for all, or nobody could say what the reference was made with."""
    first: dict[str, object] = {}
    for source in sources:
        for engine, versions in read_record(source.folder)["versions"].items():
            if first.setdefault(engine, versions) != versions:
                raise InputError(
                    str(source.folder / RECORD),
                    f"versions.{engine}",
                    versions,
                    f"expected {first[engine]}, as in the results before",
                )


def _copy(source: Source, target: Path) -> int:
    shutil.rmtree(target, ignore_errors=True)
    (target / "figures").mkdir(parents=True)
    for name in TABLES:
        if (source.folder / name).exists():
            shutil.copyfile(source.folder / name, target / name)
    for figure in figure_names(source.experiment):
        for kind in ("pdf", "png"):
            name = f"{figure}.{kind}"
            shutil.copyfile(source.folder / "figures" / name, target / "figures" / name)
    write_atomically(target / NUMBERS, _numbers(source).encode())
    return sum(path.stat().st_size for path in target.rglob("*") if path.is_file())


def _numbers(source: Source) -> str:
    """The numbers of the answer, for people; `verify` takes them from the rows."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["number", "estimate", "low", "high", "runs", "interval"])
    results = Results(source.folder)
    for name, number in source.experiment.numbers.items():
        found = value(number, results)
        shown = [f"{part:.6g}" for part in (found.estimate, found.low, found.high)]
        writer.writerow([name, *shown, found.n, found.kind])
    return text.getvalue()
