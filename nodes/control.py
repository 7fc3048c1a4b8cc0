"""A node's control socket: one JSON object a line, in and out, on a local stream socket.

Requests have `op` and its arguments, replies have `ok` and `result` or `error`; a reply comes when
the request is done, and replies on one connection come in the order of completion with the `id`
that the request gave, if any. `docs/control-socket.md` lists the operations, `control_requests` has
them as types.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from nodes.actions import Reply
from nodes.daemon import Daemon
from nodes.strict import InputError, from_json

MAX_REQUEST = 65_536
MAX_WAITING = 1 << 22  # octets of replies that a client may leave unread
# The daemon waits with select(), which knows descriptors below 1024 only, and may be 20 nodes.
MAX_CONNECTIONS = 32
MAX_UNANSWERED = 65_536
WRITABLE_BY_OTHERS = 0o022

R = TypeVar("R")


class ControlServer(Generic[R]):
    """Hands requests, which are checked against `requests` (a union of msgspec structures with
    `op` as tag), to `handle(request, token)`, and sends the replies that come for a token."""

    def __init__(
        self, path: Path, requests: Any, daemon: Daemon, handle: Callable[[R, int], None]
    ) -> None:
        _require_private(path.parent)
        self._path = path
        self._requests = requests
        self._daemon = daemon
        self._handle = handle
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        previous = os.umask(0o177)
        if _left_over(path):
            path.unlink()
        try:
            self._socket.bind(str(path))
        finally:
            os.umask(previous)
        self._socket.listen()
        self._socket.setblocking(False)
        self._waiting: dict[int, tuple[Connection, Any]] = {}
        self._next_token = 1
        self._connections: set[Connection] = set()
        daemon.watch(self._socket, self._accept)
        daemon.reply_with(self.reply)

    def close(self) -> None:
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def reply(self, reply: Reply) -> None:
        connection, identity = self._waiting.pop(reply.token)
        answer: dict[str, Any] = (
            {"ok": True, "result": reply.result}
            if reply.error is None
            else {"ok": False, "error": reply.error}
        )
        if identity is not None:
            answer["id"] = identity
        connection.send(answer)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            accepted, _ = self._socket.accept()
            if len(self._connections) >= MAX_CONNECTIONS:
                accepted.close()
                return
            connection = Connection(
                accepted, self._daemon, self._request, self._connections.discard
            )
            self._connections.add(connection)

    def _request(self, connection: Connection, line: bytes) -> None:
        try:
            request = from_json(line, self._requests, "request")
        except InputError as error:
            connection.send({"ok": False, "error": str(error)})
            return
        if len(self._waiting) >= MAX_UNANSWERED:
            full = f"request: {MAX_UNANSWERED} others aren't answered yet"
            connection.send({"ok": False, "error": full})
            return
        token = self._next_token
        self._next_token += 1
        self._waiting[token] = (connection, request.id)
        self._handle(request, token)
        self._daemon.carry_out()


def _require_private(folder: Path) -> None:
    """Who may write to the folder could put a socket of his own in place of this one. Raises
    PermissionError."""
    found = folder.stat()
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & WRITABLE_BY_OTHERS:
        raise PermissionError(
            f"control_socket is in {folder}, which others may write to; "
            "expected a folder of this user's own, with mode 0700"
        )


def _left_over(path: Path) -> bool:
    """Whether `path` is the socket of a process that was killed: nobody listens."""
    if not path.is_socket():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
    return False


class Connection:
    def __init__(
        self,
        accepted: socket.socket,
        daemon: Daemon,
        request: Callable[[Connection, bytes], None],
        closed: Callable[[Connection], None],
    ) -> None:
        self._socket = accepted
        self._daemon = daemon
        self._request = request
        self._closed = closed
        self._buffer = b""
        self._unsent = b""
        self._open = True
        accepted.setblocking(False)
        daemon.watch(accepted, self._readable)

    def send(self, answer: dict[str, Any]) -> None:
        """Drops the answer if the other side is gone; gives up on one that doesn't read."""
        if not self._open:
            return
        self._unsent += json.dumps(answer, default=str).encode() + b"\n"
        self._flush()
        if len(self._unsent) > MAX_WAITING:
            self._close()

    def _flush(self) -> None:
        """Send what the socket takes now, and the rest when it takes more."""
        if not self._open:
            return
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self._close()
            return
        self._daemon.watch(self._socket, self._readable, self._flush if self._unsent else None)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(MAX_REQUEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close()
            return
        self._buffer += data
        while self._open and b"\n" in self._buffer:
            line, _, self._buffer = self._buffer.partition(b"\n")
            if len(line) > MAX_REQUEST:
                self._buffer = line
                break
            self._request(self, line)
        if len(self._buffer) > MAX_REQUEST:
            self.send({"ok": False, "error": f"request: longer than {MAX_REQUEST} octets"})
            self._close()

    def _close(self) -> None:
        if self._open:
            self._open = False
            self._closed(self)
            self._daemon.forget(self._socket)
            self._socket.close()
