"""A topology as data: nodes, links and what a link does to a packet in each direction.

Read from TOML (`reference.toml` explains the keys) and checked here; `topologies.network` builds
the Mininet network from it. Nothing in this module needs Mininet or root.
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv6Address, IPv6Network
from typing import Annotated, Literal

import msgspec

NonNegative = Annotated[float, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]
MobileNodeCount = Annotated[int, msgspec.Meta(ge=1, le=250)]
PacketCount = Annotated[int, msgspec.Meta(ge=1)]

BITS_PER_BYTE = 8


class Role(StrEnum):
    CORRESPONDENT = "correspondent"
    LMA = "lma"
    ROUTER = "router"
    MAG = "mag"
    MN = "mn"
    SWITCH = "switch"
    CONTROLLER = "controller"


class Node(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`count`: so many mobile nodes of this kind, each with links of its own to the same MAGs
    (`topologies.crowd`)."""

    role: Role
    address: IPv6Address | None = None
    count: MobileNodeCount = 1


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one direction of a link overrides."""

    delay_ms: NonNegative | None = None
    rate_mbit: Positive | None = None
    loss: Probability | None = None
    queue_packets: PacketCount | None = None


class Direction(msgspec.Struct, frozen=True):
    """One direction of a link, complete. Delay in ms, rate in Mbit/s (None: not limited)."""

    delay_ms: float = 0.0
    rate_mbit: float | None = None
    loss: float = 0.0
    queue_packets: int = 1000

    def serialisation_ms(self, frame_bytes: int) -> float:
        """Time on the wire of a frame of `frame_bytes`, in ms."""
        if self.rate_mbit is None:
            return 0.0
        return frame_bytes * BITS_PER_BYTE / (self.rate_mbit * 1000)

    def one_way_ms(self, frame_bytes: int) -> float:
        """Delay of a frame that finds the queue empty, in ms."""
        return self.delay_ms + self.serialisation_ms(frame_bytes)


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A link between `ends[0]`, the side of the correspondent node, and `ends[1]`.

    A link with `network` is numbered: its first end gets ::1 and its second ::2, unless the node
    at that end has an address of its own in that network. A link with `access` is a
    point-to-point link between a MAG and an MN (RFC 5213 section 6.3) with link-local addresses.

    A link between switches has neither. A link between a switch and another node has the network
    of all nodes on the connected switches, and the node has an address in it. A link between a
    switch and the controller is numbered and carries that switch's OpenFlow channel alone.
    """

    ends: tuple[str, str]
    network: IPv6Network | None = None
    access: str | None = None
    delay_ms: NonNegative = 0.0
    rate_mbit: Positive | None = None
    loss: Probability = 0.0
    queue_packets: PacketCount = 1000
    down: Shape = Shape()
    up: Shape = Shape()

    def direction(self, shape: Shape) -> Direction:
        return Direction(
            delay_ms=self.delay_ms if shape.delay_ms is None else shape.delay_ms,
            rate_mbit=self.rate_mbit if shape.rate_mbit is None else shape.rate_mbit,
            loss=self.loss if shape.loss is None else shape.loss,
            queue_packets=(
                self.queue_packets if shape.queue_packets is None else shape.queue_packets
            ),
        )

    @property
    def downlink(self) -> Direction:
        return self.direction(self.down)

    @property
    def uplink(self) -> Direction:
        return self.direction(self.up)

    def interface(self, end: str) -> str:
        """Name of the interface that node `end` has on this link: after the access, because MN and
        MAG may have several links with one another, or after the node at the other end."""
        first, second = self.ends
        return f"{end}-{self.access or (second if end == first else first)}"


class Switching(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How the switches of a topology run; probes and backoff as Open vSwitch has them.

    `datapath`: packets are forwarded by the kernel's module (`system`) or by ovs-vswitchd itself
    (`netdev`, for kernels without the module). `flow_cache`: packets are forwarded by what the
    datapath has learnt from those before, which follows a change of rules up to 5 ms and counters
    up to 500 ms later, and takes a tenth of the real time; without, every packet is looked up in
    the tables, and a rule whose barrier is answered is in force (docs/sdn.md). A switch sends its
    controller an echo request after `inactivity_probe_ms` of silence (0: never) and, once it has
    lost it, tries again after 1 s, 2 s, ... `max_backoff_ms` (Open vSwitch's own default is 8 s).
    """

    datapath: Literal["netdev", "system"] = "system"
    flow_cache: bool = False
    openflow_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 6653
    inactivity_probe_ms: Annotated[int, msgspec.Meta(ge=0)] = 5000
    max_backoff_ms: Annotated[int, msgspec.Meta(ge=1000)] = 1000


class Topology(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    nodes: dict[str, Node]
    links: dict[str, Link]
    switching: Switching = Switching()

    def __post_init__(self) -> None:
        for name, node in self.nodes.items():
            if node.count > 1 and node.role is not Role.MN:
                raise ValueError(
                    f"nodes.{name}.count: {node.count}; expected 1, as its role isn't {Role.MN}"
                )
        for name, link in self.links.items():
            for end in link.ends:
                if end not in self.nodes:
                    raise ValueError(
                        f"links.{name}.ends: {end!r} is not a node; expected one of "
                        f"{', '.join(self.nodes)}"
                    )

    def node_with_role(self, role: Role) -> str:
        """The one node of a role that a topology has once; ValueError if there is not just one."""
        names = [name for name, node in self.nodes.items() if node.role is role]
        if len(names) != 1:
            raise ValueError(f"topology: expected one node of role {role}, found {names}")
        return names[0]

    def has_role(self, node: str, role: Role) -> bool:
        return self.nodes[node].role is role

    @property
    def switches(self) -> list[str]:
        return [name for name in self.nodes if self.has_role(name, Role.SWITCH)]

    def access_link(self, access: str) -> Link:
        for link in self.links.values():
            if link.access == access:
                return link
        raise ValueError(f"topology: no link has access = {access!r}")

    @property
    def accesses(self) -> dict[str, Link]:
        return {link.access: link for link in self.links.values() if link.access is not None}
