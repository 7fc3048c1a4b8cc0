"""Flow rows as the kernel can look them up: an exact map first, then an ordered list.

Most flows are one 5-tuple, and a hash map finds one among any number at the same cost. A row that
is wider, or that a wider row of higher precedence may overlap, goes to a list that is searched in
order of FID-PRI. The two together choose the same row as `FlowMobilityCache.match`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import NamedTuple

from nodes.flow_mobility_cache import FlowMobilityCacheEntry
from nodes.packet_fields import WITH_PORTS
from nodes.wire.traffic_selector import IPv6TrafficSelector


class FiveTuple(NamedTuple):
    source: IPv6Address
    destination: IPv6Address
    protocol: int
    source_port: int
    destination_port: int


@dataclass(frozen=True, slots=True)
class ClassifiedRow:
    """An active row with its key in the kernel and the prefixes of its mobile node."""

    key: int
    entry: FlowMobilityCacheEntry
    prefixes: tuple[IPv6Network, ...]


@dataclass(frozen=True, slots=True)
class Classification:
    exact: dict[FiveTuple, int]
    ordered: tuple[ClassifiedRow, ...]


class Reclassified(NamedTuple):
    """What a change of rows does to the division: elements that leave the map and such that come,
    and the list anew, or None if it stays."""

    left: dict[FiveTuple, int]
    came: dict[FiveTuple, int]
    ordered: tuple[ClassifiedRow, ...] | None


def five_tuple(entry: FlowMobilityCacheEntry) -> FiveTuple | None:
    """The one 5-tuple that a row matches, or None if it matches more or something else."""
    selector = entry.selector
    if not isinstance(selector, IPv6TrafficSelector):
        return None
    others = (
        selector.start_spi,
        selector.start_flow_label,
        selector.start_traffic_class,
    )
    if any(value is not None for value in others):
        return None
    source, destination = selector.start_source_address, selector.start_destination_address
    protocol = selector.start_next_header
    source_port, destination_port = selector.start_source_port, selector.start_destination_port
    if (
        source is None
        or destination is None
        or protocol not in WITH_PORTS
        or source_port is None
        or destination_port is None
        or selector.end_source_address not in (None, source)
        or selector.end_destination_address not in (None, destination)
        or selector.end_next_header not in (None, protocol)
        or selector.end_source_port not in (None, source_port)
        or selector.end_destination_port not in (None, destination_port)
    ):
        return None
    return FiveTuple(source, destination, protocol, source_port, destination_port)


def classify(rows: Iterable[ClassifiedRow]) -> Classification:
    """Divide rows between map and list. Rows of different mobile nodes never overlap, because
    packets are matched against the node's prefixes besides the selector."""
    exact: dict[FiveTuple, int] = {}
    ordered: list[ClassifiedRow] = []
    wide_before: set[IPv6Network] = set()
    for row in sorted(rows, key=_order):
        found = five_tuple(row.entry)
        if found is not None and not wide_before & set(row.prefixes):
            exact.setdefault(found, row.key)
            continue
        ordered.append(row)
        if found is None:
            wide_before |= set(row.prefixes)
    return Classification(exact, tuple(ordered))


class Classifier:
    """Rows as they come, change and go, divided as `classify` would divide all of them. A change of
    5-tuples costs what changes; one that has to do with a wider row costs as much as all rows."""

    def __init__(self) -> None:
        self._rows: dict[int, ClassifiedRow] = {}
        self._wide: dict[int, ClassifiedRow] = {}
        self._installed = Classification({}, ())
        # The rows of the map's element for a 5-tuple, of which the first in order is in it.
        self._candidates: dict[FiveTuple, dict[int, ClassifiedRow]] = {}

    def change(self, rows: Mapping[int, ClassifiedRow | None]) -> Reclassified:
        """The rows with these keys are like that from now on, or gone (None)."""
        touched: dict[FiveTuple, None] = {}  # a set in the order of its making
        simple = True
        for key, row in rows.items():
            before = self._rows.pop(key, None)
            if row is not None:
                self._rows[key] = row
            for old in (before, row):
                simple = simple and (old is None or self._in_map(old))
            if simple and row != before:
                touched |= dict.fromkeys(self._replace(key, before, row))
        return self._update(touched) if simple else self._anew()

    def _in_map(self, row: ClassifiedRow) -> bool:
        """No wider row comes before it; it may still be that another with its 5-tuple does."""
        order = _order(row)
        return five_tuple(row.entry) is not None and not any(
            _order(wide) < order and set(wide.prefixes) & set(row.prefixes)
            for wide in self._wide.values()
        )

    def _replace(
        self, key: int, before: ClassifiedRow | None, row: ClassifiedRow | None
    ) -> list[FiveTuple]:
        """Of two rows of the map, or none; the elements that this concerns."""
        touched = []
        if before is not None and (found := five_tuple(before.entry)) is not None:
            del self._candidates[found][key]
            touched.append(found)
        if row is not None and (found := five_tuple(row.entry)) is not None:
            self._candidates.setdefault(found, {})[key] = row
            touched.append(found)
        return touched

    def _update(self, touched: Iterable[FiveTuple]) -> Reclassified:
        left, came = {}, {}
        exact = self._installed.exact
        for found in touched:
            before = exact.pop(found, None)
            candidates = self._candidates[found]
            if candidates:
                exact[found] = min(candidates.values(), key=_order).key
            else:
                del self._candidates[found]
            if before != exact.get(found):
                if before is not None:
                    left[found] = before
                if candidates:
                    came[found] = exact[found]
        return Reclassified(left, came, None)

    def _anew(self) -> Reclassified:
        before, after = self._installed, classify(self._rows.values())
        self._installed = after
        self._wide = {key: row for key, row in self._rows.items() if five_tuple(row.entry) is None}
        listed = {row.key for row in after.ordered}
        self._candidates = {}
        for key, row in self._rows.items():
            found = five_tuple(row.entry)
            if found is not None and key not in listed:
                self._candidates.setdefault(found, {})[key] = row
        return Reclassified(
            _without(before.exact, after.exact),
            _without(after.exact, before.exact),
            None if before.ordered == after.ordered else after.ordered,
        )


def _order(row: ClassifiedRow) -> tuple[int, int]:
    return row.entry.priority, row.key


def _without(some: dict[FiveTuple, int], others: dict[FiveTuple, int]) -> dict[FiveTuple, int]:
    return {found: key for found, key in some.items() if others.get(found) != key}
