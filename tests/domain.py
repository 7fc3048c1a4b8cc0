"""A domain of one LMA and two MAGs in memory: cores, messages through the codec, and a model of the
kernel that refuses what the kernel would refuse. Tests get all of it through the fixture `domain`.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, TypeVar

from nodes.actions import (
    NOBODY,
    AcceptSources,
    Action,
    Advertise,
    BlockPrefix,
    CloseNorthbound,
    CloseTunnel,
    ConnectNorthbound,
    EndHold,
    FilterFlows,
    ForwardFlows,
    HoldFlows,
    HostPrefix,
    IgnoreUplink,
    InstallFlow,
    Instant,
    LabelFlow,
    Log,
    OpenTunnel,
    Persist,
    ReleaseFlows,
    RemoveFlow,
    Reply,
    RoutePrefix,
    Send,
    SendNorthbound,
    UnhostPrefix,
    UnroutePrefix,
    WatchUplink,
)
from nodes.config import (
    Access,
    AccessProfile,
    LmaConfig,
    MagConfig,
    MobileNodePolicy,
)
from nodes.controller_config import FABRIC_GATEWAY
from nodes.flow_mobility_cache import FlowAction, FlowMobilityCacheEntry
from nodes.heartbeat import FIRST_START, Incarnation
from nodes.lma.local_mobility_anchor import LocalMobilityAnchor
from nodes.lma.session_records import Record
from nodes.mag.mobile_access_gateway import MobileAccessGateway
from nodes.wire.codec import decode, encode
from nodes.wire.messages import (
    BindingError,
    BindingRevocationAcknowledgement,
    BindingRevocationIndication,
    Heartbeat,
    Message,
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
    RestartCounter,
    Timestamp,
)
from nodes.wire.traffic_selector import IPv6TrafficSelector, PacketFields
from tests.controller import ModelController

LMA = IPv6Address("2001:db8:10::1")
MAG1, MAG2 = IPv6Address("2001:db8:11::1"), IPv6Address("2001:db8:12::1")
MN, OTHER_MN = "mn1@example.org", "mn2@example.org"
WLAN, CELL = 4, 8
LINK_LAYER_1, LINK_LAYER_2 = bytes.fromhex("020000000101"), bytes.fromhex("020000000201")
POOL = IPv6Network("2001:db8:100::/48")
P1, P2, P3 = itertools.islice(POOL.subnets(new_prefix=64), 3)
MN_LINK_LOCAL = IPv6Address("fe80::ff:fe00:101")  # from LINK_LAYER_1
BOOT_UNIX_NS = 1_700_000_000_000_000_000

A = TypeVar("A")
KINDS: dict[type[Message], str] = {
    BindingError: "BE",
    BindingRevocationAcknowledgement: "BRA",
    BindingRevocationIndication: "BRI",
    Heartbeat: "HB",
    ProxyBindingUpdate: "PBU",
    ProxyBindingAcknowledgement: "PBA",
    UpdateNotification: "FMI",
    UpdateNotificationAcknowledgement: "FMA",
}


def at(seconds: float) -> Instant:
    """The instant `seconds` after the test's beginning."""
    return Instant(seconds, BOOT_UNIX_NS + round(seconds * 1e9))


def of(kind: type[A], actions: Sequence[Action]) -> list[A]:
    return [action for action in actions if isinstance(action, kind)]


class KernelRefused(AssertionError):
    """An action that the kernel would have answered with an error."""


def _require(condition: bool, action: object) -> None:
    if not condition:
        raise KernelRefused(action)


