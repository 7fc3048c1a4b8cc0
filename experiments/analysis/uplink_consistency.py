"""Whether a flow's up- and downlink use the same access, and what it costs if they don't.

RFC 7864 section 3.2 wants packets "forwarded coherently for unidirectional and bidirectional
communications", and leaves open how. All from packets, with two points of view: that of the MN,
whose last packet sent and last packet received are compared, and that of the LMA, with the last one
that left by a tunnel and the last one that came out of one. Where a direction has no packets, what
its end decided stands for it: the LMA for the downlink, the MN for the uplink. It is looked at from
`BEFORE_S` before the first decision about the flow until its end; a flow about which nobody is
ordered to decide, from its beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.analysis.event_log import Event
from experiments.analysis.traces import NEVER, Trace, Way
from experiments.captures.frames import TICKS_PER_MS, TICKS_PER_S, Integers
from experiments.declaration.access_events import instant_s
from experiments.declaration.flows import UdpFlow
from experiments.declaration.job import Job
from experiments.emulation.traffic import flow_ids
from topologies.model import Role

BEFORE_S = 0.5
# Instants in ticks, in order, and the access from each of them on.
Steps = tuple[Integers, np.ndarray]


def consistency_columns(
    job: Job, name: str, trace: Trace, events: Sequence[Event]
) -> dict[str, Any]:
    """Columns of a flow in flows.csv; none for what isn't UDP, whose uplink isn't traced, and where
    packets at the LMA don't show the access.

    `uplink_lag_ms`: from the first packet that the MN gets over another access than the one that
    the flow started on until the first that it sends over that access; negative if it sent first.
    `disagreed_ms`, `disagreed_lma_ms`: how long, in all, the accesses of the latest up- and
    downlink packet weren't the same, at the MN and at the LMA. `uplink_changes`: how often the MN
    changed the access that it sends over. `ingress_dropped`: packets that the MN sent and that
    never came out of a tunnel at the LMA. Where links and queues lose none, those are what MAGs
    drop because its source isn't registered with them (RFC 5213 section 6.10.5); None where links
    may lose some, or go down.
    """
    spec = job.spec
    flow = spec.flows[name]
    copies = any(move.copies for move in spec.moves)
    if not isinstance(flow, UdpFlow) or spec.protocol.data_plane != "tunnel" or copies:
        return {}
    begin, end = _begin(job, name), round(flow.until_s * TICKS_PER_S)
    down, up = trace.down.between(begin, end), trace.up.between(begin, end)
    at_mn = _steps(down.received, down.access), _steps(up.sent, up.access)
    at_lma = _steps(down.lma, down.lma_access), _steps(up.lma, up.lma_access)
    decided = _decisions(job, name, events, begin)
    by_mn = spec.protocol.decision_maker == "mn"
    if flow.directions == "up" and not by_mn:
        at_lma = decided, at_lma[1]
    if flow.directions == "down" and by_mn:
        at_mn = at_mn[0], decided
    up_access = _steps(up.sent, up.access)[1]
    losing = any(link.uplink.loss for link in spec.topology.links.values())
    return {
        "uplink_lag_ms": _lag_ms(flow.start, *at_mn) if flow.directions == "both" else None,
        "disagreed_ms": _disagreed_ms(*at_mn, end),
        "disagreed_lma_ms": _disagreed_ms(*at_lma, end),
        "uplink_changes": int((up_access[1:] != up_access[:-1]).sum()) if len(up_access) else None,
        "ingress_dropped": None if losing or job.changes or spec.events else _dropped(up),
    }


def _dropped(up: Way) -> int:
    """Packets of which no copy reached the LMA."""
    return len(np.setdiff1d(up.sequence, up.sequence[up.lma != NEVER]))


def _steps(instants: Integers, accesses: np.ndarray) -> Steps:
    known = instants != NEVER
    order = np.argsort(instants[known], kind="stable")
    return instants[known][order], accesses[known][order]


def _begin(job: Job, name: str) -> int:
    spec = job.spec
    orders = [at for move, at in zip(spec.moves, job.decisions_s, strict=True) if move.flow == name]
    orders += [
        instant_s(move.at_s, spec.decision_spread_ms, job.seed)
        for move in spec.uplink_moves
        if move.flow == name
    ]
    return round((min(orders) - BEFORE_S if orders else spec.flows[name].from_s) * TICKS_PER_S)


def _decisions(job: Job, name: str, events: Sequence[Event], begin: int) -> Steps:
    """Where the one who decides put the flow: the LMA its downlink, or the MN its uplink."""
    spec, topology = job.spec, job.spec.topology
    mn = topology.node_with_role(Role.MN)
    names = {link.interface(mn): access for access, link in topology.accesses.items()}
    by_mn = spec.protocol.decision_maker == "mn"
    node = mn if by_mn else topology.node_with_role(Role.LMA)
    wanted = "decision" if by_mn else "switched"
    steps = [(begin, spec.flows[name].start)]
    for tick, where, event, detail in events:
        if (where, event, detail.get("fid")) == (node, wanted, flow_ids(spec)[name]):
            to = str(detail.get("to"))
            steps.append((max(tick, begin), names.get(to, to)))
    return np.array([tick for tick, _ in steps]), np.array([to for _, to in steps], dtype=object)


def _lag_ms(start: str, down: Steps, up: Steps) -> float | None:
    other = down[1] != start
    if not other.any():
        return None
    first = int(np.argmax(other))
    same = up[1] == down[1][first]
    if not same.any():
        return None
    return round(int(up[0][np.argmax(same)] - down[0][first]) / TICKS_PER_MS, 2)


def _disagreed_ms(down: Steps, up: Steps, end: int) -> float | None:
    """From when both are known until `end`; None if one never is."""
    if not (len(down[0]) and len(up[0])):
        return None
    edges = np.unique(np.concatenate([down[0], up[0], [end]]))
    edges = edges[(edges >= max(down[0][0], up[0][0])) & (edges <= end)]
    differ = _at(down, edges[:-1]) != _at(up, edges[:-1])
    return round(int(np.diff(edges)[differ].sum()) / TICKS_PER_MS, 2)


def _at(steps: Steps, instants: Integers) -> np.ndarray:
    """The access at each instant; of several steps at one, the last."""
    found: np.ndarray = steps[1][np.searchsorted(steps[0], instants, side="right") - 1]
    return found
