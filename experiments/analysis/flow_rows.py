"""What a whole run was for each of its flows: one row a flow, whoever decided about its moves.

`voice_score` is the mean opinion score of a call with the flow's packets (`voice_quality`),
`video_stalls` and `video_stalled_s` are those of a player that is fed by a download
(`video_playout`); `uplink_consistency` has what is about both directions. Counts are over all
packets of the flow. Delays in ms, downlink.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.analysis.address_readiness import readiness_columns
from experiments.analysis.event_log import Event
from experiments.analysis.interruption import instant_of, interruption_columns, signalling_columns
from experiments.analysis.signalling import Signalling
from experiments.analysis.traces import NEVER, Trace, Way, count, new_octets
from experiments.analysis.uplink_consistency import consistency_columns
from experiments.analysis.video_playout import playout
from experiments.analysis.voice_quality import call_quality
from experiments.captures.frames import TICKS_PER_MS, TICKS_PER_S, Floats
from experiments.declaration.flows import UdpFlow, traffic_kind
from experiments.declaration.job import IDENTITY, Job
from experiments.emulation.traffic import flow_ids
from topologies.model import BITS_PER_BYTE, Role

FLOWS = "flows.csv"
# A return to the access that the flow left less than this ago is a ping-pong.
PING_PONG_S = 5.0
VIDEO_MBIT = 5.0
COLUMNS = [
    *IDENTITY,
    "flow",
    "traffic",
    "status",
    "moves",
    "ping_pongs",
    "sent",
    "received",
    "lost",
    "duplicated",
    "reordered",
    "uplink_sent",
    "uplink_received",
    "uplink_lost",
    "uplink_duplicated",
    "uplink_reordered",
    "uplink_lag_ms",
    "disagreed_ms",
    "disagreed_lma_ms",
    "uplink_changes",
    "ingress_dropped",
    "delay_median_ms",
    "delay_p99_ms",
    "longest_gap_ms",
    "goodput_mbit",
    "voice_score",
    "video_startup_s",
    "video_stalls",
    "video_stalled_s",
]


def flow_rows(
    job: Job,
    traces: dict[str, Trace],
    events: Sequence[Event],
    status: str = "ok",
    signalling: Signalling | None = None,
) -> list[dict[str, Any]]:
    """Rows of a run's flows, in the order of the spec; without traces, of a run that failed. A run
    with events has those of `interruption` as well."""
    rows = []
    instant = instant_of(job)
    for name, flow in job.spec.flows.items():
        udp = isinstance(flow, UdpFlow)
        row: dict[str, Any] = job.factors() | dict.fromkeys(COLUMNS)
        row |= job.identity() | {
            "flow": name,
            "traffic": traffic_kind(flow),
            "status": status,
        }
        if name in traces:
            delays = _delays_ms(traces[name].down)
            row |= _counts(traces[name], delays, udp) | _moves(job, name, events)
            row |= _voice(delays) if udp else _video(traces[name].down)
            row |= consistency_columns(job, name, traces[name], events)
            if signalling is not None:
                row |= readiness_columns(job.spec, flow.anchor, events, signalling)
            if instant is not None:
                row |= interruption_columns(instant, flow, traces[name].down)
            if instant is not None and signalling is not None:
                row |= signalling_columns(instant, signalling)
        rows.append(row)
    return rows


def _counts(trace: Trace, delays: Floats, udp: bool) -> dict[str, Any]:
    up = {f"uplink_{key}": value for key, value in count(trace.up, not udp).items()}
    down = trace.down
    known = delays[np.isfinite(delays)]
    arrivals = np.sort(down.received[down.received != NEVER])
    found: dict[str, Any] = count(down, not udp) | up
    if len(known):
        found["delay_median_ms"] = round(float(np.median(known)), 2)
        found["delay_p99_ms"] = round(float(np.quantile(known, 0.99)), 2)
    if len(arrivals) > 1:
        found["longest_gap_ms"] = round(int(np.diff(arrivals).max()) / TICKS_PER_MS, 2)
    return found


def _delays_ms(way: Way) -> Floats:
    """Of each packet, in order of sending, the delay of its first copy to arrive; inf: lost."""
    order = np.lexsort((way.received, way.sequence, way.sent))
    _, first = np.unique(way.sequence[order], return_index=True)
    chosen = order[first]
    delays = np.where(
        way.received[chosen] == NEVER,
        np.inf,
        (way.received[chosen] - way.sent[chosen]) / TICKS_PER_MS,
    )
    by_sending: Floats = delays[np.argsort(way.sent[chosen], kind="stable")]
    return by_sending


def _moves(job: Job, flow: str, events: Sequence[Event]) -> dict[str, int]:
    lma, fid = job.spec.topology.node_with_role(Role.LMA), flow_ids(job.spec)[flow]
    at = job.spec.flows[flow].start
    left: dict[str, int] = {}
    moves = ping_pongs = 0
    for tick, node, event, detail in events:
        if node == lma and event == "switched" and detail.get("fid") == fid:
            to = str(detail.get("to"))
            if to == at:
                continue
            moves += 1
            if to in left and tick - left[to] < PING_PONG_S * TICKS_PER_S:
                ping_pongs += 1
            left[at] = tick
            at = to
    return {"moves": moves, "ping_pongs": ping_pongs}


def _voice(delays: Floats) -> dict[str, Any]:
    if not len(delays):
        return {}
    return {"voice_score": round(call_quality(delays).score, 3)}


def _video(down: Way) -> dict[str, Any]:
    arrived = down.received != NEVER
    times, octets = new_octets(
        down.sequence[arrived], down.bytes[arrived], down.received[arrived] / TICKS_PER_S
    )
    if not len(times):
        return {}
    order = np.argsort(times, kind="stable")
    times, octets = times[order], octets[order]
    span = float(times[-1] - times[0])
    megabits = float(octets.sum()) * BITS_PER_BYTE / 1e6
    found = playout(times, octets.astype(np.float64), VIDEO_MBIT)
    return {
        "goodput_mbit": round(megabits / span, 3) if span else None,
        "video_startup_s": None if found.startup_s is None else round(found.startup_s, 3),
        "video_stalls": found.stalls,
        "video_stalled_s": round(found.stalled_s, 3),
    }