@dataclass
class Forwarding:
    """What a node's actions have made of its forwarding state."""

    tunnels: set[IPv6Address] = field(default_factory=set)
    routes: dict[IPv6Network, IPv6Address | None] = field(default_factory=dict)
    flows: dict[int, InstallFlow] = field(default_factory=dict)
    targets: dict[int, tuple[IPv6Address, ...]] = field(default_factory=dict)
    sources: set[tuple[IPv6Address, IPv6Network]] = field(default_factory=set)
    labels: dict[int, int] = field(default_factory=dict)
    holds: dict[int, list[Action]] = field(default_factory=dict)
    hosted: set[tuple[str, IPv6Network]] = field(default_factory=set)
    through: dict[tuple[str, IPv6Network], IPv6Address] = field(default_factory=dict)
    filters: dict[str, FilterFlows] = field(default_factory=dict)
    watched: set[IPv6Network] = field(default_factory=set)

    def perform(self, action: Action) -> None:
        match action:
            case OpenTunnel(peer):
                _require(peer not in self.tunnels, action)
                self.tunnels.add(peer)
            case CloseTunnel(peer):
                _require(peer in self.tunnels, action)
                _require(peer not in self.routes.values(), action)
                _require(all(peer not in path for path in self.targets.values()), action)
                _require(all(peer != tunnel for tunnel, _ in self.sources), action)
                _require(peer not in self.through.values(), action)
                self.tunnels.remove(peer)
            case RoutePrefix(prefix, proxy_coa):
                _require(proxy_coa in self.tunnels or proxy_coa == FABRIC_GATEWAY, action)
                self.routes[prefix] = proxy_coa
            case AcceptSources(peer, came, left):
                _require(peer in self.tunnels, action)
                gone, new = {(peer, prefix) for prefix in left}, {(peer, prefix) for prefix in came}
                _require(gone <= self.sources and not new & self.sources, action)
                self.sources = self.sources - gone | new
            case BlockPrefix(prefix):
                self.routes[prefix] = None
            case UnroutePrefix(prefix):
                _require(prefix in self.routes, action)
                del self.routes[prefix]
            case HostPrefix(interface, prefix, lma, _):
                _require(lma in self.tunnels and (interface, prefix) not in self.hosted, action)
                self.hosted.add((interface, prefix))
                self.through[interface, prefix] = lma
            case UnhostPrefix(interface, prefix):
                _require((interface, prefix) in self.hosted, action)
                self.hosted.remove((interface, prefix))
                del self.through[interface, prefix]
            case WatchUplink(prefix):
                _require(prefix not in self.watched, action)
                self.watched.add(prefix)
            case IgnoreUplink(prefix):
                _require(prefix in self.watched, action)
                self.watched.remove(prefix)
            case _:
                self._perform_for_flows(action)

    def _perform_for_flows(self, action: Action) -> None:
        match action:
            case InstallFlow(key):
                self.flows[key] = action
            case LabelFlow(key, label):
                _require(key in self.flows, action)
                self.labels[key] = label
            case RemoveFlow(key):
                _require(key in self.flows, action)
                del self.flows[key]
                self.targets.pop(key, None)
                self.labels.pop(key, None)
            case ForwardFlows(paths):
                for key, path in paths:
                    _require(not path or bool(self.flows[key].prefixes), action)
                    _require({*self.tunnels, FABRIC_GATEWAY}.issuperset(path), action)
                    _require(len(set(path)) == len(path), action)
                    self.targets.pop(key, None)
                    if path:
                        self.targets[key] = path
            case HoldFlows(hold, keys):
                _require(hold not in self.holds and self.flows.keys() >= set(keys), action)
                self.holds[hold] = [action]
            case ReleaseFlows(hold) | EndHold(hold):
                steps = [type(step) for step in self.holds[hold]]
                _require(steps == [HoldFlows, ReleaseFlows][: len(steps)], action)
                _require(isinstance(action, EndHold) == (len(steps) == 2), action)
                self.holds[hold].append(action)
            case FilterFlows(interface, prefixes):
                self.filters.pop(interface, None)
                if prefixes:
                    self.filters[interface] = action


@dataclass
class Anchor:
    """An LMA alone: what it does in answer to one input."""

    core: LocalMobilityAnchor
    forwarding: Forwarding = field(default_factory=Forwarding)

    def taken(self) -> list[Action]:
        actions = self.core.take_actions()
        for action in actions:
            self.forwarding.perform(action)
        return actions

    def receive(
        self, message: Message, seconds: float = 0.0, source: IPv6Address = MAG1
    ) -> list[Action]:
        self.core.receive(message, source, at(seconds))
        return self.taken()

    def acknowledged(
        self, message: Message, seconds: float = 0.0, source: IPv6Address = MAG1
    ) -> ProxyBindingAcknowledgement:
        """The one PBA that answers `message`."""
        (sent,) = of(Send, self.receive(message, seconds, source))
        assert isinstance(sent.message, ProxyBindingAcknowledgement)
        assert (sent.source, sent.destination) == (LMA, source)
        return sent.message

    def timer(self, seconds: float) -> list[Action]:
        self.core.handle_timer(at(seconds))
        return self.taken()


