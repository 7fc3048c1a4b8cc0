from __future__ import annotations

import math
from ipaddress import IPv6Address
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.analysis.packets import COLUMNS, csv_gz, extract, read_packets
from experiments.captures.pcapng import PcapngWriter
from experiments.declaration.experiment import TOPOLOGIES
from experiments.declaration.spec import RunSpec
from nodes.strict import read_toml
from tests.experiments.synthetic import (
    CN,
    CN_LMA,
    LMA,
    LMA_CORE,
    MN,
    PROXY_COA,
    START_NS,
    Recorder,
    ipv6,
    mobility_message,
    run_spec,
    tcp,
    udp,
)

SPEC = run_spec()
DOWNLOAD = {"d": {"kind": "tcp", "anchor": "wlan", "start": "wlan", "port": 5201}}
TCP_SPEC = run_spec(flows=DOWNLOAD, moves=[])


def table(recorder: Recorder, folder: Path, spec=SPEC, snaplen: int = 180) -> list[dict]:
    path = folder / "captures.pcapng"
    recorder.write(path, snaplen)
    frame = extract(path.read_bytes(), spec, START_NS)
    assert list(frame.columns) == COLUMNS
    return [
        {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in row.items()
        }
        for row in frame.to_dict("records")
    ]


def row(flow, direction, sequence, size, sent, lma, via, received, access) -> dict:
    overhead = -1 if lma is None else 40
    values = (flow, direction, sequence, size, sent, lma, via, received, access, overhead)
    return dict(zip(COLUMNS, values, strict=True))


def test_a_packet_each_way_and_one_lost_on_each_link(tmp_path: Path) -> None:
    net = Recorder()
    one, two, three = (udp(5001, 1, number, 172) for number in range(3))
    net.seen("cn", "down", 5000, one)
    net.seen("lma", "down", 5005.001, one, "wlan")
    net.seen("mn", "down", 5017.1239, one, "wlan")  # 10 us resolution, rounded down
    net.seen("cn", "down", 5020, two)
    net.seen("cn", "down", 5040, three)
    net.seen("lma", "down", 5045, three, "cell")
    net.seen("mn", "up", 5000, one, "cell")
    net.seen("lma", "up", 5035, one, "cell")
    net.seen("cn", "up", 5040, one)
    net.seen("mn", "up", 5020, two, "wlan")
    net.seen("mn", "up", 5040, three, "wlan")
    net.seen("lma", "up", 5052, three, "wlan")
    assert table(net, tmp_path) == [
        row("a", "down", 0, 172, 5.0, 5.005, "wlan", 5.01712, "wlan"),
        row("a", "down", 1, 172, 5.02, None, "", None, ""),
        row("a", "down", 2, 172, 5.04, 5.045, "cell", None, ""),
        row("a", "up", 0, 172, 5.0, 5.035, "cell", 5.04, "cell"),
        row("a", "up", 1, 172, 5.02, None, "", None, "wlan"),
        row("a", "up", 2, 172, 5.04, 5.052, "wlan", None, "wlan"),
    ]


def test_copies_over_both_accesses_keep_their_own_past(tmp_path: Path) -> None:
    net = Recorder()
    packet = udp(5002, 2, 7, 172)
    net.seen("cn", "down", 100, packet)
    net.seen("lma", "down", 105, packet, "wlan")
    net.seen("lma", "down", 106, packet, "cell")
    net.seen("mn", "down", 117, packet, "wlan")
    net.seen("mn", "down", 118, packet, "wlan")  # duplicated on the last link
    net.seen("mn", "down", 141, packet, "cell")
    assert table(net, tmp_path) == [
        row("b", "down", 7, 172, 0.1, 0.105, "wlan", 0.117, "wlan"),
        row("b", "down", 7, 172, 0.1, 0.105, "wlan", 0.118, "wlan"),
        row("b", "down", 7, 172, 0.1, 0.106, "cell", 0.141, "cell"),
    ]


