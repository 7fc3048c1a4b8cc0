"""The Flow Mobility Cache of the LMA (RFC 7864 section 5.2).

Rows are kept per mobile node in order of FID-PRI; a row with a lower value takes precedence
(RFC 6089 section 4.2). A row is inactive only when none of its bindings is registered, and then
doesn't affect traffic.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from nodes.wire.mobility_header import NEXT_HEADER as MOBILITY_HEADER
from nodes.wire.traffic_selector import IPv6TrafficSelector, PacketFields, TrafficSelector

FID_RANGE = range(1, 0x10000)  # 0 is reserved (RFC 6089 section 4.2)
PRIORITY_RANGE = range(1, 0x10000)


class FlowAction(StrEnum):
    FORWARD = "forward"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class FlowMobilityCacheEntry:
    """One row: FID-PRI, FID, TS, BIDs, action. `active` depends on the binding cache."""

    priority: int
    fid: int
    selector: TrafficSelector
    bids: tuple[int, ...]
    action: FlowAction = FlowAction.FORWARD
    active: bool = True


class FlowConflict(ValueError):
    """A row that would break a rule of RFC 6089 section 4.2; the cache is unchanged."""


class _Rows:
    """Those of a mobile node: by FID, and in order of precedence."""

    def __init__(self) -> None:
        self.by_fid: dict[int, FlowMobilityCacheEntry] = {}
        self._fids: dict[int, int] = {}  # by priority
        self._priorities: list[int] = []

    def add(self, row: FlowMobilityCacheEntry) -> None:
        self.by_fid[row.fid] = row
        self._fids[row.priority] = row.fid
        bisect.insort(self._priorities, row.priority)

    def remove(self, row: FlowMobilityCacheEntry) -> None:
        del self.by_fid[row.fid]
        del self._fids[row.priority]
        del self._priorities[bisect.bisect_left(self._priorities, row.priority)]

    def has_priority(self, priority: int) -> bool:
        return priority in self._fids

    def __iter__(self) -> Iterator[FlowMobilityCacheEntry]:
        return (self.by_fid[self._fids[priority]] for priority in self._priorities)


class FlowMobilityCache:
    """`touched`: the rows (mobile node, FID) that came, changed or went since whoever keeps them on
    record looked last."""

    def __init__(self) -> None:
        self._rows: dict[str, _Rows] = {}
        # How many rows name each BID.
        self._named: Counter[int] = Counter()
        self.touched: dict[tuple[str, int], None] = {}

    def rows(self, mn_id: str) -> tuple[FlowMobilityCacheEntry, ...]:
        """The rows of one mobile node, the one with precedence first."""
        return tuple(self._rows.get(mn_id, ()))

    def all_rows(self) -> list[tuple[str, FlowMobilityCacheEntry]]:
        return [(mn_id, row) for mn_id, rows in self._rows.items() for row in rows]

    def get(self, mn_id: str, fid: int) -> FlowMobilityCacheEntry | None:
        rows = self._rows.get(mn_id)
        return None if rows is None else rows.by_fid.get(fid)

    def names(self, bid: int) -> bool:
        """Whether a row is bound to `bid`, be there such a binding or not."""
        return bid in self._named

    def add(self, mn_id: str, entry: FlowMobilityCacheEntry) -> None:
        """Raises FlowConflict if FID or FID-PRI are out of range or in use by this MN, or if the
        selector is of another IP version."""
        if not isinstance(entry.selector, IPv6TrafficSelector):
            raise FlowConflict(
                "selector: an IPv4 one (RFC 6088 section 3.1); expected an IPv6 one (section 3.2)"
            )
        if entry.fid not in FID_RANGE:
            raise FlowConflict(f"fid is {entry.fid}; expected 1 to 65535")
        if entry.priority not in PRIORITY_RANGE:
            raise FlowConflict(f"priority is {entry.priority}; expected 1 to 65535")
        rows = self._rows.get(mn_id) or _Rows()
        if entry.fid in rows.by_fid:
            raise FlowConflict(f"fid is {entry.fid}; {mn_id} has a flow with it already")
        if rows.has_priority(entry.priority):
            raise FlowConflict(f"priority is {entry.priority}; {mn_id} has a flow with it already")
        rows.add(entry)
        self._rows[mn_id] = rows
        self._named.update(entry.bids)
        self.touched[mn_id, entry.fid] = None

    def remove(self, mn_id: str, fid: int) -> FlowMobilityCacheEntry | None:
        entry = self.get(mn_id, fid)
        if entry is not None:
            rows = self._rows[mn_id]
            rows.remove(entry)
            self._forget(entry.bids)
            self.touched[mn_id, fid] = None
            if not rows.by_fid:
                del self._rows[mn_id]
        return entry

    def rebind(self, mn_id: str, fid: int, bids: tuple[int, ...]) -> FlowMobilityCacheEntry:
        """Point a row to other bindings. Raises KeyError if there is no such row."""
        return self._change(mn_id, fid, bids=bids)

    def set_active(self, mn_id: str, fid: int, active: bool) -> FlowMobilityCacheEntry:
        return self._change(mn_id, fid, active=active)

    def _change(self, mn_id: str, fid: int, **changes: object) -> FlowMobilityCacheEntry:
        before = self.get(mn_id, fid)
        if before is None:
            raise KeyError((mn_id, fid))
        row = replace(before, **changes)  # type: ignore[arg-type]
        self._rows[mn_id].by_fid[fid] = row
        self.touched[mn_id, fid] = None
        self._named.update(row.bids)
        self._forget(before.bids)
        return row

    def _forget(self, bids: tuple[int, ...]) -> None:
        for bid in bids:
            self._named[bid] -= 1
            if not self._named[bid]:
                del self._named[bid]

    def match(self, mn_id: str, packet: PacketFields) -> FlowMobilityCacheEntry | None:
        """The first active row that a packet to the MN matches (RFC 6089 section 5.3.6). None is
        for mobility signalling (section 4.3)."""
        if packet.protocol == MOBILITY_HEADER:
            return None
        for row in self._rows.get(mn_id, ()):
            if row.active and row.selector.matches(packet):
                return row
        return None
