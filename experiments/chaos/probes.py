"""The traffic of a scenario: single packets with numbers, and a look at every one that arrives.

Sockets of all nodes are in one process: a socket stays in the namespace that it was made in. What
arrives is seen by packet sockets, whoever it is for; so a packet at the wrong node is seen as well.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import NamedTuple

from experiments.captures.packet_filter import (
    ETH_P_IPV6,
    NH_UDP,
    accept_next_headers,
    filter_bytes,
)
from experiments.chaos.domain import CN, CN_ADDRESS, CORE, port_of
from topologies.namespaces import socket_in
from topologies.network import Network

SO_ATTACH_FILTER = 26
IPV6_PKTINFO = 50
ETHERNET_BYTES, HEADER_BYTES, UDP_BYTES = 14, 40, 8
MARK = b"CHAO"
_HEAD = struct.Struct("!4sBHI")
PAYLOAD_BYTES = 64
# Of no flow: to see where packets take the default path.
DEFAULT_FLOW = 0
DOWN, DOWN_ANSWER, UP, UP_ANSWER, SPOOFED = 0, 1, 2, 3, 9


class Probe(NamedTuple):
    """A packet. `mn` is the number of the mobile node that it is meant for, or comes from."""

    kind: int
    flow: int
    mn: int
    sequence: int


class Seen(NamedTuple):
    """A packet that arrived at `node` through `interface`."""

    node: str
    interface: str
    source: IPv6Address
    destination: IPv6Address
    probe: Probe | None


def payload(probe: Probe) -> bytes:
    head = _HEAD.pack(MARK, probe.kind, probe.flow, probe.sequence << 8 | probe.mn)
    return head + bytes(PAYLOAD_BYTES - len(head))


def parse(packet: bytes) -> tuple[IPv6Address, IPv6Address, Probe | None]:
    """Source, destination, and what it is of the probes; from the IPv6 header on."""
    addresses = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
    data = packet[HEADER_BYTES + UDP_BYTES :]
    if len(data) < _HEAD.size or data[:4] != MARK:
        return *addresses, None
    _, kind, flow, number = _HEAD.unpack_from(data)
    return *addresses, Probe(kind, flow, number & 0xFF, number >> 8)


def udp_packet(source: IPv6Address, destination: IPv6Address, port: int, data: bytes) -> bytes:
    """An IPv6 packet with a right checksum; `data` of an even number of octets."""
    length = UDP_BYTES + len(data)
    pseudo = source.packed + destination.packed + struct.pack("!IxxxB", length, NH_UDP)
    udp = struct.pack("!HHHH", port, port, length, 0)
    total = sum(struct.unpack(f"!{(len(pseudo) + length) // 2}H", pseudo + udp + data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    udp = udp[:6] + struct.pack("!H", ~total & 0xFFFF or 0xFFFF)
    header = struct.pack("!IHBB", 6 << 28, length, NH_UDP, 64)
    return header + source.packed + destination.packed + udp + data


class Watch:
    """Sees UDP packets that arrive in a node, from any interface."""

    def __init__(self, network: Network, node: str) -> None:
        self.node = node
        # All interfaces; of this protocol alone, so that what leaves isn't seen.
        protocol = socket.htons(ETH_P_IPV6)
        self._socket = socket_in(
            network.namespace(node),
            lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, protocol),
        )
        program = accept_next_headers([NH_UDP])
        code = ctypes.create_string_buffer(filter_bytes(program))
        self._socket.setsockopt(
            socket.SOL_SOCKET,
            SO_ATTACH_FILTER,
            struct.pack("@HP", len(program), ctypes.addressof(code)),
        )
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> Iterator[Seen]:
        while True:
            try:
                data, sender = self._socket.recvfrom(2048)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENETDOWN:
                    raise
                continue
            yield Seen(self.node, sender[0], *parse(data[ETHERNET_BYTES:]))

    def close(self) -> None:
        self._socket.close()


@dataclass
class Senders:
    """UDP sockets by node and flow; they also take what comes, so that nobody sends ICMP errors."""

    network: Network
    _sockets: dict[tuple[str, int], socket.socket] = field(default_factory=dict)

    def send(
        self, node: str, source: IPv6Address, destination: IPv6Address, probe: Probe
    ) -> str | None:
        """Returns the name of the error, or None."""
        channel = self.open(node, probe.flow)
        place = [(socket.IPPROTO_IPV6, IPV6_PKTINFO, source.packed + bytes(4))]
        to = (str(destination), port_of(probe.flow))
        try:
            channel.sendmsg([payload(probe)], place, socket.MSG_DONTWAIT, to)
        except OSError as error:
            return errno.errorcode.get(error.errno or 0, str(error))
        return None

    def open(self, node: str, flow: int) -> socket.socket:
        if (node, flow) not in self._sockets:
            channel = socket_in(
                self.network.namespace(node),
                lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM),
            )
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
            channel.bind(("::", port_of(flow)))
            self._sockets[node, flow] = channel
        return self._sockets[node, flow]

    def close(self) -> None:
        for channel in self._sockets.values():
            channel.close()


def watched_nodes(mns: list[str]) -> list[str]:
    """Where packets are looked at: at the ends, and in the core, where none must be without a
    tunnel."""
    return [CN, CORE, *mns]


def correspondent() -> IPv6Address:
    return CN_ADDRESS
