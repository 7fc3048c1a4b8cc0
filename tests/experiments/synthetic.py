"""Runs that never happened: captures, control messages and events with known timing.

The network is ideal (no queues), delays are added up here by hand, link by link, so that a mistake
in `experiments.analysis.floor` can't hide in both.
"""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, NamedTuple

from experiments.analysis.measure import analyse_run, missing_rows, read_job, write_runs
from experiments.captures.pcapng import PcapngWriter
from experiments.declaration.flows import UdpFlow
from experiments.declaration.job import run_name
from experiments.declaration.spec import RunSpec
from nodes.strict import convert, to_json

START_NS = 1_700_000_000_000_000_000
INTERFACES = ["cn-lma", "lma-core", "mn-wlan", "mn-cell"]
CN_LMA, LMA_CORE, MN_WLAN, MN_CELL = range(4)
LMA = IPv6Address("2001:db8:10::1").packed
CN = IPv6Address("2001:db8:1::2").packed
MN = IPv6Address("2001:db8:100::1").packed
PROXY_COA = {
    "wlan": IPv6Address("2001:db8:11::1").packed,
    "cell": IPv6Address("2001:db8:12::1").packed,
}
MN_INTERFACE = {"wlan": MN_WLAN, "cell": MN_CELL}
SNAPLEN = 180
NS_PER_MS = 1_000_000

# Like topologies/reference.toml, but its own: numbers in these tests are worked out by hand.
TOPOLOGY: dict[str, Any] = {
    "nodes": {
        "cn": {"role": "correspondent", "address": "2001:db8:1::2"},
        "lma": {"role": "lma", "address": "2001:db8:10::1"},
        "core": {"role": "router"},
        "mag1": {"role": "mag", "address": "2001:db8:11::1"},
        "mag2": {"role": "mag", "address": "2001:db8:12::1"},
        "mn": {"role": "mn"},
    },
    "links": {
        "cn-lma": {"ends": ["cn", "lma"], "delay_ms": 5.0, "rate_mbit": 1000.0},
        "lma-core": {"ends": ["lma", "core"], "rate_mbit": 1000.0},
        "core-mag1": {"ends": ["core", "mag1"], "delay_ms": 10.0, "rate_mbit": 1000.0},
        "core-mag2": {"ends": ["core", "mag2"], "delay_ms": 10.0, "rate_mbit": 1000.0},
        "wlan": {
            "ends": ["mag1", "mn"],
            "access": "wlan",
            "delay_ms": 2.0,
            "rate_mbit": 50.0,
        },
        "cell": {
            "ends": ["mag2", "mn"],
            "access": "cell",
            "delay_ms": 25.0,
            "down": {"rate_mbit": 20.0},
            "up": {"rate_mbit": 10.0},
        },
    },
}
UDP = {"kind": "udp", "interval_ms": 20.0, "payload_bytes": 172, "from_s": 5.0, "until_s": 29.0}
DEFAULT_FLOWS: dict[str, Any] = {
    "a": UDP | {"anchor": "wlan", "start": "wlan", "port": 5001},
    "b": UDP | {"anchor": "cell", "start": "cell", "port": 5002},
    "stay": UDP | {"anchor": "wlan", "start": "wlan", "port": 5003},
}
DEFAULT_MOVES: list[dict[str, Any]] = [
    {"flow": "a", "to": "cell", "at_s": 12.0},
    {"flow": "b", "to": "wlan", "at_s": 20.0},
]


def run_spec(
    model: str = "shared",
    switch: str = "on-ack",
    delay_ms: float = 10.0,
    flows: dict[str, Any] | None = None,
    moves: list[dict[str, Any]] | None = None,
    **more: Any,
) -> RunSpec:
    topology = copy.deepcopy(TOPOLOGY)
    for link in ("core-mag1", "core-mag2"):
        topology["links"][link]["delay_ms"] = delay_ms
    return convert(
        {
            "topology": topology,
            "protocol": {"prefix_model": model, "switch": switch, "uplink": "reflective"},
            "flows": DEFAULT_FLOWS if flows is None else flows,
            "moves": DEFAULT_MOVES if moves is None else moves,
            **more,
        },
        RunSpec,
        "synthetic",
    )


