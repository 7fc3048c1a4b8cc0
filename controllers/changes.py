"""Changes under way: what a request, or a difference that was found, has set in motion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from controllers.exchanges import Batch
from controllers.intents import DesiredState, Intents, SteeredFlow
from controllers.sessions import Ticket
from controllers.switch_table import BASE, Owner


@dataclass(eq=False, slots=True)
class Change:
    """`ticket`: of the request; None for what the controller does by itself. It fails if one of the
    switches in `needed` is lost. `then`: what is wanted when the first part is in force.
    `batches` have to be confirmed before the next step, `probes` before the answer."""

    number: int
    owners: set[Owner]
    destinations: set[int]
    ticket: Ticket | None = None
    needed: set[str] = field(default_factory=set)
    everything: bool = False
    then: Intents = field(default_factory=dict)
    started: bool = False
    moves: bool = False
    batches: set[Batch] = field(default_factory=set)
    probes: set[Batch] = field(default_factory=set)
    superseded: dict[Owner, int] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


class Changes:
    """In the order in which they were asked for."""

    def __init__(self, desired: DesiredState) -> None:
        self._desired = desired
        self._changes: list[Change] = []
        self._next_number = 1

    def __iter__(self) -> Iterator[Change]:
        return iter(tuple(self._changes))

    def __contains__(self, change: Change) -> bool:
        return change in self._changes

    def number(self) -> int:
        self._next_number += 1
        return self._next_number - 1

    def add(self, change: Change) -> None:
        self._changes.append(change)

    def remove(self, change: Change) -> None:
        self._changes.remove(change)

    def changes(self, owner: Owner) -> bool:
        return any(owner in change.owners for change in self._changes)

    @property
    def reconciling(self) -> bool:
        return any(change.ticket is None for change in self._changes)

    def supersede(self, owners: Intents | None, request: int) -> list[Change]:
        """A newer request decides on `owners`; None: on all. Changes that have nothing left to do
        are removed and returned; a `Sync` always has, and only another one replaces it."""
        empty = []
        for change in self:
            taken = change.owners - {BASE} if owners is None else change.owners & owners.keys()
            for owner in taken:
                change.owners.discard(owner)
                change.then.pop(owner, None)
                change.superseded[owner] = request
            if not change.owners and not (change.everything and owners is not None):
                self.remove(change)
                empty.append(change)
        return empty

    def may_start(self, change: Change) -> bool:
        """Flows of one mobile node may have packets in common, of which some would be on a path
        that is being built, or taken down. Only moves don't touch each other: all packets of a
        flow that moves have rules of their own all the while."""
        change.moves = self._moves(change)
        for other in self._changes:
            if other is change or not (other.started or other.number < change.number):
                continue
            if change.everything or other.everything:
                return False
            if not other.started:
                other.moves = self._moves(other)
            if change.moves and other.moves:
                continue
            if change.destinations & other.destinations:
                return False
        return True

    def _moves(self, change: Change) -> bool:
        return all(self._is_move(owner) for owner in change.owners)

    def _is_move(self, owner: Owner) -> bool:
        before, after = self._desired.agreed.get(owner), self._desired.wanted.get(owner)
        return (
            isinstance(before, SteeredFlow)
            and isinstance(after, SteeredFlow)
            and before.flow == after.flow
            and bool(before.path.mags)
            and bool(after.path.mags)
        )
