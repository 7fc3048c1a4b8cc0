"""The nodes that the socket-level tests run against, as the other end of the wire sees them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, IPv6Network
from typing import Any, Protocol, TypeVar

from nodes.wire.messages import (
    ProxyBindingAcknowledgement,
    ProxyBindingUpdate,
    UpdateNotification,
    UpdateNotificationAcknowledgement,
)
from nodes.wire.options import (
    AccessTechnologyType,
    HandoffIndicator,
    HomeNetworkPrefix,
    MobileNodeIdentifier,
    MobileNodeLinkLayerIdentifier,
    Option,
    Timestamp,
)
from tests.conformance.sockets.outcome import Lacking, expect_equal
from tests.conformance.sockets.peer import Peer

ANY = IPv6Network("::/0")  # ALL_ZERO
WLAN, CELL = 4, 8
LIFETIME = 100  # units of 4 s
ACCEPTED, OUT_OF_WINDOW = 0, 135  # status of a PBA
MIN_DELAY_BEFORE_BCE_DELETE_S = 10.0  # RFC 5213 section 9.1
NOW = Timestamp(0)  # in place of a timestamp: the clock's next
ON_THE_WAY_S = 0.3  # a message that isn't answered has come by then
T = TypeVar("T")
NEW_INTERFACE, BETWEEN_INTERFACES, UNKNOWN, NOT_CHANGED, SHARING = 1, 2, 4, 5, 6


class NodeUnderTest(Protocol):
    """What the tests of Mobility Header rules need, which LMA and MAG share."""

    address: IPv6Address

    @property
    def peer(self) -> Peer:
        """Speaks to the node from an address that it knows."""
        ...


class Clock:
    """Timestamps that only ever grow, as those of one MAG do."""

    def __init__(self) -> None:
        self._last = 0

    def stamp(self, offset_s: float = 0.0) -> Timestamp:
        now = Timestamp.of_unix_ns(time.time_ns() + round(offset_s * 1e9))
        if offset_s:
            return now
        self._last = max(now.value, self._last + 1)
        return Timestamp(self._last)


@dataclass
class LmaUnderTest:
    """An LMA, seen by a MAG. What is None isn't to be had, and tests that need it are skipped."""

    address: IPv6Address
    mag: Peer
    mn: str
    other_mag: Peer | None = None  # authorized, too
    stranger: Peer | None = None  # not authorized
    other_mn: str | None = None
    disabled_mn: str | None = None  # known, and without permission to use the service
    clock: Clock = field(default_factory=Clock)
    _sessions: list[tuple[Peer, ProxyBindingUpdate]] = field(default_factory=list)
    _sequence: itertools.count[int] = field(default_factory=lambda: itertools.count(100))
    _interfaces: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def peer(self) -> Peer:
        return self.mag

    def another_mag(self) -> Peer:
        return given(self.other_mag, "OTHER_MAG: a second address that the LMA takes for a MAG")

    def request(
        self,
        *,
        mn: str | None = "",
        prefixes: Sequence[IPv6Network] = (ANY,),
        handoff: int | None = NEW_INTERFACE,
        technology: int | None = WLAN,
        link_layer: bytes | None = b"",
        stamp: Timestamp | None = NOW,
        sequence: int | None = None,
        lifetime: int = LIFETIME,
        extra: tuple[Option, ...] = (),
    ) -> ProxyBindingUpdate:
        """A PBU for an interface that was never seen, stamped now. None leaves an option out."""
        options: list[Option] = []
        if mn is not None:
            options.append(MobileNodeIdentifier.of(mn or self.mn))
        options += [HomeNetworkPrefix.of(prefix) for prefix in prefixes]
        if handoff is not None:
            options.append(HandoffIndicator(handoff))
        if technology is not None:
            options.append(AccessTechnologyType(technology))
        if stamp is not None:
            options.append(self.clock.stamp() if stamp is NOW else stamp)
        if link_layer is not None:
            options.append(MobileNodeLinkLayerIdentifier(link_layer or self.interface()))
        number = next(self._sequence) if sequence is None else sequence
        return ProxyBindingUpdate(number, lifetime, (*options, *extra))

    def interface(self) -> bytes:
        """The link-layer identifier of an interface that no test has used."""
        return bytes.fromhex("0200c0") + next(self._interfaces).to_bytes(3, "big")

    def again(
        self,
        request: ProxyBindingUpdate,
        answer: ProxyBindingAcknowledgement,
        *,
        handoff: int,
        lifetime: int = LIFETIME,
        **changes: Any,
    ) -> ProxyBindingUpdate:
        """A later PBU of the session that `answer` made, with its prefixes."""
        technology, link_layer = (
            request.option(AccessTechnologyType),
            request.option(MobileNodeLinkLayerIdentifier),
        )
        identifier = request.option(MobileNodeIdentifier)
        values: dict[str, Any] = {
            "mn": None if identifier is None else identifier.nai,
            "prefixes": prefixes(answer),
            "technology": None if technology is None else technology.technology,
            "link_layer": None if link_layer is None else link_layer.identifier,
        }
        return self.request(**{**values, **changes}, handoff=handoff, lifetime=lifetime)

    def ask(
        self, request: ProxyBindingUpdate, peer: Peer | None = None, for_s: float = 4.0
    ) -> ProxyBindingAcknowledgement:
        """The PBA that answers. An accepted session is ended after the test."""
        peer = self.mag if peer is None else peer
        peer.drain()
        peer.send(request, self.address)
        answer = peer.expect(ProxyBindingAcknowledgement, self.address, for_s)
        if answer.status != OUT_OF_WINDOW:  # RFC 6275 section 9.5.1: that one has the last accepted
            expect_equal(answer.sequence, request.sequence, "the PBA's sequence number")
        if answer.accepted:
            left = self.again(request, answer, handoff=UNKNOWN, lifetime=0)
            if request.lifetime:
                self._sessions.append((peer, left))
        return answer

    def register(self, peer: Peer | None = None, **changes: Any) -> Registered:
        request = self.request(**changes)
        answer = self.ask(request, peer)
        expect_equal(answer.status, ACCEPTED, "the PBA's status")
        return Registered(request, answer)

    def expect_status(
        self, status: int, peer: Peer | None = None, **changes: Any
    ) -> ProxyBindingAcknowledgement:
        answer = self.ask(self.request(**changes), peer)
        expect_equal(answer.status, status, "the PBA's status")
        return answer

    def clean(self) -> None:
        """Deregister what the test registered, and wait until the last of it is gone."""
        while self._sessions:
            peer, leaving = self._sessions.pop()
            renewed = [o for o in leaving.options if not isinstance(o, Timestamp)]
            if len(renewed) < len(leaving.options):
                renewed.append(self.clock.stamp())
            number = next(self._sequence)
            peer.send(replace(leaving, sequence=number, options=tuple(renewed)), self.address)
            peer.next(ProxyBindingAcknowledgement, self.address, 0.5)

    def settle(self) -> None:
        """Until the LMA has deleted all sessions that tests left."""
        self.clean()
        time.sleep(MIN_DELAY_BEFORE_BCE_DELETE_S + 1.0)


