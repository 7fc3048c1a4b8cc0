"""The daemon's loop: what the tests over real sockets can't tell from a later turn of it."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import threading
import time
from functools import partial
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest

from nodes.actions import Action, CloseNorthbound, Instant, Log, Send
from nodes.daemon import Daemon, Place, run_together
from nodes.event_log import EventWriter
from nodes.wire.messages import Heartbeat
from nodes.wire.tlv import UnknownOption


class Asking:
    """A core that wants something more once `asked`."""

    def __init__(self) -> None:
        self.actions: list[Action] = [Log("first"), CloseNorthbound()]

    def take_actions(self) -> list[Action]:
        actions, self.actions = self.actions, []
        return actions

    def timer(self) -> float | None:
        return None

    def handle_timer(self, now: Instant) -> None:
        pass


def test_what_carrying_out_an_action_asks_for_is_done_as_well(tmp_path: Path) -> None:
    """An order whose request can't be sent would else wait for the next input."""
    core = Asking()
    with EventWriter(tmp_path / "events.jsonl", "node") as events:
        Daemon(core, events, lambda _: core.actions.append(Log("second"))).carry_out()
    text = (tmp_path / "events.jsonl").read_text()
    assert text.index("first") < text.index("second")
    assert core.take_actions() == []


class Unreachable:
    """A socket whose kernel has no way to anybody."""

    address = IPv6Address("2001:db8::1")

    def send(self, data: bytes, destination: IPv6Address) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()

    def fileno(self) -> int:
        return self.reader


def test_a_message_that_can_not_be_sent_is_lost_and_the_rest_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who forges the source of a message may say an address that there is no route to, or that no
    security association is for (RFC 5213 section 4): the daemon serves others."""
    monkeypatch.setattr("nodes.daemon.ParameterProblems", lambda _: contextlib.nullcontext())
    core, peer = Asking(), IPv6Address("2001:db8::2")
    mobility: Any = Unreachable()
    too_long = tuple(UnknownOption(200, bytes(250)) for _ in range(9))  # RFC 6275 section 6.1.1
    for options in ((), too_long):
        core.actions.insert(0, Send(Heartbeat(1, options=options), mobility.address, peer))
    done: list[Action] = []
    with EventWriter(tmp_path / "events.jsonl", "node") as events:
        daemon = Daemon(core, events, done.append)
        daemon.serve_mobility(mobility, lambda *_: None)
        daemon.carry_out()
    daemon.selector.close()
    for descriptor in (mobility.reader, mobility.writer):
        os.close(descriptor)
    assert done == [CloseNorthbound()]
    text = (tmp_path / "events.jsonl").read_text()
    assert text.rindex("not-sent") < text.index("first")
    assert "expected at most 2048" in text
    assert str(peer) in text
    assert "unreachable" in text


class Timed:
    """A core with one timer, that ends the process when it is due."""

    def __init__(self, due: float, log: list[str], name: str) -> None:
        self.due: float | None = due
        self.log, self.name = log, name

    def take_actions(self) -> list[Action]:
        return []

    def timer(self) -> float | None:
        return self.due

    def handle_timer(self, now: Instant) -> None:
        assert self.due is not None
        assert now.monotonic >= self.due
        self.due = None
        self.log.append(f"{self.name} timer")


def test_nodes_of_one_process_do_everything_in_their_own_namespace(tmp_path: Path) -> None:
    """Each is entered before its start, its timer, and what it does with what came."""
    timers_done = threading.Event()

    class Course(list[str]):
        def append(self, entry: str) -> None:
            super().append(entry)
            if sum("timer" in known for known in self) == 3:
                timers_done.set()

    log = Course()
    selector = selectors.SelectSelector()
    start = time.monotonic()
    with contextlib.ExitStack() as stack:
        daemons = []
        for number, name in enumerate(("a", "b", "c")):
            events = stack.enter_context(EventWriter(tmp_path / f"{name}.jsonl", name))
            place = Place(selector, partial(log.append, f"enter {name}"))
            core = Timed(start + 0.05 * (2 - number), log, name)
            daemons.append(Daemon(core, events, lambda _: None, place))
        reader, writer = os.pipe()
        stack.callback(os.close, writer)
        stack.callback(os.close, reader)

        def came() -> None:
            os.read(reader, 1)
            log.append("b came")
            os.kill(os.getpid(), signal.SIGTERM)

        with os.fdopen(os.dup(reader)) as readable:
            daemons[1].watch(readable, came)
            terminate = signal.getsignal(signal.SIGTERM)
            interrupt = signal.getsignal(signal.SIGINT)
            stack.callback(signal.signal, signal.SIGTERM, terminate)
            stack.callback(signal.signal, signal.SIGINT, interrupt)

            def send() -> None:
                timers_done.wait()
                os.write(writer, b"x")

            sender = threading.Thread(target=send)
            sender.start()
            run_together(daemons, lambda: log.append("ready"))
            sender.join()
    assert log[:4] == ["enter a", "enter b", "enter c", "ready"]
    done = [entry for entry in log[4:] if not entry.startswith("enter")]
    assert sorted(done[:3]) == ["a timer", "b timer", "c timer"]
    assert done[3:] == ["b came"]
    for entry in done:
        entered = [known for known in log[: log.index(entry)] if known.startswith("enter")]
        assert entered[-1] == f"enter {entry[0]}"
    assert '"stopped"' in (tmp_path / "c.jsonl").read_text()
