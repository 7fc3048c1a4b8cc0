"""What is done at its instant, and when something can be read: one thread for a whole run."""

from __future__ import annotations

import heapq
import itertools
import selectors
import time
from collections.abc import Callable
from typing import Protocol

NANOSECONDS = 1_000_000_000


class Readable(Protocol):
    def fileno(self) -> int: ...


class Loop:
    """Seconds count from `start_ns` of CLOCK_MONOTONIC."""

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._selector = selectors.SelectSelector()

    @property
    def seconds(self) -> float:
        return (time.monotonic_ns() - self._start_ns) / NANOSECONDS

    def at(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (seconds, next(self._order), what))

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        self.at(self.seconds + seconds, what)

    def watch(self, readable: Readable, what: Callable[[], None]) -> None:
        self._selector.register(readable, selectors.EVENT_READ, what)

    def forget(self, readable: Readable) -> None:
        self._selector.unregister(readable)

    def run(self, until_s: float) -> None:
        """What is due comes before what can be read."""
        while True:
            due = min(self._queue[0][0] if self._queue else until_s, until_s)
            wait = due - self.seconds
            if wait <= 0:
                if due >= until_s and (not self._queue or self._queue[0][0] > until_s):
                    return
                heapq.heappop(self._queue)[2]()
                continue
            for key, _ in self._selector.select(wait):
                # One of those before may have ended it.
                if key.fileobj in self._selector.get_map():
                    key.data()

    def close(self) -> None:
        self._selector.close()