@dataclass
class Gateway:
    """A MAG alone."""

    core: MobileAccessGateway
    interface: str
    forwarding: Forwarding = field(default_factory=Forwarding)

    def taken(self) -> list[Action]:
        actions = self.core.take_actions()
        for action in actions:
            self.forwarding.perform(action)
        return actions

    def link_up(self, seconds: float = 0.0) -> list[Action]:
        self.core.link_up(self.interface, at(seconds))
        return self.taken()

    def link_down(self, seconds: float = 0.0) -> list[Action]:
        self.core.link_down(self.interface, at(seconds))
        return self.taken()

    def receive(
        self, message: Message, seconds: float = 0.0, source: IPv6Address = LMA
    ) -> list[Action]:
        self.core.receive(message, source, at(seconds))
        return self.taken()

    def timer(self, seconds: float) -> list[Action]:
        self.core.handle_timer(at(seconds))
        return self.taken()

    def solicit(
        self,
        seconds: float,
        source: IPv6Address = MN_LINK_LOCAL,
        link_layer: bytes | None = LINK_LAYER_1,
    ) -> list[Action]:
        """The mobile node sends a Router Solicitation."""
        self.core.router_solicited(self.interface, at(seconds), source, link_layer)
        return self.taken()

    def request(self) -> ProxyBindingUpdate:
        """The PBU that waits for its answer."""
        request = self.core.bindings[self.interface].request
        assert request is not None
        return request

    def registered(
        self, prefixes: Sequence[IPv6Network] = (P1,), off_link: Sequence[IPv6Network] = ()
    ) -> Gateway:
        """This, with its mobile node attached and registered at second 0."""
        self.link_up()
        self.receive(Domain.acceptance(self.request(), prefixes, off_link), 0.02)
        return self


@dataclass(frozen=True)
class Sent:
    seconds: float
    source: str
    destination: str
    message: Message

    def __str__(self) -> str:
        return f"{KINDS[type(self.message)]} {self.source}>{self.destination}"


Fate = Callable[[Message], Sequence[float]]


