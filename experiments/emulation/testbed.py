"""The testbed of a run, up: network, LMA, MAGs and MN, each daemon ready to serve."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import select
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, NamedTuple

from controllers.process import run_controller
from experiments.declaration.flow_groups import idle_flows
from experiments.declaration.flows import Flow, QuicDownload, UdpFlow
from experiments.declaration.spec import RunSpec
from experiments.emulation.key_exchange import exchange_keys
from experiments.emulation.roles import INTERFACE_ID, Roles, configure, mn_id
from experiments.emulation.signalling_keys import provide_keys
from experiments.emulation.traffic import correspondent_address, flow_ids
from nodes.config import DaemonConfig
from nodes.control_client import Session
from nodes.daemons import PlacedNode, run_lma, run_mag, run_mn, run_mns
from nodes.kernel.confinement import NETWORK, NETWORKS, confine
from topologies import openvswitch
from topologies.model import Role
from topologies.namespaces import Child, enter, fork_into, set_timer_slack
from topologies.network import Network, running

READY_LIMIT_S = 30.0
EXIT_LIMIT_S = 10.0
UDP, TCP = 17, 6
PRIORITY_STEP = 10
DESCRIPTORS, NAMESPACE_DESCRIPTORS, NODE_DESCRIPTORS = 128, 2, 10
# Their loop waits with select(), which knows descriptors below 1024 only.
MOBILE_NODES_PER_PROCESS = 20


class RunFailed(RuntimeError):
    """The run did not go through; the text is the reason that people read."""


class Testbed(NamedTuple):
    """`daemons` are ended when the context that made them is left. `switches`: None without any."""

    network: Network
    roles: Roles
    daemons: list[Child]
    folder: Path
    switches: openvswitch.Switches | None

    def ended(self) -> list[str]:
        """The daemons that are not running any more."""
        ended = [child.name for child in self.daemons if select.select([child.pidfd], [], [], 0)[0]]
        return ended if self.switches is None else ended + self.switches.ended()

    def kill(self, node: str) -> None:
        """SIGKILL the daemon of LMA, MAG or controller `node`: what it had in the kernel, and the
        rules of switches, stay."""
        child = self._take(node)
        child.kill()
        child.wait(EXIT_LIMIT_S)

    def stop(self, node: str) -> None:
        """Ask the daemon of `node` to end (SIGTERM); what it had in the kernel stays as well."""
        end([self._take(node)])

    def _take(self, node: str) -> Child:
        (child,) = [child for child in self.daemons if child.name == node]
        self.daemons.remove(child)
        return child

    def start(self, node: str) -> None:
        """Start the daemon of an LMA, MAG or controller that was killed or stopped."""
        main: Callable[..., None] = run_lma
        config: object = self.roles.lma
        if node in self.roles.mags:
            main, config = run_mag, self.roles.mags[node]
        elif self.network.topology.has_role(node, Role.CONTROLLER):
            main, config = run_controller, self.roles.controller
        self.daemons.append(start(self.network, node, main, config, self.folder))


@contextlib.contextmanager
def testbed(spec: RunSpec, seed: int, folder: Path, control_socket: Path) -> Iterator[Testbed]:
    """Events go to FOLDER/events, what daemons print to FOLDER/logs. Raises RunFailed."""
    (folder / "logs").mkdir(exist_ok=True)
    (folder / "events").mkdir(exist_ok=True)
    set_timer_slack(1)
    # What is loaded by now is shared with the forked processes; collecting it would copy it.
    gc.freeze()
    roles = configure(spec, folder / "events", control_socket, seed)
    provide_keys(spec, seed, control_socket.parent, folder)
    topology = spec.topology
    lma = topology.node_with_role(Role.LMA)
    allow_descriptors(len(roles.mns))
    with contextlib.ExitStack() as stack:
        network = stack.enter_context(running(topology, seed, spec.warm))
        children: list[Child] = []
        stack.callback(end, children)
        switches: openvswitch.Switches | None = None
        if roles.controller is not None:
            # Before the switches, which would try again only after a second.
            controller = topology.node_with_role(Role.CONTROLLER)
            children.append(start(network, controller, run_controller, roles.controller, folder))
        if topology.switches:
            state = control_socket.with_name("ovs")
            opened = openvswitch.running(network, state, folder / "logs")
            switches = stack.enter_context(opened)
        # The controller goes before its switches, and so it doesn't lose them.
        stack.callback(end, children)
        if spec.protocol.protection == "ikev2":
            exchange_keys(network, spec, seed, control_socket.parent, folder, children)
        children.append(start(network, lma, run_lma, roles.lma, folder))
        for mag, config in roles.mags.items():
            children.append(start(network, mag, run_mag, config, folder))
        for group in _groups(list(roles.mns)):
            children.append(_start_mobile_nodes(network, group, roles, folder))
        yield Testbed(network, roles, children, folder, switches)


def _groups(mns: Sequence[str]) -> list[Sequence[str]]:
    """Mobile nodes that share a process: the first has its own, as in runs where it is alone."""
    rest, size = mns[1:], MOBILE_NODES_PER_PROCESS
    return [mns[:1], *(rest[first : first + size] for first in range(0, len(rest), size))]


def _start_mobile_nodes(network: Network, mns: Sequence[str], roles: Roles, folder: Path) -> Child:
    first, last = mns[0], mns[-1]
    if first == last:
        return start(network, first, run_mn, roles.mns[first], folder)
    nodes = [PlacedNode(roles.mns[mn], mn, partial(enter, network.namespace(mn))) for mn in mns]

    def serve(nodes: Sequence[PlacedNode], _: str, ready: Callable[[], None]) -> None:
        run_mns(nodes, ready)

    return start(network, first, serve, nodes, folder, f"{first}-{last}")


def allow_descriptors(mns: int) -> None:
    """A namespace for each mobile node, and sockets of those in one process, are more than a guest
    begins with."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    together = min(mns, MOBILE_NODES_PER_PROCESS)
    wanted = DESCRIPTORS + NAMESPACE_DESCRIPTORS * mns + NODE_DESCRIPTORS * together
    if mns > 1 and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))


