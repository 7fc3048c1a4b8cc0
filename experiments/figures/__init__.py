"""Figures of an experiment, by the names that its TOML file lists."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from experiments.declaration.declarations import Plot
from experiments.evaluation.results import Results
from experiments.figures import (
    address_readiness,
    declared,
    latency_delay,
    latency_ecdf,
    packet_counts,
    run_detail,
    style,
    tcp_goodput,
)
from nodes.strict import InputError

FIGURES: Mapping[str, Callable[[Results], Figure]] = {
    "address-readiness": address_readiness.draw,
    "move-latency-ecdf": latency_ecdf.draw,
    "move-latency-delay": latency_delay.draw,
    "packet-counts": packet_counts.draw,
    "run-detail": run_detail.draw,
    "tcp-goodput": tcp_goodput.draw,
}


def check_names(names: Sequence[str], source: str) -> None:
    """Raises InputError, which names `source`, for a figure that there isn't."""
    for number, name in enumerate(names):
        if name not in FIGURES:
            near = difflib.get_close_matches(name, FIGURES, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            expected = f"expected one of {', '.join(FIGURES)}{hint}"
            raise InputError(source, f"figures[{number}]", name, expected)


def draw_figures(
    results_dir: Path,
    names: Sequence[str],
    folder: Path | None = None,
    plots: Mapping[str, Plot] | None = None,
) -> list[Path]:
    """Draw figures by name, and those of `plots`, as PDF and PNG into `folder`, or if that is None
    into `results_dir`/figures.

    Returns the files. Raises InputError for an unknown name, or for results that lack what a
    figure needs; OSError.
    """
    check_names(names, str(results_dir))
    results = Results(results_dir)
    target = results_dir / "figures" if folder is None else folder
    target.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name in names:
        written += style.save(FIGURES[name](results), target / name)
    for name, plot in (plots or {}).items():
        written += style.save(declared.draw(plot, results), target / name)
    return written
