"""Progress of a long setup step: one line that changes on a terminal, some lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

TERMINAL_INTERVAL = 0.5
LOG_INTERVAL = 15.0
TRUSTED_SHARE = 0.05
"""Below this share the start says little about the rest, and the first guess is shown."""


def say(text: str) -> None:
    """Print one line of the setup at once."""
    print(text, flush=True)


def minutes(seconds: float) -> str:
    """Return a duration as m:ss."""
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d}"


class Progress:
    """Shows share, elapsed time and an estimate of the rest."""

    def __init__(
        self,
        label: str,
        total: float,
        guess_seconds: float,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label = label
        self._total = max(total, 1.0)
        self._guess = guess_seconds
        self._stream = stream or sys.stdout
        self._clock = clock
        self._terminal = self._stream.isatty()
        self._interval = TERMINAL_INTERVAL if self._terminal else LOG_INTERVAL
        self._start = self._shown = clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the step began."""
        return self._clock() - self._start

    def update(self, done: float) -> None:
        """Note how much is done; show it if the last time is long enough ago."""
        now = self._clock()
        if now - self._shown < self._interval:
            return
        self._shown = now
        # The total is an estimate: more than it means nearly done, never more than all.
        share = min(done / self._total, 0.99)
        spent = self.elapsed
        rest = spent * (1 - share) / share if share >= TRUSTED_SHARE else self._guess - spent
        self._write(
            f"{share:4.0%}, {minutes(spent)} gone, about {minutes(max(rest, 1.0))} left", "\r"
        )

    def finish(self) -> None:
        """Show that the step is done."""
        self._write(f"done in {minutes(self.elapsed)}", "\n")

    def abandon(self) -> None:
        """Leave the changing line before an error is printed."""
        if self._terminal:
            self._stream.write("\n")
            self._stream.flush()

    def _write(self, text: str, end: str) -> None:
        if self._terminal:
            self._stream.write(f"\r\x1b[K  {self._label}: {text}{'' if end == chr(13) else end}")
        else:
            self._stream.write(f"  {self._label}: {text}\n")
        self._stream.flush()
