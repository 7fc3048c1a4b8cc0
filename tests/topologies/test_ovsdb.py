"""Against a server that the test plays, whose answers wait in the socket before the question is
asked; the real one is in tests/system/test_switches.py."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from topologies.ovsdb import OvsdbError, Session, insert, mutate, ovsdb_map, select_rows


@pytest.fixture
def ends() -> Iterator[tuple[Session, socket.socket]]:
    ours, its = socket.socketpair()
    session = Session(ours)
    yield session, its
    session.close()
    its.close()


def asked(its: socket.socket) -> dict[str, Any]:
    request: dict[str, Any] = json.loads(its.recv(65_536))
    return request


def test_a_transaction_returns_its_results(ends: tuple[Session, socket.socket]) -> None:
    session, its = ends
    its.sendall(b'{"id":1,"result":[{"uuid":["uuid","x"]}],"error":null}')
    row = insert("Bridge", {"name": "s1", "other_config": ovsdb_map({"a": "b"})}, "row0")
    assert session.transact(row) == [{"uuid": ["uuid", "x"]}]
    assert asked(its) == {"id": 1, "method": "transact", "params": ["Open_vSwitch", row]}
    assert row["row"]["other_config"] == ["map", [["a", "b"]]]


def test_a_refused_operation_is_named(ends: tuple[Session, socket.socket]) -> None:
    session, its = ends
    error = {"error": "constraint violation", "details": "no such port"}
    its.sendall(json.dumps({"id": 1, "result": [{}, error, None], "error": None}).encode())
    with pytest.raises(OvsdbError, match=r"constraint violation: no such port: .*next_cfg"):
        session.transact(
            select_rows("Bridge", ["_uuid"], name="s1"),
            mutate("Open_vSwitch", "next_cfg", "+=", 1),
            mutate("Open_vSwitch", "next_cfg", "+=", 1),
        )


def test_a_failure_at_commit_comes_after_the_operations(
    ends: tuple[Session, socket.socket],
) -> None:
    session, its = ends
    reply = {"id": 1, "result": [{}, {"error": "referential integrity violation"}], "error": None}
    its.sendall(json.dumps(reply).encode())
    with pytest.raises(OvsdbError, match="referential integrity violation"):
        session.transact(select_rows("Bridge", ["_uuid"]))


def test_echo_requests_are_answered_in_between(ends: tuple[Session, socket.socket]) -> None:
    session, its = ends
    its.sendall(b'{"id":"echo","method":"echo","params":[7]}{"id":1,"result":[],"error":null}')
    assert session.transact() == []
    text = its.recv(65_536).decode()
    _, end = json.JSONDecoder().raw_decode(text)
    assert json.loads(text[end:]) == {"id": "echo", "result": [7], "error": None}


def test_a_message_may_come_in_pieces(
    ends: tuple[Session, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    session, its = ends
    monkeypatch.setattr("topologies.ovsdb.RECEIVE_BYTES", 1)
    its.sendall('{"id":1,"result":[{"rows":[{"name":"é"}]}],"error":null}'.encode())
    assert session.transact() == [{"rows": [{"name": "é"}]}]


def test_a_wait_is_over_when_the_number_is_reached(ends: tuple[Session, socket.socket]) -> None:
    session, its = ends
    key = "Open_vSwitch.cur_cfg"

    def update(number: int) -> dict[str, Any]:
        return {"Open_vSwitch": {"row": {"new": {"cur_cfg": number}}}}

    for message in (
        {"id": 1, "result": update(3), "error": None},
        {"id": None, "method": "update", "params": [key, update(4)]},
        {"id": None, "method": "update", "params": [key, update(5)]},
        {"id": 2, "result": {}, "error": None},
    ):
        its.sendall(json.dumps(message).encode())
    session.await_value("Open_vSwitch", "cur_cfg", 5)
    its.setblocking(False)
    text = its.recv(65_536).decode()
    assert '"monitor"' in text
    assert text.index('"monitor"') < text.index('"monitor_cancel"')


def test_a_closed_connection_is_an_error(ends: tuple[Session, socket.socket]) -> None:
    session, its = ends
    its.close()
    with pytest.raises((OvsdbError, BrokenPipeError)):
        session.transact()
