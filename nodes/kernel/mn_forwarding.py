"""The mobile node's forwarding state in the kernel: the flow table of the logical interface.

The connection tracking mark of a flow is the access that it arrived over last, and packets of the
flow leave through that access: RFC 7847 section 3.2, "the logical interface should interpret the
event as an explicit flow mobility trigger from the network". With a static policy, and at a node
that decides for itself, marks come from its flow table instead, whatever the network does.
"""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

from nodes.actions import Action, AssignAddress, PreferAccess, SteerUplink, UseRouter
from nodes.config import MnConfig
from nodes.kernel.netlink import RuleMatch
from nodes.kernel.nftables import Transactions
from nodes.kernel.routing import Routing
from nodes.kernel.selector_rules import match_expressions
from nodes.mn.flow_table import uplink_selector
from nodes.wire.mobility_header import NEXT_HEADER as MOBILITY_HEADER

TABLE = "ip6 flowmob"
FIRST_ROUTING_TABLE = 1000
FLOW_PRIORITY = 100
PREFIX_PRIORITY = 110
# Behind the main table: what nothing else routes. The kernel looks for a route before the flow
# table says which access it is; a flow may be on one where its prefix never was advertised. What
# the flow table has put on an access goes nowhere else when that access is down.
ANY_ACCESS_PRIORITY = 33_000
DEFAULT_ROUTE = IPv6Network("::/0")
PREFIX_LENGTH = 64
# Packets that may be copies wait here for `DuplicateRemoval`, before they say where a flow is.
COPIES_QUEUE = 1
COMPARED_OCTETS = 4096
NETFILTER_SYSCTLS = Path("/proc/sys/net/netfilter")
# How long the flow table remembers a UDP flow that is silent. Above 300 s the kernel takes all
# lifetimes for equal when it plans its next look for outdated entries; below, that instant depends
# on the random order of its hash table, and runs in virtual time would differ.
FLOW_LIFETIME_S = 600


class MnForwarding:
    def __init__(self, config: MnConfig) -> None:
        self._config = config
        self._routing = Routing()
        self._nftables = Transactions()
        self._marks = {name: mark for mark, name in enumerate(config.access_interfaces, start=1)}
        self._preferred: dict[IPv6Network, int] = {}  # the routing table of each prefix
        self._nftables.run(self._rules())
        for timeout in ("nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"):
            (NETFILTER_SYSCTLS / timeout).write_text(str(FLOW_LIFETIME_S), encoding="ascii")
        for mark in self._marks.values():
            table = FIRST_ROUTING_TABLE + mark
            self._routing.add_rule(FLOW_PRIORITY, RuleMatch(mark=mark), table)
            self._routing.add_rule(ANY_ACCESS_PRIORITY + mark, RuleMatch(mark=0), table)

    def perform(self, action: Action) -> None:
        """Carry out a forwarding action; others are not for this class."""
        match action:
            case AssignAddress(prefix):
                self._routing.add_address(
                    self._config.logical_interface, self.address(prefix), PREFIX_LENGTH
                )
            case UseRouter(interface, router, mtu):
                self._routing.replace_route(
                    DEFAULT_ROUTE,
                    interface,
                    gateway=router,
                    table=FIRST_ROUTING_TABLE + self._marks[interface],
                    mtu=mtu,
                )
                self._routing.set_mtu(self._config.logical_interface, mtu)
            case PreferAccess(prefix, interface):
                table = FIRST_ROUTING_TABLE + self._marks[interface]
                previous = self._preferred.get(prefix)
                self._routing.add_rule(PREFIX_PRIORITY, RuleMatch(source=prefix), table)
                if previous is not None:
                    self._routing.delete_rule(PREFIX_PRIORITY, RuleMatch(source=prefix), previous)
                self._preferred[prefix] = table
            case SteerUplink(rows):
                rules = [
                    f"add rule {TABLE} decided {match} "
                    f"meta mark set {self._marks[row.interface]} return"
                    for row in rows
                    for match in match_expressions(uplink_selector(row.selector))
                ]
                self._nftables.run(f"flush chain {TABLE} decided", *rules)

    def address(self, prefix: IPv6Network) -> IPv6Address:
        return prefix[self._config.interface_id]

    def close(self) -> None:
        self._routing.close()

    def _rules(self) -> str:
        if self._config.uplink == "reflective":
            arriving = "\n".join(
                f'    iifname "{name}" ct mark set {mark}' for name, mark in self._marks.items()
            )
            leaving = "    ct mark != 0 meta mark set ct mark"
        else:
            # As at the LMA: no rule is for mobility signalling (RFC 6089 section 4.3).
            arriving, leaving = "", f"    meta l4proto != {MOBILITY_HEADER} jump decided"
        copies = ""
        if self._config.duplicates == "remove":
            accesses = ", ".join(f'"{name}"' for name in self._marks)
            copies = (
                f"iifname {{ {accesses} }} ip6 daddr != {{ fe80::/10, ff00::/8 }} "
                f"queue flags bypass to {COPIES_QUEUE}"
            )
        return f"""
table {TABLE} {{
  chain copies {{
    type filter hook prerouting priority mangle - 1; policy accept;
    {copies}
  }}
  chain decided {{
  }}
  chain arriving {{
    type filter hook prerouting priority mangle; policy accept;
{arriving}
  }}
  chain leaving {{
    type route hook output priority mangle; policy accept;
{leaving}
  }}
}}
"""
