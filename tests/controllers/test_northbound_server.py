"""The socket of the northbound interface, under both frameworks, each in a process of its own."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from controllers.northbound_server import MAX_LINE

SERVE = """
import json, sys
from ipaddress import IPv6Address
from controllers.northbound_server import NorthboundServer, hub
from nodes.northbound import Reply

def tell(*what):
    print(json.dumps(what), flush=True)

def receive(connection, request):
    tell("receive", type(request).__name__)
    server.send(connection, Reply(id=request.id, ok=True))

server = NorthboundServer(
    ("::1", int(sys.argv[1])),
    {IPv6Address(sys.argv[2])},
    up=lambda connection: tell("up"),
    receive=receive,
    down=lambda connection: tell("down"),
    refuse=lambda connection, why: tell("refuse", why),
)
server.start()
tell("ready")
while True:
    hub.sleep(1)
"""
LIMIT_S = 20


class Served:
    def __init__(self, framework: str, client: str) -> None:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(self.port), client],
            env={**os.environ, "FLOWMOB_CONTROLLER": framework},
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert self.next() == ["ready"]

    def next(self) -> list[Any]:
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], LIMIT_S)[0], "nothing happened"
        found: list[Any] = json.loads(self.process.stdout.readline())
        return found

    def connect(self) -> socket.socket:
        return socket.create_connection(("::1", self.port), timeout=LIMIT_S)

    def close(self) -> None:
        assert self.process.stdout is not None
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(params=["os-ken", "ryu"], scope="module")
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    found = Served(request.param, "::1")
    yield found
    found.close()


def test_requests_come_in_and_answers_go_out(served: Served) -> None:
    with served.connect() as client:
        assert served.next() == ["up"]
        # However the octets come.
        client.sendall(b'{"op":"list-flows","id":1}\n{"op":"det')
        assert served.next() == ["receive", "ListFlows"]
        client.sendall(b'ach","id":2,"prefix":"2001:db8:a::/64"}\n')
        assert served.next() == ["receive", "Detach"]
        with client.makefile("rb") as lines:
            answers = [json.loads(lines.readline()) for _ in range(2)]
        assert answers == [{"id": 1, "ok": True}, {"id": 2, "ok": True}]
    assert served.next() == ["down"]


def test_what_is_no_request_is_answered_by_its_number(served: Served) -> None:
    with served.connect() as client:
        assert served.next() == ["up"]
        client.sendall(b'{"op":"detach","id":3,"prefix":"2001:db8:a::1/64"}\n')
        what, why = served.next()
        assert what == "refuse"
        assert "prefix is '2001:db8:a::1/64'" in why
        with client.makefile("rb") as lines:
            assert json.loads(lines.readline()) == {"id": 3, "ok": False, "error": why}
    assert served.next() == ["down"]


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"hello\n", "is not JSON"),
        (b'{"op":"list-flows"}\n', "`id`"),
        (b"[" * 100_000 + b"\n", "request: "),
        (b" " * (MAX_LINE + 1), f"a line of more than {MAX_LINE} octets"),
    ],
    ids=["text", "no-number", "deep", "long"],
)
def test_what_has_no_number_ends_the_connection(served: Served, sent: bytes, why: str) -> None:
    with served.connect() as client:
        assert served.next() == ["up"]
        client.sendall(sent)
        what, text = served.next()
        assert what == "refuse"
        assert why in text
        assert len(text) < 300
        assert client.recv(1) == b""
    assert served.next() == ["down"]


@pytest.mark.parametrize("framework", ["os-ken", "ryu"])
def test_nobody_but_the_lma_is_heard(framework: str) -> None:
    served = Served(framework, "2001:db8:20::1")
    try:
        with served.connect() as client:
            assert client.recv(1) == b""
            assert served.next() == ["refuse", "::1 is not one of lma_addresses"]
    finally:
        served.close()
