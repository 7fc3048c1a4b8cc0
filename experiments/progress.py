"""Progress of an experiment: done, failed, remaining time."""

from __future__ import annotations

import sys
import time
from typing import TextIO

LINE_EVERY_S = 15.0


class Progress:
    """One line that is rewritten on a terminal; elsewhere a line every 15 s. Time to go is what
    runs in real time take, `real_s` for all of them, and is in proportion to the emulated time that
    is left of others, `emulated_s`."""

    def __init__(
        self,
        name: str,
        total: int,
        emulated_s: float,
        workers: int,
        stream: TextIO | None = None,
        *,
        real_s: float = 0.0,
    ) -> None:
        self._name = name
        self._total = total
        self._emulated_s = emulated_s
        self._emulated_done_s = 0.0
        self._real_s = real_s
        self._real_done_s = 0.0
        self.workers = workers  # at a time, from now on
        self._stream = sys.stdout if stream is None else stream
        self._done = 0
        self._failed = 0
        self._started = time.monotonic()
        self._last_line = self._started
        self._width = 0

    def start(self, text: str) -> None:
        print(f"{self._name}: {text}", file=self._stream, flush=True)

    def advance(
        self, run: str, failure: str | None, emulated_s: float, real_s: float = 0.0
    ) -> None:
        """One more run has ended, which emulated so much time, or took it in real time."""
        self._done += 1
        self._emulated_done_s += emulated_s
        self._real_done_s += real_s
        if failure is not None:
            self._failed += 1
            reason = next(iter(failure.splitlines()), "no reason given")
            self._write(f"{self._name}: {run} failed: {reason}", end="\n")
        elapsed = time.monotonic() - self._started
        remaining = self._real_s - self._real_done_s
        if self._emulated_done_s:
            rate = max(elapsed - self._real_done_s, 0.0) / self._emulated_done_s
            remaining += rate * (self._emulated_s - self._emulated_done_s)
        running = min(self.workers, self._total - self._done)
        text = (
            f"{self._name}: {self._done} of {self._total} runs"
            + (f", {running} running" if running else "")
            + (f", {self._failed} failed" if self._failed else "")
            + f", {elapsed:.0f} s so far, about {remaining:.0f} s to go"
        )
        if self._stream.isatty():
            self._write(text, end="")
        elif time.monotonic() - self._last_line >= LINE_EVERY_S:
            self._last_line = time.monotonic()
            self._write(text, end="\n")

    def finish(self) -> None:
        if self._total:
            elapsed = time.monotonic() - self._started
            self._write(f"{self._name}: {self._total} runs in {elapsed:.0f} s", end="\n")

    def _write(self, text: str, end: str) -> None:
        start = "\r" if self._stream.isatty() else ""
        print(f"{start}{text.ljust(self._width)}", end=end, file=self._stream, flush=True)
        self._width = 0 if end else len(text)
