"""A traffic selector (RFC 6088) as an nftables match."""

from __future__ import annotations

from nodes.packet_fields import AH, ESP, WITH_PORTS
from nodes.wire.traffic_selector import IPv6TrafficSelector, TrafficSelector


class SelectorNotSupported(ValueError):
    """The kernel data plane can't match this; the text says which part."""


def match_expressions(selector: TrafficSelector) -> tuple[str, ...]:
    """The match parts of rules in the `ip6` family: a packet is selected if any of them matches.
    Raises SelectorNotSupported.

    Ports and SPI are matched in the protocols that have them, and in nothing else that may have
    other values in their place. The traffic class is compared by its six DSCP bits (RFC 6088
    section 3.2).
    """
    if not isinstance(selector, IPv6TrafficSelector):
        raise SelectorNotSupported(
            "selector: an IPv4 selector (RFC 6088 section 3.1); expected an IPv6 one (section 3.2)"
        )
    common = [
        _range("ip6 saddr", selector.start_source_address, selector.end_source_address),
        _range("ip6 daddr", selector.start_destination_address, selector.end_destination_address),
        _range("ip6 flowlabel", selector.start_flow_label, selector.end_flow_label),
    ]
    if selector.start_traffic_class is not None:
        end = selector.end_traffic_class
        common.append(
            _range("ip6 dscp", selector.start_traffic_class >> 2, None if end is None else end >> 2)
        )
    upper = _transport(selector) if selector.start_spi is None else _spi(selector)
    return tuple(" ".join(part for part in (*common, *parts) if part) for parts in upper)


def _transport(selector: IPv6TrafficSelector) -> tuple[tuple[str, ...], ...]:
    ports = (
        _range("th sport", selector.start_source_port, selector.end_source_port),
        _range("th dport", selector.start_destination_port, selector.end_destination_port),
    )
    if not any(ports):
        return ((_range("meta l4proto", selector.start_next_header, selector.end_next_header),),)
    protocols = _allowed(selector, WITH_PORTS)
    if not protocols:
        raise SelectorNotSupported("selector: ports, and a next header that has none")
    one_of = ", ".join(str(protocol) for protocol in protocols)
    if len(protocols) > 1:
        one_of = f"{{ {one_of} }}"
    return ((f"meta l4proto {one_of}", *ports),)


def _spi(selector: IPv6TrafficSelector) -> tuple[tuple[str, ...], ...]:
    """ESP and AH have one, each in a place of its own."""
    if selector.start_source_port is not None or selector.start_destination_port is not None:
        raise SelectorNotSupported("selector: SPI and ports in one selector match no packet")
    protocols = _allowed(selector, (ESP, AH))
    if not protocols:
        raise SelectorNotSupported(
            f"selector: an SPI, and a next header that has none; expected {ESP} (ESP) or {AH} (AH)"
        )
    names = {ESP: "esp", AH: "ah"}
    return tuple(
        (_range(f"{names[protocol]} spi", selector.start_spi, selector.end_spi),)
        for protocol in protocols
    )


def _allowed(selector: IPv6TrafficSelector, protocols: tuple[int, ...]) -> list[int]:
    """Those of `protocols` that the selector's next header admits."""
    first = selector.start_next_header
    if first is None:
        return list(protocols)
    last = first if selector.end_next_header is None else selector.end_next_header
    return [protocol for protocol in protocols if first <= protocol <= last]


def _range(field: str, start: object, end: object) -> str:
    if start is None:
        return ""
    return f"{field} {start}" if end is None or end == start else f"{field} {start}-{end}"
