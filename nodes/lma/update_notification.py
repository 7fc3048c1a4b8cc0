"""Sending Update Notifications reliably (RFC 7077 section 5), for Flow Mobility Initiate.

Knows nothing about what a notification is for: whoever asks for one names what waits for it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv6Address

from nodes.actions import Instant, Log, Send
from nodes.deadlines import Deadlines
from nodes.lma.sequence_numbers import SequenceNumbers
from nodes.wire.messages import UpdateNotification, UpdateNotificationAcknowledgement


@dataclass(slots=True)
class Outstanding:
    """A notification that waits for its acknowledgement."""

    message: UpdateNotification
    peer: IPv6Address
    retransmissions_left: int
    subject: object


class UpdateNotifier:
    """`delay_s`: MIN_DELAY_BETWEEN_UPDATE_NOTIFICATION_REPLAY, `retransmissions`:
    MAX_UPDATE_NOTIFICATION_RETRANSMIT_COUNT."""

    def __init__(
        self, source: IPv6Address, delay_s: float, retransmissions: int, rng: random.Random
    ) -> None:
        self._source = source
        self._delay_s = delay_s
        self._retransmissions = retransmissions
        self.numbers = SequenceNumbers(rng)
        self._outstanding: dict[int, Outstanding] = {}
        self._deadlines: Deadlines[int] = Deadlines()

    def send(
        self, message: UpdateNotification, peer: IPv6Address, subject: object, now: Instant
    ) -> tuple[int, Send]:
        """Give `message` the next sequence number and send it to `peer`."""
        sequence = self.numbers.allocate(self._outstanding)
        message = replace(message, sequence=sequence)
        self._outstanding[sequence] = Outstanding(message, peer, self._retransmissions, subject)
        self._deadlines.set(sequence, now.monotonic + self._delay_s)
        return sequence, Send(message, self._source, peer)

    def acknowledge(
        self, message: UpdateNotificationAcknowledgement, peer: IPv6Address
    ) -> Outstanding | None:
        """The notification that `message` from `peer` answers.

        None if there is none: such a message MUST be discarded (RFC 7077 section 5.2).
        """
        outstanding = self._outstanding.get(message.sequence)
        if outstanding is None or outstanding.peer != peer:
            return None
        return self._forget(message.sequence)

    def outstanding(self) -> Iterable[Outstanding]:
        return self._outstanding.values()

    def withdraw(self, unwanted: Callable[[Outstanding], bool]) -> list[Outstanding]:
        """Give up those of the waiting notifications that are `unwanted`."""
        given_up = [entry for entry in self._outstanding.values() if unwanted(entry)]
        for entry in given_up:
            self._forget(entry.message.sequence)
        return given_up

    def _forget(self, sequence: int) -> Outstanding:
        self._deadlines.set(sequence, None)
        return self._outstanding.pop(sequence)

    def deadline(self) -> float | None:
        return self._deadlines.first()

    def handle_timer(self, now: Instant) -> tuple[list[Send | Log], list[Outstanding]]:
        """What to send again, and the notifications whose last chance has passed.

        A retransmission has the D flag set and the same sequence number and contents
        (RFC 7077 sections 4.1 and 5.2).
        """
        actions: list[Send | Log] = []
        expired: list[Outstanding] = []
        for sequence in self._deadlines.due(now.monotonic):
            entry = self._outstanding[sequence]
            if entry.retransmissions_left == 0:
                expired.append(self._outstanding.pop(sequence))
                continue
            entry.retransmissions_left -= 1
            self._deadlines.set(sequence, now.monotonic + self._delay_s)
            entry.message = replace(entry.message, retransmit=True)
            actions.append(Log("fmi-retransmitted", {"sequence": sequence}))
            actions.append(Send(entry.message, self._source, entry.peer))
        return actions, expired
