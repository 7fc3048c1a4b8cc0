"""What every engine does: carry out one run, whose folder has a `job.json`, and say how it went."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

CONSOLE = Path("logs") / "console.txt"
OUTCOME = "outcome.json"
LAST_LINES = 12
# A kernel's stack and call trace, which bury the line that says what happened.
_TRACE = re.compile(r"\s*(\[<[0-9a-f]+>\].*|([0-9a-f]{8,16}\s*)+|Stack:|Call Trace:)\s*")


class EngineUnavailable(RuntimeError):
    """This engine can't run here; the text says what is missing and what to do instead."""


# How the reason of a run begins that wasn't tried, because its engine can't run here.
SKIPPED = "skipped: "


@dataclass(frozen=True, slots=True)
class Outcome:
    """`failure` is None for a run that went through, else a reason of one line and what may follow
    it. `wall_s` is the real time that it took."""

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
    lines = [line for line in text.rstrip().splitlines() if not _TRACE.fullmatch(line)]
    return "\n".join(lines[-LAST_LINES:]) or "(no console output)"


def hung(limit_s: float, console: Path) -> Outcome:
    """The outcome of a run that was ended because it reached its limit."""
    return Outcome(f"did not finish within {limit_s:g} s\n{_console(console)}", limit_s)


def ended_early(console: Path, wall_s: float) -> Outcome:
    """The outcome of a run that ended without saying how it went."""
    text = last_lines(console)
    panic = re.search(r"Kernel panic - not syncing: (.*)", text)
    reason = f"the guest's kernel panicked: {panic[1]}" if panic else "ended without an outcome"
    return Outcome(f"{reason}\n{_console(console)}", wall_s)


def _console(console: Path) -> str:
    return f"The console's last lines:\n{last_lines(console)}"
