"""The few rtnetlink requests that a topology needs, in batches.

Written out here because pyroute2 costs 0.34 s of real time to import in the guest and runs an
event loop of its own, which fails within another one; a whole node is one batch, well under a
millisecond. Numbers are from linux/rtnetlink.h, if_link.h and pkt_sched.h.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Sequence
from ipaddress import IPv6Address, IPv6Network
from typing import NamedTuple

from experiments.namespaces import socket_in
from topologies.model import Direction
from topologies.plan import netem_limit

NLM_F_REQUEST, NLM_F_ACK = 0x1, 0x4
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLMSG_ERROR, NLMSG_HEADER_BYTES = 2, 16
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11
NLM_F_ACK_TLVS, NLMSGERR_ATTR_MSG = 0x200, 1

RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR = 16, 17, 20
RTM_NEWROUTE, RTM_NEWNEIGH, RTM_NEWQDISC, RTM_NEWTFILTER = 24, 28, 36, 44

IFF_UP = 1
IFLA_ADDRESS, IFLA_IFNAME, IFLA_LINKINFO = 1, 3, 18
IFLA_NET_NS_FD, IFLA_GSO_MAX_SEGS = 28, 40
IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 1, 2, 1
IFA_ADDRESS, IFA_LOCAL, IFA_F_NODAD = 1, 2, 0x02
RTA_DST, RTA_OIF, RTA_GATEWAY = 1, 4, 5
RT_TABLE_MAIN, RTPROT_STATIC, RT_SCOPE_UNIVERSE, RTN_UNICAST = 254, 4, 0, 1
NDA_DST, NDA_LLADDR, NUD_PERMANENT = 1, 2, 0x80
TCA_KIND, TCA_OPTIONS, TC_H_ROOT = 1, 2, 0xFFFF_FFFF
TCA_NETEM_RATE, TCA_NETEM_RATE64, TCA_NETEM_LATENCY64, TCA_NETEM_PRNG_SEED = 6, 8, 10, 14
NETEM_HANDLE = 1 << 16
TC_H_CLSACT, CLSACT_HANDLE, CLSACT_EGRESS = 0xFFFF_FFF1, 0xFFFF_0000, 0xFFFF_FFF3
TCA_MATCHALL_ACT, TCA_ACT_KIND, TCA_ACT_OPTIONS, TCA_MIRRED_PARMS = 2, 1, 2, 2
TC_ACT_PIPE, TCA_EGRESS_MIRROR = 3, 2
ETH_P_ALL = 0x0003
U32_MAX = 0xFFFF_FFFF

BYTES_PER_SECOND_PER_MBIT = 125_000
NANOSECONDS_PER_MS = 1_000_000


class Request(NamedTuple):
    """`what` names the request in an error."""

    kind: int
    flags: int
    body: bytes
    what: str


class NetlinkError(OSError):
    """The kernel refused a request; the message names it and gives the kernel's own words."""


def send(namespace: int, requests: Sequence[Request]) -> None:
    """Carry out `requests` in order in a network namespace. Raises NetlinkError for the first
    that fails; the ones after it have been carried out as well."""
    if not requests:
        return
    with socket_in(namespace, _netlink_socket) as channel:
        channel.send(
            b"".join(
                struct.pack(
                    "=IHHII",
                    NLMSG_HEADER_BYTES + len(request.body),
                    request.kind,
                    request.flags | NLM_F_REQUEST | NLM_F_ACK,
                    number,
                    0,
                )
                + request.body
                for number, request in enumerate(requests)
            )
        )
        failures = _failures(channel, len(requests))
    if failures:
        number, error, explanation = failures[0]
        detail = f"{os.strerror(error)}{': ' + explanation if explanation else ''}"
        raise NetlinkError(error, f"{requests[number].what}: {detail}")


def _netlink_socket() -> socket.socket:
    channel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    channel.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
    channel.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
    return channel


def _failures(channel: socket.socket, expected: int) -> list[tuple[int, int, str]]:
    failures = []
    answers = 0
    while answers < expected:
        data = channel.recv(65536)
        offset = 0
        while offset < len(data):
            length, kind, flags, number, _ = struct.unpack_from("=IHHII", data, offset)
            if kind == NLMSG_ERROR:
                answers += 1
                code = struct.unpack_from("=i", data, offset + NLMSG_HEADER_BYTES)[0]
                if code:
                    explanation = ""
                    if flags & NLM_F_ACK_TLVS:
                        # Behind the error number stands the header of the refused request.
                        start = offset + 2 * NLMSG_HEADER_BYTES + 4
                        explanation = _explanation(data[start : offset + length])
                    failures.append((number, -code, explanation))
            offset += length + -length % 4
    return failures


def _explanation(attributes: bytes) -> str:
    offset = 0
    while offset + 4 <= len(attributes):
        length, kind = struct.unpack_from("=HH", attributes, offset)
        if length < 4:
            break
        if kind == NLMSGERR_ATTR_MSG:
            return attributes[offset + 4 : offset + length].rstrip(b"\0").decode()
        offset += length + -length % 4
    return ""


def attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def _u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def _text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def _mac(value: str) -> bytes:
    return bytes.fromhex(value.replace(":", ""))


def _ifinfo(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, change)


