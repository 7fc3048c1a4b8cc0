"""The results of an experiment as figures read them: runs.csv, and the files of single runs."""

from __future__ import annotations

import json
from collections.abc import Collection
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.analysis.flow_rows import FLOWS
from experiments.analysis.measure import OK
from experiments.analysis.packets import read_packets
from experiments.evaluation.summary import read_runs
from nodes.strict import MISSING, InputError


class Results:
    """`runs` is the table of `runs.csv` with a column `model`. Raises InputError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs: pd.DataFrame = read_runs(folder)

    @cached_property
    def flows(self) -> pd.DataFrame:
        """The table of `flows.csv`. Raises InputError."""
        path = self.folder / FLOWS
        try:
            return pd.read_csv(path, dtype={"run": str, "point": str, "flow": str, "status": str})
        except (OSError, ValueError) as error:
            raise InputError(str(path), "(file)", MISSING, f"can't be read: {error}") from None

    def only(self, runs: Collection[str]) -> Results:
        """These results, as if there were no other runs."""
        chosen = copy(self)
        chosen.runs = self.runs[self.runs["run"].isin(runs)]
        chosen.flows = self.flows[self.flows["run"].isin(runs)]
        return chosen

    def moves(self, traffic: str) -> pd.DataFrame:
        """All moves of flows of a kind (udp or tcp), failed ones included.

        Raises InputError when the experiment has none.
        """
        moves = self.runs[self.runs["traffic"] == traffic]
        if not (moves["status"] == OK).any():
            raise InputError(
                str(self.folder / "runs.csv"), "traffic", MISSING, f"no complete {traffic} move"
            )
        return moves

    def packets(self, run: str) -> pd.DataFrame:
        """The table of a run's packets. Raises InputError."""
        path = self.folder / "runs" / run / "packets.csv.gz"
        try:
            return read_packets(path)
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise InputError(str(path), "(file)", MISSING, f"can't be read: {error}") from None

    def move(self, run: str, number: int) -> dict[str, Any]:
        """What `moves.json` of a run says of one of its moves. Raises InputError."""
        path = self.folder / "runs" / run / "moves.json"
        try:
            entries: list[dict[str, Any]] = json.loads(path.read_text())
            return next(entry for entry in entries if entry["move"] == number)
        except (OSError, ValueError, LookupError, TypeError, StopIteration) as error:
            raise InputError(str(path), "(file)", MISSING, f"can't be read: {error}") from None


def good(moves: pd.DataFrame) -> pd.DataFrame:
    return moves[moves["status"] == OK]


def middle_delay(moves: pd.DataFrame) -> float:
    """The delay at which figures with one delay are drawn."""
    delays = sorted(moves["lma_mag_delay_ms"].unique())
    return float(delays[len(delays) // 2])


def counts_of_runs(moves: pd.DataFrame) -> tuple[int, int]:
    """Smallest number of complete and of expected runs in any group of model, direction, delay."""
    groups = moves.groupby(["model", "direction", "lma_mag_delay_ms"])
    counts = [(int((group["status"] == OK).sum()), len(group)) for _, group in groups]
    return min(counts, key=lambda count: count[0] - count[1])
