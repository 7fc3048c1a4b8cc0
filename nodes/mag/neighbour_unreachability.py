"""Whether mobile nodes are still there, on links that don't say so: Neighbour Unreachability
Detection (RFC 5213 section 6.13, RFC 4861 section 7.3).

The MAG has to know at any time, not just while it has packets to send. So it probes as soon as
ReachableTime has passed since the last sign of life, and goes without the states STALE and DELAY.
"""

from __future__ import annotations

from dataclasses import dataclass

from nodes.actions import Instant, Outbox, ProbeNeighbour
from nodes.mag.binding_update_list import BindingUpdateListEntry
from nodes.router_variables import RouterVariables


@dataclass(slots=True)
class _Neighbour:
    entry: BindingUpdateListEntry
    next_at: float
    probes: int = 0


class NeighbourUnreachability:
    def __init__(self, variables: RouterVariables, outbox: Outbox) -> None:
        self._reachable_s = variables.reachable_time_ms / 1000
        self._retrans_s = variables.retrans_timer_ms / 1000
        self._most = variables.max_unicast_solicit
        self._outbox = outbox
        self._neighbours: dict[str, _Neighbour] = {}

    def deadline(self) -> float | None:
        return min((known.next_at for known in self._neighbours.values()), default=None)

    def watch(self, entry: BindingUpdateListEntry, now: Instant) -> None:
        """The mobile node has just shown that it is there."""
        at = now.monotonic + self._reachable_s
        self._neighbours[entry.interface] = _Neighbour(entry, at)

    def confirmed(self, interface: str, now: Instant) -> None:
        """A sign of life: a solicited Neighbour Advertisement, or any solicitation."""
        known = self._neighbours.get(interface)
        if known is not None:
            self.watch(known.entry, now)

    def forget(self, interface: str) -> None:
        self._neighbours.pop(interface, None)

    def reachable(self, interface: str) -> bool:
        """False while it is asked; links that aren't watched have other ways to tell."""
        known = self._neighbours.get(interface)
        return known is None or known.probes == 0

    def handle_timer(self, now: Instant) -> list[str]:
        """Probe who is due; returns the interfaces whose mobile node is gone."""
        gone = []
        for interface, known in list(self._neighbours.items()):
            if known.next_at > now.monotonic:
                continue
            address = known.entry.mn_link_local
            if known.probes == self._most or address is None:
                del self._neighbours[interface]
                gone.append(interface)
                continue
            known.probes += 1
            known.next_at = now.monotonic + self._retrans_s
            self._outbox.put(ProbeNeighbour(interface, address, known.entry.link_local))
        return gone
