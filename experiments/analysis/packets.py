"""From the captures of a run to one tidy table of what became of every test packet.

Copies of a packet at the three capture points (sender, LMA,
receiver) are matched by flow, direction and sequence number, and, where there are several copies,
by access and order of time.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping
from math import isnan
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.analysis.quic_packets import Secrets, identify_quic
from experiments.analysis.segments import DOWN, UP, identify
from experiments.captures.frames import (
    ETHERNET_BYTES,
    IPV6_BYTES,
    NEXT_HEADER_IPV6,
    NEXT_HEADER_TCP,
    NEXT_HEADER_UDP,
    NO_TIME,
    UDP_BYTES,
    Frames,
    Integers,
    read_frames,
    seconds,
    ticks,
)
from experiments.declaration.flows import QuicDownload, UdpFlow
from experiments.declaration.spec import RunSpec
from topologies.crowd import expanded, numbered
from topologies.model import Role

DIRECTIONS = ("down", "up")
SENT, AT_LMA, RECEIVED = 0, 1, 2
COLUMNS = [
    "flow",
    "direction",
    "sequence",
    "bytes",
    "sent_s",
    "lma_s",
    "lma_access",
    "received_s",
    "access",
    "overhead",
]
# Directions in which the LMA's packets don't show the access: in sdn-core they are in no tunnel,
# and in sdn-assisted a switch may send them elsewhere than to the tunnel's end.
HIDDEN = {"tunnel": (), "sdn-core": (DOWN, UP), "sdn-assisted": (DOWN,)}

TEST_PAYLOAD_MAGIC = 0x464D  # b"FM"


# What all sightings of a packet have in common.
COMMON = ("flow", "direction", "sequence", "size")


class _Sightings(NamedTuple):
    """Test packets seen at the capture points, as columns in order of time.

    `packet` numbers what was sent: sightings of one packet (or its copies) share it.
    """

    point: Integers
    direction: Integers
    flow: Integers
    sequence: Integers
    size: Integers
    tick: Integers
    access: Integers
    packet: Integers
    overhead: Integers

    def at(self, point: int, direction: int) -> _Sightings:
        which = (self.point == point) & (self.direction == direction)
        return _Sightings(*(column[which] for column in self))


class _Groups:
    """Members of groups, to be picked by group and position within the group."""

    def __init__(self, group: Integers, groups: int) -> None:
        self._order = np.argsort(group, kind="stable")
        self._count = np.bincount(group, minlength=groups)
        self._first = np.concatenate(([0], np.cumsum(self._count)[:-1])).astype(np.int64)
        self.position = np.empty(len(group), dtype=np.int64)
        self.position[self._order] = np.arange(len(group)) - self._first[group[self._order]]

    def pick(self, group: Integers, position: Integers) -> Integers:
        """Index of the member at `position` of each group, or of its last; -1: none at all."""
        count = self._count[group]
        if not len(self._order):
            return np.full(len(group), -1, dtype=np.int64)
        at = self._first[group] + np.minimum(position, count - 1)
        return np.where(count > 0, self._order[np.where(count > 0, at, 0)], -1)


def extract(
    captures: bytes,
    spec: RunSpec,
    start_ns: int,
    source: str = "capture",
    secrets: Mapping[str, Secrets] | None = None,
) -> pd.DataFrame:
    """The table `packets.csv.gz`: one row per received copy, and one per packet that was lost.

    Columns: flow, direction (down: from the CN), sequence, bytes (payload), sent_s, lma_s (instant
    at the LMA's interface towards the MAGs), lma_access (whose tunnel it used; where a controller
    makes the paths, and the tunnel doesn't tell, the access at the MN), received_s (NaN: lost),
    access (over which it arrived at the MN or left it), overhead (octets of the packet at the LMA
    that aren't its own; -1: not seen there). Times in seconds of the run, resolution 10 us.
    Sequence is that of the UDP test packet, or, for TCP segments with data, the sequence number
    relative to the SYN's (the first octet of data is 1), and for QUIC that in the stream. Rows are
    ordered by flow, direction and sending time. `secrets`: those of each download over QUIC.
    Raises PcapngError.
    """
    names, frames = read_frames(captures, source)
    accesses = list(spec.topology.accesses)
    sightings = _sightings(names, frames, spec, start_ns, accesses, secrets or {})
    parts = [_trace_down(sightings, len(accesses)), _trace_up(sightings, len(accesses))]
    rows = {
        key: np.concatenate([part[key] for part in parts])
        for key in (*COMMON, "sent", "lma", "via", "got", "access", "overhead")
    }
    order = np.lexsort(
        (rows["got"], rows["sequence"], rows["sent"], rows["direction"], rows["flow"])
    )
    rows = {key: column[order] for key, column in rows.items()}
    access_names = np.array([*accesses, ""], dtype=object)
    return pd.DataFrame(
        {
            "flow": np.array([*spec.flows], dtype=object)[rows["flow"]],
            "direction": np.array(DIRECTIONS, dtype=object)[rows["direction"]],
            "sequence": rows["sequence"],
            "bytes": rows["size"],
            "sent_s": seconds(rows["sent"]),
            "lma_s": seconds(rows["lma"]),
            "lma_access": access_names[rows["via"]],
            "received_s": seconds(rows["got"]),
            "access": access_names[rows["access"]],
            "overhead": rows["overhead"],
        },
        columns=COLUMNS,
    )


def _sightings(
    names: list[str],
    frames: Frames,
    spec: RunSpec,
    start_ns: int,
    accesses: list[str],
    secrets: Mapping[str, Secrets],
) -> _Sightings:
    topology = spec.topology
    cn = topology.node_with_role(Role.CORRESPONDENT)
    lma = topology.node_with_role(Role.LMA)
    access_of = _access_interfaces(spec)
    # What an interface's outgoing and incoming packets are: (point, direction).
    meaning = np.full((len(names), 2, 2), -1, dtype=np.int64)
    interface_access = np.full(len(names), -1, dtype=np.int64)
    tunnels = np.zeros(len(names), dtype=np.bool_)
    for number, name in enumerate(names):
        for link in topology.links.values():
            if cn in link.ends and name == link.interface(cn):
                meaning[number] = [[RECEIVED, UP], [SENT, DOWN]]
            elif lma in link.ends and name == link.interface(lma):
                meaning[number] = [[AT_LMA, UP], [AT_LMA, DOWN]]
                tunnels[number] = True
        if name in access_of:
            meaning[number] = [[RECEIVED, DOWN], [SENT, UP]]
            interface_access[number] = accesses.index(access_of[name])

    outer_next_header = frames.field(ETHERNET_BYTES + 6, 1)
    in_tunnel = tunnels[frames.interface] & (outer_next_header == NEXT_HEADER_IPV6)
    outer = ETHERNET_BYTES + np.where(in_tunnel, IPV6_BYTES, 0)
    inner_next_header = frames.field(outer + 6, 1)
    usable = meaning[frames.interface, 0, 0] >= 0
    usable &= (inner_next_header == NEXT_HEADER_UDP) | (inner_next_header == NEXT_HEADER_TCP)
    frames = frames.select(usable)
    inner, next_header, in_tunnel = outer[usable], inner_next_header[usable], in_tunnel[usable]
    place = meaning[frames.interface, frames.outbound.astype(np.int64)]
    point, direction = place[:, 0], place[:, 1]
    access = interface_access[frames.interface]
    hidden = np.isin(direction, HIDDEN[spec.protocol.data_plane])
    for number, name in enumerate(accesses):
        mag = topology.nodes[topology.access_link(name).ends[0]]
        if mag.address is None:
            continue
        # RFC 5213 section 5.6.1: the tunnel's ends are the LMA address and the Proxy-CoA; an
        # IPv6 address is compared as its two halves.
        peer = ETHERNET_BYTES + np.where(frames.outbound, 24, 8)
        halves = (int(mag.address) >> 64, int(mag.address) & 0xFFFF_FFFF_FFFF_FFFF)
        same = in_tunnel & ~hidden
        for half, value in enumerate(halves):
            signed = value - (1 << 64) if value >> 63 else value
            same = same & (frames.field(peer + 8 * half, 8) == signed)
        access = np.where(same, number, access)

    flow, sequence, size, stamp = _identify(frames, inner, next_header, direction, spec, secrets)
    at_cn = ((point == SENT) & (direction == DOWN)) | ((point == RECEIVED) & (direction == UP))
    at_lma = point == AT_LMA
    test = (flow >= 0) & ((access >= 0) | at_cn | (at_lma & hidden))
    # Both lengths are those behind an IPv6 header.
    overhead = frames.field(ETHERNET_BYTES + 4, 2) - frames.field(inner + 4, 2)
    instant = ticks(frames.timestamp_ns, start_ns)
    order = np.flatnonzero(test)
    order = order[np.argsort(frames.timestamp_ns[order], kind="stable")]
    point, direction, flow = point[order], direction[order], flow[order]
    sequence, stamp = sequence[order], stamp[order]
    # A TCP retransmission repeats a sequence number; its timestamp tells it from the original.
    _, packet = np.unique((flow << 1 | direction) << 33 | sequence, return_inverse=True)
    _, packet = np.unique(packet.astype(np.int64) << 32 | stamp, return_inverse=True)
    return _Sightings(
        point,
        direction,
        flow,
        sequence,
        size[order],
        instant[order],
        access[order],
        packet.astype(np.int64),
        overhead[order],
    )


def _access_interfaces(spec: RunSpec) -> dict[str, str]:
    """The access of each interface of an MN that is captured, by the first MN's name for it."""
    full, found = expanded(spec.topology), {}
    for mn in {1, *(flow.mn for flow in spec.flows.values())}:
        for access in spec.topology.accesses:
            link = full.access_link(numbered(access, mn))
            found[link.interface(link.ends[1])] = access
    return found


def _identify(
    frames: Frames,
    inner: Integers,
    next_header: Integers,
    direction: Integers,
    spec: RunSpec,
    secrets: Mapping[str, Secrets],
) -> tuple[Integers, Integers, Integers, Integers]:
    """Flow index (-1: no test packet), sequence, payload length and TCP timestamp per frame."""
    payload_length = frames.field(inner + 4, 2)
    transport = inner + IPV6_BYTES
    source_port, destination_port = frames.field(transport, 2), frames.field(transport + 2, 2)
    flow = np.full(len(frames.start), -1, dtype=np.int64)
    sequence = np.zeros(len(frames.start), dtype=np.int64)
    size = np.zeros(len(frames.start), dtype=np.int64)
    stamp = np.zeros(len(frames.start), dtype=np.int64)
    udp = next_header == NEXT_HEADER_UDP
    marked = udp & (frames.field(transport + UDP_BYTES, 2) == TEST_PAYLOAD_MAGIC)
    identifier = frames.field(transport + UDP_BYTES + 2, 2)
    number = frames.field(transport + UDP_BYTES + 4, 4)
    for index, (name, declared) in enumerate(spec.flows.items()):
        if isinstance(declared, UdpFlow):
            mine = marked & (source_port == declared.port) & (destination_port == declared.port)
            mine &= identifier == index + 1
            flow[mine] = index
            sequence[mine] = number[mine]
            size[mine] = payload_length[mine] - UDP_BYTES
            continue
        where = (frames, inner, next_header, direction)
        if isinstance(declared, QuicDownload):
            found, _ = identify_quic(declared, *where, secrets[name])
        else:
            found = identify(declared, *where)
        mine = found.which
        flow[mine] = index
        sequence[mine], size[mine] = found.sequence[mine], found.size[mine]
        stamp[mine] = found.stamp[mine]
    return flow, sequence, size, stamp


def _take(column: Integers, index: Integers, absent: int) -> Integers:
    """`column[index]`, and `absent` where the index is -1."""
    if not len(column):
        return np.full(len(index), absent, dtype=np.int64)
    return np.where(index >= 0, column[index], absent)


def _trace_down(sightings: _Sightings, accesses: int) -> dict[str, Integers]:
    """Rows of the downlink: received copies with their past, then what was lost."""
    packets = int(sightings.packet.max()) + 1 if len(sightings.packet) else 0
    sent = sightings.at(SENT, DOWN)
    lma = sightings.at(AT_LMA, DOWN)
    got = sightings.at(RECEIVED, DOWN)
    sent_by = _Groups(sent.packet, packets)
    origin = sent_by.pick(got.packet, np.zeros_like(got.packet))
    hidden = bool((lma.access < 0).any())
    if hidden:
        # A switch may have made several copies of one.
        via = _Groups(lma.packet, packets).pick(got.packet, _Groups(got.packet, packets).position)
    else:
        lma_by = _Groups(lma.packet * accesses + lma.access, packets * accesses)
        copies = _Groups(got.packet * accesses + got.access, packets * accesses)
        via = lma_by.pick(got.packet * accesses + got.access, copies.position)
    lost = sent_by.position == 0
    lost &= ~np.isin(sent.packet, got.packet)
    gone = _Sightings(*(column[lost] for column in sent))
    lost_via = _Groups(lma.packet, packets).pick(gone.packet, np.zeros_like(gone.packet))
    through = _take(lma.access, via, -1)
    return _rows(
        [got, gone],
        sent=[_take(sent.tick, origin, NO_TIME), gone.tick],
        lma=[_take(lma.tick, via, NO_TIME), _take(lma.tick, lost_via, NO_TIME)],
        via=[np.where(hidden & (via >= 0), got.access, through), _take(lma.access, lost_via, -1)],
        got=[got.tick, np.full_like(gone.tick, NO_TIME)],
        access=[got.access, np.full_like(gone.tick, -1)],
        overhead=[_take(lma.overhead, via, -1), _take(lma.overhead, lost_via, -1)],
    )


def _trace_up(sightings: _Sightings, accesses: int) -> dict[str, Integers]:
    """Rows of the uplink. The CN sees no access, but the link from the LMA keeps the order, so
    the n-th copy that it receives is the n-th that reached the LMA."""
    packets = int(sightings.packet.max()) + 1 if len(sightings.packet) else 0
    sent = sightings.at(SENT, UP)
    lma = sightings.at(AT_LMA, UP)
    got = sightings.at(RECEIVED, UP)
    sent_by = _Groups(sent.packet * accesses + sent.access, packets * accesses)
    lma_by = _Groups(lma.packet, packets)
    lma_copies = _Groups(lma.packet * accesses + np.maximum(lma.access, 0), packets * accesses)
    first_sent = _Groups(sent.packet, packets)
    via = lma_by.pick(got.packet, _Groups(got.packet, packets).position)
    through = _take(lma.access, via, -1)
    known = through >= 0
    origin = sent_by.pick(
        np.where(known, got.packet * accesses + through, 0), _take(lma_copies.position, via, 0)
    )
    first = first_sent.pick(got.packet, np.zeros_like(got.packet))
    origin = np.where(known & (origin >= 0), origin, first)
    lost = (first_sent.position == 0) & ~np.isin(sent.packet, got.packet)
    gone = _Sightings(*(column[lost] for column in sent))
    lost_via = lma_by.pick(gone.packet, np.zeros_like(gone.packet))
    left = _take(sent.access, origin, -1)
    hidden = bool((lma.access < 0).any())
    return _rows(
        [got, gone],
        sent=[_take(sent.tick, origin, NO_TIME), gone.tick],
        lma=[_take(lma.tick, via, NO_TIME), _take(lma.tick, lost_via, NO_TIME)],
        via=[
            np.where(hidden & (via >= 0), left, through),
            np.where(hidden & (lost_via >= 0), gone.access, _take(lma.access, lost_via, -1)),
        ],
        got=[got.tick, np.full_like(gone.tick, NO_TIME)],
        access=[left, gone.access],
        overhead=[_take(lma.overhead, via, -1), _take(lma.overhead, lost_via, -1)],
    )


def _rows(sources: list[_Sightings], **columns: list[Integers]) -> dict[str, Integers]:
    rows = {key: np.concatenate(parts) for key, parts in columns.items()}
    for key in COMMON:
        rows[key] = np.concatenate([getattr(source, key) for source in sources])
    return rows


def csv_gz(table: pd.DataFrame) -> bytes:
    """`table` as compressed CSV; equal tables give equal bytes (RFC 1952: no time, no name)."""
    text = table.copy(deep=False)
    for column in ("sent_s", "lma_s", "received_s"):
        # %.5f prints every multiple of 10 us exactly, which repr() of a float would not.
        values = text[column].to_numpy()
        text[column] = ["" if isnan(value) else f"{value:.5f}" for value in values.tolist()]
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=6, mtime=0) as file:
        file.write(text.to_csv(index=False, lineterminator="\n").encode())
    return buffer.getvalue()


def read_packets(path: Path) -> pd.DataFrame:
    """The table of `packets.csv.gz`, as `extract` made it."""
    table = pd.read_csv(
        path,
        dtype={"flow": str},
        keep_default_na=False,
        na_values={"sent_s": [""], "lma_s": [""], "received_s": [""]},
    )
    return table[COLUMNS]
