"""Duplicate Address Detection for the addresses of the logical interface (RFC 4862 section 5.4), on
the access where their prefix was advertised first.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from nodes.actions import Instant, Outbox, ProbeAddress
from nodes.host_variables import HostVariables


@dataclass(slots=True)
class _Tentative:
    """`left`: probes that are still to be sent; `due` (monotonic, s): the next, or the end."""

    interface: str
    left: int
    due: float


class DuplicateAddressDetection:
    """`interface_id`: what all addresses end with."""

    def __init__(self, variables: HostVariables, interface_id: int, outbox: Outbox) -> None:
        self._variables = variables
        self._interface_id = interface_id
        self._outbox = outbox
        self._tentative: dict[IPv6Network, _Tentative] = {}

    def deadline(self) -> float | None:
        return min((entry.due for entry in self._tentative.values()), default=None)

    def begin(self, prefix: IPv6Network, interface: str, now: Instant) -> None:
        """Without the random delay of section 5.4.2, which keeps nodes of a shared link apart."""
        probes = self._variables.dup_addr_detect_transmits
        self._tentative[prefix] = _Tentative(interface, probes, now.monotonic)
        self.handle_timer(now)

    def handle_timer(self, now: Instant) -> list[tuple[IPv6Network, str]]:
        """The prefixes whose address is unique, as nobody has objected, and the access that they
        were probed on."""
        unique = []
        for prefix, entry in list(self._tentative.items()):
            if entry.due > now.monotonic:
                continue
            if not entry.left:
                del self._tentative[prefix]
                unique.append((prefix, entry.interface))
                continue
            entry.left -= 1
            entry.due = now.monotonic + self._variables.retrans_timer_ms / 1000
            self._outbox.put(ProbeAddress(entry.interface, prefix[self._interface_id]))
        return unique

    def advertised(self, target: IPv6Address, interface: str) -> IPv6Network | None:
        """A neighbour says that it has `target` (section 5.4.4): the prefix whose address isn't
        unique then, if it is one that is being probed there."""
        for prefix, entry in list(self._tentative.items()):
            if prefix[self._interface_id] == target and entry.interface == interface:
                del self._tentative[prefix]
                return prefix
        return None
