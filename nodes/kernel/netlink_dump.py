"""What the kernel has of tunnels, routes and policy routing rules: rtnetlink's dumps."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network
from typing import NamedTuple

from nodes.kernel.netlink import (
    FR_ACT_TO_TABLE,
    FRA_DST,
    FRA_FWMARK,
    FRA_FWMASK,
    FRA_IIFNAME,
    FRA_PRIORITY,
    FRA_SRC,
    FRA_TABLE,
    IFLA_IFNAME,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_IPTUN_LOCAL,
    IFLA_IPTUN_REMOTE,
    IFLA_LINKINFO,
    RTA_DST,
    RTA_GATEWAY,
    RTA_OIF,
    RTA_TABLE,
    RTM_GETLINK,
    RTM_GETROUTE,
    RTN_BLACKHOLE,
    RuleMatch,
    dump,
    ifinfo,
)
from nodes.kernel.netlink_replies import MalformedReply, attributes, name_of, number_of

RTM_GETRULE = 34
ROUTE_HEADER_BYTES, RULE_HEADER_BYTES = 12, 12
RTPROT_OFFSET, RTN_OFFSET = 5, 7


class Tunnel(NamedTuple):
    local: IPv6Address
    remote: IPv6Address


class Route(NamedTuple):
    """`interface`: its index; None: it drops what it matches. `protocol`: who made it."""

    table: int
    destination: IPv6Network
    interface: int | None
    gateway: IPv6Address | None
    protocol: int


class Rule(NamedTuple):
    """`table`: None: it drops what it matches."""

    priority: int
    match: RuleMatch
    table: int | None


def tunnels(channel: socket.socket) -> dict[str, Tunnel]:
    """The IPv6-in-IPv6 tunnels, by name."""
    found = {}
    for body in dump(channel, RTM_GETLINK, ifinfo()):
        fields = dict(attributes(body[len(ifinfo()) :]))
        info = dict(attributes(fields.get(IFLA_LINKINFO, b"")))
        if info.get(IFLA_INFO_KIND, b"").rstrip(b"\0") == b"ip6tnl":
            name = name_of(fields, IFLA_IFNAME)
            data = dict(attributes(info.get(IFLA_INFO_DATA, b"")))
            ends = (data.get(kind, bytes(16)) for kind in (IFLA_IPTUN_LOCAL, IFLA_IPTUN_REMOTE))
            found[name] = Tunnel(*(_address(end) for end in ends))
    return found


def routes(channel: socket.socket) -> Iterator[Route]:
    """Those of all tables, read at once: in between, the channel may be used for something else."""
    header = bytes((socket.AF_INET6,)) + bytes(ROUTE_HEADER_BYTES - 1)
    for body in list(dump(channel, RTM_GETROUTE, header)):
        if len(body) < ROUTE_HEADER_BYTES:
            raise MalformedReply(f"a route of {len(body)} octets")
        fields = dict(attributes(body[ROUTE_HEADER_BYTES:]))
        gateway = fields.get(RTA_GATEWAY)
        dropped = body[RTN_OFFSET] == RTN_BLACKHOLE or RTA_OIF not in fields
        yield Route(
            number_of(fields, RTA_TABLE),
            _network(fields.get(RTA_DST, bytes(16)), body[1]),
            None if dropped else number_of(fields, RTA_OIF),
            None if gateway is None else _address(gateway),
            body[RTPROT_OFFSET],
        )


def rules(channel: socket.socket) -> Iterator[Rule]:
    header = bytes((socket.AF_INET6,)) + bytes(RULE_HEADER_BYTES - 1)
    for body in list(dump(channel, RTM_GETRULE, header)):
        if len(body) < RULE_HEADER_BYTES:
            raise MalformedReply(f"a rule of {len(body)} octets")
        _, destination_length, source_length, _, _, _, _, action = body[:8]
        fields = dict(attributes(body[RULE_HEADER_BYTES:]))
        match = RuleMatch(
            source=_network(fields[FRA_SRC], source_length) if FRA_SRC in fields else None,
            destination=(
                _network(fields[FRA_DST], destination_length) if FRA_DST in fields else None
            ),
        )
        if FRA_IIFNAME in fields:
            match = match._replace(incoming=name_of(fields, FRA_IIFNAME))
        if FRA_FWMARK in fields:
            mark, mask = (number_of(fields, kind) for kind in (FRA_FWMARK, FRA_FWMASK))
            match = match._replace(mark=mark, mark_mask=mask)
        table = number_of(fields, FRA_TABLE) if action == FR_ACT_TO_TABLE else None
        priority = number_of(fields, FRA_PRIORITY) if FRA_PRIORITY in fields else 0
        yield Rule(priority, match, table)


def _address(octets: bytes) -> IPv6Address:
    try:
        return IPv6Address(octets)
    except ValueError as error:
        raise MalformedReply(f"an address of {octets.hex()}: {error}") from None


def _network(octets: bytes, prefix_length: int) -> IPv6Network:
    try:
        return IPv6Network((_address(octets), prefix_length))
    except ValueError as error:
        raise MalformedReply(f"{octets.hex()}/{prefix_length}: {error}") from None
