"""What the core does to packets: partitions; signalling that is lost, late, repeated, damaged.

All of it happens at the router between LMA and MAGs. What is to be disturbed waits in a queue of
this process while it decides; everything else passes untouched.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress

from experiments.chaos.scenario import Disturb, Partition
from nodes.kernel.nftables import Transactions
from nodes.kernel.packet_queue import PacketQueue, QueuedPacket

TABLE = "ip6 flowmob_chaos"
QUEUE = 3
MOBILITY_HEADER = 135
IPV6_HDRINCL = 36
LARGEST = 65_535
HEADER_BYTES = 40
DESTINATION = slice(24, 40)

Later = Callable[[float, Callable[[], None]], None]


class CoreFaults:
    """Made in the router's namespace. `later(seconds, what)` has something done later."""

    def __init__(self, rng: random.Random, later: Later) -> None:
        self._rng = rng
        self._later = later
        self._partitions: list[Partition] = []
        self._disturbances: list[Disturb] = []
        self._nftables = Transactions()
        self.queue = PacketQueue(QUEUE, LARGEST)
        self._copies = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._copies.setsockopt(socket.IPPROTO_IPV6, IPV6_HDRINCL, 1)
        self._put_in_force()

    def close(self) -> None:
        self.queue.close()
        self._copies.close()

    def begin(self, fault: Partition | Disturb) -> None:
        if isinstance(fault, Partition):
            self._partitions.append(fault)
        else:
            self._disturbances.append(fault)
        self._put_in_force()

    def end(self, fault: Partition | Disturb) -> None:
        if isinstance(fault, Partition):
            self._partitions.remove(fault)
        else:
            self._disturbances.remove(fault)
        self._put_in_force()

    def look(self) -> None:
        """Decide about messages that wait."""
        for packet in self.queue.receive():
            self._decide(packet)

    def _decide(self, packet: QueuedPacket) -> None:
        rng, active = self._rng, self._disturbances
        loss = max((fault.loss for fault in active), default=0.0)
        if rng.random() < loss:
            self.queue.drop(packet)
            return
        delay_ms = max((fault.delay_ms for fault in active), default=0.0)
        if rng.random() < max((fault.duplicate for fault in active), default=0.0):
            copy_s = rng.uniform(0.0, 2 * delay_ms + 1.0) / 1000
            self._later(copy_s, lambda: self._send_copy(packet.data))
        data = packet.data
        if rng.random() < max((fault.corrupt for fault in active), default=0.0):
            data = damaged(data, rng)
        if delay_ms:
            self._later(rng.uniform(0.0, delay_ms) / 1000, lambda: self.queue.replace(packet, data))
        else:
            self.queue.replace(packet, data)

    def _send_copy(self, data: bytes) -> None:
        with suppress(OSError):
            self._copies.sendto(data, (socket.inet_ntop(socket.AF_INET6, data[DESTINATION]), 0))

    def _put_in_force(self) -> None:
        rules = rules_of(self._partitions, disturbed=bool(self._disturbances))
        self._nftables.run(
            f"add table {TABLE}",
            f"delete table {TABLE}",
            f"add table {TABLE}",
            f"add chain {TABLE} forward {{ type filter hook forward priority raw; }}",
            *(f"add rule {TABLE} forward {rule}" for rule in rules),
        )


def rules_of(partitions: list[Partition], *, disturbed: bool) -> Iterator[str]:
    """nftables rules of the router. Down is away from the LMA."""
    for fault in partitions:
        link = f'"core-{fault.node}"'
        away, towards = ("iifname", "oifname") if fault.node == "lma" else ("oifname", "iifname")
        if fault.direction in ("down", "both"):
            yield f"{away} {link} drop"
        if fault.direction in ("up", "both"):
            yield f"{towards} {link} drop"
    if disturbed:
        yield f"meta l4proto {MOBILITY_HEADER} queue flags bypass to {QUEUE}"


def damaged(data: bytes, rng: random.Random) -> bytes:
    """With one to four octets behind the IPv6 header changed, and sometimes the end missing."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(HEADER_BYTES, len(changed))
        changed[place] ^= rng.randint(1, 255)
    if rng.random() < 0.2 and len(changed) > HEADER_BYTES + 8:
        del changed[rng.randrange(HEADER_BYTES + 8, len(changed)) :]
        changed[4:6] = (len(changed) - HEADER_BYTES).to_bytes(2, "big")
    return bytes(changed)
