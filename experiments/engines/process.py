"""A run's process group: started, watched against a limit, and ended whole."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
# What tells a process to end, and arrives as an exception.
INTERRUPTIONS = {signal.SIGINT, signal.SIGTERM}

_libc = ctypes.CDLL(None)


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
    of the group is left; and if this process is killed, so is the first of the group, which has
    to see to the others. Raises LimitExceeded.
    """
    console.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    parent = os.getpid()
    # Until we know what we started, nothing may keep us from ending it.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTIONS)

    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        die_with(parent, signal.SIGKILL)

    try:
        with console.open("wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if environment is None else dict(environment),
                start_new_session=True,
                preexec_fn=prepare,  # noqa: PLW1509 - workers have one thread
            )
    except BaseException:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        raise
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        status = process.wait(timeout=limit_s)
    except subprocess.TimeoutExpired:
        raise LimitExceeded from None
    finally:
        _end(process)
    return status, time.monotonic() - started


def die_with(parent: int, number: signal.Signals) -> None:
    """This process gets signal `number` when `parent` ends, or at once if it has ended."""
    _libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
