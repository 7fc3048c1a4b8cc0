from collections.abc import Mapping
from ipaddress import IPv6Address
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from experiments.declaration.flows import TcpDownload, UdpFlow
from experiments.declaration.spec import RunSpec
from experiments.emulation.traffic import (
    UdpStream,
    departures,
    flow_ids,
    tcp_transfers,
    udp_streams,
)
from nodes.strict import load_toml
from topologies.model import Topology

REFERENCE = Path(__file__).parents[3] / "topologies" / "reference.toml"
MN = IPv6Address("2001:db8:f::1")
CN = IPv6Address("2001:db8:1::2")
MS = 1_000_000


def spec(**flows: UdpFlow | TcpDownload) -> RunSpec:
    return RunSpec(topology=load_toml(REFERENCE, Topology), flows=flows)


def udp(port: int, interval_ms: float = 20.0) -> UdpFlow:
    return UdpFlow(anchor="wlan", start="wlan", port=port, interval_ms=interval_ms)


def where(run: RunSpec) -> Mapping[str, IPv6Address]:
    return dict.fromkeys(run.flows, MN)


def test_packet_k_leaves_at_an_absolute_instant() -> None:
    stream = UdpStream(1, CN, MN, 5001, 20.0, 172, from_s=5.0, until_s=5.1, offset_ms=3)
    assert list(stream.instants_ns(7 * MS)) == [7 * MS + (5003 + 20 * k) * MS for k in range(5)]


def test_no_packet_leaves_at_or_after_the_end() -> None:
    stream = UdpStream(1, CN, MN, 5001, 20.0, 172, from_s=0.0, until_s=0.1, offset_ms=0)
    assert max(stream.instants_ns(0)) == 80 * MS


def test_a_fractional_interval_does_not_drift() -> None:
    stream = UdpStream(1, CN, MN, 5001, 0.1, 172, from_s=0.0, until_s=1.0)
    assert list(stream.instants_ns(0)) == [k * 100_000 for k in range(10_000)]


def test_streams_of_a_run_never_start_a_packet_at_the_same_instant() -> None:
    run = spec(a=udp(5001), b=udp(5002), c=udp(5003))
    streams = udp_streams(run, "cn", where(run)) + udp_streams(run, "mn", where(run))
    instants = [departure.instant_ns for departure in departures(streams, 0)]
    assert instants == sorted(instants)
    assert len(set(instants)) == len(instants)
    assert all(instant % MS == 0 for instant in instants)


def test_departures_interleave_streams_and_count_each_from_0() -> None:
    run = spec(a=udp(5001), b=udp(5002))
    ordered = departures(udp_streams(run, "cn", where(run)), 0)
    first = [departure[1:] for departure in islice(ordered, 4)]
    assert first == [(0, 0), (1, 0), (0, 1), (1, 1)]


def test_each_side_sends_from_its_own_address() -> None:
    run = spec(a=udp(5001))
    (down,), (up,) = (udp_streams(run, side, where(run)) for side in ("cn", "mn"))
    assert (down.source, down.destination) == (CN, MN)
    assert (up.source, up.destination) == (MN, CN)


@pytest.mark.parametrize(
    ("directions", "sends"), [("both", (10, 10)), ("down", (10, 0)), ("up", (0, 10))]
)
def test_a_flow_in_one_direction_is_received_all_the_same(
    directions: Any, sends: tuple[int, int]
) -> None:
    flow = UdpFlow(anchor="wlan", start="wlan", port=5001, until_s=5.2, directions=directions)
    run = spec(a=flow)
    streams = [udp_streams(run, side, where(run)) for side in ("cn", "mn")]
    assert [len(of_side) for of_side in streams] == [1, 1], "each has a socket"
    assert tuple(len(list(stream.instants_ns(0))) for (stream,) in streams) == sends


def test_flow_ids_follow_the_spec_and_tcp_has_one_too() -> None:
    tcp = TcpDownload(anchor="wlan", start="wlan", port=5201)
    run = spec(bulk=tcp, voice=udp(5001))
    assert flow_ids(run) == {"bulk": 1, "voice": 2}
    (transfer,) = tcp_transfers(run, where(run))
    assert (transfer.fid, transfer.sender, transfer.receiver) == (1, CN, MN)
    assert [stream.fid for stream in udp_streams(run, "cn", where(run))] == [2]


@pytest.mark.parametrize("side", ["cn", "mn"])
def test_a_run_without_udp_flows_has_no_streams(side: str) -> None:
    run = spec(bulk=TcpDownload(anchor="wlan", start="wlan", port=5201))
    assert udp_streams(run, side, where(run)) == []  # type: ignore[arg-type]
