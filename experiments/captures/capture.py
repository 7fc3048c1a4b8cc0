"""Packet capture that costs nothing while a run goes on.

A memory-mapped ring (PACKET_RX_RING, TPACKET_V2) per interface is filled by the kernel, with
nanosecond time stamps, and read only when the run has ended. So a ring must hold all packets of
the run; its size follows from the declared traffic, and a ring that was too small is an error.

A packet that arrives is stamped after netem's delay. Packet sockets see one that leaves after
netem's delay too, and never see what netem drops; so what leaves is mirrored, before netem takes
it, to an interface without a line, and captured there at that instant.
"""

from __future__ import annotations

import ctypes
import heapq
import mmap
import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from experiments.captures.capture_plan import (
    BLOCK_BYTES,
    CHANNEL_FRAME_BYTES,
    CONTROL_FRAME_BYTES,
    DATA_FRAME_BYTES,
    Place,
    channel_frames,
    channels,
    control_frames,
    expected_frames,
    places,
    ring_bytes,
    ring_frames,
)
from experiments.captures.packet_filter import (
    NH_IPV6,
    NH_TCP,
    NH_UDP,
    Instruction,
    accept_ethertype,
    accept_next_headers,
    accept_signalling,
    accept_udp_or_tunnelled_udp,
    filter_bytes,
)
from experiments.captures.pcapng import PcapngWriter
from experiments.declaration.spec import RunSpec
from nodes.wire.attachment import ETHERTYPE
from topologies import netlink
from topologies.hosts import SYSCTL_ROOT
from topologies.model import Role
from topologies.namespaces import inside, socket_in
from topologies.network import Network

SOL_PACKET, PACKET_RX_RING, PACKET_STATISTICS, PACKET_VERSION = 263, 5, 6, 10
PACKET_IGNORE_OUTGOING = 23
TPACKET_V2 = 1
SO_ATTACH_FILTER = 26
ETH_P_ALL = 0x0003

# status, len, snaplen, mac, net, sec, nsec
_FRAME_HEAD = struct.Struct("=IIIHHII")
# The kernel's offset of the Ethernet header in a frame.
FRAME_OVERHEAD = 66

# Of layer-2 signalling on an access link: two for an attachment, and a few that are repeated.
ATTACHMENT_FRAMES = 64
# A guest gets what its rings take; a mistake in an experiment must not take the machine's memory.
MEMORY_LIMIT_BYTES = 512 << 20

MIRROR_MAC = "02:00:00:00:ff:02"
NANOSECONDS = 1_000_000_000
DATA_HEADERS = (NH_UDP, NH_TCP, NH_IPV6)


class CaptureOverflow(RuntimeError):
    """A ring was too small for the packets of the run."""


class Frame(NamedTuple):
    timestamp_ns: int
    offset: int
    captured: int
    original: int


