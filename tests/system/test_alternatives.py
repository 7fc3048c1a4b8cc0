"""What else takes traffic to another access (experiments/alternatives.toml), by its packets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from experiments.analysis.interruption import instant_of
from experiments.analysis.measure import FLOW_ROWS, analyse_run, read_job
from experiments.analysis.packets import read_packets
from experiments.declaration.experiment import load, points
from experiments.declaration.job import Job
from experiments.engines.guest import GuestEngine
from nodes.wire.tool import decode_capture
from tests.system import wire
from tests.system.guests import LIMIT_S, job_of, put_job

HANDOFF_BETWEEN_INTERFACES = 2
TCP, UDP = 6, 17
MP_JOIN, REMOVE_ADDR, MP_PRIO = 1, 4, 5


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


def _options(packet: wire.Datagram) -> set[int]:
    """Subtypes of Multipath TCP in a segment (RFC 8684 section 3)."""
    found, at = set(), 20
    header = packet.payload[: (packet.payload[12] >> 4) * 4]
    while at < len(header) and header[at] != 0:
        if header[at] == 1:
            at += 1
            continue
        if header[at] == 30:
            found.add(header[at + 2] >> 4)
        at += header[at + 1]
    return found


def _data(packets: list[wire.Datagram]) -> list[wire.Datagram]:
    return [
        p for p in packets if p.next_header == TCP and len(p.payload) > (p.payload[12] >> 4) * 4
    ]


def test_a_new_connection_goes_on_from_the_other_address(run: Callable[[str], Ran]) -> None:
    ran = run("tcp-reconnect-goes")
    (request,) = [p for p in ran.departures("cell") if p.next_header == TCP and p.payload[13] == 2]
    assert 0 <= (request.time_ns - ran.instant_ns) / wire.MILLISECOND < 1
    first = _data(ran.arrivals("cell"))[0]
    assert first.destination == request.source != _data(ran.arrivals("wlan"))[0].destination
    # Two round trips over the new access: 2 x (5 + 10 + 25) ms each, and slow start.
    assert (first.time_ns - ran.instant_ns) / wire.MILLISECOND > 160
    assert ran.row["interruption_ms"] > 100
    assert ran.row["end_host_messages"] == 2
    assert ran.row["broken"] == 0


def test_multipath_tcp_joins_as_backup_and_prefers_rfc8684_3_3_8(run: Callable[[str], Ran]) -> None:
    ran = run("mptcp-prefer-stays")
    join = [p for p in ran.departures("cell") if p.next_header == TCP and MP_JOIN in _options(p)]
    assert join[0].payload[13] == 2
    assert join[0].time_ns < ran.instant_ns
    early = [p for p in _data(ran.arrivals("cell")) if p.time_ns < ran.instant_ns]
    assert not early, "a backup subflow carries no data"
    priorities = [
        p
        for access in ("wlan", "cell")
        for p in ran.departures(access)
        if p.next_header == TCP and MP_PRIO in _options(p)
    ]
    assert len(priorities) == 2
    assert all(0 <= (p.time_ns - ran.instant_ns) / wire.MILLISECOND < 1 for p in priorities)
    first = _data(ran.arrivals("cell"))[0]
    # MP_PRIO goes over the faster access (2 + 10 + 5 ms), data come over the new one. What the
    # sender has given the old subflow by then stays there, and may fill the shared window.
    assert 17 + 40 < (first.time_ns - ran.instant_ns) / wire.MILLISECOND < 17 + 40 + 60
    assert (ran.row["broken"], ran.row["end_host_messages"]) == (0, 2)


def test_multipath_tcp_gives_up_an_address_rfc8684_3_4_2(run: Callable[[str], Ran]) -> None:
    ran = run("mptcp-abandon-goes")
    (removal,) = [
        p for p in ran.departures("cell") if p.next_header == TCP and REMOVE_ADDR in _options(p)
    ]
    assert 0 <= (removal.time_ns - ran.instant_ns) / wire.MILLISECOND < 1
    assert _data(ran.arrivals("cell"))
    assert ran.row["broken"] == 0
    # IPv6 and TCP with time stamps, and a DSS option of 22 octets with its padding.
    assert ran.row["header_bytes"] == pytest.approx(40 + 32 + 24, abs=0.5)


def test_both_subflows_fill_their_lines_until_one_goes(run: Callable[[str], Ran]) -> None:
    """20 and 10 Mbit/s less headers; nothing but the accesses limits Multipath TCP here."""
    ran = run("mptcp-all-goes")
    assert ran.row["before_mbit"] > 26
    assert ran.row["later_mbit"] > 9


def _connection_id(packet: wire.Datagram) -> bytes:
    """RFC 9000 section 17.3.1: 8 octets after the flags; behind the UDP header."""
    return packet.payload[8 + 1 : 8 + 1 + 8]


@pytest.mark.parametrize("wlan", ["stays", "goes"])
def test_a_quic_client_migrates_and_the_server_validates_the_path_rfc9000_9(
    run: Callable[[str], Ran], wlan: str
) -> None:
    ran = run(f"quic-migrate-{wlan}")
    asked = [p for p in ran.departures("cell") if p.next_header == UDP]
    delay_ms = (asked[0].time_ns - ran.instant_ns) / wire.MILLISECOND
    assert 0 <= delay_ms < 1
    after = [p for p in ran.departures("wlan") if p.time_ns > asked[0].time_ns]
    assert not [p for p in after if p.next_header == UDP]
    # Section 9.5: nobody can link the addresses by connection IDs.
    before = {
        _connection_id(p)
        for p in ran.departures("wlan")
        if p.next_header == UDP and p.payload[8] < 0x80
    }
    assert not before & {_connection_id(p) for p in asked}
    answers = [p for p in ran.arrivals("cell") if p.next_header == UDP]
    # A round trip over the new access: 2 x (5 + 10 + 25) ms.
    first_ms = (answers[0].time_ns - ran.instant_ns) / wire.MILLISECOND
    assert 80 < first_ms < 82
    # Section 8.1: until the server has the response, another round trip, it sends three times what
    # it got at most.
    limit = ran.instant_ns + 160 * wire.MILLISECOND
    got = sum(len(p.payload) - 8 for p in asked if p.time_ns < limit)
    sent = sum(len(p.payload) - 8 for p in answers if p.time_ns < limit)
    assert 0 < sent <= 3 * got
    assert ran.row["broken"] == 0
    assert ran.row["later_mbit"] > 9
    # What the client's application has got of the stream is what packets brought.
    (log,) = [json.loads(p.read_text()) for p in (ran.folder / "logs").glob("quic-1-mn.txt")]
    packets = read_packets(ran.folder / "packets.csv.gz")
    down = packets[(packets["direction"] == "down") & packets["received_s"].notna()]
    ends = down["sequence"] + down["bytes"] - 1
    assert 0 <= int(ends.max()) - log["bytes_received"] < 200_000
    assert ran.row["end_host_messages"] >= 4
