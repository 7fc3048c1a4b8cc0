"""Which home network prefixes a new session gets (RFC 5213 section 5.3.2, RFC 7864 section 3.1)."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Network
from itertools import islice

from nodes.config import HOME_NETWORK_PREFIX_LENGTH, MAX_PREFIXES_PER_SESSION, LmaConfig
from nodes.lma.binding_cache import BindingCache, CreateSession, Request

# A request has room for 100 prefixes, and those that nobody uses are given to whoever names them. A
# session has prefixes of its own and, as `hybrid`, those of another.
MAX_REQUESTED_PREFIXES = 2 * MAX_PREFIXES_PER_SESSION


HOST_BITS = 128 - HOME_NETWORK_PREFIX_LENGTH


class PoolExhausted(Exception):
    """No prefix is left for this request: RFC 5213 section 5.3.2, status 130."""


class PrefixNotAllowed(Exception):
    """The request names a prefix that this MN may not use: RFC 5213 section 5.3.2, status 155."""


class PrefixAllocation:
    """Prefixes come from the mobile node's own list first, then from the pool; those in use by any
    session, or still routed for another mobile node's flows, are never given to a mobile node."""

    def __init__(self, config: LmaConfig, bindings: BindingCache) -> None:
        self._config = config
        self._bindings = bindings
        self._reserved = frozenset(
            prefix for policy in config.mobile_nodes.values() for prefix in policy.prefixes
        )
        # Of the pool's prefixes, by number: those below this one are in use or reserved.
        self._lowest = 0
        bindings.freed = self._freed

    def assign(self, request: Request, lookup: CreateSession) -> tuple[IPv6Network, ...]:
        """The prefixes of a new session. Raises PoolExhausted or PrefixNotAllowed."""
        if lookup.share is not None:
            return lookup.share.prefixes
        mn_id = request.mn_id
        policy = self._config.mobile_nodes[mn_id]
        existing = self._bindings.of(mn_id)
        if request.prefixes:
            requested = tuple(dict.fromkeys(request.prefixes))
            if len(requested) > MAX_REQUESTED_PREFIXES:
                raise PoolExhausted(mn_id)
            for prefix in requested:
                if not self._may_use(mn_id, prefix):
                    raise PrefixNotAllowed(prefix)
            if not request.any_prefix:
                return requested
            # Both kinds in one request: section 5.3.2, step 1, has at least one allocated.
            count = max(1, policy.prefixes_per_session - len(requested))
            return requested + self._fresh(mn_id, count, requested)
        if existing and policy.prefix_model == "shared":
            return existing[0].prefixes
        fresh = self._fresh(mn_id, policy.prefixes_per_session)
        return (
            existing[0].prefixes + fresh if existing and policy.prefix_model == "hybrid" else fresh
        )

    def _may_use(self, mn_id: str, prefix: IPv6Network) -> bool:
        if self._lent_to_another(mn_id, prefix):
            return False
        policy = self._config.mobile_nodes[mn_id]
        if policy.prefix_model == "unique" and self._bindings.holding(prefix):
            # Of another interface of this node: section 5.2 wants unique ones, unless the request
            # has HI 6 (RFC 7864 section 3.2.1).
            return False
        if prefix in policy.prefixes:
            return True
        return (
            prefix.prefixlen == HOME_NETWORK_PREFIX_LENGTH
            and prefix.subnet_of(self._config.prefix_pool)
            and prefix not in self._reserved
        )

    def _fresh(
        self, mn_id: str, count: int, besides: tuple[IPv6Network, ...] = ()
    ) -> tuple[IPv6Network, ...]:
        """Up to `count` prefixes, none of them of `besides`. Fewer if there are no more; only if
        there is none "any home network prefix" is lacking (section 5.3.2, step 2)."""
        free = (
            prefix
            for prefix in self._candidates(mn_id)
            if prefix not in besides and not self._taken(mn_id, prefix)
        )
        prefixes = tuple(islice(free, count))
        if not prefixes:
            raise PoolExhausted(self._config.prefix_pool)
        return prefixes

    def _lent_to_another(self, mn_id: str, prefix: IPv6Network) -> bool:
        """Whether another mobile node has `prefix` for its flows: that outlives the session that
        the prefix came from (RFC 7864 section 3.2.2, figure 5)."""
        return any(entry.mn_id != mn_id for entry in self._bindings.lent(prefix))

    def _taken(self, mn_id: str, prefix: IPv6Network) -> bool:
        return self._bindings.holds(prefix) or self._lent_to_another(mn_id, prefix)

    def _freed(self, prefix: IPv6Network) -> None:
        pool = self._config.prefix_pool
        if prefix.subnet_of(pool):
            number = (int(prefix.network_address) - int(pool.network_address)) >> HOST_BITS
            self._lowest = min(self._lowest, number)

    def _candidates(self, mn_id: str) -> Iterator[IPv6Network]:
        """The node's own, and those of the pool from the lowest on that may be free."""
        yield from self._config.mobile_nodes[mn_id].prefixes
        pool = self._config.prefix_pool
        first = int(pool.network_address) >> HOST_BITS
        below = True
        for number in range(self._lowest, 1 << (HOME_NETWORK_PREFIX_LENGTH - pool.prefixlen)):
            prefix = IPv6Network(((first + number) << HOST_BITS, HOME_NETWORK_PREFIX_LENGTH))
            # One that is lent comes back here when it is not any more; it isn't taken for its own
            # mobile node even before.
            if prefix in self._reserved or self._bindings.holds(prefix):
                self._lowest += below
                continue
            below = False
            yield prefix
