"""Courses with an attacker on the Internet, at a MAG or in the core, for captures to judge."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable, Collection
from ipaddress import IPv6Address, IPv6Network
from itertools import islice
from pathlib import Path
from typing import Any

from experiments.emulation.roles import mn_id
from nodes.neighbour_discovery import (
    ALL_NODES,
    NeighbourAdvertisement,
    NeighbourDiscovery,
    NeighbourSolicitation,
    PrefixInformation,
    RouterAdvertisement,
    encode,
)
from nodes.wire.codec import encode as encode_message
from nodes.wire.messages import (
    ProxyBindingUpdate,
    UpdateNotification,
)
from nodes.wire.mobility_header import checksum
from nodes.wire.options import MobileNodeIdentifier
from tests.system.guest_checks.forgery import (
    MOBILITY,
    Attacker,
    Wiretap,
    fma,
    fmi,
    packet,
    pbu,
    signal,
    tunnel,
)
from tests.system.guest_checks.forwarding_checks import (
    SPOOFED_PORT,
    _datagram,
    _ones_complement_sum,
    _socket,
)
from tests.system.guest_checks.scenario import LINKS, Scenario, scenario
from topologies.namespaces import inside
from topologies.plan import mac

MN, OTHER = mn_id(1), mn_id(2)
LMA, MAG1, MAG2 = (IPv6Address(f"2001:db8:{n}::1") for n in (10, 11, 12))
CN = IPv6Address("2001:db8:1::2")
ICMPV6, FRAGMENT = 58, 44
FLOOD, FLOOD_S = 5000, 4.0
ADDRESSES, SOLICITING_S = 1500, 2.5
FIRST_S, STEP_S = 4.0, 0.1
MOVE_S, GUESS_S, HEARD_S = 7.0, 7.1, 7.5
OTHERS_LINKS = (*LINKS, ("mn2", "mn2-wlan2"))


def _attach(course: Scenario) -> dict[str, IPv6Network]:
    """Both accesses of the first mobile node, and the WLAN of the second, if there is one; returns
    the prefix of each."""
    if "mn2" in course.network.topology.nodes:
        course.network.set_access("wlan2", True)
    course.attach()
    names = {(MN, "wlan"): "wlan", (MN, "cell"): "cell", (OTHER, "wlan"): "other"}
    return {
        names[entry["mn"], entry["access"]]: IPv6Network(entry["prefixes"][0])
        for entry in course.ask("bindings")
        if (entry["mn"], entry["access"]) in names
    }


def _case(number: int, source: IPv6Address, to: IPv6Address) -> bytes:
    return _datagram(source, to, f"case {number}".encode())


def _carry_out(
    course: Scenario, attacker: Attacker, packets: Collection[Callable[[], bytes]]
) -> None:
    """Each is made when it is sent, for it says when that was."""
    for number, make in enumerate(packets):
        course.until(FIRST_S + number * STEP_S)
        attacker.send(make())
    course.until(FIRST_S + len(packets) * STEP_S)


def from_the_internet(folder: Path) -> dict[str, Any]:
    """All that needs another's source address, and a guess of an FMA that has all right: the CN is
    told the sequence number while the answer of the MAG is lost."""
    with scenario(folder) as course:
        prefix = _attach(course)
        course.start_traffic()
        home = prefix["wlan"][1]
        attacker = Attacker(course, "cn", "cn-lma")
        before = course.ask("bindings")
        cases = {
            "take-over": lambda: signal(pbu(MN, prefix["wlan"], handoff=3), MAG2, LMA),
            "new session": lambda: signal(pbu(OTHER), MAG2, LMA),
            "end": lambda: signal(pbu(MN, prefix["wlan"], handoff=4, lifetime=0), MAG1, LMA),
            "as itself": lambda: signal(pbu(OTHER), CN, LMA),
            "FMI": lambda: signal(fmi(MN, prefix["wlan"]), LMA, MAG2),
            "tunnel to the LMA": lambda: tunnel(MAG1, LMA, _case(0, home, CN)),
            "tunnel to the MAG": lambda: tunnel(LMA, MAG1, _case(1, CN, home)),
            "as the mobile node": lambda: _case(2, home, prefix["cell"][1]),
            "as the MAG": lambda: _case(3, MAG2, home),
            # So that it is seen that these packets arrive at all.
            "right": lambda: _case(4, CN, home),
        }
        sink = _socket(course, "mn", home, SPOOFED_PORT)
        _carry_out(course, attacker, cases.values())
        after = course.ask("bindings")
        tap = Wiretap(course, "mag2", "mag2-core")
        course.lose("core-mag2", "up", 1.0)
        course.until(MOVE_S)
        course.order("a", "cell")
        course.until(GUESS_S)
        ((asked, _),) = tap.signalling(UpdateNotification, outbound=False)
        attacker.send(signal(fma(MN, asked.sequence), MAG2, LMA))
        course.until(HEARD_S)
        course.lose("core-mag2", "up", 0.0)
        course.until(9.0)
        for thing in (attacker, tap, sink):
            thing.close()
        return {
            "start_ns": course.unix_ns,
            "cases": list(cases),
            "before": before,
            "after": after,
            "answers": course.answers(1),
        }


def from_a_mag(folder: Path) -> dict[str, Any]:
    """MAG2, where the second mobile node has never been, against its session at MAG1."""
    with scenario(folder, OTHERS_LINKS) as course:
        prefix = _attach(course)
        attacker = Attacker(course, "mag2", "core-mag2")
        before = course.ask("bindings")
        home, end = prefix["other"][1], {"handoff": 4, "lifetime": 0}
        topology = course.network.topology
        link = next(name for name, link in topology.links.items() if link.access == "wlan2")
        who = {"link_layer": bytes.fromhex(mac(topology, link, "mn2").replace(":", ""))}
        cases = {
            "end, as itself": lambda: signal(pbu(OTHER, prefix["other"], **end, **who), MAG2, LMA),
            "end, by claim": lambda: signal(
                pbu(OTHER, prefix["other"], claim=MAG1, **end, **who), MAG2, LMA
            ),
            "renew, by claim": lambda: signal(
                pbu(OTHER, prefix["other"], handoff=5, claim=MAG1, **who), MAG2, LMA
            ),
            "end, as the other": lambda: signal(
                pbu(OTHER, prefix["other"], **end, **who), MAG1, LMA
            ),
            "FMI, as itself": lambda: signal(fmi(OTHER, prefix["cell"]), MAG2, MAG1),
            "FMI, as the LMA": lambda: signal(fmi(OTHER, prefix["cell"]), LMA, MAG1),
            "source of another's node": lambda: tunnel(MAG2, LMA, _case(0, home, CN)),
            "source of nobody": lambda: tunnel(
                MAG2, LMA, _case(1, IPv6Address("2001:db8:bad::1"), CN)
            ),
            "tunnel of the other": lambda: tunnel(MAG1, LMA, _case(2, home, CN)),
            "into the other, as itself": lambda: tunnel(MAG2, MAG1, _case(3, CN, home)),
            "into the other, as the LMA": lambda: tunnel(LMA, MAG1, _case(4, CN, home)),
            # So that it is seen that these packets arrive at all.
            "right": lambda: tunnel(MAG2, LMA, _case(5, prefix["cell"][1], CN)),
            "right, its node's other prefix": lambda: tunnel(
                MAG2, LMA, _case(6, prefix["wlan"][1], CN)
            ),
        }
        sinks = [
            _socket(course, "cn", CN, SPOOFED_PORT),
            _socket(course, "mn2", home, SPOOFED_PORT),
        ]
        _carry_out(course, attacker, cases.values())
        for thing in (attacker, *sinks):
            thing.close()
        return {
            "start_ns": course.unix_ns,
            "cases": list(cases),
            "before": before,
            "after": course.ask("bindings"),
        }


def replayed(folder: Path) -> dict[str, Any]:
    """Somebody in the core sends the messages of a registration and of a move once more, octet by
    octet: while its timestamp is within the LMA's window, and later."""
    with scenario(folder) as course:
        to_lma, to_mag = Attacker(course, "core", "lma-core"), Attacker(course, "core", "core-mag2")
        tap = Wiretap(course, "core", "core-mag2")
        for access, at_s in (("wlan", 1.0), ("cell", 2.0)):
            course.until(at_s)
            course.network.set_access(access, True)
        course.until(2.1)
        (registration,) = (data for _, data in tap.signalling(ProxyBindingUpdate, outbound=False))
        to_lma.send(registration)
        prefix = _attach(course)
        course.start_traffic()
        course.until(4.0)
        to_lma.send(registration)
        course.until(MOVE_S)
        course.order("a", "cell")
        (moved,) = course.answers(1)
        course.until(MOVE_S + 0.1)
        seen = list(tap.packets(outbound=True))
        course.until(MOVE_S + 0.2)
        course.order("a", "wlan")
        (back,) = course.answers(1)
        course.until(MOVE_S + 0.5)
        states = [course.ask("bindings"), course.ask("flows")]
        (notification,) = (data for data in seen if data[6] == 135 and data[42] == 19)
        to_mag.send(notification)
        to_lma.send(registration)
        course.until(MOVE_S + 1.0)
        answer = signal(fma(MN, int.from_bytes(notification[46:48], "big")), MAG2, LMA)
        to_lma.send(answer)
        course.until(MOVE_S + 1.5)
        for thing in (to_lma, to_mag, tap):
            thing.close()
        return {
            "start_ns": course.unix_ns,
            "prefix": str(prefix["wlan"]),
            "answers": [moved, back],
            "before": states,
            "after": [course.ask("bindings"), course.ask("flows")],
        }


