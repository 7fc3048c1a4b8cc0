"""Courses on the switched reference network: what switches do to packets, with rules by hand."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from controllers.process import ControllerConfig, run_controller
from experiments.emulation.testbed import start
from nodes.strict import load_toml
from topologies import netlink, openvswitch
from topologies.model import Switching, Topology
from topologies.namespaces import Child, set_timer_slack, socket_in
from topologies.network import Network
from topologies.network import running as network_running
from topologies.switching import datapath_ids, ports

SWITCHED = Path(__file__).parents[3] / "topologies" / "switched.toml"
PORT = 4000
SILENCE_S = 1.0
ANSWER_S = 10.0
# More than the longest pause between two attempts to connect.
RECONNECT_S = 10.0
TCP_BYTES = 20_000
SO_TIMESTAMPNS = 35


def switched(**settings: Any) -> Topology:
    topology = load_toml(SWITCHED, Topology)
    return Topology(topology.nodes, topology.links, Switching(**settings))


@contextlib.contextmanager
def bed(folder: Path, topology: Topology) -> Iterator[tuple[Network, openvswitch.Switches]]:
    set_timer_slack(1)
    with tempfile.TemporaryDirectory() as name, network_running(topology, 1) as network:
        with openvswitch.running(network, Path(name) / "ovs", folder / "logs") as switches:
            yield network, switches
            assert not switches.ended()
        assert not (Path(name) / "ovs").exists()


def path_ports(topology: Topology, way: tuple[str, ...]) -> dict[str, list[tuple[str, int]]]:
    """Per switch on the way from node to node, in both directions: destination and output port."""
    found: dict[str, list[tuple[str, int]]] = {}
    for names in (way, way[::-1]):
        address = topology.nodes[names[-1]].address
        for switch, towards in itertools.pairwise(names[1:]):
            (port,) = [p.number for p in ports(topology)[switch] if p.peer == towards]
            found.setdefault(switch, []).append((str(address), port))
    return found


def receiver(network: Network, node: str) -> socket.socket:
    made = socket_in(
        network.namespace(node), lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    )
    made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    made.bind((str(network.topology.nodes[node].address), PORT))
    made.settimeout(SILENCE_S)
    return made


def one_way(sender: socket.socket, receiving: socket.socket, count: int) -> list[int | None]:
    """Delays in ns of `count` datagrams, 20 ms apart; None for one that didn't arrive."""
    to = receiving.getsockname()[:2]
    delays: list[int | None] = []
    for number in range(count):
        time.sleep(0.02)
        sent = time.time_ns()
        sender.sendto(number.to_bytes(4, "big") * 100, to)
        try:
            _, ancillary, _, _ = receiving.recvmsg(2048, 128)
        except TimeoutError:
            delays.append(None)
            continue
        (stamp,) = [data for _, kind, data in ancillary if kind == SO_TIMESTAMPNS]
        seconds = int.from_bytes(stamp[:8], "little")
        delays.append(seconds * 10**9 + int.from_bytes(stamp[8:], "little") - sent)
    return delays


def forwarding(folder: Path, count: int, **settings: Any) -> dict[str, Any]:
    """UDP and TCP between LMA and the first MAG, before and after rules, and after restarts."""
    topology = switched(**settings)
    found: dict[str, Any] = {}
    with bed(folder, topology) as (network, switches):
        lma, mag = receiver(network, "lma"), receiver(network, "mag1")
        # A switch in fail mode standalone would begin to learn addresses after three probes.
        time.sleep(4 * topology.switching.inactivity_probe_ms / 1000)
        found["before"] = one_way(lma, mag, 1)
        add_rules(switches, ("lma", "s1", "s2", "mag1"))
        found["after"] = one_way(lma, mag, count)
        found["counted"] = counted(switches, "s1", str(topology.nodes["mag1"].address))
        found["back"] = one_way(mag, lma, 3)
        found["tcp"] = tcp(network)
        found["rules"] = rules(switches)
        switches.restart_switch("s1")
        found["s1 restarted"] = rules(switches)
        found["then"] = one_way(lma, mag, 1)
        switches.kill_switching()
        switches.start_switching()
        found["all restarted"] = rules(switches)
        add_rules(switches, ("lma", "s1", "s2", "mag1"))
        found["again"] = one_way(lma, mag, 1)
        found["system"] = [p.name for p in Path("/run").glob("openvswitch*")]
    return found


def add_rules(switches: openvswitch.Switches, way: tuple[str, ...]) -> None:
    for switch, its in path_ports(switches.topology, way).items():
        for address, port in its:
            rule = f"ipv6,ipv6_dst={address},actions=output:{port}"
            switches.ofctl("add-flow", switch, rule)


