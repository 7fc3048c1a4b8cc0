"""The loop that connects a protocol core to sockets, the kernel and time.

One thread waits on file descriptors until one is readable or the core's timer is due, hands the
core what came, and carries out the actions that it returns, in order, each before the next. Several
nodes may share the thread.
"""

from __future__ import annotations

import os
import random
import selectors
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import IPv6Address
from typing import NamedTuple, Protocol

from nodes.actions import NOBODY, Action, Instant, Log, Reply, Send
from nodes.config import DaemonConfig
from nodes.event_log import EventWriter
from nodes.kernel.parameter_problem import ParameterProblems
from nodes.kernel.sockets import MobilitySocket, Received
from nodes.lma.signalling_queue import WaitingMessages
from nodes.wire.codec import decode, encode
from nodes.wire.errors import BadPayloadProto, HeaderTooShort, MalformedMessage, UnknownType
from nodes.wire.messages import BindingError, BindingErrorStatus, Message

# Messages between two looks at timers and other descriptors.
AT_ONCE = 32


class Readable(Protocol):
    def fileno(self) -> int: ...


class Core(Protocol):
    def take_actions(self) -> list[Action]: ...

    def timer(self) -> float | None: ...

    def handle_timer(self, now: Instant) -> None: ...


class Place(NamedTuple):
    """Where a node is that shares its process with others: `selector` is that of all, `enter` moves
    the process to the node's network namespace."""

    selector: selectors.BaseSelector
    enter: Callable[[], None]


def now() -> Instant:
    return Instant(time.monotonic(), time.time_ns())


def random_source(config: DaemonConfig, node: str) -> random.Random:
    """Unpredictable, unless the configuration asks for repeatable numbers."""
    if config.seed is None:
        return random.SystemRandom()
    return random.Random(f"{config.seed}/{node}")


class Daemon:
    """`perform` carries out the actions that this class doesn't know."""

    def __init__(
        self,
        core: Core,
        events: EventWriter,
        perform: Callable[[Action], None],
        place: Place | None = None,
    ) -> None:
        self._core = core
        self._events = events
        self._perform = perform
        self._mobility: dict[IPv6Address, MobilitySocket] = {}
        self._waiting: WaitingMessages[Callable[[], None]] | None = None
        self._reply: Callable[[Reply], None] | None = None
        self._problems: dict[IPv6Address, ParameterProblems] = {}
        # SelectSelector waits with microsecond resolution; epoll rounds up to milliseconds.
        self.selector = selectors.SelectSelector() if place is None else place.selector
        self.enter = _stay if place is None else place.enter

    def watch(
        self,
        readable: Readable,
        handler: Callable[[], None],
        writable: Callable[[], None] | None = None,
    ) -> None:
        """Call `handler` when there is something to read and, if given, `writable` when something
        can be written. A later call for the same object replaces an earlier one."""
        events = selectors.EVENT_READ | (0 if writable is None else selectors.EVENT_WRITE)
        data = _Watched(self, handler, writable)
        if readable in self.selector.get_map():
            self.selector.modify(readable, events, data)
        else:
            self.selector.register(readable, events, data)

    def forget(self, readable: Readable) -> None:
        self.selector.unregister(readable)

    def reply_with(self, reply: Callable[[Reply], None]) -> None:
        """Hand replies to requests to `reply`."""
        self._reply = reply

    def serve_mobility(
        self,
        mobility: MobilitySocket,
        receive: Callable[[Message, Received, Instant], None],
        waiting: WaitingMessages[Callable[[], None]] | None = None,
    ) -> None:
        """Decode what arrives on `mobility` and hand it to `receive`: at once, or in the order that
        `waiting` gives it, AT_ONCE at a time, so that timers and requests have their turn. What is
        sent from its address is sent there."""
        self._mobility[mobility.address] = mobility
        self._problems[mobility.address] = ParameterProblems(mobility.address)
        self._waiting = waiting

        def process(message: Message, received: Received) -> None:
            receive(message, received, now())
            self.carry_out()

        def readable() -> None:
            while (received := mobility.receive()) is not None:
                message = self._decode(mobility, received)
                if message is None:
                    continue
                if waiting is None:
                    process(message, received)
                else:
                    waiting.put(partial(process, message, received), message, received.source)

        self.watch(mobility, readable)

    def run(self, ready: Callable[[], None] | None = None) -> None:
        """Until SIGTERM or SIGINT. `ready` is called once everything is listening."""
        run_together([self], ready)

    def begin(self) -> None:
        self.carry_out()
        self._events.write("started")

    def due(self) -> float | None:
        """When the core's timer is, in monotonic s; long ago, if there is something to do now."""
        return 0.0 if self._waiting else self._core.timer()

    def is_due(self) -> bool:
        due = self._core.timer()
        return due is not None and due <= time.monotonic()

    def go_on(self) -> None:
        """What is due by now, and what follows from that or from what came."""
        if self._waiting is not None:
            self._process_waiting(self._waiting)
        if self.is_due():
            self._core.handle_timer(now())
        self.carry_out()

    def _process_waiting(self, waiting: WaitingMessages[Callable[[], None]]) -> None:
        for _ in range(AT_ONCE):
            process = waiting.take()
            if process is None:
                break
            process()
        report = waiting.report(time.monotonic()) if waiting.dropping else None
        if report is not None:
            self._events.write("overload", report)

    def end(self) -> None:
        self._events.write("stopped")
        for problems in self._problems.values():
            problems.close()

    def carry_out(self) -> None:
        """Do what the core asked for since the last time."""
        # Carrying out an action can be an input that asks for more.
        while actions := self._core.take_actions():
            for action in actions:
                self._carry_out(action)

    def _carry_out(self, action: Action) -> None:
        match action:
            case Log(event, details):
                self._events.write(event, details)
            case Send(message, source, destination):
                self._send(self._mobility[source], message, destination)
            case Reply(token):
                if token != NOBODY and self._reply is not None:
                    self._reply(action)
            case _:
                self._perform(action)

    def _send(self, mobility: MobilitySocket, message: Message, destination: IPv6Address) -> None:
        """What can't be sent is to the protocol what was lost: nobody has to be reachable, nor may
        be, from whose address something came, a peer's routes and associations come and go, and an
        order may be for more flows than a message has room for."""
        try:
            mobility.send(encode(message, mobility.address, destination), destination)
        except (OSError, ValueError) as error:
            self._events.write("not-sent", {"to": destination, "why": str(error)})

    def _decode(self, mobility: MobilitySocket, received: Received) -> Message | None:
        """RFC 6275 section 9.2: an unknown type is answered with a Binding Error, a wrong payload
        protocol or header length with a Parameter Problem; what else is malformed is dropped."""
        try:
            return decode(received.data, received.source, received.destination)
        except UnknownType as error:
            self._events.write("unknown-type", {"source": received.source, "why": str(error)})
            answer = BindingError(BindingErrorStatus.UNRECOGNIZED_MH_TYPE)
            self._send(mobility, answer, received.source)
        except MalformedMessage as error:
            self._events.write("malformed", {"source": received.source, "why": str(error)})
            if isinstance(error, (BadPayloadProto, HeaderTooShort)):
                self._problems[mobility.address].send(received, error.offset)
        return None


