"""A controller without OpenFlow: it makes rules of the LMA's requests with ovs-ofctl, at the first
switch alone. For tests of what LMA and MAGs do, whatever the controller is."""

from __future__ import annotations

import socket
from ipaddress import IPv6Address

from nodes import northbound
from nodes.strict import from_json, to_json
from topologies.model import Role, Topology
from topologies.openvswitch import Switches
from topologies.plan import mac
from topologies.switching import ports

BRANCH = "s1"  # of topologies/switched.toml: where the paths to the MAGs part
BASE, PREFIX, FLOW = 10, 100, 200


class NorthboundStub:
    def __init__(self, switches: Switches) -> None:
        self._switches = switches
        topology = switches.topology
        self._nodes = {
            node.address: name
            for name, node in topology.nodes.items()
            if node.role in (Role.LMA, Role.MAG) and node.address is not None
        }
        self._lma = topology.nodes["lma"].address
        self._ingress = f"in_port={_port(topology, BRANCH, 'lma')}"
        self._flows: dict[int, northbound.Flow] = {}
        self._installed: dict[int, list[str]] = {}
        self._assisted = False
        for switch in topology.switches:
            self._add(switch, f"priority=1,ipv6,actions={self._towards(switch, 'lma')}")
            for address, name in self._nodes.items():
                actions = self._towards(switch, name)
                self._add(switch, f"priority={BASE},ipv6,ipv6_dst={address},actions={actions}")

    def serve(self, listener: socket.socket) -> None:
        """Every connection of the LMA, one after the other, for good."""
        while True:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as lines:
                for line in lines:
                    request: northbound.Request = from_json(
                        line,
                        northbound.Request,  # type: ignore[arg-type]
                        "request",
                    )
                    self._carry_out(request)
                    reply = northbound.Reply(id=request.id, ok=True)
                    connection.sendall(to_json(reply) + b"\n")

    def _carry_out(self, request: northbound.Request) -> None:
        match request:
            case northbound.Sync():
                self._assisted = request.mode == "sdn-assisted"
                for path in request.prefixes:
                    self._attach(path)
            case northbound.Attach(path=path):
                self._attach(path)
            case northbound.AddFlow(flow=flow, path=path):
                self._flows[flow.key] = flow
                self._steer(path)
            case northbound.MoveFlows(paths=paths):
                for path in paths:
                    self._steer(path)
            case northbound.RemoveFlow(key=key):
                self._remove(key)

    def _attach(self, path: northbound.PrefixPath) -> None:
        if path.mag is None or self._assisted:
            return
        name = self._nodes[path.mag]
        for switch in self._switches.topology.switches:
            # Packets from MAGs go to the LMA first.
            ingress = f"{self._ingress}," if switch == BRANCH else ""
            target = name if switch == BRANCH else self._behind(switch)
            rule = f"{ingress}ipv6,ipv6_dst={path.prefix}"
            self._add(switch, f"priority={PREFIX},{rule},actions={self._towards(switch, target)}")

    def _behind(self, switch: str) -> str:
        (found,) = [p.peer for p in ports(self._switches.topology)[switch] if "mag" in p.peer]
        return found

    def _steer(self, path: northbound.FlowPath) -> None:
        self._remove(path.key)
        flow = self._flows[path.key]
        if not path.mags or path.mags == (path.anchor,):
            return
        (target,) = path.mags
        actions = self._towards(BRANCH, self._nodes[target])
        if path.anchor is not None:
            match = f"ipv6,ipv6_src={self._lma},ipv6_dst={path.anchor},ipv6_label={flow.label}"
            actions = f"set_field:{target}->ipv6_dst,{actions}"
        else:
            port = flow.selector["start_destination_port"]
            match = f"{self._ingress},udp6,ipv6_dst={flow.prefixes[0]},tp_dst={port}"
        self._installed[path.key] = [match]
        self._add(BRANCH, f"priority={FLOW},{match},actions={actions}")

    def _remove(self, key: int) -> None:
        for match in self._installed.pop(key, []):
            self._switches.ofctl("del-flows", BRANCH, "--strict", f"priority={FLOW},{match}")

    def _towards(self, switch: str, node: str) -> str:
        """Out of the port on the way to `node`; the last switch says whose the frame is."""
        topology = self._switches.topology
        for port in ports(topology)[switch]:
            if port.peer == node:
                return f"set_field:{mac(topology, port.link, node)}->eth_dst,output:{port.number}"
        next_switch = BRANCH
        if switch == BRANCH:
            next_switch = next(
                name for name, its in ports(topology).items() if any(p.peer == node for p in its)
            )
        return f"output:{_port(topology, switch, next_switch)}"

    def _add(self, switch: str, rule: str) -> None:
        self._switches.ofctl("add-flow", switch, rule)


def _port(topology: Topology, switch: str, peer: str) -> int:
    (number,) = [port.number for port in ports(topology)[switch] if port.peer == peer]
    return number


def run_stub(switches: Switches, address: IPv6Address, port: int) -> None:
    """Serves until it is ended."""
    with socket.create_server((str(address), port), family=socket.AF_INET6) as listener:
        NorthboundStub(switches).serve(listener)
