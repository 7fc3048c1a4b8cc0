"""Mobility options (RFC 6275 section 6.2), but for those about flows: see `flow_options`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from nodes.wire.compiler import element, vendor_element
from nodes.wire.flow_options import (
    BindingReference,
    FlowBindingActionSubOption,
    FlowIdentification,
    FlowSummary,
    TargetCareOfAddress,
)
from nodes.wire.layout import (
    Alignment,
    Layout,
    address,
    constant,
    flag,
    ipv6,
    octets,
    reserved,
    text,
    timestamp,
    uint,
)
from nodes.wire.tlv import (
    OPTIONS,
    VENDOR_DECODERS,
    Option,
    SubOption,
    UnknownOption,
    UnknownSubOption,
    refuse,
)
from nodes.wire.values import (
    AccessTechnology,
    HandoffHint,
    MobileNodeGroupSubtype,
    MobileNodeIdentifierSubtype,
    ProxyBindingStatus,
)

__all__ = [
    "AccessLinkReport",
    "AccessTechnologyType",
    "AlternateCareOfAddress",
    "BindingIdentifier",
    "BindingReference",
    "FlowBindingActionSubOption",
    "FlowIdentification",
    "FlowSummary",
    "HandoffIndicator",
    "HomeNetworkPrefix",
    "LinkLocalAddress",
    "MobileNodeGroupIdentifier",
    "MobileNodeIdentifier",
    "MobileNodeLinkLayerIdentifier",
    "Option",
    "RestartCounter",
    "SubOption",
    "TargetCareOfAddress",
    "Timestamp",
    "UnknownOption",
    "UnknownSubOption",
    "VendorSpecific",
]

UNSPECIFIED = IPv6Address(0)  # what RFC 5213 calls ALL_ZERO
_NS = 1_000_000_000


@lru_cache(maxsize=1 << 16)
def ipv6_network(network_address: IPv6Address, prefix_length: int) -> IPv6Network:
    return IPv6Network((int(network_address), prefix_length), strict=False)


@element(OPTIONS, Layout(3, "RFC 6275 section 6.2.5", (ipv6("address"),), Alignment(8, 6)))
@dataclass(frozen=True, slots=True)
class AlternateCareOfAddress(Option):
    """If present in a PBU it is the Proxy-CoA; the source address is then only where to reply."""

    address: IPv6Address


@element(
    OPTIONS,
    Layout(
        8,
        "RFC 4283 section 3",
        (
            uint("subtype", 8, values=MobileNodeIdentifierSubtype),
            text("identifier"),
        ),
    ),
)
@dataclass(frozen=True, slots=True)
class MobileNodeIdentifier(Option):
    """An empty identifier is what an LMA answers with when there was none (RFC 5213 5.3.1)."""

    identifier: bytes
    subtype: int = MobileNodeIdentifierSubtype.NAI

    @classmethod
    def of(cls, nai: str) -> MobileNodeIdentifier:
        return cls(nai.encode("utf-8", "surrogateescape"))

    @property
    def nai(self) -> str:
        """The identifier as text; octets that aren't UTF-8 survive the way through `of`."""
        return self.identifier.decode("utf-8", "surrogateescape")

    def names(self, nai: str) -> bool:
        """Whether it is this NAI, and no identifier of another kind with the same octets."""
        return self.subtype == MobileNodeIdentifierSubtype.NAI and self.nai == nai


@element(
    OPTIONS,
    Layout(
        19,
        "RFC 5094 section 3",
        (uint("vendor_id", 32), uint("sub_type", 8), octets("data")),
        Alignment(4, 2),
    ),
)
@dataclass(frozen=True, slots=True)
class VendorSpecific(Option):
    """Those of a vendor and sub-type that have a class of their own are decoded as that."""

    vendor_id: int
    sub_type: int
    data: bytes = b""

    def __post_init__(self) -> None:
        Option.__post_init__(self)
        if (self.vendor_id, self.sub_type) in VENDOR_DECODERS:
            expected = "a sub-type of that vendor that has no class of its own"
            raise refuse("VendorSpecific", "sub_type", self.sub_type, expected)


# RFC 5612: the enterprise number for examples. The project has none of its own.
FLOWMOB_VENDOR_ID = 32473
UNKNOWN_PERCENT = 255
UNKNOWN_DELAY = 65_535


@vendor_element(
    Layout(
        19,
        "RFC 5094 section 3, docs/access-link-report.md",
        (
            constant("vendor_id", 32, FLOWMOB_VENDOR_ID),
            constant("sub_type", 8, 1),
            uint("quality", 8),
            uint("load", 8),
            reserved(8),
            uint("queue_delay_ms", 16),
        ),
        Alignment(4, 2),
    ),
)
@dataclass(frozen=True, slots=True)
class AccessLinkReport(Option):
    """What a MAG says of the access link of a binding, in a PBU that extends it. Percent from 0 to
    100, or UNKNOWN_PERCENT; the delay of the queue towards the MN, or UNKNOWN_DELAY."""

    quality: int = UNKNOWN_PERCENT
    load: int = UNKNOWN_PERCENT
    queue_delay_ms: int = UNKNOWN_DELAY


