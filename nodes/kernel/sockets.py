"""The sockets that mobility messages and neighbour discovery travel on."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Collection
from ipaddress import IPv6Address
from typing import NamedTuple

IPPROTO_MOBILITY = 135
ALL_NODES = IPv6Address("ff02::1")
ALL_ROUTERS = IPv6Address("ff02::2")
MAX_DATAGRAM = 65_535
SO_RCVBUFFORCE, SO_TIMESTAMPNS = 33, 35  # asm-generic/socket.h
# Some thousand messages: a full buffer drops what comes, without looking at what it is.
RECEIVE_BUFFER_BYTES = 1 << 22
_TIMESTAMP_SPACE = socket.CMSG_SPACE(struct.calcsize("@ll"))
_ANCILLARY_SPACE = socket.CMSG_SPACE(20) + socket.CMSG_SPACE(4)
_HOP_LIMIT_OF_ND = 255  # RFC 4861 section 6.1: anything less came through a router
_ICMPV6_FILTER = 1


def interface_with(index: int, among: Collection[str]) -> str | None:
    """The name of the interface with that index in this namespace, if it is one of those."""
    try:
        name = socket.if_indextoname(index)
    except OSError:  # gone
        return None
    return name if name in among else None


class Received(NamedTuple):
    """`arrived_ns`: when, in ns since 1970, where that is asked for."""

    data: bytes
    source: IPv6Address
    destination: IPv6Address
    interface: int
    arrived_ns: int = 0


class MobilitySocket:
    """Raw IPv6 socket for the Mobility Header; the kernel fills in the checksum when sending."""

    def __init__(self, address: IPv6Address) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_INET6, socket.SOCK_RAW, IPPROTO_MOBILITY)
        self._socket.bind((str(address), 0))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        with contextlib.suppress(PermissionError):  # then what every user gets has to do
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> Received | None:
        """The next message, or None if there is none now."""
        try:
            data, ancillary, _, sender = self._socket.recvmsg(MAX_DATAGRAM, _TIMESTAMP_SPACE)
        except BlockingIOError:
            return None
        arrived_ns = time.time_ns()  # if the kernel doesn't say
        for level, kind, value in ancillary:
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                seconds, nanoseconds = struct.unpack("@ll", value)
                arrived_ns = seconds * 1_000_000_000 + nanoseconds
        source = IPv6Address(sender[0].split("%")[0])
        return Received(data, source, self.address, 0, arrived_ns)

    def send(self, data: bytes, destination: IPv6Address) -> None:
        self._socket.sendto(data, (str(destination), 0))

    def close(self) -> None:
        self._socket.close()


class DiscoverySocket:
    """Raw ICMPv6 socket that receives the given message types only (RFC 3542 section 3.2)."""

    def __init__(self, types: tuple[int, ...]) -> None:
        self._socket = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        blocked = [0xFFFFFFFF] * 8
        for kind in types:
            blocked[kind // 32] &= ~(1 << (kind % 32))
        self._socket.setsockopt(socket.IPPROTO_ICMPV6, _ICMPV6_FILTER, struct.pack("=8I", *blocked))
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        for option in (socket.IPV6_MULTICAST_HOPS, socket.IPV6_UNICAST_HOPS):
            self._socket.setsockopt(socket.IPPROTO_IPV6, option, _HOP_LIMIT_OF_ND)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> Received | None:
        """The next message that came straight from the link, or None if there is none now."""
        while True:
            try:
                data, ancillary, _, sender = self._socket.recvmsg(MAX_DATAGRAM, _ANCILLARY_SPACE)
            except BlockingIOError:
                return None
            hop_limit, destination, interface = 0, b"", 0
            for level, kind, value in ancillary:
                if level != socket.IPPROTO_IPV6:
                    continue
                if kind == socket.IPV6_PKTINFO:
                    destination, interface = value[:16], struct.unpack("=I", value[16:20])[0]
                elif kind == socket.IPV6_HOPLIMIT:
                    hop_limit = struct.unpack("=i", value[:4])[0]
            if hop_limit == _HOP_LIMIT_OF_ND and destination:
                source = IPv6Address(sender[0].split("%")[0])
                return Received(data, source, IPv6Address(destination), interface)

    def send(
        self, data: bytes, source: IPv6Address, destination: IPv6Address, interface: int
    ) -> None:
        """Send from the link-local address `source` over the interface with that index."""
        information = source.packed + struct.pack("=I", interface)
        self._socket.sendmsg(
            [data],
            [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, information)],
            0,
            (str(destination), 0, 0, interface),
        )

    def close(self) -> None:
        self._socket.close()


class Frame(NamedTuple):
    """The payload of a frame that arrived."""

    data: bytes
    source: bytes
    interface: str


class LinkSocket:
    """Packet socket for one EtherType, on all interfaces of this namespace."""

    def __init__(self, ethertype: int) -> None:
        self._ethertype = ethertype
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ethertype))
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> Frame | None:
        """The next frame that was sent to this node or to all; None if there is none now."""
        while True:
            try:
                data, sender = self._socket.recvfrom(MAX_DATAGRAM)
            except BlockingIOError:
                return None
            except OSError:  # ENETDOWN: an interface went down
                continue
            interface, _, direction, _, source = sender
            if direction in (socket.PACKET_HOST, socket.PACKET_BROADCAST):
                return Frame(data, source, interface)

    def send(self, data: bytes, interface: str, destination: bytes) -> None:
        self._socket.sendto(data, (interface, self._ethertype, 0, 0, destination))

    def close(self) -> None:
        self._socket.close()
