"""What the protocol cores take in and put out.

The cores (`lma`, `mag`, `mn`) are pure: every input comes with the `Instant` at which it happened,
and what is to be done about it comes back as a list of actions, in the order in which they have to
be carried out. `daemon` reads sockets and carries out actions; tests do neither.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Any, NamedTuple

from nodes.flow_mobility_cache import FlowMobilityCacheEntry
from nodes.mn.flow_table import FlowTableEntry
from nodes.neighbour_discovery import RouterAdvertisement
from nodes.northbound import Request
from nodes.wire.attachment import AttachmentMessage
from nodes.wire.messages import Message

if TYPE_CHECKING:
    from nodes.lma.session_records import Record


class Instant(NamedTuple):
    """A point in time: `monotonic` (s) for timers, `unix_ns` for what leaves the node.

    Timers must not follow a clock that is set, and timestamps must (RFC 5213 section 5.5).
    """

    monotonic: float
    unix_ns: int


@dataclass(frozen=True, slots=True)
class Send:
    """Send a Mobility Header message."""

    message: Message
    source: IPv6Address
    destination: IPv6Address


@dataclass(frozen=True, slots=True)
class SendOnLink:
    """Send a message of layer-2 signalling over `interface` to a link-layer address."""

    message: AttachmentMessage
    interface: str
    destination: bytes


@dataclass(frozen=True, slots=True)
class Log:
    """Something happened that whoever reads the events wants to know."""

    event: str
    details: dict[str, Any] = field(default_factory=dict)


# The token of what nobody asked for: an order of a policy. Its reply goes nowhere.
NOBODY = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer of the control socket to request `token`: a result, or an error text."""

    token: int
    result: Any = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Persist:
    """Write these to stable storage before anything that comes after this is done
    (`nodes.lma.session_records`)."""

    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class EndAdoption:
    """All that an earlier start of this node left in the kernel, and that no action has asked for
    since this one started, is of no use any more."""


@dataclass(frozen=True, slots=True)
class OpenTunnel:
    """Establish the bi-directional tunnel to `peer` (RFC 5213 section 5.6.1)."""

    peer: IPv6Address


@dataclass(frozen=True, slots=True)
class CloseTunnel:
    peer: IPv6Address


@dataclass(frozen=True, slots=True)
class RoutePrefix:
    """Default path: packets to `prefix` go through the tunnel to `proxy_coa`."""

    prefix: IPv6Network
    proxy_coa: IPv6Address


@dataclass(frozen=True, slots=True)
class BlockPrefix:
    """Drop packets to `prefix` (RFC 5213 section 5.3.5: while a deregistration waits)."""

    prefix: IPv6Network


@dataclass(frozen=True, slots=True)
class UnroutePrefix:
    prefix: IPv6Network


@dataclass(frozen=True, slots=True)
class AcceptSources:
    """Packets that come through the tunnel of `peer` from these prefixes, from now on or no more;
    all others are dropped."""

    peer: IPv6Address
    came: tuple[IPv6Network, ...]
    left: tuple[IPv6Network, ...]


@dataclass(frozen=True, slots=True)
class InstallFlow:
    """Classify packets that match `entry`, from the next ForwardFlows on that gives it a path;
    `key` names the flow in this LMA. A later one with the same key replaces it."""

    key: int
    entry: FlowMobilityCacheEntry
    prefixes: tuple[IPv6Network, ...]
    mn_id: str


@dataclass(frozen=True, slots=True)
class RemoveFlow:
    key: int


@dataclass(frozen=True, slots=True)
class ForwardFlows:
    """The move itself, one atomic change however many flows it is of: a copy of each packet of flow
    `key` goes through the tunnel to each of its Proxy-CoAs from now on (RFC 6089 section 5.3.6).

    None of them: the entry is inactive and its packets take the default path.
    """

    paths: tuple[tuple[int, tuple[IPv6Address, ...]], ...]


@dataclass(frozen=True, slots=True)
class HoldFlows:
    """Hold number `hold`: from the next ForwardFlows of the flows `keys` on, the first of their
    packets waits for `hold_ms` before it goes through its tunnel, and those that come meanwhile
    wait behind it."""

    hold: int
    keys: tuple[int, ...]
    hold_ms: int


@dataclass(frozen=True, slots=True)
class ReleaseFlows:
    """No packet of a hold waits any more, but for those that have come before it."""

    hold: int


@dataclass(frozen=True, slots=True)
class EndHold:
    """All packets of a hold have left."""

    hold: int


@dataclass(frozen=True, slots=True)
class LabelFlow:
    """Tunnel headers of flow `key` carry this flow label from its next ForwardFlows on; 0: one of
    those that no flow has."""

    key: int
    label: int


@dataclass(frozen=True, slots=True)
class ConnectNorthbound:
    """Connect to the controller, and tell the core when that has worked or failed."""


@dataclass(frozen=True, slots=True)
class CloseNorthbound:
    """The core counts the controller as lost."""


@dataclass(frozen=True, slots=True)
class SendNorthbound:
    """Send a request to the controller: docs/northbound.md."""

    request: Request


