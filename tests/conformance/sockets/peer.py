"""A node of the tests' own: Mobility Header messages from one address, and what comes back.

It knows nothing of the node under test but its address. The messages are put together and taken
apart by this project's codec, which other tests check against other decoders.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Iterator
from ipaddress import IPv6Address
from typing import NamedTuple, TypeVar

from nodes.kernel.sockets import IPPROTO_MOBILITY, MobilitySocket
from nodes.wire.codec import decode, encode
from nodes.wire.messages import Message
from tests.conformance.sockets.inner_packet import InnerPacket
from tests.conformance.sockets.outcome import expect

PARAMETER_PROBLEM = 4
ICMPV6_FILTER = 1
IPV6_CHECKSUM = 7  # RFC 3542 section 3.1; -1 turns the kernel's own off
# How long an answer may take, and how long silence has to last to count as one.
ANSWER_S = 2.0
SILENCE_S = 1.5

M = TypeVar("M", bound=Message)


class Arrival(NamedTuple):
    """A message with its sender and the time (s, of the monotonic clock) it was read at."""

    message: Message
    source: IPv6Address
    at: float


class ParameterProblem(NamedTuple):
    """RFC 4443 section 3.4; `pointer` counts from the beginning of the IPv6 header."""

    code: int
    pointer: int
    source: IPv6Address


class Tunneled(NamedTuple):
    """A packet that came through a tunnel, and the traffic class of the tunnel's header."""

    packet: InnerPacket
    traffic_class: int


def _address(sender: tuple[str, int]) -> IPv6Address:
    return IPv6Address(sender[0].split("%")[0])


class Peer:
    """Create it where the address is: in its network namespace. Needs CAP_NET_RAW."""

    def __init__(self, address: IPv6Address) -> None:
        self.address = address
        self._mobility = MobilitySocket(address)
        self._icmp = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        blocked = [0xFFFFFFFF] * 8
        blocked[PARAMETER_PROBLEM // 32] &= ~(1 << (PARAMETER_PROBLEM % 32))
        self._icmp.setsockopt(socket.IPPROTO_ICMPV6, ICMPV6_FILTER, struct.pack("=8I", *blocked))
        self._icmp.setblocking(False)
        self._bare = socket.socket(socket.AF_INET6, socket.SOCK_RAW, IPPROTO_MOBILITY)
        self._bare.setsockopt(socket.IPPROTO_IPV6, IPV6_CHECKSUM, -1)
        self._tunnel = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_IPV6)
        self._tunnel.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
        self._tunnel.setblocking(False)
        for sending in (self._bare, self._tunnel):
            sending.bind((str(address), 0))

    def send(self, message: Message, to: IPv6Address) -> None:
        self._mobility.send(encode(message, self.address, to), to)

    def send_octets(self, header: bytes, to: IPv6Address) -> None:
        """A Mobility Header as it is; the kernel fills in the checksum."""
        self._mobility.send(header, to)

    def send_octets_with_checksum(self, header: bytes, checksum: int, to: IPv6Address) -> None:
        """A Mobility Header with a checksum of its own, right or wrong."""
        self._bare.sendto(header[:4] + checksum.to_bytes(2, "big") + header[6:], (str(to), 0))

    def tunnel(self, packet: bytes, to: IPv6Address, traffic_class: int = 0) -> None:
        """An IPv6 packet in an IPv6 packet (RFC 2473)."""
        outer = (socket.IPPROTO_IPV6, socket.IPV6_TCLASS, struct.pack("=i", traffic_class))
        self._tunnel.sendmsg([packet], [outer], 0, (str(to), 0))

    def tunneled(
        self, source: IPv6Address, payload: bytes, for_s: float = ANSWER_S
    ) -> Tunneled | None:
        """The packet with `payload` that `source` tunnels here within `for_s`."""
        deadline = time.monotonic() + for_s
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self._tunnel], [], [], left)[0]:
                break
            data, ancillary, _, sender = self._tunnel.recvmsg(2048, socket.CMSG_SPACE(4))
            packet = InnerPacket.decode(data)
            if packet is not None and packet.payload == payload and _address(sender) == source:
                ((_, _, traffic_class),) = ancillary
                return Tunneled(packet, struct.unpack("=i", traffic_class)[0])
        return None

    def drain(self) -> None:
        """Forget what came so far."""
        while self._mobility.receive() is not None:
            pass
        for channel in (self._icmp, self._tunnel):
            with contextlib.suppress(BlockingIOError):
                while channel.recvfrom(2048):
                    pass

    def arrivals(self, source: IPv6Address, for_s: float) -> Iterator[Arrival]:
        """What `source` sends within the next `for_s`, as it comes."""
        deadline = time.monotonic() + for_s
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self._mobility], [], [], left)[0]:
                return
            received = self._mobility.receive()
            if received is not None and received.source == source:
                message = decode(received.data, received.source, self.address)
                yield Arrival(message, received.source, time.monotonic())

    def next(self, kind: type[M], source: IPv6Address, for_s: float = ANSWER_S) -> M | None:
        """The first message of this kind within `for_s`; None: there was none."""
        for arrival in self.arrivals(source, for_s):
            if isinstance(arrival.message, kind):
                return arrival.message
        return None

    def expect(self, kind: type[M], source: IPv6Address, for_s: float = ANSWER_S) -> M:
        found = self.next(kind, source, for_s)
        expect(found is not None, f"no {kind.__name__} from {source} within {for_s:g} s")
        assert found is not None
        return found

    def expect_silence(self, kind: type[Message], source: IPv6Address) -> None:
        found = self.next(kind, source, SILENCE_S)
        expect(found is None, f"unexpected {found}")

    def parameter_problem(self, source: IPv6Address) -> ParameterProblem | None:
        """The first one from `source`, within ANSWER_S."""
        deadline = time.monotonic() + ANSWER_S
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self._icmp], [], [], left)[0]:
                break
            data, sender = self._icmp.recvfrom(2048)
            came_from = _address(sender)
            if came_from == source:
                return ParameterProblem(data[1], struct.unpack_from("!I", data, 4)[0], came_from)
        return None

    def close(self) -> None:
        for one in (self._mobility, self._icmp, self._bare, self._tunnel):
            one.close()
