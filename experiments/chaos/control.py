"""Control sockets of nodes that may be killed at any time."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

JSON = dict[str, Any]
# Who is asked what it has answers at once; in virtual time it has all the time it needs.
ANSWER_LIMIT_S = 5.0


class ControlLost(Exception):
    """Nobody is there, or nobody any more."""


class NoAnswer(Exception):
    """A node that runs doesn't answer."""


class Client:
    """One connection. Orders don't wait for replies: `receive` hands them out as they come."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._buffer = b""
        self._next = 0
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise ControlLost(f"{path.name}: {error.strerror}") from None

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def send(self, request: JSON) -> int:
        """Returns the request's id."""
        self._next += 1
        self.send_line(json.dumps({**request, "id": self._next}))
        return self._next

    def send_line(self, text: str) -> None:
        try:
            self._socket.sendall(text.encode() + b"\n")
        except OSError as error:
            raise ControlLost(str(error.strerror)) from None

    def ask(self, request: JSON) -> Any:
        """The result of a request that is answered at once."""
        wanted = self.send(request)
        self._socket.settimeout(ANSWER_LIMIT_S)
        for reply in iter(self._line, None):
            if reply.get("id") == wanted:
                return reply.get("result")
        raise ControlLost("closed")

    def receive(self, each: Callable[[JSON], None]) -> None:
        """What has come by now. Raises ControlLost when the other end is gone."""
        self._socket.setblocking(False)
        with suppress(BlockingIOError):
            while (reply := self._line()) is not None:
                each(reply)
            raise ControlLost("closed")

    def _line(self) -> JSON | None:
        """None: closed by the other side."""
        while b"\n" not in self._buffer:
            try:
                data = self._socket.recv(1 << 16)
            except TimeoutError:
                raise NoAnswer(f"no answer within {ANSWER_LIMIT_S:g} s") from None
            except BlockingIOError:
                raise
            except OSError:
                return None
            if not data:
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        reply: JSON = json.loads(line)
        return reply
