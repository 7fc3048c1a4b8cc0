"""The controller's core: docs/northbound.md says what it does for the LMA, docs/openflow-rules.md
what rules there are.

It compares what is wanted with what switches have, sends what can be changed first, and looks again
when switches have confirmed: after a request, a failure, or the return of a switch alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from controllers.actions import Action, Answer, Disconnect
from controllers.changes import Change, Changes
from controllers.config import Timers
from controllers.exchanges import Batch, Dump, Exchanges, late_switches
from controllers.fabric import Fabric
from controllers.flow_counts import Counted, CountedRule, FlowCounts
from controllers.intents import DesiredState, Intents, Refused, StateRequest, needed_switches
from controllers.sessions import Sessions, Ticket
from controllers.steering import Plan, Steering
from controllers.switch_table import BASE, Owner, Status, Switch, Table
from nodes.actions import Log
from nodes.northbound import (
    ListFlows,
    Reply,
    Request,
    Sync,
)


class Redirection:
    """Time is in seconds, of a clock that is never set."""

    def __init__(self, fabric: Fabric, timers: Timers, now: float) -> None:
        self._fabric = fabric
        self._timers = timers
        self._actions: list[Action] = []
        self._switches = {name: Switch(name) for name in fabric.switches}
        self._sessions = Sessions(self._put)
        self._desired = DesiredState(fabric)
        self._changes = Changes(self._desired)
        self._exchanges = Exchanges(timers, self._actions.append)
        self._steering = Steering(fabric, self._switches, self._desired.gone)
        self._counts = FlowCounts(fabric, self._desired, self._switches, self._exchanges)
        self._connect_deadline = now + timers.connect_timeout_ms / 1000
        self._draining: dict[Owner, float] = {}
        self._held: dict[Owner, float] = {}
        self._statistics_due: float | None = None

    def take_actions(self) -> list[Action]:
        taken = list(self._actions)
        self._actions.clear()
        return taken

    def deadline(self) -> float | None:
        """When `handle_timer` has to be called."""
        awaited = any(switch.status is Status.AWAITED for switch in self._switches.values())
        times = [
            self._connect_deadline if awaited else None,
            self._exchanges.deadline(),
            self._statistics_due,
            min(self._draining.values(), default=None),
            min(self._held.values(), default=None),
        ]
        return min((time for time in times if time is not None), default=None)

    # The LMA

    def connected(self, connection: int) -> None:
        self._sessions.up(connection)

    def disconnected(self, connection: int) -> None:
        self._sessions.down(connection)
        if self._sessions.current is None:
            self._statistics_due = None

    def receive(self, connection: int, request: Request, now: float) -> None:
        if isinstance(request, ListFlows):
            return self._list(connection, request.id, now)
        admitted = self._sessions.admit(connection, request)
        if isinstance(admitted, Reply):
            self._put(Answer(connection, admitted))
        elif admitted is not None:
            if isinstance(request, Sync):
                self._start_anew(request, admitted)
            else:
                self._begin(request, admitted)
        return self._advance(now)

    def _list(self, connection: int, identity: int, now: float) -> None:
        def report(counted: Counted) -> None:
            moving = [owner for change in self._changes for owner in change.owners]
            result = self._counts.listing(counted, moving)
            self._put(Answer(connection, Reply(id=identity, ok=True, result=result)))

        self._counts.collect(report, now)

    def _start_anew(self, sync: Sync, ticket: Ticket) -> None:
        try:
            left_out = self._desired.start_anew(sync)
        except Refused as error:
            return self._sessions.answer(ticket, str(error))
        self._supersede(None, sync.id)
        owners = set(self._desired.owners)
        for switch in self._switches.values():
            owners.update(switch.table.owners)
        change = Change(self._changes.number(), owners - {BASE}, set(), ticket, everything=True)
        change.left_out = left_out
        self._changes.add(change)
        return None

    def _begin(self, request: StateRequest, ticket: Ticket) -> None:
        try:
            intents = self._desired.intents_of(request)
            first = {**intents, **self._desired.first_part(request)}
            self._desired.check(first)
            rules = self._desired.check(intents)
        except Refused as error:
            return self._sessions.answer(ticket, str(error))
        needed = needed_switches(request, rules, self._switches)
        needed.update(*(self._steering.met(owner, rules[owner]) for owner in rules))
        lost = [name for name in needed if self._switches[name].status is Status.LOST]
        if lost:
            return self._sessions.answer(ticket, f"switch {min(lost)} is not connected")
        self._supersede(intents, request.id)
        self._desired.want(first)
        change = Change(self._changes.number(), set(intents), set(), ticket, needed)
        if first != intents:
            change.then = intents
        change.destinations = self._desired.destinations(intents, self._tables)
        self._changes.add(change)
        for owner in intents:
            self._draining.pop(owner, None)
            self._held.pop(owner, None)
        return None

    def _supersede(self, intents: Intents | None, request: int) -> None:
        for change in self._changes.supersede(intents, request):
            if change.ticket is not None:
                self._sessions.answer(change.ticket, f"superseded by request {request}")

    # Switches

    def switch_connected(self, name: str, now: float) -> None:
        """It may have any rules: those that it had, older ones, or none."""
        switch = self._switches[name]
        if switch.status in (Status.READING, Status.READY):
            self._lose(switch, "it has connected anew", now)
        self._read(switch, now)
        self._advance(now)

    def switch_disconnected(self, name: str, now: float) -> None:
        switch = self._switches[name]
        if switch.status in (Status.READING, Status.READY):
            self._lose(switch, "its connection has ended", now)
            self._advance(now)

    def barrier_reply(self, name: str, xid: int, now: float) -> None:
        batch = self._exchanges.get(name, xid)
        if not isinstance(batch, Batch):
            return
        self._exchanges.close(batch)
        if batch.refusal is not None:
            self._refused(batch, batch.refusal, now)
        for change in self._changes:
            change.batches.discard(batch)
            change.probes.discard(batch)
        self._advance(now)

    def switch_error(self, name: str, xid: int, text: str, now: float) -> None:
        """Something that was sent with `xid` isn't done; the barrier is answered all the same."""
        self._log("switch-error", switch=name, xid=xid, error=text)
        batch = self._exchanges.get(name, xid)
        if isinstance(batch, Batch):
            batch.refusal = text

    def dumped(self, name: str, xid: int, rules: Iterable[CountedRule], now: float) -> None:
        dump = self._exchanges.get(name, xid)
        if not isinstance(dump, Dump):
            return
        self._exchanges.close(dump)
        if dump.reading:
            switch = dump.switch
            switch.table = Table(entry.rule for entry in rules)
            switch.uncertain.clear()
            switch.status = Status.READY
            self._log("switch-ready", switch=name, rules=len(switch.table))
            self._reconcile(self._all_owners(), now)
        self._counts.dumped(dump, rules)
        self._advance(now)

    def _read(self, switch: Switch, now: float) -> None:
        switch.status = Status.READING
        self._exchanges.dump(switch, now, reading=True)

    def _refused(self, batch: Batch, text: str, now: float) -> None:
        """What the switch has now isn't known before it is read again."""
        switch = batch.switch
        switch.uncertain.update(batch.owners)
        self._read(switch, now)
        error = f"switch {switch.name} refused a rule: {text}"
        for change in self._changes:
            if batch in change.batches and change.ticket is not None and not change.everything:
                self._fail(change, error, now)
        asked = {
            owner
            for change in self._changes
            if change.ticket is not None and not change.everything
            for owner in change.owners
        }
        for owner in batch.owners - asked:
            self._held[owner] = now + self._timers.retry_ms / 1000
        for change in self._changes:
            left_out = change.owners & self._held.keys()
            change.owners -= left_out
            change.left_out.update({str(owner.name): error for owner in left_out})

    def _lose(self, switch: Switch, reason: str, now: float) -> None:
        self._log("switch-lost", switch=switch.name, reason=reason)
        switch.status = Status.LOST
        for exchange in self._exchanges.of(switch.name):
            self._exchanges.close(exchange)
            if isinstance(exchange, Dump):
                self._counts.gone(exchange)
            elif isinstance(exchange, Batch):
                switch.uncertain.update(exchange.owners)
                for change in self._changes:
                    change.batches.discard(exchange)
                    change.probes.discard(exchange)
        for change in self._changes:
            if switch.name in change.needed:
                self._fail(change, f"switch {switch.name} is lost: {reason}", now)

    # Changes

    def _advance(self, now: float) -> None:
        progress = True
        while progress:
            progress = False
            for change in self._changes:
                if change in self._changes and self._step(change, now):
                    progress = True
        self._announce()

    def _step(self, change: Change, now: float) -> bool:
        """Do what can be done next; whether there was something."""
        if change.batches or not self._may_go_on(change):
            return False
        plan = self._plan(change.owners)
        step = plan.step()
        if step:
            probed = set() if change.probes else change.needed - step.keys()
            if not change.started:
                for name in sorted(probed):
                    change.probes.add(self._exchanges.send(self._switches[name], (), now))
            for name, changes in step.items():
                change.batches.add(
                    self._exchanges.send(self._switches[name], changes.values(), now)
                )
            change.started = True
            return True
        if change.then:
            self._desired.want(change.then)
            change.then = {}
            return True
        if change.probes:
            return False
        self._finish(change, plan, now)
        return True

    def _may_go_on(self, change: Change) -> bool:
        statuses = {self._switches[name].status for name in change.needed}
        if change.everything:
            statuses = {switch.status for switch in self._switches.values()}
        if statuses & {Status.AWAITED, Status.READING}:
            return False
        if change.started:
            return True
        return self._changes.may_start(change) and not self._exchanges.busy(change.owners)

    def _plan(self, owners: Iterable[Owner]) -> Plan:
        plan = Plan()
        for owner in owners:
            self._steering.plan(owner, self._desired.rules(owner), plan)
        return plan

    def _finish(self, change: Change, plan: Plan, now: float) -> None:
        self._changes.remove(change)
        self._desired.agree(change.owners)
        if change.ticket is not None:
            result: dict[str, Any] = {}
            if change.superseded and not change.everything:
                result["superseded"] = {str(o.name): n for o, n in change.superseded.items()}
            if change.left_out:
                result["refused"] = change.left_out
            if change.everything:
                result["lost"] = [n for n, s in self._switches.items() if not s.ready]
                self._start_statistics(now)
            self._sessions.answer(change.ticket, result=result or None)
        if plan.stale or plan.held:
            for owner in change.owners:
                if any(switch.table.of(owner) for switch in self._switches.values()):
                    self._draining[owner] = now + self._timers.drain_ms / 1000

    def _fail(self, change: Change, error: str, now: float) -> None:
        """What was there before is wanted again."""
        self._changes.remove(change)
        if change.ticket is not None:
            self._sessions.answer(change.ticket, error)
        self._desired.withdraw(change.owners)
        self._reconcile(change.owners, now)

    def _reconcile(self, owners: Iterable[Owner], now: float) -> None:
        """Begin to set right what is not as it should be."""
        under_way = {owner for change in self._changes for owner in change.owners}
        differing = set()
        for owner in owners:
            if owner in under_way or owner in self._held:
                continue
            plan = self._plan([owner])
            if plan.step():
                differing.add(owner)
            elif plan.stale:
                self._draining.setdefault(owner, now + self._timers.drain_ms / 1000)
        if differing:
            destinations = self._desired.destinations(differing, self._tables)
            self._changes.add(Change(self._changes.number(), differing, destinations))

    def _all_owners(self) -> set[Owner]:
        """Before the LMA has said what it wants, flows and prefixes stay as they are."""
        if self._desired.mode is None:
            return {BASE}
        owners = set(self._desired.owners)
        for table in self._tables:
            owners.update(table.owners)
        return owners

    @property
    def _tables(self) -> list[Table]:
        return [switch.table for switch in self._switches.values()]

    # Time

    def handle_timer(self, now: float) -> None:
        for switch in self._switches.values():
            if switch.status is Status.AWAITED and self._connect_deadline <= now:
                self._lose(switch, "it has not connected", now)
        for name, switch in late_switches(self._exchanges.repeat(now)).items():
            self._put(Disconnect(name))
            self._lose(switch, "it doesn't answer", now)
        self._remove_drained(now)
        held = [owner for owner, until in self._held.items() if until <= now]
        for owner in held:
            del self._held[owner]
        self._reconcile(held, now)
        if self._statistics_due is not None and self._statistics_due <= now:
            self._start_statistics(now)
            self._counts.collect(self._report_statistics, now)
        self._advance(now)

    def _remove_drained(self, now: float) -> None:
        due = {owner for owner, until in self._draining.items() if until <= now}
        changing = {owner for change in self._changes for owner in change.owners}
        for owner in due:
            if self._exchanges.busy([owner]):
                self._draining[owner] = now + self._timers.barrier_timeout_ms / 1000
            else:
                del self._draining[owner]
        due -= changing | self._draining.keys() | self._held.keys()
        plan = self._plan(due)
        for name, changes in plan.stale.items():
            self._exchanges.send(self._switches[name], changes.values(), now)
        # Packets of others may have come by in the meantime.
        self._reconcile(due, now)

    def _start_statistics(self, now: float) -> None:
        interval_s = self._timers.statistics_interval_ms / 1000
        counting = interval_s and self._desired.mode not in (None, "tunnel")
        counting = counting and self._sessions.current is not None
        self._statistics_due = now + interval_s if counting else None

    def _report_statistics(self, counted: Counted) -> None:
        self._sessions.announce(self._counts.statistics(counted))

    def _announce(self) -> None:
        """A switch is ready when it has the rules that it should have."""
        if any(change.everything for change in self._changes):
            return
        ready = {name for name, switch in self._switches.items() if switch.ready}
        if self._changes.reconciling:
            ready &= self._sessions.ready
        lost = {n for n, s in self._switches.items() if s.status is Status.LOST}
        self._sessions.announce_switches(ready, lost)

    def _put(self, action: Action) -> None:
        self._actions.append(action)

    def _log(self, event: str, **details: Any) -> None:
        self._put(Log(event, details))
