"""What control sockets, the controller's northbound interface and their clients are told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any
from unittest import mock

from controllers.northbound_server import identity_of
from nodes import access_operations
from nodes.control_client import ControlError, Session
from nodes.control_requests import LmaRequest, MagRequest, MnRequest
from nodes.controller_config import ControllerConfig
from nodes.heartbeat import FIRST_START
from nodes.lma import operations
from nodes.northbound import Request
from nodes.northbound_client import decode_message
from nodes.strict import InputError, from_json
from tests.controllers import model
from tests.controllers.fabrics import HOME, MAG1, description
from tests.domain import Domain, at
from tests.fuzz.target import Target, channel_with
from tests.nodes.test_invariants import settled
from tests.world import World
from tests.world_plan import MAGS, MOBILE_NODES, Plan, make_node

MN = MOBILE_NODES[0]


def _operate(name: str, requests: Any, operate: Callable[..., None], data: bytes) -> None:
    """Lines for a node of a domain in which nodes are attached: each is refused, or answered once
    when all is done."""
    wanted = []
    for line in data.split(b"\n")[:8]:
        wanted.append(from_json(line, requests, "request"))
    world = settled()
    for request in wanted:
        world.ask(name, lambda core, now, token, r=request: _at(world, operate, core, r, token))
        world.run(0.5)
    world.run(70)  # the longest that a request may ask for
    assert not world.asked, "every request is answered"
    json.dumps([reply.result for reply in world.replies.values()], default=str)


def _at(world: World, operate: Callable[..., None], *arguments: Any) -> None:
    module = operations if operate is operations.operate else access_operations
    with mock.patch.object(module, "now", return_value=world.now):
        operate(*arguments)


def northbound(data: bytes) -> None:
    """Lines of a controller's client."""
    world = model.World(description())
    world.core.connected(1)
    world.connect()
    world.deliver()
    for line in data.split(b"\n")[:8]:
        try:
            request: Any = from_json(line, Request, "request")  # type: ignore[arg-type]
        except InputError:
            identity = identity_of(line)
            assert identity is None or identity >= 1
            continue
        world.request(request)
        world.deliver()
    world.wait(10)


def controller(data: bytes) -> None:
    """Lines of the controller, to an LMA that is connected, and has asked for something."""
    messages = [decode_message(line) for line in data.split(b"\n")[:8]]
    settings = ControllerConfig(address=IPv6Address("2001:db8:14::1"))
    node = make_node(
        Plan(lma={"data_plane": "sdn-assisted", "controller": settings}), "lma", FIRST_START
    )
    node.core.take_actions()
    node.core.handle_timer(at(0))
    node.core.controller_connected(at(0))
    node.core.receive(Domain.pbu(0.1, mn=MN, sequence=1), MAGS["mag1"], at(0.1))
    for number, message in enumerate(messages):
        node.core.northbound_received(message, at(0.2 + number / 10))
        node.core.take_actions()


def client(data: bytes) -> None:
    """What a program hears from a control socket."""
    with mock.patch("nodes.control_client.socket.socket") as factory:
        factory.return_value = channel_with(data[:7], data[7:])
        with Session(Path("lma.sock")) as session:
            session.request({"op": "bindings"})
            list(session.replies(2))


def _lines(*values: object) -> Iterator[bytes]:
    yield from (json.dumps(value).encode() for value in values)


