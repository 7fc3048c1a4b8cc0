"""Where packets go in a `World`: through the models of its nodes' kernels, end to end."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

from nodes.flow_mobility_cache import FlowAction
from nodes.wire.traffic_selector import PacketFields
from tests.domain import Forwarding
from tests.world import World
from tests.world_plan import MAG_NAMES, MAGS, PORTS

CN = IPv6Address("2001:db8:ffff::1")


def packet_to(prefix: IPv6Network, port: int) -> PacketFields:
    """A packet of UDP from the correspondent node."""
    return PacketFields(CN, prefix[1], 17, 5000, port)


def anchored(world: World, packet: PacketFields) -> tuple[str, ...] | None:
    """The MAGs that the LMA's kernel sends a copy of a downlink packet to, and None if no
    route or row is for it."""
    assert world.lma is not None
    kernel: Forwarding = world.lma.kernel
    destination = packet.destination
    for key, flow in sorted(
        kernel.flows.items(), key=lambda item: (item[1].entry.priority, item[0])
    ):
        path = kernel.targets.get(key)
        mine = any(destination in prefix for prefix in flow.prefixes)
        if path and mine and flow.entry.selector.matches(packet):
            if flow.entry.action is FlowAction.DROP:
                return ()
            return tuple(MAG_NAMES[peer] for peer in path)
    for prefix, peer in kernel.routes.items():
        if destination in prefix:
            return () if peer is None else (MAG_NAMES[peer],)
    return None


def down(world: World, packet: PacketFields) -> list[str]:
    """The ports that a packet from the correspondent node arrives over."""
    arrived = []
    for mag in anchored(world, packet) or ():
        if mag not in world.nodes:
            continue
        kernel: Forwarding = world.nodes[mag].kernel
        hosts = [
            (port, prefix)
            for port, prefix in kernel.through
            if packet.destination in prefix and _passes(kernel, port, packet)
        ]
        if hosts:  # of several interfaces, the one that got the prefix last
            port = hosts[-1][0]
            if world.links.get(port) == mag:
                arrived.append(port)
                host = world.nodes.get(PORTS[port].mn_id)
                if host is not None:
                    host.kernel.marks[packet] = port
    return arrived


def up(world: World, mn_id: str, packet: PacketFields) -> bool:
    """A mobile node answers packet `packet`: whether that arrives at the LMA."""
    port = world.nodes[mn_id].kernel.way_out(packet)
    mag = world.links.get(port)
    if mag is None or mag not in world.nodes:
        return False
    kernel: Forwarding = world.nodes[mag].kernel
    hosted = any(p == port and packet.destination in prefix for p, prefix in kernel.hosted)
    if not hosted or not _passes(kernel, port, packet) or world.lma is None:
        return False
    anchor: Forwarding = world.lma.kernel
    if MAGS[mag] not in anchor.tunnels:
        return False
    if not any(
        peer == MAGS[mag] and packet.destination in prefix for peer, prefix in anchor.sources
    ):
        return False
    if any(packet.destination in prefix for prefix in anchor.watched):
        up = packet.reversed()
        world.act("lma", lambda core, now: core.uplink_seen(up, MAGS[mag], now))
    return True


def _passes(kernel: Forwarding, port: str, packet: PacketFields) -> bool:
    """Whether the MAG's filter of flows lets a packet pass (RFC 7864 section 5.2)."""
    filters = kernel.filters.get(port)
    if filters is None or not any(packet.destination in net for net in filters.prefixes):
        return True
    return any(flow.selector.matches(packet) for flow in filters.flows)
