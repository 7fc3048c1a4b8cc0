from __future__ import annotations

import struct
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

from experiments.analysis.sequence_chart import (
    Step,
    access_steps,
    first_packets,
    mermaid,
    signalling_steps,
)
from experiments.captures.pcapng import PcapngWriter
from nodes.neighbour_discovery import PrefixInformation, RouterAdvertisement, RouterSolicitation
from nodes.neighbour_discovery import encode as encode_discovery
from nodes.wire.codec import encode
from nodes.wire.messages import (
    Message,
    ProxyBindingAcknowledgement,
    ProxyBindingUpdate,
    UpdateNotification,
    UpdateNotificationAcknowledgement,
)
from nodes.wire.options import HandoffIndicator, HomeNetworkPrefix, MobileNodeIdentifier

LMA, MAG = IPv6Address("2001:db8:10::1"), IPv6Address("2001:db8:12::1")
NAMES = {LMA: "LMA", MAG: "MAG2"}
PREFIX = IPv6Network("2001:db8:100::/64")
ROUTER, HOST = IPv6Address("fe80::1"), IPv6Address("fe80::2")
MN = MobileNodeIdentifier.of("mn1@example.org")
OFF_LINK = HomeNetworkPrefix.of(PREFIX, off_link=True)


def frame(source: IPv6Address, destination: IPv6Address, protocol: int, payload: bytes) -> bytes:
    header = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64)
    return bytes(12) + b"\x86\xdd" + header + source.packed + destination.packed + payload


def capture(path: Path, *packets: tuple[int, bytes, bool]) -> Path:
    """Packets are time in ms, frame, whether it is outbound."""
    with path.open("wb") as file:
        writer = PcapngWriter(file, ["link"])
        for time_ms, data, outbound in packets:
            writer.packet(0, time_ms * 1_000_000, data, len(data), outbound)
    return path


def mobility(message: Message, *, from_lma: bool) -> bytes:
    source, destination = (LMA, MAG) if from_lma else (MAG, LMA)
    return frame(source, destination, 135, encode(message, source, destination))


def test_signalling_is_named_as_the_rfcs_do_and_losses_are_seen(tmp_path: Path) -> None:
    first = mobility(UpdateNotification(7, 8, (MN, OFF_LINK), True), from_lma=True)
    again = mobility(UpdateNotification(7, 8, (MN, OFF_LINK), True, True), from_lma=True)
    answer = mobility(UpdateNotificationAcknowledgement(7, 0, (MN, OFF_LINK)), from_lma=False)
    other = mobility(UpdateNotificationAcknowledgement(8, 132, (MN,)), from_lma=False)
    at_lma = capture(
        tmp_path / "lma.pcapng",
        (0, first, True),
        (1000, again, True),
        (1020, answer, False),
        (1030, other, False),
    )
    beyond = capture(tmp_path / "beyond.pcapng", (1000, again, True), (1020, answer, False))
    steps = signalling_steps(at_lma, [beyond], NAMES)
    assert [(step.source, step.text, step.lost) for step in steps] == [
        ("LMA", "FMI seq 7 [2001:db8:100::/64 L]", True),
        ("LMA", "FMI seq 7 D [2001:db8:100::/64 L]", False),
        ("MAG2", "FMA seq 7 status 0 [2001:db8:100::/64 L]", False),
        ("MAG2", "UPA seq 8 status 132", False),
    ]


def test_registrations_show_handoff_indicator_prefixes_and_status(tmp_path: Path) -> None:
    any_prefix = HomeNetworkPrefix.of(IPv6Network("::/0"))
    options = (MN, any_prefix, HandoffIndicator(6))
    request = mobility(ProxyBindingUpdate(1, 900, options), from_lma=False)
    leave = mobility(ProxyBindingUpdate(2, 0, (MN, HandoffIndicator(4))), from_lma=False)
    refusal = mobility(ProxyBindingAcknowledgement(153, 1, 0, (MN,)), from_lma=True)
    path = capture(
        tmp_path / "lma.pcapng", (0, request, False), (1, refusal, True), (2, leave, False)
    )
    assert [step.text for step in signalling_steps(path, [path], NAMES)] == [
        "PBU HI 6 (new interface, shared prefixes) [any]",
        "PBA status 153 NOT_LMA_FOR_THIS_MOBILE_NODE",
        "PBU, deregistration HI 4 (unknown)",
    ]


def test_of_a_flow_only_the_packets_that_change_its_way_are_shown(tmp_path: Path) -> None:
    def packet(fid: int) -> bytes:
        return frame(LMA, MAG, 17, bytes(8) + b"FM" + struct.pack("!HI", fid, 0))

    wlan = capture(tmp_path / "wlan.pcapng", (0, packet(1), False), (20, packet(1), False))
    cell = capture(tmp_path / "cell.pcapng", (40, packet(1), False), (41, packet(2), False))
    steps = access_steps(wlan, "MN", "MAG1", {1: "a"}, "wlan")
    steps += access_steps(cell, "MN", "MAG2", {1: "a"}, "cell")
    assert [(step.time_ns, step.text) for step in first_packets(steps)] == [
        (0, "first packet of flow a over wlan"),
        (40_000_000, "first packet of flow a over cell"),
    ]


def test_neighbour_discovery_on_an_access(tmp_path: Path) -> None:
    advertisement = RouterAdvertisement(1800, (PrefixInformation(PREFIX),))
    solicited = encode_discovery(RouterSolicitation(), HOST, ROUTER)
    path = capture(
        tmp_path / "wlan.pcapng",
        (0, frame(HOST, ROUTER, 58, solicited), True),
        (4, frame(ROUTER, HOST, 58, encode_discovery(advertisement, ROUTER, HOST)), False),
        (5, frame(ROUTER, HOST, 58, bytes(8)), False),
    )
    steps = access_steps(path, "MN", "MAG1", {}, "wlan")
    assert [(step.source, step.text) for step in steps] == [
        ("MN", "Router Solicitation"),
        ("MAG1", "Router Advertisement [2001:db8:100::/64]"),
    ]


def test_the_diagram_is_mermaid_with_times_to_a_tenth() -> None:
    steps = [
        Step(1_040_000, "MN", "MAG1", "one; two"),
        Step(2_000_000, "LMA", "MAG1", "FMI", lost=True),
        Step(3_000_000, "MAG1", "MN", "first packet of flow a over wlan"),
    ]
    assert mermaid(steps, ("MN", "MAG1"), 0) == (
        "sequenceDiagram\n"
        "    participant MN\n"
        "    participant MAG1\n"
        "    MN->>MAG1: 1.0 ms: one, two\n"
        "    LMA-xMAG1: 2.0 ms: FMI (lost)\n"
        "    MAG1-->>MN: 3.0 ms: first packet of flow a over wlan\n"
    )
