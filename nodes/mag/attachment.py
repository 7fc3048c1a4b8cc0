"""Layer-2 signalling at the MAG: who may attach, duplicates, and answers.

Messages and rules: `docs/layer-2-signalling.md`. What an attachment leads to is the MAG's affair:
it registers the node, and calls `settled` when the LMA has answered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Network

from nodes.actions import Instant, Log, Outbox, SendOnLink
from nodes.config import AccessProfile, MagConfig
from nodes.link_layer import parse_link_layer_id
from nodes.mag.binding_update_list import BindingUpdateListEntry, Registration
from nodes.wire.attachment import AttachmentAnswer, AttachmentRequest
from nodes.wire.messages import HandoffHint, ProxyBindingStatus
from nodes.wire.options import (
    AccessTechnologyType,
    HandoffIndicator,
    HomeNetworkPrefix,
    MobileNodeIdentifier,
)

# Exchanges that are remembered per interface, for their duplicates.
REMEMBERED = 16
BROADCAST = b"\xff" * 6

Attach = Callable[[str, AccessProfile, tuple[IPv6Network, ...], Instant], None]
Detach = Callable[[str, Instant], None]


@dataclass(slots=True)
class Exchange:
    """A request from `source`, and its answer once there is one."""

    request: AttachmentRequest
    source: bytes
    answer: AttachmentAnswer | None = None


class MagAttachments:
    def __init__(
        self,
        config: MagConfig,
        bindings: dict[str, BindingUpdateListEntry],
        attach: Attach,
        detach: Detach,
        outbox: Outbox,
    ) -> None:
        self._config = config
        self._bindings = bindings
        self._attach = attach
        self._detach = detach
        self._outbox = outbox
        self._exchanges: dict[str, list[Exchange]] = {}

    def receive(
        self, interface: str, request: AttachmentRequest, source: bytes, now: Instant
    ) -> None:
        """A request that came over `interface` from link-layer address `source`."""
        if interface not in self._config.layer_2_interfaces:
            self._log("attachment-ignored", interface)
            return
        exchanges = self._exchanges.setdefault(interface, [])
        known = next((e for e in exchanges if (e.request, e.source) == (request, source)), None)
        if known is not None:
            self._log("attachment-duplicate", interface, sequence=request.sequence)
            if known.answer is not None:
                self._outbox.put(SendOnLink(known.answer, interface, source))
            return
        # A newer request is what the node wants now; it doesn't wait for older answers any more.
        exchanges[:] = [e for e in exchanges if e.answer is not None]
        exchange = Exchange(request, source)
        exchanges.append(exchange)
        del exchanges[:-REMEMBERED]
        status = self._refusal(interface, request, source)
        if status is not None:
            self._log("attachment-refused", interface, status=int(status))
            self._answer(interface, exchange, status)
        elif request.detach:
            self._detach(interface, now)
            self._answer(interface, exchange, ProxyBindingStatus.ACCEPTED)
        else:
            prefixes = [
                option.prefix
                for option in request.all_options(HomeNetworkPrefix)
                if not option.all_zero
            ]
            self._attach(interface, _profile(request, source), tuple(prefixes), now)

    def settled(self, interface: str, status: int, prefixes: tuple[IPv6Network, ...] = ()) -> None:
        """The LMA has answered the registration of the node on `interface`."""
        for exchange in self._exchanges.get(interface, ()):
            if exchange.answer is None:
                self._answer(interface, exchange, status, prefixes)

    def names_prefixes(self, interface: str) -> bool:
        """Whether a node that waits for its answer wants a session with certain prefixes."""
        return any(
            exchange.answer is None and exchange.request.option(HomeNetworkPrefix) is not None
            for exchange in self._exchanges.get(interface, ())
        )

    def began(self, interface: str) -> None:
        """The link of `interface` was there before this MAG: whoever is on it believes to be
        attached, and is told that it isn't."""
        self._log("attachment-asked", interface)
        notice = AttachmentAnswer(0, int(ProxyBindingStatus.ACCEPTED), detach=True)
        self._outbox.put(SendOnLink(notice, interface, BROADCAST))

    def link_down(self, interface: str) -> None:
        """What comes after the link is up again has nothing to do with what was before."""
        self._exchanges.pop(interface, None)

    def _refusal(
        self, interface: str, request: AttachmentRequest, source: bytes
    ) -> ProxyBindingStatus | None:
        """Why a request can't be granted: with what an LMA would say to such a PBU."""
        identifier = request.option(MobileNodeIdentifier)
        if identifier is None:
            return ProxyBindingStatus.MISSING_MN_IDENTIFIER_OPTION
        policy = self._config.mobile_nodes.get(identifier.nai)
        allowed = policy is not None and (
            not policy.link_layer_ids
            or source in [parse_link_layer_id(text) for text in policy.link_layer_ids]
        )
        if policy is None or not allowed:
            return ProxyBindingStatus.ADMINISTRATIVELY_PROHIBITED
        entry = self._bindings.get(interface)
        if entry is not None and entry.state is not Registration.DEREGISTERING:
            served = entry.profile.mn_id, parse_link_layer_id(entry.profile.link_layer_id)
            if served != (identifier.nai, source):
                return ProxyBindingStatus.INSUFFICIENT_RESOURCES
        if request.detach:
            return None
        handoff = request.option(HandoffIndicator)
        if handoff is None:
            return ProxyBindingStatus.MISSING_HANDOFF_INDICATOR_OPTION
        technology = request.option(AccessTechnologyType)
        if technology is None:
            return ProxyBindingStatus.MISSING_ACCESS_TECH_TYPE_OPTION
        if handoff.hint == HandoffHint.RESERVED or handoff.hint > max(HandoffHint):
            return ProxyBindingStatus.REASON_UNSPECIFIED
        if technology.technology not in policy.access_technologies:
            return ProxyBindingStatus.ADMINISTRATIVELY_PROHIBITED
        return None

    def _answer(
        self,
        interface: str,
        exchange: Exchange,
        status: int,
        prefixes: tuple[IPv6Network, ...] = (),
    ) -> None:
        identifier = exchange.request.option(MobileNodeIdentifier)
        exchange.answer = AttachmentAnswer(
            sequence=exchange.request.sequence,
            status=int(status),
            options=(
                *(() if identifier is None else (identifier,)),
                *(HomeNetworkPrefix.of(prefix) for prefix in prefixes),
            ),
            detach=exchange.request.detach,
        )
        self._outbox.put(SendOnLink(exchange.answer, interface, exchange.source))

    def _log(self, event: str, interface: str, **details: object) -> None:
        self._outbox.put(Log(event, {"interface": interface, **details}))


def _profile(request: AttachmentRequest, source: bytes) -> AccessProfile:
    identifier = request.option(MobileNodeIdentifier)
    handoff, technology = request.option(HandoffIndicator), request.option(AccessTechnologyType)
    assert identifier is not None
    assert handoff is not None
    assert technology is not None
    return AccessProfile(
        mn_id=identifier.nai,
        access_technology=technology.technology,
        link_layer_id=source.hex(":"),
        handoff_indicator=handoff.hint,
    )
