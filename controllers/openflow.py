"""Rules of OpenFlow 1.3 switches as data, which the framework's messages are made from.

A rule is the same as another if table, priority and match are: adding it replaces the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import Any

ETH_TYPE_IPV6 = 0x86DD

# Bits of the match fields in use (OpenFlow 1.3.5 section 7.2.3.7), by their names in os-ken and
# Ryu, and those that take a mask. The ports take none by the specification; Open vSwitch and both
# frameworks do with the same encoding.
FIELD_BITS = {
    "in_port": 32,
    "eth_type": 16,
    "ipv6_src": 128,
    "ipv6_dst": 128,
    "ipv6_flabel": 20,
    "ip_dscp": 6,
    "ip_proto": 8,
    "tcp_src": 16,
    "tcp_dst": 16,
    "udp_src": 16,
    "udp_dst": 16,
    "sctp_src": 16,
    "sctp_dst": 16,
}
UNMASKED = frozenset({"in_port", "eth_type", "ip_dscp", "ip_proto"})
_ADDRESSES = ("ipv6_src", "ipv6_dst")

FieldValue = int | tuple[int, int] | IPv6Address | IPv6Network


@dataclass(frozen=True, slots=True)
class Match:
    """Name, value and mask of each field, in order of the names. Bits of the value that the mask
    doesn't have are 0, and so no two that match the same packets differ."""

    fields: tuple[tuple[str, int, int], ...] = ()

    @classmethod
    def of(cls, fields: Mapping[str, FieldValue]) -> Match:
        """Values are numbers, pairs of value and mask, addresses, or prefixes. A field whose mask
        is 0 is left out. Raises ValueError for what the field can't have."""
        found = []
        for name, given in sorted(fields.items()):
            if name not in FIELD_BITS:
                raise ValueError(f"{name} is {given!r}; expected one of {', '.join(FIELD_BITS)}")
            full = (1 << FIELD_BITS[name]) - 1
            value, mask = _value_and_mask(given, full)
            if not 0 <= value <= full or not 0 <= mask <= full:
                raise ValueError(f"{name} is {given!r}; expected {FIELD_BITS[name]} bits")
            if mask not in (0, full) and name in UNMASKED:
                raise ValueError(f"{name} is {given!r}; expected no mask")
            if mask:
                found.append((name, value & mask, mask))
        return cls(tuple(found))

    @classmethod
    def of_ipv6(cls, **fields: FieldValue) -> Match:
        """Of IPv6 packets: what all fields of IPv6 and beyond need."""
        return cls.of({"eth_type": ETH_TYPE_IPV6, **fields})

    def get(self, name: str) -> tuple[int, int] | None:
        """Value and mask."""
        for field, value, mask in self.fields:
            if field == name:
                return value, mask
        return None

    def to_openflow(self) -> dict[str, Any]:
        """The arguments of the frameworks' OFPMatch: addresses as text, a pair if masked."""
        found: dict[str, Any] = {}
        for name, value, mask in self.fields:
            full = (1 << FIELD_BITS[name]) - 1
            shown: tuple[Any, ...] = (value, mask)
            if name in _ADDRESSES:
                shown = (str(IPv6Address(value)), str(IPv6Address(mask)))
            found[name] = shown[0] if mask == full else shown
        return found

    @classmethod
    def from_openflow(cls, fields: Mapping[str, Any]) -> Match:
        """The way back, for what a switch says that it has."""
        return cls.of(
            {n: _numbers(value) if n in FIELD_BITS else value for n, value in fields.items()}
        )


def _value_and_mask(given: FieldValue, full: int) -> tuple[int, int]:
    if isinstance(given, tuple):
        return given
    if isinstance(given, IPv6Network):
        return int(given.network_address), int(given.netmask)
    return int(given), full


def _numbers(value: Any) -> FieldValue:
    if isinstance(value, list | tuple):
        first, second = (_number(part) for part in value)
        return first, second
    return _number(value)


def _number(value: Any) -> int:
    if not isinstance(value, str | int):
        raise ValueError(f"{value!r} is neither a number nor an address")
    return int(IPv6Address(value)) if isinstance(value, str) else int(value)


@dataclass(frozen=True, slots=True)
class Output:
    port: int


@dataclass(frozen=True, slots=True)
class SetField:
    """`field` is eth_dst or ipv6_dst, and `value` as the frameworks take it: text."""

    field: str
    value: str


Action = Output | SetField


@dataclass(frozen=True, slots=True)
class Rule:
    """Without actions and `goto` its packets are dropped. With both, they go on to table `goto` as
    the actions left them."""

    table: int
    priority: int
    match: Match
    actions: tuple[Action, ...]
    cookie: int
    goto: int | None = None

    @property
    def identity(self) -> tuple[int, int, Match]:
        return self.table, self.priority, self.match


def output_ports(actions: Iterable[Action]) -> tuple[int, ...]:
    return tuple(action.port for action in actions if isinstance(action, Output))
