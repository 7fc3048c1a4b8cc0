"""The loop that connects a protocol core to sockets, the kernel and time.

One thread waits on file descriptors until one is readable or the core's timer is due, hands the
core what came, and carries out the actions that it returns, in order, each before the next.
"""

from __future__ import annotations

import os
import random
import selectors
import signal
import time
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Protocol

from nodes.actions import NOBODY, Action, Instant, Log, Reply, Send
from nodes.config import DaemonConfig
from nodes.event_log import EventWriter
from nodes.kernel.parameter_problem import ParameterProblems
from nodes.kernel.sockets import MobilitySocket, Received
from nodes.wire.codec import decode, encode
from nodes.wire.errors import BadPayloadProto, HeaderTooShort, MalformedMessage, UnknownType
from nodes.wire.messages import BindingError, BindingErrorStatus, Message


class Readable(Protocol):
    def fileno(self) -> int: ...


class Core(Protocol):
    def take_actions(self) -> list[Action]: ...

    def timer(self) -> float | None: ...

    def handle_timer(self, now: Instant) -> None: ...


def now() -> Instant:
    return Instant(time.monotonic(), time.time_ns())


def random_source(config: DaemonConfig, node: str) -> random.Random:
    """Unpredictable, unless the configuration asks for repeatable numbers."""
    if config.seed is None:
        return random.SystemRandom()
    return random.Random(f"{config.seed}/{node}")


class Daemon:
    """`perform` carries out the actions that this class doesn't know."""

    def __init__(self, core: Core, events: EventWriter, perform: Callable[[Action], None]) -> None:
        self._core = core
        self._events = events
        self._perform = perform
        self._mobility: dict[IPv6Address, MobilitySocket] = {}
        self._reply: Callable[[Reply], None] | None = None
        self._problems: dict[IPv6Address, ParameterProblems] = {}
        # SelectSelector waits with microsecond resolution; epoll rounds up to milliseconds.
        self._selector = selectors.SelectSelector()
        self._stopping = False

    def watch(
        self,
        readable: Readable,
        handler: Callable[[], None],
        writable: Callable[[], None] | None = None,
    ) -> None:
        """Call `handler` when there is something to read and, if given, `writable` when something
        can be written. A later call for the same object replaces an earlier one."""
        events = selectors.EVENT_READ | (0 if writable is None else selectors.EVENT_WRITE)
        if readable in self._selector.get_map():
            self._selector.modify(readable, events, (handler, writable))
        else:
            self._selector.register(readable, events, (handler, writable))

    def forget(self, readable: Readable) -> None:
        self._selector.unregister(readable)

    def reply_with(self, reply: Callable[[Reply], None]) -> None:
        """Hand replies to requests to `reply`."""
        self._reply = reply

    def serve_mobility(
        self, mobility: MobilitySocket, receive: Callable[[Message, Received, Instant], None]
    ) -> None:
        """Decode what arrives on `mobility` and hand it to `receive`. What is sent from its address
        is sent there."""
        self._mobility[mobility.address] = mobility
        self._problems[mobility.address] = ParameterProblems(mobility.address)

        def readable() -> None:
            while (received := mobility.receive()) is not None:
                message = self._decode(mobility, received)
                if message is not None:
                    receive(message, received, now())
                    self.carry_out()

        self.watch(mobility, readable)

    def run(self, ready: Callable[[], None] | None = None) -> None:
        """Until SIGTERM or SIGINT. `ready` is called once everything is listening."""
        wake_up, wake_up_writer = os.pipe()
        os.set_blocking(wake_up_writer, False)
        previous = signal.set_wakeup_fd(wake_up_writer)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        self._selector.register(wake_up, selectors.EVENT_READ, (self._stop, None))
        try:
            self.carry_out()
            self._events.write("started")
            if ready is not None:
                ready()
            while not self._stopping:
                for key, events in self._selector.select(self._until_timer()):
                    readable, writable = key.data
                    if events & selectors.EVENT_READ:
                        readable()
                    if events & selectors.EVENT_WRITE and writable is not None:
                        writable()
                due = self._core.timer()
                if due is not None and due <= time.monotonic():
                    self._core.handle_timer(now())
                self.carry_out()
        finally:
            self._events.write("stopped")
            signal.set_wakeup_fd(previous)
            self._selector.close()
            for problems in self._problems.values():
                problems.close()
            os.close(wake_up)
            os.close(wake_up_writer)

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
                data = encode(message, source, destination)
                self._mobility[source].send(data, destination)
            case Reply(token):
                if token != NOBODY and self._reply is not None:
                    self._reply(action)
            case _:
                self._perform(action)

    def _stop(self) -> None:
        self._stopping = True

    def _until_timer(self) -> float | None:
        due = self._core.timer()
        return None if due is None else max(0.0, due - time.monotonic())

    def _decode(self, mobility: MobilitySocket, received: Received) -> Message | None:
        """RFC 6275 section 9.2: an unknown type is answered with a Binding Error, a wrong payload
        protocol or header length with a Parameter Problem; what else is malformed is dropped."""
        try:
            return decode(received.data, received.source, received.destination)
        except UnknownType as error:
            self._events.write("unknown-type", {"source": received.source, "why": str(error)})
            answer = BindingError(BindingErrorStatus.UNRECOGNIZED_MH_TYPE)
            mobility.send(encode(answer, mobility.address, received.source), received.source)
        except MalformedMessage as error:
            self._events.write("malformed", {"source": received.source, "why": str(error)})
            if isinstance(error, (BadPayloadProto, HeaderTooShort)):
                self._problems[mobility.address].send(received, error.offset)
        return None
