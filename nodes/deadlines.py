"""When things are due, for many of them: the next one is found without looking at the others."""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

K = TypeVar("K")


class Deadlines(Generic[K]):
    """Each key has one time (monotonic s), or none."""

    def __init__(self) -> None:
        self._at: dict[K, float] = {}
        # Has old times of keys as well, which are skipped when they come up. The number in between
        # is unique, so that keys are never compared, and has equal times come up as they were set.
        self._heap: list[tuple[float, int, K]] = []
        self._number = 0

    def set(self, key: K, at: float | None) -> None:
        """`key` is due at `at`, or never."""
        if at is None:
            self._at.pop(key, None)
            if not self._at:
                self._heap.clear()
        elif self._at.get(key) != at:
            self._at[key] = at
            self._number += 1
            heapq.heappush(self._heap, (at, self._number, key))
            if len(self._heap) > 2 * len(self._at) + 64:
                self._rebuild()

    def first(self) -> float | None:
        """The time of the key that is due first."""
        heap = self._heap
        while heap and self._at.get(heap[0][2]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def due(self, now: float) -> list[K]:
        """The keys whose time has come, the earliest first; they have none any more."""
        found = []
        while (at := self.first()) is not None and at <= now:
            key = heapq.heappop(self._heap)[2]
            del self._at[key]
            found.append(key)
        return found

    def _rebuild(self) -> None:
        self._heap = [one for one in self._heap if self._at.get(one[2]) == one[0]]
        heapq.heapify(self._heap)
