"""Runs the programs of a kernel build so that none of them outlives it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from experiments.engines.kernel_config import KernelError

DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "TERM")
"""Ends the program also when this one is killed and can't do it."""

POLL_SECONDS = 0.3
GRACE_SECONDS = 5.0
SHOWN_LINES = 15


def run_step(
    command: list[str],
    what: str,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    watch: Callable[[Path], None] | None = None,
) -> str:
    """Run a program to its end and return what it printed.

    `watch` is called now and then with the file that holds the output so far.
    An error of the program becomes a KernelError with its last lines. It runs in a process group
    of its own, which is ended when this function is left in any other way.
    """
    if "/" not in command[0] and not shutil.which(command[0]):
        raise KernelError(f"{what}: the program {command[0]} is missing")
    with tempfile.NamedTemporaryFile(prefix="flowmob-step-") as output:
        try:
            process = subprocess.Popen(
                [*DIE_WITH_PARENT, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**os.environ, "LC_ALL": "C", **(environment or {})},
                start_new_session=True,
            )
        except OSError as error:
            raise KernelError(f"{what}: cannot start {error.filename}: {error.strerror}") from error
        try:
            while True:
                try:
                    status = process.wait(POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    if watch:
                        watch(Path(output.name))
        except BaseException:
            end_group(process)
            raise
        output.seek(0)
        text = output.read().decode(errors="replace")
    if status != 0:
        raise KernelError(f"{what} failed (status {status}):\n{last_lines(text)}")
    return text


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a program and all that it started."""
    for wanted in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, wanted)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)


def last_lines(text: str, count: int = SHOWN_LINES) -> str:
    """Return the end of a program's output, indented, for an error message."""
    return "\n".join(f"    {line}" for line in deque(text.splitlines(), maxlen=count))
