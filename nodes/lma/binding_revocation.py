"""Revocation of bindings by order of an operator, at the LMA (RFC 5846 section 8.1)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address

from nodes.actions import NOBODY, Instant, Outbox, Reply, Send
from nodes.config import LmaConfig
from nodes.lma.binding_cache import BindingCache, BindingCacheEntry
from nodes.lma.proxy_registration import ProxyRegistration
from nodes.lma.revocation_indications import Conclusion, RevocationIndications
from nodes.mag.revocation_request import answer_to
from nodes.wire.messages import (
    BindingRevocationIndication,
    Option,
    RevocationStatus,
    RevocationTrigger,
)
from nodes.wire.options import HomeNetworkPrefix, MobileNodeIdentifier


@dataclass(slots=True)
class _Order:
    """What was asked for; answered once no indication is left of it."""

    token: int
    left: int = 0
    revoked: int = 0
    refusal: str | None = None


class BindingRevocation:
    def __init__(
        self,
        config: LmaConfig,
        registrations: ProxyRegistration,
        indications: RevocationIndications,
        outbox: Outbox,
    ) -> None:
        self._config = config
        self._registrations = registrations
        self._indications = indications
        self._outbox = outbox

    def revoke(
        self, entries: Iterable[BindingCacheEntry], token: int, now: Instant, *, whole: bool
    ) -> None:
        """Revoke bindings of one mobile node: one indication to each of its MAGs. `whole`: all that
        it has there, for which the MN-ID says enough; otherwise the prefixes say which."""
        order = _Order(token)
        for peer, there in _by_peer(entries):
            options: list[Option] = [MobileNodeIdentifier.of(there[0].mn_id)]
            if not whole:
                prefixes = dict.fromkeys(prefix for entry in there for prefix in entry.prefixes)
                options += [HomeNetworkPrefix.of(prefix) for prefix in prefixes]
            message = BindingRevocationIndication(
                RevocationTrigger.ADMINISTRATIVE_REASON, 0, tuple(options)
            )
            self._indicate(message, peer, there, order, now)

    def resume(self, bindings: BindingCache, now: Instant) -> None:
        """Revocations that were in progress when this LMA ended go on, by mobile node."""
        for mn_id in bindings.mobile_nodes():
            entries = [entry for entry in bindings.of(mn_id) if entry.registered]
            chosen = [entry for entry in entries if entry.revocation_in_progress]
            if chosen:
                self.revoke(chosen, NOBODY, now, whole=len(chosen) == len(entries))

    def revoke_all(
        self, peer: IPv6Address, entries: list[BindingCacheEntry], token: int, now: Instant
    ) -> None:
        """All bindings of a MAG: the G bit, and no options (RFC 5846 section 8.1)."""
        message = BindingRevocationIndication(
            RevocationTrigger.PER_PEER_POLICY, 0, global_revocation=True
        )
        self._indicate(message, peer, entries, _Order(token), now)

    def revoke_realm(
        self, realm: str, entries: Iterable[BindingCacheEntry], token: int, now: Instant
    ) -> None:
        """All bindings of the mobile nodes of a realm, which are `entries`: the G bit, and an
        identifier that begins with the "@" (RFC 5846 section 8.1)."""
        order = _Order(token)
        for peer, there in _by_peer(entries):
            message = BindingRevocationIndication(
                RevocationTrigger.REVOKING_MOBILITY_NODE_LOCAL_POLICY,
                0,
                (MobileNodeIdentifier.of(f"@{realm}"),),
                global_revocation=True,
            )
            self._indicate(message, peer, there, order, now)

    def refuse(self, message: BindingRevocationIndication, source: IPv6Address) -> None:
        """No MAG is authorized to revoke here (RFC 5846 sections 8.2 and 13): what it may end, it
        deregisters."""
        status = (
            RevocationStatus.GLOBAL_REVOCATION_NOT_AUTHORIZED
            if message.global_revocation
            else RevocationStatus.REVOCATION_FUNCTION_NOT_SUPPORTED
        )
        self._outbox.put(Send(answer_to(message, status), self._config.address, source))

    def _indicate(
        self,
        message: BindingRevocationIndication,
        peer: IPv6Address,
        entries: list[BindingCacheEntry],
        order: _Order,
        now: Instant,
    ) -> None:
        for entry in entries:
            entry.revocation_in_progress = True
            self._registrations.changed(entry)
        order.left += 1

        def told(conclusion: Conclusion, status: int, then: Instant) -> None:
            # Without an answer, or one that means anything, the bindings end without the MAG's
            # help (RFC 5846 section 6.3).
            if conclusion is Conclusion.REFUSED:
                self._give_up(entries, order, status)
            else:
                self._complete(entries, order, then)

        self._indications.send(message, peer, told, now)

    def _complete(self, entries: list[BindingCacheEntry], order: _Order, now: Instant) -> None:
        """Delete the bindings, but for those that moved to another MAG meanwhile."""
        for entry in entries:
            if entry.revocation_in_progress and self._registrations.revoked(entry, now):
                order.revoked += 1
        self._settle(order)

    def _give_up(self, entries: list[BindingCacheEntry], order: _Order, status: int) -> None:
        for entry in entries:
            entry.revocation_in_progress = False
            self._registrations.changed(entry)
        order.refusal = f"the MAG answered with status {status}"
        self._settle(order)

    def _settle(self, order: _Order) -> None:
        order.left -= 1
        if order.left == 0:
            result = None if order.refusal else {"revoked": order.revoked}
            self._outbox.put(Reply(order.token, result, order.refusal))


def _by_peer(
    entries: Iterable[BindingCacheEntry],
) -> list[tuple[IPv6Address, list[BindingCacheEntry]]]:
    by_peer: dict[IPv6Address, list[BindingCacheEntry]] = {}
    for entry in entries:
        by_peer.setdefault(entry.proxy_coa, []).append(entry)
    return sorted(by_peer.items())
