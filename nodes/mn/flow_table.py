"""The flow table of a mobile node that decides for itself (RFC 7864 section 6, RFC 7847).

Each row sends the uplink packets of a flow over an access interface. Selectors are written as for
the LMA, as seen on packets towards the mobile node (RFC 6088 section 3), so that one line serves at
both ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nodes.wire.traffic_selector import IPv6TrafficSelector


@dataclass(frozen=True, slots=True)
class FlowTableEntry:
    """`selector` is that of the downlink. A lower `priority` takes precedence."""

    fid: int
    priority: int
    selector: IPv6TrafficSelector
    interface: str


class FlowTable:
    def __init__(self) -> None:
        self._rows: dict[int, FlowTableEntry] = {}

    def rows(self) -> tuple[FlowTableEntry, ...]:
        """The one with precedence first."""
        return tuple(sorted(self._rows.values(), key=lambda row: (row.priority, row.fid)))

    def bind(self, entry: FlowTableEntry) -> None:
        """Add a row, or replace the one with its FID. Raises ValueError if another row has the
        priority, or the selector is about what the two directions of a flow don't share."""
        if any(
            row.priority == entry.priority and row.fid != entry.fid for row in self._rows.values()
        ):
            raise ValueError(f"priority is {entry.priority}; another flow has it already")
        uplink_selector(entry.selector)
        self._rows[entry.fid] = entry

    def unbind(self, fid: int) -> None:
        """Raises ValueError if there is no such row."""
        if self._rows.pop(fid, None) is None:
            raise ValueError(f"fid is {fid}; there is no such flow")


def static_rows(policy: Mapping[str, str]) -> list[FlowTableEntry]:
    """The rows of a static policy, which says of the correspondent's ports over which access
    interface what goes there leaves."""
    return [
        FlowTableEntry(number, number, IPv6TrafficSelector(start_source_port=int(port)), interface)
        for number, (port, interface) in enumerate(policy.items(), start=1)
    ]


def uplink_selector(selector: IPv6TrafficSelector) -> IPv6TrafficSelector:
    """The selector of the packets that go the other way. Raises ValueError for a flow label or an
    SPI: each sender chooses its own."""
    for name in ("flow_label", "spi"):
        if getattr(selector, f"start_{name}") is not None:
            raise ValueError(f"selector.start_{name}: the other direction has one of its own")
    return IPv6TrafficSelector(
        start_source_address=selector.start_destination_address,
        end_source_address=selector.end_destination_address,
        start_destination_address=selector.start_source_address,
        end_destination_address=selector.end_source_address,
        start_source_port=selector.start_destination_port,
        end_source_port=selector.end_destination_port,
        start_destination_port=selector.start_source_port,
        end_destination_port=selector.end_source_port,
        start_traffic_class=selector.start_traffic_class,
        end_traffic_class=selector.end_traffic_class,
        start_next_header=selector.start_next_header,
        end_next_header=selector.end_next_header,
    )
