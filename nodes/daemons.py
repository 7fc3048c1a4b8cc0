"""The three daemons: a core, its sockets and its forwarding state, put together."""

from __future__ import annotations

import contextlib
import selectors
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from ipaddress import IPv6Address
from typing import Any, NamedTuple

from nodes.access_operations import operate_mag, operate_mn
from nodes.actions import (
    Action,
    Advertise,
    OpenTunnel,
    Persist,
    ProbeAddress,
    ProbeNeighbour,
    SendOnLink,
    Solicit,
)
from nodes.config import (
    DaemonConfig,
    LmaConfig,
    MagConfig,
    MnConfig,
)
from nodes.control import ControlServer
from nodes.control_requests import LmaRequest, MagRequest, MnRequest
from nodes.daemon import Daemon, Place, now, random_source, run_together
from nodes.event_log import EventWriter
from nodes.kernel.access_links import AccessLinks
from nodes.kernel.address_probe import send_probe
from nodes.kernel.link_monitor import LinkMonitor
from nodes.kernel.lma_forwarding import LmaForwarding
from nodes.kernel.mag_forwarding import MagForwarding
from nodes.kernel.mn_forwarding import COMPARED_OCTETS, COPIES_QUEUE, MnForwarding
from nodes.kernel.packet_queue import PacketQueue
from nodes.kernel.path_mtu import PacketTooBigMonitor
from nodes.kernel.routing import Routing
from nodes.kernel.signalling_protection import protect_signalling
from nodes.kernel.sockets import (
    ALL_ROUTERS,
    DiscoverySocket,
    LinkSocket,
    MobilitySocket,
    interface_with,
)
from nodes.kernel.source_filter import SourceFilter
from nodes.kernel.uplink_watch import UplinkWatch
from nodes.link_layer import link_local_address
from nodes.lma.operations import operate
from nodes.lma_messages import serve_in_order
from nodes.mag.mobile_access_gateway import MobileAccessGateway
from nodes.mn.attachment import SEQUENCE_MODULUS
from nodes.mn.duplicate_removal import DuplicateRemoval
from nodes.mn.mobile_node import MobileNode
from nodes.neighbour_discovery import (
    NeighbourAdvertisement,
    NeighbourDiscovery,
    RouterAdvertisement,
    RouterSolicitation,
    decode,
    encode,
)
from nodes.northbound_client import NorthboundClient
from nodes.packet_fields import packet_fields
from nodes.restart_counter import count_start
from nodes.session_keeper import recovered
from nodes.wire.attachment import (
    ETHERTYPE,
    AttachmentAnswer,
    AttachmentMessage,
    AttachmentRequest,
    decode_attachment,
    encode_attachment,
)
from nodes.wire.errors import MalformedMessage

Ready = Callable[[], None] | None
ROUTER_ADVERTISEMENT, NEIGHBOUR_ADVERTISEMENT = 134, 136


def run_lma(config: LmaConfig, name: str = "lma", ready: Ready = None) -> None:
    """Serve as LMA in this network namespace until SIGTERM or SIGINT."""
    protect_signalling(config.ipsec, "lma", (config.address,), config.authorized_mags)
    core, sessions = recovered(config, random_source(config, name))
    following = any(policy.decision_maker == "mn" for policy in config.mobile_nodes.values())
    adopt = sessions is not None and sessions.found
    forwarding = LmaForwarding(
        config.address,
        track=following,
        fabric=config.fabric_interface,
        labels=config.data_plane == "sdn-assisted",
        holds=any(policy.hold_ms for policy in config.mobile_nodes.values()),
        adopt=adopt,
    )
    sources = SourceFilter(config, forwarding.tunnel, adopt=adopt)
    northbound: NorthboundClient | None = None
    watch = UplinkWatch() if following else None
    with EventWriter(config.events, name) as events:

        def perform(action: Action) -> None:
            if isinstance(action, Persist):
                assert sessions is not None  # else the core wouldn't ask for it
                return sessions.write(action, events)
            # While the tunnel is there, and open.
            sources.perform(action)
            forwarding.perform(action)
            if northbound is not None:
                northbound.perform(action)
            if watch is not None:
                tunnel = forwarding.tunnel(action.peer) if isinstance(action, OpenTunnel) else ""
                watch.perform(action, tunnel)
            return None

        def watched(watch: UplinkWatch) -> None:
            for packet, peer in watch.receive():
                fields = packet_fields(packet.data)
                if fields is not None and peer is not None:
                    core.uplink_seen(fields, peer, now())
                    daemon.carry_out()
                watch.accept(packet)

        daemon = Daemon(core, events, perform)
        if config.controller is not None:
            northbound = NorthboundClient(config.controller, core, daemon, events)
        control = _serve_control(config, LmaRequest, daemon, partial(operate, core))
        serve_in_order(daemon, core)
        if watch is not None:
            daemon.watch(watch, partial(watched, watch))
        try:
            daemon.run(ready)
        finally:
            if control is not None:
                control.close()
            if northbound is not None:
                northbound.close()
            forwarding.close()
            sources.close()
            if watch is not None:
                watch.close()
            if sessions is not None:
                sessions.close()


