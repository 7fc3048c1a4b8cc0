from pathlib import Path

import msgspec
import pytest

from experiments.captures.capture_plan import (
    BLOCK_BYTES,
    CHANNEL_FRAME_BYTES,
    CONTROL_FRAME_BYTES,
    CONTROL_FRAMES,
    Expected,
    channel_frames,
    channels,
    control_frames,
    expected_frames,
    places,
    ring_bytes,
    ring_frames,
)
from experiments.declaration.flows import QuicDownload, TcpDownload, UdpFlow
from experiments.declaration.spec import Move, Protocol, RunSpec, UplinkMove
from experiments.engines.guest import MEMORY_MIB, memory_mib
from nodes.strict import load_toml
from tests.experiments.synthetic import write_job
from topologies.model import Topology

REFERENCE = Path(__file__).parents[3] / "topologies" / "reference.toml"


def spec(moves: tuple[Move, ...] = (), **flows: UdpFlow | TcpDownload) -> RunSpec:
    return RunSpec(topology=load_toml(REFERENCE, Topology), flows=flows, moves=moves)


def test_a_udp_flow_counts_at_every_access_that_it_may_use() -> None:
    flow = UdpFlow(anchor="wlan", start="wlan", port=5001, from_s=5.0, until_s=29.0)
    stays = expected_frames(spec(a=flow))
    assert stays["mn-cell"] == Expected(0, 0)
    moves = expected_frames(spec((Move("a", "cell", 10.0),), a=flow))
    assert set(moves) == {"cn-lma", "lma-core", "mn-wlan", "mn-cell"}
    assert set(moves.values()) == {Expected(1200, 1200)}


def test_a_policy_may_move_any_flow_anywhere() -> None:
    flow = UdpFlow(anchor="wlan", start="wlan", port=5001, from_s=5.0, until_s=29.0)
    policies = Protocol(policies=({"kind": "link-quality", "access": "wlan"},))
    decides = expected_frames(msgspec.structs.replace(spec(a=flow), protocol=policies))
    assert decides["mn-cell"] == decides["mn-wlan"] == Expected(1200, 1200)


def test_an_mn_may_put_the_uplink_of_a_flow_elsewhere() -> None:
    flow = UdpFlow(anchor="wlan", start="wlan", port=5001, from_s=5.0, until_s=29.0)
    move = UplinkMove("a", "cell", 10.0)
    decides = msgspec.structs.replace(
        spec(a=flow), protocol=Protocol(uplink="own"), uplink_moves=(move,)
    )
    assert expected_frames(decides)["mn-cell"] == Expected(1200, 1200)


def test_tcp_fills_the_fastest_line_and_is_not_captured_at_the_lma() -> None:
    flow = TcpDownload(anchor="cell", start="cell", port=5201, from_s=5.0, until_s=15.0)
    counts = expected_frames(spec(a=flow))
    segments = round(20e6 * 10 / 8 / 1500) + 1
    assert counts["mn-cell"].inbound == pytest.approx(segments, abs=1)
    assert counts["cn-lma"].outbound == counts["mn-cell"].inbound
    assert counts["lma-core"] == counts["mn-wlan"] == Expected(0, 0)


def test_quic_is_captured_at_the_lma_too_with_an_acknowledgement_for_each_packet() -> None:
    flow = QuicDownload(anchor="cell", start="cell", port=5201, from_s=5.0, until_s=15.0)
    counts = expected_frames(spec(a=flow))
    segments = counts["mn-cell"].inbound
    assert segments == pytest.approx(20e6 * 10 / 8 / 1500, abs=1)
    assert counts["mn-cell"] == Expected(segments, segments)
    assert counts["lma-core"] == counts["cn-lma"] == Expected(segments, segments)


def test_tcp_flows_share_a_line() -> None:
    one = TcpDownload(anchor="cell", start="cell", port=5201, from_s=5.0, until_s=15.0)
    two = TcpDownload(anchor="cell", start="cell", port=5202, from_s=5.0, until_s=15.0)
    assert expected_frames(spec(a=one, b=two)) == expected_frames(spec(a=one))


