"""What the LMA's own forwarding does for paths that a controller makes, as differences.

In sdn-core it hands packets to the switches natively. In sdn-assisted a flow's packets go through
the tunnel to its anchor MAG, with a flow label by which the switches know it. What the controller
can't be told goes through the tunnels of the LMA as if there were none (fallback).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network

from nodes.actions import (
    Action,
    BlockPrefix,
    ForwardFlows,
    InstallFlow,
    LabelFlow,
    RemoveFlow,
    RoutePrefix,
    UnroutePrefix,
)
from nodes.controller_config import FABRIC_GATEWAY
from nodes.flow_mobility_cache import FlowAction
from nodes.northbound import Mode

# What one request is about: a flow, by its key, or a home network prefix.
Item = int | IPv6Network

MOST_LABELS = 0xF_FFFF


def flow_label(key: int) -> int:
    return 1 + key % MOST_LABELS


@dataclass(slots=True)
class WantedPaths:
    """What the LMA has decided. Paths that are empty aren't there. `anchors` are the MAGs whose
    tunnels flows go through."""

    prefixes: dict[IPv6Network, IPv6Address | None] = field(default_factory=dict)
    flows: dict[int, InstallFlow] = field(default_factory=dict)
    paths: dict[int, tuple[IPv6Address, ...]] = field(default_factory=dict)
    anchors: dict[int, IPv6Address] = field(default_factory=dict)

    def forward(self, key: int, path: tuple[IPv6Address, ...]) -> None:
        if path:
            self.paths[key] = path
            self.anchors.setdefault(key, path[0])
        else:
            self.paths.pop(key, None)
            self.anchors.pop(key, None)

    def remove(self, key: int) -> InstallFlow:
        self.forward(key, ())
        return self.flows.pop(key)

    def anchored_at(self, peer: IPv6Address) -> list[int]:
        return [key for key, anchor in self.anchors.items() if anchor == peer]

    def anchor_anew(self, keys: Iterable[int]) -> None:
        """Where their packets go now."""
        for key in keys:
            if key in self.paths:
                self.anchors[key] = self.paths[key][0]


class PathCarriers:
    """`tunnelled` says whether the LMA's tunnels have to carry an item."""

    def __init__(
        self,
        mode: Mode,
        wanted: WantedPaths,
        tunnelled: Callable[[Item], bool],
        put: Callable[..., None],
    ) -> None:
        self._native = mode == "sdn-core"
        self._wanted = wanted
        self._tunnelled = tunnelled
        self._put: Callable[[Action], None] = put
        self._flows: dict[int, tuple[tuple[IPv6Address, ...], int]] = {}
        self._prefixes: dict[IPv6Network, IPv6Address | None] = {}
        self._anew: set[int] = set()
        # What the tunnels carry until the controller has agreed to it.
        self.in_tunnels: set[Item] = set()

    def install(self, action: InstallFlow) -> None:
        """All flows are classified, whatever carries them: rows that overlap decide together."""
        self._anew.add(action.key)
        self._put(action)

    def remove(self, key: int) -> None:
        self._anew.discard(key)
        self._flows.pop(key, None)
        self.in_tunnels.discard(key)
        self._put(RemoveFlow(key))

    def refresh(self, items: Iterable[Item]) -> None:
        """Prefixes first: packets of no flow have a way then."""
        items = list(items)
        for prefix in (item for item in items if not isinstance(item, int)):
            self._refresh_prefix(prefix)
        changed = []
        for key in (item for item in items if isinstance(item, int)):
            if key not in self._wanted.flows:
                continue
            before, after = self._flows.get(key, ((), 0)), self._carrier(key)
            if after != before or key in self._anew:
                self._anew.discard(key)
                self._flows[key] = after
                changed.append((key, after[0]))
                if after[1] != before[1]:
                    self._put(LabelFlow(key, after[1]))
        if changed:
            self._put(ForwardFlows(tuple(changed)))

    def _note(self, item: Item) -> bool:
        tunnelled = self._tunnelled(item)
        (self.in_tunnels.add if tunnelled else self.in_tunnels.discard)(item)
        return tunnelled

    def _carrier(self, key: int) -> tuple[tuple[IPv6Address, ...], int]:
        """Where the LMA sends the packets of a flow, and their label."""
        tunnelled = self._note(key)
        path = self._wanted.paths.get(key, ())
        dropped = self._wanted.flows[key].entry.action is FlowAction.DROP
        if not path or tunnelled or dropped:
            return path, 0
        if self._native:
            return (FABRIC_GATEWAY,), 0
        return (self._wanted.anchors[key],), flow_label(key)

    def _refresh_prefix(self, prefix: IPv6Network) -> None:
        if prefix not in self._wanted.prefixes:
            self.in_tunnels.discard(prefix)
            if prefix in self._prefixes:
                del self._prefixes[prefix]
                self._put(UnroutePrefix(prefix))
            return
        target = self._wanted.prefixes[prefix]
        tunnelled = self._note(prefix)
        if target is not None and self._native and not tunnelled:
            target = FABRIC_GATEWAY
        if prefix in self._prefixes and self._prefixes[prefix] == target:
            return
        self._prefixes[prefix] = target
        self._put(BlockPrefix(prefix) if target is None else RoutePrefix(prefix, target))
