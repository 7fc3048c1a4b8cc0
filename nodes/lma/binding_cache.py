"""The LMA's binding cache (RFC 5213 section 5.1, RFC 7864 section 5.1) and the look-up in it.

There is one entry per attached interface of a mobile node. Entries of the same node may share
home network prefixes, which is what RFC 7864 adds to RFC 5213.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network

from nodes.wire.flow_options import FlowIdentification
from nodes.wire.messages import HandoffHint, ProxyBindingStatus
from nodes.wire.options import AccessLinkReport

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


@dataclass(slots=True)
class BindingCache:
    """`touched`: the mobile nodes whose entries may have changed, and `gone` the BIDs of those that
    were removed, since whoever keeps them on record looked last."""

    touched: set[str] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)
    next_bid: int = 1
    _entries: dict[int, BindingCacheEntry] = field(default_factory=dict)
    _of: dict[str, dict[int, BindingCacheEntry]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[BindingCacheEntry]:
        return iter(self._entries.values())

    def mobile_nodes(self) -> list[str]:
        """Those that have an entry."""
        return list(self._of)

    def get(self, bid: int) -> BindingCacheEntry | None:
        return self._entries.get(bid)

    def of(self, mn_id: str) -> list[BindingCacheEntry]:
        """The entries of a mobile node, the preferred one first."""
        entries = self._of.get(mn_id, {}).values()
        return sorted(entries, key=lambda entry: (entry.bid_priority, entry.bid))

    def using(self, proxy_coa: IPv6Address) -> list[BindingCacheEntry]:
        return [entry for entry in self._entries.values() if entry.proxy_coa == proxy_coa]

    def peers(self) -> set[IPv6Address]:
        """The MAGs that have a registered binding."""
        return {entry.proxy_coa for entry in self._entries.values() if entry.registered}

    def holding(self, prefix: IPv6Network) -> list[BindingCacheEntry]:
        """The entries whose session has `prefix`, the preferred one first: the order of the
        default path (RFC 6089 section 5.3.6: lowest BID-PRI)."""
        entries = [entry for entry in self._entries.values() if prefix in entry.prefixes]
        return sorted(entries, key=lambda entry: (entry.bid_priority, entry.bid))

    def lent(self, prefix: IPv6Network) -> list[BindingCacheEntry]:
        """The entries that have `prefix` for flows only, in the same order."""
        entries = [
            entry
            for entry in self._entries.values()
            if prefix in entry.flow_mobility_prefixes + entry.inherited_prefixes
        ]
        return sorted(entries, key=lambda entry: (entry.bid_priority, entry.bid))

    def allocate_bid(self, named: Collection[int] = ()) -> int:
        """A BID that no entry has, and none of those that are `named` elsewhere: who names one
        means the binding that had it. It is local to the LMA (RFC 7864 section 5.1)."""
        while self.next_bid in self._entries or self.next_bid in named or self.next_bid == 0:
            self.next_bid = (self.next_bid + 1) & 0xFFFF
        bid = self.next_bid
        self.next_bid = (self.next_bid + 1) & 0xFFFF
        return bid

    def add(self, entry: BindingCacheEntry) -> None:
        self._entries[entry.bid] = entry
        self._of.setdefault(entry.mn_id, {})[entry.bid] = entry
        self.touched.add(entry.mn_id)
        self.gone.discard(entry.bid)

    def remove(self, entry: BindingCacheEntry) -> None:
        del self._entries[entry.bid]
        self.gone.add(entry.bid)
        own = self._of[entry.mn_id]
        del own[entry.bid]
        if not own:
            del self._of[entry.mn_id]

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
        overlapping = [entry for entry in self if wanted & set(entry.prefixes)]
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
