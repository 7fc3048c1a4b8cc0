"""Flow rows as the kernel can look them up: an exact map first, then an ordered list.

Most flows are one 5-tuple, and a hash map finds one among any number at the same cost. A row that
is wider, or that a wider row of higher precedence may overlap, goes to a list that is searched in
order of FID-PRI. The two together choose the same row as `FlowMobilityCache.match`.
"""

from __future__ import annotations

from collections.abc import Iterable
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
    for row in sorted(rows, key=lambda row: (row.entry.priority, row.key)):
        found = five_tuple(row.entry)
        if found is not None and not wide_before & set(row.prefixes):
            exact.setdefault(found, row.key)
            continue
        ordered.append(row)
        if found is None:
            wide_before |= set(row.prefixes)
    return Classification(exact, tuple(ordered))
