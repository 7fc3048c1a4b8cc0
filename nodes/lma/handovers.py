"""Mobile nodes that leave a MAG which hasn't said so, as the LMA sees them (RFC 5846 8.1)."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import NamedTuple

from nodes.lma.binding_cache import BindingCacheEntry, Request
from nodes.wire.messages import RevocationTrigger


class Handover(NamedTuple):
    """`unknown`: whether the mobile node has left `previous` is what the request waits for."""

    entry: BindingCacheEntry
    previous: IPv6Address
    trigger: RevocationTrigger

    @property
    def unknown(self) -> bool:
        return self.trigger is RevocationTrigger.INTER_MAG_HANDOVER_UNKNOWN


class Handovers:
    def __init__(self) -> None:
        self._noted: list[Handover] = []

    def supposed(self, entry: BindingCacheEntry) -> None:
        """A request with handoff state unknown may be for `entry`."""
        self._note(entry, RevocationTrigger.INTER_MAG_HANDOVER_UNKNOWN)

    def certain(self, entry: BindingCacheEntry, request: Request) -> None:
        """`request` is about to bind `entry` to another MAG."""
        if entry.access_technology == request.access_technology:
            self._note(entry, RevocationTrigger.INTER_MAG_HANDOVER_SAME_ACCESS_TYPE)
        else:
            self._note(entry, RevocationTrigger.INTER_MAG_HANDOVER_DIFFERENT_ACCESS_TYPE)

    def take(self) -> list[Handover]:
        """Those since the last call."""
        noted, self._noted = self._noted, []
        return noted

    def _note(self, entry: BindingCacheEntry, trigger: RevocationTrigger) -> None:
        if entry.registered:  # a MAG that has deregistered it knows
            self._noted.append(Handover(entry, entry.proxy_coa, trigger))
