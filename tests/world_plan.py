"""The domain of the property tests (`tests.world`): who is there, and how each is configured."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, NamedTuple

from nodes.actions import (
    Action,
    AssignAddress,
    PreferAccess,
    SteerUplink,
    UseRouter,
)
from nodes.config import (
    Access,
    AccessProfile,
    AttachmentPolicy,
    LayerTwoAccess,
    LmaConfig,
    MagConfig,
    MnConfig,
    MobileNodePolicy,
)
from nodes.heartbeat import Incarnation
from nodes.link_layer import link_local_address
from nodes.lma.local_mobility_anchor import LocalMobilityAnchor
from nodes.mag.mobile_access_gateway import MobileAccessGateway
from nodes.mn.mobile_node import MobileNode
from nodes.router_variables import RouterVariables
from nodes.wire.traffic_selector import PacketFields
from tests.domain import LMA, Forwarding

MAGS = {f"mag{n}": IPv6Address(f"2001:db8:1{n}::1") for n in (1, 2, 3)}
MAG_NAMES = {address: name for name, address in MAGS.items()}
POOL = IPv6Network("2001:db8:100::/48")
LIFETIME_S = 100


class Port(NamedTuple):
    """An interface of a mobile node, and that of each MAG that it can be linked with."""

    name: str
    mn_id: str
    technology: int
    number: int

    @property
    def link_layer(self) -> bytes:
        return bytes((2, 0, 0, 0, 1, self.number))

    @property
    def link_local(self) -> IPv6Address:
        return link_local_address(self.link_layer)


MOBILE_NODES = tuple(f"mn{n}@example.org" for n in (1, 2, 3))
PORTS = {
    port.name: port
    for number, port in enumerate(
        (
            Port("mn1-wlan", MOBILE_NODES[0], 4, 1),
            Port("mn1-cell", MOBILE_NODES[0], 8, 2),
            Port("mn2-wlan", MOBILE_NODES[1], 4, 3),
            Port("mn2-cell", MOBILE_NODES[1], 8, 4),
            Port("mn2-wlan2", MOBILE_NODES[1], 4, 5),
            Port("mn3-cell", MOBILE_NODES[2], 8, 6),
        )
    )
}


@dataclass(frozen=True)
class Plan:
    """How a domain is configured. `handoffs`: the handoff indicator of each port in turn. `state`:
    whether nodes keep their Restart Counter in a file, and `sessions` whether the LMA does its own.
    `deaf`: the MAGs that know no Update Notifications."""

    policies: tuple[MobileNodePolicy, ...] = (MobileNodePolicy(),) * 3
    layer_2: bool = False
    state: bool = True
    sessions: bool = False
    deaf: tuple[str, ...] = ()
    detection: str = "link"
    handoffs: tuple[int, ...] = (1,) * len(PORTS)
    lma: dict[str, Any] = field(default_factory=dict)
    domain: dict[str, Any] = field(default_factory=dict)


@dataclass
class Host:
    """The kernel of a mobile node. `marks`: the port that a flow's last packet came over."""

    own: bool
    prefixes: set[IPv6Network] = field(default_factory=set)
    preferred: dict[IPv6Network, str] = field(default_factory=dict)
    steered: SteerUplink = field(default_factory=lambda: SteerUplink(()))
    marks: dict[PacketFields, str] = field(default_factory=dict)

    def perform(self, action: Action) -> None:
        match action:
            case AssignAddress(prefix):
                assert prefix not in self.prefixes, action
                self.prefixes.add(prefix)
            case PreferAccess(prefix, interface):
                assert prefix in self.prefixes, action
                assert self.preferred.get(prefix) != interface, action
                self.preferred[prefix] = interface
            case SteerUplink():
                self.steered = action
            case UseRouter(mtu=mtu):
                assert mtu >= 1280, action

    def way_out(self, down: PacketFields) -> str | None:
        """The port that the answer to packet `down` leaves through."""
        if self.own:
            for row in self.steered.rows:
                if row.selector.matches(down):
                    return row.interface
        elif down in self.marks:
            return self.marks[down]
        assert isinstance(down.destination, IPv6Address)
        return next((p for net, p in self.preferred.items() if down.destination in net), None)


@dataclass
class Node:
    core: Any
    kernel: Any


def make_node(plan: Plan, name: str, incarnation: Incarnation) -> Node:
    """A node of that name, with a kernel that knows nothing."""
    rng = random.Random(f"{name}/{incarnation.restart_counter}")
    heartbeat = {"heartbeat_interval_s": 30, "missing_heartbeats_allowed": 1}
    common: dict[str, Any] = {"events": Path("/dev/null"), **heartbeat, **plan.domain}
    if name == "lma":
        config = LmaConfig(
            **common,
            address=LMA,
            mobile_nodes=dict(zip(MOBILE_NODES, plan.policies, strict=True)),
            accesses={"wlan": Access(4, 10), "cell": Access(8, 20)},
            authorized_mags=tuple(MAGS.values()),
            max_lifetime_s=LIFETIME_S,
            sessions=Path("sessions") if plan.sessions else None,
            **{"prefix_pool": POOL, **plan.lma},
        )
        return Node(LocalMobilityAnchor(config, rng, incarnation), Forwarding())
    if name in MAGS:
        return Node(
            MobileAccessGateway(_mag_config(plan, name, common), rng, incarnation), Forwarding()
        )
    return _make_mn(plan, name, rng.randrange(0x10000))


def _mag_config(plan: Plan, name: str, common: dict[str, Any]) -> MagConfig:
    access: dict[str, Any] = {
        "access_interfaces": {
            port.name: AccessProfile(
                mn_id=port.mn_id,
                access_technology=port.technology,
                link_layer_id=port.link_layer.hex(":"),
                handoff_indicator=handoff,
                detection=plan.detection,  # type: ignore[arg-type]
            )
            for port, handoff in zip(PORTS.values(), plan.handoffs, strict=True)
        }
    }
    if plan.layer_2:
        access = {
            "access_interfaces": {},
            "layer_2_interfaces": tuple(PORTS),
            "mobile_nodes": {
                mn_id: AttachmentPolicy(access_technologies=(4, 8)) for mn_id in MOBILE_NODES
            },
        }
    return MagConfig(
        **common,
        **access,
        proxy_coa=MAGS[name],
        lma=LMA,
        lifetime_s=LIFETIME_S,
        update_notifications=name not in plan.deaf,
        router=RouterVariables(max_rtr_adv_interval_s=30),
    )


def _make_mn(plan: Plan, mn_id: str, sequence: int) -> Node:
    policy = plan.policies[MOBILE_NODES.index(mn_id)]
    ports = [port for port in PORTS.values() if port.mn_id == mn_id]
    handoffs = dict(zip(PORTS, plan.handoffs, strict=True))
    own = policy.decision_maker == "mn"
    config = MnConfig(
        events=Path("/dev/null"),
        logical_interface="lif",
        access_interfaces=tuple(port.name for port in ports),
        interface_id=1,
        uplink="own" if own else "reflective",
        mn_id=mn_id,
        layer_2={
            port.name: LayerTwoAccess(
                access_technology=port.technology, handoff_indicator=handoffs[port.name]
            )
            for port in ports
            if plan.layer_2
        },
    )
    return Node(MobileNode(config, sequence), Host(own))
