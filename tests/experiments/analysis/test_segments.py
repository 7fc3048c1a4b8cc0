"""Which octets of a download a captured packet has, from packets that are made by hand."""

from __future__ import annotations

import struct
from io import BytesIO
from ipaddress import IPv6Address
from typing import NamedTuple

import numpy as np
import pytest

from experiments.analysis.segments import DOWN, UP, Segments, identify
from experiments.captures.frames import ETHERNET_BYTES, read_frames
from experiments.captures.pcapng import PcapngWriter
from experiments.declaration.flows import MptcpDownload, TcpDownload
from tests.experiments.synthetic import CN, ethernet, ipv6

PORT = 5010
WLAN, CELL = (IPv6Address(f"2001:db8:100:{n}::1").packed for n in (0, 1))
TCP = 6
SYN, ACK = 2, 16
TCP_FLOW = TcpDownload(anchor="wlan", start="wlan", port=PORT)
MPTCP_FLOW = MptcpDownload(anchor="wlan", start="wlan", port=PORT)


class Sent(NamedTuple):
    packet: bytes
    down: bool = True


def segment(
    mn: bytes, sequence: int, size: int, flags: int = ACK, stamp: int = 7, more: bytes = b""
) -> Sent:
    options = struct.pack("!BBBBII", 1, 1, 8, 10, stamp, 0) + more.ljust(
        -(-len(more) // 4) * 4, b"\1"
    )
    head = struct.pack("!HHII", PORT, 40000, sequence & 0xFFFF_FFFF, 0)
    head += struct.pack("!BBHHH", (20 + len(options)) // 4 << 4, flags, 1000, 0, 0)
    return Sent(ipv6(TCP, CN, mn, head + options + bytes(size)))


def mapping(data_sequence: int, subflow_sequence: int, size: int) -> bytes:
    """A DSS option with a data ACK of 4 octets, as Linux writes it (RFC 8684 section 3.3)."""
    fixed = struct.pack("!BBBBI", 30, 22, 2 << 4, 0x0D, 0)
    return fixed + struct.pack("!QIH", data_sequence, subflow_sequence, size)


def identified(flow: TcpDownload, *sent: Sent) -> Segments:
    file = BytesIO()
    writer = PcapngWriter(file, ["cn-lma"], 2000)
    for number, one in enumerate(sent):
        frame = ethernet(one.packet)
        writer.packet(0, 1_000_000 * number, frame, len(frame), one.down)
    _, frames = read_frames(file.getvalue())
    inner = np.full(len(frames.start), ETHERNET_BYTES, dtype=np.int64)
    direction = np.where(frames.outbound, DOWN, UP)
    return identify(flow, frames, inner, frames.field(inner + 6, 1), direction)


def test_the_first_octet_after_the_syn_is_1() -> None:
    found = identified(
        TCP_FLOW,
        segment(WLAN, 0xFFFF_FFFE, 0, SYN | ACK),
        segment(WLAN, 0xFFFF_FFFF, 100),
        segment(WLAN, 99, 50),
    )
    assert found.which.tolist() == [False, True, True]
    assert found.sequence[1:].tolist() == [1, 101]
    assert found.size[1:].tolist() == [100, 50]


def test_octets_of_a_second_connection_are_new() -> None:
    found = identified(
        TCP_FLOW,
        segment(WLAN, 1000, 0, SYN | ACK),
        segment(WLAN, 1001, 100),
        segment(CELL, 500, 0, SYN | ACK),
        segment(CELL, 501, 100),
    )
    assert found.sequence[found.which].tolist() == [1, (1 << 32) + 1]


def test_octets_over_any_subflow_have_their_place_in_the_data_rfc8684_3_3_1() -> None:
    found = identified(
        MPTCP_FLOW,
        segment(WLAN, 1000, 0, SYN | ACK),
        segment(WLAN, 1001, 100, more=mapping(2**64 - 50, 1, 100)),
        segment(CELL, 77, 0, SYN | ACK),
        segment(CELL, 78, 100, more=mapping(50, 1, 100)),
        segment(WLAN, 1101, 100, more=mapping(150, 101, 100)),
    )
    assert found.sequence[found.which].tolist() == [1, 101, 201]


def test_a_mapping_holds_for_the_segments_behind_it_rfc8684_3_3_1() -> None:
    found = identified(
        MPTCP_FLOW,
        segment(WLAN, 1000, 0, SYN | ACK),
        segment(WLAN, 1001, 100, more=mapping(5000, 1, 300)),
        segment(WLAN, 1101, 100),
        segment(WLAN, 1301, 100, more=mapping(7000, 301, 100)),
        segment(WLAN, 1201, 100),
    )
    assert found.sequence[found.which].tolist() == [1, 101, 2001, 201]


def test_the_same_octets_over_two_subflows_at_once_are_two_packets() -> None:
    found = identified(
        MPTCP_FLOW,
        segment(WLAN, 1, 100, more=mapping(5000, 1, 100)),
        segment(CELL, 1, 100, more=mapping(5000, 1, 100)),
    )
    assert found.sequence.tolist() == [1, 1]
    assert len(set(found.stamp.tolist())) == 2


@pytest.mark.parametrize("flow", [TCP_FLOW, MPTCP_FLOW])
def test_other_ports_are_other_flows(flow: TcpDownload) -> None:
    other = segment(WLAN, 1, 10).packet.replace(struct.pack("!H", PORT), struct.pack("!H", 5011))
    assert not identified(flow, Sent(other)).which.any()


def acknowledgement(data_sequence: int) -> Sent:
    """A DATA_ACK of 4 octets from the MN, as Linux writes it (RFC 8684 section 3.3)."""
    option = struct.pack("!BBBBI", 30, 8, 2 << 4, 0x01, data_sequence & 0xFFFF_FFFF)
    options = struct.pack("!BBBBII", 1, 1, 8, 10, 7, 0) + option
    head = struct.pack("!HHII", 40000, PORT, 1, 0)
    head += struct.pack("!BBHHH", (20 + len(options)) // 4 << 4, ACK, 1000, 0, 0)
    return Sent(ipv6(TCP, CELL, CN, head + options), down=False)


def arrived(*sent: Sent) -> list[bool]:
    """Which of these packets at the MN count; both subflows have begun before."""
    opened = [segment(mn, 0, 0, SYN | ACK) for mn in (WLAN, CELL)]
    file = BytesIO()
    writer = PcapngWriter(file, ["mn-wlan"], 2000)
    for number, one in enumerate([*opened, *sent]):
        frame = ethernet(one.packet)
        writer.packet(0, 1_000_000 * number, frame, len(frame), not one.down)
    _, frames = read_frames(file.getvalue())
    inner = np.full(len(frames.start), ETHERNET_BYTES, dtype=np.int64)
    direction = np.where(frames.outbound, UP, DOWN)
    found = identify(MPTCP_FLOW, frames, inner, frames.field(inner + 6, 1), direction)
    return [which for which, one in zip(found.which.tolist()[2:], sent, strict=True) if one.down]


def data(mn: bytes, first: int, size: int = 100, base: int = 2**32 - 150) -> Sent:
    """Octets from `first` on, whose data sequence numbers begin near where 32 bits wrap."""
    return segment(mn, first, size, more=mapping(base + first, first, size))


def acked(last: int, base: int = 2**32 - 150) -> Sent:
    return acknowledgement(base + last + 1)


def test_what_the_mn_throws_away_with_its_subflow_is_lost_rfc8684_3_3_2() -> None:
    """Octets 101 to 200 are missing; those behind are thrown away, and come again."""
    assert arrived(
        data(WLAN, 1),
        acked(100),
        data(WLAN, 201),
        data(WLAN, 301),
        acked(100),
        data(CELL, 101),
        acked(200),
        data(CELL, 201, 50),
        acked(250),
        data(CELL, 251, 150),
        acked(400),
    ) == [True, False, False, True, True, True]


def test_what_waited_for_the_gap_to_be_filled_counts() -> None:
    assert arrived(data(WLAN, 1), data(WLAN, 201), acked(100), data(CELL, 101), acked(300)) == [
        True,
        True,
        True,
    ]


def test_a_copy_of_what_was_acknowledged_takes_nothing_from_the_first() -> None:
    assert arrived(data(WLAN, 1), acked(100), data(CELL, 1), data(CELL, 101)) == [True] * 3


def test_a_segment_counts_if_some_of_it_was_kept() -> None:
    """The second half comes again, and the first doesn't."""
    assert arrived(data(WLAN, 1, 100), data(CELL, 51, 50), acked(100)) == [True, True]
    assert arrived(data(WLAN, 1, 100), data(CELL, 1, 50), data(CELL, 51, 50), acked(100)) == [
        False,
        True,
        True,
    ]
