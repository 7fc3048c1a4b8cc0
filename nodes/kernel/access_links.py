"""A MAG's side of its access links: neighbour discovery, and the addresses that it has there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv6Address

from nodes.actions import Action, Advertise, Instant, ProbeNeighbour, TearDownLink, UseLinkLocal
from nodes.config import MagConfig
from nodes.kernel.neighbour_limit import NeighbourLimit
from nodes.kernel.routing import Routing
from nodes.kernel.sockets import DiscoverySocket, interface_with
from nodes.link_layer import link_local_address
from nodes.mag.mobile_access_gateway import MobileAccessGateway
from nodes.neighbour_discovery import (
    NEIGHBOUR_ADVERTISEMENT,
    ROUTER_SOLICITATION,
    NeighbourAdvertisement,
    NeighbourSolicitation,
    RouterSolicitation,
    decode,
    encode,
)
from nodes.wire.errors import MalformedMessage

LINK_LOCAL_PREFIX_LENGTH = 64


class AccessLinks:
    """`advertised_mtu` says the MTU of packets by way of an LMA, or None if there is no tunnel."""

    def __init__(
        self, config: MagConfig, advertised_mtu: Callable[[IPv6Address], int | None]
    ) -> None:
        self._config = config
        self._advertised_mtu = advertised_mtu
        self._routing = Routing()
        self._discovery = DiscoverySocket((ROUTER_SOLICITATION, NEIGHBOUR_ADVERTISEMENT))
        self._limit = NeighbourLimit(config.interfaces)
        for interface in config.interfaces:
            self._address(interface)

    def fileno(self) -> int:
        return self._discovery.fileno()

    def perform(self, action: Action) -> None:
        """Carry out an action that is for an access link; others are not for this class."""
        match action:
            case Advertise():
                self._advertise(action)
            case UseLinkLocal(interface, address):
                self._routing.add_address(interface, address, LINK_LOCAL_PREFIX_LENGTH)
            case ProbeNeighbour(interface, neighbour, source):
                own = self._routing.link_layer_address(interface)
                source = source or link_local_address(own)
                data = encode(NeighbourSolicitation(neighbour, own), source, neighbour)
                self._discovery.send(data, source, neighbour, self._routing.index(interface))
            case TearDownLink(interface):
                self._routing.tear_down(interface)
                self._address(interface)

    def receive(self, core: MobileAccessGateway, now: Callable[[], Instant]) -> None:
        """Hand to `core` what came from mobile nodes; what is malformed is dropped."""
        while (received := self._discovery.receive()) is not None:
            interface = interface_with(received.interface, self._config.interfaces)
            if interface is None:
                continue
            try:
                message = decode(received.data, received.source, received.destination)
            except MalformedMessage:
                continue
            if isinstance(message, RouterSolicitation):
                address = message.source_link_layer_address
                core.router_solicited(interface, now(), received.source, address)
            elif isinstance(message, NeighbourAdvertisement) and message.solicited:
                core.neighbour_advertised(interface, message.target, now())

    def close(self) -> None:
        self._limit.close()
        self._discovery.close()
        self._routing.close()

    def _address(self, interface: str) -> None:
        """The addresses that are the same on all access links of the domain (RFC 5213 section
        6.9.3). The kernel itself makes the link-local address that follows from the other."""
        link_layer = self._config.fixed_link_layer_address
        if any(link_layer) and self._routing.link_layer_address(interface) != link_layer:
            self._routing.set_link_layer_address(interface, link_layer)
        address = self._config.fixed_mag_link_local_address_on_all_access_links
        own = link_local_address(self._routing.link_layer_address(interface))
        if not address.is_unspecified and address != own:
            self._routing.add_address(interface, address, LINK_LOCAL_PREFIX_LENGTH)

    def _advertise(self, action: Advertise) -> None:
        """The MTU is that of the tunnel, or the link's if that is lower (RFC 5213 section
        6.9.5)."""
        mtu = lowest_mtu(self._advertised_mtu(action.lma), self._routing.mtu(action.interface))
        data = encode(replace(action.advertisement, mtu=mtu), action.router, action.destination)
        index = self._routing.index(action.interface)
        self._discovery.send(data, action.router, action.destination, index)


def lowest_mtu(tunnel: int | None, link: int) -> int | None:
    return None if tunnel is None else min(tunnel, link)
