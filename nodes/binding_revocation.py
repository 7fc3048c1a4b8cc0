"""Revocation of bindings by the LMA (RFC 5846 sections 6 and 8.1)."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address

from nodes.actions import Instant, Log, Outbox, Reply, Send
from nodes.binding_cache import BindingCacheEntry
from nodes.config import LmaConfig
from nodes.proxy_registration import ProxyRegistration
from nodes.revocation_request import answer_to
from nodes.wire.messages import (
    BindingRevocationAcknowledgement,
    BindingRevocationIndication,
    Option,
    RevocationStatus,
    RevocationTrigger,
)
from nodes.wire.options import HomeNetworkPrefix, MobileNodeIdentifier

SEQUENCE_MODULUS = 0x10000


@dataclass(slots=True)
class _Order:
    """What was asked for; answered once no indication is left of it."""

    token: int
    left: int = 0
    revoked: int = 0
    refusal: str | None = None


@dataclass(slots=True)
class _Outstanding:
    message: BindingRevocationIndication
    peer: IPv6Address
    entries: list[BindingCacheEntry]
    order: _Order
    timeout_s: float
    deadline: float
    retries_left: int


class BindingRevocation:
    def __init__(
        self,
        config: LmaConfig,
        registrations: ProxyRegistration,
        outbox: Outbox,
        rng: random.Random,
    ) -> None:
        self._config = config
        self._registrations = registrations
        self._outbox = outbox
        self._next_sequence = rng.randrange(SEQUENCE_MODULUS)
        self._outstanding: dict[int, _Outstanding] = {}

    def revoke(
        self, entries: Iterable[BindingCacheEntry], token: int, now: Instant, *, whole: bool
    ) -> None:
        """Revoke bindings of one mobile node: one indication to each of its MAGs. `whole`: all that
        it has there, for which the MN-ID says enough; otherwise the prefixes say which."""
        order = _Order(token)
        by_peer: dict[IPv6Address, list[BindingCacheEntry]] = {}
        for entry in entries:
            by_peer.setdefault(entry.proxy_coa, []).append(entry)
        for peer, there in sorted(by_peer.items()):
            options: list[Option] = [MobileNodeIdentifier.of(there[0].mn_id)]
            if not whole:
                prefixes = dict.fromkeys(prefix for entry in there for prefix in entry.prefixes)
                options += [HomeNetworkPrefix.of(prefix) for prefix in prefixes]
            message = BindingRevocationIndication(
                RevocationTrigger.ADMINISTRATIVE_REASON, 0, tuple(options)
            )
            self._indicate(message, peer, there, order, now)

    def revoke_all(
        self, peer: IPv6Address, entries: list[BindingCacheEntry], token: int, now: Instant
    ) -> None:
        """All bindings of a MAG: the G bit, and no options (RFC 5846 section 8.1)."""
        message = BindingRevocationIndication(
            RevocationTrigger.PER_PEER_POLICY, 0, global_revocation=True
        )
        self._indicate(message, peer, entries, _Order(token), now)

    def acknowledged(
        self, message: BindingRevocationAcknowledgement, source: IPv6Address, now: Instant
    ) -> None:
        """RFC 5846 section 6.2.2."""
        outstanding = self._outstanding.get(message.sequence)
        if outstanding is None or outstanding.peer != source:
            self._outbox.put(Log("bra-discarded", {"sequence": message.sequence}))
            return
        status = int(message.status)
        self._outbox.put(Log("bra-received", {"sequence": message.sequence, "status": status}))
        # A MAG that has no such binding has none to keep either.
        if message.accepted or status == RevocationStatus.BINDING_DOES_NOT_EXIST:
            self._complete(outstanding, now)
        else:
            self._give_up(outstanding, f"the MAG answered with status {status}")

    def refuse(self, message: BindingRevocationIndication, source: IPv6Address) -> None:
        """No MAG is authorized to revoke here (RFC 5846 sections 8.2 and 13): what it may end, it
        deregisters."""
        status = (
            RevocationStatus.GLOBAL_REVOCATION_NOT_AUTHORIZED
            if message.global_revocation
            else RevocationStatus.REVOCATION_FUNCTION_NOT_SUPPORTED
        )
        self._outbox.put(Send(answer_to(message, status), self._config.address, source))

    def refused(self, source: IPv6Address, now: Instant) -> bool:
        """A Binding Error with status 2 from a MAG that an indication waits for: it knows no
        revocation, and the bindings end without its help."""
        waiting = [entry for entry in self._outstanding.values() if entry.peer == source]
        for outstanding in waiting:
            self._complete(outstanding, now)
        return bool(waiting)

    def deadline(self) -> float | None:
        """Monotonic time (s) at which `handle_timer` wants to be called."""
        return min((entry.deadline for entry in self._outstanding.values()), default=None)

    def handle_timer(self, now: Instant) -> None:
        """RFC 5846 section 6.3: again with a timeout that doubles, and in the end without answer
        the bindings are cleaned up all the same."""
        for outstanding in list(self._outstanding.values()):
            if outstanding.deadline > now.monotonic:
                continue
            sequence = outstanding.message.sequence
            if outstanding.retries_left == 0:
                self._outbox.put(Log("bri-expired", {"sequence": sequence}))
                self._complete(outstanding, now)
                continue
            outstanding.retries_left -= 1
            outstanding.timeout_s = min(
                outstanding.timeout_s * 2, self._config.max_brack_timeout_ms / 1000
            )
            outstanding.deadline = now.monotonic + outstanding.timeout_s
            self._outbox.put(Log("bri-retransmitted", {"sequence": sequence}))
            self._outbox.put(Send(outstanding.message, self._config.address, outstanding.peer))

    def _indicate(
        self,
        message: BindingRevocationIndication,
        peer: IPv6Address,
        entries: list[BindingCacheEntry],
        order: _Order,
        now: Instant,
    ) -> None:
        sequence = self._allocate()
        message = BindingRevocationIndication(
            message.trigger,
            sequence,
            message.options,
            global_revocation=message.global_revocation,
        )
        for entry in entries:
            entry.revocation_in_progress = True
        timeout_s = self._config.init_min_delay_bris_ms / 1000
        order.left += 1
        self._outstanding[sequence] = _Outstanding(
            message,
            peer,
            entries,
            order,
            timeout_s,
            now.monotonic + timeout_s,
            self._config.bri_max_retries_number,
        )
        self._outbox.put(Send(message, self._config.address, peer))
        self._outbox.put(Log("bri-sent", {"sequence": sequence, "to": str(peer)}))

    def _allocate(self) -> int:
        """RFC 5846 section 5.1: no two outstanding indications have the same sequence number."""
        while self._next_sequence in self._outstanding:
            self._next_sequence = (self._next_sequence + 1) % SEQUENCE_MODULUS
        sequence = self._next_sequence
        self._next_sequence = (sequence + 1) % SEQUENCE_MODULUS
        return sequence

    def _complete(self, outstanding: _Outstanding, now: Instant) -> None:
        """Delete the bindings, but for those that moved to another MAG meanwhile."""
        for entry in outstanding.entries:
            if entry.revocation_in_progress and self._registrations.revoked(entry, now):
                outstanding.order.revoked += 1
        self._settle(outstanding)

    def _give_up(self, outstanding: _Outstanding, refusal: str) -> None:
        for entry in outstanding.entries:
            entry.revocation_in_progress = False
        outstanding.order.refusal = refusal
        self._settle(outstanding)

    def _settle(self, outstanding: _Outstanding) -> None:
        del self._outstanding[outstanding.message.sequence]
        order = outstanding.order
        order.left -= 1
        if order.left == 0:
            result = None if order.refusal else {"revoked": order.revoked}
            self._outbox.put(Reply(order.token, result, order.refusal))
