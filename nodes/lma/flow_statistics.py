"""What switches have counted of each flow, and at what rate."""

from __future__ import annotations

from nodes.actions import Instant
from nodes.northbound import FlowCount, Statistics


class FlowStatistics:
    def __init__(self) -> None:
        self._counts: dict[int, tuple[FlowCount, ...]] = {}
        self._rates: dict[int, float] = {}
        self._at: float | None = None

    def update(self, message: Statistics, now: Instant) -> None:
        before = {(count.key, count.mags): count.octets for count in self.all()}
        elapsed_s = 0.0 if self._at is None else now.monotonic - self._at
        self._at = now.monotonic
        self._counts, self._rates = {}, {}
        for count in message.flows:
            self._counts[count.key] = (*self._counts.get(count.key, ()), count)
            if elapsed_s > 0:
                # A rule that is new counts from zero.
                known = before.get((count.key, count.mags), 0)
                grown = count.octets - (known if known <= count.octets else 0)
                rate = self._rates.get(count.key, 0.0) + grown / elapsed_s
                self._rates[count.key] = rate

    def all(self) -> list[FlowCount]:
        return [count for counts in self._counts.values() for count in counts]

    def counts(self, key: int) -> tuple[FlowCount, ...]:
        """One for each way that the flow has rules for."""
        return self._counts.get(key, ())

    def octets_per_s(self, key: int) -> float | None:
        """Between the last two reports; None: there was no second one that has the flow."""
        return self._rates.get(key)
