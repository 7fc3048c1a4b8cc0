"""Telling the previous MAG of a handover, by revocation of its binding (RFC 5846 section 8.1).

A handover that is certain has taken place when the previous MAG is told, and its answer changes
nothing. With handoff state unknown it decides, in place of MaxDelayBeforeNewBCEAssign.
"""

from __future__ import annotations

from collections.abc import Iterable

from nodes.actions import Instant, Log, Outbox
from nodes.config import LmaConfig
from nodes.lma.binding_cache import BindingCache, BindingCacheEntry
from nodes.lma.handovers import Handover
from nodes.lma.proxy_registration import ProxyRegistration
from nodes.lma.revocation_indications import Conclusion, RevocationIndications
from nodes.wire.messages import BindingRevocationIndication, RevocationStatus
from nodes.wire.options import HomeNetworkPrefix, MobileNodeIdentifier


class HandoverRevocation:
    def __init__(
        self,
        config: LmaConfig,
        bindings: BindingCache,
        registrations: ProxyRegistration,
        indications: RevocationIndications,
        outbox: Outbox,
    ) -> None:
        self._config = config
        self._bindings = bindings
        self._registrations = registrations
        self._indications = indications
        self._outbox = outbox
        # By sequence number of the indication that isn't answered yet.
        self._told: dict[int, Handover] = {}

    def settle(self, handovers: Iterable[Handover], now: Instant) -> None:
        """After every input, with the handovers that it brought."""
        for sequence, handover in list(self._told.items()):
            if not handover.unknown and self._serves(handover):
                # It is back, and must not lose what it has got there since.
                self._indications.withdraw(sequence)
                del self._told[sequence]
        if self._config.revoke_on_handover:
            for handover in handovers:
                if not self._is_told(handover):
                    self._tell(handover, now)

    def _tell(self, handover: Handover, now: Instant) -> None:
        entry = handover.entry
        if not handover.unknown and self._serves(handover):
            # Nothing but the prefixes could tell the bindings of the node's two interfaces apart.
            self._outbox.put(Log("handover-not-told", {"mn": entry.mn_id}))
            return
        message = BindingRevocationIndication(
            handover.trigger,
            0,
            (
                MobileNodeIdentifier.of(entry.mn_id),
                *(HomeNetworkPrefix.of(prefix) for prefix in entry.prefixes),
            ),
        )

        def told(conclusion: Conclusion, status: int, then: Instant) -> None:
            self._told.pop(sequence, None)
            if handover.unknown:
                self._decide(handover, conclusion, status, then)

        sequence = self._indications.send(message, handover.previous, told, now)
        self._told[sequence] = handover
        if handover.unknown:
            self._registrations.held.ask(entry.bid)

    def _decide(
        self, handover: Handover, conclusion: Conclusion, status: int, now: Instant
    ) -> None:
        entry = handover.entry
        self._registrations.held.answered(entry.bid)
        if conclusion is Conclusion.REVOKED:
            if self._is_bound_to(entry, handover):
                self._registrations.left(entry, now)
            return
        attached = RevocationStatus.REVOCATION_FAILED_MN_IS_ATTACHED
        if conclusion is Conclusion.UNANSWERED or status == attached:
            self._registrations.admit_waiting(entry.bid, now)
        # A MAG that can't do it may still deregister in time: the deadline holds.

    def _is_told(self, handover: Handover) -> bool:
        """Several requests may wait for the same binding."""
        return any(
            handover.entry is other.entry and handover[1:] == other[1:]
            for other in self._told.values()
        )

    def _serves(self, handover: Handover) -> bool:
        """Whether the previous MAG serves a session with one of these prefixes now."""
        return any(
            other.proxy_coa == handover.previous
            and other.registered
            and set(other.prefixes) & set(handover.entry.prefixes)
            for other in self._bindings.of(handover.entry.mn_id)
        )

    def _is_bound_to(self, entry: BindingCacheEntry, handover: Handover) -> bool:
        """Whether nothing has become of the binding meanwhile."""
        current = self._bindings.get(entry.bid) is entry and entry.registered
        return current and entry.proxy_coa == handover.previous
