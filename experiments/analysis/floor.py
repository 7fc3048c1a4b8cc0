"""The floor of a move: the least latency that declared delays and mandatory signalling allow.

A move can't take effect before the signalling that the prefix model demands is over, and the MN
can't see it before a packet of the flow, which the CN sends at its own pace, has travelled from
the LMA over the new path. Computation counts as no time. Times in seconds of the run, delays and
floors in milliseconds.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from experiments.captures.frames import ETHERNET_BYTES, IPV6_BYTES, TICKS_PER_S, UDP_BYTES, Floats
from experiments.declaration.flows import Flow, UdpFlow
from experiments.declaration.spec import RunSpec
from topologies.model import Link, Role, Topology

MS_PER_S = 1000.0
# With the timestamps option (RFC 7323), which Linux puts in every segment.
TCP_BYTES = 32
# An FMI or FMA with the two options that RFC 7864 sections 4.2 and 4.3 demand: 12 octets of fixed
# part, a Mobile Node Identifier of some 20 octets and one Home Network Prefix, padded to 56.
SIGNALLING_BYTES = IPV6_BYTES + 56
# The attachment request of an MN with such an identifier and one Home Network Prefix, and the PBU
# that follows from it, with the options of RFC 5213 section 6.9.1.5.
ATTACHMENT_BYTES = 64
REGISTRATION_BYTES = IPV6_BYTES + 96


def path_between(topology: Topology, first: str, last: str) -> list[tuple[Link, bool]]:
    """The links from one node to another by the fewest hops: (link, whether it is crossed from
    `ends[0]` to `ends[1]`, that is downlink). Raises ValueError when there is no path.

    Access links are crossed last or never: an MN doesn't forward.
    """
    waiting = deque([first])
    came: dict[str, tuple[str, Link, bool]] = {}
    while waiting:
        node = waiting.popleft()
        if node == last:
            break
        if node != first and topology.has_role(node, Role.CONTROLLER):
            continue
        for link in topology.links.values():
            if link.access is not None or node not in link.ends:
                continue
            down = link.ends[0] == node
            other = link.ends[1] if down else link.ends[0]
            if other != first and other not in came:
                came[other] = (node, link, down)
                waiting.append(other)
    steps: list[tuple[Link, bool]] = []
    node = last
    while node != first:
        if node not in came:
            raise ValueError(f"topology: no path from {first} to {last}")
        node, link, down = came[node]
        steps.append((link, down))
    return steps[::-1]


def _one_way_ms(steps: list[tuple[Link, bool]], frame_bytes: int) -> float:
    return math.fsum(
        (link.downlink if down else link.uplink).one_way_ms(frame_bytes) for link, down in steps
    )


def mag_of(topology: Topology, access: str) -> str:
    return topology.access_link(access).ends[0]


def lma_mag_delay_ms(topology: Topology, access: str) -> float:
    """Declared one-way delay between LMA and the access's MAG, without serialisation, in ms."""
    return declared_delay_ms(topology, topology.node_with_role(Role.LMA), mag_of(topology, access))


def declared_delay_ms(topology: Topology, first: str, last: str) -> float:
    """One way, without serialisation, in ms."""
    steps = path_between(topology, first, last)
    return math.fsum((link.downlink if down else link.uplink).delay_ms for link, down in steps)


def access_delay_ms(topology: Topology, access: str) -> float:
    """Declared one-way delay from LMA to MN over an access, without serialisation, in ms."""
    return lma_mag_delay_ms(topology, access) + topology.access_link(access).downlink.delay_ms


def packet_bytes(flow: Flow, payload_bytes: int) -> int:
    """Length of the flow's IPv6 packet with this much payload, in octets."""
    return IPV6_BYTES + (UDP_BYTES if isinstance(flow, UdpFlow) else TCP_BYTES) + payload_bytes


def cn_to_lma_ms(topology: Topology, ip_bytes: int) -> float:
    cn, lma = (topology.node_with_role(role) for role in (Role.CORRESPONDENT, Role.LMA))
    return _one_way_ms(path_between(topology, cn, lma), ETHERNET_BYTES + ip_bytes)


def lma_to_mn_ms(
    topology: Topology, access: str, ip_bytes: int, header_bytes: int = IPV6_BYTES
) -> float:
    """One-way delay of a packet that finds all queues empty; tunnelled as far as the MAG
    (RFC 5213 section 5.6.1: IPv6 in IPv6, 40 octets more), then as it is."""
    lma = topology.node_with_role(Role.LMA)
    core = path_between(topology, lma, mag_of(topology, access))
    last = topology.access_link(access).downlink
    tunnelled = _one_way_ms(core, ETHERNET_BYTES + header_bytes + ip_bytes)
    return tunnelled + last.one_way_ms(ETHERNET_BYTES + ip_bytes)


def mn_to_lma_ms(
    topology: Topology, access: str, ip_bytes: int, header_bytes: int = IPV6_BYTES
) -> float:
    """The way back of `lma_to_mn_ms`."""
    lma = topology.node_with_role(Role.LMA)
    core = path_between(topology, mag_of(topology, access), lma)
    first = topology.access_link(access).uplink
    tunnelled = _one_way_ms(core, ETHERNET_BYTES + header_bytes + ip_bytes)
    return first.one_way_ms(ETHERNET_BYTES + ip_bytes) + tunnelled


def tunnel_header_bytes(spec: RunSpec) -> int:
    return 0 if spec.protocol.data_plane == "sdn-core" else IPV6_BYTES


