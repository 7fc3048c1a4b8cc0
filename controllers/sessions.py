"""Northbound connections and the requests on them: in order, and each carried out once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from controllers.actions import Action, Announce, Answer, HangUp
from controllers.intents import StateRequest
from nodes.actions import Log
from nodes.northbound import Event, Reply, Switches, Sync

# Answers that are kept for requests that come again. The LMA has at most some tens under way.
KEPT_ANSWERS = 1_024


class Ticket(NamedTuple):
    """Names a request; `id`s begin anew with each epoch."""

    epoch: int
    id: int


@dataclass(slots=True)
class _Record:
    request: Sync | StateRequest
    reply: Reply | None = None
    connections: list[int] = field(default_factory=list)


class Sessions:
    """The LMA has one connection that counts: the last one that a `Sync` came on. Of two LMAs the
    one that started later counts as long as it is connected, so that they don't take turns."""

    def __init__(self, put: Callable[[Action], None]) -> None:
        self._put = put
        self._announced: Switches | None = None
        self._open: set[int] = set()
        self._epoch: int | None = None
        self._last = 0
        self._records: OrderedDict[int, _Record] = OrderedDict()
        self.current: int | None = None

    def up(self, connection: int) -> None:
        self._open.add(connection)

    def down(self, connection: int) -> None:
        """What was asked for is carried out all the same."""
        self._open.discard(connection)
        if self.current == connection:
            self.current = None

    def admit(self, connection: int, request: Sync | StateRequest) -> Ticket | Reply | None:
        """A ticket for a new request, which `answer` wants to have back; the answer to one that
        can be answered at once; or None for one that is under way."""
        if isinstance(request, Sync):
            if self.current not in (None, connection):
                assert self._epoch is not None
                if request.epoch < self._epoch:
                    error = (
                        f"epoch is {request.epoch}; expected at least {self._epoch}, "
                        "that of an LMA that started later and is connected"
                    )
                    return Reply(id=request.id, ok=False, error=error)
                self._put(HangUp(self.current))
            if request.epoch != self._epoch:
                self._epoch, self._last = request.epoch, 0
                self._records.clear()
            self.current = connection
            self._announced = None
        elif connection != self.current:
            return Reply(id=request.id, ok=False, error=self._not_current())
        assert self._epoch is not None
        known = self._records.get(request.id)
        if known is not None:
            if known.request != request:
                error = f"id is {request.id}, which another request had; expected a new one"
                return Reply(id=request.id, ok=False, error=error)
            if known.reply is None and connection not in known.connections:
                known.connections.append(connection)
            return known.reply
        if request.id <= self._last:
            error = f"id is {request.id}; expected one above {self._last}"
            return Reply(id=request.id, ok=False, error=error)
        self._last = request.id
        self._records[request.id] = _Record(request, connections=[connection])
        self._forget_old()
        self._put(Log("request", {"op": type(request).__name__, "id": request.id}))
        return Ticket(self._epoch, request.id)

    def _not_current(self) -> str:
        if self.current is None:
            return "sync: expected as the first request of a connection"
        return "sync: another connection has sent one since; expected it again from this one"

    def _forget_old(self) -> None:
        while len(self._records) > KEPT_ANSWERS:
            oldest = next(iter(self._records))
            if self._records[oldest].reply is None:
                return
            del self._records[oldest]

    def answer(self, ticket: Ticket, error: str | None = None, result: Any = None) -> None:
        """On all connections that want it; and when it is asked for again."""
        reply = Reply(id=ticket.id, ok=error is None, error=error, result=result)
        details = {} if error is None else {"error": error}
        self._put(Log("answer", {"id": ticket.id, "ok": reply.ok, **details}))
        record = self._records.get(ticket.id)
        if ticket.epoch != self._epoch or record is None:
            return
        record.reply = reply
        for connection in record.connections:
            if connection in self._open:
                self._put(Answer(connection, reply))
        record.connections.clear()

    def announce(self, event: Event) -> None:
        if self.current is not None:
            self._put(Announce(self.current, event))

    @property
    def ready(self) -> set[str]:
        """The switches that have been announced as that."""
        return set() if self._announced is None else set(self._announced.ready)

    def announce_switches(self, ready: Iterable[str], lost: Iterable[str]) -> None:
        """If that has changed since the last `Sync`."""
        event = Switches(ready=tuple(sorted(ready)), lost=tuple(sorted(lost)))
        if self.current is not None and event != self._announced:
            self._announced = event
            self.announce(event)
