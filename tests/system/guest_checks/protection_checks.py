"""Courses with protected signalling, and attacks on it, for captures to judge."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

from nodes.control_client import Session
from nodes.ipsec.security_associations import SecurityAssociation, read_keys
from nodes.wire.codec import encode
from nodes.wire.messages import (
    AccessTechnology,
    HandoffHint,
    Heartbeat,
    ProxyBindingUpdate,
)
from nodes.wire.mobility_header import checksum
from nodes.wire.options import (
    AccessTechnologyType,
    HandoffIndicator,
    HomeNetworkPrefix,
    MobileNodeIdentifier,
    Timestamp,
)
from tests.sealing import ESP, MOBILITY, ipv6_packet, seal
from tests.system.guest_checks.scenario import Scenario, scenario
from topologies.namespaces import inside, socket_in

LMA, MAG1, MAG2 = map(IPv6Address, ("2001:db8:10::1", "2001:db8:11::1", "2001:db8:12::1"))
STRANGER = IPv6Address("2001:db8:1::66")
ATTACK_S, MOVE_S, KILL_S, START_S, END_S = 4.0, 6.0, 4.0, 5.0, 8.0
UNKNOWN_TYPE = 77
ETH_P_ALL = 0x0003
ETHERNET = 14


def unprotected(folder: Path) -> dict[str, Any]:
    """From the core, with the addresses of LMA and MAG: a deregistration, a message of no known
    type and a forged heartbeat; and a heartbeat of somebody else."""
    with scenario(folder) as course:
        course.attach()
        course.until(ATTACK_S)
        before = _dropped(course)
        _inject(course, ipv6_packet(MAG1, LMA, MOBILITY, _deregistration(course)))
        _inject(course, ipv6_packet(MAG1, LMA, MOBILITY, _message_of_unknown_type()))
        _inject(course, ipv6_packet(LMA, MAG1, MOBILITY, encode(Heartbeat(sequence=9), LMA, MAG1)))
        heartbeat = encode(Heartbeat(sequence=7), STRANGER, LMA)
        _inject(course, ipv6_packet(STRANGER, LMA, MOBILITY, heartbeat))
        course.until(ATTACK_S + 1.0)
        after = _dropped(course)
        return {
            "start_ns": course.unix_ns,
            "bindings": course.ask("bindings"),
            "dropped": {node: after[node] - before[node] for node in after},
        }


def replayed_and_forged(folder: Path) -> dict[str, Any]:
    """ESP packets once more, changed, and with the keys of another MAG."""
    with scenario(folder) as course:
        listener = socket_in(
            course.network.namespace("lma"),
            lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)),
        )
        listener.bind(("lma-core", ETH_P_ALL))
        course.attach()
        registration = _first_esp(listener, MAG1)
        course.until(ATTACK_S)
        own, other = _association(course, "mag1", MAG1), _association(course, "mag2", MAG2)
        counts = [_counts(course, own.spi, other.spi)]
        attacks = {
            "replayed": registration,
            # A sequence number that hasn't been yet, which is authenticated.
            "renumbered": registration[:44] + (1000).to_bytes(4, "big") + registration[48:],
            "changed": registration[:-1] + bytes([registration[-1] ^ 1]),
            "for another": _sealed(course, other, MAG1),
        }
        for packet in attacks.values():
            _inject(course, packet)
            time.sleep(0.1)
            counts.append(_counts(course, own.spi, other.spi))
        bindings = course.ask("bindings")
        course.until(MOVE_S)
        course.order("a", "cell")
        course.until(MOVE_S + 1.0)
        return {
            "start_ns": course.unix_ns,
            "attacks": list(attacks),
            "counts": counts,
            "bindings": bindings,
            "answers": course.answers(1),
        }


def started_again(folder: Path) -> dict[str, Any]:
    """The LMA is killed and started again, and the cell loses and regains its mobile node."""
    with scenario(folder) as course:
        course.attach()
        course.until(KILL_S)
        course.bed.kill("lma")
        with inside(course.network.namespace("lma")):
            policies = _output("ip", "xfrm", "policy")
        course.until(START_S)
        course.bed.start("lma")
        for at_s, up in ((START_S + 0.5, False), (START_S + 1.0, True)):
            course.until(at_s)
            course.network.set_access("cell", up)
        course.until(END_S)
        with Session(course.bed.roles.lma.control_socket) as session:
            bindings = session.request({"op": "bindings"})["result"]
        return {"start_ns": course.unix_ns, "bindings": bindings, "while_dead": policies}


def without_associations(folder: Path) -> dict[str, Any]:
    """The LMA's kernel loses its associations, and then a flow is to move."""
    with scenario(folder) as course:
        course.attach()
        course.until(ATTACK_S)
        with inside(course.network.namespace("lma")):
            _output("ip", "xfrm", "state", "flush")
        course.until(MOVE_S)
        course.order("a", "cell")
        return {"start_ns": course.unix_ns, "answers": course.answers(1)}


