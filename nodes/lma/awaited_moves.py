"""Moves to an access that the mobile node has yet to attach to: dynamic attachment.

The decision is taken when the order comes; the flow is moved as soon as the session is there, which
is when the LMA has accepted the Proxy Binding Update of the new attachment (RFC 7864 section
3.2.1). The acknowledgement leaves before the first packet, on the same path.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nodes.actions import Instant, Log, Outbox, Reply


@dataclass(frozen=True, slots=True)
class AwaitedMove:
    """`deadline` is monotonic, in s."""

    mn_id: str
    fid: int
    to: int | str
    token: int
    deadline: float


class AwaitedMoves:
    """`move` moves a flow to where it can be moved now, and tells whether it could."""

    def __init__(self, move: Callable[[AwaitedMove, Instant], bool], outbox: Outbox) -> None:
        self._move = move
        self._outbox = outbox
        self._waiting: list[AwaitedMove] = []

    def deadline(self) -> float | None:
        return min((move.deadline for move in self._waiting), default=None)

    def order(self, move: AwaitedMove) -> None:
        """A newer order for a flow replaces the one that waits."""
        for other in [o for o in self._waiting if (o.mn_id, o.fid) == (move.mn_id, move.fid)]:
            self._fail(other, "a newer move of this flow replaced it")
        details = {"mn": move.mn_id, "fid": move.fid, "to": str(move.to), "awaited": True}
        self._outbox.put(Log("decision", details))
        self._waiting.append(move)

    def evaluate(self, now: Instant) -> None:
        """After every input: move what can be moved, and give up what is overdue."""
        for move in list(self._waiting):
            if self._move(move, now):
                self._waiting.remove(move)
            elif move.deadline <= now.monotonic:
                self._fail(move, "the mobile node didn't attach there")

    def _fail(self, move: AwaitedMove, reason: str) -> None:
        self._waiting.remove(move)
        self._outbox.put(
            Log("move-failed", {"mn": move.mn_id, "fid": move.fid, "reason": reason}),
            Reply(move.token, error=reason),
        )
