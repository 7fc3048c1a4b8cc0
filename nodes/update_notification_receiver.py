"""Receiving Update Notifications (RFC 7077 section 6): duplicates, and the answers.

Knows nothing about what a notification is for: `act` does what it asks for, and returns the status
and the options that follow the mobile node identifier in the acknowledgement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv6Address

from nodes.actions import Log, Outbox, Send
from nodes.wire.messages import (
    Option,
    UpdateNotification,
    UpdateNotificationAcknowledgement,
    UpdateNotificationStatus,
)
from nodes.wire.options import MobileNodeIdentifier

# Answers that are remembered: those that are forgotten are long before a sequence number returns.
REMEMBERED = 0x4000

Act = Callable[[UpdateNotification], tuple[UpdateNotificationStatus, Sequence[Option]]]


class UpdateNotificationReceiver:
    def __init__(self, address: IPv6Address, act: Act, outbox: Outbox) -> None:
        self._address = address
        self._act = act
        self._outbox = outbox
        self._answered: dict[int, tuple[UpdateNotification, UpdateNotificationAcknowledgement]] = {}

    def forget(self) -> None:
        """The LMA started again: its sequence numbers are others', even if they look the same."""
        self._answered.clear()

    def receive(self, message: UpdateNotification, source: IPv6Address) -> None:
        contents = replace(message, retransmit=False)
        known, answer = self._answered.pop(message.sequence, (None, None))
        if known == contents and answer is not None:
            # A duplicate is never treated as new, and always answered if it asks for it. It has
            # the same contents; an LMA that starts again may come by the same number for others.
            self._outbox.put(Log("fmi-duplicate", {"sequence": message.sequence}))
        else:
            answer = self._answer(message)
        self._answered[message.sequence] = (contents, answer)
        while len(self._answered) > REMEMBERED:
            del self._answered[next(iter(self._answered))]
        if message.acknowledge:
            self._outbox.put(Send(answer, self._address, source))

    def _answer(self, message: UpdateNotification) -> UpdateNotificationAcknowledgement:
        status, options = self._act(message)
        identifier = message.option(MobileNodeIdentifier)
        return UpdateNotificationAcknowledgement(
            sequence=message.sequence,
            status=status,
            options=(*(() if identifier is None else (identifier,)), *options),
        )
