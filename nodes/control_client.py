"""A client of the LMA's control socket (see `control`): a JSON object a line, both ways."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

TIMEOUT_S = 60.0
REPLY_LIMIT_BYTES = 1 << 20


class ControlError(RuntimeError):
    """The LMA refused a request or can't be reached; the message is meant to be printed."""


class Session:
    """One connection. Requests may be sent without waiting; replies name the request's `id`."""

    def __init__(self, path: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise ControlError(f"{path}: {error.strerror or error}") from None
        self._buffer = b""
        self._next_id = 1
        self._early: list[dict[str, Any]] = []

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def send(self, message: dict[str, Any]) -> int:
        """Send a request and return its id, without waiting for the reply."""
        identity = self._next_id
        self._next_id += 1
        try:
            self._socket.sendall(json.dumps({**message, "id": identity}).encode() + b"\n")
        except OSError as error:
            raise ControlError(f"{self._path}: {error.strerror or error}") from None
        return identity

    def replies(self, count: int) -> Iterator[dict[str, Any]]:
        """The next `count` replies, in the order in which requests were completed."""
        for _ in range(count):
            yield self._early.pop(0) if self._early else self._read()

    def request(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return its reply, whose "ok" is true. Raises ControlError."""
        identity = self.send(message)
        while True:
            reply = self._read()
            if reply.get("id", identity) != identity:
                self._early.append(reply)
            elif reply.get("ok") is True:
                return reply
            else:
                raise ControlError(str(reply.get("error", f"unexpected reply {reply}")))

    def _read(self) -> dict[str, Any]:
        line = self._read_line()
        try:
            reply = json.loads(line)
        except ValueError:
            reply = None
        if not isinstance(reply, dict):
            raise ControlError(f"{self._path}: the reply is not a JSON object: {line[:80]!r}")
        return reply

    def _read_line(self) -> bytes:
        while b"\n" not in self._buffer:
            try:
                data = self._socket.recv(65_536)
            except TimeoutError:
                raise ControlError(f"{self._path}: no reply within {self._timeout_s} s") from None
            except OSError as error:
                raise ControlError(f"{self._path}: {error.strerror or error}") from None
            if not data:
                raise ControlError(f"{self._path}: the LMA closed the connection without a reply")
            self._buffer += data
            if len(self._buffer) > REPLY_LIMIT_BYTES:
                raise ControlError(f"{self._path}: reply longer than {REPLY_LIMIT_BYTES} bytes")
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line


def request(path: Path, message: dict[str, Any], timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """Send one request (its key "op" names the operation) and return the reply, whose "ok" is true.

    Raises ControlError.
    """
    with Session(path, timeout_s) as session:
        return session.request(message)
