"""The LMA's connection to the controller, over a real socket and the daemon's loop."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nodes import northbound
from nodes.controller_config import ControllerConfig
from nodes.daemon import Daemon
from nodes.event_log import EventWriter
from nodes.northbound_client import (
    MAX_LINE,
    RECEIVED_AT_ONCE,
    NorthboundClient,
    decode_message,
)
from nodes.strict import InputError

if TYPE_CHECKING:
    from tests.domain import Domain

LIMIT_S = 5.0
Talk = Callable[["Peer"], None]


class Peer:
    """The controller's end."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener

    def accept(self) -> None:
        self._socket, _ = self._listener.accept()
        self._socket.settimeout(LIMIT_S)
        self._lines = self._socket.makefile("rb")

    def request(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._lines.readline())
        return found

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def reply(self, number: int) -> None:
        self.send(json.dumps({"id": number, "ok": True}).encode() + b"\n")

    def at_end(self) -> bool:
        try:
            return not self._lines.readline()
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


@pytest.fixture
def serve(tmp_path: Path, domain: type[Domain]) -> Iterator[Callable[[Talk], list[dict[str, Any]]]]:
    """Runs an LMA while a function is its controller; returns the LMA's events."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def run(talk: Talk) -> list[dict[str, Any]]:
        failures: list[BaseException] = []
        with (
            socket.create_server(("::1", 0), family=socket.AF_INET6) as listener,
            EventWriter(tmp_path / "lma.jsonl", "lma") as events,
        ):
            listener.settimeout(LIMIT_S)
            config = ControllerConfig(
                address=IPv6Address("::1"),
                port=listener.getsockname()[1],
                reconnect_delay_ms=50,
                request_timeout_ms=60_000,
            )
            core = domain.lma(data_plane="sdn-assisted", controller=config).core
            daemon = Daemon(core, events, lambda action: client.perform(action))  # noqa: PLW0108
            client = NorthboundClient(config, core, daemon, events)

            def controller() -> None:
                try:
                    talk(Peer(listener))
                except BaseException as error:
                    failures.append(error)
                finally:
                    os.kill(os.getpid(), signal.SIGTERM)

            thread = threading.Thread(target=controller)
            try:
                daemon.run(thread.start)
            finally:
                client.close()
                thread.join()
        if failures:
            raise failures[0]
        lines = (tmp_path / "lma.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


def names(events: list[dict[str, Any]]) -> list[str]:
    return [event["event"] for event in events]


def test_it_connects_and_synchronizes_and_does_so_again(
    serve: Callable[[Talk], list[dict[str, Any]]],
) -> None:
    def talk(peer: Peer) -> None:
        epochs = []
        for _ in range(2):
            peer.accept()
            request = peer.request()
            assert (request["op"], request["mode"]) == ("sync", "sdn-assisted")
            epochs.append(request["epoch"])
            peer.reply(request["id"])
            peer.send(b'{"event": "switches", "ready": ["s1"], "lost": []}\n')
            peer.close()
        assert epochs[0] == epochs[1]
        peer.accept()  # so that the second loss has been noticed
        peer.close()

    events = names(serve(talk))
    assert events.count("controller-synchronized") == 2
    assert events.count("switches") == 1  # the same ones again are no event


def test_a_message_may_come_in_pieces(serve: Callable[[Talk], list[dict[str, Any]]]) -> None:
    def talk(peer: Peer) -> None:
        peer.accept()
        number = peer.request()["id"]
        # More than the LMA reads at once.
        peer.send(b'{"id": %d, %s "ok": true}\n{' % (number, b" " * 3 * RECEIVED_AT_ONCE))
        peer.close()
        peer.accept()
        peer.close()

    assert "controller-synchronized" in names(serve(talk))


@pytest.mark.parametrize(
    "data", [b"hello\n", b'{"id": 0, "ok": true}\n', b'{"event": "rain"}\n', bytes(MAX_LINE + 1)]
)
def test_one_that_talks_nonsense_is_left(
    serve: Callable[[Talk], list[dict[str, Any]]], data: bytes
) -> None:
    def talk(peer: Peer) -> None:
        peer.accept()
        peer.request()
        with contextlib.suppress(ConnectionError):
            peer.send(data)
        assert peer.at_end()
        peer.accept()
        peer.close()

    assert "controller-lost" in names(serve(talk))


def test_nobody_listens(tmp_path: Path, domain: type[Domain]) -> None:
    """The core is told, and tries again."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        port = listener.getsockname()[1]
    config = ControllerConfig(address=IPv6Address("::1"), port=port, reconnect_delay_ms=20)
    core = domain.lma(data_plane="sdn-assisted", controller=config).core
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    attempts: list[object] = []
    with EventWriter(tmp_path / "lma.jsonl", "lma") as events:

        def perform(action: object) -> None:
            attempts.append(action)
            if len(attempts) == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            client.perform(action)  # type: ignore[arg-type]

        daemon = Daemon(core, events, perform)
        client = NorthboundClient(config, core, daemon, events)
        daemon.run()
        client.close()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    text = (tmp_path / "lma.jsonl").read_text()
    assert text.count('"controller-lost"') == 1


def test_messages_are_checked() -> None:
    assert decode_message(b'{"id": 3, "ok": false, "error": "no"}') == northbound.Reply(
        id=3, ok=False, error="no"
    )
    event = decode_message(b'{"event": "statistics", "flows": []}')
    assert event == northbound.Statistics(flows=())
    with pytest.raises(InputError, match="controller"):
        decode_message(b'{"id": 3}')
