"""Orders to place flows, while they wait for MAGs to answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Placement(NamedTuple):
    """Where a flow is to be, and where it goes back to if that fails. `move` is the number of the
    move; None: the flow is new, and has nothing to go back to."""

    bids: tuple[int, ...]
    previous: tuple[int, ...]
    move: int | None


@dataclass(slots=True, eq=False)
class Order:
    """`places` by FID. `unanswered` are the bindings whose MAGs have to answer first. `placed`: the
    rows have their new bindings; `switched`: packets take the new paths, too."""

    mn_id: str
    token: int
    places: dict[int, Placement] = field(default_factory=dict)
    several: bool = False
    unanswered: set[int] = field(default_factory=set)
    placed: bool = False
    switched: bool = False

    def targets(self) -> set[int]:
        return {bid for place in self.places.values() for bid in place.bids}

    def is_addition(self) -> bool:
        return any(place.move is None for place in self.places.values())

    def result(self) -> dict[str, Any]:
        """What the one who gave the order is told."""
        done: list[dict[str, Any]] = [
            {"fid": fid} if place.move is None else {"fid": fid, "move": place.move}
            for fid, place in self.places.items()
        ]
        return {"flows": done} if self.several else done[0]


class Orders:
    """A flow is in one order at most. `moves`: how many there were. `touched`: the mobile nodes
    whose orders came or went since whoever keeps them on record looked last."""

    def __init__(self) -> None:
        self._of: dict[str, list[Order]] = {}
        self.moves = 0
        self.touched: set[str] = set()

    def add(self, order: Order) -> None:
        self._of.setdefault(order.mn_id, []).append(order)
        self.touched.add(order.mn_id)

    def remove(self, order: Order) -> None:
        own = self._of[order.mn_id]
        own.remove(order)
        if not own:
            del self._of[order.mn_id]
        self.touched.add(order.mn_id)

    def all(self) -> tuple[Order, ...]:
        return tuple(order for own in self._of.values() for order in own)

    def of(self, mn_id: str) -> tuple[Order, ...]:
        return tuple(self._of.get(mn_id, ()))

    def with_flow(self, mn_id: str, fid: int) -> Order | None:
        return next((order for order in self._of.get(mn_id, ()) if fid in order.places), None)

    def waiting_for(self, mn_id: str, bid: int) -> list[Order]:
        return [order for order in self._of.get(mn_id, ()) if bid in order.unanswered]

    def concerning(self, mn_id: str, bid: int) -> list[Order]:
        """Those that wait for a binding, or have placed flows there: they may only wait for a
        controller."""
        return [
            order
            for order in self._of.get(mn_id, ())
            if bid in order.unanswered or (order.placed and bid in order.targets())
        ]

    def places(self, mn_id: str) -> dict[int, Placement]:
        """Where the flows of a mobile node are ordered to, by FID."""
        own = self._of.get(mn_id, ())
        return {fid: place for order in own for fid, place in order.places.items()}

    def names(self, bid: int) -> bool:
        """Whether an order leads to a binding, or back to it, be there such a one or not."""
        places = (place for order in self.all() for place in order.places.values())
        return any(bid in place.bids + place.previous for place in places)
