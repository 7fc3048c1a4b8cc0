"""What an LMA does with packets from its tunnels, as two MAGs see it.

One tunnels a packet of its mobile node to a mobile node of the other's, so that the LMA has to take
it out of one tunnel and put it into the other: nothing is asked of the network around.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from ipaddress import IPv6Address

from tests.conformance.sockets.inner_packet import InnerPacket
from tests.conformance.sockets.nodes_under_test import CELL, LmaUnderTest
from tests.conformance.sockets.outcome import expect, expect_equal
from tests.conformance.sockets.peer import Peer, Tunneled

NOT_ECT, ECT_1, ECT_0, CE = range(4)  # RFC 3168 section 5
FIELD = range(4)
HOST = 1
HOP_LIMIT = 33
FLOW_LABEL = 0x5_2130

_marks = itertools.count(1)


@dataclass(frozen=True)
class Path:
    """From a mobile node at one MAG to another's at another, by way of the LMA."""

    lma: IPv6Address
    entry: Peer
    exit: Peer
    packet: InnerPacket

    def sent(self, outer_ecn: int = NOT_ECT, **changes: int) -> tuple[InnerPacket, Tunneled | None]:
        """A packet as it went into the tunnel to the LMA, and as it came out of the other."""
        payload = b"conformance " + next(_marks).to_bytes(4, "big")
        packet = replace(self.packet, payload=payload, **changes)
        self.exit.drain()
        self.entry.tunnel(packet.encode(), self.lma, traffic_class=outer_ecn)
        return packet, self.exit.tunneled(self.lma, payload)

    def passed(self, outer_ecn: int = NOT_ECT, **changes: int) -> tuple[InnerPacket, Tunneled]:
        packet, found = self.sent(outer_ecn, **changes)
        expect(found is not None, f"{packet} with {outer_ecn:02b} outside didn't come out again")
        assert found is not None
        return packet, found


def _path(lma: LmaUnderTest) -> Path:
    other = lma.another_mag()
    source, destination = lma.register(), lma.register(other, technology=CELL)
    packet = InnerPacket(
        source.prefixes[0][HOST],
        destination.prefixes[0][HOST],
        hop_limit=HOP_LIMIT,
        flow_label=FLOW_LABEL,
    )
    return Path(lma.address, lma.mag, other, packet)


def test_rfc5213_5_6_2_05_packets_are_routed_to_their_destination(lma: LmaUnderTest) -> None:
    """Both ways, and to the mobile nodes of the same MAG."""
    path = _path(lma)
    path.passed()
    to_and_fro = (path.packet.destination, path.packet.source)
    back = replace(path.packet, source=to_and_fro[0], destination=to_and_fro[1])
    replace(path, entry=path.exit, exit=path.entry, packet=back).passed()
    neighbour = lma.register().prefixes[0][HOST]
    near = replace(path.packet, destination=neighbour)
    replace(path, exit=path.entry, packet=near).passed()


def test_rfc5213_5_6_2_06_packets_come_out_as_they_went_in(lma: LmaUnderTest) -> None:
    """RFC 2473 section 3.3: the tunnel's header is taken off, and the rest is forwarded like any
    packet, which costs it one hop (section 3.1)."""
    packet, found = _path(lma).passed()
    expect_equal(found.packet, replace(packet, hop_limit=HOP_LIMIT - 1), "the packet")


def test_rfc5213_5_6_3_02_ect_is_copied_to_the_tunnel_s_header(lma: LmaUnderTest) -> None:
    path = _path(lma)
    for ecn in (ECT_0, ECT_1):
        _, found = path.passed(outer_ecn=ecn, traffic_class=ecn)
        expect_equal(found.traffic_class & 3, ecn, "the ECN field outside")
    _, found = path.passed(outer_ecn=NOT_ECT, traffic_class=ECT_0)
    expect_equal(found.traffic_class & 3, ECT_0, "the ECN field outside")


def test_rfc5213_5_6_3_04_congestion_outside_is_marked_inside(lma: LmaUnderTest) -> None:
    path = _path(lma)
    for ecn in (ECT_0, ECT_1):
        _, found = path.passed(outer_ecn=CE, traffic_class=ecn)
        expect_equal(found.packet.traffic_class & 3, CE, "the ECN field inside")


def test_rfc5213_5_6_3_05_all_else_stays_as_it_is(lma: LmaUnderTest) -> None:
    """Two cases may end otherwise, for reasons outside of RFC 5213. RFC 3168 section 9.1.1, which
    it summarizes, has a packet dropped that can't be marked. RFC 6040 section 4.2, which replaced
    that section, has ECT(0) marked ECT(1) by ECT(1) outside."""
    path = _path(lma)
    for outer in FIELD:
        for inner in FIELD:
            if outer == CE and inner in (ECT_0, ECT_1):
                continue
            allowed: set[int | None] = {inner}
            if (outer, inner) == (CE, NOT_ECT):
                allowed.add(None)
            if (outer, inner) == (ECT_1, ECT_0):
                allowed.add(ECT_1)
            _, found = path.sent(outer, traffic_class=inner)
            ecn = None if found is None else found.packet.traffic_class & 3
            what = f"the ECN field inside is {ecn}, of {inner:02b} in {outer:02b}"
            expect(ecn in allowed, what)
