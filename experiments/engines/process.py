"""A run's process group: started, watched against a limit, and ended whole."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


class LimitExceeded(Exception):
    """The process was ended because it had not finished within its limit."""


def run_process(
    command: Sequence[str],
    console: Path,
    limit_s: float,
    environment: Mapping[str, str] | None = None,
) -> tuple[int, float]:
    """Run `command` in a process group of its own with its output in `console`.

    Returns exit status and wall time (s). Whatever happens here, also KeyboardInterrupt, nothing
    of the group is left. Raises LimitExceeded.
    """
    console.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with console.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if environment is None else dict(environment),
            start_new_session=True,
        )
        try:
            status = process.wait(timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise LimitExceeded from None
        finally:
            _end(process)
    return status, time.monotonic() - started


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
