"""The rules of flows on a real switch: it has them as they were sent, and packets on the ends of
every range leave it as the selector says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.l2 import Ether
from scapy.layers.sctp import SCTP

from experiments.engines.kernel_cache import Kernel
from nodes.packet_fields import packet_fields
from nodes.selectors import selector_of
from tests.controllers.selections import seen_by_switches
from tests.controllers.switch_model import FABRIC_MAC
from tests.system.guests import carry_out_check

HOME = "2001:db8:a::/64"
MN, CN = "2001:db8:a::9", "2001:db8:c::1"
TO_FIRST, TO_SECOND = [2], [3]
PADDING = PadN(optdata=b"\0" * 4)
MOBILITY_HEADER, ESP, DCCP, UDP_LITE = 135, 50, 33, 136

SELECTORS: list[dict[str, Any]] = [
    {},
    {"start_next_header": 17},
    {"start_next_header": 6, "end_next_header": 40},
    {"start_source_port": 1000, "end_source_port": 1999},
    {"start_next_header": 17, "start_source_port": 0, "end_source_port": 999},
    {"start_destination_port": 5001, "start_next_header": 6, "end_next_header": 17},
    {"start_source_port": 0, "end_source_port": 65535},
    {"start_traffic_class": 40, "end_traffic_class": 46 << 2},
    {"start_flow_label": 5, "end_flow_label": 1000},
    {"start_source_address": CN, "end_source_address": "2001:db8:c::fffe"},
    {"start_destination_address": "2001:db8:9::", "end_destination_address": MN},
    {
        "start_source_address": CN,
        "start_destination_address": MN,
        "start_next_header": 132,
        "start_source_port": 5000,
        "start_destination_port": 5001,
    },
]


def packets() -> list[Any]:
    def ip(**fields: Any) -> Any:
        return IPv6(**({"src": CN, "dst": MN} | fields))

    datagram = UDP(sport=5000, dport=5001) / b"datagram"
    found = [
        ip() / layer(sport=source, dport=5001)
        for layer in (UDP, TCP, SCTP)
        for source in (1, 999, 1000, 1999, 2000, 5000, 65535)
    ]
    found += [ip(tc=value) / datagram for value in (39, 40, 43, 44, 184, 187, 188, 3)]
    found += [ip(fl=value) / datagram for value in (4, 5, 1000, 1001, 0xFFFFF)]
    sources = ("2001:db8:c::", "2001:db8:c::fffe", "2001:db8:c::ffff")
    found += [ip(src=source) / datagram for source in sources]
    found += [ip(dst=to) / datagram for to in ("2001:db8:a::", "2001:db8:a::a")]
    ports = bytes.fromhex("13881389") + b"\0" * 20
    found += [ip(nh=number) / ports for number in (DCCP, UDP_LITE, ESP, 41, 5, 40)]
    found.append(ip() / ICMPv6EchoRequest())
    found.append(ip(nh=MOBILITY_HEADER) / bytes.fromhex("3b010500" + "00" * 12))
    found += [
        ip() / IPv6ExtHdrHopByHop(options=[PADDING]) / datagram,
        ip() / IPv6ExtHdrDestOpt(options=[PADDING]) / datagram,
        ip() / IPv6ExtHdrRouting(addresses=[MN], segleft=0) / datagram,
        ip() / IPv6ExtHdrFragment(id=1, m=1, offset=0, nh=17) / datagram,
        ip() / IPv6ExtHdrFragment(id=1, m=0, offset=2, nh=17) / b"the rest of it",
        ip() / IPv6ExtHdrFragment(id=1, m=0, offset=2, nh=6) / b"the rest of it",
    ]
    return found


def expected(selector: dict[str, Any], packet: Any) -> list[int]:
    fields = packet_fields(bytes(packet))
    assert fields is not None
    if fields.protocol == MOBILITY_HEADER:
        return TO_FIRST
    first = IPv6ExtHdrFragment in packet and packet[IPv6ExtHdrFragment].offset == 0
    return TO_SECOND if seen_by_switches(selector_of(selector), fields, first) else TO_FIRST


@pytest.fixture(scope="module")
def found(kernel: Kernel, tmp_path_factory: pytest.TempPathFactory) -> Any:
    frames = [bytes(Ether(dst=FABRIC_MAC) / packet).hex() for packet in packets()]
    folder: Path = tmp_path_factory.mktemp("rules")
    return carry_out_check(
        kernel,
        folder,
        "openflow_rules.tracing",
        prefix=HOME,
        selectors=SELECTORS,
        packets=frames,
    )


def test_a_switch_has_the_rules_that_it_was_sent(found: dict[str, Any]) -> None:
    assert found["errors"] == []
    assert found["same"] == [True] * len(SELECTORS)


def test_packets_leave_as_their_selector_says(found: dict[str, Any]) -> None:
    for selector, outputs in zip(SELECTORS, found["outputs"], strict=True):
        for packet, output in zip(packets(), outputs, strict=True):
            assert output == expected(selector, packet), (selector, packet.summary())


def test_deleted_rules_are_gone(found: dict[str, Any]) -> None:
    assert found["left"] == [0] * len(SELECTORS)
