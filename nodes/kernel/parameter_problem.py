"""ICMPv6 Parameter Problems about Mobility Headers (RFC 6275 section 9.2, RFC 4443 section 3.4).

Linux sends them itself for the types of RFC 3775 if it is built with IPV6_MIP6, and then no such
message reaches a daemon; it knows nothing of the later types.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from ipaddress import IPv6Address

from nodes.kernel.sockets import IPPROTO_MOBILITY, Received

PARAMETER_PROBLEM, ERRONEOUS_HEADER_FIELD = 4, 0
MINIMUM_MTU = 1280
RATE_PER_S, BURST = 10.0, 10.0  # RFC 4443 section 2.4 (f): a token bucket
_ICMPV6_FILTER = 1
_ICMP_HEADER = struct.Struct("!BBHI")  # the kernel fills in the checksum
_IPV6_HEADER = struct.Struct("!IHBB16s16s")


def parameter_problem(received: Received, offset: int) -> bytes:
    """One that points at `offset` of the Mobility Header. A raw socket doesn't hand over the IPv6
    header, so that the one here is put together anew; its hop limit isn't known and is 0."""
    header = _IPV6_HEADER.pack(
        6 << 28,
        len(received.data),
        IPPROTO_MOBILITY,
        0,
        received.source.packed,
        received.destination.packed,
    )
    pointer = _IPV6_HEADER.size + offset
    icmp = _ICMP_HEADER.pack(PARAMETER_PROBLEM, ERRONEOUS_HEADER_FIELD, 0, pointer)
    return (icmp + header + received.data)[: MINIMUM_MTU - _IPV6_HEADER.size]


class ParameterProblems:
    def __init__(self, address: IPv6Address) -> None:
        self._socket = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        everything_blocked = struct.pack("=8I", *[0xFFFFFFFF] * 8)
        self._socket.setsockopt(socket.IPPROTO_ICMPV6, _ICMPV6_FILTER, everything_blocked)
        self._socket.bind((str(address), 0))
        self._tokens, self._filled = BURST, time.monotonic()

    def send(self, received: Received, offset: int) -> None:
        now = time.monotonic()
        self._tokens = min(BURST, self._tokens + (now - self._filled) * RATE_PER_S)
        self._filled = now
        if self._tokens >= 1:
            self._tokens -= 1
            # Whoever forged the source may have named one that there is no route to.
            with contextlib.suppress(OSError):
                self._socket.sendto(parameter_problem(received, offset), (str(received.source), 0))

    def close(self) -> None:
        self._socket.close()