def _on_the_link(
    source: IPv6Address, message: NeighbourDiscovery, to: IPv6Address, hop_limit: int = 255
) -> bytes:
    """With addresses that a node wouldn't encode it for, too."""
    data = encode(message, IPv6Address("fe80::1"), _right_destination(message))
    data = data[:2] + bytes(2) + data[4:]
    return packet(
        source, to, ICMPV6, data[:2] + _icmp_checksum(source, to, data) + data[4:], hop_limit
    )


def _right_destination(message: NeighbourDiscovery) -> IPv6Address:
    return ALL_NODES if isinstance(message, RouterAdvertisement) else IPv6Address("fe80::2")


def from_an_access(folder: Path) -> dict[str, Any]:
    """The first mobile node on its cellular access, against the second one, MAGs and LMA."""
    with scenario(folder, (*OTHERS_LINKS, ("mn2", "mn2-cell2"))) as course:
        course.network.set_access("cell2", True)
        prefix = _attach(course)
        attacker = Attacker(course, "mn", "cell")
        before = course.ask("bindings")
        home, other = prefix["cell"][1], prefix["other"][1]
        mag_here = IPv6Address("fe80::200:5eff:fe00:5213")
        own = course.network.link_local("cell", "mn")
        bad = PrefixInformation(IPv6Network("2001:db8:bad::/64"), 3600, 3600)
        advertisement = RouterAdvertisement(1800, (bad,), source_link_layer_address=bytes(6))
        cases = {
            "PBU, as itself": lambda: signal(pbu(OTHER), home, LMA),
            "PBU, as the MAG": lambda: signal(pbu(OTHER), MAG2, LMA),
            "FMI, as itself": lambda: signal(fmi(MN, prefix["wlan"]), home, MAG2),
            "FMI, as the LMA": lambda: signal(fmi(MN, prefix["wlan"]), LMA, MAG2),
            "FMI, on the link": lambda: signal(fmi(MN, prefix["wlan"]), own, mag_here),
            "tunnel to the LMA": lambda: tunnel(home, LMA, _case(0, other, CN)),
            "tunnel to the MAG": lambda: tunnel(home, MAG1, _case(1, CN, other)),
            "tunnel, as the LMA": lambda: tunnel(LMA, MAG2, _case(2, CN, other)),
            "source of the other": lambda: _case(3, other, CN),
            "RA to all": lambda: _on_the_link(mag_here, advertisement, ALL_NODES),
            "RA to the MAG": lambda: _on_the_link(own, advertisement, mag_here),
            "RA to the other": lambda: _on_the_link(mag_here, advertisement, other),
            "RA to the other, routed": lambda: _on_the_link(home, advertisement, other),
            "NA to the other": lambda: _on_the_link(
                home, NeighbourAdvertisement(other, override=True), other
            ),
            # So that it is seen that these packets arrive at all.
            "right": lambda: _case(4, home, CN),
            "right, to the other": lambda: _case(5, home, other),
        }
        sinks = [
            _socket(course, "cn", CN, SPOOFED_PORT),
            _socket(course, "mn2", other, SPOOFED_PORT),
        ]
        addresses = [_addresses(course, node) for node in ("mag2", "mn2")]
        _carry_out(course, attacker, cases.values())
        for thing in (attacker, *sinks):
            thing.close()
        return {
            "start_ns": course.unix_ns,
            "cases": list(cases),
            "before": [before, *addresses],
            "after": [
                course.ask("bindings"),
                *(_addresses(course, node) for node in ("mag2", "mn2")),
            ],
        }


