"""What a run is reduced to: one row per move, computed from packets, events and control messages.

Windows. Packets are counted (sent, lost, ...) when they were sent between 1 s before the decision
and 1 s before the next move of the same flow, or the flow's end; metrics of reordering but their
number are of packets sent within 1 s of the decision. The interruption is the longest
gap that ends between the decision and 1 s after the first arrival over the new access.
Downlink unless a name says uplink. All times have a resolution of 10 us, so an excess may be off
by that much and no more.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.analysis import floor
from experiments.analysis.controller_messages import read_controller_messages
from experiments.analysis.end_hosts import end_host_columns
from experiments.analysis.event_log import Event, events_csv, read_events
from experiments.analysis.flow_rows import flow_rows
from experiments.analysis.group_moves import group_columns
from experiments.analysis.interruption import instant_of
from experiments.analysis.move_floors import first_packet, floors
from experiments.analysis.moves import MoveRecord, follow, moves_entry, plan
from experiments.analysis.packets import csv_gz, extract
from experiments.analysis.quic_packets import secrets_of_run
from experiments.analysis.redirection import redirection_columns
from experiments.analysis.reordering import reordering_columns
from experiments.analysis.run_view import VIEW, run_view
from experiments.analysis.signalling import (
    Signalling,
    read_signalling,
    signalling_of,
)
from experiments.analysis.traces import NEVER, Trace, count
from experiments.captures.frames import TICKS_PER_MS, TICKS_PER_S
from experiments.declaration.flow_groups import names_moved
from experiments.declaration.flows import UdpFlow, traffic_kind
from experiments.declaration.job import IDENTITY, Job, esp_keys, write_atomically
from experiments.tables import write_table
from nodes.ipsec.esp import EspKeys
from nodes.strict import MISSING, InputError, from_json, to_json

BEFORE_TICKS = TICKS_PER_S
AROUND_TICKS = TICKS_PER_S
OK = "ok"

RUNS, DOWNLOADS = "runs.csv", "downloads.csv"
# What a run contributes to flows.csv.
FLOW_ROWS = "flows.json"
COLUMNS = [
    *IDENTITY,
    "prefix_delivery",
    "switch_policy",
    "decision_maker",
    "attachment",
    "traffic",
    "flow",
    "move",
    "source",
    "target",
    "direction",
    "lma_mag_delay_ms",
    "status",
    "decision_s",
    "move_latency_ms",
    "floor_ms",
    "excess_ms",
    "switch_latency_ms",
    "interruption_ms",
    "sent",
    "received",
    "lost",
    "duplicated",
    "reordered",
    "reordered_percent",
    "reordering_extent",
    "late_ms",
    "reordered_by_3",
    "uplink_latency_ms",
    "uplink_floor_ms",
    "uplink_excess_ms",
    "uplink_sent",
    "uplink_received",
    "uplink_lost",
    "uplink_duplicated",
    "uplink_reordered",
    "signalling_messages",
    "signalling_bytes",
    "access_signalling_messages",
    "access_signalling_bytes",
    "stay_moved",
]


def read_job(run_dir: Path) -> Job:
    """What the run in this folder was asked to do. Raises InputError."""
    path = run_dir / "job.json"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(str(path), "(file)", MISSING, f"can't be read: {error.strerror}") from None
    job = from_json(data, Job, str(path))
    if len(job.decisions_s) != len(job.spec.moves):
        raise InputError(
            str(path),
            "decisions_s",
            list(job.decisions_s),
            f"expected {len(job.spec.moves)} values",
        )
    return job


def analyse_run(run_dir: Path, keep_captures: bool = False) -> list[dict[str, Any]]:
    """Reduce a run's captures and events to tidy files and to rows of `runs.csv`, one per move.

    Writes packets.csv.gz, events.csv, moves.json, flows.json and view.js into `run_dir`, then
    removes captures.pcapng and events/ unless told to keep them. Raises InputError for a bad job or
    event log, PcapngError for a bad capture, OSError; then the raw files stay.
    """
    job = read_job(run_dir)
    captures, control = run_dir / "captures.pcapng", run_dir / "control.pcapng"
    secrets = secrets_of_run(run_dir, job.spec)
    packets = extract(captures.read_bytes(), job.spec, job.start_ns, str(captures), secrets)
    events = read_events(run_dir / "events", job.start_ns)
    keys = EspKeys.of_file(esp_keys(run_dir)) if esp_keys(run_dir).exists() else None
    signalling = read_signalling(control.read_bytes(), job.start_ns, str(control), keys)
    traces = {name: Trace(packets, name) for name in job.spec.flows}
    rows, records = measure(job, traces, events, signalling)
    if job.spec.topology.switches:
        raw, topology = control.read_bytes(), job.spec.topology
        messages = read_controller_messages(raw, topology, job.start_ns, str(control))
        for row, record in zip(rows, records, strict=True):
            way = traces[record.move.flow].down
            window = _window(job, record, records)
            row.update(redirection_columns(record, job.spec, way, window, messages, events))
    write_atomically(run_dir / "packets.csv.gz", csv_gz(packets))
    write_atomically(run_dir / "events.csv", events_csv(events))
    moves = [moves_entry(*pair) for pair in zip(records, rows, strict=True)]
    write_atomically(run_dir / "moves.json", to_json(moves) + b"\n")
    write_atomically(run_dir / VIEW, run_view(job, traces, events, moves, control, keys))
    flows = flow_rows(job, traces, events, signalling=signalling)
    instant = instant_of(job)
    if instant is not None:
        of_hosts = end_host_columns(job, captures.read_bytes(), instant, secrets)
        flows = [row | of_hosts[row["flow"]] for row in flows]
    write_atomically(run_dir / FLOW_ROWS, json.dumps(flows, indent=1).encode() + b"\n")
    if not keep_captures:
        captures.unlink()
        shutil.rmtree(run_dir / "events")
    return rows


def write_runs(rows: Iterable[dict[str, Any]], results_dir: Path) -> None:
    """`runs.csv`, and `downloads.csv` for the rows of TCP transfers if there are any.

    They are apart because the one is the same, byte for byte, whenever its seeds are run again,
    and the other is not: a bulk transfer reacts to every microsecond.
    """
    rows = list(rows)
    downloads = [row for row in rows if row.get("traffic") != "udp"]
    others = [row for row in rows if row.get("traffic") == "udp"]
    write_table(others, COLUMNS, results_dir / RUNS)
    if downloads:
        write_table(downloads, COLUMNS, results_dir / DOWNLOADS)
    else:
        (results_dir / DOWNLOADS).unlink(missing_ok=True)


def missing_rows(job: Job, reason: str) -> list[dict[str, Any]]:
    """Rows of a run that gave no data, so that tables and figures can say that it is missing."""
    return [_head(job, record, reason) for record in plan(job.spec, job.decisions_s)]


def measure(
    job: Job, traces: dict[str, Trace], events: Sequence[Event], signalling: Signalling
) -> tuple[list[dict[str, Any]], list[MoveRecord]]:
    """Rows and records of a run's moves, in the order of the spec."""
    records = plan(job.spec, job.decisions_s)
    follow(records, job.spec, events)
    moved = {name for record in records for name in names_moved(job.spec, record.move)}
    strayed = [
        traces[name].strayed(flow.start)
        for name, flow in job.spec.flows.items()
        if name not in moved
    ]
    rows = []
    for record in records:
        row = _row(job, record, records, traces[record.move.flow], signalling)
        row["stay_moved"] = sum(strayed) if strayed else None
        if record.move.scope != "flow":
            caused = signalling_of(record, job.spec, signalling, _window(job, record, records)[1])
            row |= group_columns(job, record, traces, caused)
        rows.append(row)
    return rows, records


