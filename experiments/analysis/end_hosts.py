"""What the end hosts say to each other to change the access, and the headers of their data packets,
both as captured at the MN. Octets are those of IPv6 packets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.analysis.interruption import WATCHED_S
from experiments.analysis.quic_packets import Secrets, identify_quic
from experiments.analysis.segments import DOWN, KIND_MPTCP, TCP_SYN, UP, identify
from experiments.captures.frames import (
    ETHERNET_BYTES,
    IPV6_BYTES,
    NEXT_HEADER_TCP,
    TICKS_PER_S,
    UDP_BYTES,
    Booleans,
    Frames,
    read_frames,
    ticks,
)
from experiments.declaration.flows import MptcpDownload, QuicDownload, TcpDownload, UdpFlow
from experiments.declaration.job import Job
from topologies.model import Role

TCP_HEADER = 20
# RFC 8684 section 3: MP_JOIN, ADD_ADDR, REMOVE_ADDR, MP_PRIO.
PATH_SUBTYPES = (1, 3, 4, 5)
KIND_END, KIND_NOP = 0, 1


def end_host_columns(
    job: Job, captures: bytes, instant: float, secrets: Mapping[str, Secrets] | None = None
) -> dict[str, dict[str, Any]]:
    """Columns of each flow in flows.csv: `end_host_messages` and `_bytes` from the instant on, and
    `header_bytes`, the mean of what isn't data in a packet that brings data.
    `secrets`: those of each download over QUIC. Raises PcapngError."""
    names, frames = read_frames(captures)
    spec = job.spec
    mn = spec.topology.node_with_role(Role.MN)
    own = {spec.topology.access_link(access).interface(mn) for access in spec.topology.accesses}
    at_mn = np.array([name in own for name in names], dtype=np.bool_)
    frames = frames.select(at_mn[frames.interface])
    tick = ticks(frames.timestamp_ns, job.start_ns)
    near = (tick >= instant * TICKS_PER_S) & (tick <= (instant + WATCHED_S) * TICKS_PER_S)
    direction = np.where(frames.outbound, UP, DOWN)
    inner = np.full(len(frames.start), ETHERNET_BYTES, dtype=np.int64)
    next_header = frames.field(inner + 6, 1)
    found: dict[str, dict[str, Any]] = {}
    for name, flow in spec.flows.items():
        if isinstance(flow, UdpFlow):
            found[name] = {"header_bytes": IPV6_BYTES + UDP_BYTES}
            continue
        where = (frames, inner, next_header, direction)
        if isinstance(flow, QuicDownload):
            segments, signals = identify_quic(flow, *where, (secrets or {})[name])
        else:
            segments = identify(flow, *where)
            signals = _signals(frames, near & (next_header == NEXT_HEADER_TCP), flow)
        sizes = IPV6_BYTES + frames.field(inner + 4, 2)
        brings = segments.which & ~frames.outbound
        found[name] = {}
        if brings.any():
            headers = float((sizes - segments.size)[brings].mean())
            found[name]["header_bytes"] = round(headers, 2)
        octets = sizes[near & signals]
        found[name]["end_host_messages"] = len(octets)
        found[name]["end_host_bytes"] = int(octets.sum())
    return found


def _cn_port(frames: Frames) -> Any:
    return frames.field(ETHERNET_BYTES + IPV6_BYTES + np.where(frames.outbound, 2, 0), 2)


def _signals(frames: Frames, among: Booleans, flow: TcpDownload) -> Booleans:
    found = np.zeros(len(among), dtype=np.bool_)
    for number in np.flatnonzero(among & (_cn_port(frames) == flow.port)):
        found[number] = _is_signal(frames, int(number), flow)
    return found


def _is_signal(frames: Frames, number: int, flow: TcpDownload) -> bool:
    """A segment that opens a connection or subflow, or has an option about addresses or priorities
    of Multipath TCP."""
    start = int(frames.start[number]) + ETHERNET_BYTES + IPV6_BYTES
    header = frames.data[start : start + TCP_HEADER + 40].tobytes()
    if header[13] & TCP_SYN:
        return True
    if not isinstance(flow, MptcpDownload):
        return False
    at, end = TCP_HEADER, (header[12] >> 4) * 4
    while at + 2 < end and header[at] != KIND_END:
        if header[at] == KIND_NOP:
            at += 1
            continue
        if header[at] == KIND_MPTCP and header[at + 2] >> 4 in PATH_SUBTYPES:
            return True
        at += max(header[at + 1], 2)
    return False
