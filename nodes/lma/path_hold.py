"""A short hold of the first packets on a flow's new path, so that they don't overtake the last ones
on the old path. No RFC has it; `hold_ms` of the mobile node's policy switches it on.

The old path's last packet leaves the LMA before the switch. So if no packet leaves over the new
path until `hold_ms` after it, and the paths differ by no more than that, none overtakes another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from ipaddress import IPv6Address

from nodes.actions import (
    Action,
    EndHold,
    ForwardFlows,
    HoldFlows,
    InstallFlow,
    Instant,
    Outbox,
    ReleaseFlows,
    RemoveFlow,
)
from nodes.config import LmaConfig
from nodes.flow_mobility_cache import FlowAction

# The kernel's clock of a hold starts when the action is carried out, this one when it is decided.
MARGIN_S = 0.1


class PathHolds(Outbox):
    """The outbox of an LMA whose own tunnels carry the flows: moves that pass through it are held.

    A hold is over in two steps: what comes from `hold_ms` on passes at once, behind what waits; and
    what came just before has waited for as long at the latest.
    """

    def __init__(self, config: LmaConfig) -> None:
        super().__init__()
        self._policies = config.mobile_nodes
        self._hold_ms: dict[int, int] = {}
        self._paths: dict[int, tuple[IPv6Address, ...]] = {}
        self.holds = 0
        self._begun: list[HoldFlows] = []
        self._due: list[tuple[float, Action]] = []

    def put(self, *actions: Action) -> None:
        for action in actions:
            match action:
                case InstallFlow(key, entry):
                    held = entry.action is FlowAction.FORWARD
                    self._hold_ms[key] = self._policies[action.mn_id].hold_ms if held else 0
                case RemoveFlow(key):
                    self._hold_ms.pop(key, None)
                    self._paths.pop(key, None)
                case ForwardFlows(paths):
                    self._hold(paths)
            super().put(action)

    def _hold(self, paths: Iterable[tuple[int, tuple[IPv6Address, ...]]]) -> None:
        moved: defaultdict[int, list[int]] = defaultdict(list)
        for key, path in paths:
            before, self._paths[key] = self._paths.get(key, ()), path
            # A path that copies took already has nothing to wait for.
            if before and len(path) == 1 and path[0] not in before:
                moved[self._hold_ms.get(key, 0)].append(key)
        moved.pop(0, None)
        for hold_ms, keys in moved.items():
            self.holds += 1
            hold = HoldFlows(self.holds, tuple(keys), hold_ms)
            self._begun.append(hold)
            super().put(hold)

    def deadline(self) -> float | None:
        return min((at for at, _ in self._due), default=None)

    def settle(self, now: Instant) -> None:
        """After every input: its moves happen now."""
        for hold in self._begun:
            length = hold.hold_ms / 1000
            self._due.append((now.monotonic + length, ReleaseFlows(hold.hold)))
            self._due.append((now.monotonic + 2 * length + MARGIN_S, EndHold(hold.hold)))
        self._begun.clear()

    def handle_timer(self, now: Instant) -> None:
        due = sorted((entry for entry in self._due if entry[0] <= now.monotonic), key=_when)
        self._due = [entry for entry in self._due if entry[0] > now.monotonic]
        super().put(*(action for _, action in due))


def _when(entry: tuple[float, Action]) -> float:
    return entry[0]
