"""Layer-2 signalling at the mobile node: requests, repeated until they are answered.

Messages and rules: `docs/layer-2-signalling.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Network
from typing import Any

from nodes.actions import NOBODY, Instant, Log, Outbox, Reply, SendOnLink
from nodes.config import MnConfig
from nodes.link_layer import parse_link_layer_id
from nodes.wire.attachment import AttachmentAnswer, AttachmentRequest
from nodes.wire.options import (
    AccessTechnologyType,
    HandoffIndicator,
    HomeNetworkPrefix,
    MobileNodeIdentifier,
    Option,
)

INITIAL_TIMEOUT_S = 1.0  # doubled with each retransmission
MAX_RETRANSMISSIONS = 4
SEQUENCE_MODULUS = 0x10000


class AttachmentState(StrEnum):
    DETACHED = "detached"
    REQUESTED = "requested"
    ATTACHED = "attached"
    REFUSED = "refused"
    UNANSWERED = "unanswered"


@dataclass(slots=True)
class Attachment:
    """One interface. `request` waits for its answer, and is sent again at `due` (monotonic, s);
    `token` is who ordered it, `granted` is the request that made the attachment."""

    state: AttachmentState = AttachmentState.DETACHED
    request: AttachmentRequest | None = None
    granted: AttachmentRequest | None = None
    token: int = NOBODY
    sent: int = 0
    due: float = 0.0
    status: int | None = None
    prefixes: tuple[IPv6Network, ...] = ()


class MnAttachments:
    def __init__(self, config: MnConfig, outbox: Outbox, first_sequence: int) -> None:
        self._config = config
        self._outbox = outbox
        self._next_sequence = first_sequence
        self._up: set[str] = set()
        self.interfaces = {name: Attachment() for name in config.layer_2}

    def deadline(self) -> float | None:
        waiting = [entry.due for entry in self.interfaces.values() if entry.request is not None]
        return min(waiting, default=None)

    def link_up(self, interface: str, now: Instant) -> None:
        if interface not in self.interfaces:
            return
        self._up.add(interface)
        if self._config.layer_2[interface].attach == "link-up":
            self.attach(interface, None, (), NOBODY, now)

    def link_down(self, interface: str) -> None:
        """The MAG has seen that, too."""
        self._up.discard(interface)
        if interface in self.interfaces:
            self._supersede(interface, "the link went down")
            self.interfaces[interface] = Attachment()

    def attach(
        self,
        interface: str,
        handoff: int | None,
        prefixes: tuple[IPv6Network, ...],
        token: int,
        now: Instant,
    ) -> None:
        """Request attachment with this handoff indicator, or the configured one. Raises ValueError
        if there can be none now."""
        self._require(interface)
        access = self._config.layer_2[interface]
        options = (
            HandoffIndicator(access.handoff_indicator if handoff is None else handoff),
            AccessTechnologyType(access.access_technology),
            *(HomeNetworkPrefix.of(prefix) for prefix in prefixes),
        )
        self._begin(interface, options, token, now, detach=False)

    def detach(self, interface: str, token: int, now: Instant) -> None:
        """Raises ValueError like `attach`."""
        self._require(interface)
        self._begin(interface, (), token, now, detach=True)

    def answered(self, interface: str, answer: AttachmentAnswer, now: Instant) -> None:
        entry = self.interfaces.get(interface)
        if entry is not None and entry.granted is not None and _is_notice(answer, entry):
            self._attach_again(interface, entry, entry.granted, now)
            return
        if entry is None or entry.request is None or not _answers(answer, entry.request):
            details = {"interface": interface, "sequence": answer.sequence}
            self._outbox.put(Log("attachment-answer-ignored", details))
            return
        request, entry.request = entry.request, None
        token, entry.token = entry.token, NOBODY
        entry.granted = request if answer.accepted and not answer.detach else None
        entry.status = answer.status
        entry.prefixes = ()
        if not answer.accepted:
            entry.state = AttachmentState.REFUSED
        elif answer.detach:
            entry.state = AttachmentState.DETACHED
        else:
            entry.state = AttachmentState.ATTACHED
            entry.prefixes = tuple(o.prefix for o in answer.all_options(HomeNetworkPrefix))
        self._outbox.put(
            Log(f"attachment-{entry.state}", {"interface": interface, "status": answer.status})
        )
        error = None if answer.accepted else f"the MAG refused: status {answer.status}"
        self._outbox.put(Reply(token, None if error else self.status(interface), error))

    def _attach_again(
        self, interface: str, entry: Attachment, granted: AttachmentRequest, now: Instant
    ) -> None:
        """The MAG doesn't know of the attachment, and is asked for it once more, with the prefixes
        that the session had."""
        self._outbox.put(Log("attachment-lost", {"interface": interface}))
        options = [
            option
            for option in granted.options
            if isinstance(option, (HandoffIndicator, AccessTechnologyType))
        ]
        prefixes = [HomeNetworkPrefix.of(prefix) for prefix in entry.prefixes]
        self._begin(interface, (*options, *prefixes), NOBODY, now, detach=False)

    def handle_timer(self, now: Instant) -> None:
        for interface, entry in self.interfaces.items():
            if entry.request is None or entry.due > now.monotonic:
                continue
            if entry.sent > MAX_RETRANSMISSIONS:
                self._supersede(interface, "the MAG didn't answer")
                entry.state = AttachmentState.UNANSWERED
                self._outbox.put(Log("attachment-unanswered", {"interface": interface}))
            else:
                self._send(interface, entry, now)

    def status(self, interface: str) -> dict[str, Any]:
        entry = self.interfaces[interface]
        return {
            "interface": interface,
            "link": "up" if interface in self._up else "down",
            "attachment": str(entry.state),
            "status": entry.status,
            "prefixes": [str(prefix) for prefix in entry.prefixes],
        }

    def _require(self, interface: str) -> None:
        if interface not in self.interfaces:
            known = ", ".join(self.interfaces) or "none, for none has layer-2 signalling"
            raise ValueError(f"interface is {interface!r}; expected one of {known}")
        if interface not in self._up:
            raise ValueError(f"interface is {interface!r}, which is down; expected one that is up")

    def _begin(
        self,
        interface: str,
        options: tuple[Option, ...],
        token: int,
        now: Instant,
        *,
        detach: bool,
    ) -> None:
        self._supersede(interface, "a newer order replaced it")
        entry = self.interfaces[interface]
        identifier = MobileNodeIdentifier.of(self._config.mn_id)
        entry.request = AttachmentRequest(self._next_sequence, (identifier, *options), detach)
        entry.state, entry.token, entry.sent = AttachmentState.REQUESTED, token, 0
        self._next_sequence = (self._next_sequence + 1) % SEQUENCE_MODULUS
        self._send(interface, entry, now)

    def _send(self, interface: str, entry: Attachment, now: Instant) -> None:
        assert entry.request is not None
        entry.due = now.monotonic + INITIAL_TIMEOUT_S * 2**entry.sent
        entry.sent += 1
        details = {"interface": interface, "sequence": entry.request.sequence}
        self._outbox.put(Log("attachment-requested", details))
        mag = parse_link_layer_id(self._config.mag_link_layer_address)
        self._outbox.put(SendOnLink(entry.request, interface, mag))

    def _supersede(self, interface: str, reason: str) -> None:
        """Whoever waits for the answer to a request that is given up hears of it."""
        entry = self.interfaces[interface]
        if entry.request is not None:
            self._outbox.put(Reply(entry.token, error=reason))
            entry.request, entry.token = None, NOBODY


def _is_notice(answer: AttachmentAnswer, entry: Attachment) -> bool:
    """Whether it says, unasked, that the interface isn't attached."""
    return answer.detach and entry.request is None


def _answers(answer: AttachmentAnswer, request: AttachmentRequest) -> bool:
    return (answer.sequence, answer.detach) == (request.sequence, request.detach)
