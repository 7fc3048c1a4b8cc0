"""Path MTU discovery, of which the kernel does the work (RFC 8201, RFC 5213 section 6.9.5)."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address

PACKET_TOO_BIG = 2
IPV6_MTU = 24  # linux/in6.h
_ICMPV6_FILTER = 1
_DISCARD_PORT = 9


def path_mtu(destination: IPv6Address) -> int | None:
    """What the kernel knows of the path in octets; None if there is no route."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(destination), _DISCARD_PORT))
            return probe.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU)
        except OSError:
            return None


class PacketTooBigMonitor:
    """Readable when some path may have got another MTU. It tells that, not which."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        blocked = [0xFFFFFFFF] * 8
        blocked[PACKET_TOO_BIG // 32] &= ~(1 << PACKET_TOO_BIG % 32)
        self._socket.setsockopt(socket.IPPROTO_ICMPV6, _ICMPV6_FILTER, struct.pack("=8I", *blocked))
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def drain(self) -> None:
        while True:
            try:
                self._socket.recv(1)
            except BlockingIOError:
                return

    def close(self) -> None:
        self._socket.close()
