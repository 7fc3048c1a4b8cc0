"""The prompt on a topology with switches: `flowmob shell sdn`, with commands from a file."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from experiments.emulation.prompt import open_prompt


def commands(folder: Path, lines: list[str]) -> str:
    """What the prompt prints."""
    script = folder / "commands"
    script.write_text("".join(f"{line}\n" for line in [*lines, "exit"]), encoding="ascii")
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        open_prompt(folder, str(script))
    return output.getvalue()
