"""IPv6 packets that go through tunnels, with a payload of no protocol."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv6Address

IPV6_HEADER = struct.Struct("!IHBB16s16s")
NO_NEXT_HEADER = 59  # RFC 8200 section 4.7: what follows is nobody's
DEFAULT_HOP_LIMIT = 64


@dataclass(frozen=True)
class InnerPacket:
    source: IPv6Address
    destination: IPv6Address
    payload: bytes = b""
    hop_limit: int = DEFAULT_HOP_LIMIT
    traffic_class: int = 0
    flow_label: int = 0

    def encode(self) -> bytes:
        first = 6 << 28 | self.traffic_class << 20 | self.flow_label
        header = IPV6_HEADER.pack(
            first,
            len(self.payload),
            NO_NEXT_HEADER,
            self.hop_limit,
            self.source.packed,
            self.destination.packed,
        )
        return header + self.payload

    @classmethod
    def decode(cls, data: bytes) -> InnerPacket | None:
        """None: something else than one of these packets."""
        if len(data) < IPV6_HEADER.size:
            return None
        first, length, following, hop_limit, source, destination = IPV6_HEADER.unpack_from(data)
        if first >> 28 != 6 or following != NO_NEXT_HEADER:
            return None
        return cls(
            IPv6Address(source),
            IPv6Address(destination),
            data[IPV6_HEADER.size :][:length],
            hop_limit,
            first >> 20 & 0xFF,
            first & 0xFFFFF,
        )
