"""Courses of the redirection application: a client that plays the LMA moves flows while packets
come at a steady rate."""

from __future__ import annotations

import contextlib
import heapq
import json
import select
import signal
import socket
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, Literal

from controllers.config import NORTHBOUND_PORT
from controllers.process import ControllerConfig, run_controller
from experiments.emulation.testbed import start
from nodes.controller_config import FABRIC_GATEWAY, FABRIC_MAC
from nodes.kernel.netlink import set_route
from nodes.northbound import (
    AddFlow,
    Attach,
    Flow,
    FlowPath,
    ListFlows,
    MoveFlows,
    PrefixPath,
    RemoveFlow,
    Request,
    Sync,
)
from nodes.strict import to_builtins, to_json
from tests.system.guest_checks.switching import switched
from topologies import netlink, openvswitch
from topologies.fabric import fabric_description
from topologies.model import Direction, Topology
from topologies.namespaces import Child, inside, set_timer_slack, socket_in
from topologies.network import Network
from topologies.network import running as network_running
from topologies.plan import end_address
from topologies.switching import datapath_ids

HOME = IPv6Network("2001:db8:aaaa::/64")
MN = HOME[1]
PORT, OTHER_PORT = 5001, 5002
INTERVAL_S = 0.001
SO_TIMESTAMPNS = 35
EXIT_LIMIT_S = 10.0
CONNECT_LIMIT_S = 5.0
MAGS = ("mag1", "mag2")
Framework = Literal["os-ken", "ryu"]


def a_flow(key: int = 7, port: int = PORT) -> Flow:
    selector = {"start_next_header": 17, "start_destination_port": port}
    return Flow(
        key=key,
        mn="mn",
        fid=key,
        priority=key,
        selector=selector,
        prefixes=(HOME,),
        label=key,
    )


class Client:
    """The LMA's end of the northbound interface. `messages` has what came, with the time."""

    def __init__(self, network: Network) -> None:
        topology = network.topology
        address = end_address(topology, topology.links["lma-controller"], "controller")
        with inside(network.namespace("lma")):
            self.socket = socket.create_connection(
                (str(address), NORTHBOUND_PORT), timeout=CONNECT_LIMIT_S
            )
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.messages: list[dict[str, Any]] = []
        self.sent: dict[int, int] = {}
        self.ended = False
        self._rest = b""

    def send(self, request: Request) -> None:
        self.sent[request.id] = time.monotonic_ns()
        self.socket.sendall(to_json(request) + b"\n")

    def read(self) -> None:
        """What is there."""
        try:
            data = self.socket.recv(1 << 20)
        except OSError:
            data = b""
        self.ended = not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self.messages.append({"at_ns": time.monotonic_ns(), **json.loads(line)})

    def replies(self) -> dict[str, Any]:
        """By request: whether it was done, why not, and how long that took."""
        return {
            str(message["id"]): {
                "ok": message["ok"],
                "error": message.get("error"),
                "took_ns": message["at_ns"] - self.sent[message["id"]],
                "result": message.get("result"),
            }
            for message in self.messages
            if "id" in message
        }

    def switches(self) -> list[dict[str, Any]]:
        return [message for message in self.messages if message.get("event") == "switches"]

    def close(self) -> None:
        self.socket.close()


