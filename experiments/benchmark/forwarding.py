"""What flow bindings cost in the LMA's kernel: packets, moves and memory.

`LmaForwarding` is the one that the daemon has, told what the daemon would tell it. A correspondent
node sends small packets to mobile nodes, which go through the LMA's classification and tunnel, and
end at the MAG as they arrive there.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import socket
import struct
import time
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import IPv6Address, IPv6Network
from itertools import islice
from statistics import median
from typing import Any, NamedTuple

from nftables import Nftables

from experiments.benchmark.bed import CN, LMA, POOL, Bed, bed, memory
from nodes.actions import ForwardFlows, InstallFlow, OpenTunnel, RemoveFlow, RoutePrefix
from nodes.flow_mobility_cache import FlowMobilityCacheEntry
from nodes.kernel.lma_forwarding import LmaForwarding
from nodes.kernel.nftables import Transactions
from nodes.lma.flow_forwarding import FIRST_FLOW_KEY
from nodes.wire.traffic_selector import IPv6TrafficSelector
from topologies.namespaces import inside

FLOWS_A_NODE = 10
FIRST_PORT, SOURCE_PORT = 5_000, 4_000
UDP, UDP_SEGMENT = 17, 103
PAYLOAD = bytes(8)
# Packets that one system call sends: with them, what it costs itself is a small share.
BURST = 64
# Rounds are short, and the faster ones count: a machine that does other things besides takes whole
# time slices, of some ms each, from some of them.
BURSTS = 8
ROUNDS = 400
COUNTED = ROUNDS // 8
MOVES = 200
ALL_AT_ONCE = 10_000
INSTALLED_AT_ONCE = 5_000

_SINK = """
table ip6 sink {
  counter arrived { }
  chain arriving {
    type filter hook prerouting priority raw; policy accept;
    meta l4proto 41 counter name arrived drop
  }
}
"""


class Flow(NamedTuple):
    key: int
    prefix: IPv6Network
    destination: IPv6Address
    port: int

    @classmethod
    def number(cls, number: int, prefixes: Sequence[IPv6Network]) -> Flow:
        prefix = prefixes[number // FLOWS_A_NODE]
        port = FIRST_PORT + number % FLOWS_A_NODE
        return cls(FIRST_FLOW_KEY + number, prefix, prefix[1], port)

    def row(self) -> FlowMobilityCacheEntry:
        selector = IPv6TrafficSelector(
            start_source_address=CN,
            start_destination_address=self.destination,
            start_source_port=SOURCE_PORT,
            start_destination_port=self.port,
            start_next_header=UDP,
        )
        return FlowMobilityCacheEntry(self.port, self.port, selector, (1,))


def forwarding(counts: Sequence[int]) -> dict[str, Any]:
    """For each of `counts` flow bindings, which grow: packets a second (all of one flow, and spread
    over all flows), kernel time of a move (ms) and of many in one go, and memory a flow (octets).
    `default_path`: packets a second of no flow, with the greatest count; `plain`: without
    classification, of one flow and of all."""
    with bed(2) as found, inside(found.lma):
        lma = LmaForwarding(LMA)
        try:
            return _measure(lma, found, counts)
        finally:
            lma.close()


def _measure(lma: LmaForwarding, found: Bed, counts: Sequence[int]) -> dict[str, Any]:
    with inside(found.access):
        sink = Transactions()
        sink.run(_SINK)
    for mag in found.mags:
        lma.perform(OpenTunnel(mag))
    home, away = found.mags
    needed = -(-max(counts) // FLOWS_A_NODE) + 1
    prefixes = list(islice(POOL.subnets(new_prefix=64), needed))
    for prefix in prefixes:
        lma.perform(RoutePrefix(prefix, home))
    with inside(found.cn):
        sender = Sender()
    flows: list[Flow] = []
    report: dict[str, Any] = {"counts": {}}
    for count in counts:
        before = memory()
        new = [Flow.number(number, prefixes) for number in range(len(flows), count)]
        started = time.perf_counter()
        install(lma, new, home)
        install_s = time.perf_counter() - started
        used = memory().since(before)
        flows += new
        report["counts"][str(count)] = {
            "one_flow": sender.rate(partial(sender.train, flows[0])),
            "all_flows": sender.rate(spread(sender, flows)),
            "install_ms": 1000 * install_s / max(1, len(new)),
            **moves(lma, flows, home, away),
            "kernel_octets": used.kernel / max(1, len(new)),
            "process_octets": used.own / max(1, len(new)),
        }
    nobodys = Flow.number((needed - 1) * FLOWS_A_NODE, prefixes)
    report["default_path"] = sender.rate(partial(sender.train, nobodys))
    for flow in flows[1:]:
        lma.perform(RemoveFlow(flow.key))
    report["again_at_1"] = sender.rate(partial(sender.train, flows[0]))
    with inside(found.lma):
        Transactions().run("delete table ip6 flowmob")
    report["plain"] = sender.rate(partial(sender.train, flows[0]))
    report["plain_all_flows"] = sender.rate(spread(sender, flows))
    report["sent"], report["arrived"] = sender.sent, _arrived(found)
    return report


def install(lma: LmaForwarding, flows: Sequence[Flow], mag: IPv6Address) -> None:
    for first in range(0, len(flows), INSTALLED_AT_ONCE):
        some = flows[first : first + INSTALLED_AT_ONCE]
        for flow in some:
            lma.perform(InstallFlow(flow.key, flow.row(), (flow.prefix,), "mn"))
        lma.perform(ForwardFlows(tuple((flow.key, (mag,)) for flow in some)))


def moves(
    lma: LmaForwarding, flows: Sequence[Flow], home: IPv6Address, away: IPv6Address
) -> dict[str, float]:
    """Single ones, of flows here and there among all; and of many at once, there and back."""
    chance = random.Random(1)
    single = []
    for _ in range(MOVES):
        key = flows[chance.randrange(len(flows))].key
        for mag in (away, home):
            single.append(_timed(lma, ForwardFlows(((key, (mag,)),))))
    some = [flow.key for flow in flows[:ALL_AT_ONCE]]
    many = [
        _timed(lma, ForwardFlows(tuple((key, (mag,)) for key in some)))
        for _ in range(3)
        for mag in (away, home)
    ]
    single.sort()
    return {
        "move_ms": median(single),
        "move_p99_ms": single[int(0.99 * len(single))],
        "at_once": len(some),
        "at_once_ms": median(many),
        "at_once_max_ms": max(many),
    }


def _timed(lma: LmaForwarding, action: ForwardFlows) -> float:
    """In ms."""
    started = time.perf_counter()
    lma.perform(action)
    return 1000 * (time.perf_counter() - started)


def spread(sender: Sender, flows: Sequence[Flow]) -> Callable[[], None]:
    """Sends a packet to each of BURST flows; another time to others, until all had one."""
    order = list(flows)
    random.Random(1).shuffle(order)
    order *= -(-BURST // len(order))
    bursts = [
        sender.burst(order[first : first + BURST])
        for first in range(0, len(order) - BURST + 1, BURST)
    ]
    turn = 0

    def send() -> None:
        nonlocal turn
        sender.send(bursts[turn % len(bursts)])
        turn += 1

    return send


class _IoVector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_char_p), ("length", ctypes.c_size_t))


class _MessageHeader(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(_IoVector)),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (("header", _MessageHeader), ("sent", ctypes.c_uint32))


class Sender:
    """The correspondent node's socket, made in its namespace."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self._socket.bind((str(CN), SOURCE_PORT))
        self._vector = _IoVector(PAYLOAD, len(PAYLOAD))
        self.sent = 0

    def close(self) -> None:
        self._socket.close()

    def train(self, flow: Flow) -> None:
        """BURST packets of one flow: one datagram that the kernel cuts (UDP_SEGMENT)."""
        self._socket.sendmsg(
            [PAYLOAD * BURST],
            [(UDP, UDP_SEGMENT, struct.pack("=H", len(PAYLOAD)))],
            0,
            (str(flow.destination), flow.port),
        )
        self.sent += BURST

    def burst(self, flows: Sequence[Flow]) -> ctypes.Array[_Message]:
        """A packet for each of `flows`, for `send`."""
        messages = (_Message * len(flows))()
        for message, flow in zip(messages, flows, strict=True):
            name = struct.pack("=H", socket.AF_INET6) + struct.pack(">HI", flow.port, 0)
            header = message.header
            header.name = name + flow.destination.packed + bytes(4)
            header.name_length = 28
            header.vectors = ctypes.pointer(self._vector)
            header.vector_count = 1
        return messages

    def send(self, messages: ctypes.Array[_Message]) -> None:
        sent = self._libc.sendmmsg(self._socket.fileno(), messages, len(messages), 0)
        if sent != len(messages):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self.sent += sent

    def rate(self, burst: Callable[[], None]) -> float:
        """Packets a second: that of the slowest of the rounds that count."""
        took = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            for _ in range(BURSTS):
                burst()
            took.append(time.perf_counter() - started)
        return BURST * BURSTS / sorted(took)[COUNTED]


def _arrived(found: Bed) -> int:
    with inside(found.access):
        library = Nftables()
        library.set_json_output(True)
        _, output, _ = library.cmd("list counter ip6 sink arrived")
    counters = [entry["counter"] for entry in json.loads(output)["nftables"] if "counter" in entry]
    return int(counters[0]["packets"])
