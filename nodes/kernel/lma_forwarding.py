"""The LMA's forwarding state in the kernel.

Each MAG has a tunnel, a routing table whose only route leads into it, and a mark that selects the
table. nftables classifies packets to mobile nodes into flows (a map for 5-tuples, an ordered chain
for the rest) and maps the flow to a mark; a move changes one element of that map, atomically, and
costs the same however many flows there are. A flow with several MAGs goes to the first like that,
and copies of its packets go through the other tunnels. Packets of no flow take the prefix route.

With a controller there is one exit more: natively into the switched core, as if that were a MAG; or
the packets of a flow have its label in their tunnel header.

Fragments are put together before they are looked at, and taken apart again, so that all follow the
first (RFC 6089 section 5.3.6). Connection tracking has to be in use for that, and tracks nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from ipaddress import IPv6Address, IPv6Network

from nodes.actions import (
    Action,
    BlockPrefix,
    CloseTunnel,
    EndAdoption,
    ForwardFlows,
    InstallFlow,
    LabelFlow,
    OpenTunnel,
    RemoveFlow,
    RoutePrefix,
    UnroutePrefix,
)
from nodes.classifier import ClassifiedRow, Classifier
from nodes.config import HOME_NETWORK_PREFIX_LENGTH
from nodes.controller_config import FABRIC_GATEWAY, FABRIC_MAC
from nodes.flow_mobility_cache import FlowAction
from nodes.kernel.adoption import AdoptingRouting
from nodes.kernel.flow_labels import (
    TUNNEL_MASK,
    label_chain,
    start_labelling,
    stop_labelling,
    with_label,
)
from nodes.kernel.netlink import RT_TABLE_MAIN, RuleMatch
from nodes.kernel.nftables import Command, whole_packets
from nodes.kernel.path_hold import PathHolding, hold_map
from nodes.kernel.routing import Routing
from nodes.kernel.selector_rules import match_expressions
from nodes.kernel.set_elements import ElementChange
from nodes.kernel.table_adoption import AdoptedTable
from nodes.wire.mobility_header import NEXT_HEADER as MOBILITY_HEADER

TABLE = "ip6 flowmob"
DROP_MARK = TUNNEL_MASK
FABRIC_MARK = TUNNEL_MASK - 1
FIRST_ROUTING_TABLE = 1000
ROUTING_TABLES = range(FIRST_ROUTING_TABLE, FIRST_ROUTING_TABLE + TUNNEL_MASK + 1)
RULE_PRIORITY = 100
DEFAULT_ROUTE = IPv6Network("::/0")
# Where a copy is sent "to": the route to it leads into the tunnel, which asks for no neighbour.
COPY_GATEWAY = "fe80::1"
# Home network prefixes have one length, so that a hash finds an address's. With ranges, which know
# any length, libnftables reads all of them before each change: 37 ms a move with 10,000.
HOME_NETWORK_MASK = IPv6Network(f"::/{HOME_NETWORK_PREFIX_LENGTH}").netmask

_SKELETON = f"""
table {TABLE} {{
  map exact {{
    type ipv6_addr . ipv6_addr . inet_proto . inet_service . inet_service : mark
  }}
  map binding {{
    type mark : mark
  }}
  set home_prefixes {{
    type ipv6_addr
  }}
  map copies {{
    type mark : verdict
  }}
  chain ordered {{
  }}
  chain classify {{
    type filter hook prerouting priority mangle; policy accept;
    ip6 daddr & {HOME_NETWORK_MASK} != @home_prefixes return
    meta l4proto {MOBILITY_HEADER} return
    meta mark set ip6 saddr . ip6 daddr . meta l4proto . th sport . th dport map @exact
    meta mark 0 jump ordered
    meta mark vmap @copies
    meta priority set meta mark map @holds
    meta mark set meta mark map @binding
    meta mark {DROP_MARK} drop
  }}
}}
"""


class LmaForwarding:
    """`track`: something else needs connection tracking to track. `fabric`: the interface of the
    switched core, for packets that go there without a tunnel. `labels`: flows have one. `holds`:
    packets of a flow that moves may have to wait. `adopt`: what an earlier start has left goes on
    forwarding; once the same has been asked for, EndAdoption removes the rest."""

    def __init__(
        self,
        address: IPv6Address,
        *,
        track: bool = False,
        fabric: str | None = None,
        labels: bool = False,
        holds: bool = False,
        adopt: bool = False,
    ) -> None:
        self._address = address
        self._fabric = fabric
        tables = [hold_map(TABLE), _SKELETON, whole_packets(TABLE, track=track)]
        if labels:
            tables.append(label_chain(TABLE, address))
        self._nftables = AdoptedTable(TABLE, tables, adopt=adopt)
        self._left: AdoptingRouting | None = None
        if adopt:
            homes = partial(self._nftables.holds, "home_prefixes")
            self._left = AdoptingRouting("mag", ROUTING_TABLES, (RULE_PRIORITY,), homes)
        self._routing: Routing = self._left or Routing()
        if not adopt:
            self._routing.sweep("mag", (), (RULE_PRIORITY,))
        self._marks: dict[IPv6Address, int] = {}
        self._labels: dict[int, int] = {}
        self._holding = PathHolding(TABLE, self._nftables) if holds else None
        self._prefixes: set[IPv6Network] = set()
        self._flows: dict[int, ClassifiedRow] = {}
        self._targets: dict[int, tuple[int, ...]] = {}
        self._unclassified: set[int] = set()
        self._classifier = Classifier()
        if fabric is not None:
            self._routing.set_neighbour(fabric, FABRIC_GATEWAY, FABRIC_MAC)
            self._marks[FABRIC_GATEWAY] = FABRIC_MARK
            self._use_mark(FABRIC_GATEWAY)

    def perform(self, action: Action) -> None:
        """Carry out a forwarding action; others are not for this class."""
        if self._holding is not None:
            self._holding.perform(action)
        match action:
            case OpenTunnel(peer):
                self._open(peer)
            case CloseTunnel(peer):
                self._close(peer)
            case RoutePrefix(prefix, proxy_coa):
                self._route(prefix, proxy_coa)
                self._know(prefix)
            case BlockPrefix(prefix):
                self._routing.delete_route(prefix)
                self._routing.block(prefix)
                # Its flows may be elsewhere; a start that goes on with sessions knows of no route.
                self._know(prefix)
            case UnroutePrefix(prefix):
                self._routing.delete_route(prefix)
                if prefix in self._prefixes:
                    self._prefixes.remove(prefix)
                    self._nftables.run(_home_prefix(prefix, add=False))
            case InstallFlow(key, entry, prefixes):
                self._flows[key] = ClassifiedRow(key, entry, prefixes)
                self._unclassified.add(key)
            case RemoveFlow(key):
                del self._flows[key]
                self._labels.pop(key, None)
                self._forward(((key, ()),))
            case LabelFlow(key, label):
                self._labels[key] = label
            case ForwardFlows(paths):
                self._forward(paths)
            case EndAdoption() if self._left is not None:
                self._nftables.end_adoption()
                self._left.end_adoption()
                self._left = None

    def close(self) -> None:
        self._routing.close()
        self._nftables.close()
        if self._holding is not None:
            self._holding.close()

    def tunnel(self, peer: IPv6Address) -> str:
        """The interface of the tunnel to `peer`."""
        if peer == FABRIC_GATEWAY and self._fabric is not None:
            return self._fabric
        return _tunnel(self._marks[peer])

    def _open(self, peer: IPv6Address) -> None:
        left = None if self._left is None else self._left.tunnel_to(peer)
        self._marks[peer] = self._free_mark() if left is None else int(left.removeprefix("mag"))
        self._routing.add_tunnel(self.tunnel(peer), self._address, peer)
        if self._holding is not None and left is None:
            self._holding.prepare(self.tunnel(peer))
        self._use_mark(peer)

    def _free_mark(self) -> int:
        taken = set(self._marks.values())
        return next(
            number
            for number in range(1, DROP_MARK)
            if number not in taken
            and (self._left is None or not self._left.is_left(_tunnel(number)))
        )

    def _use_mark(self, peer: IPv6Address) -> None:
        """Packets with the mark of `peer` go there, whatever label the mark has besides."""
        mark = self._marks[peer]
        self._route(DEFAULT_ROUTE, peer, FIRST_ROUTING_TABLE + mark)
        match = RuleMatch(mark=mark, mark_mask=TUNNEL_MASK)
        self._routing.add_rule(RULE_PRIORITY, match, FIRST_ROUTING_TABLE + mark)

    def _route(
        self, destination: IPv6Network, peer: IPv6Address, table: int = RT_TABLE_MAIN
    ) -> None:
        gateway = peer if peer == FABRIC_GATEWAY else None
        self._routing.replace_route(destination, self.tunnel(peer), gateway=gateway, table=table)

    def _close(self, peer: IPv6Address) -> None:
        mark = self._marks[peer]
        match = RuleMatch(mark=mark, mark_mask=TUNNEL_MASK)
        self._routing.delete_rule(RULE_PRIORITY, match, FIRST_ROUTING_TABLE + mark)
        self._routing.delete_link(self.tunnel(peer))
        if self._holding is not None:
            self._holding.forget(self.tunnel(peer))
        del self._marks[peer]

    def _know(self, prefix: IPv6Network) -> None:
        if prefix not in self._prefixes:
            self._prefixes.add(prefix)
            self._nftables.run(_home_prefix(prefix, add=True))

    def _forward(self, paths: Sequence[tuple[int, tuple[IPv6Address, ...]]]) -> None:
        """One transaction: the flows' marks and copies, and their classification if that came, went
        or changed with them."""
        left: list[Command] = []
        commands: list[Command] = []
        for key, proxy_coas in paths:
            before = self._targets.pop(key, ())
            after = self._marks_of(self._flows.get(key), proxy_coas)
            if after:
                self._targets[key] = after
            if bool(before) != bool(after):
                self._unclassified.add(key)
            if before != after:
                left += _leave(key, before)
                commands += self._enter(key, after)
                if self._holding is not None:
                    commands += self._holding.replace(key, _tunnel(after[0]) if after else None)
        # What goes before what comes: neighbours of a kind are one request to the kernel.
        self._nftables.run(*left, *commands, *self._reclassify())

    def _marks_of(
        self, row: ClassifiedRow | None, proxy_coas: tuple[IPv6Address, ...]
    ) -> tuple[int, ...]:
        if row is None or not proxy_coas:
            return ()
        if row.entry.action is FlowAction.DROP:
            return (DROP_MARK,)
        label = self._labels.get(row.key, 0)
        return tuple(with_label(self._marks[peer], label) for peer in proxy_coas)

    def _enter(self, key: int, marks: tuple[int, ...]) -> list[Command]:
        if not marks:
            return []
        commands: list[Command] = [ElementChange(True, "binding", key, marks[0])]
        commands += start_labelling(TABLE, key, marks[0])
        if len(marks) > 1:
            chain = _copies(key)
            commands.append(f"add chain {TABLE} {chain}")
            commands += [
                f'add rule {TABLE} {chain} dup to {COPY_GATEWAY} device "{_tunnel(mark)}"'
                for mark in marks[1:]
            ]
            commands.append(f"add element {TABLE} copies {{ {key:#x} : jump {chain} }}")
        return commands

    def _reclassify(self) -> list[Command]:
        """Commands that make the classification that of the rows that have a target."""
        change = self._classifier.change(
            {
                key: self._flows.get(key) if key in self._targets else None
                for key in self._unclassified
            }
        )
        self._unclassified.clear()
        commands: list[Command] = [ElementChange(False, "exact", found) for found in change.left]
        commands += [ElementChange(True, "exact", found, key) for found, key in change.came.items()]
        if change.ordered is not None:
            commands.append(f"flush chain {TABLE} ordered")
            for row in change.ordered:
                prefixes = ", ".join(str(prefix) for prefix in row.prefixes)
                commands += [
                    f"add rule {TABLE} ordered ip6 daddr {{ {prefixes} }} "
                    f"{match} meta mark set {row.key:#x} return"
                    for match in match_expressions(row.entry.selector)
                ]
        return commands


def _home_prefix(prefix: IPv6Network, *, add: bool) -> ElementChange:
    return ElementChange(add, "home_prefixes", prefix.network_address)


def _tunnel(mark: int) -> str:
    return f"mag{mark & TUNNEL_MASK}"


def _copies(key: int) -> str:
    return f"copies_{key:x}"


def _leave(key: int, marks: tuple[int, ...]) -> list[Command]:
    if not marks:
        return []
    commands: list[Command] = [ElementChange(False, "binding", key)]
    commands += stop_labelling(TABLE, key, marks[0])
    if len(marks) > 1:
        commands += [
            f"delete element {TABLE} copies {{ {key:#x} }}",
            f"flush chain {TABLE} {_copies(key)}",
            f"delete chain {TABLE} {_copies(key)}",
        ]
    return commands
