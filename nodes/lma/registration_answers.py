"""Whether a Proxy Binding Acknowledgement answers a request (RFC 5213 section 6.9.1.2, steps 3 to
6)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from ipaddress import IPv6Address

from nodes.mag.binding_update_list import BindingUpdateListEntry
from nodes.wire.messages import (
    ProxyBindingAcknowledgement,
    ProxyBindingStatus,
    ProxyBindingUpdate,
)
from nodes.wire.options import (
    AccessTechnologyType,
    HandoffIndicator,
    MobileNodeIdentifier,
    MobileNodeLinkLayerIdentifier,
    Timestamp,
)

_ECHOED = (
    MobileNodeIdentifier,
    HandoffIndicator,
    AccessTechnologyType,
    MobileNodeLinkLayerIdentifier,
)
_OWN_TIME = (
    ProxyBindingStatus.TIMESTAMP_MISMATCH,
    ProxyBindingStatus.TIMESTAMP_LOWER_THAN_PREV_ACCEPTED,
)


class Answer(Enum):
    VALID = "valid"
    STALE = "stale"
    """An answer to something else: ignored."""
    NO_ECHO = "no echo"
    """Ignored, and the request is not to be repeated either (step 6)."""


def answered(
    entries: Iterable[BindingUpdateListEntry],
    message: ProxyBindingAcknowledgement,
    source: IPv6Address,
) -> BindingUpdateListEntry | None:
    """The entry whose request this is the answer to. Its LMA alone may answer.

    The sequence number tells, but not where the LMA sends its own because the request's was too old
    (RFC 6275 section 9.5.1), nor quite where each session has its own numbers."""
    waiting = [entry for entry in entries if entry.request is not None and entry.lma == source]
    if message.status == ProxyBindingStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW:
        candidates = [entry for entry in waiting if _echoes(entry.request, message)]
    else:
        candidates = [e for e in waiting if e.request and e.request.sequence == message.sequence]
        candidates.sort(key=lambda entry: not _echoes(entry.request, message))
    return next(iter(candidates), None)


def examine(request: ProxyBindingUpdate, message: ProxyBindingAcknowledgement) -> Answer:
    if not _echoes(request, message):
        return Answer.NO_ECHO
    # RFC 5213 section 5.5: the LMA returns the timestamp, or tells its own time; and it has none in
    # the answer to a request without.
    wanted, found = request.option(Timestamp), message.option(Timestamp)
    if message.status in _OWN_TIME:
        return Answer.VALID if (wanted is None) == (found is None) else Answer.STALE
    return Answer.VALID if wanted == found else Answer.STALE


def _echoes(request: ProxyBindingUpdate | None, message: ProxyBindingAcknowledgement) -> bool:
    return request is not None and all(
        message.option(kind) == request.option(kind) for kind in _ECHOED
    )
