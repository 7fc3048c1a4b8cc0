"""What else takes traffic to another access (experiments/alternatives.toml), by its packets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from experiments.engines.guest import GuestEngine
from experiments.experiment import load, points
from experiments.interruption import instant_of
from experiments.job import Job
from experiments.measure import FLOW_ROWS, analyse_run, read_job
from nodes.wire.tool import decode_capture
from tests.system import wire
from tests.system.guests import LIMIT_S, job_of, put_job

HANDOFF_BETWEEN_INTERFACES = 2


class Ran(NamedTuple):
    folder: Path
    job: Job
    row: dict[str, Any]
    packets: list[wire.Datagram]

    @property
    def instant_ns(self) -> int:
        instant = instant_of(self.job)
        assert instant is not None
        return self.job.start_ns + round(instant * 1e9)

    def arrivals(self, access: str) -> list[wire.Datagram]:
        return wire.at(self.packets, f"mn-{access}", outbound=False)

    def departures(self, access: str) -> list[wire.Datagram]:
        return wire.at(self.packets, f"mn-{access}", outbound=True)


@pytest.fixture
def run(virtual: GuestEngine, tmp_path: Path) -> Callable[[str], Ran]:
    found = {point.name: point for point in points("alternatives", load("alternatives"), 1)}

    def carry_out(name: str) -> Ran:
        folder = put_job(tmp_path / name, job_of(found[name], "virtual", 1))
        outcome = virtual.run(folder, LIMIT_S)
        assert outcome.failure is None, outcome.failure
        analyse_run(folder, keep_captures=True)
        (row,) = json.loads((folder / FLOW_ROWS).read_bytes())
        return Ran(folder, read_job(folder), row, wire.read(folder / "captures.pcapng"))

    return carry_out


def test_a_handover_takes_everything_along_rfc5213_8_4(run: Callable[[str], Ran]) -> None:
    """The PBU of the new MAG says so, and the same address goes on over the new access."""
    ran = run("udp-handover-stays")
    first = next(p for p in ran.arrivals("cell") if p.mark)
    before = [p for p in ran.arrivals("wlan") if p.mark]
    assert {p.destination for p in before} == {first.destination}
    assert not [p for p in ran.arrivals("cell") if p.mark and p.time_ns < ran.instant_ns]
    # PBU and PBA (2 x 10 ms), and then a packet from the CN: 10 ms of core, 25 ms of access.
    latency_ms = (first.time_ns - ran.instant_ns) / wire.MILLISECOND
    assert 10 + 10 + 25 < latency_ms < 10 + 10 + 25 + 20 + 1
    messages = list(decode_capture(ran.folder / "control.pcapng"))
    requests = [m for m in messages if m["message"] == "ProxyBindingUpdate"]
    assert [m["source"] for m in requests[:2]] == ["2001:db8:11::1", "2001:db8:12::1"]
    options = {option["option"]: option for option in requests[1]["options"]}
    assert options["HandoffIndicator"]["hint"]["value"] == HANDOFF_BETWEEN_INTERFACES
    assert ran.row["lost_around"] == 0
    assert ran.row["signalling_messages"] == 2


def test_without_mobility_the_stream_ends_with_its_access(run: Callable[[str], Ran]) -> None:
    ran = run("udp-alone-goes")
    last = max(p.time_ns for p in ran.arrivals("wlan") if p.mark)
    assert last <= ran.instant_ns
    assert not [p for p in ran.arrivals("cell") if p.mark]
    assert ran.row["broken"] == 1
