"""The MAG's forwarding state in the kernel (RFC 5213 section 6.10).

Uplink, packets from an access interface go into the tunnel to their LMA if their source is in a
prefix that is registered for that interface, and are dropped otherwise. Downlink, packets that
leave a tunnel are routed by a table that has the prefixes registered with that LMA only, so that
nothing loops back. A tunnel takes packets from its LMA alone; others aren't decapsulated.

With a native data plane uplink packets leave over the fabric interface as they are, and packets
that arrive there are forwarded only if they are for registered prefixes. The tunnel stays, for what
the LMA sends through it while it has no controller.

None of them is for this node itself, whatever its destination: else a mobile node could pose as its
LMA, with messages and with tunnel packets. So the table of local addresses comes after these rules.

What the MAG was told of flows is filtered besides: see `mag_flow_filter`.
"""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

from nodes.actions import (
    Action,
    CloseTunnel,
    EndAdoption,
    FilterFlows,
    HostPrefix,
    OpenTunnel,
    UnhostPrefix,
)
from nodes.config import MagConfig
from nodes.controller_config import FABRIC_GATEWAY, FABRIC_MAC
from nodes.kernel.adoption import AdoptingRouting
from nodes.kernel.mag_flow_filter import MagFlowFilter
from nodes.kernel.netlink import RT_TABLE_LOCAL, RT_TABLE_MAIN, RuleMatch
from nodes.kernel.path_mtu import path_mtu
from nodes.kernel.routing import Routing

TUNNEL = "lma{}"
UPLINK_TABLE, DOWNLINK_TABLE = 1000, 1100  # and as many as there are tunnels
LOCAL_ROUTING_TABLE = 1200
DEFAULT_ROUTE = IPv6Network("::/0")
LINK_SCOPE = (IPv6Network("fe80::/10"), IPv6Network("ff00::/8"))
TUNNEL_HEADER = 40
MINIMUM_MTU = 1280

LINK_SCOPE_PRIORITY = 80
DOWNLINK_PRIORITY = 90
DOWNLINK_REST_PRIORITY = 91
LOCAL_ROUTING_PRIORITY = 95
LOCAL_NETWORK_PRIORITY = 96
UPLINK_PRIORITY = 100
UPLINK_REST_PRIORITY = 110
FROM_LOCAL_NETWORK_PRIORITY = 120
LOCAL_ADDRESS_PRIORITY = 200
FABRIC_TO_LOCAL_NETWORK_PRIORITY = 210
FABRIC_REST_PRIORITY = 211
PRIORITIES = (
    LINK_SCOPE_PRIORITY,
    DOWNLINK_PRIORITY,
    DOWNLINK_REST_PRIORITY,
    LOCAL_ROUTING_PRIORITY,
    LOCAL_NETWORK_PRIORITY,
    UPLINK_PRIORITY,
    UPLINK_REST_PRIORITY,
    FROM_LOCAL_NETWORK_PRIORITY,
    LOCAL_ADDRESS_PRIORITY,
    FABRIC_TO_LOCAL_NETWORK_PRIORITY,
    FABRIC_REST_PRIORITY,
)
ANYTHING = RuleMatch()


