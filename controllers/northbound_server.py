"""The controller's end of the northbound interface: one JSON object a line, over TCP."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
from collections.abc import Callable, Collection
from ipaddress import IPv6Address
from typing import Any

import msgspec

from controllers.framework import hub
from nodes.keepalive import keep_alive
from nodes.northbound import Event, Reply, Request
from nodes.strict import InputError, from_json, to_json

MAX_LINE = 1 << 24  # a Sync of some 50,000 flows
RECEIVED_AT_ONCE = 65_536
SEND_LIMIT_S = 5  # a client that doesn't read must not stop the controller


class NorthboundServer:
    """Hears `clients` and nobody else. Calls `up(connection)`, `receive(connection, request)` and
    `down(connection)` from threads of its own, and `refuse(connection, why)` for who isn't one of
    them and what is no request."""

    def __init__(
        self,
        address: tuple[str, int],
        clients: Collection[IPv6Address],
        up: Callable[[int], object],
        receive: Callable[[int, Request], object],
        down: Callable[[int], object],
        refuse: Callable[[int, str], object],
    ) -> None:
        self._up, self._receive, self._down, self._refuse = up, receive, down, refuse
        self._clients = clients
        self._numbers = itertools.count(1)
        self._channels: dict[int, Any] = {}
        self._server = hub.StreamServer(address, self._serve)

    def start(self) -> None:
        """Clients can connect before, and are heard from now on."""
        hub.spawn(self._server.serve_forever)

    def send(self, connection: int, message: Reply | Event) -> None:
        """Nothing, if the connection has ended."""
        self._send(connection, to_json(message) + b"\n")

    def _send(self, connection: int, line: bytes) -> None:
        channel = self._channels.get(connection)
        if channel is None:
            return
        try:
            channel.sendall(line)
        except OSError:
            self.close(connection)

    def _serve(self, channel: Any, peer: Any) -> None:
        connection = next(self._numbers)
        source = IPv6Address(peer[0].partition("%")[0])
        if source not in self._clients:
            self._refuse(connection, f"{source} is not one of lma_addresses")
            channel.close()
            return
        keep_alive(channel, SEND_LIMIT_S)
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        limit = struct.pack("ll", SEND_LIMIT_S, 0)
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self._channels[connection] = channel
        self._up(connection)
        try:
            self._read(connection, channel)
        finally:
            self.close(connection)
            channel.close()
            self._down(connection)

    def _read(self, connection: int, channel: Any) -> None:
        pieces: list[bytes] = []
        octets = 0
        while True:
            try:
                data = channel.recv(RECEIVED_AT_ONCE)
            except OSError:
                data = b""
            if not data:
                return None
            *lines, rest = data.split(b"\n")
            for line in lines:
                self._take(connection, b"".join((*pieces, line)))
                pieces, octets = [], 0
            pieces.append(rest)
            octets += len(rest)
            if octets > MAX_LINE:
                return self._refuse_line(connection, f"a line of more than {MAX_LINE} octets")

    def _take(self, connection: int, line: bytes) -> None:
        wanted: Any = Request
        try:
            request: Request = from_json(line, wanted, "request")
        except InputError as error:
            return self._refuse_line(connection, str(error), identity_of(line))
        self._receive(connection, request)
        return None

    def _refuse_line(self, connection: int, why: str, identity: int | None = None) -> None:
        """What has no number to be answered with ends the connection."""
        self._refuse(connection, why)
        if identity is not None:
            self.send(connection, Reply(id=identity, ok=False, error=why))
        else:
            self.close(connection)

    def close(self, connection: int) -> None:
        """End a connection, if it is there."""
        channel = self._channels.pop(connection, None)
        if channel is not None:
            with contextlib.suppress(OSError):
                channel.shutdown(socket.SHUT_RDWR)


def identity_of(line: bytes) -> int | None:
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        data = msgspec.json.decode(line)
        identity = data.get("id") if isinstance(data, dict) else None
        if isinstance(identity, int) and identity >= 1:
            return identity
    return None