def run_mag(config: MagConfig, name: str, ready: Ready = None) -> None:
    """Serve as MAG in this network namespace until SIGTERM or SIGINT."""
    # Dict: each address once. Notifications come to the Proxy-CoA, answers where asked from.
    local = tuple(dict.fromkeys((config.proxy_coa, config.egress_address or config.proxy_coa)))
    protect_signalling(config.ipsec, "mag", local, config.lmas)
    core = MobileAccessGateway(config, random_source(config, name), count_start(config.state))
    forwarding = MagForwarding(config, adopt=core.adopts(now()))
    links = AccessLinks(config, forwarding.advertised_mtu)
    too_big = PacketTooBigMonitor()
    routing = Routing()
    link = LinkSocket(ETHERTYPE) if config.layer_2_interfaces else None
    with EventWriter(config.events, name) as events:

        def perform(action: Action) -> None:
            if isinstance(action, SendOnLink):
                _signal(action, link, events)
                return
            try:
                forwarding.perform(action)
                links.perform(action)
            except OSError as error:
                if not isinstance(action, (Advertise, ProbeNeighbour)):
                    raise
                # The link can go down between its last event and this.
                events.write("not-done", {"action": type(action).__name__, "why": str(error)})

        def path_changed() -> None:
            too_big.drain()
            for lma in forwarding.update_tunnel_mtus():
                core.tunnel_mtu_changed(lma, now())

        daemon = Daemon(core, events, perform)
        for address in local:
            daemon.serve_mobility(
                MobilitySocket(address),
                lambda message, received, at: core.receive(message, received.source, at),
            )
        daemon.watch(links, partial(links.receive, core, now))
        daemon.watch(too_big, path_changed)
        if link is not None:

            def requested(interface: str, message: AttachmentMessage, source: bytes) -> None:
                if isinstance(message, AttachmentRequest):
                    core.attachment_requested(interface, message, source, now())

            daemon.watch(link, partial(_signalled, link, events, requested))
        control = _serve_control(config, MagRequest, daemon, partial(operate_mag, core))
        _watch_links(daemon, routing, config.interfaces, core)
        for interface in config.interfaces:
            if routing.is_up(interface):
                core.began(interface)
        try:
            daemon.run(ready)
        finally:
            if control is not None:
                control.close()
            too_big.close()
            links.close()
            forwarding.close()
            routing.close()
            if link is not None:
                link.close()


def run_mn(config: MnConfig, name: str = "mn", ready: Ready = None) -> None:
    """Serve as mobile node in this network namespace until SIGTERM or SIGINT."""
    with _mobile_node(config, name) as daemon:
        daemon.run(ready)


class PlacedNode(NamedTuple):
    """`enter` moves the process to the node's network namespace."""

    config: MnConfig
    name: str
    enter: Callable[[], None]


def run_mns(nodes: Sequence[PlacedNode], ready: Ready = None) -> None:
    """Serve as several mobile nodes until SIGTERM or SIGINT. Alone in a process, each would take
    20 times as much memory."""
    with contextlib.ExitStack() as stack:
        daemons = []
        selector = selectors.SelectSelector()
        for config, name, enter in nodes:
            enter()
            daemons.append(stack.enter_context(_mobile_node(config, name, Place(selector, enter))))
        run_together(daemons, ready)