class Bed:
    """The switched network with its controller and packets to the mobile node from the LMA."""

    def __init__(self, network: Network, framework: Framework, folder: Path, **timers: int) -> None:
        self.network, self.folder = network, folder
        topology = network.topology
        lma = end_address(topology, topology.links["lma-controller"], "lma")
        self._config = ControllerConfig(
            application="controllers.application:RedirectionApplication",
            arguments={
                "config": {
                    "events": str(folder / "controller.jsonl"),
                    "fabric": to_builtins(fabric_description(topology)),
                    "datapath_ids": datapath_ids(topology),
                    "timers": timers,
                    "northbound_address": "::",
                    "lma_addresses": [str(lma)],
                }
            },
            framework=framework,
        )
        self.mags = [
            end_address(topology, topology.links[name], mag)
            for name, mag in (("s2-mag1", "mag1"), ("s3-mag2", "mag2"))
        ]
        self.child: Child | None = None
        self.switches: openvswitch.Switches | None = None
        self.clients: list[Client] = []
        self.received: dict[int, list[tuple[int, int, int]]] = {PORT: [], OTHER_PORT: []}
        self._sent: dict[int, int] = {PORT: 0, OTHER_PORT: 0}
        self._sockets: dict[Any, tuple[int, int]] = {}
        self._sender = self._prepare()

    def _prepare(self) -> socket.socket:
        with inside(self.network.namespace("lma")):
            index = socket.if_nametoindex("lma-s1")
            netlink.send(
                self.network.namespace("lma"),
                [
                    netlink.set_neighbour(index, FABRIC_GATEWAY, FABRIC_MAC),
                    set_route(HOME, index, gateway=FABRIC_GATEWAY),
                ],
            )
            sender = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        for number, mag in enumerate(MAGS, 1):
            with inside(self.network.namespace(mag)):
                loopback = socket.if_nametoindex("lo")
            namespace = self.network.namespace(mag)
            netlink.send(namespace, [netlink.add_address(loopback, MN, 128)])
            for port in self.received:
                made = socket_in(
                    namespace, lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
                )
                made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
                made.bind((str(MN), port))
                made.setblocking(False)
                self._sockets[made] = (number, port)
        return sender

    def start_controller(self) -> None:
        self.child = start(self.network, "controller", run_controller, self._config, self.folder)

    def kill_controller(self) -> None:
        assert self.child is not None
        self.child.kill()
        self.child.wait(EXIT_LIMIT_S)
        self.child = None

    def close(self) -> None:
        for client in self.clients:
            client.close()
        if self.child is not None:
            self.child.terminate()
            assert self.child.wait(EXIT_LIMIT_S) in (0, -signal.SIGKILL), self.child.log.read_text()

    def client(self) -> Client:
        client = Client(self.network)
        self.clients.append(client)
        return client

    def run(self, duration_s: float, *orders: tuple[float, Callable[[], object]]) -> None:
        """A packet to each port every ms, and `orders` at their times; then what is under way
        arrives."""
        start_s = time.monotonic()
        waiting = [(start_s + at_s, number, order) for number, (at_s, order) in enumerate(orders)]
        heapq.heapify(waiting)
        due = start_s
        end = start_s + duration_s
        while due < end:
            while waiting and waiting[0][0] <= time.monotonic():
                heapq.heappop(waiting)[2]()
            for port in self._sent:
                self._sent[port] += 1
                packet = struct.pack("!I", self._sent[port])
                self._sender.sendto(packet, (str(MN), port))
            due += INTERVAL_S
            self._receive_until(due)
        assert not waiting
        self._receive_until(end + 0.1)

    def _receive_until(self, until_s: float) -> None:
        while True:
            left = until_s - time.monotonic()
            clients = {client.socket: client for client in self.clients if not client.ended}
            ready, _, _ = select.select([*self._sockets, *clients], [], [], max(0.0, left))
            for readable in ready:
                if readable in clients:
                    clients[readable].read()
                else:
                    self._take(readable)
            if left <= 0 and not ready:
                return

    def _take(self, readable: Any) -> None:
        data, ancillary, _, _ = readable.recvmsg(64, 128)
        (stamp,) = [value for _, kind, value in ancillary if kind == SO_TIMESTAMPNS]
        seconds, nanoseconds = struct.unpack("=qq", stamp)
        number, port = self._sockets[readable]
        (sequence,) = struct.unpack("!I", data)
        at_ns = seconds * 10**9 + nanoseconds
        self.received[port].append((sequence, number, at_ns))

    def summary(self, port: int = PORT) -> dict[str, Any]:
        """How many were sent, which are missing or came twice, and the MAGs that got them in the
        order of sending, as runs."""
        by_sequence = sorted((sequence, mag) for sequence, mag, _ in self.received[port])
        numbers = [sequence for sequence, _ in by_sequence]
        missing = sorted(set(range(1, self._sent[port] + 1)) - set(numbers))
        runs: list[list[int]] = []
        for _, mag in by_sequence:
            if runs and runs[-1][0] == mag:
                runs[-1][1] += 1
            else:
                runs.append([mag, 1])
        found = {
            "sent": self._sent[port],
            "missing": missing,
            "twice": len(numbers) - len(set(numbers)),
            "runs": runs,
        }
        self._sent[port] = 0
        self.received[port].clear()
        return found

    def rules(self) -> list[int]:
        """Number of rules by switch."""
        assert self.switches is not None
        names = self.network.topology.switches
        return [self.switches.ofctl("dump-flows", n).count("cookie=0xf10b") for n in names]


@contextlib.contextmanager
def bed(folder: Path, framework: Framework, **timers: int) -> Iterator[Bed]:
    # Many packets, and Open vSwitch as it is by default: no change of rules loses any.
    topology: Topology = switched(flow_cache=True)
    with contextlib.ExitStack() as stack:
        set_timer_slack(1)
        state = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        network = stack.enter_context(network_running(topology, 1))
        made = stack.enter_context(contextlib.closing(Bed(network, framework, folder, **timers)))
        made.start_controller()
        made.switches = stack.enter_context(
            openvswitch.running(network, state / "ovs", folder / "logs")
        )
        yield made


def default(mag: IPv6Address) -> PrefixPath:
    return PrefixPath(prefix=HOME, mag=mag)


def to(key: int, *mags: IPv6Address) -> FlowPath:
    return FlowPath(key=key, mags=mags)