@dataclass(frozen=True)
class Registered:
    request: ProxyBindingUpdate
    answer: ProxyBindingAcknowledgement

    @property
    def prefixes(self) -> list[IPv6Network]:
        return prefixes(self.answer)


class MnLink(Protocol):
    """The link to the MN, seen from the MN's end."""

    def advertised(self, for_s: float) -> set[IPv6Network]:
        """The prefixes in the Router Advertisements that come within `for_s`."""
        ...

    def delivers(self, mag: IPv6Address, lma: Peer, destination: IPv6Address) -> bool:
        """Whether a packet that `lma` tunnels to `mag` arrives here."""
        ...


@dataclass
class MagUnderTest:
    """A MAG, seen by its LMA. `attach` and `detach` make the MN come and go on its access link."""

    address: IPv6Address
    lma: Peer
    mn: str
    prefix: IPv6Network  # assigned to the MN in the PBAs
    other_prefix: IPv6Network  # conveyed with the L bit
    attach_mn: Callable[[], None] | None = None
    detach_mn: Callable[[], None] | None = None
    stranger: Peer | None = None  # an address that isn't the MAG's LMA
    mn_link: MnLink | None = None
    attached: bool = False
    _sequence: itertools.count[int] = field(default_factory=lambda: itertools.count(4000))

    @property
    def peer(self) -> Peer:
        return self.lma

    def link(self) -> MnLink:
        return given(self.mn_link, "MN_INTERFACE: the interface on the MN's link")

    def attach(self) -> ProxyBindingUpdate:
        """The PBU that the attachment of the MN makes the MAG send."""
        self.leave()
        self.lma.drain()
        given(self.attach_mn, "ATTACH: a command that attaches the MN")()
        self.attached = True
        return self.lma.expect(ProxyBindingUpdate, self.address)

    def detach(self) -> ProxyBindingUpdate:
        """The PBU that the MN's departure makes the MAG send."""
        self.lma.drain()
        given(self.detach_mn, "DETACH: a command that detaches the MN")()
        self.attached = False
        return self.lma.expect(ProxyBindingUpdate, self.address)

    def accept(
        self,
        request: ProxyBindingUpdate,
        *,
        off_link: Sequence[IPv6Network] = (),
        lifetime: int | None = None,
        status: int = ACCEPTED,
        peer: Peer | None = None,
        sequence: int | None = None,
        changed: tuple[Option, ...] = (),
    ) -> None:
        """Send the PBA of RFC 5213 section 5.3.6; an option of `changed` takes the place of the
        one of its kind."""
        options: dict[type[Option], Option] = {
            type(option): option
            for option in request.options
            if not isinstance(option, HomeNetworkPrefix)
        }
        options |= {type(option): option for option in changed}
        answer = ProxyBindingAcknowledgement(
            status=status,
            sequence=request.sequence if sequence is None else sequence,
            lifetime=request.lifetime if lifetime is None else lifetime,
            options=(
                *options.values(),
                HomeNetworkPrefix.of(self.prefix),
                *(HomeNetworkPrefix.of(prefix, off_link=True) for prefix in off_link),
            ),
        )
        (self.lma if peer is None else peer).send(answer, self.address)

    def register(self, **changes: Any) -> ProxyBindingUpdate:
        """Attach the MN and answer; returns the request."""
        request = self.attach()
        self.accept(request, **changes)
        time.sleep(ON_THE_WAY_S)
        return request

    def notification(
        self,
        prefixes: Sequence[IPv6Network],
        *,
        mn: str | None = None,
        acknowledge: bool = True,
        retransmit: bool = False,
        sequence: int | None = None,
    ) -> UpdateNotification:
        """An FMI."""
        return UpdateNotification(
            sequence=next(self._sequence) if sequence is None else sequence,
            reason=8,
            acknowledge=acknowledge,
            retransmit=retransmit,
            options=(
                MobileNodeIdentifier.of(self.mn if mn is None else mn),
                *(HomeNetworkPrefix.of(prefix, off_link=True) for prefix in prefixes),
            ),
        )

    def notify(self, message: UpdateNotification) -> UpdateNotificationAcknowledgement:
        """The FMA that answers."""
        self.lma.drain()
        self.lma.send(message, self.address)
        return self.lma.expect(UpdateNotificationAcknowledgement, self.address)

    def is_registered(self) -> bool:
        """Whether the MAG serves the MN, as its answer to an FMI shows."""
        return self.notify(self.notification((self.other_prefix,))).accepted

    def leave(self) -> None:
        """The MN is gone, and the MAG has forgotten it."""
        if self.attached:
            # It may have nothing to deregister.
            self.lma.drain()
            given(self.detach_mn, "DETACH: a command that detaches the MN")()
            self.attached = False
            request = self.lma.next(ProxyBindingUpdate, self.address)
            if request is not None and request.lifetime == 0:
                self.accept(request)
            time.sleep(ON_THE_WAY_S)

    clean = leave


def prefixes(
    message: ProxyBindingUpdate | ProxyBindingAcknowledgement | UpdateNotificationAcknowledgement,
) -> list[IPv6Network]:
    return [option.prefix for option in message.all_options(HomeNetworkPrefix)]


def given(value: T | None, what: str) -> T:
    if value is None:
        raise Lacking(f"needs {what}")
    return value
