"""The switched part of a topology as a controller needs to know it."""

from __future__ import annotations

from controllers.fabric import FabricDescription, FabricNode, Link
from topologies.model import Role, Topology
from topologies.plan import end_address, mac
from topologies.switching import ports


def fabric_description(topology: Topology) -> FabricDescription:
    """The switches and what is at their ports. ValueError if a port has another node than an LMA or
    a MAG behind it, or not exactly one has the LMA."""
    nodes: dict[Role, list[FabricNode]] = {Role.LMA: [], Role.MAG: []}
    links: dict[str, list[tuple[str, int]]] = {}
    for switch, own in ports(topology).items():
        for port in own:
            role = topology.nodes[port.peer].role
            if role is Role.SWITCH:
                links.setdefault(port.link, []).append((switch, port.number))
            elif role not in nodes:
                raise ValueError(f"links.{port.link}: {port.peer} can't be at a switch")
            else:
                address = end_address(topology, topology.links[port.link], port.peer)
                nodes[role].append(
                    FabricNode(
                        name=port.peer,
                        addresses=(address,),
                        mac=mac(topology, port.link, port.peer),
                        switch=switch,
                        port=port.number,
                    )
                )
    if len(nodes[Role.LMA]) != 1:
        raise ValueError(f"{len(nodes[Role.LMA])} ports have an LMA behind them; expected one")
    return FabricDescription(
        switches=tuple(topology.switches),
        links=tuple(
            Link(switch=switch, port=port, peer=peer, peer_port=peer_port)
            for (switch, port), (peer, peer_port) in links.values()
        ),
        lma=nodes[Role.LMA][0],
        mags=tuple(nodes[Role.MAG]),
    )
