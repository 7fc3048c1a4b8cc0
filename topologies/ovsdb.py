"""A client of an OVSDB server (RFC 7047), with the few requests that setting up switches needs.

One connection that stays open, instead of one `ovs-vsctl` process per change: in the guest, each
costs some 30 ms of real time.
"""

from __future__ import annotations

import codecs
import itertools
import json
import socket
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

DATABASE = "Open_vSwitch"
LIMIT_S = 30.0
RECEIVE_BYTES = 65_536
MOST_CHARACTERS = 1 << 24  # of a message that isn't complete yet
Row = dict[str, Any]


class OvsdbError(RuntimeError):
    """The server refused a request, or ended; the text is its reason."""


def ovsdb_set(values: Iterable[Any]) -> list[Any]:
    """A `<set>` of RFC 7047 section 5.1."""
    return ["set", list(values)]


def ovsdb_map(values: Mapping[str, str]) -> list[Any]:
    """A `<map>` of RFC 7047 section 5.1."""
    return ["map", [list(pair) for pair in values.items()]]


def named(name: str) -> list[str]:
    """A `<named-uuid>`: the row that this transaction inserts under that name."""
    return ["named-uuid", name]


def insert(table: str, row: Row, name: str) -> Row:
    return {"op": "insert", "table": table, "row": row, "uuid-name": name}


def mutate(table: str, column: str, mutator: str, value: Any) -> Row:
    """Change a column of every row, as in `next_cfg += 1`."""
    return {"op": "mutate", "table": table, "where": [], "mutations": [[column, mutator, value]]}


def select_rows(table: str, columns: list[str], **equal_to: Any) -> Row:
    where = [[column, "==", value] for column, value in equal_to.items()]
    return {"op": "select", "table": table, "where": where, "columns": columns}


class Session:
    """A connection to a server; requests and replies in order. Not for use from several threads.

    Every method raises OvsdbError, and TimeoutError if the server is silent for `LIMIT_S`.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._connection.settimeout(LIMIT_S)
        self._text = ""
        self._octets = codecs.getincrementaldecoder("utf-8")()
        self._decoder = json.JSONDecoder()
        self._numbers = itertools.count(1)
        self._updates: list[dict[str, Any]] = []

    def close(self) -> None:
        self._connection.close()

    def transact(self, *operations: Row) -> list[Row]:
        """All operations or none (RFC 7047 section 4.1.3); returns what each one gave."""
        results = self._call("transact", [DATABASE, *operations])
        if not isinstance(results, list):
            raise OvsdbError(f"transact: the result is {results!r:.80}")
        for operation, result in itertools.zip_longest(operations, results):
            if isinstance(result, dict) and "error" in result:
                what = json.dumps(operation) if operation else "transaction"
                raise OvsdbError(f"{result['error']}: {result.get('details', '')}: {what}")
        return results

    def await_value(self, table: str, column: str, at_least: int) -> None:
        """Wait until the one row of `table` has a number in `column` that is large enough."""
        monitor = f"{table}.{column}"
        first = self._call("monitor", [DATABASE, monitor, {table: {"columns": [column]}}])
        self._updates = [{"params": [monitor, first]}]
        try:
            while True:
                while not self._updates:
                    self._take(self._receive())
                if any(value >= at_least for value in _new(self._updates.pop(0), table, column)):
                    return
        finally:
            self._call("monitor_cancel", [monitor])
            self._updates.clear()

    def _call(self, method: str, parameters: list[Any]) -> Any:
        number = next(self._numbers)
        self._send({"id": number, "method": method, "params": parameters})
        while True:
            message = self._receive()
            if message.get("id") == number and "method" not in message:
                if message.get("error") is not None:
                    raise OvsdbError(f"{method}: {message['error']}")
                if "result" not in message:
                    raise OvsdbError(f"{method}: a reply without a result")
                return message["result"]
            self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        if message.get("method") == "echo":  # RFC 7047 section 4.1.11
            parameters = message.get("params")
            self._send({"id": message.get("id"), "result": parameters, "error": None})
        elif message.get("method") == "update":
            self._updates.append(message)

    def _send(self, message: dict[str, Any]) -> None:
        self._connection.sendall(json.dumps(message).encode())

    def _receive(self) -> dict[str, Any]:
        """The next message: JSON texts follow each other with nothing in between."""
        while True:
            try:
                message, end = self._decoder.raw_decode(self._text)
            except json.JSONDecodeError:
                data = self._connection.recv(RECEIVE_BYTES)
                if len(self._text) > MOST_CHARACTERS:
                    raise OvsdbError("the server has sent what is no message") from None
                if not data:
                    raise OvsdbError("the server has closed the connection") from None
                try:
                    self._text += self._octets.decode(data)
                except UnicodeDecodeError as error:
                    raise OvsdbError(f"the server has sent what is no text: {error}") from None
            except RecursionError:
                raise OvsdbError("the server has sent a message that is nested too deep") from None
            else:
                self._text = self._text[end:]
                if not isinstance(message, dict):
                    raise OvsdbError(f"the server has sent {message!r:.80}; expected an object")
                return message


def _new(update: dict[str, Any], table: str, column: str) -> Iterator[int]:
    """The numbers that an update (RFC 7047 section 4.1.6) has for a column."""
    try:
        for row in update["params"][1].get(table, {}).values():
            value = row.get("new", {}).get(column)
            if isinstance(value, int):
                yield value
    except (AttributeError, LookupError, TypeError):
        raise OvsdbError(f"the server has sent the update {update!r:.80}") from None