class _Watched(NamedTuple):
    """What to do for `daemon` when a descriptor is ready."""

    daemon: Daemon
    readable: Callable[[], None]
    writable: Callable[[], None] | None


def run_together(daemons: Sequence[Daemon], ready: Callable[[], None] | None = None) -> None:
    """Until SIGTERM or SIGINT. All have the same selector, which is closed at the end; with several
    each is entered before something is done for it. `ready` is called once all are listening."""
    selector = daemons[0].selector
    wake_up, wake_up_writer = os.pipe()
    os.set_blocking(wake_up_writer, False)
    previous = signal.set_wakeup_fd(wake_up_writer)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    selector.register(wake_up, selectors.EVENT_READ, None)
    try:
        for daemon in daemons:
            daemon.enter()
            daemon.begin()
        if ready is not None:
            ready()
        while _turn(selector, daemons):
            pass
    finally:
        for daemon in daemons:
            daemon.end()
        signal.set_wakeup_fd(previous)
        selector.close()
        os.close(wake_up)
        os.close(wake_up_writer)


def _turn(selector: selectors.BaseSelector, daemons: Sequence[Daemon]) -> bool:
    """Wait for something to do and do it; False if the process was asked to end."""
    going_on = True
    timers = [due for daemon in daemons if (due := daemon.due()) is not None]
    wait = max(0.0, min(timers) - time.monotonic()) if timers else None
    concerned: dict[Daemon, None] = {}
    for key, events in selector.select(wait):
        if key.data is None:
            going_on = False
            continue
        watched: _Watched = key.data
        watched.daemon.enter()
        if events & selectors.EVENT_READ:
            watched.readable()
        if events & selectors.EVENT_WRITE and watched.writable is not None:
            watched.writable()
        concerned[watched.daemon] = None
    for daemon in daemons:
        # One alone goes on anyway: each look at the clock takes time where time is virtual.
        if len(daemons) == 1 or daemon in concerned or daemon.is_due():
            daemon.enter()
            daemon.go_on()
    return going_on


def _stay() -> None:
    """A node alone in its process is where the process is."""