class MagForwarding:
    """`adopt`: what an earlier start has left goes on forwarding; EndAdoption removes of it what
    hasn't been asked for again by then."""

    def __init__(self, config: MagConfig, *, adopt: bool = False) -> None:
        self._config = config
        self._flows = MagFlowFilter(adopt=adopt)
        self._slots: dict[IPv6Address, int] = {}
        self._never_tunnels = config.data_plane == "native" and config.fallback == "refuse"
        self._native_mtus: dict[IPv6Address, int] = {}
        self._hosted: dict[tuple[str, IPv6Network], HostPrefix] = {}
        slots = range(len(config.lmas))
        tables = [table + slot for table in (UPLINK_TABLE, DOWNLINK_TABLE) for slot in slots]
        tables.append(LOCAL_ROUTING_TABLE)
        self._left = AdoptingRouting("lma", tables, PRIORITIES) if adopt else None
        self._routing: Routing = self._left or Routing()
        if not adopt:
            self._routing.sweep("lma", tables, PRIORITIES)
        self._routing.remove_rule(ANYTHING, RT_TABLE_LOCAL)
        self._routing.add_rule(LOCAL_ADDRESS_PRIORITY, ANYTHING, RT_TABLE_LOCAL)
        for interface in config.interfaces:
            for network in LINK_SCOPE:
                match = RuleMatch(incoming=interface, destination=network)
                self._routing.add_rule(LINK_SCOPE_PRIORITY, match, RT_TABLE_LOCAL)
            self._routing.add_rule(UPLINK_REST_PRIORITY, RuleMatch(incoming=interface), None)
        for network in config.local_networks:
            match = RuleMatch(source=network)
            self._routing.add_rule(FROM_LOCAL_NETWORK_PRIORITY, match, LOCAL_ROUTING_TABLE)
        if config.fabric_interface is not None:
            self._routing.set_neighbour(config.fabric_interface, FABRIC_GATEWAY, FABRIC_MAC)
            # Behind the table of local addresses, which signalling and tunnel packets are for.
            match = RuleMatch(incoming=config.fabric_interface)
            self._routing.add_rule(FABRIC_REST_PRIORITY, match, None)
            for network in config.local_networks:
                to_network = match._replace(destination=network)
                self._routing.add_rule(FABRIC_TO_LOCAL_NETWORK_PRIORITY, to_network, RT_TABLE_MAIN)

    def perform(self, action: Action) -> None:
        """Carry out a forwarding action; others are not for this class."""
        match action:
            case OpenTunnel(peer):
                self._open_tunnel(peer)
            case CloseTunnel(peer):
                self._close_tunnel(peer)
            case FilterFlows():
                self._flows.filter(action)
            case HostPrefix():
                self._host(action)
            case UnhostPrefix(interface, prefix):
                self._unhost(interface, prefix)
            case EndAdoption() if self._left is not None:
                self._flows.end_adoption()
                self._left.end_adoption()
                self._left = None

    def advertised_mtu(self, lma: IPv6Address) -> int | None:
        """What the MTU option of Router Advertisements says: the MTU of the tunnel (RFC 5213
        section 6.9.2), or of the path where no packet goes through it; None if there is none."""
        slot = self._slots.get(lma)
        if slot is None:
            return None
        tunnel = self._routing.mtu(TUNNEL.format(slot))
        return self._native_mtus.get(lma, tunnel) if self._never_tunnels else tunnel

    def update_tunnel_mtus(self) -> list[IPv6Address]:
        """Make the tunnels' MTUs follow those of their paths (RFC 5213 section 6.9.5, RFC 2473
        section 6.7); returns the LMAs for which another one is advertised."""
        changed = []
        for lma, slot in self._slots.items():
            before, path = self.advertised_mtu(lma), self._path_mtu(lma)
            if path is None:
                continue
            name, mtu = TUNNEL.format(slot), max(path - TUNNEL_HEADER, MINIMUM_MTU)
            if mtu != self._routing.mtu(name):
                self._routing.set_mtu(name, mtu)
            self._native_mtus[lma] = max(path, MINIMUM_MTU)
            if self.advertised_mtu(lma) != before:
                changed.append(lma)
        return changed

    def close(self) -> None:
        """Leave a node that forwards nothing for mobile nodes: what they send would go on without a
        tunnel, whoever its source says that it is from."""
        for interface, prefix in list(self._hosted):
            self._unhost(interface, prefix)
        for lma in list(self._slots):
            self._close_tunnel(lma)
        self._routing.add_rule(0, ANYTHING, RT_TABLE_LOCAL)
        rest = [priority for priority in PRIORITIES if priority != UPLINK_REST_PRIORITY]
        self._routing.sweep("lma", (), rest)
        self._routing.close()

    def _path_mtu(self, lma: IPv6Address) -> int | None:
        found = [mtu for mtu in (path_mtu(lma), self._config.path_mtu) if mtu is not None]
        return min(found, default=None)

    def _open_tunnel(self, lma: IPv6Address) -> None:
        left = None if self._left is None else self._left.tunnel_to(lma)
        slot = self._free_slot() if left is None else int(left.removeprefix(TUNNEL.format("")))
        name = TUNNEL.format(slot)
        self._routing.add_tunnel(name, self._config.proxy_coa, lma)
        self._slots[lma] = slot
        self.update_tunnel_mtus()
        fabric = self._config.fabric_interface
        gateway = None if fabric is None else FABRIC_GATEWAY
        table = UPLINK_TABLE + slot
        self._routing.replace_route(DEFAULT_ROUTE, fabric or name, gateway=gateway, table=table)
        for incoming in self._downlink_matches(slot):
            self._routing.add_rule(DOWNLINK_PRIORITY, incoming, DOWNLINK_TABLE + slot)
        self._routing.add_rule(DOWNLINK_REST_PRIORITY, RuleMatch(incoming=name), None)

    def _free_slot(self) -> int:
        taken = self._slots.values()
        return next(
            slot
            for slot in range(len(self._config.lmas))
            if slot not in taken
            and (self._left is None or not self._left.is_left(TUNNEL.format(slot)))
        )

    def _close_tunnel(self, lma: IPv6Address) -> None:
        slot = self._slots.pop(lma)
        self._native_mtus.pop(lma, None)
        for incoming in self._downlink_matches(slot):
            self._routing.delete_rule(DOWNLINK_PRIORITY, incoming, DOWNLINK_TABLE + slot)
        name = TUNNEL.format(slot)
        self._routing.delete_rule(DOWNLINK_REST_PRIORITY, RuleMatch(incoming=name), None)
        self._routing.delete_route(DEFAULT_ROUTE, table=UPLINK_TABLE + slot)
        self._routing.delete_link(name)

    def _downlink_matches(self, slot: int) -> list[RuleMatch]:
        """Where packets for mobile nodes may come from."""
        fabric = self._config.fabric_interface
        interfaces = [TUNNEL.format(slot), *([] if fabric is None else [fabric])]
        return [RuleMatch(incoming=interface) for interface in interfaces]

    def _host(self, action: HostPrefix) -> None:
        self._hosted[action.interface, action.prefix] = action
        self._route(action)
        for priority, match, table in self._uplink_rules(action):
            self._routing.add_rule(priority, match, table)

    def _unhost(self, interface: str, prefix: IPv6Network) -> None:
        action = self._hosted.pop((interface, prefix))
        for priority, match, table in self._uplink_rules(action):
            self._routing.delete_rule(priority, match, table)
        for table in self._downlink_tables(action):
            self._routing.delete_route(prefix, table=table)
        # Of several interfaces of a mobile node here, the one that got the prefix last.
        for other in self._hosted.values():
            if other.prefix == prefix:
                self._route(other)

    def _route(self, action: HostPrefix) -> None:
        gateway = action.mn_link_local
        for table in self._downlink_tables(action):
            self._routing.replace_route(
                action.prefix, action.interface, gateway=gateway, table=table
            )

    def _downlink_tables(self, action: HostPrefix) -> list[int]:
        own = [DOWNLINK_TABLE + self._slots[action.lma]]
        return [*own, LOCAL_ROUTING_TABLE] if action.local_routing else own

    def _uplink_rules(self, action: HostPrefix) -> list[tuple[int, RuleMatch, int]]:
        """RFC 5213 section 6.10.5: what is local goes there directly if EnableMAGLocalRouting
        allows it, all else into the tunnel."""
        match = RuleMatch(source=action.prefix, incoming=action.interface)
        rules = [(UPLINK_PRIORITY, match, UPLINK_TABLE + self._slots[action.lma])]
        if action.local_routing:
            rules.append((LOCAL_ROUTING_PRIORITY, match, LOCAL_ROUTING_TABLE))
            for network in self._config.local_networks:
                to_network = match._replace(destination=network)
                rules.append((LOCAL_NETWORK_PRIORITY, to_network, RT_TABLE_MAIN))
        return rules
