"""From a run's description to the configuration of each node in it."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import NamedTuple

from controllers.config import RedirectionConfig
from controllers.process import ControllerConfig as ControllerProcess
from experiments.spec import RunSpec
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
from nodes.strict import to_builtins
from nodes.wire.messages import AccessTechnology, HandoffHint
from topologies.fabric import fabric_description
from topologies.model import Role
from topologies.plan import LOGICAL_INTERFACE, MAG_MAC, end_address, mac
from topologies.switching import datapath_ids, switch_of

MN_ID = "mn1@flowmob.example"
# The interface identifier of the logical interface: its address in every prefix ends with it.
INTERFACE_ID = 0x1
APPLICATION = "controllers.application:RedirectionApplication"
HOME_PREFIX_POOL = IPv6Network("2001:db8:100::/48")
TECHNOLOGIES = {
    "wlan": Access(AccessTechnology.IEEE_802_11, 10),
    "cell": Access(AccessTechnology.EUTRAN, 20),
}


class Roles(NamedTuple):
    """`controller`: that of a topology with switches."""

    lma: LmaConfig
    mags: dict[str, MagConfig]
    mn: MnConfig
    controller: ControllerProcess | None = None


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
    lma = topology.node_with_role(Role.LMA)
    mags = [name for name, node in topology.nodes.items() if node.role is Role.MAG]
    lma_config = LmaConfig(
        events=events / f"{lma}.jsonl",
        seed=seed,
        address=address_of(spec, lma),
        control_socket=control_socket,
        state=control_socket.with_name(f"{lma}.state"),
        prefix_pool=HOME_PREFIX_POOL,
        mobile_nodes={
            MN_ID: variables.of_mobile_node(
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
        },
        accesses={name: _technology(name) for name in topology.accesses},
        authorized_mags=tuple(address_of(spec, mag) for mag in mags),
        min_delay_between_update_notification_replay_ms=round(
            protocol.notification_retransmit_delay_s * 1000
        ),
        max_update_notification_retransmit_count=protocol.notification_retransmit_count,
        data_plane=protocol.data_plane,
        controller=_northbound(spec),
        fabric_interface=_fabric_interface(spec, lma),
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
                link.interface(mag): AccessProfile(
                    mn_id=MN_ID,
                    access_technology=_technology(access).technology,
                    link_layer_id=mac(topology, _link_name(spec, access), link.ends[1]),
                    handoff_indicator=int(handoff[access]),
                )
                for access, link in topology.accesses.items()
                if link.ends[0] == mag and not layer_2
            },
            layer_2_interfaces=tuple(
                link.interface(mag)
                for link in topology.accesses.values()
                if link.ends[0] == mag and layer_2
            ),
            mobile_nodes={
                MN_ID: AttachmentPolicy(
                    access_technologies=tuple(
                        _technology(access).technology for access in topology.accesses
                    )
                )
            }
            if layer_2
            else {},
            data_plane="native" if protocol.data_plane == "sdn-core" else "tunnel",
            fabric_interface=_fabric_interface(spec, mag),
        )
        for mag in mags
    }
    lma_config = variables.of_lma(lma_config)
    mag_configs = {mag: variables.of_mag(config) for mag, config in mag_configs.items()}
    mn = topology.node_with_role(Role.MN)
    mn_config = MnConfig(
        events=events / f"{mn}.jsonl",
        seed=seed,
        control_socket=control_socket.with_name(f"{mn}.sock"),
        logical_interface=LOGICAL_INTERFACE,
        access_interfaces=tuple(link.interface(mn) for link in topology.accesses.values()),
        interface_id=INTERFACE_ID,
        mn_id=MN_ID,
        mag_link_layer_address=(
            lma_config.fixed_mag_link_layer_address_on_all_access_links
            if any(lma_config.fixed_link_layer_address)
            else MAG_MAC
        ),
        layer_2={
            link.interface(mn): LayerTwoAccess(
                access_technology=_technology(access).technology,
                handoff_indicator=int(handoff[access]),
                attach="order" if spec.dynamic(access) else "link-up",
            )
            for access, link in topology.accesses.items()
            if layer_2
        },
        duplicates=protocol.duplicates,
        uplink="own" if protocol.decision_maker == "mn" else protocol.uplink,
        static_policy=(
            {
                str(flow.port): topology.access_link(flow.start).interface(mn)
                for flow in spec.flows.values()
            }
            if protocol.uplink == "static"
            else {}
        ),
    )
    return Roles(lma_config, mag_configs, mn_config, _controller(spec, events, seed))


def _northbound(spec: RunSpec) -> ControllerConfig | None:
    """Where the LMA finds the controller: at its end of the link between them."""
    if spec.protocol.data_plane == "tunnel":
        return None
    topology = spec.topology
    ends = {topology.node_with_role(Role.LMA), topology.node_with_role(Role.CONTROLLER)}
    for link in topology.links.values():
        if set(link.ends) == ends:
            address = end_address(topology, link, topology.node_with_role(Role.CONTROLLER))
            return ControllerConfig(address=address, fallback=spec.protocol.fallback)
    raise ValueError(f"topology.links: none between {' and '.join(sorted(ends))}; expected one")


def _fabric_interface(spec: RunSpec, node: str) -> str | None:
    if spec.protocol.data_plane != "sdn-core":
        return None
    at = switch_of(spec.topology, node)
    assert at is not None  # a RunSpec is checked for it
    return at.interface


def _controller(spec: RunSpec, events: Path, seed: int) -> ControllerProcess | None:
    """In tunnel mode, nobody tells it of flows: switches have its base rules."""
    topology = spec.topology
    if not any(topology.has_role(name, Role.CONTROLLER) for name in topology.nodes):
        return None
    config = RedirectionConfig(
        events=events / f"{topology.node_with_role(Role.CONTROLLER)}.jsonl",
        fabric=fabric_description(topology),
        datapath_ids=datapath_ids(topology),
    )
    return ControllerProcess(
        application=APPLICATION,
        arguments={"config": to_builtins(config)},
        framework=spec.protocol.framework,
        port=topology.switching.openflow_port,
        seed=seed,
    )


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


def _link_name(spec: RunSpec, access: str) -> str:
    return next(name for name, link in spec.topology.links.items() if link.access == access)