def test_uplink_copies_are_matched_in_order(tmp_path: Path) -> None:
    net = Recorder()
    packet = udp(5002, 2, 7, 172)
    net.seen("mn", "up", 100, packet, "cell")
    net.seen("mn", "up", 101, packet, "wlan")
    net.seen("lma", "up", 113, packet, "wlan")
    net.seen("lma", "up", 135, packet, "cell")
    net.seen("cn", "up", 118, packet)
    net.seen("cn", "up", 140, packet)
    assert table(net, tmp_path) == [
        row("b", "up", 7, 172, 0.1, 0.135, "cell", 0.14, "cell"),
        row("b", "up", 7, 172, 0.101, 0.113, "wlan", 0.118, "wlan"),
    ]


def steered(data_plane: str) -> RunSpec:
    return run_spec(
        topology=read_toml(TOPOLOGIES / "sdn.toml"), protocol={"data_plane": data_plane}
    )


def on_switches(net: Recorder, folder: Path, data_plane: str) -> list[dict]:
    """The rows of packets whose capture at the LMA is that of the switched topology."""
    path = folder / "captures.pcapng"
    with path.open("wb") as file:
        writer = PcapngWriter(file, ["cn-lma", "lma-s1", "mn-wlan", "mn-cell"], 180)
        for frame in sorted(net.frames, key=lambda frame: frame.timestamp_ns):
            writer.packet(
                frame.interface, frame.timestamp_ns, frame.data, len(frame.data), frame.outbound
            )
    return extract(path.read_bytes(), steered(data_plane), START_NS).to_dict("records")


def test_native_packets_show_their_access_at_the_mn_only(tmp_path: Path) -> None:
    net = Recorder()
    down, up, lost = (udp(5001, 1, number, 172) for number in range(3))
    net.seen("cn", "down", 100, down)
    net.add(LMA_CORE, 105, True, ipv6(17, CN, MN, down))
    net.seen("mn", "down", 117, down, "wlan")
    net.seen("mn", "down", 141, down, "cell")  # two copies that a switch made of one packet
    net.seen("mn", "up", 100, up, "cell")
    net.add(LMA_CORE, 135, False, ipv6(17, MN, CN, up))
    net.seen("cn", "up", 140, up)
    net.seen("cn", "down", 120, lost)
    net.add(LMA_CORE, 125, True, ipv6(17, CN, MN, lost))
    found = on_switches(net, tmp_path, "sdn-core")
    shown = [
        (r["direction"], r["sequence"], r["lma_s"], r["lma_access"], r["access"]) for r in found
    ]
    assert shown == [
        ("down", 0, 0.105, "wlan", "wlan"),
        ("down", 0, 0.105, "cell", "cell"),
        ("down", 2, 0.125, "", ""),
        ("up", 1, 0.135, "cell", "cell"),
    ]
    assert {row["overhead"] for row in found} == {0}
    assert on_switches(net, tmp_path, "tunnel")[0]["overhead"] == -1  # none of that mode's


def test_an_anchors_tunnel_says_nothing_about_the_access(tmp_path: Path) -> None:
    net = Recorder()
    coa = {name: IPv6Address(f"2001:db8:10::1{n}").packed for name, n in (("wlan", 1), ("cell", 2))}
    packet = udp(5001, 1, 0, 172)
    net.seen("cn", "down", 100, packet)
    net.add(LMA_CORE, 105, True, ipv6(41, LMA, coa["wlan"], ipv6(17, CN, MN, packet)))
    net.seen("mn", "down", 141, packet, "cell")
    net.seen("mn", "up", 100, packet, "wlan")
    net.add(LMA_CORE, 112, False, ipv6(41, coa["wlan"], LMA, ipv6(17, MN, CN, packet)))
    net.seen("cn", "up", 117, packet)
    down, up = on_switches(net, tmp_path, "sdn-assisted")
    assert (down["lma_access"], down["access"], down["overhead"]) == ("cell", "cell", 40)
    assert (up["lma_access"], up["access"]) == ("wlan", "wlan")


