"""What the report shows of one run: its signalling as a chart, and its packets on a time line.

Written as a script (`view.js`), because a page that is opened from disk may load scripts and not
data. Packets are delta-coded: a constant-rate flow then costs next to nothing.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import numpy as np

from experiments.analysis.event_log import Event
from experiments.analysis.floor import mag_of
from experiments.analysis.sequence_chart import Step, access_steps, first_packets, signalling_steps
from experiments.analysis.traces import NEVER, Trace, Way
from experiments.captures.frames import TICKS_PER_S
from experiments.declaration.job import Job
from nodes.ipsec.esp import EspKeys
from topologies.model import Role

VIEW = "view.js"
LOST = -1
NANOSECONDS_PER_TICK = 1_000_000_000 // TICKS_PER_S
# What the LMA and the runner tell of that a reader looks for on a time line.
SHOWN_EVENTS = ("decision", "switched", "move-failed", "attach", "order", "message-lost")


def run_view(
    job: Job,
    traces: dict[str, Trace],
    events: Sequence[Event],
    moves: list[dict[str, Any]],
    control: Path,
    keys: EspKeys | None = None,
) -> bytes:
    """The content of `view.js`: a call of `flowmobRun` with the run, compressed."""
    view = {
        "experiment": job.experiment,
        "point": job.point,
        "seed": job.seed,
        "engine": job.engine,
        "duration_s": job.spec.duration_s,
        "ticks_per_s": TICKS_PER_S,
        "accesses": list(job.spec.topology.accesses),
        "participants": _participants(job),
        "steps": [
            [_tick(job, step.time_ns), step.source, step.destination, step.text, step.lost]
            for step in chart_steps(job, control, keys)
        ],
        "events": [
            [event.tick, event.node, event.event, _detail(event)]
            for event in events
            if event.event in SHOWN_EVENTS
        ],
        "moves": moves,
        "flows": {
            name: {"down": _packets(job, trace.down), "up": _packets(job, trace.up)}
            for name, trace in traces.items()
        },
    }
    packed = gzip.compress(json.dumps(view, separators=(",", ":")).encode(), mtime=0)
    return b'flowmobRun("' + base64.b64encode(packed) + b'");\n'


def chart_steps(job: Job, control: Path, keys: EspKeys | None = None) -> list[Step]:
    """The signalling of a run, and layer-2 signalling on its accesses, in order of time."""
    topology = job.spec.topology
    names = {
        IPv6Address(node.address): name
        for name, node in topology.nodes.items()
        if node.address is not None
    }
    steps = signalling_steps(control, [control], names, keys)
    mn = topology.node_with_role(Role.MN)
    for access, link in topology.accesses.items():
        steps += access_steps(control, mn, mag_of(topology, access), {}, access, link.interface(mn))
    return first_packets(steps)


def _participants(job: Job) -> list[str]:
    topology = job.spec.topology
    found = [topology.node_with_role(Role.MN)]
    found += [name for name, node in topology.nodes.items() if node.role is Role.MAG]
    return [*found, topology.node_with_role(Role.LMA)]


def _tick(job: Job, time_ns: int) -> int:
    return (time_ns - job.start_ns) // NANOSECONDS_PER_TICK


def _detail(event: Event) -> str:
    return ", ".join(f"{key} {value}" for key, value in event.detail.items() if key != "mn")


def _packets(job: Job, way: Way) -> dict[str, Any]:
    """In order of sending: steps between the instants of sending and the delays, in ticks, and the
    number of each packet's access among all; -1: lost, or not known."""
    order = np.argsort(way.sent, kind="stable")
    order = order[way.sent[order] != NEVER]
    sent, received = way.sent[order], way.received[order]
    accesses = {name: number for number, name in enumerate(job.spec.topology.accesses)}
    return {
        "sent": np.diff(sent, prepend=0).tolist(),
        "delay": np.where(received == NEVER, LOST, received - sent).tolist(),
        "access": [accesses.get(name, LOST) for name in way.access[order]],
    }
