"""From which MAG packets of which prefixes are taken, as differences.

A tunnel packet has the Proxy-CoA of a MAG as its source, and inside any source that this MAG lets
pass. RFC 5213 section 5.6.2 has the latter be the mobile node's home address; so a MAG sends for
mobile nodes that have a binding there, also for one that waits for its deletion: the tunnel has
packets from before. For each node it sends from all of its prefixes: which of its interfaces a flow
uses may change, and is known to the MAG before the LMA has its answer.
"""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

from nodes.actions import AcceptSources
from nodes.lma.binding_cache import BindingCache

_Sources = frozenset[tuple[IPv6Address, IPv6Network]]


class UplinkSources:
    def __init__(self) -> None:
        self._accepted: dict[str, _Sources] = {}

    def refresh(self, bindings: BindingCache, mn_id: str | None = None) -> list[AcceptSources]:
        """For one mobile node, or for all; to be done while the tunnels of both are there, of what
        was and what will be."""
        if mn_id is not None:
            return self._refresh(bindings, mn_id)
        every = dict.fromkeys([*self._accepted, *bindings.mobile_nodes()])
        return [action for one in every for action in self._refresh(bindings, one)]

    def _refresh(self, bindings: BindingCache, mn_id: str) -> list[AcceptSources]:
        entries = bindings.of(mn_id)
        prefixes = {prefix for entry in entries for prefix in entry.all_prefixes()}
        peers = {entry.proxy_coa for entry in entries}
        wanted: _Sources = frozenset((peer, prefix) for peer in peers for prefix in prefixes)
        before = self._accepted.pop(mn_id, frozenset())
        if wanted:
            self._accepted[mn_id] = wanted
        changed = sorted({peer for peer, _ in wanted ^ before})
        return [
            AcceptSources(peer, _of(peer, wanted - before), _of(peer, before - wanted))
            for peer in changed
        ]


def _of(peer: IPv6Address, sources: _Sources) -> tuple[IPv6Network, ...]:
    return tuple(sorted(prefix for its_peer, prefix in sources if its_peer == peer))
