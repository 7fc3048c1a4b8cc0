"""What happens at an instant of a run besides moves: to accesses, and what nodes and applications
that take part in no flow mobility do then."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from experiments.declaration.flows import Flow, MptcpDownload, QuicDownload, TcpDownload
from topologies.model import NonNegative

# Conjugate of the golden ratio: its multiples modulo 1 cover an interval evenly, however many of
# them are taken, so the seeds 1 to n sample the packet interval without gaps for every n.
GOLDEN = (math.sqrt(5) - 1) / 2
# Decisions fall on whole multiples of this, off the whole ms on which packets leave by 50 us, so
# that no event of a run sits on the edge of the 10 us resolution of recorded times.
DECISION_GRID_MS = 0.1
DECISION_SHIFT_MS = 0.05


# What the receiver of a download does itself to go on from another address.
BY_RECEIVER = {"reconnect": TcpDownload, "migrate": QuicDownload}


class AccessEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """At `at_s`, later by what the seed chooses, just like a move:

    `handover`: the MN's interface on `access` comes up, and takes over the session of the other
    (RFC 5213 section 8.4, Handoff Indicator 2). `link-down`: the interface goes down.
    `reconnect`: the application of `flow`, a download, goes on from the MN's address on `access`,
    with a new connection. `migrate`: that of a download over QUIC does so with the connection that
    it has (RFC 9000 section 9).
    `prefer`: the subflows of Multipath TCP on `access` are to carry data, and others are backup
    (MP_PRIO, RFC 8684 section 3.3.8). `abandon`: Multipath TCP is to use the address on `access`
    no more (REMOVE_ADDR, section 3.4.2).
    """

    at_s: NonNegative
    do: Literal["handover", "link-down", "reconnect", "migrate", "prefer", "abandon"]
    access: str
    flow: str | None = None


def check_events(
    events: Mapping[str, AccessEvent], flows: Mapping[str, Flow], accesses: Sequence[str]
) -> None:
    """Raises ValueError for an event that is about nothing that is there."""
    for name, event in events.items():
        key = f"events.{name}"
        if event.access not in accesses:
            known = ", ".join(accesses)
            raise ValueError(f"{key}.access: {event.access!r}; expected one of {known}")
        if event.do in BY_RECEIVER:
            kind = BY_RECEIVER[event.do]
            downloads = [name for name, flow in flows.items() if type(flow) is kind]
            if event.flow not in downloads:
                known = ", ".join(downloads) or f"none, for there is no download to {event.do}"
                raise ValueError(f"{key}.flow: {event.flow!r}; expected one of {known}")
        elif event.flow is not None:
            raise ValueError(f"{key}.flow: {event.flow!r}; expected none for {event.do}")
        multipath = any(isinstance(flow, MptcpDownload) for flow in flows.values())
        if event.do in ("prefer", "abandon") and not multipath:
            raise ValueError(f"{key}.do: {event.do!r}; expected a flow over Multipath TCP for it")


def share_of(seed: int) -> float:
    """Where in an interval the run with `seed` is, from 0 to 1."""
    return math.fmod(seed * GOLDEN, 1.0)


def instant_s(at_s: float, spread_ms: float, seed: int) -> float:
    """When what is to happen at `at_s` does so in the run with `seed`, in s of the run."""
    steps = math.floor(share_of(seed) * spread_ms / DECISION_GRID_MS)
    offset_ms = steps * DECISION_GRID_MS + DECISION_SHIFT_MS
    return round(at_s + offset_ms / 1000, 6)