def _addresses(course: Scenario, node: str) -> list[str]:
    """And routes."""
    with inside(course.network.namespace(node)):
        names = ("if_inet6", "ipv6_route")
        lines = [Path(f"/proc/thread-self/net/{name}").read_text().splitlines() for name in names]
    # The last four columns of a route before its interface are counters and flags.
    return sorted(lines[0]) + sorted(" ".join(line.split()[:5]) for line in lines[1])


def neighbours(folder: Path) -> dict[str, Any]:
    """The first mobile node solicits from 1,500 addresses, and has as many answered; the second
    comes to the same MAG. Neighbours aren't known from the start."""
    with scenario(folder, (*OTHERS_LINKS, ("mn2", "mn2-cell2"))) as course:
        _attach(course)
        course.start_traffic()
        attacker = Attacker(course, "mn", "cell")
        mag_here = IPv6Address("fe80::200:5eff:fe00:5213")
        course.until(4.0)
        for number in range(ADDRESSES):
            source = IPv6Address(f"fe80::bad:{number:x}")
            mac_address = (0x0200_0BAD_0000 + number).to_bytes(6, "big")
            message = NeighbourSolicitation(mag_here, mac_address)
            attacker.send(_on_the_link(source, message, mag_here))
            echo = bytes([128, 0, 0, 0, 0, 1, 0, 1])
            checksum = _icmp_checksum(source, mag_here, echo)
            attacker.send(packet(source, mag_here, ICMPV6, echo[:2] + checksum + echo[4:]))
            if number % 10 == 9:
                course.until(4.0 + SOLICITING_S * number / ADDRESSES)
        course.until(6.6)
        entries = _neighbours(course, "mag2")
        course.network.set_access("cell2", True)
        course.until(7.5)
        found = [entry for entry in course.ask("bindings") if entry["mn"] == OTHER]
        (home,) = (IPv6Network(e["prefixes"][0])[1] for e in found if e["access"] == "cell")
        sink = _socket(course, "mn2", home, SPOOFED_PORT)
        outside = Attacker(course, "cn", "cn-lma")
        outside.send(_case(0, CN, home))
        course.until(8.5)
        for thing in (attacker, outside, sink):
            thing.close()
        return {"start_ns": course.unix_ns, "cases": [], "entries": entries}


