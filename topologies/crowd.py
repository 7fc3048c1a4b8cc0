"""Several mobile nodes in a topology that describes one of them.

Experiments describe one mobile node, with its accesses; `count` says how many of it there are. The
others have links of their own, since a MAG and an MN are connected by point-to-point links (RFC
5213 section 6.3), which do to a packet what the first one's do. Node `mn` is followed by `mn2`,
`mn3`, ..., and access `wlan` by `wlan2`, `wlan3`, ...
"""

from __future__ import annotations

from typing import TypeVar

from msgspec.structs import replace

from topologies.model import Link, Node, Role, Topology

T = TypeVar("T", Link, Node)


def mobile_nodes(topology: Topology) -> list[str]:
    """The names of all mobile nodes, in order of their numbers, which begin with 1."""
    first = topology.node_with_role(Role.MN)
    return [numbered(first, number) for number in range(1, topology.nodes[first].count + 1)]


def number_of(topology: Topology, mn: str) -> int:
    """Raises ValueError if there is no such mobile node."""
    known = mobile_nodes(topology)
    if mn not in known:
        raise ValueError(f"{mn!r}; expected one of {', '.join(known)}")
    return known.index(mn) + 1


def numbered(name: str, number: int) -> str:
    """What a node, link or access is called at mobile node `number` that is `name` at the first."""
    return name if number == 1 else f"{name}{number}"


def expanded(topology: Topology) -> Topology:
    """With a node and links for each mobile node; the topology itself if there is one or none.
    Raises ValueError if names of the others are taken."""
    found = [name for name, node in topology.nodes.items() if node.count > 1]
    return _expanded(topology, found[0]) if found else topology


def _expanded(topology: Topology, first: str) -> Topology:
    nodes = dict(topology.nodes)
    nodes[first] = replace(nodes[first], count=1)
    links = dict(topology.links)
    for number in range(2, topology.nodes[first].count + 1):
        _add(nodes, "nodes", numbered(first, number), nodes[first])
        for name, link in topology.links.items():
            if first in link.ends:
                _add(links, "links", numbered(name, number), _link(link, first, number))
    return replace(topology, nodes=nodes, links=links)


def _link(link: Link, first: str, number: int) -> Link:
    if link.access is None:
        raise ValueError(f"nodes.{first}.count: more than 1; expected access links only")
    mag, _ = link.ends
    return replace(link, ends=(mag, numbered(first, number)), access=numbered(link.access, number))


def _add(table: dict[str, T], key: str, name: str, what: T) -> None:
    if name in table:
        raise ValueError(f"{key}.{name}: the name is that of another mobile node's")
    table[name] = what
