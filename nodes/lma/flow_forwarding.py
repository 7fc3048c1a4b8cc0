"""What the LMA's forwarding makes of the flow mobility cache (RFC 7864 5.2), as differences.

The caches say what should be; this module remembers what is, and turns the difference into
actions.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network

from nodes.actions import ForwardFlows, InstallFlow, Outbox, RemoveFlow
from nodes.flow_mobility_cache import FlowAction, FlowMobilityCache, FlowMobilityCacheEntry
from nodes.lma.binding_cache import BindingCache, BindingCacheEntry
from nodes.wire.traffic_selector import IPv6TrafficSelector, TrafficSelector

# A packet is marked with its flow's key, and then with what that is bound to. Keys are above all
# numbers of tunnels, so that no mark is both.
FIRST_FLOW_KEY = 0x10000


class FlowForwarding:
    """`prefixes_at` says for which prefixes packets may be sent to a binding."""

    def __init__(
        self,
        cache: FlowMobilityCache,
        bindings: BindingCache,
        prefixes_at: Callable[[BindingCacheEntry], tuple[IPv6Network, ...]],
        outbox: Outbox,
    ) -> None:
        self._cache = cache
        self._bindings = bindings
        self._prefixes_at = prefixes_at
        self._outbox = outbox
        self._keys: dict[tuple[str, int], int] = {}
        self.next_key = FIRST_FLOW_KEY
        self._paths: dict[int, tuple[IPv6Address, ...]] = {}
        self._installed: dict[int, tuple[IPv6Network, ...]] = {}

    def add(self, mn_id: str, fid: int) -> None:
        """Give a row that is new in the cache its key."""
        self._keys[mn_id, fid] = self.next_key
        self.next_key += 1

    def restore(self, mn_id: str, fid: int, key: int) -> None:
        """A row that had its key before this LMA started."""
        self._keys[mn_id, fid] = key

    def key(self, mn_id: str, fid: int) -> int:
        return self._keys[mn_id, fid]

    def remove(self, mn_id: str, fid: int) -> None:
        key = self._keys.pop((mn_id, fid))
        self._paths.pop(key, None)
        if self._installed.pop(key, None) is not None:
            self._outbox.put(RemoveFlow(key))

    def refresh(self, mn_id: str) -> None:
        """Bring rows and forwarding in line with the binding cache after it changed, in one atomic
        change: a row is inactive only if all its bindings are deregistered (RFC 7864 section 5.2).
        Packets whose prefix a MAG of an active row doesn't route are for the rows behind it, and
        then for the default path."""
        changed: list[tuple[int, tuple[IPv6Address, ...]]] = []
        known = self.prefixes(mn_id)
        for row in self._cache.rows(mn_id):
            targets = self._registered_of(row)
            if row.active != bool(targets):
                row = self._cache.set_active(mn_id, row.fid, bool(targets))  # noqa: PLW2901
            key = self._keys[mn_id, row.fid]
            prefixes = tuple(sorted(self.addressed(row, known)))
            if row.action is FlowAction.FORWARD:
                for target in targets:
                    there = self._prefixes_at(target)
                    prefixes = tuple(prefix for prefix in prefixes if prefix in there)
            # Two bindings at one MAG are one path: a copy more would come out of the same tunnel.
            path = tuple(dict.fromkeys(target.proxy_coa for target in targets if prefixes))
            # One without a path is told of, too: switches may have no match for its selector.
            known_as = self._installed.get(key)
            anew = known_as is None or (bool(path) and known_as != prefixes)
            if anew:
                self._installed[key] = prefixes
                self._outbox.put(InstallFlow(key, row, prefixes, mn_id))
            if anew or self._paths.get(key, ()) != path:
                self._paths[key] = path
                changed.append((key, path))
        if changed:
            self._outbox.put(ForwardFlows(tuple(changed)))

    def _registered_of(self, row: FlowMobilityCacheEntry) -> list[BindingCacheEntry]:
        """The registered ones of a row's bindings: the others have no effect (RFC 6089 5.3.6)."""
        bindings = (self._bindings.get(bid) for bid in row.bids)
        return [binding for binding in bindings if binding is not None and binding.registered]

    def prefixes(self, mn_id: str) -> tuple[IPv6Network, ...]:
        """The prefixes of a mobile node."""
        entries = self._bindings.of(mn_id)
        return tuple(dict.fromkeys(p for entry in entries for p in entry.all_prefixes()))

    @staticmethod
    def addressed(
        row: FlowMobilityCacheEntry, prefixes: tuple[IPv6Network, ...]
    ) -> tuple[IPv6Network, ...]:
        """Those of `prefixes` that packets of a flow can be addressed to."""
        return tuple(prefix for prefix in prefixes if _addresses(row.selector, prefix))

    @staticmethod
    def is_within(row: FlowMobilityCacheEntry, prefix: IPv6Network) -> bool:
        """Whether packets of a flow are addressed to `prefix` and to nothing else."""
        selector = row.selector
        if not isinstance(selector, IPv6TrafficSelector):
            return False
        start = selector.start_destination_address
        end = selector.end_destination_address or start
        return start is not None and start in prefix and end in prefix


def _addresses(selector: TrafficSelector, prefix: IPv6Network) -> bool:
    """Whether packets that match can have a destination in `prefix`. Selectors are written as seen
    on packets from CN to MN (RFC 6088 section 3)."""
    if not isinstance(selector, IPv6TrafficSelector):
        return False
    start = selector.start_destination_address
    if start is None:
        return True
    end = selector.end_destination_address or start
    return start <= prefix[-1] and prefix[0] <= end
