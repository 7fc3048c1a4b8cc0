"""What the LMA takes from where: sources of packets that can't be right are dropped.

On the interfaces towards the Internet nothing arrives that has a source of the domain, and neither
signalling nor tunnel packets for its nodes (RFC 2827). Out of the tunnel of a MAG come only packets
of mobile nodes that are registered there (`nodes.lma.uplink_sources`). Who can send with the source
address of a MAG from within the core isn't stopped here, but by IPsec or by the core's routers.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network

from nodes.actions import AcceptSources, Action, EndAdoption
from nodes.config import HOME_NETWORK_PREFIX_LENGTH, LmaConfig
from nodes.kernel.set_elements import ElementChange, TunnelSource
from nodes.kernel.table_adoption import AdoptedTable
from nodes.wire.mobility_header import NEXT_HEADER as MOBILITY_HEADER

TABLE = "ip6 flowmob_sources"
IPV6_IN_IPV6 = 41
_MASK = IPv6Network(f"::/{HOME_NETWORK_PREFIX_LENGTH}").netmask
# Before connection tracking puts fragments together: those that are dropped shall cost no memory.
_PRIORITY = -450
_SKELETON = f"""
table {TABLE} {{
  set sources {{
    type ifname . ipv6_addr
  }}
  chain tunnels {{
    type filter hook prerouting priority {_PRIORITY}; policy accept;
    iifname "mag*" iifname . ip6 saddr & {_MASK} != @sources drop
  }}
}}
"""


class SourceFilter:
    """`tunnel` says which interface the tunnel to a MAG is. `adopt`: what an earlier start accepted
    is accepted until EndAdoption."""

    def __init__(
        self, config: LmaConfig, tunnel: Callable[[IPv6Address], str], *, adopt: bool = False
    ) -> None:
        self._tunnel = tunnel
        internet = _internet_side(config) if config.internet_interfaces else []
        self._nftables = AdoptedTable(TABLE, (_SKELETON, *internet), adopt=adopt)

    def perform(self, action: Action) -> None:
        """Carry out a change of what is accepted; other actions are not for this class."""
        if isinstance(action, EndAdoption):
            self._nftables.end_adoption()
        elif isinstance(action, AcceptSources):
            interface = self._tunnel(action.peer)
            self._nftables.run(
                *(_element(interface, prefix, add=False) for prefix in action.left),
                *(_element(interface, prefix, add=True) for prefix in action.came),
            )

    def close(self) -> None:
        self._nftables.close()


def _element(interface: str, prefix: IPv6Network, *, add: bool) -> ElementChange:
    return ElementChange(add, "sources", TunnelSource(interface, prefix.network_address))


def _internet_side(config: LmaConfig) -> list[str]:
    nodes = {config.address, *config.authorized_mags}
    nodes |= {egress.address for egress in config.egress_addresses}
    homes = {prefix for policy in config.mobile_nodes.values() for prefix in policy.prefixes}
    homes = {prefix for prefix in homes if not prefix.subnet_of(config.prefix_pool)}
    interfaces = ", ".join(f'"{name}"' for name in config.internet_interfaces)
    ours = ", ".join(map(str, sorted(nodes)))
    domain = ", ".join([ours, str(config.prefix_pool), *map(str, sorted(homes))])
    return [
        f"""
table {TABLE} {{
  set nodes {{
    type ipv6_addr
    elements = {{ {ours} }}
  }}
  set domain {{
    type ipv6_addr
    flags interval
    elements = {{ {domain} }}
  }}
  chain internet {{
    type filter hook prerouting priority {_PRIORITY}; policy accept;
    iifname != {{ {interfaces} }} return
    ip6 saddr @domain drop
    ip6 daddr @nodes meta l4proto {{ {MOBILITY_HEADER}, {IPV6_IN_IPV6} }} drop
  }}
}}
"""
    ]
