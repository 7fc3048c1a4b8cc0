"""Other work on the machine that carries out a run: what real time suffers from, and virtual time
doesn't."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

from experiments.engines.process import die_with

# Computes without pause, in one process, at normal priority.
_BUSY = "while True: pass"


@contextlib.contextmanager
def host_load(per_core: int) -> Iterator[list[int]]:
    """Keep `per_core` processes for each usable core busy during the block; gives their process
    ids. They end with it, and with this process however it ends."""
    parent = os.getpid()
    count = per_core * len(os.sched_getaffinity(0))
    with contextlib.ExitStack() as stack:
        processes = []
        for _ in range(count):
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _BUSY],
                stdin=subprocess.DEVNULL,
                preexec_fn=lambda: die_with(parent, signal.SIGKILL),  # noqa: PLW1509 - one thread
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            processes.append(process.pid)
        yield processes
