"""A traffic selector (RFC 6088) as an nftables match."""

from __future__ import annotations

from nodes.wire.traffic_selector import IPv6TrafficSelector, TrafficSelector

ESP = 50  # RFC 4303 section 2


class SelectorNotSupported(ValueError):
    """The kernel data plane can't match this; the text says which part."""


def match_expression(selector: TrafficSelector) -> str:
    """The match part of a rule in the `ip6` family. Raises SelectorNotSupported.

    Ports are those of any transport that has them first (th). The traffic class is compared by its
    six DSCP bits (RFC 6088 section 3.2).
    """
    if not isinstance(selector, IPv6TrafficSelector):
        raise SelectorNotSupported("selector: an IPv4 selector in an IPv6 network")
    parts = [
        _range("ip6 saddr", selector.start_source_address, selector.end_source_address),
        _range("ip6 daddr", selector.start_destination_address, selector.end_destination_address),
        _range("ip6 flowlabel", selector.start_flow_label, selector.end_flow_label),
        *(_transport(selector) if selector.start_spi is None else _spi(selector)),
    ]
    if selector.start_traffic_class is not None:
        end = selector.end_traffic_class
        parts.append(
            _range("ip6 dscp", selector.start_traffic_class >> 2, None if end is None else end >> 2)
        )
    return " ".join(part for part in parts if part)


def _transport(selector: IPv6TrafficSelector) -> tuple[str, ...]:
    return (
        _range("meta l4proto", selector.start_next_header, selector.end_next_header),
        _range("th sport", selector.start_source_port, selector.end_source_port),
        _range("th dport", selector.start_destination_port, selector.end_destination_port),
    )


def _spi(selector: IPv6TrafficSelector) -> tuple[str, ...]:
    """ESP implies its next header, so a selector that asks for that doesn't say more."""
    if selector.start_source_port is not None or selector.start_destination_port is not None:
        raise SelectorNotSupported("selector: SPI and ports in one selector match no packet")
    first = selector.start_next_header
    last = first if selector.end_next_header is None else selector.end_next_header
    if first is not None and last is not None and not first <= ESP <= last:
        raise SelectorNotSupported(f"selector: an SPI is matched with next header {ESP} (ESP) only")
    return (_range("esp spi", selector.start_spi, selector.end_spi),)


def _range(field: str, start: object, end: object) -> str:
    if start is None:
        return ""
    return f"{field} {start}" if end is None or end == start else f"{field} {start}-{end}"
