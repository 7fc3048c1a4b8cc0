"""Packets that an nftables rule hands to this process for a look (nfnetlink_queue)."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from nodes.kernel.netlink import attribute
from nodes.kernel.netlink_replies import HEADER, MalformedReply, attributes, fields, replies

_NETLINK_NETFILTER = 12
_SUBSYSTEM_QUEUE = 3 << 8
_PACKET, _VERDICT, _CONFIG = (_SUBSYSTEM_QUEUE | kind for kind in (0, 1, 2))
_FAMILY = struct.Struct("=BBH")
_REQUEST, _ACK = 0x1, 0x4
_BIND, _COPY_PACKET, _FAIL_OPEN, _DROP, _ACCEPT = 1, 2, 1, 0, 1
_CFG_COMMAND, _CFG_PARAMETERS, _CFG_MASK, _CFG_FLAGS = 1, 2, 4, 5
_PACKET_HEADER, _VERDICT_HEADER, _INTERFACE_IN, _PAYLOAD = 1, 2, 5, 10
_LARGEST = 65_535


class QueuedPacket(NamedTuple):
    """`data` is the beginning of the packet from its IPv6 header on; `interface` the index of the
    one that it came in by. It waits until it is accepted
    or dropped."""

    identity: int
    interface: int
    data: bytes


class PacketQueue:
    """Queue `number` of this network namespace. If it is full, packets pass without a look, and so
    they do while nobody holds it, if the rule says `bypass`."""

    def __init__(self, number: int, copied_octets: int = 128) -> None:
        self._number = number
        self._sequence = 0
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        try:
            self._socket.bind((0, 0))
            self._configure(_CFG_COMMAND, struct.pack("!BBH", _BIND, 0, socket.AF_INET6))
            self._configure(_CFG_PARAMETERS, struct.pack("!IB", copied_octets, _COPY_PACKET))
            self._configure(_CFG_FLAGS, struct.pack("!I", _FAIL_OPEN), mask=_FAIL_OPEN)
        except OSError:
            self._socket.close()
            raise
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> list[QueuedPacket]:
        """Those that wait now and have not been returned before."""
        found: list[QueuedPacket] = []
        while True:
            try:
                data = self._socket.recv(_LARGEST)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # then some passed without a look
                    raise
                continue
            found.extend(packets(data))

    def accept(self, packet: QueuedPacket) -> None:
        """Let it go on its way."""
        self._decide(packet, _ACCEPT)

    def drop(self, packet: QueuedPacket) -> None:
        self._decide(packet, _DROP)

    def replace(self, packet: QueuedPacket, data: bytes) -> None:
        """Let `data`, from the IPv6 header on, go in its place."""
        self._decide(packet, _ACCEPT, attribute(_PAYLOAD, data))

    def _decide(self, packet: QueuedPacket, what: int, more: bytes = b"") -> None:
        verdict = struct.pack("!II", what, packet.identity)
        self._send(_VERDICT, attribute(_VERDICT_HEADER, verdict) + more, 0)

    def close(self) -> None:
        self._socket.close()

    def _configure(self, kind: int, value: bytes, mask: int | None = None) -> None:
        body = attribute(kind, value)
        if mask is not None:
            body += attribute(_CFG_MASK, struct.pack("!I", mask))
        self._send(_CONFIG, body, _ACK)
        answer = self._socket.recv(_LARGEST)
        (error,) = fields("=i", answer, HEADER.size)
        if error:
            raise OSError(-error, f"packet queue {self._number}: {os.strerror(-error)}")

    def _send(self, kind: int, body: bytes, flags: int) -> None:
        self._sequence += 1
        body = _FAMILY.pack(socket.AF_UNSPEC, 0, socket.htons(self._number)) + body
        length = HEADER.size + len(body)
        header = HEADER.pack(length, kind, _REQUEST | flags, self._sequence, 0)
        self._socket.send(header + body)


def packets(data: bytes) -> Iterator[QueuedPacket]:
    """Those of a datagram from the queue. Raises MalformedReply."""
    for reply in replies(data):
        if reply.kind != _PACKET:
            continue
        found = dict(attributes(reply.body[_FAMILY.size :]))
        if _PACKET_HEADER not in found:
            raise MalformedReply("a queued packet without a number")
        yield QueuedPacket(
            fields("!I", found[_PACKET_HEADER])[0],
            int.from_bytes(found.get(_INTERFACE_IN, b"")[:4], "big"),
            found.get(_PAYLOAD, b""),
        )