def ipv6(next_header: int, source: bytes, destination: bytes, payload: bytes) -> bytes:
    head = struct.pack("!IHBB", 6 << 28, len(payload), next_header, 64)
    return head + source + destination + payload


def ethernet(packet: bytes) -> bytes:
    return b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x86\xdd" + packet


def udp(port: int, flow: int, sequence: int, size: int) -> bytes:
    payload = struct.pack("!2sHI", b"FM", flow, sequence).ljust(size, b"\xa5")
    return struct.pack("!HHHH", port, port, 8 + size, 0) + payload


def tcp(port: int, down: bool, sequence: int, size: int, stamp: int, flags: int = 0x10) -> bytes:
    ports = (port, 40000) if down else (40000, port)
    options = struct.pack("!BBBBII", 1, 1, 8, 10, stamp & 0xFFFF_FFFF, 0)
    head = struct.pack("!HHIIBBHHH", *ports, sequence & 0xFFFF_FFFF, 0, 8 << 4, flags, 65535, 0, 0)
    return head + options + bytes(size)


def mobility_message(kind: int, sequence: int, size: int = 56) -> bytes:
    body = struct.pack("!BBBBHHHH", 59, size // 8 - 1, kind, 0, 0, sequence, 8, 0x8000)
    return body.ljust(size, b"\0")


class Frame(NamedTuple):
    timestamp_ns: int
    interface: int
    outbound: bool
    data: bytes


@dataclass
class Recorder:
    """Collects frames in any order and writes them in order of time. Instants in ms of the run."""

    frames: list[Frame] = field(default_factory=list)

    def add(self, interface: int, at_ms: float, outbound: bool, packet: bytes) -> None:
        instant = START_NS + round(at_ms * NS_PER_MS)
        self.frames.append(Frame(instant, interface, outbound, ethernet(packet)))

    def seen(self, place: str, way: str, at_ms: float, transport: bytes, access: str = "") -> None:
        """A test packet at `place` ("cn", "lma" or "mn") going `way` ("down" or "up")."""
        down = way == "down"
        number = 17 if len(transport) > 8 and transport[8:10] == b"FM" else 6
        source, destination = (CN, MN) if down else (MN, CN)
        packet = ipv6(number, source, destination, transport)
        if place == "cn":
            self.add(CN_LMA, at_ms, down, packet)
        elif place == "lma":
            ends = (LMA, PROXY_COA[access]) if down else (PROXY_COA[access], LMA)
            self.add(LMA_CORE, at_ms, down, ipv6(41, *ends, packet))
        else:
            self.add(MN_INTERFACE[access], at_ms, not down, packet)

    def write(self, path: Path, snaplen: int = SNAPLEN) -> None:
        with path.open("wb") as file:
            writer = PcapngWriter(file, INTERFACES, snaplen)
            for at, interface, outbound, data in sorted(self.frames, key=lambda f: f.timestamp_ns):
                writer.packet(interface, at, data, len(data), outbound)


def one_way_ms(frame_bytes: int, *links: tuple[float, float]) -> float:
    """Sum over links of (delay in ms, rate in Mbit/s)."""
    return sum(delay + frame_bytes * 8 / (rate * 1000) for delay, rate in links)


# One-way (delay, rate) of the access links of TOPOLOGY.
ACCESS_DOWN = {"wlan": (2.0, 50.0), "cell": (25.0, 20.0)}
ACCESS_UP = {"wlan": (2.0, 50.0), "cell": (25.0, 10.0)}


@dataclass
class Network:
    """Travel times in ms of an IPv6 packet of so many octets, by hand."""

    delay_ms: float

    def cn_lma(self, size: int) -> float:
        return one_way_ms(14 + size, (5.0, 1000.0))

    def core(self, size: int) -> float:
        return one_way_ms(14 + size, (0.0, 1000.0), (self.delay_ms, 1000.0))

    def down(self, access: str, size: int) -> float:
        return self.core(size + 40) + one_way_ms(14 + size, ACCESS_DOWN[access])

    def up(self, access: str, size: int) -> float:
        return one_way_ms(14 + size, ACCESS_UP[access]) + self.core(size + 40)


@dataclass
class Plan:
    """What to synthesise. `phase_ms` shifts each flow's sending; `late_ms` is what every switch
    takes longer than it has to; `lose(flow, way, sequence)` and `copies(...)` make trouble."""

    spec: RunSpec
    delay_ms: float = 10.0
    decisions_ms: tuple[float, ...] = (12_003.0, 20_003.0)
    late_ms: float = 0.0
    lose: Callable[[str, str, int], bool] = lambda *_: False
    copies: Callable[[str, str, int], int] = lambda *_: 1


def make_run(folder: Path, plan: Plan, **job: Any) -> Path:
    """Write a run folder as the guest would; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    spec, network = plan.spec, Network(plan.delay_ms)
    recorder, control = Recorder(), Recorder()
    events: list[dict[str, Any]] = []
    protocol = spec.protocol
    for number, (move, decision) in enumerate(zip(spec.moves, plan.decisions_ms, strict=True)):
        flow = spec.flows[move.flow]
        fid = [*spec.flows].index(move.flow) + 1
        unique = protocol.prefix_model == "unique" or (
            protocol.prefix_model == "hybrid" and flow.anchor != "wlan"
        )
        signalled = unique and move.to != flow.anchor
        sequence = 1000 + number
        switched = decision + plan.late_ms
        log = [(decision, "decision", {"mn": "mn", "fid": fid, "to": move.to, "move": number})]
        if signalled:
            round_trip = 2 * network.core(96)
            log.append((decision, "fmi-sent", {"sequence": sequence, "to": move.to}))
            answered = decision + round_trip
            log.append((answered, "fma-received", {"sequence": sequence, "status": 0}))
            ends = (LMA, PROXY_COA[move.to])
            control.add(LMA_CORE, decision, True, ipv6(135, *ends, mobility_message(19, sequence)))
            control.add(
                LMA_CORE, answered, False, ipv6(135, *ends[::-1], mobility_message(20, sequence))
            )
            if protocol.switch == "on-ack":
                switched = answered + plan.late_ms
        log.append((switched, "switched", {"mn": "mn", "fid": fid, "to": move.to}))
        events += [
            {"t": START_NS + round(at * NS_PER_MS), "node": "lma", "event": name, **detail}
            for at, name, detail in sorted(log, key=lambda entry: entry[0])
        ]
        if isinstance(flow, UdpFlow):
            _udp_flow(recorder, plan, network, move.flow, fid, (switched, move.to))
    for fid, (name, flow) in enumerate(spec.flows.items(), start=1):
        if isinstance(flow, UdpFlow) and name not in {move.flow for move in spec.moves}:
            _udp_flow(recorder, plan, network, name, fid, None)
    events.sort(key=lambda event: event["t"])
    recorder.write(folder / "captures.pcapng")
    control.write(folder / "control.pcapng", 0)
    (folder / "events").mkdir()
    lines = "".join(json.dumps(event) + "\n" for event in events)
    (folder / "events" / "lma.jsonl").write_text(lines)
    write_job(folder, spec, plan.decisions_ms, **job)
    return folder


def write_job(folder: Path, spec: RunSpec, decisions_ms: tuple[float, ...], **job: Any) -> None:
    defaults = {
        "spec": spec,
        "experiment": "synthetic",
        "point": "point",
        "levels": {},
        "values": {},
        "seed": 1,
        "engine": "virtual",
        "start_ns": START_NS,
        "decisions_s": [at / 1000 for at in decisions_ms],
    }
    (folder / "job.json").write_bytes(to_json(defaults | job))


def _udp_flow(
    recorder: Recorder,
    plan: Plan,
    network: Network,
    name: str,
    fid: int,
    move: tuple[float, str] | None,
) -> None:
    """A flow that is switched once, at an instant in ms, to an access; or never."""
    flow = plan.spec.flows[name]
    assert isinstance(flow, UdpFlow)
    size = 48 + flow.payload_bytes
    first_over_new = None
    count = round((flow.until_s - flow.from_s) * 1000 / flow.interval_ms)
    for sequence in range(count):
        sent = flow.from_s * 1000 + sequence * flow.interval_ms
        packet = udp(flow.port, fid, sequence, flow.payload_bytes)
        recorder.seen("cn", "down", sent, packet)
        at_lma = sent + network.cn_lma(size)
        moved = move is not None and at_lma >= move[0]
        access = move[1] if move is not None and moved else flow.start
        recorder.seen("lma", "down", at_lma, packet, access)
        if plan.lose(name, "down", sequence):
            continue
        arrival = at_lma + network.down(access, size)
        if moved and first_over_new is None:
            first_over_new = arrival
        for number in range(plan.copies(name, "down", sequence)):
            recorder.seen("mn", "down", arrival + number, packet, access)
    for sequence in range(count):
        sent = flow.from_s * 1000 + sequence * flow.interval_ms
        packet = udp(flow.port, fid, sequence, flow.payload_bytes)
        moved = first_over_new is not None and sent >= first_over_new
        access = move[1] if move is not None and moved else flow.start
        recorder.seen("mn", "up", sent, packet, access)
        if plan.lose(name, "up", sequence):
            continue
        at_lma = sent + network.up(access, size)
        recorder.seen("lma", "up", at_lma, packet, access)
        recorder.seen("cn", "up", at_lma + network.cn_lma(size), packet)


MODELS = [("shared", "on-ack"), ("unique", "on-ack"), ("unique", "on-send"), ("hybrid", "on-ack")]


def make_results(folder: Path, delays: tuple[float, ...] = (10.0,), seeds: int = 3) -> Path:
    """Results of an experiment as the runner would leave them: UDP runs of every model and delay,
    TCP runs of every model at 10 ms; of hybrid's last seed at the first delay nothing came back."""
    rows: list[dict[str, Any]] = []
    for model, switch in MODELS:
        levels = {"model": f"{model}/{switch}"}
        for delay in delays:
            short = {
                name: flow | {"from_s": 10.5, "until_s": 21.5}
                for name, flow in DEFAULT_FLOWS.items()
            }
            spec = run_spec(model, switch, delay, flows=short)
            for seed in range(1, seeds + 1):
                phase = (seed - 0.6) * 20 / seeds
                decisions = (12_000 + phase, 20_000 + phase * 0.7)
                point = f"{model}-{switch}-{delay:g}ms"
                run = folder / "runs" / run_name(point, seed)
                about: dict[str, Any] = {"point": point, "seed": seed, "levels": levels}
                if (model, delay, seed) == ("hybrid", delays[0], seeds):
                    run.mkdir(parents=True)
                    write_job(run, spec, decisions, **about)
                    rows += missing_rows(read_job(run), "guest hung")
                    continue
                rows += analyse_run(make_run(run, Plan(spec, delay, decisions), **about))
        for seed in range(1, seeds + 1):
            point = f"tcp-{model}-{switch}"
            run = folder / "runs" / run_name(point, seed)
            _tcp_run(run, model, switch, seed, point=point, seed=seed, levels=levels)
            rows += analyse_run(run)
    write_runs(rows, folder)
    return folder


def _tcp_run(run: Path, model: str, switch: str, number: int, **about: Any) -> None:
    """A download at a steady rate, which drops when its flow has moved to the slower access."""
    run.mkdir(parents=True)
    flow = {"kind": "tcp", "anchor": "wlan", "start": "wlan", "port": 5201}
    move = {"flow": "d", "to": "cell", "at_s": 12.0}
    decision = 12_000.0 + 3 * number
    switched = decision + (20.0 if (model, switch) == ("unique", "on-ack") else 0.0)
    net = Recorder()
    sequence, sent = 1, 10_900.0
    while sent < 15_300:
        moved = sent + 5 >= switched
        segment = tcp(5201, True, sequence, 1348, round(sent))
        net.seen("cn", "down", sent, segment)
        net.seen("lma", "down", sent + 5.01, segment, "cell" if moved else "wlan")
        net.seen(
            "mn", "down", sent + (40.6 if moved else 17.3), segment, "cell" if moved else "wlan"
        )
        sequence += 1348
        sent += (1348 * 8 / 1000) / (min(18.0, 6 + (sent - switched) / 100) if moved else 44.0)
    net.write(run / "captures.pcapng")
    Recorder().write(run / "control.pcapng")
    (run / "events").mkdir()
    log = [(decision, "decision"), (switched, "switched")]
    entries = [
        {
            "t": START_NS + round(at * NS_PER_MS),
            "node": "lma",
            "event": name,
            "fid": 1,
            "to": "cell",
        }
        for at, name in log
    ]
    lines = "".join(json.dumps(entry) + "\n" for entry in entries)
    (run / "events" / "lma.jsonl").write_text(lines)
    write_job(run, run_spec(model, switch, flows={"d": flow}, moves=[move]), (decision,), **about)
