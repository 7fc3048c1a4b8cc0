"""When a change of flows' paths is in force: what flow mobility needs to know of who makes it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from nodes.actions import Outbox, Reply


class PathChanges(Protocol):
    """Flows are named by their keys."""

    def refusal(self) -> str | None:
        """Why a flow can't be added, moved or removed now; None: it can."""

    def awaited(self, keys: Iterable[int]) -> bool:
        """Whether packets of one of these flows may still go another way than decided."""

    def answer(self, key: int, reply: Reply) -> None:
        """Send `reply` as soon as the removal of a flow is in force."""

    def octets_per_s(self, key: int) -> float | None:
        """What is known of the rate of a flow."""


class OwnPaths:
    """The LMA's own tunnels: what is put into the outbox is in force."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def refusal(self) -> str | None:
        return None

    def awaited(self, keys: Iterable[int]) -> bool:
        return False

    def answer(self, key: int, reply: Reply) -> None:
        self._outbox.put(reply)

    def octets_per_s(self, key: int) -> float | None:
        return None
