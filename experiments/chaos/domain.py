"""From a scenario to the topology and to the configuration of each node in it."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import NamedTuple

from experiments.chaos.scenario import (
    ACCESSES,
    Mobile,
    Scenario,
    link_name,
    mag_name,
    mn_name,
)
from experiments.emulation.roles import HOME_PREFIX_POOL, INTERFACE_ID, mn_id
from nodes.config import (
    AccessProfile,
    AttachmentPolicy,
    LayerTwoAccess,
    LmaConfig,
    MagConfig,
    MnConfig,
    MobileNodePolicy,
)
from nodes.router_variables import RouterVariables
from nodes.wire.messages import HandoffHint
from topologies.model import Link, Node, Role, Topology
from topologies.plan import LOGICAL_INTERFACE, MAG_MAC, mac

CN, LMA, CORE = "cn", "lma", "core"
CN_ADDRESS, LMA_ADDRESS = IPv6Address("2001:db8:1::2"), IPv6Address("2001:db8:10::1")
FIRST_PORT = 20_000
CN_LINK_DELAY_MS, LMA_LINK_DELAY_MS = 5.0, 1.0


class Domain(NamedTuple):
    lma: LmaConfig
    mags: dict[str, MagConfig]
    mns: dict[str, MnConfig]


def mag_address(number: int) -> IPv6Address:
    return IPv6Network("2001:db8:20::/44")[(number << 64) + 1]


def port_of(flow: int) -> int:
    """Both ends of a flow have it, and no other flow."""
    return FIRST_PORT + flow


def topology(scenario: Scenario) -> Topology:
    nodes = {
        CN: Node(Role.CORRESPONDENT, CN_ADDRESS),
        LMA: Node(Role.LMA, LMA_ADDRESS),
        CORE: Node(Role.ROUTER),
    }
    links = {
        "cn-lma": _wire(CN, LMA, CN_ADDRESS, CN_LINK_DELAY_MS),
        "lma-core": _wire(LMA, CORE, LMA_ADDRESS, LMA_LINK_DELAY_MS),
    }
    for number in range(1, scenario.mags + 1):
        mag, address = mag_name(number), mag_address(number)
        nodes[mag] = Node(Role.MAG, address)
        links[f"core-{mag}"] = _wire(CORE, mag, address, scenario.core_delay_ms)
    for mobile in scenario.mobiles:
        nodes[mn_name(mobile.number)] = Node(Role.MN)
        for access, interface in mobile.interfaces.items():
            name = link_name(access, mobile.number)
            ends = (mag_name(interface.mag), mn_name(mobile.number))
            links[name] = Link(ends, access=name, delay_ms=interface.delay_ms)
    return Topology(nodes, links)


def _wire(first: str, second: str, address: IPv6Address, delay_ms: float) -> Link:
    network = IPv6Network((address, 64), strict=False)
    return Link((first, second), network, delay_ms=delay_ms)


def configure(scenario: Scenario, built: Topology, events: Path, state: Path) -> Domain:
    """`events`: the folder in which each daemon writes its own file; control sockets and state
    files lie in `state`, named after the node."""
    return Domain(
        lma_config(scenario, events, state, {}),
        {
            mag_name(number): _mag(scenario, built, number, events, state)
            for number in range(1, scenario.mags + 1)
        },
        {
            mn_name(mobile.number): _mn(scenario, built, mobile, events, state)
            for mobile in scenario.mobiles
        },
    )


def lma_config(
    scenario: Scenario, events: Path, state: Path, changed: dict[int, MobileNodePolicy]
) -> LmaConfig:
    """`changed`: policies of mobile nodes that aren't the scenario's any more."""
    return LmaConfig(
        events=events / f"{LMA}.jsonl",
        seed=scenario.seed,
        address=LMA_ADDRESS,
        control_socket=state / f"{LMA}.sock",
        state=state / f"{LMA}.state",
        sessions=state / f"{LMA}.sessions",
        prefix_pool=HOME_PREFIX_POOL,
        mobile_nodes={
            mn_id(mobile.number): changed.get(mobile.number, mobile.policy)
            for mobile in scenario.mobiles
        },
        accesses=ACCESSES,
        authorized_mags=tuple(mag_address(n) for n in range(1, scenario.mags + 1)),
        max_lifetime_s=scenario.lifetime_s,
        heartbeat_interval_s=scenario.heartbeat_interval_s,
        missing_heartbeats_allowed=1,
        revoke_on_handover=scenario.revoke_on_handover,
    )


def handoff(mobile: Mobile) -> HandoffHint:
    """What is said of an interface that comes without being told more."""
    if mobile.policy.prefix_model == "shared":
        return HandoffHint.NEW_INTERFACE_SHARING_PREFIXES
    return HandoffHint.NEW_INTERFACE


def _mag(scenario: Scenario, built: Topology, number: int, events: Path, state: Path) -> MagConfig:
    mag = mag_name(number)
    by_link = scenario.attachment == "link"
    here = [
        (mobile, access, link_name(access, mobile.number))
        for mobile in scenario.mobiles
        for access, interface in mobile.interfaces.items()
        if interface.mag == number
    ]
    profiles = {
        built.links[name].interface(mag): AccessProfile(
            mn_id=mn_id(mobile.number),
            access_technology=ACCESSES[access].technology,
            link_layer_id=mac(built, name, mn_name(mobile.number)),
            handoff_indicator=int(handoff(mobile)),
        )
        for mobile, access, name in here
    }
    technologies = tuple(access.technology for access in ACCESSES.values())
    return MagConfig(
        events=events / f"{mag}.jsonl",
        seed=scenario.seed,
        control_socket=state / f"{mag}.sock",
        state=state / f"{mag}.state",
        proxy_coa=mag_address(number),
        lma=LMA_ADDRESS,
        access_interfaces=profiles if by_link else {},
        layer_2_interfaces=() if by_link else tuple(profiles),
        mobile_nodes={
            mn_id(mobile.number): AttachmentPolicy(access_technologies=technologies)
            for mobile, _, _ in here
            if not by_link
        },
        lifetime_s=scenario.lifetime_s,
        heartbeat_interval_s=scenario.heartbeat_interval_s,
        missing_heartbeats_allowed=1,
        router=RouterVariables(),
    )


def _mn(scenario: Scenario, built: Topology, mobile: Mobile, events: Path, state: Path) -> MnConfig:
    mn = mn_name(mobile.number)
    interfaces = {
        access: built.links[link_name(access, mobile.number)].interface(mn)
        for access in mobile.interfaces
    }
    return MnConfig(
        events=events / f"{mn}.jsonl",
        seed=scenario.seed,
        control_socket=state / f"{mn}.sock",
        logical_interface=LOGICAL_INTERFACE,
        access_interfaces=tuple(interfaces.values()),
        interface_id=INTERFACE_ID,
        mn_id=mn_id(mobile.number),
        mag_link_layer_address=MAG_MAC,
        layer_2={
            interface: LayerTwoAccess(
                access_technology=ACCESSES[access].technology,
                handoff_indicator=int(handoff(mobile)),
                attach="order",
            )
            for access, interface in interfaces.items()
            if scenario.attachment == "layer-2"
        },
        duplicates=mobile.duplicates,
    )