class Network:
    """The domain with a network that delays messages by `delay_s`, or does what `fate` says: it
    returns the delay of each copy that arrives."""

    def __init__(self, policy: MobileNodePolicy, delay_s: float = 0.010, **config: Any) -> None:
        # The prefix model shared goes without HI 6 here: the LMA's policy alone has to do.
        self.seconds = 0.0
        self.delay_s = delay_s
        self._policy, self._config = policy, config
        self._starts = {"lma": 1, "mag1": 1, "mag2": 1}
        self._attached: set[str] = set()
        self._down: set[str] = set()
        self.disk: list[Record] = []
        self.fate: Fate = lambda message: (delay_s,)
        domain = Domain()
        self.lma = domain.lma(policy, **config)
        self.mags = {"mag1": domain.mag("mag1"), "mag2": domain.mag("mag2")}
        self._names = {LMA: "lma", MAG1: "mag1", MAG2: "mag2"}
        self.sent: list[Sent] = []
        self.injected: list[tuple[str, Message]] = []
        self.replies: dict[int, Reply] = {}
        self.logs: list[tuple[str, Log]] = []
        self.advertised: list[tuple[float, str, Advertise]] = []
        self._in_flight: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._tokens = itertools.count(1)
        self.controller = ModelController(self)

    def crash(self, name: str) -> None:
        """The daemon of a node is killed: it neither receives nor sends, and forgets everything."""
        self._down.add(name)

    def start(self, name: str, **changes: Any) -> None:
        """It starts again: an LMA with what it has on disk, and with changes to its
        configuration."""
        self._down.discard(name)
        self._starts[name] += 1
        incarnation = Incarnation(self._starts[name], restarted=True)
        if name == "lma" and self.disk:
            # RFC 5847 section 3.2: not a restart that counts.
            self.lma = Domain.lma(self._policy, **(self._config | changes))
            records, self.disk = self.disk, []
            self.lma.core.restore(records, at(self.seconds))
            self._carry_out(name, self.lma.taken())
            self.disk = list(self.lma.core.storage.everything())
            return
        if name == "lma":
            self.lma = Domain.lma(self._policy, incarnation=incarnation, **self._config)
            self._carry_out(name, self.lma.taken())
            return
        self.mags[name] = Domain.mag(name, incarnation=incarnation)
        self._carry_out(name, self.mags[name].taken())
        if name in self._attached:
            self.attach(name)

    def attach(self, mag: str) -> None:
        self._attached.add(mag)
        if mag in self._down:
            return
        self._carry_out(mag, self.mags[mag].link_up(self.seconds))

    def detach(self, mag: str) -> None:
        self._attached.discard(mag)
        if mag in self._down:
            return
        self._carry_out(mag, self.mags[mag].link_down(self.seconds))

    def bid(self, access: str) -> int:
        bid = self.lma.core.resolve(MN, access)
        assert bid is not None
        return bid

    def add_flow(
        self,
        fid: int,
        to: str | Sequence[str],
        destination: IPv6Network | None,
        *,
        action: FlowAction = FlowAction.FORWARD,
    ) -> int:
        """Add flow `fid` of UDP to `destination`, and return the token of the reply."""
        token = next(self._tokens)
        selector = IPv6TrafficSelector.of(destination=destination, protocol=17)
        row = FlowMobilityCacheEntry(fid, fid, selector, self._bids(to), action)
        self.lma.core.add_flow(MN, row, token, at(self.seconds))
        self._carry_out("lma", self.lma.taken())
        return token

    def remove_flow(self, fid: int) -> int:
        token = next(self._tokens)
        self.lma.core.remove_flow(MN, fid, token, at(self.seconds))
        self._carry_out("lma", self.lma.taken())
        return token

    def move(self, fid: int | Sequence[int], to: str | Sequence[str]) -> int:
        """Order a move, and return the token of the reply."""
        token = next(self._tokens)
        fids = (fid,) if isinstance(fid, int) else fid
        self.lma.core.move_flows(MN, fids, self._bids(to), token, at(self.seconds))
        self._carry_out("lma", self.lma.taken())
        return token

    def _bids(self, to: str | Sequence[str]) -> tuple[int, ...]:
        return tuple(self.bid(access) for access in ([to] if isinstance(to, str) else to))

    def now(self) -> Instant:
        return at(self.seconds)

    def take_from_lma(self) -> None:
        """Carry out what was asked of the LMA's core directly."""
        self._carry_out("lma", self.lma.taken())

    def revoke(self, access: str | None = None) -> int:
        """Revoke the MN's binding of an access, or all of its bindings."""
        token = next(self._tokens)
        bid = None if access is None else self.bid(access)
        self.lma.core.revoke(MN, bid, token, at(self.seconds))
        self._carry_out("lma", self.lma.taken())
        return token

    def revoke_mag(self, mag: IPv6Address) -> int:
        token = next(self._tokens)
        self.lma.core.revoke_mag(mag, token, at(self.seconds))
        self._carry_out("lma", self.lma.taken())
        return token

    def inject(self, message: Message, source: IPv6Address) -> None:
        """A message to the LMA, at once."""
        self.deliver("lma", message, source)

    def deliver(self, name: str, message: Message, source: IPv6Address) -> None:
        """A message to a node, at once, whoever may have sent it."""
        self.injected.append((name, message))
        node = self.lma if name == "lma" else self.mags[name]
        self._carry_out(name, node.receive(message, self.seconds, source))

    def uplink(self, packet: PacketFields, proxy_coa: IPv6Address) -> None:
        """The LMA sees an uplink packet in the tunnel of a MAG."""
        self.lma.core.uplink_seen(packet, proxy_coa, at(self.seconds))
        self._carry_out("lma", self.lma.taken())

    def run(self, seconds: float) -> None:
        """Let `seconds` pass."""
        end = self.seconds + seconds
        while (due := self._next_event()) is not None and due <= end:
            self.seconds = max(self.seconds, due)
            if self._in_flight and self._in_flight[0][0] <= self.seconds:
                heapq.heappop(self._in_flight)[2]()
            else:
                self._run_timers()
        self.seconds = end

    def messages(self) -> list[str]:
        """Those sent since the last call."""
        shown = [str(sent) for sent in self.sent]
        self.sent.clear()
        return shown

    def path(self, fid: int) -> IPv6Address | None:
        """The MAG that packets of a flow are sent to by its row; None: the default path's."""
        return next(iter(self.paths(fid)), None)

    def paths(self, fid: int) -> tuple[IPv6Address, ...]:
        """The MAGs that a copy of each packet of a flow is sent to."""
        for key, flow in self.lma.forwarding.flows.items():
            if flow.entry.fid == fid:
                return self.lma.forwarding.targets.get(key, ())
        return ()

    def row(self, fid: int) -> FlowMobilityCacheEntry:
        row = self.lma.core.flows.cache.get(MN, fid)
        assert row is not None
        return row

    def off_link(self, mag: str) -> set[IPv6Network]:
        gateway = self.mags[mag]
        entry = gateway.core.bindings.get(gateway.interface)
        return set() if entry is None else set(entry.off_link_prefixes)

    def events(self, node: str = "lma") -> list[str]:
        return [log.event for name, log in self.logs if name == node]

    def _next_event(self) -> float | None:
        timers = [node.core.timer() for node in self._nodes().values()]
        due = [time for time in timers if time is not None]
        due += [self._in_flight[0][0]] if self._in_flight else []
        return min(due, default=None)

    def _nodes(self) -> dict[str, Anchor | Gateway]:
        """Those that are running."""
        nodes: dict[str, Anchor | Gateway] = {"lma": self.lma, **self.mags}
        return {name: node for name, node in nodes.items() if name not in self._down}

    def _run_timers(self) -> None:
        for name, node in self._nodes().items():
            due = node.core.timer()
            if due is not None and due <= self.seconds:
                self._carry_out(name, node.timer(self.seconds))

    def _carry_out(self, node: str, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Persist(records):
                    self.disk += records
                case Send(message, source, destination):
                    self._transmit(message, source, destination)
                case Reply(token) if token != NOBODY:
                    assert token not in self.replies, "a request is answered once"
                    self.replies[token] = action
                case Log():
                    self.logs.append((node, action))
                case Advertise():
                    self.advertised.append((self.seconds, node, action))
                case ConnectNorthbound() | CloseNorthbound() | SendNorthbound():
                    self.controller.perform(action)

    def _transmit(self, message: Message, source: IPv6Address, destination: IPv6Address) -> None:
        names = self._names
        if destination not in names:
            return  # an answer to somebody who isn't there
        self.sent.append(Sent(self.seconds, names[source], names[destination], message))
        data = encode(message, source, destination)
        for delay in self.fate(message):

            def arrive() -> None:
                received = decode(data, source, destination)
                name = names[destination]
                node = self._nodes().get(name)
                if node is not None:
                    self._carry_out(name, node.receive(received, self.seconds, source))

            self.later(delay, arrive)

    def later(self, delay: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._in_flight, (self.seconds + delay, next(self._order), what))

    def tell_lma(self, what: Callable[[LocalMobilityAnchor, Instant], None]) -> None:
        """Something that concerns the LMA's core happens, if it runs."""
        if "lma" not in self._down:
            what(self.lma.core, at(self.seconds))
            self.take_from_lma()


class Domain:
    """Names of this domain, and makers of what is in it."""

    LMA, MAG1, MAG2 = LMA, MAG1, MAG2
    MN, OTHER_MN = MN, OTHER_MN
    WLAN, CELL = WLAN, CELL
    LINK_LAYER_1, LINK_LAYER_2 = LINK_LAYER_1, LINK_LAYER_2
    MN_LINK_LOCAL = MN_LINK_LOCAL
    POOL, P1, P2, P3 = POOL, P1, P2, P3
    at = staticmethod(at)
    of = staticmethod(of)
    KernelRefused = KernelRefused

    @staticmethod
    def lma_config(policy: MobileNodePolicy | None = None, **changes: Any) -> LmaConfig:
        policy = MobileNodePolicy() if policy is None else policy
        values: dict[str, Any] = {
            "events": Path("/dev/null"),
            "seed": 1,
            "address": LMA,
            "control_socket": Path("/nowhere"),
            "prefix_pool": POOL,
            "mobile_nodes": {MN: policy, OTHER_MN: policy},
            "accesses": {"wlan": Access(WLAN, 10), "cell": Access(CELL, 20)},
            "authorized_mags": (MAG1, MAG2),
        }
        return LmaConfig(**{**values, **changes})

    @classmethod
    def lma(
        cls,
        policy: MobileNodePolicy | None = None,
        incarnation: Incarnation = FIRST_START,
        **changes: Any,
    ) -> Anchor:
        config = cls.lma_config(policy, **changes)
        return Anchor(LocalMobilityAnchor(config, random.Random(1), incarnation))

    @staticmethod
    def mag(
        name: str = "mag1",
        handoff: int = 1,
        incarnation: Incarnation = FIRST_START,
        profile: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Gateway:
        """`profile` changes the policy profile of the only mobile node, `changes` the rest."""
        first = name == "mag1"
        interface = f"{name}-mn"
        fields: dict[str, Any] = {
            "mn_id": MN,
            "access_technology": WLAN if first else CELL,
            "link_layer_id": (LINK_LAYER_1 if first else LINK_LAYER_2).hex(":"),
            "handoff_indicator": handoff,
        }
        values: dict[str, Any] = {
            "events": Path("/dev/null"),
            "proxy_coa": MAG1 if first else MAG2,
            "lma": LMA,
            "access_interfaces": {interface: AccessProfile(**{**fields, **(profile or {})})},
        }
        config = MagConfig(**{**values, **changes})
        return Gateway(MobileAccessGateway(config, random.Random(name), incarnation), interface)

    @staticmethod
    def pbu(
        seconds: float = 0.0,
        *,
        mn: str | None = MN,
        prefixes: Sequence[IPv6Network] | None = (IPv6Network("::/0"),),
        handoff: int | None = 1,
        technology: int | None = WLAN,
        link_layer: bytes | None = LINK_LAYER_1,
        timestamp: bool = True,
        sequence: int = 7,
        lifetime: int = 900,
        extra: tuple[Option, ...] = (),
    ) -> ProxyBindingUpdate:
        """A PBU stamped at `seconds`. What is None is left out; no prefixes is ALL_ZERO."""
        options: list[Option] = []
        if mn is not None:
            options.append(MobileNodeIdentifier.of(mn))
        options += [HomeNetworkPrefix.of(prefix) for prefix in prefixes or ()]
        if handoff is not None:
            options.append(HandoffIndicator(handoff))
        if technology is not None:
            options.append(AccessTechnologyType(technology))
        if timestamp:
            options.append(Timestamp.of_unix_ns(at(seconds).unix_ns))
        if link_layer is not None:
            options.append(MobileNodeLinkLayerIdentifier(link_layer))
        return ProxyBindingUpdate(sequence=sequence, lifetime=lifetime, options=(*options, *extra))

    @staticmethod
    def acceptance(
        request: ProxyBindingUpdate,
        prefixes: Sequence[IPv6Network] = (P1,),
        off_link: Sequence[IPv6Network] = (),
        status: int = 0,
    ) -> ProxyBindingAcknowledgement:
        """The PBA that answers `request` as RFC 5213 section 5.3.6 has it."""
        echoed = [o for o in request.options if not isinstance(o, HomeNetworkPrefix)]
        return ProxyBindingAcknowledgement(
            status=status,
            sequence=request.sequence,
            lifetime=request.lifetime,
            options=(
                *echoed,
                *(HomeNetworkPrefix.of(prefix) for prefix in prefixes),
                *(HomeNetworkPrefix.of(prefix, off_link=True) for prefix in off_link),
            ),
        )

    @staticmethod
    def fmi(
        sequence: int,
        prefixes: Sequence[IPv6Network],
        *,
        mn: str | None = MN,
        reason: int = 8,
        acknowledge: bool = True,
        retransmit: bool = False,
        off_link: bool = True,
    ) -> UpdateNotification:
        options: list[Option] = [] if mn is None else [MobileNodeIdentifier.of(mn)]
        options += [HomeNetworkPrefix.of(prefix, off_link) for prefix in prefixes]
        return UpdateNotification(
            sequence=sequence,
            reason=reason,
            options=tuple(options),
            acknowledge=acknowledge,
            retransmit=retransmit,
        )

    @staticmethod
    def restart_counter(counter: int) -> tuple[Option, ...]:
        return (RestartCounter(counter),)

    @staticmethod
    def prefixes(message: Message, off_link: bool = False) -> list[IPv6Network]:
        """The home network prefixes of a message, with or without the L bit."""
        options = message.all_options(HomeNetworkPrefix)
        return [option.prefix for option in options if option.off_link is off_link]

    @staticmethod
    def unattached(policy: MobileNodePolicy) -> Network:
        return Network(policy)

    @staticmethod
    def network(model: str = "unique", **changes: Any) -> Network:
        """Both interfaces attached; `changes` are those of the MN's policy."""
        network = Network(MobileNodePolicy(prefix_model=model, **changes))  # type: ignore[arg-type]
        for mag in ("mag1", "mag2"):
            network.attach(mag)
            network.run(0.1)
        network.messages()
        return network