def test_other_traffic_is_left_out(tmp_path: Path) -> None:
    net = Recorder()
    net.seen("cn", "down", 1, udp(6000, 1, 0, 172))  # another port
    net.seen("cn", "down", 1, udp(5001, 2, 0, 172))  # flow b's identifier on a's port
    net.add(CN_LMA, 1, True, ipv6(58, LMA, LMA, b"\x88" + bytes(31)))
    net.add(LMA_CORE, 1, True, ipv6(135, LMA, PROXY_COA["wlan"], mobility_message(19, 1)))
    stranger = bytes(15) + b"\x09"
    net.add(LMA_CORE, 1, True, ipv6(41, LMA, stranger, ipv6(17, LMA, LMA, udp(5001, 1, 0, 172))))
    assert table(net, tmp_path) == []


def test_frames_cut_short_and_empty_captures(tmp_path: Path) -> None:
    net = Recorder()
    net.seen("cn", "down", 1, udp(5001, 1, 0, 172))
    assert table(net, tmp_path, snaplen=60) == []
    assert table(Recorder(), tmp_path) == []


def test_tcp_sequence_is_relative_also_across_the_wrap(tmp_path: Path) -> None:
    net = Recorder()
    initial = 2**32 - 700
    net.seen("cn", "down", 0, tcp(5201, True, initial, 0, 1, flags=0x12))
    net.seen("cn", "down", 10, tcp(5201, True, initial + 1, 1000, 10))
    net.seen("mn", "down", 30, tcp(5201, True, initial + 1, 1000, 10), "wlan")
    net.seen("cn", "down", 11, tcp(5201, True, initial + 1001, 500, 11))
    net.seen("mn", "up", 31, tcp(5201, False, 900, 0, 31), "wlan")  # an acknowledgement: no data
    rows = table(net, tmp_path, TCP_SPEC)
    assert [(r["sequence"], r["bytes"], r["received_s"]) for r in rows] == [
        (1, 1000, 0.03),
        (1001, 500, None),
    ]


def test_tcp_retransmission_is_told_from_the_original(tmp_path: Path) -> None:
    net = Recorder()
    net.seen("cn", "down", 10, tcp(5201, True, 1, 1000, stamp=10))
    net.seen("cn", "down", 250, tcp(5201, True, 1, 1000, stamp=250))
    net.seen("lma", "down", 255, tcp(5201, True, 1, 1000, stamp=250), "cell")
    net.seen("mn", "down", 290, tcp(5201, True, 1, 1000, stamp=250), "cell")
    assert table(net, tmp_path, TCP_SPEC) == [
        row("d", "down", 1, 1000, 0.01, None, "", None, ""),
        row("d", "down", 1, 1000, 0.25, 0.255, "cell", 0.29, "cell"),
    ]


def test_csv_is_reproducible_and_reads_back(tmp_path: Path) -> None:
    net = Recorder()
    for number in range(3):
        net.seen("cn", "down", 0.07 + 20 * number, udp(5001, 1, number, 172))
    net.seen("mn", "down", 37.01, udp(5001, 1, 1, 172), "wlan")
    path = tmp_path / "captures.pcapng"
    net.write(path)
    frame = extract(path.read_bytes(), SPEC, START_NS)
    data = csv_gz(frame)
    assert data == csv_gz(frame.copy())
    assert data[4:8] == bytes(4)  # RFC 1952: MTIME
    (tmp_path / "packets.csv.gz").write_bytes(data)
    again = read_packets(tmp_path / "packets.csv.gz")
    pd.testing.assert_frame_equal(again, frame, check_dtype=False)
    assert np.isnan(again["lma_s"]).all()


def test_a_capture_without_directions_is_refused(tmp_path: Path) -> None:
    net = Recorder()
    net.seen("cn", "down", 1, udp(5001, 1, 0, 172))
    path = tmp_path / "captures.pcapng"
    net.write(path)
    data = bytearray(path.read_bytes())
    data[-12:-8] = bytes(4)  # epb_flags: direction not told
    with pytest.raises(ValueError, match="without a direction"):
        extract(bytes(data), SPEC, START_NS)
