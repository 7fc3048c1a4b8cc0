"""What a change of access does to a flow, however it comes about: with moves, without, or by the
end hosts alone. All from the packets that arrive at the MN.

`interruption_ms` is the longest gap between arrivals of something new that ends between the instant
and `WATCHED_S` after it, less the nominal spacing; a flow that stays away has been away until its
end. `broken`: it stays away so, and nothing comes for `BROKEN_S` before its end. For downloads,
`later_mbit` is the goodput of the last `LATER_S`; `goodput_dip_percent` is what is missing, in the
worst `DIP_BIN_S` after the instant, of the lesser of the rates before and later.

`recovery_ms` is the time until the first `STEADY_S` begins that bring 90 % of the usual rate, and
whose first `FINE_S` do; the usual rate is the median over bins of `DIP_BIN_S` in the last
`LATER_S`, and no bin of `FINE_S` counts for more. So neither a surplus of a faster old access hides
a gap behind it, nor does a late stall make the goal easier. `recovered` is 0 for a flow that never
does. Counts are those of packets sent from 1 s before the instant until `WATCHED_S` after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments.analysis.signalling import AttachmentFrame, ControlMessage, Signalling
from experiments.analysis.traces import NEVER, Way, count, new_octets
from experiments.captures.frames import TICKS_PER_S, Floats, Integers
from experiments.declaration.access_events import instant_s
from experiments.declaration.flows import Flow, UdpFlow
from experiments.declaration.job import Job
from topologies.model import BITS_PER_BYTE

WATCHED_S = 3.0
BROKEN_S = 1.0
LATER_S = 2.0
STEADY_S = 0.5
DIP_BIN_S = 0.1
FINE_S = 0.02
ENOUGH = 0.9
BEFORE_S = 1.0
# What these columns, and those of `end_hosts`, are called in flows.csv.
COLUMNS = (
    *("interruption_ms", "broken", "sent_around", "lost_around", "reordered_around"),
    *("duplicated_around", "before_mbit", "later_mbit", "goodput_dip_percent", "recovered"),
    *("recovery_ms", "signalling_messages", "signalling_bytes", "access_signalling_messages"),
    *("access_signalling_bytes", "end_host_messages", "end_host_bytes", "header_bytes"),
)


def instant_of(job: Job) -> float | None:
    """In s of the run; None if no flow is to be judged."""
    spec = job.spec
    if spec.judged_at_s is None:
        return None
    return instant_s(spec.judged_at_s, spec.decision_spread_ms, job.seed)


def interruption_columns(instant: float, flow: Flow, down: Way) -> dict[str, Any]:
    """Columns of a flow in flows.csv. `down` is its downlink."""
    udp = isinstance(flow, UdpFlow)
    times, octets = arrivals(down)
    spacing_ms = flow.interval_ms if isinstance(flow, UdpFlow) else 0.0
    gap_s = longest_gap_s(times, instant, flow.until_s)
    near = down.between(_ticks(instant - BEFORE_S), _ticks(instant + WATCHED_S))
    counts = count(near, tcp=not udp)
    found: dict[str, Any] = {
        "interruption_ms": None if gap_s is None else round(gap_s * 1000 - spacing_ms, 2),
        "broken": int(not len(times) or float(times[-1]) < flow.until_s - BROKEN_S),
        **{f"{key}_around": counts[key] for key in ("sent", "lost", "reordered", "duplicated")},
    }
    return found if udp else found | goodput_columns(times, octets, instant, flow.until_s)


def _ticks(at_s: float) -> int:
    return round(at_s * TICKS_PER_S)


def arrivals(down: Way) -> tuple[Floats, Integers]:
    """When something new arrived, in s of the run and in order, and how many octets."""
    arrived = down.received != NEVER
    times, octets = new_octets(
        down.sequence[arrived],
        np.maximum(down.bytes[arrived], 1),
        down.received[arrived] / TICKS_PER_S,
    )
    order = np.argsort(times, kind="stable")
    return times[order], octets[order]


def longest_gap_s(times: Floats, instant: float, end: float) -> float | None:
    """Of the gaps that end after `instant`, and `WATCHED_S` after it at the latest; the last one
    ends with the flow."""
    edges = np.concatenate([times[times < end], [end]])
    ends = edges[1:]
    # A gap that nothing ends in time counts too.
    around = (ends >= instant) & (edges[:-1] <= instant + WATCHED_S)
    return float(np.diff(edges)[around].max()) if around.any() else None


def goodput_columns(times: Floats, octets: Integers, instant: float, end: float) -> dict[str, Any]:
    """Rates in Mbit/s of the octets that were new."""
    total = np.concatenate([[0], np.cumsum(octets)])

    def between(start: Floats, stop: Floats) -> Floats:
        first, last = np.searchsorted(times, start), np.searchsorted(times, stop)
        rate: Floats = (total[last] - total[first]) * BITS_PER_BYTE / (stop - start) / 1e6
        return rate

    def rate(start: float, stop: float) -> float:
        return float(between(np.array([start]), np.array([stop]))[0])

    before, later = rate(instant - BEFORE_S, instant), rate(end - LATER_S, end)
    found: dict[str, Any] = {"before_mbit": round(before, 3), "later_mbit": round(later, 3)}
    usual = min(before, later)
    if usual <= 0:
        return found
    bins = np.arange(instant, min(instant + WATCHED_S, end) - DIP_BIN_S, DIP_BIN_S)
    worst = float(between(bins, bins + DIP_BIN_S).min())
    found["goodput_dip_percent"] = round(100 * max(0.0, 1 - worst / usual), 2)
    last = np.arange(end - LATER_S, end - DIP_BIN_S / 2, DIP_BIN_S, dtype=np.float64)
    recovery_s = recovery(between, instant, end, float(np.median(between(last, last + DIP_BIN_S))))
    found["recovered"] = int(recovery_s is not None)
    if recovery_s is not None:
        found["recovery_ms"] = round(recovery_s * 1000, 2)
    return found


def recovery(
    between: Callable[[Floats, Floats], Floats], instant: float, end: float, usual: float
) -> float | None:
    """How long after the instant `STEADY_S` of the usual rate begin, in s and whole `FINE_S`; None:
    never. `between` gives the rate from the first argument to the second."""
    steps = round(STEADY_S / FINE_S)
    bins = max(int((end - instant) / FINE_S), 0)
    starts = instant + FINE_S * np.arange(bins, dtype=np.float64)
    rates = between(starts, starts + FINE_S)
    total = np.concatenate([[0.0], np.cumsum(np.minimum(rates, usual))])
    windows = (total[steps:] - total[:-steps]) / steps
    enough = ENOUGH * usual
    steady = np.flatnonzero((windows >= enough) & (rates[: len(windows)] >= enough))
    return float(steady[0]) * FINE_S if len(steady) and usual > 0 else None


def signalling_columns(instant: float, signalling: Signalling) -> dict[str, int]:
    """Mobility signalling between LMA and MAGs, and layer-2 signalling of the MN, from the instant
    on, as long as it is watched."""
    first, last = _ticks(instant), _ticks(instant + WATCHED_S)
    found = _columns("signalling", first, last, signalling.control)
    return found | _columns("access_signalling", first, last, signalling.attachments)


def _columns(
    name: str, first: int, last: int, messages: Sequence[ControlMessage | AttachmentFrame]
) -> dict[str, int]:
    sizes = [message.bytes for message in messages if first <= message.tick <= last]
    return {f"{name}_messages": len(sizes), f"{name}_bytes": sum(sizes)}
