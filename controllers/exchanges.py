"""What switches have been sent and not answered yet: rules up to a barrier, requests for dumps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from controllers.actions import Action, RequestDump, RuleChange, SendRules
from controllers.config import Timers
from controllers.switch_table import Owner, Switch, owner_of

# Not where the frameworks begin to count, so that answers to their own messages are told apart.
_FIRST_XID = 0x4000_0000
_LAST_XID = 0x7FFF_FFFF


@dataclass(eq=False, slots=True)
class Exchange:
    """`xids`: that of the first request and of its repetitions."""

    switch: Switch
    xids: set[int]
    deadline: float
    repeats: int


@dataclass(eq=False, slots=True)
class Batch(Exchange):
    """Rules of `owners` and a barrier. `refusal`: what the switch said against one of them."""

    owners: frozenset[Owner]
    refusal: str | None = None


@dataclass(eq=False, slots=True)
class Dump(Exchange):
    """`reading`: to learn what the switch has; otherwise for the counters."""

    reading: bool


class Exchanges:
    def __init__(self, timers: Timers, put: Callable[[Action], None]) -> None:
        self._timeout_s = timers.barrier_timeout_ms / 1000
        self._repeats = timers.barrier_retries
        self._put = put
        self._next_xid = _FIRST_XID
        self._open: dict[int, Exchange] = {}
        self._busy: dict[Owner, int] = {}

    def _xid(self) -> int:
        xid = self._next_xid
        self._next_xid = _FIRST_XID if xid == _LAST_XID else xid + 1
        return xid

    def send(self, switch: Switch, changes: Iterable[RuleChange], now: float) -> Batch:
        """Changes of its table, or none, only to hear from it."""
        changes = tuple(changes)
        switch.table.apply(changes)
        owners = frozenset(
            owner for change in changes if (owner := owner_of(change.rule)) is not None
        )
        for owner in owners:
            self._busy[owner] = self._busy.get(owner, 0) + 1
        xid = self._xid()
        batch = Batch(switch, {xid}, now + self._timeout_s, self._repeats, owners)
        self._open[xid] = batch
        self._put(SendRules(switch.name, changes, xid))
        return batch

    def dump(self, switch: Switch, now: float, *, reading: bool) -> Dump:
        xid = self._xid()
        dump = Dump(switch, {xid}, now + self._timeout_s, self._repeats, reading)
        self._open[xid] = dump
        self._put(RequestDump(switch.name, xid))
        return dump

    def get(self, switch: str, xid: int) -> Exchange | None:
        """What an answer of the switch belongs to."""
        found = self._open.get(xid)
        return found if found is not None and found.switch.name == switch else None

    def close(self, exchange: Exchange) -> None:
        for xid in exchange.xids:
            del self._open[xid]
        if isinstance(exchange, Batch):
            for owner in exchange.owners:
                self._busy[owner] -= 1
                if not self._busy[owner]:
                    del self._busy[owner]

    def busy(self, owners: Iterable[Owner]) -> bool:
        """Whether a switch has not confirmed rules of one of these."""
        return any(owner in self._busy for owner in owners)

    def of(self, switch: str) -> list[Exchange]:
        found = {id(e): e for e in self._open.values() if e.switch.name == switch}
        return list(found.values())

    def deadline(self) -> float | None:
        return min((exchange.deadline for exchange in self._open.values()), default=None)

    def repeat(self, now: float) -> list[Exchange]:
        """Ask again for what is late. Those that have been asked for often enough are returned."""
        late = {id(e): e for e in self._open.values() if e.deadline <= now}
        given_up = []
        for exchange in late.values():
            if not exchange.repeats:
                given_up.append(exchange)
                continue
            exchange.repeats -= 1
            exchange.deadline = now + self._timeout_s
            xid = self._xid()
            exchange.xids.add(xid)
            self._open[xid] = exchange
            # The channel is reliable: the rules needn't be sent again.
            name = exchange.switch.name
            again = isinstance(exchange, Dump)
            self._put(RequestDump(name, xid) if again else SendRules(name, (), xid))
        return given_up


def late_switches(exchanges: Iterable[Exchange]) -> Mapping[str, Switch]:
    return {exchange.switch.name: exchange.switch for exchange in exchanges}
