"""The MN's end of its link to the MAG, as somebody who listens there sees it."""

from __future__ import annotations

import itertools
import select
import socket
import time
from ipaddress import IPv6Address, IPv6Network

from nodes.kernel.sockets import DiscoverySocket
from nodes.neighbour_discovery import RouterAdvertisement, decode
from tests.conformance.sockets.inner_packet import IPV6_HEADER, InnerPacket
from tests.conformance.sockets.peer import Peer

ROUTER_ADVERTISEMENT = 134
ETH_P_IPV6 = 0x86DD
ETHERNET_HEADER = 14
ARRIVES_S = 1.5


class Link:
    """`interface` is the one that the MN attaches with. Create it in the MN's namespace."""

    def __init__(self, interface: str) -> None:
        self._index = socket.if_nametoindex(interface)
        self._discovery = DiscoverySocket((ROUTER_ADVERTISEMENT,))
        self._packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._packets.bind((interface, ETH_P_IPV6))
        self._packets.setblocking(False)
        self._marks = itertools.count(1)

    def advertised(self, for_s: float) -> set[IPv6Network]:
        """The prefixes in the Router Advertisements that come within `for_s`, or came since the
        last call."""
        found: set[IPv6Network] = set()
        deadline = time.monotonic() + for_s
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self._discovery], [], [], left)[0]:
                break
            received = self._discovery.receive()
            if received is not None and received.interface == self._index:
                message = decode(received.data, received.source, received.destination)
                if isinstance(message, RouterAdvertisement):
                    found |= {information.prefix for information in message.prefixes}
        return found

    def delivers(self, mag: IPv6Address, lma: Peer, destination: IPv6Address) -> bool:
        """Whether a packet that `lma` tunnels to `mag` arrives here."""
        mark = b"conformance " + next(self._marks).to_bytes(4, "big")
        lma.tunnel(InnerPacket(lma.address, destination, mark).encode(), mag)
        deadline = time.monotonic() + ARRIVES_S
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self._packets], [], [], left)[0]:
                break
            try:
                frame = self._packets.recv(2048)
            except OSError:  # the interface went down since
                continue
            if frame[ETHERNET_HEADER + IPV6_HEADER.size :].startswith(mark):
                return True
        return False

    def close(self) -> None:
        self._discovery.close()
        self._packets.close()
