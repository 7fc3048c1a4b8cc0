"""What is left in the nodes of a `World` when all is over, and what they hold at any time."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from enum import Enum
from typing import Any

from tests.world import World
from tests.world_plan import MAGS, MOBILE_NODES, PORTS


def check_empty(world: World) -> None:
    """What holds when all mobile nodes have gone and all flows were removed: nothing is left."""
    assert world.lma is not None
    assert list(world.lma.core.bindings) == []
    for name, node in world.nodes.items():
        if name not in MOBILE_NODES:
            kernel = node.kernel
            forwarding = (kernel.tunnels, kernel.routes, kernel.flows, kernel.hosted)
            left = (*forwarding, kernel.watched, kernel.sources)
            assert not any(left), f"{name}: {left}"
    for name in ("lma", *MAGS):
        for path, count in sizes(world.nodes[name].core):
            most = BOUNDS.get(path.rpartition(".")[2], 0)
            assert count <= most, f"{name}{path} has {count} items; expected at most {most}"


# What may be remembered of those who have gone, by the name of the attribute.
BOUNDS = {
    "restart_counters": len(MAGS),
    "_unsupporting": len(MAGS),
    "_peers": len(MAGS),
    "touched": len(MAGS),
    "_seen": len(MOBILE_NODES),
    "_policies": len(MOBILE_NODES),
    "_deciding": len(MOBILE_NODES),
    "_own": len(MOBILE_NODES),
    "_recent": len(PORTS),
    "_links": len(PORTS),
    "_withdrawn": len(PORTS),
    "_denied": len(MOBILE_NODES),
    "_answered": 0x4000,
}


def sizes(thing: Any, path: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, int]]:
    """The containers that an object of the project holds, and how many items they have."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return
    seen.add(id(thing))
    module = type(thing).__module__
    if isinstance(thing, (dict, list, set, deque)):
        if thing:
            yield path, len(thing)
        for item in thing.values() if isinstance(thing, dict) else thing:
            yield from sizes(item, path, seen)
        return
    if isinstance(thing, Enum) or not module.startswith("nodes.") or module == "nodes.config":
        return
    names = [name for cls in type(thing).__mro__ for name in getattr(cls, "__slots__", ())]
    for name in (*names, *getattr(thing, "__dict__", ())):
        yield from sizes(getattr(thing, name), f"{path}.{name}", seen)


def described(thing: Any, seen: dict[int, str] | None = None) -> Any:
    """All that an object of the project holds, as something to print and compare."""
    seen = {} if seen is None else seen
    if isinstance(thing, dict):
        return {repr(key): described(item, seen) for key, item in thing.items()}
    if isinstance(thing, (list, tuple, set, deque)):
        return [described(item, seen) for item in thing]
    if hasattr(type(thing), "__slots__") or not type(thing).__module__.startswith("nodes."):
        return "" if callable(thing) or isinstance(thing, random.Random) else repr(thing)
    if id(thing) in seen:
        return seen[id(thing)]
    seen[id(thing)] = type(thing).__name__
    return {name: described(item, seen) for name, item in vars(thing).items() if name != "_outbox"}
