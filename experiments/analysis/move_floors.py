"""The floors of a move, with what a run's packets and messages were."""

from __future__ import annotations

import math

import numpy as np

from experiments.analysis import floor
from experiments.analysis.moves import MoveRecord
from experiments.analysis.redirection import redirection
from experiments.analysis.signalling import (
    BINDING_UPDATE,
    UPDATE_NOTIFICATION,
    UPDATE_NOTIFICATION_ACK,
    MoveSignalling,
)
from experiments.analysis.traces import Trace, Way
from experiments.captures.frames import TICKS_PER_MS, TICKS_PER_S
from experiments.declaration.job import Job


def first_packet(
    job: Job, record: MoveRecord, name: str, trace: Trace, decision: int
) -> int | None:
    """When the first packet of flow `name` over the new access arrived. Packets that a controller
    redirects have passed the LMA before."""
    spec = job.spec
    redirected = redirection(spec, spec.flows[name], record.source, record.move.to)
    beyond_ms = 0.0 if redirected is None else redirected.beyond_lma_ms
    return trace.first_over(record.move.to, decision, decision - round(beyond_ms * TICKS_PER_MS))


def floors(
    job: Job, record: MoveRecord, name: str, trace: Trace, signalling: MoveSignalling
) -> tuple[float | None, float | None]:
    """Floors of move latency and uplink latency of flow `name`, in ms, with the lengths
    that really occurred. None where links change during the run: which delays a packet met isn't
    declared then."""
    if job.changes:
        return None, None
    spec, to = job.spec, record.move.to
    flow = spec.flows[name]
    decision_s = (record.decision or 0) / TICKS_PER_S

    def uplink(downlink_floor_ms: float) -> float:
        return floor.uplink_floor_ms(
            spec,
            flow,
            to,
            decision_s,
            downlink_floor_ms=downlink_floor_ms,
            sent_s=trace.up.sent_s(),
            payload_bytes=_usual_size(trace.up),
        )

    if spec.protocol.decision_maker == "mn":
        held = uplink(0.0)  # the LMA follows the uplink
    elif record.attaches:
        held = floor.attachment_ms(
            spec,
            to,
            signalling.request_bytes(floor.ATTACHMENT_BYTES),
            signalling.control_bytes(BINDING_UPDATE, floor.REGISTRATION_BYTES),
        )
    elif record.delivered:
        held = 0.0
    else:
        held = floor.signalling_ms(
            spec,
            flow,
            to,
            signalling.control_bytes(UPDATE_NOTIFICATION, floor.SIGNALLING_BYTES),
            signalling.control_bytes(UPDATE_NOTIFICATION_ACK, floor.SIGNALLING_BYTES),
        )
    redirected = redirection(spec, flow, record.source, to)
    lowest = floor.move_floor_ms(
        spec,
        flow,
        to,
        decision_s,
        sent_s=trace.down.sent_s(),
        payload_bytes=_usual_size(trace.down),
        signalling=held if redirected is None else held + redirected.held_ms,
        at=None if redirected is None else redirected.at,
    )
    return _resolved(lowest), _resolved(uplink(lowest))


def _resolved(milliseconds: float) -> float | None:
    """A floor at the resolution of what it is compared with, rounded down like it."""
    if math.isnan(milliseconds):
        return None
    # Sums of decimal fractions miss each other by rounding errors far below the resolution.
    return math.floor(milliseconds * TICKS_PER_MS + 1e-6) / TICKS_PER_MS


def _usual_size(way: Way) -> int:
    return int(np.median(way.bytes)) if len(way.bytes) else 0
