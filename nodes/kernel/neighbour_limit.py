"""How many neighbours an access link of a MAG can have: few, for it has one mobile node.

The kernel makes an entry in its neighbour table for each address that a solicitation comes from, or
that it has to answer. The table is one for all links, and when it is full nobody new is served (RFC
6583). What is for the link itself is taken from a few sources for each link, and dropped from all
others until one of these has been silent. What is forwarded needs no entry but the mobile node's:
packets to a prefix have its link-local address as their next hop.
"""

from __future__ import annotations

from collections.abc import Sequence

from nodes.kernel.nftables import Transactions

TABLE = "ip6 flowmob_neighbours"
# A node's link-local address, and those with which it may ask for its router besides.
NEIGHBOURS = 16
SILENT_S = 60
_LINK_SCOPE = "{ fe80::/10, ff00::/8 }"


class NeighbourLimit:
    def __init__(self, interfaces: Sequence[str]) -> None:
        self._nftables = Transactions()
        commands = [f"add table {TABLE}", f"delete table {TABLE}", f"add table {TABLE}"]
        ways = []
        for number, interface in enumerate(interfaces):
            seen, chain = f"seen_{number}", f"from_{number}"
            flags = f"size {NEIGHBOURS}; flags dynamic,timeout; timeout {SILENT_S}s;"
            commands += [
                f"add set {TABLE} {seen} {{ type ipv6_addr; {flags} }}",
                f"add chain {TABLE} {chain}",
                # Who has no address yet is no neighbour yet.
                f"add rule {TABLE} {chain} ip6 saddr :: accept",
                f"add rule {TABLE} {chain} update @{seen} {{ ip6 saddr }} accept",
                f"add rule {TABLE} {chain} drop",
            ]
            ways.append(f'"{interface}" : jump {chain}')
        hook = "{ type filter hook prerouting priority raw; policy accept; }"
        commands.append(f"add chain {TABLE} arriving {hook}")
        if ways:
            commands += [
                f"add rule {TABLE} arriving ip6 daddr != {_LINK_SCOPE} return",
                f"add rule {TABLE} arriving iifname vmap {{ {', '.join(ways)} }}",
            ]
        self._nftables.run(*commands)

    def close(self) -> None:
        self._nftables.run(f"delete table {TABLE}")