def rules(switches: openvswitch.Switches) -> list[int]:
    """Number of rules per switch."""
    dumps = [switches.ofctl("dump-flows", name) for name in switches.topology.switches]
    return [dump.count("actions=") for dump in dumps]


def counted(switches: openvswitch.Switches, switch: str, destination: str) -> int:
    """Packets by the counter of the rule for a destination, as it is at once."""
    dump = switches.ofctl("dump-flows", switch, f"ipv6,ipv6_dst={destination}")
    (packets,) = re.findall(r"n_packets=(\d+)", dump)
    return int(packets)


def tcp(network: Network) -> int:
    """Octets that a TCP connection from the LMA to the MAG brings over."""
    where = (str(network.topology.nodes["mag1"].address), PORT)
    listener = socket_in(
        network.namespace("mag1"), lambda: socket.create_server(where, family=socket.AF_INET6)
    )
    client = socket_in(network.namespace("lma"), lambda: socket.socket(socket.AF_INET6))
    client.settimeout(5)
    with listener, client:
        client.connect(where)
        connection, _ = listener.accept()
        with connection:
            client.sendall(b"x" * TCP_BYTES)
            client.shutdown(socket.SHUT_WR)
            received = 0
            while data := connection.recv(4096):
                received += len(data)
    return received


class Orders:
    """Orders to a `RuleApplication`."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_S)
        self._socket.connect(str(path))
        self._answers = self._socket.makefile("r")

    def __call__(self, order: str) -> dict[str, Any]:
        self._socket.sendall(order.encode() + b"\n")
        answer: dict[str, Any] = json.loads(self._answers.readline())
        return answer


@contextlib.contextmanager
def controller(
    network: Network, framework: Literal["os-ken", "ryu"], folder: Path, state: Path
) -> Iterator[Child]:
    topology = network.topology
    rules = {
        datapath_ids(topology)[switch]: [
            ({"eth_type": 0x86DD, "ipv6_dst": destination}, port) for destination, port in its
        ]
        for switch, its in path_ports(topology, ("lma", "s1", "s2", "mag1")).items()
    }
    config = ControllerConfig(
        application="tests.system.guest_checks.rule_application:RuleApplication",
        arguments={"rules": rules, "control": str(state / "orders")},
        framework=framework,
    )
    child = start(network, "controller", run_controller, config, folder)
    try:
        yield child
    finally:
        child.terminate()
        assert child.wait(ANSWER_S) in (0, -signal.SIGKILL), child.log.read_text()


def control(folder: Path, framework: Literal["os-ken", "ryu"]) -> dict[str, Any]:
    """Three switches under a controller, which goes and comes back, as a switch does."""
    topology = switched()
    found: dict[str, Any] = {}
    (folder / "logs").mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        set_timer_slack(1)
        state = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        network = stack.enter_context(network_running(topology, 1))
        first = stack.enter_context(controller(network, framework, folder, state))
        switches = stack.enter_context(openvswitch.running(network, state / "ovs", folder / "logs"))
        time.sleep(1.0)
        order = Orders(state / "orders")
        lma, mag = receiver(network, "lma"), receiver(network, "mag1")
        found["connected"] = order("state")
        found["before"] = one_way(lma, mag, 1)
        at_ns = time.monotonic_ns()
        found["install_ns"] = order("install")["at_ns"] - at_ns
        found["after"] = one_way(lma, mag, 3)
        found["rules"] = rules(switches)
        at_ns = time.monotonic_ns()
        found["later_ns"] = order("later")["at_ns"] - at_ns
        switches.restart_switch("s1")
        time.sleep(1.0)
        found["s1 restarted"] = order("state")
        found["then"] = one_way(lma, mag, 1)
        order("install")
        found["memory_kib"] = available_kib()
        first.kill()
        first.wait(ANSWER_S)
        found["without controller"] = one_way(lma, mag, 3)
        (state / "orders").unlink()
        stack.enter_context(controller(network, framework, folder, state))
        time.sleep(RECONNECT_S)
        found["second"] = Orders(state / "orders")("state")
    return found


def available_kib() -> int:
    text = Path("/proc/meminfo").read_text()
    return int(text.partition("MemAvailable:")[2].split()[0])


def missing_datapath(folder: Path) -> str:
    """What is said when a port can't be added."""
    topology = switched()
    with tempfile.TemporaryDirectory() as name, network_running(topology, 1) as network:
        state = Path(name) / "ovs"
        netlink.send(network.namespace("s2"), [netlink.delete_link("s2-s3")])
        try:
            with openvswitch.running(network, state, folder / "logs"):
                return "started"
        except openvswitch.SwitchError as error:
            assert not state.exists()
            return str(error)
