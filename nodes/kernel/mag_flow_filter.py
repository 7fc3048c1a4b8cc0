"""The MAG's flow mobility cache in the kernel (RFC 7864 sections 3.4 and 5.2).

On an access interface, forwarded packets from and to the filtered prefixes pass only if they are of
one of the flows; all others pass as routed. No rule is about mobility signalling (RFC 6089 section
4.3), nor about ICMPv6 errors: those of a flow don't look like it, and path MTU discovery needs
them. Fragments are put together first, because only the first of a packet shows its flow (RFC 6089
section 5.3.6).
"""

from __future__ import annotations

from dataclasses import replace

from nodes.actions import FilterFlows
from nodes.kernel.nftables import Transactions, whole_packets
from nodes.kernel.selector_rules import match_expressions
from nodes.mn.flow_table import uplink_selector
from nodes.packet_fields import AH, ESP
from nodes.wire.mobility_header import NEXT_HEADER as MOBILITY_HEADER
from nodes.wire.traffic_selector import IPv6TrafficSelector, TrafficSelector

TABLE = "ip6 flowmob"
LAST_ERROR = 127  # RFC 4443 section 2.1

_SKELETON = f"""
table {TABLE} {{
  chain filtered {{
    type filter hook forward priority filter; policy accept;
    meta l4proto {MOBILITY_HEADER} accept
    icmpv6 type <= {LAST_ERROR} accept
  }}
}}
"""


class MagFlowFilter:
    """`adopt`: a filter that an earlier start has left stays until there is another, or
    `end_adoption`."""

    def __init__(self, *, adopt: bool = False) -> None:
        self._nftables = Transactions()
        self._filters: dict[str, FilterFlows] = {}
        if not adopt:
            self._renew()

    def end_adoption(self) -> None:
        self._renew()

    def filter(self, action: FilterFlows) -> None:
        """Put the whole filter of an interface in force, in one transaction. Without any there is
        no table, and the kernel looks at no packet for it."""
        self._filters[action.interface] = action
        self._renew()

    def _renew(self) -> None:
        filters = [wanted for wanted in self._filters.values() if wanted.prefixes]
        commands = [f"add table {TABLE}", f"delete table {TABLE}"]
        if filters:
            commands += [_SKELETON, whole_packets(TABLE)]
        for number, wanted in enumerate(filters):
            commands += self._rules(number, wanted)
        self._nftables.run(*commands)

    def _rules(self, number: int, wanted: FilterFlows) -> list[str]:
        prefixes = ", ".join(str(prefix) for prefix in wanted.prefixes)
        down, up = f"down_{number}", f"up_{number}"
        commands = [f"add chain {TABLE} {down}", f"add chain {TABLE} {up}"]
        for row in wanted.flows:
            for chain, selector in ((down, row.selector), (up, _uplink(row.selector))):
                commands += [
                    f"add rule {TABLE} {chain} {match} accept"
                    for match in match_expressions(selector)
                ]
        to_node = f'oifname "{wanted.interface}" ip6 daddr {{ {prefixes} }}'
        from_node = f'iifname "{wanted.interface}" ip6 saddr {{ {prefixes} }}'
        return [
            *commands,
            f"add rule {TABLE} {down} drop",
            f"add rule {TABLE} {up} drop",
            f"add rule {TABLE} filtered {to_node} jump {down}",
            f"add rule {TABLE} filtered {from_node} jump {up}",
        ]


def _uplink(selector: TrafficSelector) -> IPv6TrafficSelector:
    """The packets that go the other way. Flow label and SPI are each sender's own, so that there
    the rest decides; what has an SPI is of a protocol that has one, at least."""
    assert isinstance(selector, IPv6TrafficSelector)
    with_spi = selector.start_spi is not None and selector.start_next_header is None
    selector = replace(
        selector, start_spi=None, end_spi=None, start_flow_label=None, end_flow_label=None
    )
    if with_spi:
        selector = replace(selector, start_next_header=ESP, end_next_header=AH)
    return uplink_selector(selector)