def _deregistration(course: Scenario) -> bytes:
    binding = next(entry for entry in course.ask("bindings") if entry["access"] == "wlan")
    prefixes = [HomeNetworkPrefix.of(IPv6Network(prefix)) for prefix in binding["prefixes"]]
    options = (
        MobileNodeIdentifier.of(binding["mn"]),
        *prefixes,
        HandoffIndicator(HandoffHint.HANDOFF_STATE_UNKNOWN),
        AccessTechnologyType(AccessTechnology.IEEE_802_11),
        Timestamp.of_unix_ns(time.time_ns()),
    )
    return encode(ProxyBindingUpdate(4711, 0, options), MAG1, LMA)


def _message_of_unknown_type() -> bytes:
    message = bytearray(encode(Heartbeat(sequence=1), MAG1, LMA))
    message[2], message[4:6] = UNKNOWN_TYPE, bytes(2)
    message[4:6] = checksum(message, MAG1, LMA).to_bytes(2, "big")
    return bytes(message)


def _sealed(course: Scenario, sa: SecurityAssociation, source: IPv6Address) -> bytes:
    """A deregistration that says it is from `source`. Its number hasn't been, and is no more than
    the window (64) ahead: what the owner of the keys sends next is still in it."""
    sealed = seal(sa, _deregistration(course), MOBILITY, 40)
    return ipv6_packet(source, LMA, ESP, sealed)


def _inject(course: Scenario, packet: bytes) -> None:
    """From the router between LMA and MAGs, with whatever addresses the packet has."""
    with socket_in(
        course.network.namespace("core"),
        lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW),
    ) as sender:
        sender.sendto(packet, (str(IPv6Address(packet[24:40])), 0))


def _first_esp(listener: socket.socket, source: IPv6Address) -> bytes:
    """The first ESP packet of a node among what has come so far."""
    while True:
        packet = listener.recv(65_536)[ETHERNET:]
        if packet[6] == ESP and packet[8:24] == source.packed:
            return packet


def _association(course: Scenario, mag: str, address: IPv6Address) -> SecurityAssociation:
    """What a MAG sends to the LMA with."""
    ipsec = course.bed.roles.mags[mag].ipsec
    assert ipsec is not None
    assert ipsec.security_associations is not None
    (found,) = [sa for sa in read_keys(ipsec.security_associations) if sa.source == address]
    return found


def _dropped(course: Scenario) -> dict[str, int]:
    """What the kernel has kept from the sockets for Mobility Headers of LMA and MAG 1."""
    found = {}
    for node in ("lma", "mag1"):
        with inside(course.network.namespace(node)):
            lines = Path("/proc/thread-self/net/raw6").read_text(encoding="ascii").splitlines()
        (line,) = [line.split() for line in lines if f":{MOBILITY:04X} " in line]
        found[node] = int(line[-1])
    return found


def _counts(course: Scenario, *spis: int) -> dict[str, Any]:
    """Of associations at the LMA, packets that were replays and that failed; and what the policies
    kept from the socket."""
    with inside(course.network.namespace("lma")):
        text = _output("ip", "-s", "xfrm", "state")
    found: dict[str, Any] = {"dropped": _dropped(course)["lma"]}
    for number, spi in enumerate(spis):
        match = re.search(rf"spi 0x{spi:08x}.*?replay (\d+) failed (\d+)", text, re.DOTALL)
        assert match is not None
        found[("own", "other")[number]] = [int(match[1]), int(match[2])]
    return found


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