def _window(job: Job, record: MoveRecord, records: Sequence[MoveRecord]) -> tuple[int, int]:
    """The instants of sending, in ticks, between which packets are counted for a move."""
    decision = record.planned if record.decision is None else record.decision
    end = math.ceil(job.spec.flows[record.move.flow].until_s * TICKS_PER_S) + 1
    later = [
        other.planned if other.decision is None else other.decision
        for other in records
        if other.move.flow == record.move.flow and other.planned > record.planned
    ]
    if later:
        end = max(min(later) - BEFORE_TICKS, decision)
    return decision - BEFORE_TICKS, end


def _ms(duration: int | None) -> float | None:
    return None if duration is None else round(duration / TICKS_PER_MS, 2)


def _difference(value: float | None, base: float | None) -> float | None:
    return None if value is None or base is None else round(value - base, 2)


def _head(job: Job, record: MoveRecord, status: str) -> dict[str, Any]:
    spec, move = job.spec, record.move
    topology = spec.topology
    before = floor.access_delay_ms(topology, record.source)
    after = floor.access_delay_ms(topology, move.to)
    direction = "fast-to-slow" if after > before else "slow-to-fast" if after < before else "equal"
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= job.identity() | {
        "prefix_delivery": spec.protocol.prefix_delivery,
        "switch_policy": spec.protocol.switch,
        "decision_maker": spec.protocol.decision_maker,
        "attachment": "dynamic" if record.attaches else spec.protocol.attachment,
        "traffic": traffic_kind(spec.flows[move.flow]),
        "flow": move.flow,
        "move": record.number,
        "source": record.source,
        "target": move.to,
        "direction": direction,
        "lma_mag_delay_ms": floor.lma_mag_delay_ms(topology, move.to),
        "status": status,
    }
    return job.factors() | row


