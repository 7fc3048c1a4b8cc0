"""Flows with selectors of every field, and packets on and beside the ends of their ranges.

A packet is the fields that selectors look at; `octets` makes one of them. The test says which flow
it belongs to from the fields alone.
"""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Any, NamedTuple

from nodes.wire.traffic_selector import PacketFields

TCP, UDP, ESP, AH, OTHER = 6, 17, 50, 51, 200
HEADER = 40


class Row(NamedTuple):
    """A flow; its FID is another number than its priority, and orders the other way round."""

    priority: int
    to: str
    selector: dict[str, Any]
    action: str = "forward"

    @property
    def fid(self) -> int:
        return 1000 - self.priority


def rows(cn: IPv6Address, mn: IPv6Address) -> list[Row]:
    """Without a row, packets take the WLAN. The first two can be looked up in a map, and the other
    5-tuples can't, as wider rows come before them."""

    def tuple_of(port: int) -> dict[str, Any]:
        return {
            "start_source_address": str(cn),
            "start_destination_address": str(mn),
            "start_source_port": port,
            "start_destination_port": port,
            "start_next_header": UDP,
        }

    def ports(first: int, last: int, which: str = "destination") -> dict[str, Any]:
        return {f"start_{which}_port": first, f"end_{which}_port": last}

    udp = {"start_next_header": UDP}
    return [
        Row(10, "cell", tuple_of(9400)),
        Row(11, "wlan", tuple_of(9401), "drop"),
        Row(20, "wlan", {**ports(9400, 9401), **udp}, "drop"),
        Row(30, "wlan", {"start_source_port": 9500, **udp}),
        Row(31, "cell", tuple_of(9500)),
        Row(40, "cell", tuple_of(9300)),
        Row(50, "cell", {"start_traffic_class": 0x28, "end_traffic_class": 0x30}),
        Row(51, "cell", {"start_traffic_class": 0xB8}),
        Row(60, "cell", {"start_flow_label": 0x000FF, "end_flow_label": 0x10100}),
        Row(61, "cell", {"start_flow_label": 0xABCDE}),
        Row(70, "cell", {"start_spi": 1000, "end_spi": 70_000}),
        Row(71, "cell", {"start_spi": 0xFFFF_FFFF, "start_next_header": AH}),
        Row(80, "wlan", {**ports(9000, 9009), **udp}),
        Row(81, "cell", {**ports(9005, 9020), **udp}),
        Row(90, "cell", ports(9100, 9110, "source")),
        Row(
            100,
            "cell",
            {"start_source_address": str(cn + 0x10), "end_source_address": str(cn + 0x20)},
        ),
        Row(
            110,
            "cell",
            {
                "start_destination_address": str(mn + 0xFFFF),
                "end_destination_address": str(mn + 0x1_0000_0000),
            },
        ),
        Row(120, "cell", {"start_next_header": OTHER, "end_next_header": OTHER + 10}),
    ]


def packets(cn: IPv6Address, mn: IPv6Address) -> list[PacketFields]:
    def ports(protocol: int, source: int, destination: int) -> PacketFields:
        return fields(protocol=protocol, source_port=source, destination_port=destination)

    def fields(**values: Any) -> PacketFields:
        given = {"source": cn, "destination": mn, "protocol": UDP}
        given |= {"traffic_class": 0, "flow_label": 0}
        if values.get("protocol", UDP) in (TCP, UDP):
            given |= {"source_port": 7000, "destination_port": 7000}
        return PacketFields(**{**given, **values})

    return [
        *(ports(UDP, port, port) for port in (9400, 9401, 9500, 9300, 9301)),
        *(ports(UDP, 7000, port) for port in (9400, 9401, 9402)),
        *(ports(TCP, port, port) for port in (9400, 9300)),
        *(
            fields(traffic_class=value)
            for value in (0x27, 0x28, 0x2A, 0x2F, 0x30, 0x33, 0x34, 0xB7, 0xB8, 0xBB, 0xBC, 0xFF)
        ),
        *(
            fields(flow_label=value)
            for value in (0, 0xFE, 0xFF, 0x100, 0x10100, 0x10101, 0xABCDE, 0xABCDF, 0xFFFFF)
        ),
        *(
            fields(protocol=protocol, spi=value)
            for protocol in (ESP, AH)
            for value in (999, 1000, 1001, 70_000, 70_001, 0xFFFF_FFFF)
        ),
        *(ports(UDP, 7000, port) for port in (8999, 9000, 9004, 9005, 9009, 9010, 9020, 9021)),
        *(ports(TCP, 7000, port) for port in (9000, 9015)),
        *(
            ports(protocol, port, 7000)
            for protocol in (TCP, UDP)
            for port in (9099, 9100, 9110, 9111)
        ),
        *(fields(source=cn + offset) for offset in (0xF, 0x10, 0x20, 0x21)),
        *(
            fields(destination=mn + offset)
            for offset in (0xFFFE, 0xFFFF, 0x10000, 0x1_0000_0000, 0x1_0000_0001)
        ),
        *(fields(protocol=protocol) for protocol in (OTHER - 1, OTHER, OTHER + 10, OTHER + 11)),
    ]


def octets(packet: PacketFields, content: bytes, header: bytes | None = None) -> bytes:
    """The packet, with `content` behind its headers; `header` is the upper layer's."""
    assert isinstance(packet.source, IPv6Address)
    assert isinstance(packet.destination, IPv6Address)
    data = (_transport(packet, len(content)) if header is None else header) + content
    assert packet.traffic_class is not None
    assert packet.flow_label is not None
    word = 6 << 28 | packet.traffic_class << 20 | packet.flow_label
    start = word.to_bytes(4, "big") + len(data).to_bytes(2, "big") + bytes([packet.protocol, 64])
    return start + packet.source.packed + packet.destination.packed + data


def _transport(packet: PacketFields, length: int) -> bytes:
    """Without checksums: no router looks at them, and the MN needn't take it."""
    spi = (packet.spi or 0).to_bytes(4, "big")
    ports = b"".join(
        (port or 0).to_bytes(2, "big") for port in (packet.source_port, packet.destination_port)
    )
    match packet.protocol:
        case 17:
            return ports + (8 + length).to_bytes(2, "big") + bytes(2)
        case 6:
            return ports + bytes(8) + b"\x50\x10" + bytes(6)
        case 50:
            return spi + bytes(4)
        case 51:
            return bytes([59, 4, 0, 0]) + spi + bytes(16)
    return bytes(8)
