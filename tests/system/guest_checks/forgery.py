"""What an attacker sends: packets with any source, onto any link that it is at."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network
from typing import Any

from nodes.config import ANY_PREFIX
from nodes.kernel.set_elements import SO_SNDBUFFORCE
from nodes.wire.codec import decode, encode
from nodes.wire.messages import (
    Message,
    ProxyBindingUpdate,
    UpdateNotification,
    UpdateNotificationAcknowledgement,
    UpdateNotificationReason,
)
from nodes.wire.options import (
    AccessTechnologyType,
    AlternateCareOfAddress,
    HandoffIndicator,
    HomeNetworkPrefix,
    MobileNodeIdentifier,
    MobileNodeLinkLayerIdentifier,
    Option,
    Timestamp,
)
from tests.system.guest_checks.scenario import ETH_P_ALL, PACKET_OUTGOING, Scenario
from topologies.namespaces import socket_in
from topologies.plan import mac, other_end

IPV6_IN_IPV6, UDP, MOBILITY = 41, 17, 135
IPV6 = b"\x86\xdd"
SNAP_BYTES = 4096


class Attacker:
    """Sends from `node` over `link` to whoever is at the other end."""

    def __init__(self, course: Scenario, node: str, link: str) -> None:
        topology = course.network.topology
        its = topology.links[link]
        self._socket = socket_in(
            course.network.namespace(node),
            lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0),
        )
        self._socket.bind((its.interface(node), 0))
        ends = mac(topology, link, other_end(its, node)) + mac(topology, link, node)
        self._header = bytes.fromhex(ends.replace(":", "")) + IPV6

    def send(self, packet: bytes) -> None:
        self._socket.send(self._header + packet)

    def allow(self, octets: int) -> None:
        """So many can be on their way to the link."""
        self._socket.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, octets)

    def close(self) -> None:
        self._socket.close()


def packet(
    source: IPv6Address, to: IPv6Address, protocol: int, payload: bytes, hop_limit: int = 64
) -> bytes:
    head = (6 << 28).to_bytes(4, "big") + len(payload).to_bytes(2, "big")
    return head + bytes([protocol, hop_limit]) + source.packed + to.packed + payload


def signal(message: Message, source: IPv6Address, to: IPv6Address) -> bytes:
    return packet(source, to, MOBILITY, encode(message, source, to))


def tunnel(source: IPv6Address, to: IPv6Address, inner: bytes) -> bytes:
    return packet(source, to, IPV6_IN_IPV6, inner)


def pbu(
    mn_id: str,
    prefix: IPv6Network = ANY_PREFIX,
    *,
    handoff: int = 1,
    lifetime: int = 900,
    technology: int = 4,
    link_layer: bytes = bytes.fromhex("020000000502"),
    claim: IPv6Address | None = None,
    prefixes: tuple[IPv6Network, ...] = (),
    extra: tuple[Option, ...] = (),
) -> ProxyBindingUpdate:
    """As of now. `claim`: the Alternate Care-of Address."""
    options: list[Option] = [
        MobileNodeIdentifier.of(mn_id),
        *(HomeNetworkPrefix.of(one) for one in prefixes or (prefix,)),
        HandoffIndicator(handoff),
        AccessTechnologyType(technology),
        Timestamp.of_unix_ns(time.time_ns()),
        MobileNodeLinkLayerIdentifier(link_layer),
    ]
    if claim is not None:
        options.append(AlternateCareOfAddress(claim))
    return ProxyBindingUpdate(sequence=4711, lifetime=lifetime, options=(*options, *extra))


def fmi(mn_id: str, prefix: IPv6Network, sequence: int = 4711) -> UpdateNotification:
    return UpdateNotification(
        sequence=sequence,
        reason=UpdateNotificationReason.FLOW_MOBILITY,
        options=(MobileNodeIdentifier.of(mn_id), HomeNetworkPrefix.of(prefix, off_link=True)),
        acknowledge=True,
    )


def fma(mn_id: str, sequence: int) -> UpdateNotificationAcknowledgement:
    options = (MobileNodeIdentifier.of(mn_id),)
    return UpdateNotificationAcknowledgement(sequence=sequence, status=0, options=options)


class Wiretap:
    """What passes an interface from now on, as IPv6 packets."""

    def __init__(self, course: Scenario, node: str, interface: str) -> None:
        self._socket = socket_in(
            course.network.namespace(node),
            lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0),
        )
        self._socket.setblocking(False)
        self._socket.bind((interface, ETH_P_ALL))

    def packets(self, *, outbound: bool) -> Iterator[bytes]:
        while True:
            try:
                data, sender = self._socket.recvfrom(SNAP_BYTES)
            except BlockingIOError:
                return
            if data[12:14] == IPV6 and (sender[2] == PACKET_OUTGOING) is outbound:
                yield data[14:]

    def signalling(self, kind: type[Message], *, outbound: bool) -> Iterator[tuple[Any, bytes]]:
        """Messages of that kind, and the packets that they came in."""
        for found in self.packets(outbound=outbound):
            if found[6] != MOBILITY:
                continue
            source, to = IPv6Address(found[8:24]), IPv6Address(found[24:40])
            message = decode(found[40:], source, to, verify_checksum=False)
            if isinstance(message, kind):
                yield message, found

    def close(self) -> None:
        self._socket.close()
