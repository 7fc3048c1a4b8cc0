"""Receiving Update Notifications (RFC 7077 section 6): duplicates, and the answers.

Knows nothing about what a notification is for: `act` does what it asks for, and returns the status
and the options that follow the mobile node identifier in the acknowledgement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv6Address

from nodes.actions import Instant, Log, Outbox, Send
from nodes.wire.messages import (
    REJECTED,
    Option,
    UpdateNotification,
    UpdateNotificationAcknowledgement,
    UpdateNotificationStatus,
)
from nodes.wire.options import MobileNodeIdentifier

# Answers that are remembered: those that are forgotten are long before a sequence number returns.
REMEMBERED = 0x4000

Act = Callable[[UpdateNotification, Instant], tuple[UpdateNotificationStatus, Sequence[Option]]]


class UpdateNotificationReceiver:
    def __init__(self, address: IPv6Address, act: Act, outbox: Outbox) -> None:
        self._address = address
        self._act = act
        self._outbox = outbox
        self._answered: dict[int, tuple[UpdateNotification, UpdateNotificationAcknowledgement]] = {}

    def forget(self) -> None:
        """The LMA started again: its sequence numbers are others', even if they look the same."""
        self._answered.clear()

    def receive(self, message: UpdateNotification, source: IPv6Address, now: Instant) -> None:
        contents = replace(message, retransmit=False)
        known, answer = self._answered.get(message.sequence, (None, None))
        if known == contents and answer is not None:
            # A duplicate is never treated as new, and always answered if it asks for it. It has
            # the same contents; an LMA that starts again may come by the same number for others.
            self._outbox.put(Log("fmi-duplicate", {"sequence": message.sequence}))
            if message.retransmit and self._newest(contents):
                # RFC 7077 section 6.1: the action SHOULD be redone. After a newer notification for
                # the same mobile node that would undo what the newer one did.
                answer = self._answer(message, now)
                self._answered[message.sequence] = (contents, answer)
        else:
            answer = self._answer(message, now)
            self._answered.pop(message.sequence, None)
            self._answered[message.sequence] = (contents, answer)
        while len(self._answered) > REMEMBERED:
            del self._answered[next(iter(self._answered))]
        if message.acknowledge:
            self._outbox.put(Send(answer, self._address, source))

    def _newest(self, contents: UpdateNotification) -> bool:
        """Whether nothing came for the mobile node since."""
        identifier = contents.option(MobileNodeIdentifier)
        for earlier, _ in reversed(self._answered.values()):
            if earlier.option(MobileNodeIdentifier) == identifier:
                return earlier == contents
        return False

    def _answer(
        self, message: UpdateNotification, now: Instant
    ) -> UpdateNotificationAcknowledgement:
        status, options = self._act(message, now)
        if status >= REJECTED:
            # Without the A flag that is all: dropped, and logged (RFC 7077 section 6.1).
            fields = {"sequence": message.sequence, "status": int(status)}
            self._outbox.put(Log("upn-failed", {**fields, "reason": int(message.reason)}))
        identifier = message.option(MobileNodeIdentifier)
        return UpdateNotificationAcknowledgement(
            sequence=message.sequence,
            status=status,
            options=(*(() if identifier is None else (identifier,)), *options),
        )
