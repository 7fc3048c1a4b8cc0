"""What the checks share: the reference topology and a static path from CN to MN without daemons.

The checks run as root in the guest; nothing here is imported by the host's tests.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
import time
from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import NamedTuple

from experiments.captures import pcapng
from experiments.captures.capture import Capture
from experiments.declaration.flows import UdpFlow
from experiments.declaration.spec import RunSpec
from experiments.emulation.traffic import (
    fetch_tcp,
    run_start,
    send_udp,
    serve_tcp,
    sleep_until,
    tcp_transfers,
    udp_streams,
)
from nodes.kernel.netlink import RT_TABLE_MAIN, RuleMatch, rule
from nodes.strict import load_toml
from topologies import netlink
from topologies.ingress import FROM_THE_LINK_PRIORITY
from topologies.model import Topology
from topologies.namespaces import Child, fork_into, inside
from topologies.network import Network, running
from topologies.plan import LOGICAL_INTERFACE

HOME = IPv6Network("2001:db8:f::/64")
MN_ADDRESS = HOME[1]
SETTLE_S = 2.0
NANOSECONDS = 1_000_000_000


def reference() -> Topology:
    return load_toml(Path(__file__).parents[3] / "topologies" / "reference.toml", Topology)


def connect_mn(network: Network, access: str) -> None:
    """Bring `access` up and route the MN's address over it, hop by hop and without tunnels."""
    topology = network.topology
    link = topology.access_link(access)
    mag, mn = link.ends
    network.set_access(access, True)
    plan = [
        ("lma", IPv6Address("2001:db8:10::2"), "lma-core"),
        ("core", topology.nodes[mag].address, f"core-{mag}"),
        (mag, network.link_local(access, mn), link.interface(mag)),
    ]
    for node, gateway, interface in plan:
        assert gateway is not None
        _send(network, node, interface, lambda i, g=gateway: [netlink.add_route(HOME, g, i)])
    # Without a tunnel, the node's packets come to the core with its own address.
    from_home = RuleMatch(source=HOME)
    _send(
        network,
        "core",
        f"core-{mag}",
        lambda _: [rule(FROM_THE_LINK_PRIORITY, from_home, RT_TABLE_MAIN, add=True)],
    )
    _send(
        network,
        mn,
        LOGICAL_INTERFACE,
        lambda i: [netlink.add_address(i, MN_ADDRESS, 128)],
    )
    gateway = network.link_local(access, mag)
    _send(
        network,
        mn,
        link.interface(mn),
        lambda i: [netlink.add_route(None, gateway, i)],
    )


def _send(network: Network, node: str, interface: str, make) -> None:  # type: ignore[no-untyped-def]
    with inside(network.namespace(node)):
        index = socket.if_nametoindex(interface)
    netlink.send(network.namespace(node), make(index))


class Trial(NamedTuple):
    packets: list[pcapng.Packet]
    folder: Path
    start_ns: int  # CLOCK_REALTIME of the run's second 0

    def sightings(self, interface: str, outbound: bool) -> dict[tuple[int, int], list[int]]:
        """Times in ns after second 0, per (flow, sequence number) of the UDP test packets."""
        found: dict[tuple[int, int], list[int]] = {}
        for packet in self.packets:
            mark = packet.data[62:64]
            if packet.interface == interface and packet.outbound is outbound and mark == b"FM":
                key = (
                    int.from_bytes(packet.data[64:66], "big"),
                    int.from_bytes(packet.data[66:70], "big"),
                )
                found.setdefault(key, []).append(packet.timestamp_ns - self.start_ns)
        return found


def udp_spec(topology: Topology, flows: int = 1, until_s: float = 5.0) -> RunSpec:
    return RunSpec(
        topology=topology,
        duration_s=until_s + 1,
        flows={
            f"flow{i}": UdpFlow(
                anchor="wlan", start="wlan", port=5001 + i, from_s=3.0, until_s=until_s
            )
            for i in range(flows)
        },
    )


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def trial(
    spec: RunSpec,
    access: str = "wlan",
    seed: int = 1,
    during=None,  # type: ignore[no-untyped-def]
) -> Trial:
    """Run the traffic of `spec` over a static path; `during(network, start_ns)` runs meanwhile."""
    with folder() as place, running(spec.topology, seed) as network:
        capture = Capture.start(network, spec)
        children: list[Child] = []
        try:
            start_ns = run_start(0.5)
            where = dict.fromkeys(spec.flows, MN_ADDRESS)
            for side in ("cn", "mn"):
                streams = udp_streams(spec, side, where)
                if streams:
                    children.append(
                        fork_into(
                            network.namespace(side),
                            send_udp,
                            streams,
                            start_ns,
                            log=place / f"udp-{side}.log",
                        )
                    )
            for transfer in tcp_transfers(spec, where):
                for node, function in (("cn", serve_tcp), ("mn", fetch_tcp)):
                    log = place / f"{function.__name__}.log"
                    children.append(
                        fork_into(network.namespace(node), function, transfer, start_ns, log=log)
                    )
            sleep_until(start_ns + NANOSECONDS)
            connect_mn(network, access)
            if during is not None:
                during(network, start_ns)
            sleep_until(start_ns + round(spec.duration_s * NANOSECONDS))
            for child in children:
                child.terminate()
            for child in children:
                assert child.wait(5) == 0, child.log.read_text()
            for log in sorted(place.glob("*.log")):
                print(log.name, log.read_text().strip())
            capture.finish(place)
        finally:
            for child in children:
                child.kill()
            capture.close()
        packets = list(pcapng.read_packets(place / "captures.pcapng"))
        shift = time.time_ns() - time.monotonic_ns()
        return Trial(packets, place, start_ns + shift)
