"""What the nodes advertise and forward, and what they don't: courses for captures to judge."""

from __future__ import annotations

import errno
import socket
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from nodes.kernel.sockets import ALL_ROUTERS, DiscoverySocket
from nodes.neighbour_discovery import RouterSolicitation, encode
from tests.system.guest_checks.scenario import Scenario, scenario
from topologies.namespaces import socket_in
from topologies.plan import MAG_MAC, mac

IPV6_MTU_DISCOVER = 23
PMTUDISC_DO, PMTUDISC_PROBE = 2, 3
IPPROTO_IPV6_IN_IPV6 = 41
SPOOFED_PORT = 6000
UDP = 17


def advertisements(folder: Path) -> dict[str, Any]:
    """A flow moves to the second access; then the MN solicits on both."""
    with scenario(folder) as course:
        course.attach()
        course.until(5.0)
        course.order("a", "cell")
        answers = course.answers(1)
        course.until(6.0)
        for access in course.job.spec.topology.accesses:
            _solicit(course, access)
        course.until(7.0)
        return {"answers": answers, "bindings": course.ask("bindings")}


def _solicit(course: Scenario, access: str) -> None:
    topology = course.job.spec.topology
    interface = topology.access_link(access).interface("mn")
    name = next(name for name, link in topology.links.items() if link.access == access)
    address = course.network.link_local(access, "mn")
    own = bytes.fromhex(mac(topology, name, "mn").replace(":", ""))
    namespace = course.network.namespace("mn")
    index = socket_in(namespace, lambda: socket.if_nametoindex(interface))
    channel = socket_in(namespace, lambda: DiscoverySocket(()))
    data = encode(RouterSolicitation(source_link_layer_address=own), address, ALL_ROUTERS)
    channel.send(data, address, ALL_ROUTERS, index)
    channel.close()


def oversized(folder: Path) -> dict[str, Any]:
    with scenario(folder) as course:
        course.attach()
        return send_oversized(course)


def send_oversized(course: Scenario) -> dict[str, str]:
    """UDP payloads around the tunnel's and the link's MTU, both ways, none to be fragmented.

    Returns per packet, in the order of sending, the error that the sender got ("" for none).
    """
    results: dict[str, str] = {}
    mn, cn = course.addresses["a"], course.job.spec.topology.nodes["cn"].address
    assert cn is not None
    port = course.job.spec.flows["a"].port
    at_s = 4.0
    # Probing ignores what the path's MTU is known to be: every packet goes out.
    plan = [
        ("cn", mode, size)
        for mode, sizes in (
            (PMTUDISC_PROBE, (1412, 1413, 1452, 1453)),
            (PMTUDISC_DO, (1412, 1413, 1452)),
        )
        for size in sizes
    ] + [("mn", PMTUDISC_DO, size) for size in (1412, 1413, 1452, 1453)]
    # Who receives: without a socket there would be ICMPv6 errors of another kind.
    sinks = [_socket(course, "mn", mn, port), _socket(course, "cn", cn, port)]
    for node, mode, size in plan:
        at_s += 0.1
        course.until(at_s)
        source, destination = (cn, mn) if node == "cn" else (mn, cn)
        channel = _socket(course, node, source, port + size % 1000)
        channel.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, mode)
        how = "probe" if mode == PMTUDISC_PROBE else "no-fragment"
        results[f"{node} {how} {size}"] = _send(channel, bytes(size), (str(destination), port))
        channel.close()
    course.until(at_s + 0.5)
    for sink in sinks:
        sink.close()
    return results


def _socket(course: Scenario, node: str, address: IPv6Address, port: int) -> socket.socket:
    channel = socket_in(
        course.network.namespace(node), lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    )
    channel.bind((str(address), port))
    return channel


def _send(channel: socket.socket, data: bytes, to: tuple[str, int]) -> str:
    try:
        channel.sendto(data, to)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return ""


def spoofed(folder: Path) -> dict[str, str]:
    """The MN sends from addresses that are registered at that MAG, at the other one, nowhere.

    Returns source address by the name of the case; the CN's port 6000 is the destination.
    """
    with scenario(folder) as course:
        course.attach()
        bindings = course.ask("bindings")
        prefixes = {entry["access"]: entry["prefixes"][0] for entry in bindings}
        sources = {
            "registered": prefixes["cell"].replace("::/64", "::1"),
            "registered, other host": prefixes["cell"].replace("::/64", "::77"),
            "registered elsewhere": prefixes["wlan"].replace("::/64", "::1"),
            "of the pool": "2001:db8:100:77::1",
            "foreign": "2001:db8:bad::1",
            "link-local": str(course.network.link_local("cell", "mn")),
            "of the LMA": str(course.job.spec.topology.nodes["lma"].address),
        }
        cn = course.job.spec.topology.nodes["cn"].address
        assert cn is not None
        frames = _frames_to_mag(course, "cell")
        sink = _socket(course, "cn", cn, SPOOFED_PORT)
        for number, source in enumerate(sources.values()):
            course.until(4.0 + number / 10)
            datagram = _datagram(IPv6Address(source), cn, f"case {number}".encode())
            frames.send(_ethernet(course, "cell") + datagram)
        course.until(6.0)
        frames.close()
        sink.close()
    return sources


