"""From a run's description to the configuration of each node in it."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, NamedTuple

from controllers.config import LOOPBACK, RedirectionConfig, Timers
from controllers.process import ControllerConfig as ControllerProcess
from experiments.declaration.spec import RunSpec
from experiments.emulation.signalling_keys import node_keys
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
from nodes.controller_config import ControllerConfig
from nodes.ipsec.config import Ipsec
from nodes.strict import to_builtins
from nodes.wire.messages import AccessTechnology, HandoffHint
from topologies.crowd import expanded, mobile_nodes, numbered
from topologies.fabric import fabric_description
from topologies.ingress import internet_interfaces
from topologies.model import Link, Role, Topology
from topologies.plan import LOGICAL_INTERFACE, MAG_MAC, end_address, mac
from topologies.switching import datapath_ids, switch_of

DOMAIN = "flowmob.example"
# The interface identifier of the logical interface: its address in every prefix ends with it.
INTERFACE_ID = 0x1
APPLICATION = "controllers.application:RedirectionApplication"
HOME_PREFIX_POOL = IPv6Network("2001:db8:100::/48")
TECHNOLOGIES = {
    "wlan": Access(AccessTechnology.IEEE_802_11, 10),
    "cell": Access(AccessTechnology.EUTRAN, 20),
}


def mn_id(number: int) -> str:
    """The MN-Identifier of the mobile node with this number."""
    return f"mn{number}@{DOMAIN}"


MN_ID = mn_id(1)


class Roles(NamedTuple):
    """`mns`: by node, in order of their numbers; `controller`: that of a topology with switches."""

    lma: LmaConfig
    mags: dict[str, MagConfig]
    mns: dict[str, MnConfig]
    controller: ControllerProcess | None = None


class _AccessLink(NamedTuple):
    """An access link of a mobile node; `access` is what the first one's is called, which says of
    what kind it is."""

    access: str
    mn: int
    link: Link
    mac: str


def _access_links(topology: Topology) -> list[_AccessLink]:
    """All of them, mobile node by mobile node."""
    full, found = expanded(topology), []
    for number in range(1, len(mobile_nodes(topology)) + 1):
        for name, link in topology.links.items():
            if link.access is not None:
                own = numbered(name, number)
                mac_address = mac(full, own, full.links[own].ends[1])
                found.append(_AccessLink(link.access, number, full.links[own], mac_address))
    return found


def address_of(spec: RunSpec, node: str) -> IPv6Address:
    address = spec.topology.nodes[node].address
    if address is None:
        raise ValueError(
            f"nodes.{node}.address: missing; a {spec.topology.nodes[node].role} has one"
        )
    return address


def configure(spec: RunSpec, events: Path, control_socket: Path, seed: int) -> Roles:
    """`events`: the folder in which each daemon writes its own file; `control_socket` is the LMA's,
    those of MAGs and MN lie beside it and are named after the node."""
    topology, protocol, variables = spec.topology, spec.protocol, spec.variables
    links, nodes = _access_links(topology), mobile_nodes(topology)
    mn_ids = [mn_id(number) for number in range(1, len(nodes) + 1)]
    lma = topology.node_with_role(Role.LMA)
    mags = [name for name, node in topology.nodes.items() if node.role is Role.MAG]
    policy = variables.of_mobile_node(
        MobileNodePolicy(
            prefix_model=protocol.prefix_model,
            prefix_delivery=protocol.prefix_delivery,
            switch=protocol.switch,
            granularity=protocol.granularity,
            withdrawal_delay_ms=round(protocol.withdrawal_delay_s * 1000),
            decision_maker=protocol.decision_maker,
            policies=protocol.policies,
        )
    )
    lma_config = LmaConfig(
        events=events / f"{lma}.jsonl",
        seed=seed,
        address=address_of(spec, lma),
        control_socket=control_socket,
        state=control_socket.with_name(f"{lma}.state"),
        sessions=(
            control_socket.with_name(f"{lma}.sessions") if protocol.data_plane == "tunnel" else None
        ),
        prefix_pool=HOME_PREFIX_POOL,
        mobile_nodes=dict.fromkeys(mn_ids, policy),
        accesses={name: _technology(name) for name in topology.accesses},
        authorized_mags=tuple(address_of(spec, mag) for mag in mags),
        min_delay_between_update_notification_replay_ms=round(
            protocol.notification_retransmit_delay_s * 1000
        ),
        max_update_notification_retransmit_count=protocol.notification_retransmit_count,
        data_plane=protocol.data_plane,
        controller=_northbound(spec),
        fabric_interface=_fabric_interface(spec, lma),
        internet_interfaces=internet_interfaces(topology, lma),
        ipsec=_ipsec(spec, lma, control_socket.parent),
    )
    layer_2 = protocol.attachment == "layer-2"
    handoff = {access: _handoff(spec, access) for access in topology.accesses}
    mag_configs = {
        mag: MagConfig(
            events=events / f"{mag}.jsonl",
            seed=seed,
            control_socket=control_socket.with_name(f"{mag}.sock"),
            proxy_coa=address_of(spec, mag),
            lma=lma_config.address,
            state=control_socket.with_name(f"{mag}.state"),
            access_interfaces={
                entry.link.interface(mag): AccessProfile(
                    mn_id=mn_id(entry.mn),
                    access_technology=_technology(entry.access).technology,
                    link_layer_id=entry.mac,
                    handoff_indicator=int(handoff[entry.access]),
                )
                for entry in links
                if entry.link.ends[0] == mag and not layer_2
            },
            layer_2_interfaces=tuple(
                entry.link.interface(mag)
                for entry in links
                if entry.link.ends[0] == mag and layer_2
            ),
            mobile_nodes=dict.fromkeys(
                mn_ids if layer_2 else (),
                AttachmentPolicy(
                    access_technologies=tuple(
                        _technology(access).technology for access in topology.accesses
                    )
                ),
            ),
            data_plane="native" if protocol.data_plane == "sdn-core" else "tunnel",
            fallback=protocol.fallback,
            fabric_interface=_fabric_interface(spec, mag),
            ipsec=_ipsec(spec, mag, control_socket.parent),
        )
        for mag in mags
    }
    lma_config = variables.of_lma(lma_config)
    mag_configs = {mag: variables.of_mag(config) for mag, config in mag_configs.items()}
    mn_configs = {
        mn: MnConfig(
            events=events / f"{mn}.jsonl",
            seed=seed,
            control_socket=control_socket.with_name(f"{mn}.sock"),
            logical_interface=LOGICAL_INTERFACE,
            access_interfaces=tuple(
                entry.link.interface(mn) for entry in links if entry.mn == number
            ),
            interface_id=INTERFACE_ID,
            mn_id=mn_id(number),
            mag_link_layer_address=(
                lma_config.fixed_mag_link_layer_address_on_all_access_links
                if any(lma_config.fixed_link_layer_address)
                else MAG_MAC
            ),
            layer_2={
                entry.link.interface(mn): LayerTwoAccess(
                    access_technology=_technology(entry.access).technology,
                    handoff_indicator=int(handoff[entry.access]),
                    attach="order" if spec.dynamic(entry.access) else "link-up",
                )
                for entry in links
                if entry.mn == number and layer_2
            },
            duplicates=protocol.duplicates,
            host=variables.host,
            uplink="own" if protocol.decision_maker == "mn" else protocol.uplink,
            static_policy=(
                {
                    str(flow.port): entry.link.interface(mn)
                    for flow in spec.flows.values()
                    for entry in links
                    if (entry.mn, entry.access) == (number, flow.start)
                }
                if protocol.uplink == "static"
                else {}
            ),
        )
        for number, mn in enumerate(nodes, start=1)
    }
    return Roles(lma_config, mag_configs, mn_configs, _controller(spec, events, seed, lma_config))


def _ipsec(spec: RunSpec, node: str, state: Path) -> Ipsec | None:
    if spec.protocol.protection == "none":
        return None
    own_keys = spec.protocol.protection == "keys"
    return Ipsec(security_associations=node_keys(state, node) if own_keys else None)


def _northbound(spec: RunSpec) -> ControllerConfig | None:
    """Where the LMA finds the controller: at its end of the link between them."""
    if spec.protocol.data_plane == "tunnel":
        return None
    controller = spec.topology.node_with_role(Role.CONTROLLER)
    address = end_address(spec.topology, _northbound_link(spec), controller)
    return ControllerConfig(address=address, fallback=spec.protocol.fallback)


def _northbound_link(spec: RunSpec) -> Link:
    topology = spec.topology
    ends = {topology.node_with_role(Role.LMA), topology.node_with_role(Role.CONTROLLER)}
    for link in topology.links.values():
        if set(link.ends) == ends:
            return link
    raise ValueError(f"topology.links: none between {' and '.join(sorted(ends))}; expected one")


def _fabric_interface(spec: RunSpec, node: str) -> str | None:
    if spec.protocol.data_plane != "sdn-core":
        return None
    at = switch_of(spec.topology, node)
    assert at is not None  # a RunSpec is checked for it
    return at.interface


def _controller(spec: RunSpec, events: Path, seed: int, lma: LmaConfig) -> ControllerProcess | None:
    """In tunnel mode, nobody tells it of flows: switches have its base rules."""
    topology = spec.topology
    if not any(topology.has_role(name, Role.CONTROLLER) for name in topology.nodes):
        return None
    config = RedirectionConfig(
        events=events / f"{topology.node_with_role(Role.CONTROLLER)}.jsonl",
        fabric=fabric_description(topology),
        datapath_ids=datapath_ids(topology),
        **({} if lma.controller is None else _northbound_side(spec, lma.controller)),
    )
    return ControllerProcess(
        application=APPLICATION,
        arguments={"config": to_builtins(config)},
        framework=spec.protocol.framework,
        port=topology.switching.openflow_port,
        seed=seed,
    )


def _northbound_side(spec: RunSpec, client: ControllerConfig) -> dict[str, Any]:
    """The controller's end of what the LMA has been told. Rules are listed from its own node."""
    lma = spec.topology.node_with_role(Role.LMA)
    return {
        "northbound_address": IPv6Address("::"),
        "northbound_port": client.port,
        "lma_addresses": (end_address(spec.topology, _northbound_link(spec), lma), LOOPBACK),
        "timers": Timers(request_timeout_ms=client.request_timeout_ms),
    }


def _handoff(spec: RunSpec, access: str) -> HandoffHint:
    """What a MAG without layer-2 signalling says of an MN that comes: it knows by policy alone."""
    if any(event.do == "handover" and event.access == access for event in spec.events.values()):
        return HandoffHint.HANDOFF_BETWEEN_INTERFACES
    if spec.protocol.prefix_model == "shared":
        return HandoffHint.NEW_INTERFACE_SHARING_PREFIXES
    return HandoffHint.NEW_INTERFACE


def _technology(access: str) -> Access:
    if access not in TECHNOLOGIES:
        known = ", ".join(TECHNOLOGIES)
        raise ValueError(f"topology.links: access is {access!r}; expected one of {known}")
    return TECHNOLOGIES[access]
