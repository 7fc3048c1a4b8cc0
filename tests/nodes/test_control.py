"""Not from an RFC: the LMA's control socket, over a real socket and the daemon's loop."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from ipaddress import IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nodes.control import MAX_CONNECTIONS, MAX_REQUEST, ControlServer
from nodes.control_client import ControlError, Session
from nodes.control_requests import LmaRequest
from nodes.daemon import Daemon, now
from nodes.event_log import EventWriter
from nodes.flow_mobility_cache import FlowMobilityCacheEntry
from nodes.lma.operations import operate
from nodes.wire.options import Timestamp
from nodes.wire.traffic_selector import IPv6TrafficSelector

if TYPE_CHECKING:
    from tests.domain import Domain

Talk = Callable[[Path], None]


@pytest.fixture
def serve(tmp_path: Path, domain: type[Domain]) -> Iterator[Callable[[Talk], None]]:
    """Serves an LMA with one binding and two flows while a function talks to it."""
    core = domain.lma(
        timestamp_validity_window_ms=10_000_000_000_000, min_delay_before_bce_delete_ms=0
    ).core
    path = tmp_path / "control"
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def run(talk: Talk) -> None:
        failures: list[BaseException] = []

        def client() -> None:
            try:
                talk(path)
            except BaseException as error:
                failures.append(error)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)

        with EventWriter(tmp_path / "lma.jsonl", "lma") as events:
            daemon = Daemon(core, events, lambda _: None)
            control = ControlServer(path, LmaRequest, daemon, partial(operate, core))
            attached = domain.pbu(lifetime=0xFFFF)
            stamp = Timestamp.of_unix_ns(now().unix_ns)
            options = tuple(stamp if isinstance(o, Timestamp) else o for o in attached.options)
            core.receive(type(attached)(7, 0xFFFF, options), domain.MAG1, now())
            core.take_actions()
            for fid in (1, 2):
                row = FlowMobilityCacheEntry(fid, fid, IPv6TrafficSelector(), (1,))
                core.flows.cache.add(domain.OTHER_MN, row)
            thread = threading.Thread(target=client)
            try:
                daemon.run(thread.start)
            finally:
                control.close()
                thread.join()
        if failures:
            raise failures[0]

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


def raw(path: Path, data: bytes) -> dict[str, Any]:
    with closing(socket.socket(socket.AF_UNIX)) as channel:
        channel.settimeout(5)
        channel.connect(str(path))
        channel.sendall(data)
        with channel.makefile("rb") as lines:
            answer: dict[str, Any] = json.loads(lines.readline())
    return answer


def refused(session: Session, **message: Any) -> str:
    with pytest.raises(ControlError) as caught:
        session.request(message)
    return str(caught.value)


def test_bindings_and_flows(serve: Callable[[Talk], None], domain: type[Domain]) -> None:
    def talk(path: Path) -> None:
        with Session(path, 5) as session:
            (binding,) = session.request({"op": "bindings"})["result"]
            assert binding == {
                "mn": domain.MN,
                "bid": 1,
                "priority": 10,
                "access": "wlan",
                "technology": domain.WLAN,
                "prefixes": [str(domain.P1)],
                "flow_mobility_prefixes": [],
                "proxy_coa": str(domain.MAG1),
                "state": "registered",
            }
            flow = {
                "op": "add-flow",
                "mn": domain.MN,
                "fid": 5,
                "priority": 3,
                "selector": {"start_next_header": 6, "start_source_address": "2001:db8::1"},
                "to": "wlan",
            }
            assert session.request(flow)["result"] == {"fid": 5}
            moved = session.request({"op": "move-flow", "mn": domain.MN, "fid": 5, "to": 1})
            assert moved["result"] == {"fid": 5, "move": 1}
            flows = session.request({"op": "flows"})["result"]
            (shown,) = [flow for flow in flows if flow["mn"] == domain.MN]
            assert shown == {
                "mn": domain.MN,
                "fid": 5,
                "priority": 3,
                "selector": {"start_next_header": 6, "start_source_address": "2001:db8::1"},
                "bids": [1],
                "access": ["wlan"],
                "action": "forward",
                "active": True,
            }
            session.request({"op": "remove-flow", "mn": domain.MN, "fid": 5})
            assert "no such flow" in refused(session, op="remove-flow", mn=domain.MN, fid=5)

    serve(talk)


def test_refusals_say_why(serve: Callable[[Talk], None], domain: type[Domain]) -> None:
    def talk(path: Path) -> None:
        add = {"op": "add-flow", "mn": domain.MN, "fid": 1, "priority": 1, "to": "wlan"}
        with Session(path, 5) as session:
            for selector, text in (
                ({"colour": 1}, "selector.colour: not a field"),
                ({"start_source_address": "x"}, "selector.start_source_address is 'x'"),
                ({"start_source_address": 1}, "selector.start_source_address is 1; expected an"),
                ({"start_source_address": "fe80::1%eth0"}, "expected no zone"),
                ({"start_source_port": "80"}, "selector.start_source_port is '80'; expected a num"),
                (
                    {"start_source_port": 1.5},
                    "selector.start_source_port is 1.5; expected a number",
                ),
                ({"start_source_port": True}, "selector.start_source_port is True; expected a"),
                ({"start_source_port": 65536}, "start_source_port"),
                ({"start_spi": 1, "start_source_port": 1}, "match no packet"),
            ):
                assert text in refused(session, **add, selector=selector)
            assert "to is 'lan'" in refused(session, **{**add, "to": "lan"}, selector={})
            assert "action is 'burn'" in refused(session, **add, selector={}, action="burn")
            assert "fid is 0" in refused(session, **{**add, "fid": 0}, selector={})
            assert "to is 9" in refused(session, op="move-flow", mn=domain.MN, fid=1, to=9)
            assert "no such flow" in refused(session, op="move-flow", mn=domain.MN, fid=1, to=1)
            assert "op is 'dance'" in refused(session, op="dance")
            assert session.request({"op": "bindings"})["ok"] is True

    serve(talk)


def test_replies_have_the_id_of_their_request(serve: Callable[[Talk], None]) -> None:
    def talk(path: Path) -> None:
        answer = raw(path, b'{"op": "bindings", "id": [1, "x"]}\n')
        assert (answer["ok"], answer["id"]) == (True, [1, "x"])
        with Session(path, 5) as session:
            identities = [session.send({"op": "bindings"}) for _ in range(3)]
            assert [reply["id"] for reply in session.replies(3)] == identities

    serve(talk)


@pytest.mark.parametrize(
    "line", [b"nonsense", b"\xff\xfe", b"[]", b"[" * 60_000, b'{"op": "bindings", "x": 1}']
)
def test_what_is_no_request_is_answered_and_survived(
    serve: Callable[[Talk], None], line: bytes
) -> None:
    def talk(path: Path) -> None:
        assert raw(path, line + b"\n")["ok"] is False
        assert raw(path, b'{"op": "bindings"}\n')["ok"] is True

    serve(talk)


def test_a_request_without_end_is_refused(serve: Callable[[Talk], None]) -> None:
    def talk(path: Path) -> None:
        assert "longer than" in raw(path, b"x" * (MAX_REQUEST + 1))["error"]

    serve(talk)


def test_a_long_reply_arrives_whole(serve: Callable[[Talk], None], domain: type[Domain]) -> None:
    """Longer than a socket buffer holds (208 KiB by default)."""

    def talk(path: Path) -> None:
        with Session(path, 5) as session:
            padding = "x" * 60_000
            sent = [
                session.send({"op": "move-flow", "mn": f"{number}{padding}", "fid": 1, "to": 1})
                for number in range(8)
            ]
            replies = list(session.replies(8))
        assert [reply["id"] for reply in replies] == sent
        assert all(len(reply["error"]) > 60_000 for reply in replies)

    serve(talk)


def test_a_client_that_leaves_does_not_matter(serve: Callable[[Talk], None]) -> None:
    def talk(path: Path) -> None:
        with closing(socket.socket(socket.AF_UNIX)) as channel:
            channel.connect(str(path))
            channel.sendall(b'{"op": "bindings"}\n' * 20)
        assert raw(path, b'{"op": "bindings"}\n')["ok"] is True

    serve(talk)


def test_the_socket_is_the_owners_alone_and_goes_with_the_server(
    serve: Callable[[Talk], None], tmp_path: Path
) -> None:
    def talk(path: Path) -> None:
        assert path.stat().st_mode & 0o777 == 0o600

    serve(talk)
    assert not (tmp_path / "control").exists()
    events = [json.loads(line)["event"] for line in (tmp_path / "lma.jsonl").open()]
    assert events[0] == "started"
    assert events[-1] == "stopped"


def test_addresses_of_a_selector_are_ipv6_rfc6088_3_2(
    serve: Callable[[Talk], None], domain: type[Domain]
) -> None:
    def talk(path: Path) -> None:
        with Session(path, 5) as session:
            text = refused(
                session,
                op="add-flow",
                mn=domain.MN,
                fid=1,
                priority=1,
                to="wlan",
                selector={"start_destination_address": str(IPv6Address(1)) + "/64"},
            )
            assert "selector.start_destination_address" in text

    serve(talk)


HOSTILE = [
    "; reboot",
    "$(reboot)",
    "`reboot`",
    "../../etc/passwd",
    '" }; flush ruleset; #',
    "a\nb",
    "a\0b",
    "%s%n",
    "x" * 60_000,
    "\ud800",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_are_names_of_nothing(
    serve: Callable[[Talk], None], domain: type[Domain], text: str
) -> None:
    """Wherever a request has a name, it is compared and never carried out."""
    requests: list[dict[str, Any]] = [
        {"op": text},
        {"op": "move-flow", "mn": text, "fid": 1, "to": 1},
        {"op": "move-flow", "mn": domain.MN, "fid": 1, "to": text},
        {"op": "move-flow", "mn": domain.MN, "fid": text, "to": 1},
        {"op": "move-flow", "mn": domain.MN, "prefix": text, "to": 1},
        {"op": "remove-flow", "mn": text, "fid": 1},
        {"op": "revoke", "mn": text},
        {"op": "revoke", "realm": text},
        {"op": "revoke", "mag": text},
        {"op": "force-registration", "mn": text},
        {"op": "bindings", text: 1},
        *(
            {
                "op": "add-flow",
                "mn": domain.MN,
                "fid": 1,
                "priority": 1,
                "to": "wlan",
                "selector": {},
                **wrong,
            }
            for wrong in (
                {"mn": text},
                {"to": text},
                {"to": [text]},
                {"action": text},
                {"selector": {"start_source_address": text}},
                {"selector": {text: 1}},
            )
        ),
    ]

    def talk(path: Path) -> None:
        for request in requests:
            assert raw(path, json.dumps(request).encode() + b"\n")["ok"] is False, request
        with Session(path, 5) as session:
            assert len(session.request({"op": "bindings"})["result"]) == 1
            flows = session.request({"op": "flows"})["result"]
            assert {flow["mn"] for flow in flows} == {domain.OTHER_MN}

    serve(talk)


def test_nodes_and_controllers_start_no_program() -> None:
    """No shell, nor anything else that a request could reach."""
    forbidden = {"subprocess", "pty", "popen2", "commands"}
    starters = {"system", "popen", "execv", "execve", "execvp", "execl", "posix_spawn", "spawnv"}
    for package in ("nodes", "controllers"):
        for path in sorted((Path(__file__).parents[2] / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    assert not forbidden & {name.name for name in node.names}, path
                elif isinstance(node, ast.ImportFrom):
                    assert node.module not in forbidden, path
                elif isinstance(node, ast.Attribute):
                    assert node.attr not in starters, path


def test_a_line_that_is_too_long_is_refused_although_it_ends(
    serve: Callable[[Talk], None],
) -> None:
    def talk(path: Path) -> None:
        line = json.dumps({"op": "bindings", "id": "x" * MAX_REQUEST}).encode()
        assert "longer than" in raw(path, line + b"\n")["error"]
        assert raw(path, b'{"op": "bindings"}\n')["ok"] is True

    serve(talk)


def test_connections_are_limited_and_those_that_are_there_go_on(
    serve: Callable[[Talk], None],
) -> None:
    def talk(path: Path) -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(MAX_CONNECTIONS):
                session = stack.enter_context(Session(path, 5))
                assert session.request({"op": "bindings"})["ok"] is True
            with Session(path, 5) as one_more, pytest.raises(ControlError):
                one_more.request({"op": "bindings"})
            assert session.request({"op": "bindings"})["ok"] is True
        # All have left: there is room again, as soon as the node has noticed.
        for _ in range(1000):
            with contextlib.suppress(ControlError), Session(path, 5) as again:
                assert again.request({"op": "bindings"})["ok"] is True
                return
        pytest.fail("still full")

    serve(talk)


def test_requests_without_an_answer_are_limited(
    serve: Callable[[Talk], None], domain: type[Domain], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nodes.control.MAX_UNANSWERED", 2)

    def talk(path: Path) -> None:
        waiting = {"op": "move-flow", "mn": domain.OTHER_MN, "fid": 1, "to": "wlan"}
        with Session(path, 5) as session:
            for _ in range(2):
                session.send({**waiting, "await_ms": 60_000, "fid": 1 + _})
            assert "aren't answered yet" in refused(session, op="bindings")

    serve(talk)


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777, 0o1777])
def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(PermissionError, match=r"shared, which others may write to; expected"):
        ControlServer(folder / "control", LmaRequest, None, lambda *_: None)  # type: ignore[arg-type]
    assert list(folder.iterdir()) == []
