"""Sending Binding Revocation Indications reliably (RFC 5846 sections 6.1 to 6.3).

Knows nothing about why bindings are revoked: whoever asks for an indication is told what became of
it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto
from ipaddress import IPv6Address

from nodes.actions import Instant, Log, Outbox, Send
from nodes.config import LmaConfig
from nodes.lma.sequence_numbers import SequenceNumbers
from nodes.wire.messages import (
    BindingRevocationAcknowledgement,
    BindingRevocationIndication,
    RevocationStatus,
)


class Conclusion(Enum):
    REVOKED = auto()  # a MAG that has no such binding has none to keep either
    REFUSED = auto()
    UNANSWERED = auto()
    UNSUPPORTED = auto()  # a Binding Error with status 2: the MAG knows no revocation


# Told once an indication has its conclusion, with the status of the acknowledgement if one came.
Told = Callable[[Conclusion, int, Instant], None]


@dataclass(slots=True)
class _Outstanding:
    message: BindingRevocationIndication
    peer: IPv6Address
    told: Told
    timeout_s: float
    deadline: float
    retries_left: int


class RevocationIndications:
    def __init__(self, config: LmaConfig, outbox: Outbox, rng: random.Random) -> None:
        self._config = config
        self._outbox = outbox
        self.numbers = SequenceNumbers(rng)
        self._outstanding: dict[int, _Outstanding] = {}

    def send(
        self, message: BindingRevocationIndication, peer: IPv6Address, told: Told, now: Instant
    ) -> int:
        """Give `message` the next sequence number, which is returned, and send it to `peer`."""
        sequence = self.numbers.allocate(self._outstanding)
        message = replace(message, sequence=sequence)
        timeout_s = self._config.init_min_delay_bris_ms / 1000
        self._outstanding[sequence] = _Outstanding(
            message,
            peer,
            told,
            timeout_s,
            now.monotonic + timeout_s,
            self._config.bri_max_retries_number,
        )
        self._outbox.put(Send(message, self._config.address, peer))
        details = {"sequence": sequence, "to": str(peer), "trigger": int(message.trigger)}
        self._outbox.put(Log("bri-sent", details))
        return sequence

    def withdraw(self, sequence: int) -> None:
        """Nobody waits for the answer any more."""
        self._outstanding.pop(sequence, None)

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
        del self._outstanding[message.sequence]
        gone = message.accepted or status == RevocationStatus.BINDING_DOES_NOT_EXIST
        outstanding.told(Conclusion.REVOKED if gone else Conclusion.REFUSED, status, now)

    def unsupported(self, source: IPv6Address, now: Instant) -> bool:
        """A Binding Error with status 2; whether it can be about an indication."""
        waiting = [entry for entry in self._outstanding.values() if entry.peer == source]
        for outstanding in waiting:
            del self._outstanding[outstanding.message.sequence]
            outstanding.told(Conclusion.UNSUPPORTED, 0, now)
        return bool(waiting)

    def deadline(self) -> float | None:
        """Monotonic time (s) at which `handle_timer` wants to be called."""
        return min((entry.deadline for entry in self._outstanding.values()), default=None)

    def handle_timer(self, now: Instant) -> None:
        """RFC 5846 section 6.3: again with a timeout that doubles."""
        for outstanding in list(self._outstanding.values()):
            if outstanding.deadline > now.monotonic:
                continue
            sequence = outstanding.message.sequence
            if outstanding.retries_left == 0:
                self._outbox.put(Log("bri-expired", {"sequence": sequence}))
                del self._outstanding[sequence]
                outstanding.told(Conclusion.UNANSWERED, 0, now)
                continue
            outstanding.retries_left -= 1
            outstanding.timeout_s = min(
                outstanding.timeout_s * 2, self._config.max_brack_timeout_ms / 1000
            )
            outstanding.deadline = now.monotonic + outstanding.timeout_s
            self._outbox.put(Log("bri-retransmitted", {"sequence": sequence}))
            self._outbox.put(Send(outstanding.message, self._config.address, outstanding.peer))