def prefix_is_shared(spec: RunSpec, anchor: str) -> bool:
    """Whether both MAGs host the prefix that flows anchored at `anchor` use, from attachment on.

    In the hybrid model here the first attachment's prefix is given to the second as well, which
    also gets a prefix exclusive to it (RFC 7864 section 3.1, scenario 3).
    """
    model = spec.protocol.prefix_model
    if model == "hybrid":
        first = min(spec.attachments, key=lambda attachment: attachment.at_s)
        return anchor == first.access
    return model == "shared"


def signals(spec: RunSpec, flow: Flow, to: str) -> bool:
    """Whether FMI and FMA are mandatory for moving `flow` to access `to`.

    Not with a shared prefix, also one that dynamic attachment shares (RFC 7864 section 3.2.1), not
    when the flow returns to its default path (section 3.2.2), and not where the prefix is at the
    target since attachment (section 3.3).
    """
    if prefix_is_shared(spec, flow.anchor) or to == flow.anchor or spec.dynamic(to):
        return False
    return spec.protocol.prefix_delivery == "on-move"


def signalling_ms(
    spec: RunSpec,
    flow: Flow,
    to: str,
    fmi_bytes: int = SIGNALLING_BYTES,
    fma_bytes: int = SIGNALLING_BYTES,
) -> float:
    """Time that mandatory signalling holds the switch back: FMI to the target MAG and FMA back.

    0 when the LMA switches as it sends the FMI: packets follow it on the same path. Lengths are
    those of the IPv6 packets, in octets.
    """
    if spec.protocol.switch == "on-send" or not signals(spec, flow, to):
        return 0.0
    lma = spec.topology.node_with_role(Role.LMA)
    mag = mag_of(spec.topology, to)
    there = _one_way_ms(path_between(spec.topology, lma, mag), ETHERNET_BYTES + fmi_bytes)
    back = _one_way_ms(path_between(spec.topology, mag, lma), ETHERNET_BYTES + fma_bytes)
    return there + back


def attachment_ms(
    spec: RunSpec,
    to: str,
    request_bytes: int = ATTACHMENT_BYTES,
    update_bytes: int = REGISTRATION_BYTES,
) -> float:
    """Time that dynamic attachment holds the switch back: the MN's request to the MAG and the
    MAG's PBU to the LMA, which switches then: packets follow the PBA on the same path. Lengths
    are those of the message and of the IPv6 packet, in octets."""
    mag, lma = mag_of(spec.topology, to), spec.topology.node_with_role(Role.LMA)
    request = spec.topology.access_link(to).uplink.one_way_ms(ETHERNET_BYTES + request_bytes)
    core = path_between(spec.topology, mag, lma)
    return request + _one_way_ms(core, ETHERNET_BYTES + update_bytes)


def move_floor_ms(
    spec: RunSpec,
    flow: Flow,
    to: str,
    decision_s: float,
    *,
    sent_s: Floats,
    payload_bytes: int,
    signalling: float,
    at: str | None = None,
) -> float:
    """Decision to arrival at the MN of the first packet that can come over `to`, in ms.

    `sent_s` are the instants at which the CN sent the flow's packets. `signalling` is how long the
    switch is held back: it comes from `signalling_ms` or `attachment_ms`, or is the uplink floor
    of an MN that decides and that the LMA follows. `at` is the switch where the flow leaves its
    way; None: the LMA is. NaN when no packet of the flow gets there late enough.
    """
    topology, ip_bytes = spec.topology, packet_bytes(flow, payload_bytes)
    lma, header = topology.node_with_role(Role.LMA), tunnel_header_bytes(spec)
    to_there = path_between(topology, lma, lma if at is None else at)
    beyond = _one_way_ms(to_there, ETHERNET_BYTES + header + ip_bytes)
    travel = cn_to_lma_ms(topology, ip_bytes) + beyond
    wait = _wait_ms(sent_s, travel, decision_s * MS_PER_S + signalling)
    return signalling + wait + lma_to_mn_ms(topology, to, ip_bytes, header) - beyond


def uplink_floor_ms(
    spec: RunSpec,
    flow: Flow,
    to: str,
    decision_s: float,
    *,
    downlink_floor_ms: float,
    sent_s: Floats,
    payload_bytes: int,
) -> float:
    """Decision to arrival at the LMA of the first uplink packet that can come over `to`, in ms.

    The MN learns of the move from the first packet that arrives over the new access (RFC 7847
    section 5.2) and moves what it sends from then on; one that decides itself does so at once.
    `sent_s` are the instants at which the MN sent the flow's packets. NaN when it sends none, or
    when its own policy decides.
    """
    knows = 0.0 if spec.protocol.decision_maker == "mn" else downlink_floor_ms
    alone = spec.protocol.decision_maker == "lma" and spec.protocol.uplink != "reflective"
    if alone or math.isnan(knows):
        return math.nan
    ip_bytes = packet_bytes(flow, payload_bytes)
    wait = _wait_ms(sent_s, 0.0, decision_s * MS_PER_S + knows)
    return knows + wait + mn_to_lma_ms(spec.topology, to, ip_bytes, tunnel_header_bytes(spec))


def _wait_ms(sent_s: Floats, travel_ms: float, from_ms: float) -> float:
    """From `from_ms` of the run to the first packet that arrives at or after it, in ms."""
    arrivals = np.sort(sent_s) * MS_PER_S + travel_ms
    # Sums of decimal fractions miss each other by rounding errors far below the resolution.
    tolerance = 1e-3 * MS_PER_S / TICKS_PER_S
    index = int(np.searchsorted(arrivals, from_ms - tolerance))
    if index == len(arrivals):
        return math.nan
    return max(float(arrivals[index]) - from_ms, 0.0)
