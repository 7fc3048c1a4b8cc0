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
        self._orders: list[Order] = []
        self.moves = 0
        self.touched: set[str] = set()

    def add(self, order: Order) -> None:
        self._orders.append(order)
        self.touched.add(order.mn_id)

    def remove(self, order: Order) -> None:
        self._orders.remove(order)
        self.touched.add(order.mn_id)

    def all(self) -> tuple[Order, ...]:
        return tuple(self._orders)

    def with_flow(self, mn_id: str, fid: int) -> Order | None:
        found = (order for order in self._orders if order.mn_id == mn_id and fid in order.places)
        return next(found, None)

    def waiting_for(self, bid: int) -> list[Order]:
        return [order for order in self._orders if bid in order.unanswered]

    def placed_at(self, bid: int) -> list[Order]:
        """Those that may only wait for a controller."""
        return [order for order in self._orders if order.placed and bid in order.targets()]

    def places(self, mn_id: str) -> dict[int, Placement]:
        """Where the flows of a mobile node are ordered to, by FID."""
        return {
            fid: place
            for order in self._orders
            if order.mn_id == mn_id
            for fid, place in order.places.items()
        }

    def bids(self) -> set[int]:
        """The bindings that orders lead to, or back to."""
        places = (place for order in self._orders for place in order.places.values())
        return {bid for place in places for bid in place.bids + place.previous}