@pytest.mark.parametrize("expected", [0, 1, 10_000])
def test_rings_are_whole_blocks_with_room_to_spare(expected: int) -> None:
    frames = ring_frames(expected, 256)
    assert frames * 256 % BLOCK_BYTES == 0
    assert frames >= expected * 1.25


def test_a_controllers_connections_are_no_places_of_flows() -> None:
    switched = load_toml(REFERENCE.with_name("sdn.toml"), Topology)
    described = msgspec.structs.replace(spec(), topology=switched)
    assert [place.interface for place in places(described)] == [
        "cn-lma",
        "lma-s1",
        "mn-wlan",
        "mn-cell",
    ]
    assert [place.interface for place in channels(switched)] == [
        "controller-lma",
        *(f"controller-s{number}" for number in range(1, 5)),
    ]
    assert not channels(load_toml(REFERENCE, Topology))


def test_a_ring_of_a_channel_holds_statistics_of_every_second() -> None:
    short, long = (msgspec.structs.replace(spec(), duration_s=s) for s in (1.0, 100.0))
    assert channel_frames(long) - channel_frames(short) >= 99 * 4
    assert channel_frames(short) * CHANNEL_FRAME_BYTES % BLOCK_BYTES == 0


def test_a_paced_download_takes_no_more_than_its_rate() -> None:
    fast = TcpDownload(anchor="cell", start="cell", port=5201, from_s=5.0, until_s=15.0)
    slow = msgspec.structs.replace(fast, rate_mbit=5.0)
    counts = expected_frames(spec(a=slow))
    assert counts["mn-cell"].inbound == pytest.approx(5e6 * 10 / 8 / 1500, abs=1)
    # One that isn't paced may fill the line.
    assert expected_frames(spec(a=slow, b=fast)) == expected_frames(spec(a=fast))


def test_a_guest_has_the_memory_that_its_captures_take(tmp_path: Path) -> None:
    short = TcpDownload(anchor="wlan", start="wlan", port=5201, from_s=5.0, until_s=6.0)
    long = msgspec.structs.replace(short, until_s=65.0)
    write_job(tmp_path, spec(a=short), ())
    assert memory_mib(tmp_path) == MEMORY_MIB
    write_job(tmp_path, spec(a=long), ())
    assert memory_mib(tmp_path) > MEMORY_MIB + (ring_bytes(spec(a=long)) >> 20) - 30


def test_of_several_mobile_nodes_those_with_flows_are_captured() -> None:
    flow = UdpFlow(anchor="wlan", start="wlan", port=5001, mn=3)
    topology = load_toml(REFERENCE, Topology)
    nodes = topology.nodes | {"mn": msgspec.structs.replace(topology.nodes["mn"], count=4)}
    several = msgspec.structs.replace(topology, nodes=nodes)
    described = RunSpec(topology=several, flows={"a": flow})
    names = ["cn-lma", "lma-core", "mn-wlan", "mn-cell", "mn3-wlan3", "mn3-cell3"]
    assert [place.interface for place in places(described)] == names
    expected = expected_frames(described)
    assert expected["mn3-wlan3"] == (1200, 1200)
    assert expected["mn-wlan"] == expected["mn3-cell3"] == (0, 0)


def test_the_signalling_of_each_mobile_node_more_has_room() -> None:
    """Two registrations and a move of each are captured whole; 600 messages arrive of 200 nodes."""
    topology = load_toml(REFERENCE, Topology)

    def with_nodes(count: int) -> RunSpec:
        mn = msgspec.structs.replace(topology.nodes["mn"], count=count)
        several = msgspec.structs.replace(topology, nodes=topology.nodes | {"mn": mn})
        return RunSpec(topology=several, flows={})

    assert control_frames(with_nodes(1)) == CONTROL_FRAMES
    assert control_frames(with_nodes(200)) >= CONTROL_FRAMES + 199 * 6
    assert control_frames(with_nodes(2)) % (BLOCK_BYTES // CONTROL_FRAME_BYTES) == 0
