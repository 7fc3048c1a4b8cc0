"""The LMA's end of the connection to the controller: one JSON object a line, over TCP."""

from __future__ import annotations

import json
import math
import socket
from typing import Any

from nodes import northbound
from nodes.actions import Action, CloseNorthbound, ConnectNorthbound, SendNorthbound
from nodes.controller_config import ControllerConfig
from nodes.daemon import Daemon, now
from nodes.event_log import EventWriter
from nodes.keepalive import keep_alive
from nodes.lma.local_mobility_anchor import LocalMobilityAnchor
from nodes.strict import InputError, convert, to_json

MAX_LINE = 1 << 20
RECEIVED_AT_ONCE = 65_536


def decode_message(line: bytes) -> northbound.Reply | northbound.Event:
    """Raises InputError."""
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError("controller", "(message)", line[:80], f"is not JSON: {error}") from None
    wanted: Any = northbound.Reply
    if isinstance(data, dict) and "event" in data:
        wanted = northbound.Event
    message: northbound.Reply | northbound.Event = convert(data, wanted, "controller")
    return message


class NorthboundClient:
    """Does what the core asks for, and tells it what becomes of the connection."""

    def __init__(
        self,
        config: ControllerConfig,
        core: LocalMobilityAnchor,
        daemon: Daemon,
        events: EventWriter,
    ) -> None:
        self._config = config
        self._core = core
        self._daemon = daemon
        self._events = events
        self._socket: socket.socket | None = None
        self._connected = False
        self._received = b""
        self._unsent = b""

    def perform(self, action: Action) -> None:
        """Carry out an action for the controller; others are not for this class."""
        match action:
            case ConnectNorthbound():
                self._connect()
            case CloseNorthbound():
                self._disconnect()
            case SendNorthbound(request):
                self._unsent += to_json(request) + b"\n"
                self._flush()

    def close(self) -> None:
        """After the daemon's loop has ended."""
        if self._socket is not None:
            self._socket.close()

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._daemon.forget(self._socket)
            self._socket.close()
        self._socket, self._connected = None, False
        self._received = self._unsent = b""

    def _connect(self) -> None:
        self._socket = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        # Requests are short, and somebody waits for each.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        keep_alive(self._socket, math.ceil(self._config.request_timeout_ms / 1000))
        self._daemon.watch(self._socket, self._readable, self._writable)
        try:
            self._socket.connect((str(self._config.address), self._config.port))
        except BlockingIOError:
            pass
        except OSError:
            self._lost()

    def _writable(self) -> None:
        if self._socket is None:
            return
        if not self._connected:
            if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._lost()
                return
            self._connected = True
            self._core.controller_connected(now())
            self._daemon.carry_out()
        self._flush()

    def _flush(self) -> None:
        """Send what the socket takes now, and the rest when it takes more. That the connection is
        gone is noticed in reading."""
        if self._socket is None or not self._connected:
            return
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self._unsent = b""
        self._daemon.watch(self._socket, self._readable, self._writable if self._unsent else None)

    def _readable(self) -> None:
        if self._socket is None:
            return
        try:
            data = self._socket.recv(RECEIVED_AT_ONCE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data or len(self._received) + len(data) > MAX_LINE:
            self._lost()
            return
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            try:
                message = decode_message(line)
            except InputError as error:
                self._events.write("malformed", {"source": "controller", "why": str(error)})
                self._lost()
                return
            self._core.northbound_received(message, now())
            self._daemon.carry_out()
            if self._socket is None:
                return

    def _lost(self) -> None:
        self._disconnect()
        self._core.controller_lost(now())
