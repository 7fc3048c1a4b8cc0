"""The LMA's binding cache (RFC 5213 section 5.1, RFC 7864 section 5.1) and the look-up in it.

There is one entry per attached interface of a mobile node. Entries of the same node may share
home network prefixes, which is what RFC 7864 adds to RFC 5213.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network
from typing import TypeVar

from nodes.wire.flow_options import FlowIdentification
from nodes.wire.messages import HandoffHint, ProxyBindingStatus
from nodes.wire.options import AccessLinkReport

K = TypeVar("K", bound=Hashable)

UNSPECIFIED = IPv6Address("::")
UNKNOWN_LINK_LAYER_ID = bytes(2)  # RFC 5213 section 5.1: two octets, ALL_ZERO


@dataclass(slots=True)
class BindingCacheEntry:
    """One attached interface of a mobile node.

    `prefixes` are those of the session; `flow_mobility_prefixes` are those that the MAG routes
    besides, because flows to them were moved there (off-link, RFC 7864 section 4.1), and
    `flow_identifications` the flows that it was told of (section 3.4). `inherited_prefixes` are of
    sessions that have ended, and stay the mobile node's for the flows at this binding (figure 5).
    `link_layer_id` is UNKNOWN_LINK_LAYER_ID if the last request had none; `link_local_address` is
    the MAG's on the access link. `timestamp` is the 64-bit value of the last accepted request, 0 if
    it had none (RFC 5213 section 5.1); `greatest_timestamp` that of all of them (section 5.5).
    `expires`, `deletion` and `accepted_at` (of the last PBU) are monotonic times in s; `deletion`
    is set while a deregistration waits for MinDelayBeforeBCEDelete.
    """

    bid: int
    bid_priority: int
    mn_id: str
    access_technology: int
    link_layer_id: bytes
    prefixes: tuple[IPv6Network, ...]
    proxy_coa: IPv6Address
    expires: float
    link_local_address: IPv6Address = UNSPECIFIED
    timestamp: int = 0
    greatest_timestamp: int = 0
    sequence: int = 0
    deletion: float | None = None
    flow_mobility_prefixes: tuple[IPv6Network, ...] = ()
    flow_identifications: tuple[FlowIdentification, ...] = ()
    inherited_prefixes: tuple[IPv6Network, ...] = ()
    revocation_in_progress: bool = False  # RFC 5846 section 8.1
    accepted_at: float = 0.0
    access_link_report: AccessLinkReport = field(default_factory=AccessLinkReport)

    @property
    def registered(self) -> bool:
        return self.deletion is None

    def routes(self, prefix: IPv6Network) -> bool:
        """Whether its MAG routes `prefix` to the mobile node."""
        return self.registered and prefix in self.prefixes + self.flow_mobility_prefixes

    def all_prefixes(self) -> tuple[IPv6Network, ...]:
        """Those of its session, and those that it has for flows."""
        every = self.prefixes + self.flow_mobility_prefixes + self.inherited_prefixes
        return tuple(dict.fromkeys(every))


@dataclass(frozen=True, slots=True)
class Request:
    """What the look-up needs of a Proxy Binding Update. `prefixes` has the NON_ZERO ones only;
    `any_prefix` says whether there was an ALL_ZERO one as well."""

    mn_id: str
    access_technology: int
    link_layer_id: bytes | None
    handoff: int
    prefixes: tuple[IPv6Network, ...]
    proxy_coa: IPv6Address
    any_prefix: bool = False


@dataclass(frozen=True, slots=True)
class UpdateEntry:
    entry: BindingCacheEntry


@dataclass(frozen=True, slots=True)
class CreateSession:
    """A new mobility session; with the prefixes of `share` if that is set (RFC 7864 3.2.1)."""

    share: BindingCacheEntry | None = None


@dataclass(frozen=True, slots=True)
class WaitForDeregistration:
    """The request may be a handover of `entry`: wait up to MaxDelayBeforeNewBCEAssign."""

    entry: BindingCacheEntry


@dataclass(frozen=True, slots=True)
class RejectRequest:
    status: ProxyBindingStatus


Lookup = UpdateEntry | CreateSession | WaitForDeregistration | RejectRequest


class BidsExhausted(Exception):
    """There are as many entries as may be, or every BID is in use or named."""


@dataclass(slots=True)
class BindingCache:
    """Of at most `most` entries. What is asked for at each request is found without looking at all
    of them: those of a mobile node, of a MAG, with a prefix. `touched`: the mobile nodes whose
    entries may have changed, and `gone` the BIDs of those that were removed, since whoever keeps
    them on record looked last."""

    most: int = 0xFFFF
    touched: set[str] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)
    next_bid: int = 1
    _entries: dict[int, BindingCacheEntry] = field(default_factory=dict)
    _of: dict[str, dict[int, BindingCacheEntry]] = field(default_factory=dict)
    _at: dict[IPv6Address, dict[int, BindingCacheEntry]] = field(default_factory=dict)
    _holding: dict[IPv6Network, dict[int, BindingCacheEntry]] = field(default_factory=dict)
    _lent: dict[IPv6Network, dict[int, BindingCacheEntry]] = field(default_factory=dict)
    _lent_to: dict[int, frozenset[IPv6Network]] = field(default_factory=dict)
    # Is told of each prefix that an entry had, and has no more.
    freed: Callable[[IPv6Network], None] = lambda prefix: None

    def __iter__(self) -> Iterator[BindingCacheEntry]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def mobile_nodes(self) -> list[str]:
        """Those that have an entry."""
        return list(self._of)

    def get(self, bid: int) -> BindingCacheEntry | None:
        return self._entries.get(bid)

    def of(self, mn_id: str) -> list[BindingCacheEntry]:
        """The entries of a mobile node, the preferred one first."""
        return sorted(self._of.get(mn_id, {}).values(), key=_preference)

    def using(self, proxy_coa: IPv6Address) -> list[BindingCacheEntry]:
        return list(self._at.get(proxy_coa, {}).values())

    def mags(self) -> set[IPv6Address]:
        """Those that have a binding."""
        return set(self._at)

    def peers(self) -> set[IPv6Address]:
        """The MAGs that have a registered binding."""
        return {
            proxy_coa
            for proxy_coa, entries in self._at.items()
            if any(entry.registered for entry in entries.values())
        }

    def holding(self, prefix: IPv6Network) -> list[BindingCacheEntry]:
        """The entries whose session has `prefix`, the preferred one first: the order of the
        default path (RFC 6089 section 5.3.6: lowest BID-PRI)."""
        return sorted(self._holding.get(prefix, {}).values(), key=_preference)

    def holds(self, prefix: IPv6Network) -> bool:
        """Whether a session has `prefix`."""
        return prefix in self._holding

    def lent(self, prefix: IPv6Network) -> list[BindingCacheEntry]:
        """The entries that have `prefix` for flows only, in the same order."""
        return sorted(self._lent.get(prefix, {}).values(), key=_preference)

    def allocate_bid(self, named: Callable[[int], bool] = lambda bid: False) -> int:
        """A BID that no entry has, and none that is `named` elsewhere: who names one means the
        binding that had it. It is local to the LMA (RFC 7864 section 5.1). Raises
        BidsExhausted."""
        for step in range(0x10000 if len(self) < self.most else 0):
            bid = (self.next_bid + step) & 0xFFFF
            if bid and bid not in self._entries and not named(bid):
                self.next_bid = (bid + 1) & 0xFFFF
                return bid
        raise BidsExhausted

    def add(self, entry: BindingCacheEntry) -> None:
        self._entries[entry.bid] = entry
        self._of.setdefault(entry.mn_id, {})[entry.bid] = entry
        self.touched.add(entry.mn_id)
        self.gone.discard(entry.bid)
        self._at.setdefault(entry.proxy_coa, {})[entry.bid] = entry
        for prefix in entry.prefixes:
            self._holding.setdefault(prefix, {})[entry.bid] = entry
        self.lend(entry)

    def remove(self, entry: BindingCacheEntry) -> None:
        del self._entries[entry.bid]
        self.gone.add(entry.bid)
        _discard(self._of, entry.mn_id, entry)
        _discard(self._at, entry.proxy_coa, entry)
        for prefix in dict.fromkeys(entry.prefixes):
            _discard(self._holding, prefix, entry)
        for prefix in self._lent_to.pop(entry.bid, ()):
            _discard(self._lent, prefix, entry)
        for prefix in entry.all_prefixes():
            self.freed(prefix)

    def hand_over(self, entry: BindingCacheEntry, proxy_coa: IPv6Address) -> None:
        """The MAG of `entry` is another from now on."""
        _discard(self._at, entry.proxy_coa, entry)
        entry.proxy_coa = proxy_coa
        self._at.setdefault(proxy_coa, {})[entry.bid] = entry

    def lend(self, entry: BindingCacheEntry) -> None:
        """What `entry` has for flows changed."""
        if self._entries.get(entry.bid) is not entry:
            return
        after = frozenset(entry.flow_mobility_prefixes + entry.inherited_prefixes)
        before = self._lent_to.get(entry.bid, frozenset())
        if after == before:
            return
        for prefix in before - after:
            _discard(self._lent, prefix, entry)
            self.freed(prefix)
        for prefix in after - before:
            self._lent.setdefault(prefix, {})[entry.bid] = entry
        self._lent_to[entry.bid] = after

    def look_up(self, request: Request, *, wait_on_unknown: bool = True) -> Lookup:
        """Which session a request is about (RFC 5213 section 5.4.1, RFC 7864 section 3.2.1).

        `wait_on_unknown`: whether a request with handoff state unknown may have to wait for the
        deregistration of an existing session.
        """
        if request.prefixes:
            return self._by_prefix(request)
        if request.link_layer_id is not None:
            return self._by_link_layer_id(request, wait_on_unknown)
        return self._by_mn_id(request, wait_on_unknown)

    def _by_prefix(self, request: Request) -> Lookup:
        """RFC 5213 section 5.4.1.1."""
        wanted = set(request.prefixes)
        found = {bid: e for prefix in wanted for bid, e in self._holding.get(prefix, {}).items()}
        overlapping = [found[bid] for bid in sorted(found)]
        if not overlapping:
            return CreateSession()
        own = [entry for entry in overlapping if entry.mn_id == request.mn_id]
        if len(own) < len(overlapping):
            return RejectRequest(ProxyBindingStatus.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX)
        count = len(request.prefixes) + request.any_prefix
        same_set = [
            entry for entry in own if set(entry.prefixes) == wanted and len(entry.prefixes) == count
        ]
        if not same_set:
            return RejectRequest(ProxyBindingStatus.BCE_PBU_PREFIX_SET_DO_NOT_MATCH)
        if request.handoff == HandoffHint.NEW_INTERFACE_SHARING_PREFIXES:
            for entry in same_set:
                if request.link_layer_id is not None and _same_interface(entry, request):
                    return UpdateEntry(entry)
            return CreateSession(share=same_set[0])
        # With shared prefixes several entries can hold the set: the interface decides first.
        for entry in sorted(same_set, key=lambda entry: not _same_interface(entry, request)):
            if _updates(entry, request):
                return UpdateEntry(entry)
        return CreateSession()

    def _by_link_layer_id(self, request: Request, wait_on_unknown: bool) -> Lookup:
        """RFC 5213 section 5.4.1.2."""
        entries = self.of(request.mn_id)
        for entry in entries:
            if _same_interface(entry, request):
                return UpdateEntry(entry)
        continuing = (HandoffHint.HANDOFF_BETWEEN_INTERFACES,)
        return self._continued(request, entries, continuing, wait_on_unknown)

    def _by_mn_id(self, request: Request, wait_on_unknown: bool) -> Lookup:
        """RFC 5213 section 5.4.1.3."""
        continuing = (HandoffHint.HANDOFF_BETWEEN_INTERFACES, HandoffHint.HANDOFF_BETWEEN_MAGS)
        return self._continued(request, self.of(request.mn_id), continuing, wait_on_unknown)

    def _continued(
        self,
        request: Request,
        entries: list[BindingCacheEntry],
        continuing: tuple[HandoffHint, ...],
        wait_on_unknown: bool,
    ) -> Lookup:
        """The only session of a node goes on with a hint of `continuing`, and with an unknown one
        if it has been deregistered, or will have been within a while."""
        if len(entries) == 1:
            if request.handoff in continuing:
                return UpdateEntry(entries[0])
            if request.handoff == HandoffHint.HANDOFF_STATE_UNKNOWN:
                if not entries[0].registered:
                    return UpdateEntry(entries[0])
                if wait_on_unknown:
                    return WaitForDeregistration(entries[0])
        return self._new_session(request, entries)

    @staticmethod
    def _new_session(request: Request, entries: list[BindingCacheEntry]) -> Lookup:
        """RFC 7864 section 3.2.1 defines HI 6 only for requests that name the prefixes. A MAG that
        asks with HI 6 and ALL_ZERO wants to share and doesn't know what: the LMA knows it."""
        if request.handoff == HandoffHint.NEW_INTERFACE_SHARING_PREFIXES and entries:
            return CreateSession(share=entries[0])
        return CreateSession()


def _preference(entry: BindingCacheEntry) -> tuple[int, int]:
    return entry.bid_priority, entry.bid


def _discard(
    index: dict[K, dict[int, BindingCacheEntry]], key: K, entry: BindingCacheEntry
) -> None:
    found = index[key]
    del found[entry.bid]
    if not found:
        del index[key]


def _same_interface(entry: BindingCacheEntry, request: Request) -> bool:
    return (
        request.link_layer_id is not None
        and entry.link_layer_id == request.link_layer_id
        and entry.access_technology == request.access_technology
    )


def _updates(entry: BindingCacheEntry, request: Request) -> bool:
    """The four conditions of RFC 5213 section 5.4.1.1, step 5."""
    same_technology = entry.access_technology == request.access_technology
    return (
        _same_interface(entry, request)
        or request.handoff == HandoffHint.HANDOFF_BETWEEN_INTERFACES
        or (
            request.link_layer_id is None
            and not any(entry.link_layer_id)
            and same_technology
            and request.handoff == HandoffHint.HANDOFF_BETWEEN_MAGS
        )
        or (entry.proxy_coa == request.proxy_coa and same_technology)
    )
