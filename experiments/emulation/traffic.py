"""The traffic of a run: processes that send and receive in the nodes' namespaces.

Measurement is by capture, so these only make packets. Instants are absolute: packet k of a stream
leaves at the run's second 0 + from_s + the stream's offset + k * interval, so nothing drifts.

Streams that share an interval are spread over it: with n flows, the CN's flow i is offset by
2 * i / (2 * n) of the interval and the MN's by (2 * i + 1) / (2 * n), rounded down to whole ms.
So no two packets start at the same instant, and every instant is a whole ms of the run (as long
as interval and start are), which keeps times recorded at 10 us resolution off the rounding edges
that a microsecond of jitter could cross.
"""

from __future__ import annotations

import ctypes
import errno
import heapq
import json
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from types import FrameType
from typing import Literal, NamedTuple

from experiments.declaration.flows import MptcpDownload, QuicDownload, TcpDownload, UdpFlow
from experiments.declaration.spec import RunSpec
from topologies.model import BITS_PER_BYTE, Role
from topologies.namespaces import set_timer_slack
from topologies.plan import addresses

NANOSECONDS = 1_000_000_000
NANOSECONDS_PER_MS = 1_000_000
TIMER_ABSTIME = 1
TIMER_SLACK_NS = 1
RTMGRP_IPV6_IFADDR = 0x100
SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_MAX_PACING_RATE = 32, 33, 47

# What starts every payload: mark, flow id, sequence number.
PAYLOAD_HEAD = struct.Struct("!2sHI")
IPPROTO_MPTCP = 262
PAYLOAD_MARK = b"FM"

# Large, so that a bulk transfer wakes its processes a few times a second only; fixed, because the
# kernel's own limits follow from the guest's memory and would show in the results.
TCP_BUFFER_BYTES = 2 << 20
TCP_WAKE_BYTES = 1 << 20
# Multipath TCP accounts for what it holds twice: with the buffers of TCP, a guest's memory for TCP
# runs out, and all subflows crawl. This is still twice what both reference accesses have in flight.
MULTIPATH_BUFFER_BYTES = 512 << 10

Side = Literal["cn", "mn"]
_libc = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def sleep_until(instant_ns: int) -> None:
    """Sleep until CLOCK_MONOTONIC shows `instant_ns`; at once if that has passed."""
    until = _Timespec(*divmod(instant_ns, NANOSECONDS))
    while True:
        error = _libc.clock_nanosleep(
            time.CLOCK_MONOTONIC, TIMER_ABSTIME, ctypes.byref(until), None
        )
        if error == 0:
            return
        if error != errno.EINTR:
            raise OSError(error, f"clock_nanosleep: {os.strerror(error)}")


