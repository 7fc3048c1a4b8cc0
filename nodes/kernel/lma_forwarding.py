"""The LMA's forwarding state in the kernel.

Each MAG has a tunnel, a routing table whose only route leads into it, and a mark that selects the
table. nftables classifies packets to mobile nodes into flows (a map for 5-tuples, an ordered chain
for the rest) and maps the flow to a mark; a move changes one element of that map, atomically, and
costs the same however many flows there are. Packets of no flow take the prefix route.
"""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

from nodes.actions import (
    Action,
    BlockPrefix,
    CloseTunnel,
    ForwardFlow,
    InstallFlow,
    OpenTunnel,
    RemoveFlow,
    RoutePrefix,
    UnroutePrefix,
)
from nodes.classifier import Classification, ClassifiedRow, FiveTuple, classify
from nodes.flow_mobility_cache import FlowAction
from nodes.kernel.netlink import RuleMatch
from nodes.kernel.nftables import Transactions
from nodes.kernel.routing import Routing
from nodes.kernel.selector_rules import match_expression

TABLE = "ip6 flowmob"
DROP_MARK = 0xFFFF
FIRST_ROUTING_TABLE = 1000
RULE_PRIORITY = 100
DEFAULT_ROUTE = IPv6Network("::/0")
MOBILITY_HEADER = 135

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
    flags interval
  }}
  chain ordered {{
  }}
  chain classify {{
    type filter hook prerouting priority mangle; policy accept;
    ip6 daddr != @home_prefixes return
    meta l4proto {MOBILITY_HEADER} return
    meta mark set ip6 saddr . ip6 daddr . meta l4proto . th sport . th dport map @exact
    meta mark 0 jump ordered
    meta mark set meta mark map @binding
    meta mark {DROP_MARK} drop
  }}
}}
"""


class LmaForwarding:
    def __init__(self, address: IPv6Address) -> None:
        self._address = address
        self._routing = Routing()
        self._nftables = Transactions()
        self._routing.sweep("mag", (), (RULE_PRIORITY,))
        self._nftables.run(f"add table {TABLE}", f"delete table {TABLE}", _SKELETON)
        self._marks: dict[IPv6Address, int] = {}
        self._prefixes: set[IPv6Network] = set()
        self._flows: dict[int, ClassifiedRow] = {}
        self._targets: dict[int, int] = {}
        self._installed = Classification({}, ())

    def perform(self, action: Action) -> None:
        """Carry out a forwarding action; others are not for this class."""
        match action:
            case OpenTunnel(peer):
                self._open(peer)
            case CloseTunnel(peer):
                self._close(peer)
            case RoutePrefix(prefix, proxy_coa):
                self._routing.replace_route(prefix, self.tunnel(proxy_coa))
                self._know(prefix)
            case BlockPrefix(prefix):
                self._routing.delete_route(prefix)
                self._routing.block(prefix)
            case UnroutePrefix(prefix):
                self._routing.delete_route(prefix)
                if prefix in self._prefixes:
                    self._prefixes.remove(prefix)
                    self._nftables.run(f"delete element {TABLE} home_prefixes {{ {prefix} }}")
            case InstallFlow(key, entry, prefixes):
                self._flows[key] = ClassifiedRow(key, entry, prefixes)
            case RemoveFlow(key):
                del self._flows[key]
                self._forward(key, None)
            case ForwardFlow(key, proxy_coa):
                self._forward(key, proxy_coa)

    def close(self) -> None:
        self._routing.close()

    def tunnel(self, peer: IPv6Address) -> str:
        """The interface of the tunnel to `peer`."""
        return f"mag{self._marks[peer]}"

    def _open(self, peer: IPv6Address) -> None:
        mark = next(number for number in range(1, DROP_MARK) if number not in self._marks.values())
        self._marks[peer] = mark
        table = FIRST_ROUTING_TABLE + mark
        self._routing.add_tunnel(self.tunnel(peer), self._address, peer)
        self._routing.replace_route(DEFAULT_ROUTE, self.tunnel(peer), table=table)
        self._routing.add_rule(RULE_PRIORITY, RuleMatch(mark=mark), table)

    def _close(self, peer: IPv6Address) -> None:
        mark = self._marks[peer]
        self._routing.delete_rule(RULE_PRIORITY, RuleMatch(mark=mark), FIRST_ROUTING_TABLE + mark)
        self._routing.delete_link(self.tunnel(peer))
        del self._marks[peer]

    def _know(self, prefix: IPv6Network) -> None:
        if prefix not in self._prefixes:
            self._prefixes.add(prefix)
            self._nftables.run(f"add element {TABLE} home_prefixes {{ {prefix} }}")

    def _forward(self, key: int, proxy_coa: IPv6Address | None) -> None:
        """One transaction: the flow's mark, and its classification if it came or went with it."""
        row = self._flows.get(key)
        target = self._mark_of(row, proxy_coa)
        commands: list[str] = []
        before = self._targets.pop(key, None)
        if before is not None:
            commands.append(f"delete element {TABLE} binding {{ {key:#x} }}")
        if target is not None:
            self._targets[key] = target
            commands.append(f"add element {TABLE} binding {{ {key:#x} : {target:#x} }}")
        if (before is None) != (target is None):
            commands.extend(self._reclassify())
        if commands:
            self._nftables.run(*commands)

    def _mark_of(self, row: ClassifiedRow | None, proxy_coa: IPv6Address | None) -> int | None:
        if row is None or proxy_coa is None:
            return None
        return DROP_MARK if row.entry.action is FlowAction.DROP else self._marks[proxy_coa]

    def _reclassify(self) -> list[str]:
        """Commands from the installed classification to that of the rows that have a target."""
        wanted = classify(self._flows[key] for key in self._targets if key in self._flows)
        commands = [
            f"delete element {TABLE} exact {{ {_element(found)} }}"
            for found, key in self._installed.exact.items()
            if wanted.exact.get(found) != key
        ]
        commands += [
            f"add element {TABLE} exact {{ {_element(found)} : {key:#x} }}"
            for found, key in wanted.exact.items()
            if self._installed.exact.get(found) != key
        ]
        if wanted.ordered != self._installed.ordered:
            commands.append(f"flush chain {TABLE} ordered")
            for row in wanted.ordered:
                prefixes = ", ".join(str(prefix) for prefix in row.prefixes)
                commands.append(
                    f"add rule {TABLE} ordered ip6 daddr {{ {prefixes} }} "
                    f"{match_expression(row.entry.selector)} meta mark set {row.key:#x} return"
                )
        self._installed = wanted
        return commands


def _element(found: FiveTuple) -> str:
    return " . ".join(str(part) for part in found)