def _neighbours(course: Scenario, node: str) -> dict[str, int]:
    """How many entries the kernel has, by interface."""
    namespace = f"/proc/{os.getpid()}/fd/{course.network.namespace(node)}"
    command = ["nsenter", f"--net={namespace}", "ip", "-6", "-j", "neigh", "show", "nud", "all"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(Counter(entry["dev"] for entry in json.loads(shown.stdout)))


def _icmp_checksum(source: IPv6Address, to: IPv6Address, message: bytes) -> bytes:
    pseudo = source.packed + to.packed + len(message).to_bytes(4, "big") + ICMPV6.to_bytes(4, "big")
    return (~_ones_complement_sum(pseudo + message) & 0xFFFF).to_bytes(2, "big")


def bombs() -> dict[str, bytes]:
    """Mobility Headers that are too much or too little, by what they are: their checksums and, but
    where that is what is wrong, their lengths are right."""
    pool = IPv6Network("2001:db8:100::/48").subnets(new_prefix=64)
    unknown = bytes.fromhex("c800")
    renewal = encode_message(pbu(MN, handoff=5), MAG2, LMA)
    return {
        "1,000 unknown options": _padded(renewal[:12] + 1000 * unknown),
        "2,000 padding octets": _padded(renewal[:12] + bytes(2000)),
        "75 prefixes": encode_message(pbu(OTHER, prefixes=tuple(islice(pool, 8, 83))), MAG2, LMA),
        "70 identifiers": encode_message(
            pbu("nobody", extra=70 * (MobileNodeIdentifier.of(MN),)), MAG2, LMA
        ),
        "an option beyond the end": _padded(renewal[:12] + bytes.fromhex("08ff01")),
        "an option without a length": _padded(renewal[:12] + bytes(3) + b"\x08"),
        "a header longer than the packet": renewal[:1] + b"\xff" + renewal[2:],
        "a header shorter than its message": renewal[:1] + b"\0" + renewal[2:],
        "cut off": renewal[:20],
        "one octet": renewal[:1],
        "nothing": b"",
        "oversized": _padded(renewal[:12] + 700 * unknown) + bytes(60_000),
    }


def _padded(header: bytes) -> bytes:
    """The same with its length, as many octets of padding as that needs."""
    header += bytes(-len(header) % 8)
    return (
        header[:1] + bytes([min(len(header) // 8 - 1, 255)]) + header[2:4] + bytes(2) + header[6:]
    )


def _in_fragments(
    source: IPv6Address, to: IPv6Address, header: bytes, size: int = 1200
) -> list[bytes]:
    """Packets with a Mobility Header that has a checksum."""
    if len(header) >= 6:
        header = header[:4] + bytes(2) + header[6:]
        header = header[:4] + checksum(header, source, to).to_bytes(2, "big") + header[6:]
    if len(header) <= size:
        return [packet(source, to, MOBILITY, header)]
    pieces = []
    for offset in range(0, len(header), size):
        more = offset + size < len(header)
        fragment = bytes([MOBILITY, 0]) + (offset | more).to_bytes(2, "big") + b"bomb"
        pieces.append(packet(source, to, FRAGMENT, fragment + header[offset : offset + size]))
    return pieces


def bombarded(folder: Path) -> dict[str, Any]:
    """LMA and MAG1 get what no peer would send, from a MAG and as if from the LMA; and then they
    have work to do."""
    with scenario(folder, OTHERS_LINKS) as course:
        course.attach()
        before = course.ask("bindings")
        course.start_traffic()
        from_mag, as_lma = (
            Attacker(course, "mag2", "core-mag2"),
            Attacker(course, "core", "core-mag1"),
        )
        for number, name in enumerate(bombs()):
            course.until(FIRST_S + number * STEP_S)
            header = bombs()[name]
            for data in _in_fragments(MAG2, LMA, header):
                from_mag.send(data)
            for data in _in_fragments(LMA, MAG1, header):
                as_lma.send(data)
        course.until(6.0)
        after = course.ask("bindings")
        course.network.set_access("wlan2", True)
        course.order("a", "cell")
        course.until(7.0)
        for thing in (from_mag, as_lma):
            thing.close()
        return {
            "start_ns": course.unix_ns,
            "cases": list(bombs()),
            "before": before,
            "after": after,
            "answers": course.answers(1),
            "nodes": sorted({entry["mn"] for entry in course.ask("bindings")}),
        }


def flooded(folder: Path) -> dict[str, Any]:
    """A MAG sends 5,000 requests in no time, when a mobile node attaches at the other one."""
    with scenario(folder, OTHERS_LINKS) as course:
        course.attach()
        before = course.ask("bindings")
        attacker = Attacker(course, "mag2", "core-mag2")
        attacker.allow(FLOOD * 4096)
        course.until(FLOOD_S)
        request = signal(pbu("nobody"), MAG2, LMA)
        for _ in range(FLOOD):
            attacker.send(request)
        course.network.set_access("wlan2", True)
        course.until(FLOOD_S + 3.0)
        attacker.close()
        found = course.ask("bindings")
        return {
            "start_ns": course.unix_ns,
            "cases": [],
            "before": before,
            "after": [entry for entry in found if entry["mn"] == MN],
            "nodes": sorted({entry["mn"] for entry in found}),
        }
