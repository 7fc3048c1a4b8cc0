"""Where packets of a run are captured, and how many there can be: what the
rings of `experiments.captures.capture` are made from before the run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from experiments.declaration.flow_groups import names_moved
from experiments.declaration.flows import MptcpDownload, QuicDownload, TcpDownload
from experiments.declaration.spec import RunSpec
from topologies.crowd import expanded, mobile_nodes, numbered
from topologies.model import BITS_PER_BYTE, Link, Role, Topology
from topologies.plan import PACKET_BYTES, other_end

BLOCK_BYTES = 65536
DATA_FRAME_BYTES = 256
# Of Mobility Headers at the LMA: in a direction as much as ever was seen with one mobile node, and
# of each further one its attachments and moves, some of them repeated.
CONTROL_FRAME_BYTES = 2048
CONTROL_FRAMES, CONTROL_FRAMES_PER_NODE = 512, 8
# Of a connection of the controller. Rules that are sent together may make one long segment.
CHANNEL_FRAME_BYTES = 4096
CHANNEL_FRAMES, CHANNEL_FRAMES_PER_S = 256, 8
# Retransmissions, duplicates and the like, beyond the declared traffic.
MARGIN = 1.25
MARGIN_FRAMES = 256
# Linux acknowledges every second segment.
ACKS_PER_SEGMENT = 0.5
UNLIMITED_MBIT = 1000.0


class Place(NamedTuple):
    """An interface at which packets are captured."""

    node: str
    interface: str
    role: Role


def places(spec: RunSpec) -> list[Place]:
    """The interfaces of the CN, those of the LMA that face MAGs, and the accesses of the MNs that
    have flows with packets, and of the first MN: where the packets of flows are."""
    found = []
    topology, mns = expanded(spec.topology), mobile_nodes(spec.topology)
    measured = {mns[0], *(mns[flow.mn - 1] for flow in spec.flows.values())}
    for link in topology.links.values():
        for end in link.ends:
            role = topology.nodes[end].role
            other = topology.nodes[other_end(link, end)].role
            if (
                role is Role.CORRESPONDENT
                or end in measured
                or (role is Role.LMA and other not in (Role.CORRESPONDENT, Role.CONTROLLER))
            ):
                found.append(Place(end, link.interface(end), role))
    return found


def channels(topology: Topology) -> list[Place]:
    """The controller's interfaces: OpenFlow channels, and the northbound interface."""
    return [
        Place(end, link.interface(end), Role.CONTROLLER)
        for link in topology.links.values()
        for end in link.ends
        if topology.has_role(end, Role.CONTROLLER)
    ]


class Expected(NamedTuple):
    """Packets that arrive and leave at an interface."""

    inbound: int
    outbound: int


def expected_frames(spec: RunSpec) -> dict[str, Expected]:
    """How many packets of the declared traffic pass each interface, by interface name.

    At most: a flow is counted at every access that it may use, TCP as if it filled its line. TCP
    is not captured at the LMA, and QUIC is, as all that is UDP.
    """
    down: Counter[str] = Counter()
    up: Counter[str] = Counter()
    topology, found = expanded(spec.topology), places(spec)
    access_of = {link.interface(link.ends[1]): name for name, link in topology.accesses.items()}
    lines: dict[str, list[TcpDownload]] = {access: [] for access in access_of.values()}
    for flow_name, flow in spec.flows.items():
        used = {flow.anchor, flow.start}
        used |= {move.to for move in spec.moves if flow_name in names_moved(spec, move)}
        used |= {move.to for move in spec.uplink_moves if flow_name == move.flow}
        if spec.protocol.policies or spec.events or isinstance(flow, MptcpDownload):
            used |= set(spec.topology.accesses)
        used = {numbered(access, flow.mn) for access in used}
        if isinstance(flow, TcpDownload):
            for access in used:
                lines[access].append(flow)
            continue
        frames = math.ceil((flow.until_s - flow.from_s) * 1000 / flow.interval_ms)
        for _, name, role in found:
            if role is not Role.MN or access_of[name] in used:
                down[name] += frames
                up[name] += frames
    segments = {
        access: _segments(link, lines[access]) for access, link in topology.accesses.items()
    }
    # Only Multipath TCP fills several lines at once.
    multipath = any(isinstance(flow, MptcpDownload) for flow in spec.flows.values())
    # Multipath TCP acknowledges each segment while its receive window is far from settled, and
    # aioquic after 1 ms.
    quic = any(isinstance(flow, QuicDownload) for flow in spec.flows.values())
    acks = 1.0 if multipath or quic else ACKS_PER_SEGMENT
    of_mn: Counter[str] = Counter()
    for access, link in topology.accesses.items():
        mn, count = link.ends[1], segments[access]
        of_mn[mn] = of_mn[mn] + count if multipath else max(of_mn[mn], count)
    for _, name, role in found:
        if quic or role is not Role.LMA:
            count = segments[access_of[name]] if role is Role.MN else of_mn.total()
            down[name] += count
            up[name] += math.ceil(count * acks)
    return {
        name: Expected(down[name], up[name]) if role is Role.MN else Expected(up[name], down[name])
        for _, name, role in found
    }


def _segments(access: Link, flows: Sequence[TcpDownload]) -> int:
    """Segments that fill the line of an access while `flows` last; they share it. Those of a paced
    sender fill no more than its rate."""
    if not flows:
        return 0
    seconds = max(flow.until_s for flow in flows) - min(flow.from_s for flow in flows)
    rate_mbit = access.downlink.rate_mbit or UNLIMITED_MBIT
    rate_mbit = min(rate_mbit, math.fsum(flow.rate_mbit or math.inf for flow in flows))
    return math.ceil(rate_mbit * 1e6 * seconds / BITS_PER_BYTE / PACKET_BYTES)


def ring_frames(expected: int, frame_bytes: int) -> int:
    """Frames of a ring that holds `expected` packets and a margin: whole blocks of 64 KiB."""
    per_block = BLOCK_BYTES // frame_bytes
    return math.ceil((expected * MARGIN + MARGIN_FRAMES) / per_block) * per_block


def ring_bytes(spec: RunSpec) -> int:
    """Memory of all rings for a run's traffic."""
    return sum(
        ring_frames(count, DATA_FRAME_BYTES) * DATA_FRAME_BYTES
        for both in expected_frames(spec).values()
        for count in both
    )


def control_frames(spec: RunSpec) -> int:
    """Frames of a ring for Mobility Headers at the LMA: whole blocks."""
    per_block = BLOCK_BYTES // CONTROL_FRAME_BYTES
    others = len(mobile_nodes(spec.topology)) - 1
    wanted = CONTROL_FRAMES + CONTROL_FRAMES_PER_NODE * others
    return math.ceil(wanted / per_block) * per_block


def channel_frames(spec: RunSpec) -> int:
    """Frames of a ring for a connection of the controller, which asks for statistics every second:
    whole blocks."""
    per_block = BLOCK_BYTES // CHANNEL_FRAME_BYTES
    wanted = CHANNEL_FRAMES + CHANNEL_FRAMES_PER_S * spec.duration_s
    return math.ceil(wanted / per_block) * per_block