def strays(folder: Path) -> dict[str, str]:
    """The LMA tunnels packets to a MAG for prefixes that are, and that are not, registered there.

    Returns destination address by the name of the case.
    """
    with scenario(folder) as course:
        course.attach()
        bindings = course.ask("bindings")
        prefixes = {entry["access"]: entry["prefixes"][0] for entry in bindings}
        topology = course.job.spec.topology
        cn = topology.nodes["cn"].address
        assert cn is not None
        destinations = {
            "registered": prefixes["cell"].replace("::/64", "::1"),
            "registered elsewhere": prefixes["wlan"].replace("::/64", "::1"),
            "of the pool": "2001:db8:100:77::1",
            "foreign": "2001:db8:bad::1",
            "of the CN": str(cn),
            "of the LMA": str(topology.nodes["lma"].address),
        }
        channel = socket_in(
            course.network.namespace("lma"),
            lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, IPPROTO_IPV6_IN_IPV6),
        )
        channel.bind((str(topology.nodes["lma"].address), 0))
        for number, destination in enumerate(destinations.values()):
            course.until(4.0 + number / 10)
            datagram = _datagram(
                IPv6Address("2001:db8:1::99"), IPv6Address(destination), f"case {number}".encode()
            )
            channel.sendto(datagram, (str(topology.nodes["mag2"].address), 0))
        course.until(6.0)
        channel.close()
    return destinations


def congestion(folder: Path) -> None:
    """Packets with all values of the ECN field, through the tunnels of the LMA: from the CN (case:
    the value), and from a MAG (case: 10 times the outer value and the inner one)."""
    with scenario(folder) as course:
        course.attach()
        bindings = course.ask("bindings")
        prefixes = {entry["access"]: entry["prefixes"][0] for entry in bindings}
        topology = course.job.spec.topology
        cn, mag = topology.nodes["cn"].address, topology.nodes["mag2"].address
        assert cn is not None
        sinks = [
            _socket(course, "cn", cn, SPOOFED_PORT),
            _socket(course, "mn", course.addresses["a"], SPOOFED_PORT),
        ]
        encapsulated = socket_in(
            course.network.namespace("mag2"),
            lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, IPPROTO_IPV6_IN_IPV6),
        )
        encapsulated.bind((str(mag), 0))
        at_s = 4.0
        for ecn in range(4):
            at_s += 0.1
            course.until(at_s)
            sinks[0].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, ecn)
            to = (str(course.addresses["a"]), SPOOFED_PORT)
            sinks[0].sendto(f"case {ecn}".encode(), to)
        source = IPv6Address(prefixes["cell"].replace("::/64", "::1"))
        for outer in range(4):
            encapsulated.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, outer)
            for inner in range(4):
                at_s += 0.1
                course.until(at_s)
                payload = f"case {10 * (outer + 1) + inner}".encode()
                datagram = _datagram(source, cn, payload, inner)
                encapsulated.sendto(datagram, (str(topology.nodes["lma"].address), 0))
        course.until(at_s + 1.0)
        for channel in (*sinks, encapsulated):
            channel.close()


def _frames_to_mag(course: Scenario, access: str) -> socket.socket:
    interface = course.job.spec.topology.access_link(access).interface("mn")
    channel = socket_in(
        course.network.namespace("mn"), lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    )
    channel.bind((interface, 0))
    return channel


def _ethernet(course: Scenario, access: str) -> bytes:
    topology = course.job.spec.topology
    name = next(name for name, link in topology.links.items() if link.access == access)
    return bytes.fromhex((MAG_MAC + mac(topology, name, "mn")).replace(":", "")) + b"\x86\xdd"


def _datagram(
    source: IPv6Address,
    destination: IPv6Address,
    payload: bytes,
    traffic_class: int = 0,
    port: int = SPOOFED_PORT,
) -> bytes:
    """An IPv6 packet with a UDP datagram."""
    length = 8 + len(payload)
    udp = b"".join(number.to_bytes(2, "big") for number in (port, port, length))
    pseudo = source.packed + destination.packed + length.to_bytes(4, "big") + UDP.to_bytes(4, "big")
    total = _ones_complement_sum(pseudo + udp + b"\0\0" + payload)
    checksum = (~total & 0xFFFF or 0xFFFF).to_bytes(2, "big")
    header = (
        (6 << 28 | traffic_class << 20).to_bytes(4, "big")
        + length.to_bytes(2, "big")
        + bytes([UDP, 64])
    )
    return header + source.packed + destination.packed + udp + checksum + payload


def _ones_complement_sum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
