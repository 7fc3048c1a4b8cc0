"""Configuration of the LMA, MAG and MN daemons, as they read it from TOML or are given it.

Names are those of RFC 5213 section 9 and RFC 7077 section 8 where these have one. Durations are in
the unit that the name ends with.
"""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from nodes.controller_config import ControllerConfig, MagDataPlane, check_hold, check_lma, check_mag
from nodes.controller_config import Fallback as NativeFallback
from nodes.host_variables import HostVariables
from nodes.ipsec.config import Ipsec
from nodes.link_layer import LINK_LAYER_ADDRESS_OCTETS, parse_link_layer_id
from nodes.northbound import Mode
from nodes.router_variables import PrefixLifetime, RouterVariables

Milliseconds = Annotated[int, msgspec.Meta(ge=0)]
Octet = Annotated[int, msgspec.Meta(ge=0, le=255)]
Priority = Annotated[int, msgspec.Meta(ge=1, le=127)]

PrefixModel = Literal["shared", "unique", "hybrid"]
SwitchPolicy = Literal["on-ack", "on-send"]
PrefixDelivery = Literal["on-move", "at-attach"]
Granularity = Literal["prefix", "flow"]
Fallback = Literal["registration", "refuse"]

# RFC 5213 leaves the length of a home network prefix open. Mobile nodes make their addresses
# themselves, for which RFC 4862 and 64-bit interface identifiers need this one.
HOME_NETWORK_PREFIX_LENGTH = 64
MAX_PREFIXES_PER_SESSION = 16

# The prefix value ALL_ZERO asks the LMA to choose (RFC 5213 section 8.3).
ANY_PREFIX = IPv6Network("::/0")
HANDOFF_STATE_NOT_CHANGED = 5

# RFC 6543: the addresses reserved for every MAG of a domain to have on every access link.
FIXED_MAG_LINK_LOCAL_ADDRESS = IPv6Address("fe80::200:5eff:fe00:5213")
FIXED_MAG_LINK_LAYER_ADDRESS = bytes.fromhex("00005e005213")


class MobileNodePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The LMA's policy for one mobile node.

    `prefixes` are assigned in this order as attachments need them; when they are used up the pool
    provides. `decision_maker` takes the decisions about moves: the LMA, with an operator and
    `policies` (`nodes.lma.policies.make_policy`), or the MN, which the LMA then follows. `switch`
    says when packets take the new path of a flow that needs signalling: after the FMA, or as soon
    as the FMI is sent. With the `granularity` of flows the MAGs are told of each flow besides the
    prefixes (RFC 7864 section 3.4). What no flow needs any more stays at a MAG for
    `withdrawal_delay_ms`. A move to a MAG that knows no Update Notifications is complete with the
    next registration there, whose PBA tells what an FMI would have, or refused: `fallback`. A new
    session gets `prefixes_per_session` prefixes of its own. `mags` are
    the Proxy-CoAs that may register this node (RFC 5213 section 4); empty: every authorized MAG.
    `hold_ms`: how long the first packets of a flow that moves wait (`nodes.lma.path_hold`).
    """

    prefix_model: PrefixModel = "unique"
    prefixes_per_session: Annotated[int, msgspec.Meta(ge=1, le=MAX_PREFIXES_PER_SESSION)] = 1
    mags: tuple[IPv6Address, ...] = ()
    prefix_delivery: PrefixDelivery = "on-move"
    switch: SwitchPolicy = "on-ack"
    granularity: Granularity = "prefix"
    withdrawal_delay_ms: Milliseconds = 10_000
    hold_ms: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0
    fallback: Fallback = "registration"
    prefixes: tuple[IPv6Network, ...] = ()
    enabled: bool = True
    decision_maker: Literal["lma", "mn"] = "lma"
    policies: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        # RFC 7864 section 3.1: the decision MUST NOT be taken by both.
        if self.decision_maker == "mn" and self.policies:
            raise ValueError(
                'policies are those of an LMA that decides, and decision_maker is "mn"; '
                "expected one of them per mobile node"
            )
        for prefix in self.prefixes:
            if prefix.prefixlen != HOME_NETWORK_PREFIX_LENGTH:
                raise ValueError(
                    f"prefixes has {prefix}; expected prefixes of {HOME_NETWORK_PREFIX_LENGTH} bits"
                )
        if self.granularity == "flow" and self.prefix_delivery == "at-attach":
            raise ValueError(
                'prefix_delivery is "at-attach", which saves the signalling of moves, and '
                'granularity is "flow", which needs it; expected one of them'
            )


class Access(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kind of access as the LMA knows it: access technology type and preference (BID-PRI)."""

    technology: Octet
    priority: Priority


class DaemonConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all daemons have. `seed` makes initial sequence numbers repeatable; without it they
    come from the system's random source. There may be a control socket (docs/control-socket.md)."""

    events: Path
    control_socket: Path | None = None
    seed: int | None = None


class PeerConfig(DaemonConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What LMA and MAG have for watching each other (RFC 5847 section 5), and for protecting what
    they say (RFC 5213 section 4). `state` is the file that the Restart Counter is kept in."""

    heartbeat_interval_s: Annotated[int, msgspec.Meta(ge=30, le=3_600)] = 60
    missing_heartbeats_allowed: Annotated[int, msgspec.Meta(ge=0)] = 3
    state: Path | None = None
    ipsec: Ipsec | None = None


class DomainConfig(PeerConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all LMAs and MAGs of a domain have the same values of (RFC 5213 section 9.3). The fixed
    addresses have those of RFC 6543; ALL_ZERO means that there is none."""

    timestamp_based_approach_in_use: bool = True
    mobile_node_generated_timestamp_in_use: bool = False
    fixed_mag_link_local_address_on_all_access_links: IPv6Address = FIXED_MAG_LINK_LOCAL_ADDRESS
    fixed_mag_link_layer_address_on_all_access_links: str = FIXED_MAG_LINK_LAYER_ADDRESS.hex(":")

    def __post_init__(self) -> None:
        # RFC 5213 section 9.3: MUST NOT be 1 if TimestampBasedApproachInUse is 0.
        if self.mobile_node_generated_timestamp_in_use and not self.timestamp_based_approach_in_use:
            raise ValueError(
                "mobile_node_generated_timestamp_in_use is true; expected false, because "
                "timestamp_based_approach_in_use is false"
            )
        link_local = self.fixed_mag_link_local_address_on_all_access_links
        if not (link_local.is_link_local or link_local.is_unspecified):
            raise ValueError(
                f"fixed_mag_link_local_address_on_all_access_links is {link_local}; expected a "
                "link-local address, or :: for none"
            )
        if len(self.fixed_link_layer_address) not in (0, LINK_LAYER_ADDRESS_OCTETS):
            raise ValueError(
                "fixed_mag_link_layer_address_on_all_access_links is "
                f'"{self.fixed_mag_link_layer_address_on_all_access_links}"; expected 6 octets'
            )

    @property
    def fixed_link_layer_address(self) -> bytes:
        """Nothing, or octets of zero, where access links have none."""
        return parse_link_layer_id(self.fixed_mag_link_layer_address_on_all_access_links)


class EgressAddress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From where a MAG signals that has this Proxy-CoA (RFC 5213 section 6.9.1.5)."""

    address: IPv6Address
    proxy_coa: IPv6Address


class LmaConfig(DomainConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`max_delay_before_new_bce_assign_ms` of 0: a request with handoff state unknown doesn't wait
    (RFC 5213 section 5.4.1.2 wants this to be configurable). `revoke_on_handover`: the MAG that a
    mobile node leaves is told, or asked (RFC 5846 section 8.1). `data_plane`: who makes the paths,
    and of what: docs/sdn.md. `fabric_interface`: where packets go natively. `authorized_mags` are
    Proxy-CoAs; those of them that signal from another address have it in `egress_addresses`.
    `internet_interfaces`: where packets from outside the domain arrive (`kernel.source_filter`).
    `sessions`: the file that the binding cache and the flow mobility cache are kept in; without
    one, a start forgets them."""

    address: IPv6Address
    prefix_pool: IPv6Network
    mobile_nodes: dict[str, MobileNodePolicy]
    accesses: dict[str, Access]
    authorized_mags: tuple[IPv6Address, ...]
    egress_addresses: tuple[EgressAddress, ...] = ()
    sessions: Path | None = None
    data_plane: Mode = "tunnel"
    controller: ControllerConfig | None = None
    fabric_interface: str | None = None
    internet_interfaces: tuple[str, ...] = ()
    # Resources that have an end: a BID has 16 bits.
    max_bindings: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 65_535
    max_waiting_messages: Annotated[int, msgspec.Meta(ge=1)] = 8_192
    # RFC 5213 section 9.1
    min_delay_before_bce_delete_ms: Milliseconds = 10_000
    max_delay_before_new_bce_assign_ms: Milliseconds = 1_500
    timestamp_validity_window_ms: Milliseconds = 300
    max_lifetime_s: Annotated[int, msgspec.Meta(ge=4, le=262_140)] = 3_600
    # RFC 7077 section 8
    min_delay_between_update_notification_replay_ms: Annotated[
        int, msgspec.Meta(ge=500, le=5_000)
    ] = 1_000
    max_update_notification_retransmit_count: Annotated[int, msgspec.Meta(ge=0, le=5)] = 1
    # RFC 5846 section 11
    bri_max_retries_number: Annotated[int, msgspec.Meta(ge=0)] = 1
    init_min_delay_bris_ms: Annotated[int, msgspec.Meta(ge=500)] = 1_000
    max_brack_timeout_ms: Annotated[int, msgspec.Meta(ge=500)] = 2_000
    revoke_on_handover: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prefix_pool.prefixlen > HOME_NETWORK_PREFIX_LENGTH:
            raise ValueError(
                f"prefix_pool is {self.prefix_pool}; expected at most {HOME_NETWORK_PREFIX_LENGTH} "
                "bits, the length of the prefixes that come from it"
            )
        if self.sessions is not None and self.data_plane != "tunnel":
            raise ValueError(
                f'sessions is "{self.sessions}", and data_plane is "{self.data_plane}"; expected '
                'no sessions on disk but with "tunnel"'
            )
        deciding = (mn for mn, policy in self.mobile_nodes.items() if policy.decision_maker == "mn")
        check_lma(self.data_plane, self.controller, self.fabric_interface, tuple(deciding))
        for mn_id, policy in self.mobile_nodes.items():
            check_hold(f"mobile_nodes.{mn_id}.hold_ms", policy.hold_ms, self.data_plane)
            for mag in policy.mags:
                if mag not in self.authorized_mags:
                    raise ValueError(
                        f"mobile_nodes.{mn_id}.mags has {mag}; expected some of authorized_mags"
                    )
        for egress in self.egress_addresses:
            if egress.proxy_coa not in self.authorized_mags:
                raise ValueError(
                    f"egress_addresses has proxy_coa {egress.proxy_coa}; "
                    "expected one of authorized_mags"
                )
            if egress.address in self.authorized_mags:
                raise ValueError(
                    f"egress_addresses has address {egress.address}, which is in authorized_mags, "
                    "too; expected one that is no Proxy-CoA"
                )


class LinkReports(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a MAG reports an access link: changes of at least a step (percent points, ms), and not
    more often than every `min_interval_s`, whose least value is that of MAX_UPDATE_RATE."""

    min_interval_s: Annotated[float, msgspec.Meta(ge=0.334)] = 1.0
    quality_step: Annotated[int, msgspec.Meta(ge=1, le=100)] = 5
    load_step: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10
    queue_delay_step_ms: Annotated[int, msgspec.Meta(ge=1, le=65_534)] = 20


class AccessProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who attaches to an access interface, and the policy profile (RFC 5213 section 6.2): the MAG's
    policy store.

    `link_layer_id` is empty if the MAG doesn't know it; the node's Router Solicitations may tell.
    `home_network_prefixes` are asked for; without any the LMA assigns. What is None is as the
    MAG's configuration has it. `detection`: `link` if the interface has a carrier if and only if
    the node is there; `neighbour` for a link without such events, where the node is there from its
    first solicitation until Neighbour Unreachability Detection fails (section 6.13).
    """

    mn_id: str
    access_technology: Octet
    link_layer_id: str = ""
    handoff_indicator: Annotated[int, msgspec.Meta(ge=1, le=6)] = 1
    mobility_service: bool = True
    lma: IPv6Address | None = None
    home_network_prefixes: tuple[IPv6Network, ...] = ()
    prefix_lifetime_s: PrefixLifetime | None = None
    address_configuration: Literal["stateless", "stateful", "both"] = "stateless"
    local_routing: bool | None = None
    detection: Literal["link", "neighbour"] = "link"

    def __post_init__(self) -> None:
        if not 0 < len(self.mn_id.encode()) < 255:
            raise ValueError(f"mn_id is {self.mn_id!r}; expected 1 to 254 octets (RFC 4283)")


class AttachmentPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the MAG's policy store lets a mobile node claim with layer-2 signalling; without
    `link_layer_ids`, it may have any."""

    access_technologies: tuple[Octet, ...]
    link_layer_ids: tuple[str, ...] = ()


class MagConfig(DomainConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`egress_address`: the source of what the MAG signals if that isn't its Proxy-CoA, which an
    Alternate Care-of Address option tells then (RFC 5213 section 6.9.1.5). `local_networks`:
    fixed nodes at the MAG's other interfaces (6.10.3). `path_mtu`: to the LMA, where path MTU
    discovery can't tell (6.9.5). Without `update_notifications` it is one that never heard of RFC
    7077, and refuses these as any unknown message (RFC 6275 section 9.2). `data_plane`: native
    packets of mobile nodes go over `fabric_interface`, without a tunnel; `fallback` is the LMA's:
    whether it may use the tunnel all the same, which packets have to fit into then."""

    proxy_coa: IPv6Address
    lma: IPv6Address
    # Who attaches is known by the interface; or the node tells: docs/layer-2-signalling.md.
    access_interfaces: dict[str, AccessProfile]
    layer_2_interfaces: tuple[str, ...] = ()
    mobile_nodes: dict[str, AttachmentPolicy] = {}
    egress_address: IPv6Address | None = None
    local_networks: tuple[IPv6Network, ...] = ()
    path_mtu: Annotated[int, msgspec.Meta(ge=1_320, le=65_535)] | None = None
    data_plane: MagDataPlane = "tunnel"
    fallback: NativeFallback = "refuse"
    fabric_interface: str | None = None
    lifetime_s: Annotated[int, msgspec.Meta(ge=4, le=262_140)] = 3_600
    update_notifications: bool = True
    # RFC 5213 section 9.2
    enable_mag_local_routing: bool = False
    # RFC 6275 section 12
    initial_bindack_timeout_ms: Annotated[int, msgspec.Meta(ge=1)] = 1_000
    max_bindack_timeout_ms: Annotated[int, msgspec.Meta(ge=1)] = 32_000
    max_update_rate: Annotated[int, msgspec.Meta(ge=1)] = 3
    router: RouterVariables = RouterVariables()
    link_reports: LinkReports = LinkReports()

    def __post_init__(self) -> None:
        super().__post_init__()
        for interface, profile in self.access_interfaces.items():
            if profile.handoff_indicator == HANDOFF_STATE_NOT_CHANGED:
                # RFC 5213 section 6.9.1.3: for a session that this MAG has registered already.
                raise ValueError(
                    f"access_interfaces.{interface}.handoff_indicator is 5; "
                    "expected that of an attachment: 1 to 4, or 6"
                )
        for interface in self.layer_2_interfaces:
            if interface in self.access_interfaces:
                raise ValueError(
                    f"layer_2_interfaces has {interface!r}, which is in access_interfaces, too; "
                    "expected one way to attach per interface"
                )
        check_mag(self.data_plane, self.fabric_interface, self.interfaces, len(self.lmas))

    @property
    def interfaces(self) -> tuple[str, ...]:
        """All access interfaces."""
        return (*self.access_interfaces, *self.layer_2_interfaces)

    @property
    def lmas(self) -> set[IPv6Address]:
        """That of the MAG, and those of mobile nodes that have another."""
        profiles = self.access_interfaces.values()
        return {self.lma, *(profile.lma for profile in profiles if profile.lma)}


class LayerTwoAccess(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the mobile node attaches with layer-2 signalling: when the link comes up, with this
    handoff indicator, or when it is ordered to."""

    access_technology: Octet
    handoff_indicator: Annotated[int, msgspec.Meta(ge=1, le=6)] = 1
    attach: Literal["link-up", "order"] = "link-up"


class MnConfig(DaemonConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`uplink`: `reflective` sends a flow back over the interface that it arrives on (RFC 7847);
    `static` maps destination ports to an access interface each, which is used while it is up,
    whatever the network does; `own` is for a node that decides itself, flow by flow. `duplicates`:
    whether of the copies of a packet that come over several accesses all are kept, or the first
    only. `mag_link_layer_address`: where layer-2 signalling goes to, which is the same on all
    access links of a domain (RFC 5213 section 9.3)."""

    logical_interface: str
    access_interfaces: tuple[str, ...]
    interface_id: Annotated[int, msgspec.Meta(ge=1, le=0x7FFF_FFFF_FFFF_FFFF)]
    uplink: Literal["reflective", "static", "own"] = "reflective"
    static_policy: dict[str, str] = {}
    host: HostVariables = HostVariables()
    duplicates: Literal["keep", "remove"] = "keep"
    # The access interfaces with layer-2 signalling, and who the node says that it is.
    layer_2: dict[str, LayerTwoAccess] = {}
    mn_id: str = ""
    mag_link_layer_address: str = FIXED_MAG_LINK_LAYER_ADDRESS.hex(":")

    def __post_init__(self) -> None:
        for table, interfaces in (
            ("layer_2", self.layer_2),
            ("static_policy", self.static_policy.values()),
        ):
            for interface in interfaces:
                if interface not in self.access_interfaces:
                    known = ", ".join(self.access_interfaces)
                    raise ValueError(f"{table} has {interface!r}; expected one of {known}")
        for port in self.static_policy:
            if not (port.isdecimal() and 0 < int(port) <= 0xFFFF):
                raise ValueError(f"static_policy has {port!r}; expected a port, 1 to 65535")
        mag = self.mag_link_layer_address
        if len(parse_link_layer_id(mag)) != LINK_LAYER_ADDRESS_OCTETS:
            raise ValueError(f"mag_link_layer_address is {mag!r}; expected 6 octets")
        if self.layer_2 and not self.mn_id:
            raise ValueError("mn_id is ''; expected an identifier, for layer_2 needs one")
