"""A whole domain in memory for property tests: an LMA, three MAGs, three mobile nodes with one to
three interfaces, their kernels as models, and a network that loses, repeats and delays.

Everything goes through the codecs, and nothing here reads a core's tables: what the nodes say is
told to `World.watchers`, what they do is in their kernels.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from ipaddress import IPv6Address, IPv6Network
from typing import Any, NamedTuple

from nodes.actions import (
    NOBODY,
    Action,
    Advertise,
    Instant,
    Persist,
    ProbeNeighbour,
    Reply,
    Send,
    SendOnLink,
    Solicit,
    TearDownLink,
)
from nodes.heartbeat import Incarnation
from nodes.lma.session_records import Record
from nodes.neighbour_discovery import (
    ALL_NODES,
    NeighbourAdvertisement,
    RouterAdvertisement,
    RouterSolicitation,
)
from nodes.neighbour_discovery import decode as decode_discovery
from nodes.session_file import line_of, read_line
from nodes.wire.attachment import (
    AttachmentAnswer,
    AttachmentRequest,
    decode_attachment,
    encode_attachment,
)
from nodes.wire.codec import decode, encode
from nodes.wire.errors import MalformedMessage
from nodes.wire.messages import Message
from tests.domain import LMA, at
from tests.world_plan import LIFETIME_S, MAG_NAMES, MAGS, MOBILE_NODES, PORTS, Node, Plan, make_node

# After this long without a loss all is quiet: the longest retransmission, what follows from the
# end of a lifetime, and the heartbeats that find out about a restart that nobody heard of.
QUIET_S = 2 * LIFETIME_S + 2 * 64 + 30
ACCESS_TRIP_S, CORE_TRIP_S, TEAR_DOWN_S = 0.002, 0.010, 0.1
MOST_AT_ONCE = 20


class Arrived(NamedTuple):
    """A message of the Mobility Header that a node got."""

    source: IPv6Address
    message: Message


class Started(NamedTuple):
    """A daemon started: it knows nothing, but for an LMA that has its sessions on disk."""


Watcher = Callable[[str, Action | Arrived | Started], None]


class World:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.seconds = 0.0
        self.links: dict[str, str] = {}  # port -> MAG
        self.fates: deque[tuple[float, ...]] = deque()
        self.watchers: list[Watcher] = []
        self.replies: dict[int, Reply] = {}
        self.asked: dict[int, str] = {}  # token -> who has yet to reply
        # The mobile nodes that claimed the session of an interface for another that was attached at
        # the same time, or had two of one technology at one MAG: RFC 5213 section 5.4.1.1 takes
        # a request of one for the other's.
        self.contested: set[str] = set()
        # The prefixes that a port was told of, also that they are gone, by its MAG since that
        # started. What it was told by one that has forgotten it nobody takes back.
        self.told: dict[str, set[IPv6Network]] = {}
        self._starts: dict[str, int] = {}
        self._epochs: dict[str, int] = dict.fromkeys(PORTS, 0)
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._tokens = itertools.count(1)
        # What the LMA has on disk, and how many of its actions are left before it dies.
        self.disk: list[Record] = []
        self.doomed: int | None = None
        self._left: Any = None
        self.nodes: dict[str, Node] = {}
        for name in ("lma", *MAGS, *MOBILE_NODES):
            self.start(name)

    @property
    def now(self) -> Instant:
        return at(self.seconds)

    @property
    def lma(self) -> Node | None:
        return self.nodes.get("lma")

    def mags(self) -> Iterator[tuple[str, Node]]:
        return ((name, self.nodes[name]) for name in MAGS if name in self.nodes)

    # What happens to nodes and links

    def start(self, name: str) -> None:
        """A daemon starts, for the first time or again."""
        if name == "lma" and self.disk:
            self._go_on()
            return
        count = self._starts[name] = self._starts.get(name, 0) + 1
        incarnation = Incarnation(count, restarted=count > 1 and self.plan.state)
        self.nodes[name] = make_node(self.plan, name, incarnation)
        self._tell(name, Started())
        self.act(name, lambda core, now: None)
        for port, mag in list(self.links.items()):
            if name in (mag, PORTS[port].mn_id):
                self._carrier(name, port, up=True)
            if name == mag:
                self.told.pop(port, None)
                self.act(mag, lambda core, now, port=port: core.began(port))  # type: ignore[misc]

    def _go_on(self) -> None:
        """The LMA starts with what is on its disk. If it died between two inputs, its kernel needs
        no change but for what its timers then find."""
        node = make_node(self.plan, "lma", Incarnation(self._starts["lma"]))
        self.nodes["lma"] = node
        node.core.restore(read_line(line_of(self.disk)), self.now)
        self.disk = list(node.core.storage.everything())
        self._tell("lma", Started())
        self.act("lma")
        if self._left is not None and "lma" in self.nodes:
            for what in ("tunnels", "routes", "targets", "watched"):
                there, before = getattr(node.kernel, what), getattr(self._left, what)
                assert there == before, f"{what} are adopted"
        self._timers()

    def crash(self, name: str) -> None:
        """A daemon is killed. What it was asked is never answered."""
        if name == "lma":
            self._left = self.nodes[name].kernel
        del self.nodes[name]
        self.asked = {token: who for token, who in self.asked.items() if who != name}

    def connect(self, port: str, mag: str) -> None:
        self.disconnect(port)
        self.links[port] = mag
        self._note(port, mag, dict(zip(PORTS, self.plan.handoffs, strict=True))[port])
        self._carrier(mag, port, up=True)
        self._carrier(PORTS[port].mn_id, port, up=True)

    def _note(self, port: str, mag: str | None, handoff: int) -> None:
        """A port may attach with a handoff indicator."""
        own = PORTS[port]
        for other, at_mag in self.links.items():
            if other != port and PORTS[other].mn_id == own.mn_id:
                same = (PORTS[other].technology, at_mag) == (own.technology, mag)
                if same or handoff in (2, 3, 4, 5):
                    self.contested.add(own.mn_id)

    def attach(self, port: str, handoff: int | None, prefixes: tuple[IPv6Network, ...]) -> None:
        """The mobile node is ordered to attach by layer-2 signalling."""
        if handoff is not None:
            self._note(port, self.links.get(port), handoff)
        self.ask(
            PORTS[port].mn_id,
            lambda core, now, token: core.attachments.attach(port, handoff, prefixes, token, now),
        )

    def disconnect(self, port: str) -> None:
        mag = self.links.pop(port, None)
        if mag is not None:
            self._epochs[port] += 1
            self.told.pop(port, None)
            self._carrier(mag, port, up=False)
            self._carrier(PORTS[port].mn_id, port, up=False)

    def _carrier(self, name: str, port: str, *, up: bool) -> None:
        node = self.nodes.get(name)
        if node is not None:
            (node.core.link_up if up else node.core.link_down)(port, self.now)
            self.act(name)

    # What is asked of them

    def act(self, name: str, what: Callable[[Any, Instant], object] | None = None) -> None:
        """Let a node's core do something, and carry out what comes of it."""
        node = self.nodes.get(name)
        if node is None:
            return
        if what is not None:
            what(node.core, self.now)
        for action in node.core.take_actions():
            if name == "lma" and self.doomed is not None and not isinstance(action, Persist):
                self.doomed -= 1
                if self.doomed < 0:
                    self.doomed = None
                    self.crash(name)
                    self._left = None
                    return
            node.kernel.perform(action)
            self._tell(name, action)
            self._carry_out(name, action)

    def _tell(self, name: str, what: Action | Arrived | Started) -> None:
        for watcher in self.watchers:
            watcher(name, what)

    def ask(self, name: str, what: Callable[[Any, Instant, int], object]) -> int:
        """A request of the control socket: it has to be answered once."""
        token = next(self._tokens)
        if name in self.nodes:
            self.asked[token] = name
            try:
                self.act(name, lambda core, now: what(core, now, token))
            except ValueError as error:
                reason = str(error)
                self.act(name, lambda core, now: core.answer(token, error=reason))
        return token

    def deliver(self, name: str, message: Message, source: IPv6Address) -> None:
        """A message at once, whoever sent it."""
        if name in self.nodes:
            self._tell(name, Arrived(source, message))
        self.act(name, lambda core, now: core.receive(message, source, now))

    def octets(self, name: str, data: bytes, source: IPv6Address) -> None:
        """Octets for the Mobility Header socket of a node."""
        with suppress(MalformedMessage):
            self.deliver(name, decode(data, source, LMA if name == "lma" else MAGS[name]), source)

    # Time

    def run(self, seconds: float) -> None:
        end = self.seconds + seconds
        while (due := self._next()) <= end:
            self.seconds = max(self.seconds, due)
            while self._queue and self._queue[0][0] <= self.seconds:
                heapq.heappop(self._queue)[2]()
            self._timers()
        self.seconds = end

    def finish(self) -> None:
        """Go on until nothing is under way."""
        while self._queue:
            self.run(self._queue[0][0] - self.seconds)

    def _next(self) -> float:
        timers = (node.core.timer() for node in self.nodes.values())
        due = [time for time in timers if time is not None]
        if self._queue:
            due.append(self._queue[0][0])
        return min(due, default=float("inf"))

    def _timers(self) -> None:
        for name in list(self.nodes):
            rounds = 0
            while (node := self.nodes.get(name)) is not None:
                due = node.core.timer()
                if due is None or due > self.seconds:
                    break
                rounds += 1
                assert rounds <= MOST_AT_ONCE, f"{name}: its timer is in the past for ever"
                self.act(name, lambda core, now: core.handle_timer(now))

    # What they do

    def _carry_out(self, name: str, action: Action) -> None:
        match action:
            case Persist(records):
                self.disk += records  # type: ignore[arg-type]
            case Send(message, source, destination):
                self._transmit(message, source, destination)
            case SendOnLink(message, port):
                data = encode_attachment(message)
                self._over(port, ACCESS_TRIP_S, lambda: self.frame(name, port, data))
            case Reply(token) if token != NOBODY:
                assert self.asked.pop(token, None) == name, "a request is answered once"
                self.replies[token] = action
            case Advertise(interface=port):
                self.told.setdefault(port, set()).update(action.prefixes + action.withdrawn)
                self._over(port, ACCESS_TRIP_S, lambda: self._advertise(port, action))
            case Solicit(interface=port):
                self._over(port, ACCESS_TRIP_S, lambda: self._solicit(port))
            case ProbeNeighbour(interface=port, neighbour=address):
                if PORTS[port].link_local == address and PORTS[port].mn_id in self.nodes:
                    self._over(port, 2 * ACCESS_TRIP_S, lambda: self._neighbour(port))
            case TearDownLink(interface=port):
                if self.links.get(port) == name:
                    self._queue_at(self.seconds, lambda: self._bounce(port, name))

    def _transmit(self, message: Message, source: IPv6Address, destination: IPv6Address) -> None:
        data = encode(message, source, destination)
        name = "lma" if destination == LMA else MAG_NAMES.get(destination)
        if name is not None:
            for delay in self._fate(CORE_TRIP_S):
                self._queue_at(self.seconds + delay, partial(self.octets, name, data, source))

    def _over(self, port: str, trip_s: float, arrive: Callable[[], None]) -> None:
        """Over an access link, if it is still there by then."""
        epoch = self._epochs[port]
        for delay in self._fate(trip_s):

            def arrived() -> None:
                if port in self.links and self._epochs[port] == epoch:
                    arrive()

            if port in self.links:
                self._queue_at(self.seconds + delay, arrived)

    def _fate(self, trip_s: float) -> tuple[float, ...]:
        """The delay of each copy of a message that arrives."""
        return self.fates.popleft() if self.fates else (trip_s,)

    def _queue_at(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (seconds, next(self._order), what))

    def _bounce(self, port: str, mag: str) -> None:
        """The MAG took the link down, and it comes up again."""
        if self.links.get(port) == mag:
            self.disconnect(port)
            epoch = self._epochs[port]

            def again() -> None:
                if port not in self.links and self._epochs[port] == epoch:
                    self.connect(port, mag)

            self._queue_at(self.seconds + TEAR_DOWN_S, again)

    def frame(self, sender: str, port: str, data: bytes) -> None:
        """A frame of layer-2 signalling arrives at the other end of a port's link."""
        mag = self.links.get(port)
        if mag is None:
            return
        with suppress(MalformedMessage):
            message = decode_attachment(data)
            if sender == mag and isinstance(message, AttachmentAnswer):
                self.act(
                    PORTS[port].mn_id,
                    lambda core, now: core.attachments.answered(port, message, now),
                )
            elif sender != mag and isinstance(message, AttachmentRequest):
                own = PORTS[port].link_layer
                self.act(mag, lambda core, now: core.attachment_requested(port, message, own, now))

    def discovery(self, port: str, data: bytes, *, up: bool) -> None:
        """A message of neighbour discovery arrives over a port's link, from whoever is there."""
        mag, own = self.links.get(port), PORTS[port]
        if mag is None:
            return
        with suppress(MalformedMessage):
            message = decode_discovery(data, own.link_local, ALL_NODES, verify_checksum=False)
            if up and isinstance(message, RouterSolicitation):
                known = message.source_link_layer_address
                self.act(
                    mag, lambda core, now: core.router_solicited(port, now, own.link_local, known)
                )
            elif up and isinstance(message, NeighbourAdvertisement):
                self.act(
                    mag, lambda core, now: core.neighbour_advertised(port, message.target, now)
                )
            elif not up and isinstance(message, RouterAdvertisement):
                self.act(
                    own.mn_id,
                    lambda core, now: core.router_advertised(port, own.link_local, message, now),
                )

    def _advertise(self, port: str, action: Advertise) -> None:
        self.act(
            PORTS[port].mn_id,
            lambda core, now: core.router_advertised(
                port, action.router, action.advertisement, now
            ),
        )

    def _solicit(self, port: str) -> None:
        own = PORTS[port]
        self.act(
            self.links[port],
            lambda core, now: core.router_solicited(port, now, own.link_local, own.link_layer),
        )

    def _neighbour(self, port: str) -> None:
        own = PORTS[port].link_local
        self.act(self.links[port], lambda core, now: core.neighbour_advertised(port, own, now))
