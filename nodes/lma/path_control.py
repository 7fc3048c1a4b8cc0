"""Paths that a controller makes: what the LMA decides becomes requests to it (docs/northbound.md).

The LMA keeps what it wants, and which part of that the controller hasn't agreed to. A new request
about a flow or prefix replaces what an older one said. On every connection comes first a Sync with
all that the controller has agreed to before; so what was decided while it was away reaches it, and
what it didn't get to do is asked for again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from ipaddress import IPv6Address, IPv6Network
from typing import Any, NamedTuple

from nodes import northbound
from nodes.actions import (
    Action,
    BlockPrefix,
    CloseTunnel,
    ForwardFlows,
    InstallFlow,
    Instant,
    Log,
    Outbox,
    RemoveFlow,
    Reply,
    RoutePrefix,
    UnroutePrefix,
)
from nodes.config import LmaConfig
from nodes.lma.flow_statistics import FlowStatistics
from nodes.lma.northbound_session import NorthboundSession
from nodes.lma.path_carriers import Item, PathCarriers, WantedPaths, flow_label
from nodes.selectors import selector_fields

UNREACHABLE = "the controller is unreachable"
SYNCHRONIZING = "the controller has not synchronized its switches yet"


class Concluded(NamedTuple):
    """Flows whose newest change is in force, or could not be made: `error` says why."""

    keys: frozenset[int]
    error: str | None


class PathControl(Outbox):
    """The outbox of an LMA with a controller: actions for forwarding are for the controller."""

    def __init__(self, config: LmaConfig) -> None:
        super().__init__()
        assert config.controller is not None
        self._mode = config.data_plane
        self._falls_back = config.controller.fallback == "tunnel"
        self._retry_s = config.controller.retry_delay_ms / 1000
        self._session = NorthboundSession(config.controller, super().put)
        self._wanted = WantedPaths()
        self._carriers = PathCarriers(self._mode, self._wanted, self._tunnelled, super().put)
        self.statistics = FlowStatistics()
        self.switches = northbound.Switches(ready=(), lost=())
        self._epoch = 0
        self._synchronized = False
        self._sync: int | None = None
        # The newest request about what isn't agreed yet; 0: it has yet to be sent.
        self._waiting: dict[Item, int] = {}
        # What the controller could not do, and why.
        self._refused: dict[Item, str] = {}
        self._about: dict[int, tuple[Item, ...]] = {}
        # Flows that the controller has agreed to, and the prefixes of those that it still has.
        self._accepted: set[int] = set()
        self._removed: dict[int, tuple[IPv6Network, ...]] = {}
        self._installed: set[int] = set()
        self._answers: dict[int, Reply] = {}
        self._retry_at: float | None = None
        self._lost_before = False

    def put(self, *actions: Action) -> None:
        for action in actions:
            match action:
                case InstallFlow(key):
                    self._wanted.flows[key] = action
                    self._installed.add(key)
                    self._carriers.install(action)
                case ForwardFlows(paths):
                    self._forward(paths)
                case RemoveFlow(key):
                    self._remove(key)
                case RoutePrefix(prefix, proxy_coa):
                    self._route(prefix, proxy_coa)
                case BlockPrefix(prefix):
                    self._route(prefix, None)
                case UnroutePrefix(prefix):
                    del self._wanted.prefixes[prefix]
                    self._ask([prefix])
                case CloseTunnel(peer):
                    self._leave(peer)
                    super().put(action)
                case _:
                    super().put(action)

    def refusal(self) -> str | None:
        """Why a flow can't be added, moved or removed now."""
        if self._synchronized or self._falls_back:
            return None
        return SYNCHRONIZING if self._session.connected else UNREACHABLE

    def awaited(self, keys: Iterable[int]) -> bool:
        """Whether packets of one of these flows may still go another way than decided."""
        return any(key in self._waiting and not self._is_carried(key) for key in keys)

    def answer(self, key: int, reply: Reply) -> None:
        """Send `reply` when the controller has done what it was asked about a removed flow."""
        if self.awaited((key,)):
            self._answers[key] = reply
        else:
            super().put(reply)

    def octets_per_s(self, key: int) -> float | None:
        return self.statistics.octets_per_s(key)

    def status(self) -> dict[str, Any]:
        """What the control socket tells."""
        state = "connected" if self._session.connected else "unreachable"
        return {
            "state": "synchronized" if self._synchronized else state,
            "switches": {"ready": list(self.switches.ready), "lost": list(self.switches.lost)},
            "waiting": len(self._waiting),
            "in_tunnels": len(self._carriers.in_tunnels),
            "refused": sorted(set(self._refused.values())),
        }

    def connected(self, now: Instant) -> None:
        self._epoch = self._epoch or now.unix_ns
        self._session.opened()
        super().put(Log("controller-connected"))
        self._synchronize()

    def lost(self, now: Instant, reason: str = UNREACHABLE) -> list[Concluded]:
        """The connection has ended, or couldn't be made."""
        self._session.ended(now)
        if not self._lost_before:
            super().put(Log("controller-lost", {"reason": reason, "fallback": self._falls_back}))
        self._lost_before = True
        self._synchronized, self._sync, self._retry_at = False, None, None
        self._about.clear()
        self._waiting |= dict.fromkeys(self._refused, 0)
        self._refused.clear()
        self._carriers.refresh(self._everything())
        return self._conclude(self._waiting, None if self._falls_back else reason)

    def received(
        self, message: northbound.Reply | northbound.Event, now: Instant
    ) -> list[Concluded]:
        match message:
            case northbound.Reply():
                if self._session.answered(message):
                    return self._answered(message, now)
            case northbound.Switches():
                if message != self.switches:
                    shown = {"ready": list(message.ready), "lost": list(message.lost)}
                    super().put(Log("switches", shown))
                    self.switches = message
                    self._retry()
            case northbound.Statistics():
                self.statistics.update(message, now)
        return []

    def settle(self, now: Instant) -> None:
        """After every input: what was sent by it waits from now on."""
        self._session.settle(now)

    def deadline(self) -> float | None:
        deadlines = (self._session.deadline(), self._retry_at)
        return min((due for due in deadlines if due is not None), default=None)

    def handle_timer(self, now: Instant) -> list[Concluded]:
        if self._retry_at is not None and self._retry_at <= now.monotonic:
            self._retry()
        lost = self._session.handle_timer(now)
        return [] if lost is None else self.lost(now, lost)

    def _forward(self, paths: Iterable[tuple[int, tuple[IPv6Address, ...]]]) -> None:
        keys = []
        for key, path in paths:
            self._wanted.forward(key, path)
            if key in self._wanted.flows:
                keys.append(key)
        self._ask(keys)

    def _remove(self, key: int) -> None:
        self._removed[key] = self._wanted.remove(key).prefixes
        self._installed.discard(key)
        self._accepted.discard(key)
        self._carriers.remove(key)
        self._ask([key])

    def _route(self, prefix: IPv6Network, target: IPv6Address | None) -> None:
        self._wanted.prefixes[prefix] = target
        self._ask([prefix])

    def _leave(self, peer: IPv6Address) -> None:
        """The tunnel to `peer` goes; flows that have it as their anchor take that of their MAG."""
        if self._mode == "sdn-assisted":
            keys = self._wanted.anchored_at(peer)
            self._wanted.anchor_anew(keys)
            self._ask(keys)

    def _ask(self, items: Collection[Item]) -> None:
        """Have the controller do what is wanted now, all moves of flows in one request."""
        moved: list[Item] = []
        for item in items:
            if item in self._accepted and item not in self._installed:
                moved.append(item)
            else:
                self._request((item,), self._request_about(item))
        if moved:
            paths = tuple(self._path(key) for key in moved if isinstance(key, int))
            self._request(tuple(moved), lambda number: northbound.MoveFlows(id=number, paths=paths))
        self._carriers.refresh(self._with_prefixes(items))

    def _request_about(self, item: Item) -> Callable[[int], northbound.Request]:
        """A request that sets all there is about `item`."""
        if not isinstance(item, int):
            if item not in self._wanted.prefixes:
                return lambda number: northbound.Detach(id=number, prefix=item)
            path = northbound.PrefixPath(prefix=item, mag=self._wanted.prefixes[item])
            return lambda number: northbound.Attach(id=number, path=path)
        if item not in self._wanted.flows:
            return lambda number: northbound.RemoveFlow(id=number, key=item)
        flow, flow_path = self._flow(item), self._path(item)
        return lambda number: northbound.AddFlow(id=number, flow=flow, path=flow_path)

    def _request(self, items: tuple[Item, ...], make: Callable[[int], northbound.Request]) -> None:
        number = self._session.send(make) if self._session.connected else 0
        for item in items:
            self._refused.pop(item, None)
            self._waiting[item] = number
        if number:
            self._about[number] = items

    def _synchronize(self) -> None:
        """Tell all that the controller has agreed to before, and the rest flow by flow: one that it
        refuses must not take the others with it."""
        self._wanted.anchor_anew(key for key in self._carriers.in_tunnels if isinstance(key, int))
        known = [key for key in self._wanted.flows if key in self._accepted]
        prefixes = self._wanted.prefixes.items()
        new = [key for key in self._wanted.flows if key not in self._accepted]
        self._sync = self._session.send(
            lambda number: northbound.Sync(
                id=number,
                epoch=self._epoch,
                mode=self._mode,
                prefixes=tuple(northbound.PrefixPath(prefix=p, mag=mag) for p, mag in prefixes),
                flows=tuple(self._flow(key) for key in known),
                paths=tuple(self._path(key) for key in known),
            )
        )
        self._waiting = dict.fromkeys([*self._waiting, *self._refused, *new], self._sync)
        self._refused.clear()
        self._about.clear()
        for key in new:
            self._request((key,), self._request_about(key))

    def _answered(self, reply: northbound.Reply, now: Instant) -> list[Concluded]:
        error = None if reply.ok else reply.error or "the controller gave no reason"
        if reply.id == self._sync:
            return self._sync_answered(reply, error, now)
        about = self._about.pop(reply.id, ())
        # What is newer than this answer waits for its own.
        newest = [item for item in about if self._waiting.get(item) == reply.id]
        if error is not None and len(newest) < len(about):
            # It was for all or none, and has lost some to a newer one: the others anew.
            self._ask(newest)
            return []
        if error is not None and newest:
            self._retry_at = now.monotonic + self._retry_s
        return self._done(newest, error)

    def _sync_answered(
        self, reply: northbound.Reply, error: str | None, now: Instant
    ) -> list[Concluded]:
        self._sync = None
        if error is not None:
            super().put(Log("controller-refused", {"error": error}))
            self._retry_at = now.monotonic + self._retry_s
            return []
        super().put(Log("controller-synchronized"))
        # Its switches may have changed since it took these.
        left_out = {
            key: why
            for key, why in northbound.refused_flows(reply).items()
            if key in self._wanted.flows and self._waiting.get(key, reply.id) == reply.id
        }
        if left_out:
            self._refused.update((key, why) for key, why in left_out.items())
            self._accepted.difference_update(left_out)
            for key in left_out:
                self._waiting.pop(key, None)
            self._carriers.refresh(self._with_prefixes(left_out))
            self._retry_at = now.monotonic + self._retry_s
        self._synchronized, self._lost_before = True, False
        done = [item for item, newest in self._waiting.items() if newest == reply.id]
        return self._done(done, None)

    def _done(self, items: Collection[Item], error: str | None) -> list[Concluded]:
        concerned = self._with_prefixes(items)
        for item in items:
            del self._waiting[item]
            if error is not None:
                self._refused[item] = error
                if item in self._installed:
                    self._accepted.discard(item)
            elif isinstance(item, int):
                self._installed.discard(item)
                self._removed.pop(item, None)
                if item in self._wanted.flows:
                    self._accepted.add(item)
        self._carriers.refresh(concerned)
        return self._conclude(items, error)

    def _conclude(self, items: Iterable[Item], error: str | None) -> list[Concluded]:
        keys = frozenset(item for item in items if isinstance(item, int))
        for key in keys & self._answers.keys():
            reply = self._answers.pop(key)
            if error is not None:
                error_text = f"the flow is removed here, its rules are not: {error}"
                reply = Reply(reply.token, error=error_text)
            super().put(reply)
        return [Concluded(keys, error)] if keys else []

    def _retry(self) -> None:
        """Ask again for what the controller could not do."""
        self._retry_at = None
        if self._synchronized:
            for item in list(self._refused):
                self._request((item,), self._request_about(item))
        elif self._session.connected and self._sync is None:
            self._synchronize()

    def _flow(self, key: int) -> northbound.Flow:
        found = self._wanted.flows[key]
        return northbound.Flow(
            key=key,
            mn=found.mn_id,
            fid=found.entry.fid,
            priority=found.entry.priority,
            selector=selector_fields(found.entry.selector),
            prefixes=found.prefixes,
            action="drop" if found.entry.action == "drop" else "forward",
            label=flow_label(key),
        )

    def _path(self, key: int) -> northbound.FlowPath:
        anchor = self._wanted.anchors.get(key) if self._mode == "sdn-assisted" else None
        return northbound.FlowPath(key=key, mags=self._wanted.paths.get(key, ()), anchor=anchor)

    def _everything(self) -> list[Item]:
        return [*self._wanted.prefixes, *self._wanted.flows]

    def _with_prefixes(self, items: Iterable[Item]) -> dict[Item, None]:
        """The way of a flow concerns packets of its prefixes that are in no flow: `_tunnelled`."""
        found = dict.fromkeys(items)
        if self._falls_back:
            for key in [item for item in found if isinstance(item, int)]:
                found |= dict.fromkeys(self._prefixes_of(key))
        return found

    def _prefixes_of(self, key: int) -> tuple[IPv6Network, ...]:
        found = self._wanted.flows.get(key)
        return self._removed.get(key, ()) if found is None else found.prefixes

    def _is_carried(self, item: Item) -> bool:
        """Whether tunnels carry what the controller hasn't agreed to."""
        return self._falls_back and (not self._synchronized or item in self._carriers.in_tunnels)

    def _tunnelled(self, item: Item) -> bool:
        """What isn't agreed goes through tunnels from the loss of the controller until it is. So
        do packets of no flow, if rules of one that has gone might catch them."""
        if not self._is_carried(item):
            return False
        if item in self._waiting or item in self._refused:
            return True
        return not isinstance(item, int) and any(
            item in self._prefixes_of(key)
            for key in [*self._waiting, *self._refused]
            if isinstance(key, int) and key not in self._wanted.paths
        )