@dataclass(frozen=True, slots=True)
class WatchUplink:
    """Tell over which tunnel packets from `prefix` come, flow by flow: its mobile node decides, and
    the LMA follows (RFC 7864 section 3.1)."""

    prefix: IPv6Network


@dataclass(frozen=True, slots=True)
class IgnoreUplink:
    prefix: IPv6Network


@dataclass(frozen=True, slots=True)
class HostPrefix:
    """Route `prefix` to the MN on `interface`, and what comes from it into the tunnel to `lma`.

    Holds for on-link prefixes and those with the L bit alike (RFC 7864 section 4.1); only the
    router advertisements differ. Without `mn_link_local` the MN is asked for by neighbour
    discovery. `local_routing`: what is local goes the short way (RFC 5213 section 6.10.3).
    """

    interface: str
    prefix: IPv6Network
    lma: IPv6Address
    mn_link_local: IPv6Address | None
    local_routing: bool = False


@dataclass(frozen=True, slots=True)
class UnhostPrefix:
    interface: str
    prefix: IPv6Network


@dataclass(frozen=True, slots=True)
class FilterFlows:
    """Of the packets from and to `prefixes` on `interface`, only those of `flows` pass: rows of the
    MAG's flow mobility cache (RFC 7864 section 5.2). It is the whole set."""

    interface: str
    prefixes: tuple[IPv6Network, ...] = ()
    flows: tuple[FlowMobilityCacheEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Advertise:
    """Send `advertisement` from the link-local address `router` on `interface`. The MTU option is
    for who sends it: that of the tunnel to `lma` (RFC 5213 section 6.9.2)."""

    interface: str
    advertisement: RouterAdvertisement
    router: IPv6Address
    destination: IPv6Address
    lma: IPv6Address

    @property
    def prefixes(self) -> tuple[IPv6Network, ...]:
        """Those that are there to stay."""
        found = self.advertisement.prefixes
        return tuple(option.prefix for option in found if option.valid_lifetime_s)

    @property
    def withdrawn(self) -> tuple[IPv6Network, ...]:
        found = self.advertisement.prefixes
        return tuple(option.prefix for option in found if not option.valid_lifetime_s)


@dataclass(frozen=True, slots=True)
class UseLinkLocal:
    """The MAG's own address on access `interface` from now on (RFC 5213 section 6.8)."""

    interface: str
    address: IPv6Address


@dataclass(frozen=True, slots=True)
class ProbeNeighbour:
    """Send a unicast Neighbour Solicitation (RFC 4861 section 7.3), from the MAG's address on that
    link; None: from any that it has there."""

    interface: str
    neighbour: IPv6Address
    source: IPv6Address | None


@dataclass(frozen=True, slots=True)
class TearDownLink:
    """End the point-to-point link with the MN (RFC 5213 section 6.9.1.4); it may attach anew."""

    interface: str


@dataclass(frozen=True, slots=True)
class Solicit:
    """Send a Router Solicitation on `interface`."""

    interface: str


@dataclass(frozen=True, slots=True)
class ProbeAddress:
    """Ask on `interface` whether anybody has `address` (RFC 4862 section 5.4.2)."""

    interface: str
    address: IPv6Address


@dataclass(frozen=True, slots=True)
class AssignAddress:
    """The logical interface gets an address of `prefix` (RFC 7847)."""

    prefix: IPv6Network


@dataclass(frozen=True, slots=True)
class UseRouter:
    """`router` is the default router of access `interface`, whose tunnel MTU is `mtu` octets."""

    interface: str
    router: IPv6Address
    mtu: int


@dataclass(frozen=True, slots=True)
class PreferAccess:
    """Packets from `prefix` that no flow entry claims leave through `interface`."""

    prefix: IPv6Network
    interface: str


@dataclass(frozen=True, slots=True)
class SteerUplink:
    """These flows, the first that matches, leave through the access of their row; all others as
    before. It is the whole set."""

    rows: tuple[FlowTableEntry, ...]


Action = (
    Send
    | SendOnLink
    | Log
    | Reply
    | Persist
    | EndAdoption
    | OpenTunnel
    | CloseTunnel
    | RoutePrefix
    | BlockPrefix
    | UnroutePrefix
    | AcceptSources
    | InstallFlow
    | RemoveFlow
    | ForwardFlows
    | HoldFlows
    | ReleaseFlows
    | EndHold
    | LabelFlow
    | ConnectNorthbound
    | CloseNorthbound
    | SendNorthbound
    | WatchUplink
    | IgnoreUplink
    | HostPrefix
    | UnhostPrefix
    | FilterFlows
    | Advertise
    | UseLinkLocal
    | ProbeNeighbour
    | TearDownLink
    | Solicit
    | ProbeAddress
    | AssignAddress
    | UseRouter
    | PreferAccess
    | SteerUplink
)


class Outbox:
    """What the parts of a core want done, in the order in which it has to happen."""

    def __init__(self) -> None:
        self._actions: list[Action] = []

    def put(self, *actions: Action) -> None:
        self._actions.extend(actions)

    def take(self) -> list[Action]:
        """Everything since the last call."""
        actions, self._actions = self._actions, []
        return actions
