"""Captured packets as the tests read them: by hand from the bytes, not with the code under test."""

from __future__ import annotations

import struct
import subprocess
from collections import Counter
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path

from experiments.captures.pcapng import read_packets

IPV6_IN_IPV6, UDP, ICMPV6, FRAGMENT, MOBILITY = 41, 17, 58, 44, 135
PACKET_TOO_BIG, ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT = 2, 133, 134
MILLISECOND = 1_000_000


@dataclass(frozen=True)
class Datagram:
    """An IPv6 packet; `inner` is the one that it carries, if any."""

    interface: str
    time_ns: int
    outbound: bool
    link_source: bytes
    source: IPv6Address
    destination: IPv6Address
    next_header: int
    hop_limit: int
    traffic_class: int
    length: int
    payload: bytes
    flow_label: int

    @property
    def inner(self) -> Datagram | None:
        if self.next_header != IPV6_IN_IPV6:
            return None
        return _datagram(
            self.interface, self.time_ns, self.outbound, self.link_source, self.payload
        )

    @property
    def innermost(self) -> Datagram:
        return self if self.inner is None else self.inner.innermost

    @property
    def mark(self) -> tuple[int, int] | None:
        """Flow and sequence number of a packet of the test traffic."""
        if self.next_header != UDP or self.payload[8:10] != b"FM":
            return None
        flow, sequence = struct.unpack_from("!HI", self.payload, 10)
        return flow, sequence


def _datagram(
    interface: str, time_ns: int, outbound: bool, link_source: bytes, data: bytes
) -> Datagram:
    length, next_header, hop_limit = struct.unpack_from("!HBB", data, 4)
    return Datagram(
        interface,
        time_ns,
        outbound,
        link_source,
        IPv6Address(data[8:24]),
        IPv6Address(data[24:40]),
        next_header,
        hop_limit,
        (data[0] << 4 | data[1] >> 4) & 0xFF,
        40 + length,
        data[40 : 40 + length],
        int.from_bytes(data[1:4], "big") & 0xFFFFF,
    )


def read(capture: Path) -> list[Datagram]:
    """The IPv6 packets of a capture, in order of time."""
    found = [
        _datagram(
            packet.interface,
            packet.timestamp_ns,
            bool(packet.outbound),
            packet.data[6:12],
            packet.data[14:],
        )
        for packet in read_packets(capture)
        if packet.data[12:14] == b"\x86\xdd"
    ]
    return sorted(found, key=lambda datagram: datagram.time_ns)


def at(datagrams: list[Datagram], interface: str, *, outbound: bool) -> list[Datagram]:
    return [d for d in datagrams if d.interface == interface and d.outbound is outbound]


def marks(datagrams: list[Datagram], flow: int) -> Counter[int]:
    """How often each sequence number of a flow is there."""
    found = [datagram.innermost.mark for datagram in datagrams]
    return Counter(mark[1] for mark in found if mark is not None and mark[0] == flow)


def tshark(capture: Path, *options: str) -> list[str]:
    """The lines that tshark prints."""
    done = subprocess.run(
        ["tshark", "-r", str(capture), *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def complaints(capture: Path) -> list[str]:
    """What tshark finds fault with: malformed packets, bad checksums, warnings of its experts."""
    return tshark(
        capture,
        *("-o", "ipv6.defragment:FALSE", "-o", "udp.check_checksum:TRUE"),
        *("-Y", "_ws.malformed || _ws.expert.severity >= 0x600000"),
        *("-T", "fields", "-e", "frame.number", "-e", "_ws.expert.message"),
    )