def prepare(made: Bed) -> Client:
    """The LMA has connected; the first MAG is the default, and a flow has rules to it."""
    client = made.client()
    first, _ = made.mags
    client.send(Sync(id=1, epoch=1, mode="sdn-core"))
    client.send(Attach(id=2, path=default(first)))
    client.send(AddFlow(id=3, flow=a_flow(), path=to(7, first)))
    made.run(0.5)
    made.summary()
    made.summary(OTHER_PORT)
    return client


def moves(folder: Path, framework: Framework) -> dict[str, Any]:
    """Default path, moves there and back, two in quick succession, removal during a move, and what
    is listed and counted."""
    found: dict[str, Any] = {}
    with bed(folder, framework, drain_ms=200, statistics_interval_ms=500) as made:
        time.sleep(0.5)
        found["base"] = made.rules()
        client = prepare(made)
        first, second = made.mags
        found["rules"] = made.rules()
        made.run(1.0, (0.2, lambda: client.send(MoveFlows(id=4, paths=(to(7, second),)))))
        found["there"], found["other"] = made.summary(), made.summary(OTHER_PORT)
        found["rules there"] = made.rules()
        made.run(1.0, (0.2, lambda: client.send(MoveFlows(id=5, paths=(to(7, first),)))))
        found["back"] = made.summary()
        made.run(
            1.0,
            (0.2, lambda: client.send(MoveFlows(id=6, paths=(to(7, second),)))),
            (0.205, lambda: client.send(MoveFlows(id=7, paths=(to(7, first),)))),
        )
        found["twice"] = made.summary()
        made.run(
            1.0,
            (0.2, lambda: client.send(MoveFlows(id=8, paths=(to(7, second),)))),
            (0.205, lambda: client.send(RemoveFlow(id=9, key=7))),
        )
        found["removed"] = made.summary()
        found["rules removed"] = made.rules()
        made.run(0.5, (0.1, lambda: client.send(ListFlows(id=10))))
        found["replies"] = client.replies()
        found["switches"] = client.switches()
        counted = [m for m in client.messages if m.get("event") == "statistics"]
        found["statistics"] = [count for message in counted for count in message["flows"]]
    return found


def failures(folder: Path, framework: Framework) -> dict[str, Any]:
    """The controller goes during and after a move, a switch loses its table, a barrier's answer
    never comes."""
    found: dict[str, Any] = {}
    with bed(folder, framework, drain_ms=200, statistics_interval_ms=0) as made:
        time.sleep(0.5)
        client = prepare(made)
        first, second = made.mags
        assert made.switches is not None

        # The far end has its rule when the controller dies.
        made.run(
            1.0,
            (0.2, lambda: client.send(MoveFlows(id=4, paths=(to(7, second),)))),
            (0.215, made.kill_controller),
        )
        found["killed during a move"] = made.summary()
        found["rules without controller"] = made.rules()
        made.start_controller()
        # As long as switches wait before they try to connect again.
        time.sleep(10.0)
        client = made.client()
        client.send(
            Sync(
                id=1,
                epoch=2,
                mode="sdn-core",
                prefixes=(default(first),),
                flows=(a_flow(),),
                paths=(to(7, first),),
            )
        )
        made.run(1.0, (0.5, lambda: client.send(MoveFlows(id=2, paths=(to(7, second),)))))
        found["again"] = made.summary()
        found["rules again"] = made.rules()
        made.run(0.5, (0.1, made.kill_controller))
        found["killed after a move"] = made.summary()
        made.start_controller()
        time.sleep(10.0)
        client = made.client()
        sync = Sync(
            id=1,
            epoch=3,
            mode="sdn-core",
            prefixes=(default(first),),
            flows=(a_flow(),),
            paths=(to(7, second),),
        )
        client.send(sync)
        made.run(0.5)
        found["once more"] = made.summary()

        made.switches.restart_switch("s3")
        made.run(2.0)
        made.summary()
        made.run(0.2)
        found["s3 restarted"], found["rules restarted"] = made.summary(), made.rules()

        # Nothing gets through to s2.
        lose(made, 1.0)
        made.run(4.0, (0.2, lambda: client.send(MoveFlows(id=2, paths=(to(7, first),)))))
        found["unanswered"] = made.summary()
        lose(made, 0.0)
        time.sleep(30.0)
        made.run(1.0, (0.2, lambda: client.send(MoveFlows(id=3, paths=(to(7, first),)))))
        found["answered again"], found["rules at last"] = made.summary(), made.rules()
        found["replies"], found["switches"] = client.replies(), client.switches()
    return found


def lose(made: Bed, probability: float) -> None:
    """Of what the controller sends to s2."""
    link = made.network.topology.links["controller-s2"]
    namespace = made.network.namespace("controller")
    with inside(namespace):
        index = socket.if_nametoindex(link.interface("controller"))
    shape = Direction(delay_ms=link.delay_ms, loss=probability)
    netlink.send(namespace, [netlink.set_netem(index, shape, 1)])
