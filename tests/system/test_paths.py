"""Paths made by a controller: what LMA and MAGs do to packets, as their links see it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from experiments.analysis.event_log import read_events
from experiments.engines.kernel_cache import Kernel
from nodes.wire.tool import decode_capture
from tests.system import tables, wire
from tests.system.guest_checks.decision_checks import DECISION_S
from tests.system.steered import (
    FIRST_KEY,
    LMA,
    MAG1,
    MAG2,
    MODES,
    STAY,
    A,
    Course,
    course,
    path_to,
)

TUNNEL_HEADER = {"sdn-core": 0, "sdn-assisted": 40}
# Each mode with each framework, each prefix model, and each way and time of signalling a prefix.
VARIANTS: dict[str, dict[str, Any]] = {
    "core": {"data_plane": "sdn-core"},
    "core-shared-ryu": {"data_plane": "sdn-core", "prefix_model": "shared", "framework": "ryu"},
    "core-on-send": {"data_plane": "sdn-core", "switch": "on-send"},
    "core-at-attach": {"data_plane": "sdn-core", "prefix_delivery": "at-attach"},
    "assisted-ryu": {"data_plane": "sdn-assisted", "framework": "ryu"},
    "assisted-shared": {"data_plane": "sdn-assisted", "prefix_model": "shared"},
    "assisted-on-send": {"data_plane": "sdn-assisted", "switch": "on-send"},
    "assisted-hybrid": {"data_plane": "sdn-assisted", "prefix_model": "hybrid"},
}


@pytest.fixture(scope="module", params=VARIANTS.values(), ids=VARIANTS.keys())
def moved(
    request: pytest.FixtureRequest, kernel: Kernel, tmp_path_factory: pytest.TempPathFactory
) -> Course:
    return course(kernel, tmp_path_factory.mktemp("moved"), "path_checks.move", **request.param)


@pytest.fixture
def assisted(moved: Course) -> Course:
    if moved.mode != "sdn-assisted":
        pytest.skip("there are no tunnels in this mode")
    return moved


def test_moves_there_and_back_lose_and_double_nothing(moved: Course) -> None:
    assert [answer["ok"] for answer in moved.result["answers"]] == [True, True]
    assert not moved.lost(A)
    assert len(moved.received(A)["cell"]) > 50
    assert moved.received(STAY) == {"wlan": moved.sent(STAY), "cell": set()}
    moved.assert_each_packet_takes_one_way()
    moved.assert_agreed(moved.result["end"])


def test_uplink_arrives_too(moved: Course) -> None:
    for flow in (A, STAY):
        assert not moved.uplink_lost(flow)


def test_the_prefix_comes_to_the_new_mag_as_its_model_says_rfc7864_3_2_3_3(
    moved: Course,
) -> None:
    """With the move, or before, or not at all."""
    capture = decode_capture(moved.folder / "wire" / "lma-s1.pcapng")
    notified_s = []
    for message in capture:
        if message["message"] == "UpdateNotification":
            seconds, _, fraction = message["time"].partition(".")
            at_ns = int(seconds) * 1_000_000_000 + int(fraction) - moved.result["start_ns"]
            notified_s.append(at_ns / 1e9)
    if moved.protocol.prefix_model != "unique":
        assert notified_s == []
    elif moved.protocol.prefix_delivery == "on-move":
        assert notified_s == pytest.approx([6.0], abs=0.001)
    else:
        # The first MAG gets the prefix of the access that attaches at 2 s, the other has its PBA.
        assert notified_s == pytest.approx([2.0], abs=0.05)


def test_the_label_that_the_sender_gave_arrives_rfc6437_3(moved: Course) -> None:
    sent = {d.mark: d.flow_label for d in moved.at("cn-lma", outbound=True) if d.mark is not None}
    assert all(sent.values())
    for interface in ("mn-wlan", "mn-cell"):
        for datagram in moved.at(interface, outbound=False):
            if datagram.mark is not None:
                assert datagram.flow_label == sent[datagram.mark]


def test_packets_have_the_headers_that_docs_sdn_says(moved: Course) -> None:
    """Between LMA and MAG: those of a tunnel, or none."""
    for interface in ("lma-s1", "mag1-s3", "mag2-s4"):
        for outbound in (True, False):
            packets = moved.at(interface, outbound=outbound)
            data = [d for d in packets if d.innermost.mark is not None]
            assert {d.innermost.length for d in data} == {236}
            assert {d.length - d.innermost.length for d in data} == {TUNNEL_HEADER[moved.mode]}


def test_a_flow_stays_in_its_anchors_tunnel_and_a_switch_changes_its_end(assisted: Course) -> None:
    labels = {}
    for flow in (A, STAY):
        packets = assisted.in_tunnels("lma-s1", flow, outbound=True)
        assert {(d.source, d.destination) for d in packets} == {(LMA, MAG1)}
        (labels[flow],) = {d.flow_label for d in packets}
    assert labels[A] != labels[STAY]
    assert 0 not in labels.values()
    arrived = assisted.in_tunnels("mag2-s4", A, outbound=False)
    assert {(d.source, d.destination) for d in arrived} == {(LMA, MAG2)}
    assert set(wire.marks(arrived, A)) == assisted.received(A)["cell"]


def test_switches_count_the_flows(moved: Course) -> None:
    """With tunnels there is a rule, which counts, only while a flow is not at its anchor."""
    counted = {flow["fid"]: flow for flow in moved.result["statistics"]}
    if moved.mode == "sdn-assisted":
        assert counted[STAY]["paths"] == []
        return
    (path,) = counted[STAY]["paths"]
    assert (path["mags"], path["access"]) == ([str(MAG1)], ["wlan"])
    # The last report is up to a second old.
    assert len(moved.sent(STAY)) / 2 < path["packets"] <= len(moved.sent(STAY))
    assert path["octets"] > path["packets"] * 200


@pytest.mark.parametrize("mode", MODES)
def test_copies_are_made_where_the_paths_part_rfc6089_5_3_6(
    kernel: Kernel, tmp_path: Path, mode: str
) -> None:
    """A packet for both accesses leaves the LMA once, and s2 twice."""
    found = course(kernel, tmp_path, "path_checks.copies", data_plane=mode)
    assert [answer["ok"] for answer in found.result["answers"]] == [True, True]
    seen = {
        name: wire.marks(found.at(name, outbound=outbound), A)
        for name, outbound in (
            ("s1-s2", True),
            ("s2-s3", True),
            ("s2-s4", True),
            ("mn-wlan", False),
            ("mn-cell", False),
        )
    }
    assert all(count == 1 for counts in seen.values() for count in counts.values())
    assert set(seen["s1-s2"]) == found.sent(A)
    assert seen["s2-s3"] == seen["mn-wlan"]
    assert seen["s2-s4"] == seen["mn-cell"]
    assert set(seen["mn-wlan"]) | set(seen["mn-cell"]) == found.sent(A), "none is lost"
    # From 6 to 7.5 s, every 20 ms.
    assert 70 <= len(seen["mn-wlan"] & seen["mn-cell"]) <= 77
    rules = tables.ways(tables.read(found.result["both"]["tables"]), tables.FLOW)[FIRST_KEY]
    both = {"s2": {"s3", "s4"}}
    assert rules == ({**path_to("mag1"), **path_to("mag2"), **both} if mode == "sdn-core" else both)
    found.assert_agreed(found.result["end"])
    assert found.received(STAY) == {"wlan": found.sent(STAY), "cell": set()}
    assert not found.uplink_lost(A)


@pytest.mark.parametrize("model", ["shared", "unique"])
def test_with_tunnels_the_lma_follows_a_node_that_decides_rfc7864_3_1(
    kernel: Kernel, tmp_path: Path, model: str
) -> None:
    """In `sdn-core` that is refused (tests/nodes/test_controller_config.py)."""
    found = course(
        kernel,
        tmp_path,
        "path_checks.deciding",
        {"moves": []},
        data_plane="sdn-assisted",
        decision_maker="mn",
        prefix_model=model,
        prefix_delivery="at-attach",
    )
    assert found.result["bound"]["ok"]
    assert not found.lost(A)
    assert not found.uplink_lost(A)
    found.assert_each_packet_takes_one_way()
    found.assert_agreed(found.result["end"])
    assert [flow["access"] for flow in found.result["end"]["flows"]] == [["cell"], ["wlan"]]
    up = [d for d in found.at("mn-cell", outbound=True) if (d.mark or (0, 0))[0] == A]
    # A packet every 20 ms, which is seen when it leaves the access' queue.
    assert DECISION_S + 0.025 < found.at_s(up[0]) < DECISION_S + 0.046
    # To the LMA 10 ms, to s2 20 ms, the way from there 27.1 ms; and the next packet at s2.
    first = found.over("cell", A, 0, 20)[0]
    assert 0.057 < found.at_s(first) - found.at_s(up[0]) < 0.078
    assert found.received(STAY) == {"wlan": found.sent(STAY), "cell": set()}


def test_what_switches_count_moves_a_flow_off_a_full_access(kernel: Kernel, tmp_path: Path) -> None:
    """Two flows of 12,500 octets/s each, and an access for 20,000: one of them goes."""
    balance = {"kind": "load-balance", "capacities": {"wlan": 20_000, "cell": 100_000}}
    found = course(
        kernel,
        tmp_path,
        "path_checks.left_alone",
        {"moves": []},
        data_plane="sdn-core",
        policies=[balance],
    )
    (event,) = [e for e in read_events(found.folder / "events", 0) if e.event == "triggered"]
    assert event.detail["reason"] == "load of wlan is 125 %, of cell 0 %"
    assert event.detail["fid"] == STAY, "the one with the least precedence"
    assert not found.received(A)["cell"]
    on_cell = found.over("cell", STAY, 0, 20)
    # The packets begin at 5 s; the first report of a full second comes at 6.6 s.
    assert 6.6 < found.at_s(on_cell[0]) < 6.8
    found.assert_nothing_lost()
    assert max(found.sent(STAY)) in found.received(STAY)["cell"]
    found.assert_each_packet_takes_one_way()
    found.assert_agreed(found.result["end"])


@pytest.mark.parametrize(
    ("protocol", "largest"),
    [
        ({"data_plane": "sdn-core"}, 1452),
        ({"data_plane": "sdn-core", "fallback": "tunnel"}, 1412),
        ({"data_plane": "sdn-assisted"}, 1412),
    ],
)
def test_packets_may_be_as_large_as_the_path_lets_them(
    kernel: Kernel, tmp_path: Path, protocol: dict[str, str], largest: int
) -> None:
    """UDP payloads of 1452 octets fill a link, of 1412 one with a tunnel's header more. Natively
    the CN's are not refused, whatever the mobile node is told to send."""
    found = course(kernel, tmp_path, "path_checks.oversized", **protocol)
    refused = [what for what, error in found.result.items() if error]
    from_cn = 1452 if protocol["data_plane"] == "sdn-core" else 1412
    sizes = (1412, 1413, 1452, 1453)
    assert refused == [
        "cn probe 1453",
        *(f"cn no-fragment {size}" for size in (1412, 1413, 1452) if size > from_cn),
        *(f"mn no-fragment {size}" for size in sizes if size > largest),
    ]
    arrived = [d for d in found.at("cn-lma", outbound=False) if d.next_header == wire.UDP]
    assert max(d.length for d in arrived) == largest + 48