def end(children: list[Child]) -> None:
    """Ask every child to end, and wait until it has; none is left in the list."""
    for child in children:
        child.terminate()
    while children:
        children.pop().wait(EXIT_LIMIT_S)


def start(
    network: Network,
    node: str,
    main: Callable[..., None],
    config: object,
    folder: Path,
    name: str | None = None,
) -> Child:
    """Fork a daemon, called `name` if not after its node, into the node and wait until it
    serves."""
    name = name or node
    reader, writer = os.pipe()
    log = folder / "logs" / f"{name}.txt"
    child = fork_into(
        network.namespace(node), _serve, main, config, node, writer, log=log, name=name
    )
    os.close(writer)
    try:
        if not select.select([reader], [], [], READY_LIMIT_S)[0] or not os.read(reader, 1):
            end([child])
            raise RunFailed(f"{name} did not start: {log.read_text(errors='replace')}")
    finally:
        os.close(reader)
    return child


def _serve(main: Callable[..., None], config: object, node: str, writer: int) -> None:
    def ready() -> None:
        # By now all files are open that the run's folder has, which isn't root's in every guest.
        _confine(config)
        os.write(writer, b"r")
        os.close(writer)

    main(config, node, ready)


def _confine(config: object) -> None:
    """A daemon that serves needs little of what root may. The controller has done so itself: it has
    threads by now, and needs nothing at all."""
    together = isinstance(config, list)
    first = config[0].config if isinstance(config, list) else config
    if isinstance(first, DaemonConfig):
        socket = first.control_socket
        confine(NETWORKS if together else NETWORK, None if socket is None else socket.parent)


