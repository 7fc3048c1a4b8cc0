"""What flow mobility is provided for at one MAG (RFC 7864 sections 3.4 and 4.2)."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Network
from typing import NamedTuple

from nodes.wire.flow_options import FlowIdentification

Item = IPv6Network | FlowIdentification


class FlowMobilitySet(NamedTuple):
    """Off-link prefixes, and the flows if the MAG is told of flows. An FMI and a PBA have the whole
    of it; what is absent from one is removed."""

    prefixes: tuple[IPv6Network, ...] = ()
    flows: tuple[FlowIdentification, ...] = ()

    def items(self) -> tuple[Item, ...]:
        return (*self.prefixes, *self.flows)

    def holds(self, other: FlowMobilitySet) -> bool:
        return set(other.items()) <= set(self.items())

    def with_all(self, other: FlowMobilitySet) -> FlowMobilitySet:
        """This and `other`, whose flows replace those with the same FID or the same priority: there
        is one of each (RFC 6089 section 4.2)."""
        return FlowMobilitySet(
            tuple(dict.fromkeys(self.prefixes + other.prefixes)),
            tuple(
                flow
                for flow in self.flows
                if not any(
                    flow.fid == newer.fid or flow.priority == newer.priority
                    for newer in other.flows
                )
            )
            + other.flows,
        )

    def only(self, wanted: Callable[[Item], bool]) -> FlowMobilitySet:
        return FlowMobilitySet(
            tuple(prefix for prefix in self.prefixes if wanted(prefix)),
            tuple(flow for flow in self.flows if wanted(flow)),
        )
