"""What the switches of a topology are, computed from the data alone: no Open vSwitch, no root.

A switch's datapath identifier is its place among the switches, from 1. Its ports are numbered from
1 in the order in which links are declared; the link to its controller is no port.
"""

from __future__ import annotations

from typing import NamedTuple

from topologies.model import Link, Role, Topology


class Port(NamedTuple):
    """A port of a switch: its OpenFlow number and interface, and what is at its link's far end."""

    number: int
    interface: str
    link: str
    peer: str


def is_control_channel(topology: Topology, link: Link) -> bool:
    """Whether a link carries the OpenFlow channel of the switch at one end of it."""
    roles = {topology.nodes[end].role for end in link.ends}
    return roles == {Role.SWITCH, Role.CONTROLLER}


def switch_components(topology: Topology) -> dict[str, int]:
    """Per switch, the number of the group of connected switches that it belongs to."""
    component = {name: number for number, name in enumerate(topology.switches)}
    for link in topology.links.values():
        first, second = link.ends
        if first in component and second in component:
            keep, give_up = component[first], component[second]
            component |= {n: keep for n, number in component.items() if number == give_up}
    return component


def datapath_ids(topology: Topology) -> dict[str, int]:
    """The datapath identifier of every switch."""
    return {name: number for number, name in enumerate(topology.switches, start=1)}


def switch_of(topology: Topology, node: str) -> Port | None:
    """Where `node`, which is no switch, is at one: its own interface, and the switch as `peer`. The
    number is that of the switch's port. None: it is at none."""
    for switch, own in ports(topology).items():
        for port in own:
            if port.peer == node:
                interface = topology.links[port.link].interface(node)
                return Port(port.number, interface, port.link, switch)
    return None


def ports(topology: Topology) -> dict[str, list[Port]]:
    """The ports of every switch, in the order of their numbers."""
    plan: dict[str, list[Port]] = {name: [] for name in topology.switches}
    for name, link in topology.links.items():
        if is_control_channel(topology, link):
            continue
        for end, peer in (link.ends, link.ends[::-1]):
            if end in plan:
                plan[end].append(Port(len(plan[end]) + 1, link.interface(end), name, peer))
    return plan


def control_channels(topology: Topology) -> dict[str, str]:
    """Per switch that has a controller, the name of the link to it. ValueError if there are two."""
    plan: dict[str, str] = {}
    for name, link in topology.links.items():
        if is_control_channel(topology, link):
            (switch,) = [end for end in link.ends if topology.has_role(end, Role.SWITCH)]
            if switch in plan:
                raise ValueError(f"links.{name}: {switch} has a controller on {plan[switch]}")
            plan[switch] = name
    return plan