def bind_flows(spec: RunSpec, session: Session) -> dict[str, IPv6Address]:
    """Add the flows of `spec` to the LMA's flow mobility cache, in the order of the spec, and then
    the idle ones; without flow mobility none.

    Returns the MN's address for each that isn't idle. Raises RunFailed if an access is not
    registered.
    """
    bindings = session.request({"op": "bindings"})["result"]
    addresses = flow_addresses(spec, bindings)
    if not spec.protocol.flow_mobility:
        return addresses
    for name, fid in flow_ids(spec).items():
        flow = spec.flows[name]
        selector = _selector(spec, flow, addresses[name])
        session.request(_add_flow(fid, flow.mn, selector, flow.start))
    if spec.idle is not None:
        homes: dict[int, IPv6Address] = {}
        registered = _registered(bindings)
        for idle in idle_flows(spec):
            if idle.mn not in homes:
                homes[idle.mn] = _address(registered, mn_id(idle.mn), spec.idle.anchor)
            selector = _udp_selector(spec, homes[idle.mn], idle.port)
            session.request(_add_flow(idle.fid, idle.mn, selector, spec.idle.start))
    return addresses


def flow_addresses(spec: RunSpec, bindings: list[dict[str, Any]]) -> dict[str, IPv6Address]:
    """The MN's address for each flow: in a prefix that the flow's anchor has for itself, or in the
    shared one if it has none of its own. Raises RunFailed if an access is not registered."""
    registered = _registered(bindings)
    addresses: dict[str, IPv6Address] = {}
    for name, flow in spec.flows.items():
        for access in (flow.anchor, flow.start):
            if access not in registered.get(mn_id(flow.mn), {}):
                raise RunFailed(f"flow {name}: access {access} is not registered at the LMA")
        addresses[name] = _address(registered, mn_id(flow.mn), flow.anchor)
    return addresses


def access_addresses(bindings: list[dict[str, Any]]) -> dict[str, IPv6Address]:
    """The first MN's address on each access that is registered: in a prefix that the access has
    for itself, or in the shared one if it has none of its own."""
    registered, mn = _registered(bindings), mn_id(1)
    return {access: _address(registered, mn, access) for access in registered.get(mn, {})}


# By mobile node and access.
_Registered = dict[str, dict[str, list[IPv6Network]]]


def _registered(bindings: list[dict[str, Any]]) -> _Registered:
    found: _Registered = {}
    for entry in bindings:
        if entry["state"] == "registered":
            prefixes = [IPv6Network(prefix) for prefix in entry["prefixes"]]
            found.setdefault(entry["mn"], {})[entry["access"]] = prefixes
    return found


def _address(registered: _Registered, mn: str, anchor: str) -> IPv6Address:
    accesses = registered.get(mn, {})
    if anchor not in accesses:
        raise RunFailed(f"{mn}: access {anchor} is not registered at the LMA")
    others = {
        prefix for access, prefixes in accesses.items() if access != anchor for prefix in prefixes
    }
    own = accesses[anchor]
    return next((prefix for prefix in own if prefix not in others), own[0])[INTERFACE_ID]


def bind_request(spec: RunSpec, name: str, address: IPv6Address, access: str) -> dict[str, Any]:
    """The order to an MN that decides: flow `name`, whose packets go to `address`, leaves over
    `access` from now on."""
    fid = flow_ids(spec)[name]
    return {
        "op": "bind-flow",
        "fid": fid,
        "priority": PRIORITY_STEP * fid,
        "selector": _selector(spec, spec.flows[name], address),
        "to": spec.topology.access_link(access).interface(spec.topology.node_with_role(Role.MN)),
    }


def _add_flow(fid: int, mn: int, selector: dict[str, Any], start: str) -> dict[str, Any]:
    return {
        "op": "add-flow",
        "mn": mn_id(mn),
        "fid": fid,
        "priority": PRIORITY_STEP * fid,
        "selector": selector,
        "to": start,
    }


def _selector(spec: RunSpec, flow: Flow, address: IPv6Address) -> dict[str, Any]:
    if isinstance(flow, UdpFlow):
        return _udp_selector(spec, address, flow.port)
    protocol = UDP if isinstance(flow, QuicDownload) else TCP
    return _ends(spec, address, protocol, flow.port)


def _udp_selector(spec: RunSpec, address: IPv6Address, port: int) -> dict[str, Any]:
    return _ends(spec, address, UDP, port) | {"start_destination_port": port}


def _ends(spec: RunSpec, address: IPv6Address, protocol: int, port: int) -> dict[str, Any]:
    return {
        "start_source_address": str(correspondent_address(spec)),
        "start_destination_address": str(address),
        "start_next_header": protocol,
        "start_source_port": port,
    }