class Ring:
    """A packet socket with its ring on one interface, for what arrives there.

    `source`: what leaves that interface instead, which is mirrored to `interface`.
    """

    def __init__(
        self,
        namespace: int,
        interface: str,
        program: Sequence[Instruction],
        frames: int,
        frame_bytes: int,
        source: str | None = None,
    ) -> None:
        self.name = source or interface
        self.outbound = source is not None
        self.frames, self.frame_bytes = frames, frame_bytes
        size = frames * frame_bytes
        self._map: mmap.mmap | None = None
        self._socket = socket_in(
            namespace, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        )
        try:
            code = ctypes.create_string_buffer(filter_bytes(program))
            self._socket.setsockopt(
                socket.SOL_SOCKET,
                SO_ATTACH_FILTER,
                struct.pack("@HP", len(program), ctypes.addressof(code)),
            )
            self._socket.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V2)
            self._socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, int(not self.outbound))
            self._socket.setsockopt(
                SOL_PACKET,
                PACKET_RX_RING,
                struct.pack("=IIII", BLOCK_BYTES, size // BLOCK_BYTES, frame_bytes, frames),
            )
            # Binding last: from here on packets come, and each has passed the filter.
            self._socket.bind((interface, ETH_P_ALL))
        except BaseException:
            self._socket.close()
            raise

    def check(self) -> None:
        """Raises CaptureOverflow if packets were dropped for want of space. Resets the count."""
        statistics = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        packets, drops = struct.unpack("=II", statistics)
        if drops:
            raise CaptureOverflow(
                f"{self.name}: {drops} of the {packets} packets that "
                f"{'left' if self.outbound else 'arrived'} did not fit into the capture's "
                f"{self.frames} frames ({self.frames * self.frame_bytes >> 10} KiB)"
            )

    def read(self) -> Iterator[tuple[Frame, Ring]]:
        """The frames in the order of their time stamps, each with this ring.

        The ring is mapped only now: a guest kernel that copies such a mapping in a fork reports
        bad pages, and panics.
        """
        size = self.frames * self.frame_bytes
        if self._map is None:
            self._map = mmap.mmap(self._socket.fileno(), size)
        found = []
        for start in range(0, size, self.frame_bytes):
            status, length, captured, mac, _, seconds, nanoseconds = _FRAME_HEAD.unpack_from(
                self._map, start
            )
            if not status:
                break
            found.append(Frame(seconds * NANOSECONDS + nanoseconds, start + mac, captured, length))
        found.sort()
        return ((frame, self) for frame in found)

    def data(self, frame: Frame) -> bytes:
        """The bytes of a frame that `read` has returned."""
        assert self._map is not None
        return self._map[frame.offset : frame.offset + frame.captured]

    def close(self) -> None:
        if self._map is not None:
            self._map.close()
        self._socket.close()


class Capture:
    """All captures of a run. `finish` writes them, `close` frees their memory.

    The mirrors last as long as the network.
    """

    def __init__(self) -> None:
        # Per captured interface, the rings for what arrives and what leaves.
        self._data: list[tuple[Ring, ...]] = []
        self._control: list[tuple[Ring, ...]] = []

    @classmethod
    def start(cls, network: Network, spec: RunSpec) -> Capture:
        """Capture at CN, LMA and MN of `network` from now on.

        Raises ValueError if the rings for the declared traffic take more than the guest can give,
        and OSError.
        """
        expected = expected_frames(spec)
        needed = ring_bytes(spec)
        if needed > MEMORY_LIMIT_BYTES:
            raise ValueError(
                f"flows: capturing them takes {needed >> 20} MiB of memory, at most "
                f"{MEMORY_LIMIT_BYTES >> 20} MiB are there; shorten TCP flows or lower rate_mbit"
            )
        capture = cls()
        try:
            found = places(spec) + channels(spec.topology)
            for number, place in enumerate(found):
                mirror = f"mirror{number}"
                namespace = network.namespace(place.node)
                _mirror(namespace, place.interface, mirror)
                if place.role is Role.CONTROLLER:
                    capture._control.append(_channel_rings(namespace, place, mirror, spec))
                    continue
                is_lma = place.role is Role.LMA
                program = (
                    accept_udp_or_tunnelled_udp() if is_lma else accept_next_headers(DATA_HEADERS)
                )
                sizes = [
                    ring_frames(count, DATA_FRAME_BYTES) for count in expected[place.interface]
                ]
                capture._data.append(
                    _rings(namespace, place.interface, mirror, program, sizes, DATA_FRAME_BYTES)
                )
                control = _control_filter(spec, place.role)
                if control is not None:
                    program, frames = control
                    sizes = [frames, frames]
                    capture._control.append(
                        _rings(
                            namespace, place.interface, mirror, program, sizes, CONTROL_FRAME_BYTES
                        )
                    )
        except BaseException:
            capture.close()
            raise
        return capture

    def finish(self, folder: Path) -> None:
        """Write `captures.pcapng` and `control.pcapng` into `folder`.

        Packets are in time order per interface, and interfaces one after the other. Raises
        CaptureOverflow before anything is written, and OSError.
        """
        for pair in (*self._data, *self._control):
            for ring in pair:
                ring.check()
        for name, rings in (("captures.pcapng", self._data), ("control.pcapng", self._control)):
            with (folder / name).open("wb", buffering=1 << 18) as file:
                _write(file, rings)

    def close(self) -> None:
        """Stop capturing and free the rings; harmless when done before."""
        for pairs in (self._data, self._control):
            while pairs:
                for ring in pairs.pop():
                    ring.close()


def _control_filter(spec: RunSpec, role: Role) -> tuple[list[Instruction], int] | None:
    """What of an interface belongs in control.pcapng, and how many frames at most: Mobility
    Headers at the LMA, in ESP or not, and at the MN the messages of layer-2 signalling."""
    if role is Role.LMA:
        return accept_signalling(), control_frames(spec)
    if role is Role.MN and spec.protocol.attachment == "layer-2":
        return accept_ethertype(ETHERTYPE), ATTACHMENT_FRAMES
    return None


def _channel_rings(namespace: int, place: Place, mirror: str, spec: RunSpec) -> tuple[Ring, ...]:
    program = accept_next_headers([NH_TCP])
    frames = channel_frames(spec)
    return _rings(
        namespace, place.interface, mirror, program, [frames, frames], CHANNEL_FRAME_BYTES
    )


def _mirror(namespace: int, interface: str, mirror: str) -> None:
    netlink.send(namespace, [netlink.new_dummy(mirror, MIRROR_MAC, up=False)])
    with inside(namespace):
        # No IPv6 there, or the kernel would send on it, and hear of its addresses and routes.
        (SYSCTL_ROOT / f"ipv6/conf/{mirror}/disable_ipv6").write_text("1", encoding="ascii")
        index, to = socket.if_nametoindex(interface), socket.if_nametoindex(mirror)
    netlink.send(namespace, [netlink.set_link(mirror, True), *netlink.mirror_egress(index, to)])


def _rings(
    namespace: int,
    interface: str,
    mirror: str,
    program: Sequence[Instruction],
    sizes: Sequence[int],
    frame_bytes: int,
) -> tuple[Ring, ...]:
    arriving = Ring(namespace, interface, program, sizes[0], frame_bytes)
    try:
        leaving = Ring(namespace, mirror, program, sizes[1], frame_bytes, source=interface)
    except BaseException:
        arriving.close()
        raise
    return arriving, leaving


def _write(file: BinaryIO, pairs: list[tuple[Ring, ...]]) -> None:
    snaplen = max((pair[0].frame_bytes for pair in pairs), default=0)
    snaplen = max(snaplen - FRAME_OVERHEAD, 0)
    writer = PcapngWriter(file, [pair[0].name for pair in pairs], snaplen)
    for index, pair in enumerate(pairs):
        for frame, ring in heapq.merge(*(ring.read() for ring in pair), key=_timestamp):
            writer.packet(
                index, frame.timestamp_ns, ring.data(frame), frame.original, ring.outbound
            )


def _timestamp(entry: tuple[Frame, Ring]) -> int:
    return entry[0].timestamp_ns