@contextlib.contextmanager
def _mobile_node(config: MnConfig, name: str, place: Place | None = None) -> Iterator[Daemon]:
    core = MobileNode(config, random_source(config, name).randrange(SEQUENCE_MODULUS))
    forwarding = MnForwarding(config)
    discovery = DiscoverySocket((ROUTER_ADVERTISEMENT, NEIGHBOUR_ADVERTISEMENT))
    routing = Routing()
    link = LinkSocket(ETHERTYPE) if config.layer_2 else None
    with EventWriter(config.events, name) as events:

        def perform(action: Action) -> None:
            try:
                if isinstance(action, SendOnLink):
                    _signal(action, link, events)
                elif isinstance(action, ProbeAddress):
                    send_probe(action.interface, action.address)
                elif isinstance(action, Solicit):
                    _solicit(action.interface, discovery, routing)
                else:
                    forwarding.perform(action)
            except (OSError, LookupError) as error:
                # The access can go down between its last event and this; coming up again, it
                # solicits anew.
                events.write("not-done", {"action": type(action).__name__, "why": str(error)})

        def advertised() -> None:
            while (received := discovery.receive()) is not None:
                try:
                    message = decode(received.data, received.source, received.destination)
                except MalformedMessage as error:
                    events.write("malformed", {"source": received.source, "why": str(error)})
                    continue
                interface = interface_with(received.interface, config.access_interfaces)
                if interface is not None:
                    _discovered(core, interface, received.source, message)

        daemon = Daemon(core, events, perform, place)
        daemon.watch(discovery, advertised)
        if link is not None:

            def answered(interface: str, message: AttachmentMessage, _: bytes) -> None:
                if isinstance(message, AttachmentAnswer):
                    core.attachments.answered(interface, message, now())

            daemon.watch(link, partial(_signalled, link, events, answered))
        end_removal = _remove_copies(daemon, events) if config.duplicates == "remove" else None
        control = _serve_control(config, MnRequest, daemon, partial(operate_mn, core))
        _watch_links(daemon, routing, config.access_interfaces, core)
        try:
            yield daemon
        finally:
            if control is not None:
                control.close()
            forwarding.close()
            routing.close()
            if link is not None:
                link.close()
            if end_removal is not None:
                end_removal()


def _remove_copies(daemon: Daemon, events: EventWriter) -> Callable[[], None]:
    """From now on, until what is returned is called."""
    queue, removal = PacketQueue(COPIES_QUEUE, COMPARED_OCTETS), DuplicateRemoval()

    def received() -> None:
        for packet in queue.receive():
            if removal.is_copy(packet.data, packet.interface, now().monotonic):
                queue.drop(packet)
            else:
                queue.accept(packet)

    def end() -> None:
        queue.close()
        events.write("copies-removed", {"packets": removal.removed})

    daemon.watch(queue, received)
    return end


def _signal(action: SendOnLink, link: LinkSocket | None, events: EventWriter) -> None:
    """A link that went down meanwhile is found out about by its carrier; requests are repeated."""
    assert link is not None
    try:
        link.send(encode_attachment(action.message), action.interface, action.destination)
    except OSError as error:
        events.write("not-done", {"action": "SendOnLink", "why": str(error)})


def _signalled(
    link: LinkSocket,
    events: EventWriter,
    receive: Callable[[str, AttachmentMessage, bytes], None],
) -> None:
    """Messages of layer-2 signalling that arrived."""
    while (frame := link.receive()) is not None:
        try:
            message = decode_attachment(frame.data)
        except MalformedMessage as error:
            events.write("malformed", {"source": frame.source.hex(":"), "why": str(error)})
            continue
        receive(frame.interface, message, frame.source)


def _serve_control(
    config: DaemonConfig, requests: Any, daemon: Daemon, handle: Callable[[Any, int], None]
) -> ControlServer[Any] | None:
    """The control socket, if the configuration names one."""
    if config.control_socket is None:
        return None
    return ControlServer(config.control_socket, requests, daemon, handle)


def _watch_links(
    daemon: Daemon,
    routing: Routing,
    interfaces: tuple[str, ...],
    core: MobileAccessGateway | MobileNode,
) -> None:
    """Tell the core about carriers that came or went, beginning with those that are there."""
    monitor = LinkMonitor()
    known = dict.fromkeys(interfaces, False)

    def look() -> None:
        look_at(monitor.drain())

    def look_at(changed: set[str] | None) -> None:
        for interface in interfaces:
            if changed is not None and interface not in changed:
                continue
            up = routing.is_up(interface)
            if up != known[interface]:
                known[interface] = up
                (core.link_up if up else core.link_down)(interface, now())

    daemon.watch(monitor, look)
    look_at(None)


def _discovered(
    core: MobileNode, interface: str, source: IPv6Address, message: NeighbourDiscovery
) -> None:
    if isinstance(message, RouterAdvertisement):
        core.router_advertised(interface, source, message, now())
    elif isinstance(message, NeighbourAdvertisement):
        core.neighbour_advertised(interface, message.target)


def _solicit(interface: str, discovery: DiscoverySocket, routing: Routing) -> None:
    link_layer = routing.link_layer_address(interface)
    source = link_local_address(link_layer)
    message = RouterSolicitation(source_link_layer_address=link_layer)
    data = encode(message, source, ALL_ROUTERS)
    discovery.send(data, source, ALL_ROUTERS, routing.index(interface))
