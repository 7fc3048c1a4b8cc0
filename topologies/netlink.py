"""The rtnetlink requests that only a topology needs: links and their shaping.

Numbers are from linux/if_link.h and pkt_sched.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from ipaddress import IPv6Address, IPv6Network

from nodes.kernel.netlink import (
    IFF_UP,
    IFLA_ADDRESS,
    IFLA_IFNAME,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_LINKINFO,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    RTM_NEWLINK,
    Request,
    add_address,
    attribute,
    carry_out,
    delete_link,
    ifinfo,
    open_channel,
    set_link,
    set_neighbour,
    set_route,
    text,
    u32,
)
from nodes.kernel.netlink_replies import NetlinkError
from topologies.model import Direction
from topologies.namespaces import socket_in
from topologies.plan import netem_limit

RTM_NEWQDISC, RTM_NEWTFILTER = 36, 44
IFLA_NET_NS_FD, IFLA_GSO_MAX_SEGS, VETH_INFO_PEER = 28, 40, 1
TCA_KIND, TCA_OPTIONS, TC_H_ROOT = 1, 2, 0xFFFF_FFFF
TCA_NETEM_RATE, TCA_NETEM_RATE64, TCA_NETEM_LATENCY64, TCA_NETEM_PRNG_SEED = 6, 8, 10, 14
NETEM_HANDLE = 1 << 16
TC_H_CLSACT, CLSACT_HANDLE, CLSACT_EGRESS = 0xFFFF_FFF1, 0xFFFF_0000, 0xFFFF_FFF3
TCA_MATCHALL_ACT, TCA_ACT_KIND, TCA_ACT_OPTIONS, TCA_MIRRED_PARMS = 2, 1, 2, 2
TC_ACT_PIPE, TCA_EGRESS_MIRROR = 3, 2
ETH_P_ALL = 0x0003
U32_MAX = 0xFFFF_FFFF
# Requests whose acknowledgements fit into the buffer of the socket.
AT_ONCE = 128
DEFAULT_ROUTE = IPv6Network("::/0")

BYTES_PER_SECOND_PER_MBIT = 125_000
NANOSECONDS_PER_MS = 1_000_000

__all__ = [
    "NetlinkError",
    "Request",
    "add_address",
    "add_route",
    "delete_link",
    "mirror_egress",
    "new_dummy",
    "new_veth",
    "send",
    "set_link",
    "set_neighbour",
    "set_netem",
]


def send(namespace: int, requests: Sequence[Request]) -> None:
    """Carry out `requests` in order in a network namespace. Raises NetlinkError for the first
    that fails; some after it have been carried out as well."""
    if requests:
        with socket_in(namespace, open_channel) as channel:
            for first in range(0, len(requests), AT_ONCE):
                carry_out(channel, requests[first : first + AT_ONCE])


def _mac(value: str) -> bytes:
    return bytes.fromhex(value.replace(":", ""))


def new_veth(name: str, mac: str, peer: str, peer_mac: str, peer_namespace: int) -> Request:
    """A pair of interfaces, both down, the other one in the namespace `peer_namespace`.

    GSO is limited to single segments: netem would take a 64 kB segment train for one packet, so
    that queues and serialisation times came out wrong.
    """

    def ethernet(its_name: str, its_mac: str) -> bytes:
        return (
            text(IFLA_IFNAME, its_name)
            + attribute(IFLA_ADDRESS, _mac(its_mac))
            + u32(IFLA_GSO_MAX_SEGS, 1)
        )

    other = ifinfo() + ethernet(peer, peer_mac) + u32(IFLA_NET_NS_FD, peer_namespace)
    info = text(IFLA_INFO_KIND, "veth") + attribute(
        IFLA_INFO_DATA, attribute(VETH_INFO_PEER, other)
    )
    body = ifinfo() + ethernet(name, mac) + attribute(IFLA_LINKINFO, info)
    return Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"create {name} and {peer}")


def new_dummy(name: str, mac: str, up: bool) -> Request:
    """An interface without a line: what it sends vanishes."""
    info = attribute(IFLA_LINKINFO, text(IFLA_INFO_KIND, "dummy"))
    address = attribute(IFLA_ADDRESS, _mac(mac))
    body = ifinfo(flags=IFF_UP if up else 0, change=IFF_UP) + text(IFLA_IFNAME, name)
    flags = NLM_F_CREATE | NLM_F_EXCL
    return Request(RTM_NEWLINK, flags, body + address + info, f"create {name}")


def add_route(network: IPv6Network | None, gateway: IPv6Address, index: int) -> Request:
    """A static route; None: the default route."""
    return set_route(network or DEFAULT_ROUTE, index, gateway=gateway)


def set_netem(index: int, direction: Direction, seed: int | None) -> Request:
    """Create or change in place the netem of an interface; queued packets stay where they are.

    `seed` starts the random numbers anew, so it belongs to the creation only. Every parameter is
    in the request, because netem keeps the value of one that is not. Kernels before 6.7 ignore
    the seed.
    """
    rate = round((direction.rate_mbit or 0) * BYTES_PER_SECOND_PER_MBIT)
    loss = round(direction.loss * U32_MAX)
    options = struct.pack("=IIIIII", 0, netem_limit(direction), loss, 0, 0, 0)
    latency_ns = round(direction.delay_ms * NANOSECONDS_PER_MS)
    options += attribute(TCA_NETEM_LATENCY64, struct.pack("=q", latency_ns))
    options += attribute(TCA_NETEM_RATE, struct.pack("=IiIi", min(rate, U32_MAX), 0, 0, 0))
    if rate > U32_MAX:
        options += attribute(TCA_NETEM_RATE64, struct.pack("=Q", rate))
    if seed is not None:
        options += attribute(TCA_NETEM_PRNG_SEED, struct.pack("=Q", seed))
    body = struct.pack("=BxxxiIII", socket.AF_UNSPEC, index, NETEM_HANDLE, TC_H_ROOT, 0)
    body += text(TCA_KIND, "netem") + attribute(TCA_OPTIONS, options)
    return Request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, body, f"netem on {index}")


def mirror_egress(index: int, to: int) -> list[Request]:
    """Copy what leaves interface `index` to interface `to`, before netem takes it."""

    def tcmsg(handle: int, parent: int, info: int) -> bytes:
        return struct.pack("=BxxxiIII", socket.AF_UNSPEC, index, handle, parent, info)

    parameters = struct.pack("=IIiiiiI", 0, 0, TC_ACT_PIPE, 0, 0, TCA_EGRESS_MIRROR, to)
    options = attribute(TCA_MIRRED_PARMS, parameters)
    action = text(TCA_ACT_KIND, "mirred") + attribute(TCA_ACT_OPTIONS, options)
    # Actions are numbered from 1; the filter has priority 1 and is for all protocols.
    matchall = attribute(TCA_MATCHALL_ACT, attribute(1, action))
    info = 1 << 16 | socket.htons(ETH_P_ALL)
    hook = tcmsg(CLSACT_HANDLE, TC_H_CLSACT, 0) + text(TCA_KIND, "clsact")
    rule = tcmsg(0, CLSACT_EGRESS, info) + text(TCA_KIND, "matchall")
    rule += attribute(TCA_OPTIONS, matchall)
    flags = NLM_F_CREATE | NLM_F_EXCL
    return [
        Request(RTM_NEWQDISC, flags, hook, f"clsact on {index}"),
        Request(RTM_NEWTFILTER, flags, rule, f"mirror of {index}"),
    ]
