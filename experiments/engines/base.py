"""What every engine does: carry out one run, whose folder has a `job.json`, and say how it went."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

CONSOLE = Path("logs") / "console.txt"
OUTCOME = "outcome.json"
LAST_LINES = 12


class EngineUnavailable(RuntimeError):
    """This engine can't run here; the text says what is missing and what to do instead."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`failure` is None for a run that went through, else a reason of one line. `wall_s` is the
    real time that it took."""

    failure: str | None
    wall_s: float


class Engine(Protocol):
    """`versions` names what the results depend on besides this project (kernel, its hash)."""

    name: str
    versions: dict[str, str]

    def run(self, folder: Path, limit_s: float) -> Outcome:
        """Carry out the run in `folder`, within `limit_s` of real time."""
        ...


def last_lines(console: Path) -> str:
    """The end of a console, for people who want to know why a run failed."""
    try:
        text = console.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "(no console output)"
    return "\n".join(text.rstrip().splitlines()[-LAST_LINES:]) or "(no console output)"