@element(
    OPTIONS,
    Layout(
        22,
        "RFC 5213 section 8.3, RFC 7864 section 4.1",
        (
            flag("off_link", "L"),
            reserved(7),
            uint("prefix_length", 8, maximum=128),
            ipv6("address"),
        ),
        Alignment(8, 4),
    ),
)
@dataclass(frozen=True, slots=True)
class HomeNetworkPrefix(Option):
    """`address` is as on the wire, where bits beyond the prefix length may be set."""

    address: IPv6Address
    prefix_length: int
    off_link: bool = False

    @classmethod
    def of(cls, prefix: IPv6Network, off_link: bool = False) -> HomeNetworkPrefix:
        return cls(prefix.network_address, prefix.prefixlen, off_link)

    @property
    def prefix(self) -> IPv6Network:
        return ipv6_network(self.address, self.prefix_length)

    @property
    def all_zero(self) -> bool:
        """Asks the LMA for a prefix; RFC 5213 leaves the prefix length open then."""
        return self.address == UNSPECIFIED


@element(
    OPTIONS,
    Layout(23, "RFC 5213 section 8.4", (reserved(8), uint("hint", 8, values=HandoffHint))),
)
@dataclass(frozen=True, slots=True)
class HandoffIndicator(Option):
    hint: int


@element(
    OPTIONS,
    Layout(
        24, "RFC 5213 section 8.5", (reserved(8), uint("technology", 8, values=AccessTechnology))
    ),
)
@dataclass(frozen=True, slots=True)
class AccessTechnologyType(Option):
    technology: int


@element(
    OPTIONS,
    Layout(
        25,
        "RFC 5213 section 8.6",
        (reserved(16), octets("identifier")),
        # "Based on the size of the identifier, the option MUST be aligned appropriately": as a
        # field of the widest of 8, 4 and 2 octets that divides it, and 2 for the reserved field.
        Alignment(2),
        ((8, Alignment(8, 4)), (4, Alignment(4))),
    ),
)
@dataclass(frozen=True, slots=True)
class MobileNodeLinkLayerIdentifier(Option):
    identifier: bytes


@element(OPTIONS, Layout(26, "RFC 5213 section 8.7", (ipv6("address"),), Alignment(8, 6)))
@dataclass(frozen=True, slots=True)
class LinkLocalAddress(Option):
    address: IPv6Address

    @property
    def all_zero(self) -> bool:
        """Asks the LMA for an address."""
        return self.address == UNSPECIFIED


@element(OPTIONS, Layout(27, "RFC 5213 section 8.8", (timestamp("value"),), Alignment(8, 2)))
@dataclass(frozen=True, slots=True)
class Timestamp(Option):
    """`value` is raw: 48 bits of seconds since 1970 (UTC), then 16 bits of 1/65536 s."""

    value: int

    @classmethod
    def of_unix_ns(cls, nanoseconds: int) -> Timestamp:
        """Rounded down, so that a later time never gets a lower value."""
        return cls((nanoseconds << 16) // _NS)

    @classmethod
    def of_unix_seconds(cls, seconds: float) -> Timestamp:
        return cls(int(seconds * 65536))

    @property
    def unix_ns(self) -> int:
        """Rounded up, so that `of_unix_ns` gives back the same value."""
        return -(-self.value * _NS >> 16)

    @property
    def unix_seconds(self) -> float:
        return self.value / 65536


@element(OPTIONS, Layout(28, "RFC 5847 section 3.4", (uint("counter", 32),), Alignment(4, 2)))
@dataclass(frozen=True, slots=True)
class RestartCounter(Option):
    counter: int


@element(
    OPTIONS,
    Layout(
        35,
        "RFC 5648 section 4.3, RFC 6089 section 4.1",
        (
            uint("bid", 16),
            uint("status", 8, values=ProxyBindingStatus),
            flag("home_and_foreign", "H"),
            uint("priority", 7),
            address("care_of_address", optional=True),
        ),
        Alignment(2),
        ((4, Alignment(8, 2)),),
    ),
)
@dataclass(frozen=True, slots=True)
class BindingIdentifier(Option):
    """BID 0 and priority 0 are reserved, but a sender of RFC 5648 has zeros where RFC 6089 put
    the priority, so both are accepted here."""

    bid: int
    status: int = 0
    priority: int = 1
    home_and_foreign: bool = False
    care_of_address: IPv4Address | IPv6Address | None = None


# RFC 7077 section 4.1: all mobility sessions between that LMA and that MAG.
ALL_SESSIONS = 1


@element(
    OPTIONS,
    Layout(
        50,
        "RFC 6602, RFC 7077 section 4.1",
        (uint("subtype", 8, values=MobileNodeGroupSubtype), reserved(8), uint("group", 32)),
        Alignment(4),
    ),
)
@dataclass(frozen=True, slots=True)
class MobileNodeGroupIdentifier(Option):
    group: int = ALL_SESSIONS
    subtype: int = MobileNodeGroupSubtype.BULK_BINDING_UPDATE_GROUP