def run_start(lead_s: float) -> int:
    """The run's second 0: a whole second of CLOCK_MONOTONIC, at least `lead_s` from now, in ns."""
    earliest = time.monotonic_ns() + round(lead_s * NANOSECONDS)
    return -(-earliest // NANOSECONDS) * NANOSECONDS


@dataclass(frozen=True)
class UdpStream:
    """One direction of a UDP flow. `offset_ms` spreads the streams of a run over the interval."""

    fid: int
    source: IPv6Address
    destination: IPv6Address
    port: int
    interval_ms: float
    payload_bytes: int
    from_s: float
    until_s: float
    offset_ms: int = 0

    def instants_ns(self, start_ns: int) -> Iterator[int]:
        """When the packets leave, sequence number 0 first; all before `until_s`."""
        interval = round(self.interval_ms * NANOSECONDS_PER_MS)
        first = start_ns + round(self.from_s * NANOSECONDS) + self.offset_ms * NANOSECONDS_PER_MS
        end = start_ns + round(self.until_s * NANOSECONDS)
        return iter(range(first, end, interval))


def flow_ids(spec: RunSpec) -> dict[str, int]:
    """The number in the payload of each flow: 1, 2, ... in the order of the spec."""
    return {name: number for number, name in enumerate(spec.flows, start=1)}


def udp_streams(
    spec: RunSpec, side: Side, mn_addresses: Mapping[str, IPv6Address], mn: int | None = None
) -> list[UdpStream]:
    """What one side sends, or of it what belongs to the MN with this number. `mn_addresses`: the
    MN's address per flow name."""
    correspondent = correspondent_address(spec)
    ids = flow_ids(spec)
    flows = [(name, flow) for name, flow in spec.flows.items() if isinstance(flow, UdpFlow)]
    streams = []
    for position, (name, flow) in enumerate(flows):
        if mn not in (None, flow.mn):
            continue
        ends = (correspondent, mn_addresses[name])
        slot = 2 * position + (side == "mn")
        silent = flow.directions == ("down" if side == "mn" else "up")
        streams.append(
            UdpStream(
                fid=ids[name],
                source=ends[side == "mn"],
                destination=ends[side == "cn"],
                port=flow.port,
                interval_ms=flow.interval_ms,
                payload_bytes=flow.payload_bytes,
                from_s=flow.from_s,
                # Its socket is the sink of the other direction all the same.
                until_s=flow.from_s if silent else flow.until_s,
                offset_ms=int(slot * flow.interval_ms / (2 * len(flows))),
            )
        )
    return streams


def correspondent_address(spec: RunSpec) -> IPv6Address:
    node = spec.topology.node_with_role(Role.CORRESPONDENT)
    return addresses(spec.topology)[node][0].address


class Departure(NamedTuple):
    instant_ns: int
    stream: int
    sequence: int


def departures(streams: Sequence[UdpStream], start_ns: int) -> Iterator[Departure]:
    """All packets of `streams` in the order in which they leave."""
    return heapq.merge(
        *(_departures(number, stream, start_ns) for number, stream in enumerate(streams))
    )


def _departures(number: int, stream: UdpStream, start_ns: int) -> Iterator[Departure]:
    for sequence, instant in enumerate(stream.instants_ns(start_ns)):
        yield Departure(instant, number, sequence)


def bind_when_ready(channel: socket.socket, address: IPv6Address, port: int) -> None:
    """Bind as soon as the address exists in this namespace. Raises OSError for other failures."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as events:
        events.bind((0, RTMGRP_IPV6_IFADDR))
        while True:
            try:
                channel.bind((str(address), port))
                return
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL:
                    raise
            events.recv(65536)


def end_on_sigterm() -> None:
    def end(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)


def report(**values: object) -> None:
    print(json.dumps(values), flush=True)


def send_udp(streams: Sequence[UdpStream], start_ns: int) -> None:
    """Send all streams of a node, and then hold the sockets open until SIGTERM.

    Each socket is the sink of the opposite stream too: its tiny receive buffer drops what comes,
    without a wake-up and without an ICMP error. A packet that can't be sent (no route yet) or
    whose instant has passed before its address existed is counted and not sent later. Prints one
    JSON line with the counts.
    """
    end_on_sigterm()
    set_timer_slack(TIMER_SLACK_NS)
    sockets, payloads = [], []
    for stream in streams:
        channel = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
        bind_when_ready(channel, stream.source, stream.port)
        sockets.append(channel)
        payloads.append(bytearray(stream.payload_bytes))
    targets = [(str(stream.destination), stream.port) for stream in streams]
    sent, late = [0] * len(streams), [0] * len(streams)
    failed: dict[str, int] = {}
    ready_ns = time.monotonic_ns()
    for instant, number, sequence in departures(streams, start_ns):
        if instant < ready_ns:
            late[number] += 1
            continue
        payload = payloads[number]
        PAYLOAD_HEAD.pack_into(payload, 0, PAYLOAD_MARK, streams[number].fid, sequence)
        sleep_until(instant)
        try:
            sockets[number].sendto(payload, targets[number])
            sent[number] += 1
        except OSError as error:
            what = f"{streams[number].fid} {errno.errorcode.get(error.errno or 0, str(error))}"
            failed[what] = failed.get(what, 0) + 1
    fids = [stream.fid for stream in streams]
    report(
        sent=dict(zip(fids, sent, strict=True)),
        late=dict(zip(fids, late, strict=True)),
        failed=failed,
    )
    while True:
        signal.pause()


class Reconnection(NamedTuple):
    """The receiver of a download goes on from another address of its own."""

    instant_s: float
    address: IPv6Address


@dataclass(frozen=True)
class TcpTransfer:
    """A bulk download: `sender` (the server) sends to `receiver` as fast as TCP lets it. Another
    connection after `reconnection` goes on where the first one was."""

    fid: int
    sender: IPv6Address
    receiver: IPv6Address
    port: int
    congestion: str
    from_s: float
    until_s: float
    rate_mbit: float | None = None
    multipath: bool = False
    reconnection: Reconnection | None = None


def tcp_transfers(
    spec: RunSpec,
    mn_addresses: Mapping[str, IPv6Address],
    reconnections: Mapping[str, Reconnection] | None = None,
) -> list[TcpTransfer]:
    """The downloads of a run over TCP and Multipath TCP. `mn_addresses`: the MN's address per flow
    name."""
    correspondent = correspondent_address(spec)
    ids = flow_ids(spec)
    return [
        TcpTransfer(
            fid=ids[name],
            sender=correspondent,
            receiver=mn_addresses[name],
            port=flow.port,
            congestion=flow.congestion,
            from_s=flow.from_s,
            until_s=flow.until_s,
            rate_mbit=flow.rate_mbit,
            multipath=isinstance(flow, MptcpDownload),
            reconnection=(reconnections or {}).get(name),
        )
        for name, flow in spec.flows.items()
        if isinstance(flow, TcpDownload) and not isinstance(flow, QuicDownload)
    ]


def _tcp_socket(transfer: TcpTransfer) -> socket.socket:
    protocol = IPPROTO_MPTCP if transfer.multipath else socket.IPPROTO_TCP
    channel = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, protocol)
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    octets = MULTIPATH_BUFFER_BYTES if transfer.multipath else TCP_BUFFER_BYTES
    channel.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, octets)
    channel.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, octets)
    return channel


def serve_tcp(transfer: TcpTransfer, start_ns: int) -> None:
    """Wait for the receiver and send until `until_s`; then abort, so that nothing drains after.

    Prints one JSON line with the bytes handed to TCP. Raises OSError, also for a congestion
    control that the kernel lacks.
    """
    end_on_sigterm()
    set_timer_slack(TIMER_SLACK_NS)
    end_ns = start_ns + round(transfer.until_s * NANOSECONDS)
    total = 0
    with _tcp_socket(transfer) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, transfer.congestion.encode())
        bind_when_ready(listener, transfer.sender, transfer.port)
        listener.listen(1)
        for _ in range(1 if transfer.reconnection is None else 2):
            if not _wait(end_ns, listener, write=False):
                raise TimeoutError(f"flow {transfer.fid}: nobody connected by {transfer.until_s} s")
            channel, _ = listener.accept()
            with channel:
                total += _serve(channel, listener, transfer, end_ns)
    report(fid=transfer.fid, bytes_given=total)


def _serve(
    channel: socket.socket, listener: socket.socket, transfer: TcpTransfer, end_ns: int
) -> int:
    """Send until the end, or until the receiver has left or comes anew; returns the octets."""
    channel.setblocking(False)
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if transfer.rate_mbit is not None:
        octets_per_s = round(transfer.rate_mbit * 1e6 / BITS_PER_BYTE)
        channel.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, octets_per_s)
    chunk = bytes(TCP_WAKE_BYTES)
    total = 0
    while (remaining := end_ns - time.monotonic_ns()) > 0:
        anew, ready, _ = select.select([listener], [channel], [], remaining / NANOSECONDS)
        if anew:
            break
        if ready:
            try:
                total += channel.send(chunk)
            except (BrokenPipeError, ConnectionResetError):
                break
    return total


def fetch_tcp(transfer: TcpTransfer, start_ns: int) -> None:
    """Connect at `from_s` and read until the sender ends. Prints one JSON line with the bytes."""
    end_on_sigterm()
    set_timer_slack(TIMER_SLACK_NS)
    then = transfer.reconnection
    until_ns = None if then is None else start_ns + round(then.instant_s * NANOSECONDS)
    total = 0
    # A socket of Multipath TCP knows the addresses that there were when it was made, no others.
    sleep_until(start_ns + round(transfer.from_s * NANOSECONDS))
    with _tcp_socket(transfer) as channel:
        bind_when_ready(channel, transfer.receiver, transfer.port)
        channel.connect((str(transfer.sender), transfer.port))
        total += _fetch(channel, until_ns, transfer.multipath)
    if then is not None:
        with _tcp_socket(transfer) as channel:
            bind_when_ready(channel, then.address, transfer.port)
            channel.connect((str(transfer.sender), transfer.port))
            total += _fetch(channel, None, transfer.multipath)
    report(fid=transfer.fid, bytes_received=total)


def _fetch(channel: socket.socket, until_ns: int | None, multipath: bool) -> int:
    """Read until the sender ends, or until then; returns the octets."""
    if not multipath:  # whose buffer never holds as much
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, TCP_WAKE_BYTES)
    buffer = bytearray(TCP_WAKE_BYTES)
    total = 0
    while until_ns is None or _wait(until_ns, channel, write=False):
        try:
            # MSG_TRUNC: the kernel throws the bytes away instead of copying them.
            count = channel.recv_into(buffer, TCP_WAKE_BYTES, socket.MSG_TRUNC)
        except ConnectionResetError:
            # How the sender ends a transfer.
            break
        if not count:
            break
        total += count
    return total


def _wait(end_ns: int, channel: socket.socket, write: bool) -> bool:
    """Wait until the socket is ready; False when `end_ns` has come."""
    remaining = end_ns - time.monotonic_ns()
    if remaining <= 0:
        return False
    wanted = [channel]
    readable, writable, _ = select.select(
        [] if write else wanted, wanted if write else [], [], remaining / NANOSECONDS
    )
    return bool(readable or writable)