def _row(
    job: Job,
    record: MoveRecord,
    records: Sequence[MoveRecord],
    trace: Trace,
    signalling: Signalling,
) -> dict[str, Any]:
    spec, to = job.spec, record.move.to
    flow = spec.flows[record.move.flow]
    start, end = _window(job, record, records)
    tcp = not isinstance(flow, UdpFlow)
    down = count(trace.down.between(start, end), tcp)
    up = {f"uplink_{key}": value for key, value in count(trace.up.between(start, end), tcp).items()}
    if record.decision is None:
        return _head(job, record, "no decision") | down | up
    decision = record.decision
    caused = signalling_of(record, spec, signalling, end)
    record.first_packet = first_packet(job, record, record.move.flow, trace, decision)
    through_new = (trace.up.lma_access == to) & (trace.up.lma >= decision)
    through_new &= trace.up.lma != NEVER
    latency = None if record.first_packet is None else _ms(record.first_packet - decision)
    uplink = int(trace.up.lma[through_new].min()) - decision if through_new.any() else None
    lowest, uplink_lowest = floors(job, record, record.move.flow, trace, caused)
    expected = not isinstance(flow, UdpFlow) or flow.directions != "up"
    near = trace.down.between(decision - AROUND_TICKS, decision + AROUND_TICKS)
    row = _head(job, record, _status(record, expected)) | down | up | reordering_columns(near, tcp)
    row |= {
        "decision_s": round(decision / TICKS_PER_S, 5),
        "move_latency_ms": latency,
        "floor_ms": lowest,
        "excess_ms": _difference(latency, lowest),
        "switch_latency_ms": None if record.switched is None else _ms(record.switched - decision),
        "interruption_ms": _interruption(
            record, trace, flow.interval_ms if isinstance(flow, UdpFlow) else 0.0
        ),
        "uplink_latency_ms": _ms(uplink),
        "uplink_floor_ms": uplink_lowest,
        "uplink_excess_ms": _difference(_ms(uplink), uplink_lowest),
    }
    return row | caused.columns()


def _status(record: MoveRecord, expected: bool) -> str:
    """`expected`: whether the flow has packets that can arrive at the MN."""
    if record.failed is not None:
        return f"move failed: {record.failed}"
    left = sum(tick is None for tick in record.group.values())
    if record.move.scope != "flow" and left:
        return f"{left} of {len(record.group)} flows not switched"
    if record.switched is None:
        return "not switched"
    if expected and record.first_packet is None:
        return "no packet over the new access"
    return OK


def _interruption(record: MoveRecord, trace: Trace, spacing_ms: float) -> float | None:
    """Longest gap between arrivals around the move, less the nominal spacing, in ms."""
    if record.decision is None or record.first_packet is None:
        return None
    way = trace.down
    arrivals = np.sort(way.received[way.received != NEVER])
    ends = arrivals[1:]
    around = (ends >= record.decision) & (ends <= record.first_packet + AROUND_TICKS)
    if not around.any():
        return None
    return round(int(np.diff(arrivals)[around].max()) / TICKS_PER_MS - spacing_ms, 2)