def _lma() -> Iterator[bytes]:
    flow = {"op": "add-flow", "mn": MN, "fid": 3, "priority": 3, "to": "wlan"}
    yield from _lines(
        {"op": "bindings", "id": 1},
        {"op": "flows"},
        {"op": "flow-statistics"},
        {"op": "controller"},
        flow | {"selector": {"start_destination_port": 5001, "start_next_header": 17}},
        flow | {"selector": {"start_source_address": "2001:db8::1"}, "to": [1, 2]},
        {"op": "remove-flow", "mn": MN, "fid": 1},
        {"op": "move-flow", "mn": MN, "fid": 1, "to": "cell"},
        {"op": "move-flow", "mn": MN, "fid": "all", "to": 2},
        {"op": "move-flow", "mn": MN, "fid": [1, 2], "to": [1, 2]},
        {"op": "move-flow", "mn": MN, "prefix": "2001:db8:100::/64", "to": 2},
        {"op": "move-flow", "mn": MN, "fid": 1, "to": "cell", "await_ms": 500},
        {"op": "revoke", "mn": MN, "binding": 1},
        {"op": "revoke", "realm": "example.org", "mag": "2001:db8:11::1"},
        {"op": "force-registration", "mn": MN},
        {"op": "force-registration", "mag": "2001:db8:11::1"},
    )


def _mag() -> Iterator[bytes]:
    yield from _lines(
        {"op": "bindings"},
        {"op": "report-link", "interface": "mn1-wlan", "quality": 50, "load": 20},
        {"op": "report-link", "interface": "mn1-wlan", "queue_delay_ms": 30, "id": "x"},
    )


def _mn() -> Iterator[bytes]:
    selector = {"start_destination_port": 5001, "start_next_header": 17}
    yield from _lines(
        {"op": "bind-flow", "fid": 1, "priority": 1, "selector": selector, "to": "mn1-wlan"},
        {"op": "unbind-flow", "fid": 1},
        {"op": "attach", "interface": "mn1-wlan", "handoff_indicator": 3, "prefixes": []},
        {"op": "detach", "interface": "mn1-wlan"},
        {"op": "status"},
        {"op": "flows"},
    )


def _northbound() -> Iterator[bytes]:
    mag, home = str(MAG1), str(HOME)
    flow = {
        "key": 7,
        "mn": MN,
        "fid": 1,
        "priority": 1,
        "selector": {"start_destination_port": 80},
        "prefixes": [home],
        "label": 5,
    }
    path = {"key": 7, "mags": [mag]}
    first = {"op": "sync", "id": 1, "epoch": 1, "mode": "sdn-core"}
    whole = first | {
        "prefixes": [{"prefix": home, "mag": mag}],
        "flows": [flow],
        "paths": [path],
        "mode": "sdn-assisted",
    }
    for request in (
        {"op": "attach", "id": 2, "path": {"prefix": home, "mag": mag}},
        {"op": "detach", "id": 2, "prefix": home},
        {"op": "add-flow", "id": 2, "flow": flow, "path": path | {"anchor": mag}},
        {"op": "move-flows", "id": 2, "paths": [path]},
        {"op": "remove-flow", "id": 2, "key": 7},
        {"op": "list-flows", "id": 2},
    ):
        for before in (first, whole):
            yield b"\n".join(_lines(before, request))


def _controller() -> Iterator[bytes]:
    yield from _lines(
        {"id": 1, "ok": True, "result": {"lost": [], "refused": {"7": "why"}}},
        {"id": 1, "ok": False, "error": "no"},
        {"event": "switches", "ready": ["s1"], "lost": []},
        {
            "event": "statistics",
            "flows": [{"key": 7, "mags": [str(MAG1)], "packets": 1, "octets": 2}],
        },
    )


def _client() -> Iterator[bytes]:
    one, other = b'{"ok":true,"result":[],"id":1}', b'{"ok":false,"error":"no","id":2}'
    yield b"\n".join((one, other, one, b""))


TARGETS = {
    "lma-requests": Target(
        partial(_operate, "lma", LmaRequest, operations.operate), (InputError,), 512, _lma
    ),
    "mag-requests": Target(
        partial(_operate, "mag1", MagRequest, access_operations.operate_mag),
        (InputError,),
        512,
        _mag,
    ),
    "mn-requests": Target(
        partial(_operate, MN, MnRequest, access_operations.operate_mn), (InputError,), 512, _mn
    ),
    "northbound-requests": Target(northbound, (), 1024, _northbound),
    "northbound-replies": Target(controller, (InputError,), 512, _controller),
    "control-replies": Target(client, (ControlError,), 512, _client),
}
