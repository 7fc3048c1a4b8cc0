"""Made-up octets for the sockets of daemons that run: from strangers, from peers, over the access
link and the control socket. `make fuzz` does it without sockets, and a thousand times as often."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from experiments.emulation.roles import TECHNOLOGIES
from nodes.config import AccessProfile, AttachmentPolicy, LmaConfig, MagConfig, MobileNodePolicy
from nodes.control_client import request
from nodes.daemons import run_lma, run_mag
from nodes.neighbour_discovery import ALL_ROUTERS, HOP_LIMIT
from nodes.wire.attachment import ETHERTYPE, AttachmentRequest, encode_attachment
from nodes.wire.messages import ProxyBindingUpdate
from nodes.wire.options import (
    AccessTechnologyType,
    HandoffIndicator,
    HomeNetworkPrefix,
    MobileNodeIdentifier,
)
from tests.conformance.sockets.nodes_under_test import LmaUnderTest, MagUnderTest
from tests.conformance.sockets.peer import Peer
from tests.fuzz import corpus
from tests.system.guest_checks.conformance_checks import (
    CN,
    LMA,
    MAG1,
    MAG2,
    MN,
    OTHER_MN,
    OTHER_PREFIX,
    POOL,
    PREFIX,
    peer_at,
    serving,
)
from tests.system.guest_checks.support import reference
from topologies.namespaces import socket_in
from topologies.network import Network
from topologies.plan import mac

# A daemon's queue is limited; what it drops there has fuzzed nothing.
AT_ONCE = 20
PAUSE_S = 0.005
# Longer than anything that made-up messages may have begun.
QUIET_S = 120.0
LEAST_OCTETS, MOST_OCTETS = 8, 1232


def made_up(seed: str, count: int, names: Sequence[str]) -> Iterator[bytes]:
    """Inputs of the corpora, changed in some places, cut, joined, or as they are."""
    chance = random.Random(seed)
    kept = [data for name in names for data in corpus.read(name)]
    for _ in range(count):
        data = bytearray(chance.choice(kept))
        kind = chance.randrange(4)
        if kind == 1:
            data += chance.choice(kept)
        elif kind == 2:
            del data[chance.randrange(len(data) + 1) :]
        for _ in range(chance.choice((0, 1, 1, 2, 4, 16)) if data else 0):
            data[chance.randrange(len(data))] = chance.randrange(256)
        yield bytes(data[:MOST_OCTETS])


def _as_header(data: bytes) -> bytes:
    """As long as it says, so that it gets past the first check, mostly."""
    data = data.ljust(LEAST_OCTETS, b"\0")
    octets = len(data) // 8 * 8
    return data[:1] + bytes((octets // 8 - 1,)) + data[2:octets]


def _send(count: int, seed: str, names: Sequence[str], send: Callable[[bytes], object]) -> int:
    """How many the kernel took."""
    taken = 0
    for number, data in enumerate(made_up(seed, count, names)):
        with contextlib.suppress(OSError):
            send(data)
            taken += 1
        if number % AT_ONCE == 0:
            time.sleep(PAUSE_S)
    return taken


def _headers(peer: Peer, to: IPv6Address, count: int) -> int:
    """Three of four as headers that are whole, and one as it is with a checksum that is wrong."""
    flip = iter(range(count))

    def send(data: bytes) -> None:
        if next(flip) % 4:
            peer.send_octets(_as_header(data), to)
        else:
            peer.send_octets_with_checksum(data, 0, to)

    taken = _send(count, str(peer.address), ("mobility-header", "received-message"), send)
    peer.drain()
    return taken


def lma(folder: Path, count: int) -> dict[str, Any]:
    """A session before and after; and what was sent, by sender, and what became of it."""
    with tempfile.TemporaryDirectory() as state:
        control = Path(state) / "control.sock"
        config = LmaConfig(
            events=folder / "events.jsonl",
            address=LMA,
            control_socket=control,
            prefix_pool=POOL,
            mobile_nodes={MN: MobileNodePolicy(), OTHER_MN: MobileNodePolicy(mags=(MAG1,))},
            accesses=TECHNOLOGIES,
            authorized_mags=(MAG1, MAG2),
        )
        with serving("lma", run_lma, config, folder) as network:
            mag = peer_at(network, "mag1", MAG1)
            stranger, other = peer_at(network, "cn", CN), peer_at(network, "mag2", MAG2)
            node = LmaUnderTest(LMA, mag=mag, mn=OTHER_MN, other_mag=other, stranger=stranger)
            before = _session(node)
            sent = {"stranger": _headers(stranger, LMA, count)}
            # A MAG that the node may not use can't harm its session, whatever it says.
            sent["other MAG"] = _headers(other, LMA, count)
            time.sleep(QUIET_S)
            kept = _bindings(control)
            # Its own MAG, and who may use the socket, may end it; the LMA goes on all the same.
            sent["control socket"] = _send(
                count // 4, "control", ("lma-requests",), lambda data: _line(control, data)
            )
            sent["own MAG"] = _headers(mag, LMA, count)
            time.sleep(QUIET_S)
            mag.drain()
            after = _session(node)
            return {
                "session": before,
                "kept": kept,
                "sent": sent,
                "after": after,
                "alive": _bindings(control),
                "events": _events(folder),
            }


def _session(node: LmaUnderTest) -> list[str]:
    """The prefixes that a good PBU gets."""
    answer = node.ask(node.request())
    assert answer.status == 0, answer
    return [str(o.prefix) for o in answer.options if isinstance(o, HomeNetworkPrefix)]


def _bindings(control: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = request(control, {"op": "bindings"})["result"]
    return found


def _line(control: Path, data: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(control))
        client.sendall(data + b"\n")
        client.settimeout(5)
        client.recv(65_536)


def _events(folder: Path) -> dict[str, int]:
    lines = (folder / "events.jsonl").read_text().splitlines()
    return dict(Counter(json.loads(line)["event"] for line in lines))


def mag(folder: Path, count: int) -> dict[str, Any]:
    topology = reference()
    interface = topology.access_link("wlan").interface("mag1")
    config = MagConfig(
        events=folder / "events.jsonl",
        proxy_coa=MAG1,
        lma=LMA,
        access_interfaces={
            interface: AccessProfile(
                mn_id=MN,
                access_technology=TECHNOLOGIES["wlan"].technology,
                link_layer_id=mac(topology, "wlan", "mn"),
            )
        },
    )
    with serving("mag1", run_mag, config, folder) as network:
        node = MagUnderTest(
            MAG1,
            lma=peer_at(network, "lma", LMA),
            mn=MN,
            prefix=PREFIX,
            other_prefix=OTHER_PREFIX,
            attach_mn=lambda: network.set_access("wlan", True),
            detach_mn=lambda: network.set_access("wlan", False),
            stranger=peer_at(network, "mag2", MAG2),
        )
        node.register()
        assert node.stranger is not None
        sent = {"stranger": _headers(node.stranger, MAG1, count)}
        there = topology.access_link("wlan").interface("mn")
        sent["neighbour discovery"] = _discovery(network, there, count)
        time.sleep(1.0)
        kept = node.is_registered()
        # Its own LMA may end what it has; the MAG goes on all the same.
        sent["LMA"] = _headers(node.lma, MAG1, count)
        time.sleep(QUIET_S)
        node.leave()
        node.register()
        return {
            "sent": sent,
            "kept": kept,
            "registered": node.is_registered(),
            "events": _events(folder),
        }


def attachments(folder: Path, count: int) -> dict[str, Any]:
    """A MAG that nodes attach to by layer-2 signalling."""
    topology = reference()
    link = topology.access_link("wlan")
    technology = TECHNOLOGIES["wlan"].technology
    config = MagConfig(
        events=folder / "events.jsonl",
        proxy_coa=MAG1,
        lma=LMA,
        access_interfaces={},
        layer_2_interfaces=(link.interface("mag1"),),
        mobile_nodes={MN: AttachmentPolicy(access_technologies=(technology,))},
    )
    with serving("mag1", run_mag, config, folder) as network:
        lma_end = peer_at(network, "lma", LMA)
        network.set_access("wlan", True)
        time.sleep(1.0)
        with _frames(network, link.interface("mn")) as send:
            sent = {"frames": _send(count, "frames", ("attachment-frame",), send)}
            time.sleep(QUIET_S)
            lma_end.drain()
            options = (
                MobileNodeIdentifier.of(MN),
                HandoffIndicator(1),
                AccessTechnologyType(technology),
            )
            send(encode_attachment(AttachmentRequest(7, options)))
            found = lma_end.expect(ProxyBindingUpdate, MAG1, 5.0)
        return {"sent": sent, "asked": found.lifetime > 0, "events": _events(folder)}


@contextlib.contextmanager
def _frames(network: Network, interface: str) -> Iterator[Callable[[bytes], object]]:
    """Sends the payload of a frame to all on the link."""
    with socket_in(
        network.namespace("mn"),
        lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, ETHERTYPE),
    ) as link:
        address = (interface, ETHERTYPE, 0, 0, b"\xff" * 6)
        yield lambda data: link.sendto(data, address)


def _discovery(network: Network, interface: str, count: int) -> int:
    """From the mobile node's end of a link."""
    namespace = network.namespace("mn")
    channel = socket_in(
        namespace, lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    )
    index = socket_in(namespace, lambda: socket.if_nametoindex(interface))
    with channel:
        channel.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, HOP_LIMIT)
        to = (str(ALL_ROUTERS), 0, 0, index)
        return _send(
            count,
            "discovery",
            ("neighbour-discovery",),
            lambda data: channel.sendto(data[1:] or b"\x85", to),
        )