def new_veth(name: str, mac: str, peer: str, peer_mac: str, peer_namespace: int) -> Request:
    """A pair of interfaces, both down, the other one in the namespace `peer_namespace`.

    GSO is limited to single segments: netem would take a 64 kB segment train for one packet, so
    that queues and serialisation times came out wrong.
    """

    def ethernet(its_name: str, its_mac: str) -> bytes:
        return (
            _text(IFLA_IFNAME, its_name)
            + attribute(IFLA_ADDRESS, _mac(its_mac))
            + _u32(IFLA_GSO_MAX_SEGS, 1)
        )

    other = _ifinfo() + ethernet(peer, peer_mac) + _u32(IFLA_NET_NS_FD, peer_namespace)
    info = _text(IFLA_INFO_KIND, "veth") + attribute(
        IFLA_INFO_DATA, attribute(VETH_INFO_PEER, other)
    )
    body = _ifinfo() + ethernet(name, mac) + attribute(IFLA_LINKINFO, info)
    return Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"create {name} and {peer}")


def new_dummy(name: str, mac: str, up: bool) -> Request:
    """An interface without a line: what it sends vanishes."""
    info = attribute(IFLA_LINKINFO, _text(IFLA_INFO_KIND, "dummy"))
    address = attribute(IFLA_ADDRESS, _mac(mac))
    body = _ifinfo(flags=IFF_UP if up else 0, change=IFF_UP) + _text(IFLA_IFNAME, name)
    flags = NLM_F_CREATE | NLM_F_EXCL
    return Request(RTM_NEWLINK, flags, body + address + info, f"create {name}")


def delete_link(name: str) -> Request:
    return Request(RTM_DELLINK, 0, _ifinfo() + _text(IFLA_IFNAME, name), f"delete {name}")


def set_link(name: str, up: bool) -> Request:
    body = _ifinfo(flags=IFF_UP if up else 0, change=IFF_UP) + _text(IFLA_IFNAME, name)
    return Request(RTM_NEWLINK, 0, body, f"set {name} {'up' if up else 'down'}")


def add_address(index: int, address: IPv6Address, prefix_length: int) -> Request:
    """Usable at once: without the flag it would stay tentative until the kernel has noticed, at a
    time of its own, that the interface has a carrier."""
    body = struct.pack(
        "=BBBBI", socket.AF_INET6, prefix_length, IFA_F_NODAD, RT_SCOPE_UNIVERSE, index
    )
    body += attribute(IFA_LOCAL, address.packed) + attribute(IFA_ADDRESS, address.packed)
    flags = NLM_F_CREATE | NLM_F_EXCL
    return Request(RTM_NEWADDR, flags, body, f"add address {address}/{prefix_length}")


def add_route(network: IPv6Network | None, gateway: IPv6Address, index: int) -> Request:
    body = struct.pack(
        "=BBBBBBBBI",
        socket.AF_INET6,
        0 if network is None else network.prefixlen,
        0,
        0,
        RT_TABLE_MAIN,
        RTPROT_STATIC,
        RT_SCOPE_UNIVERSE,
        RTN_UNICAST,
        0,
    )
    if network is not None:
        body += attribute(RTA_DST, network.network_address.packed)
    body += attribute(RTA_GATEWAY, gateway.packed) + _u32(RTA_OIF, index)
    flags = NLM_F_CREATE | NLM_F_EXCL
    return Request(RTM_NEWROUTE, flags, body, f"add route {network or 'default'} via {gateway}")


def set_neighbour(index: int, address: IPv6Address, mac: str) -> Request:
    """A permanent neighbour entry."""
    body = struct.pack("=BxxxiHBB", socket.AF_INET6, index, NUD_PERMANENT, 0, 0)
    body += attribute(NDA_DST, address.packed) + attribute(NDA_LLADDR, _mac(mac))
    flags = NLM_F_CREATE | NLM_F_REPLACE
    return Request(RTM_NEWNEIGH, flags, body, f"set neighbour {address} {mac}")


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
    body += _text(TCA_KIND, "netem") + attribute(TCA_OPTIONS, options)
    return Request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, body, f"netem on {index}")


def mirror_egress(index: int, to: int) -> list[Request]:
    """Copy what leaves interface `index` to interface `to`, before netem takes it."""

    def tcmsg(handle: int, parent: int, info: int) -> bytes:
        return struct.pack("=BxxxiIII", socket.AF_UNSPEC, index, handle, parent, info)

    parameters = struct.pack("=IIiiiiI", 0, 0, TC_ACT_PIPE, 0, 0, TCA_EGRESS_MIRROR, to)
    options = attribute(TCA_MIRRED_PARMS, parameters)
    action = _text(TCA_ACT_KIND, "mirred") + attribute(TCA_ACT_OPTIONS, options)
    # Actions are numbered from 1; the filter has priority 1 and is for all protocols.
    matchall = attribute(TCA_MATCHALL_ACT, attribute(1, action))
    info = 1 << 16 | socket.htons(ETH_P_ALL)
    hook = tcmsg(CLSACT_HANDLE, TC_H_CLSACT, 0) + _text(TCA_KIND, "clsact")
    rule = tcmsg(0, CLSACT_EGRESS, info) + _text(TCA_KIND, "matchall")
    rule += attribute(TCA_OPTIONS, matchall)
    flags = NLM_F_CREATE | NLM_F_EXCL
    return [
        Request(RTM_NEWQDISC, flags, hook, f"clsact on {index}"),
        Request(RTM_NEWTFILTER, flags, rule, f"mirror of {index}"),
    ]
