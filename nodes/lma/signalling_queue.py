"""What waits to be processed when more signalling comes than an LMA can answer at once.

RFC 5213 leaves overload open. Here the queue is bounded, and what costs least is dropped first:

* of several requests of one interface of a mobile node that wait, only the newest is of use. The
  MAG ignores answers to those before (RFC 5213 section 6.9.1.2: the answer has the request's
  sequence number and timestamp), so the newest takes the oldest one's place;
* what is about existing sessions goes before requests for new ones, and answers to this LMA before
  both: they end work that has begun;
* the MAGs take turns, so that one that floods makes the others wait for one message of it each;
* when the queue is full, the oldest message goes that is of the least urgency and of the MAG that
  has most of these: its sender has waited longest, and asks again (RFC 5213 section 6.9.4).
"""

from __future__ import annotations

from collections import OrderedDict
from enum import IntEnum
from ipaddress import IPv6Address
from typing import Generic, NamedTuple, TypeVar

from nodes.lma.binding_cache import BindingCache
from nodes.wire.messages import Message, ProxyBindingUpdate
from nodes.wire.options import (
    AccessTechnologyType,
    MobileNodeIdentifier,
    MobileNodeLinkLayerIdentifier,
    Option,
)

W = TypeVar("W")
REPORT_EVERY_S = 1.0

_INTERFACE = (MobileNodeIdentifier, AccessTechnologyType, MobileNodeLinkLayerIdentifier)


class Urgency(IntEnum):
    """The most urgent first."""

    ANSWER = 0
    EXISTING_SESSION = 1
    NEW_SESSION = 2


class Dropped(NamedTuple, Generic[W]):
    """`replaced`: the same interface has asked again."""

    work: W
    urgency: Urgency
    replaced: bool


def urgency_of(message: Message, bindings: BindingCache) -> Urgency:
    if not isinstance(message, ProxyBindingUpdate):
        return Urgency.ANSWER
    identifier = message.option(MobileNodeIdentifier)
    known = identifier is not None and bindings.of(identifier.nai)
    return Urgency.EXISTING_SESSION if known else Urgency.NEW_SESSION


def subject_of(message: Message) -> tuple[Option | None, ...] | None:
    """The interface that a request is about, as it names it; None for other messages, none of
    which takes another's place. Registration and deregistration are one subject: what the MAG said
    last is how it is."""
    if not isinstance(message, ProxyBindingUpdate):
        return None
    return tuple(message.option(kind) for kind in _INTERFACE)


class SignallingQueue(Generic[W]):
    """Of at most `most` pieces of work."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        # By urgency, then by MAG in the order of their turns; a MAG without work isn't there.
        self._lanes: dict[Urgency, OrderedDict[IPv6Address, OrderedDict[object, W]]] = {
            urgency: OrderedDict() for urgency in Urgency
        }

    def __len__(self) -> int:
        return self._count

    def put(
        self, work: W, source: IPv6Address, urgency: Urgency, subject: object | None = None
    ) -> Dropped[W] | None:
        """`work` waits from now on; what doesn't any more because of it. Work with the same
        `subject` from the same source is the same work, done anew."""
        lane = self._lanes[urgency]
        own = lane.setdefault(source, OrderedDict())
        if subject is not None and subject in own:
            replaced, own[subject] = own[subject], work
            return Dropped(replaced, urgency, True)
        own[object() if subject is None else subject] = work
        self._count += 1
        return self._drop() if self._count > self._most else None

    def take(self) -> W | None:
        """What is to be done next; None if nothing waits."""
        for lane in self._lanes.values():
            if lane:
                source, own = next(iter(lane.items()))
                _, work = own.popitem(last=False)
                self._count -= 1
                if own:
                    lane.move_to_end(source)
                else:
                    del lane[source]
                return work
        return None

    def _drop(self) -> Dropped[W]:
        urgency = max(urgency for urgency, lane in self._lanes.items() if lane)
        lane = self._lanes[urgency]
        source = max(lane, key=lambda one: len(lane[one]))
        _, work = lane[source].popitem(last=False)
        self._count -= 1
        if not lane[source]:
            del lane[source]
        return Dropped(work, urgency, False)


class WaitingMessages(Generic[W]):
    """Messages in the order in which an LMA is to process them, each with its `work`, and counts of
    what it won't."""

    def __init__(self, bindings: BindingCache, most: int) -> None:
        self._bindings = bindings
        self._queue: SignallingQueue[W] = SignallingQueue(most)
        self._replaced = self._dropped = 0
        self._reported = -REPORT_EVERY_S

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, work: W, message: Message, source: IPv6Address) -> None:
        urgency = urgency_of(message, self._bindings)
        dropped = self._queue.put(work, source, urgency, subject_of(message))
        if dropped is not None:
            self._replaced += dropped.replaced
            self._dropped += not dropped.replaced

    def take(self) -> W | None:
        return self._queue.take()

    @property
    def dropping(self) -> bool:
        """Whether there is something to report."""
        return bool(self._replaced or self._dropped)

    def report(self, now: float) -> dict[str, int] | None:
        """What was dropped since the last report, every REPORT_EVERY_S at most: a line for each
        would be work more, when there is too much of it."""
        if not self.dropping or now < self._reported + REPORT_EVERY_S:
            return None
        report = {"replaced": self._replaced, "dropped": self._dropped, "waiting": len(self)}
        self._replaced = self._dropped = 0
        self._reported = now
        return report
