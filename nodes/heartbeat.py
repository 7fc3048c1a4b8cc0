"""Heartbeats between LMA and MAG (RFC 5847): is the peer there, and did it lose its state?

The same for both sides. Whoever uses it says which peers there are sessions with, and what follows
from a peer's failure or restart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import NamedTuple, Protocol

from nodes.actions import Instant, Log, Outbox, Send
from nodes.config import PeerConfig
from nodes.wire.messages import Heartbeat
from nodes.wire.options import RestartCounter

SEQUENCE_MODULUS = 1 << 32
# So much later than what a peer sends after it, its announcement of a restart may come.
OVERTAKING_S = 3.0


class Incarnation(NamedTuple):
    """This start of a node: its Restart Counter (RFC 5847 section 3.2), and whether it is known to
    have run before, so that peers may have sessions that it forgot."""

    restart_counter: int = 0
    restarted: bool = False


FIRST_START = Incarnation()


class PeerEvents(Protocol):
    """What a node does about its peers."""

    def peer_failed(self, peer: IPv6Address, now: Instant) -> None: ...

    def peer_restarted(self, peer: IPv6Address, since: float, now: Instant) -> None:
        """At monotonic time `since` (s) or after it, `peer` lost the state that it had."""


@dataclass(slots=True)
class _Peer:
    """`sequence` is that of the last request, which is `awaiting` its response or not; `missing` is
    MISSING_HEARTBEAT of RFC 5847 section 3.1."""

    due: float
    sequence: int = 0
    awaiting: bool = False
    missing: int = 0


class HeartbeatExchange:
    """`sessions` gives the peers that there is a registered binding with."""

    def __init__(
        self,
        address: IPv6Address,
        settings: PeerConfig,
        incarnation: Incarnation,
        sessions: Callable[[], Iterable[IPv6Address]],
        events: PeerEvents,
        outbox: Outbox,
    ) -> None:
        self._address = address
        self._settings = settings
        self._incarnation = incarnation
        self._sessions = sessions
        self._events = events
        self._outbox = outbox
        self.next_sequence = 0
        self._peers: dict[IPv6Address, _Peer] = {}
        # The Restart Counter of each peer, and when it was heard last.
        self.restart_counters: dict[IPv6Address, tuple[int, float]] = {}
        # Those of it that are new since whoever keeps them on record looked last.
        self.touched: set[IPv6Address] = set()
        self._unsupporting: set[IPv6Address] = set()

    def announce(self, peers: Iterable[IPv6Address]) -> None:
        """RFC 5847 section 3.2: after a restart that lost the sessions, tell `peers` at once."""
        if self._incarnation.restarted:
            for peer in peers:
                self._respond(peer, 0, unsolicited=True)

    def refresh(self, now: Instant) -> None:
        """Follow the sessions that came and went: no requests without one (RFC 5847 section 3)."""
        present = set(self._sessions()) - self._unsupporting
        for peer in self._peers.keys() - present:
            del self._peers[peer]
        for peer in sorted(present - self._peers.keys()):
            self._peers[peer] = _Peer(now.monotonic + self._settings.heartbeat_interval_s)

    def deadline(self) -> float | None:
        """Monotonic time (s) at which `handle_timer` wants to be called."""
        return min((peer.due for peer in self._peers.values()), default=None)

    def handle_timer(self, now: Instant) -> None:
        self.refresh(now)
        for address, peer in list(self._peers.items()):
            if peer.due > now.monotonic:
                continue
            # RFC 5847 section 3.1: counted before the next request is sent.
            if peer.awaiting:
                peer.missing += 1
            if peer.missing > self._settings.missing_heartbeats_allowed:
                del self._peers[address]
                self._outbox.put(Log("peer-failed", {"peer": str(address)}))
                self._events.peer_failed(address, now)
                continue
            peer.due = now.monotonic + self._settings.heartbeat_interval_s
            peer.sequence = self.next_sequence
            peer.awaiting = True
            self.next_sequence = (self.next_sequence + 1) % SEQUENCE_MODULUS
            self._outbox.put(Send(Heartbeat(sequence=peer.sequence), self._address, address))

    def receive(self, message: Heartbeat, source: IPv6Address, now: Instant) -> None:
        """A heartbeat of a peer that this node has to do with."""
        if not message.response:
            # RFC 5847 section 3: MUST answer, whether there is a binding or not.
            self._respond(source, message.sequence, unsolicited=False)
        elif message.unsolicited:
            self._learn(message, source, announced=True, now=now)
        else:
            peer = self._peers.get(source)
            if peer is None or not peer.awaiting or peer.sequence != message.sequence:
                details = {"source": str(source), "sequence": message.sequence}
                self._outbox.put(Log("heartbeat-ignored", details))
                return
            peer.awaiting = False
            peer.missing = 0
            self._learn(message, source, announced=False, now=now)

    def refused(self, source: IPv6Address) -> bool:
        """A Binding Error with status 2: whether a request of ours may be what it is about. If so,
        `source` MUST NOT get any again (RFC 5847 section 3)."""
        peer = self._peers.get(source)
        if peer is None or not peer.awaiting:
            return False
        del self._peers[source]
        self._unsupporting.add(source)
        self._outbox.put(Log("heartbeats-unsupported", {"peer": str(source)}))
        return True

    def _learn(
        self, message: Heartbeat, source: IPv6Address, *, announced: bool, now: Instant
    ) -> None:
        """RFC 5847 section 3.2: a Restart Counter that differs means a restart. With none stored,
        a response tells nothing; an unsolicited one is sent for no other reason."""
        option = message.option(RestartCounter)
        if option is None:
            return
        overtaken = now.monotonic - OVERTAKING_S
        stored, heard = self.restart_counters.get(source, (None, overtaken))
        self.restart_counters[source] = (option.counter, now.monotonic)
        self.touched.add(source)
        if stored == option.counter or (stored is None and not announced):
            return
        self._outbox.put(Log("peer-restarted", {"peer": str(source), "counter": option.counter}))
        # It tells before it does anything else, but the network may change the order; what was lost
        # instead leaves a gap of an interval.
        self._events.peer_restarted(source, max(heard, overtaken) if announced else heard, now)

    def _respond(self, peer: IPv6Address, sequence: int, *, unsolicited: bool) -> None:
        counter = RestartCounter(self._incarnation.restart_counter)
        response = Heartbeat(
            sequence=sequence, response=True, unsolicited=unsolicited, options=(counter,)
        )
        self._outbox.put(Send(response, self._address, peer))
