"""Receiving Update Notifications (RFC 7077 section 6): duplicates, and the answers.

Knows nothing about what a notification is for: `act` does what it asks for, and returns the status
and the options that follow the identifier of node or group in the acknowledgement.
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
from nodes.wire.options import MobileNodeGroupIdentifier, MobileNodeIdentifier

# Answers that are remembered: those that are forgotten are long before a sequence number returns.
REMEMBERED = 0x4000

Act = Callable[
    [UpdateNotification, IPv6Address, Instant], tuple[UpdateNotificationStatus, Sequence[Option]]
]


class UpdateNotificationReceiver:
    def __init__(self, address: IPv6Address, act: Act, outbox: Outbox) -> None:
        self._address = address
        self._act = act
        self._outbox = outbox
        # By LMA and sequence number, in the order of their arrival.
        self._answered: dict[
            tuple[IPv6Address, int], tuple[UpdateNotification, UpdateNotificationAcknowledgement]
        ] = {}

    def forget(self, lma: IPv6Address) -> None:
        """The LMA started again: its sequence numbers are others', even if they look the same."""
        self._answered = {key: value for key, value in self._answered.items() if key[0] != lma}

    def receive(self, message: UpdateNotification, source: IPv6Address, now: Instant) -> None:
        contents, key = replace(message, retransmit=False), (source, message.sequence)
        known, answer = self._answered.get(key, (None, None))
        if known == contents and answer is not None:
            # A duplicate is never treated as new, and always answered if it asks for it. It has
            # the same contents; an LMA that starts again may come by the same number for others.
            self._outbox.put(Log("fmi-duplicate", {"sequence": message.sequence}))
            if message.retransmit and self._newest(contents, source):
                # RFC 7077 section 6.1: the action SHOULD be redone. After a newer notification for
                # the same mobile node that would undo what the newer one did.
                answer = self._answer(message, source, now)
                self._answered[key] = (contents, answer)
        else:
            answer = self._answer(message, source, now)
            self._answered.pop(key, None)
            self._answered[key] = (contents, answer)
        while len(self._answered) > REMEMBERED:
            del self._answered[next(iter(self._answered))]
        if message.acknowledge:
            self._outbox.put(Send(answer, self._address, source))

    def _newest(self, contents: UpdateNotification, source: IPv6Address) -> bool:
        """Whether nothing came for the mobile node since."""
        concerned = _concerned(contents)
        for (lma, _), (earlier, _) in reversed(self._answered.items()):
            if lma == source and _concerned(earlier) == concerned:
                return earlier == contents
        return False

    def _answer(
        self, message: UpdateNotification, source: IPv6Address, now: Instant
    ) -> UpdateNotificationAcknowledgement:
        status, options = self._act(message, source, now)
        if status >= REJECTED:
            # Without the A flag that is all: dropped, and logged (RFC 7077 section 6.1).
            fields = {"sequence": message.sequence, "status": int(status)}
            self._outbox.put(Log("upn-failed", {**fields, "reason": int(message.reason)}))
        return UpdateNotificationAcknowledgement(
            sequence=message.sequence, status=status, options=(*_concerned(message), *options)
        )


def _concerned(message: UpdateNotification) -> tuple[Option, ...]:
    """The option that says which sessions a notification is for, which its acknowledgement repeats
    (RFC 7077 sections 4.1 and 6.2); none if it is missing."""
    identifier = message.option(MobileNodeIdentifier)
    group = message.option(MobileNodeGroupIdentifier)
    found: Option | None = group if identifier is None else identifier
    return () if found is None else (found,)
