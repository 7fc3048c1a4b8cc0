"""What the kernel answers. It is trusted with what it says, and its interface with growing."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network

from nodes.kernel import netlink, netlink_dump
from nodes.kernel.link_monitor import interfaces_of
from nodes.kernel.netlink import attribute
from nodes.kernel.netlink_replies import (
    HEADER,
    NLM_F_ACK_TLVS,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSGERR_ATTR_MSG,
    MalformedReply,
    NetlinkError,
    attributes,
)
from nodes.kernel.packet_queue import packets
from tests.fuzz.target import Target, channel_with


def replies(data: bytes) -> None:
    """By the first octet: to a change, and to questions for routes, a link, rules and tunnels. The
    rest comes in two datagrams, of which the first has as many octets as the second octet says."""
    which, at = (*data[:2], 0, 0)[:2]
    channel = channel_with(data[2 : 2 + at], data[2 + at :])
    if which % 5 == 0:
        netlink.carry_out(channel, [netlink.delete_link("x"), netlink.set_mtu("x", 1500)])
    elif which % 5 == 1:
        for route in netlink_dump.routes(channel):
            assert isinstance(route.destination, IPv6Network)
    elif which % 5 == 3:
        list(netlink_dump.rules(channel))
    elif which % 5 == 4:
        netlink_dump.tunnels(channel)
    else:
        state = netlink.link_state(channel, "x")
        assert isinstance(state.mtu, int)


def events(data: bytes) -> None:
    for name in interfaces_of(data):
        assert isinstance(name, str)


def queued(data: bytes) -> None:
    for packet in packets(data):
        assert packet.identity >= 0


def attribute_list(data: bytes) -> None:
    for _, payload in attributes(data):
        assert len(payload) <= len(data)


def _message(kind: int, body: bytes, flags: int = 0) -> bytes:
    return HEADER.pack(HEADER.size + len(body), kind, flags, 1, 0) + body


def _replies() -> Iterator[bytes]:
    done = _message(NLMSG_ERROR, struct.pack("=i", 0) + bytes(16))
    refused = _message(
        NLMSG_ERROR,
        struct.pack("=i", -17) + bytes(16) + attribute(NLMSGERR_ATTR_MSG, b"no\0"),
        NLM_F_ACK_TLVS,
    )
    yield bytes((0, len(done))) + done + refused
    yield bytes((0, 255)) + done + done
    route = struct.pack("=BBBBBBBBI", 10, 64, 0, 0, 254, 0, 0, 1, 0)
    route += attribute(netlink.RTA_DST, bytes(16)) + netlink.u32(netlink.RTA_TABLE, 254)
    end = _message(NLMSG_DONE, bytes(4))
    yield bytes((1, 255)) + _message(24, route) + end
    rule = struct.pack("=BBBBBBBBI", 10, 0, 64, 0, 0, 0, 0, 1, 0)
    rule += netlink.u32(netlink.FRA_PRIORITY, 9) + netlink.u32(netlink.FRA_TABLE, 7)
    rule += attribute(netlink.FRA_SRC, bytes(16)) + netlink.text(netlink.FRA_IIFNAME, "lo")
    yield bytes((3, 255)) + _message(netlink.RTM_NEWRULE, rule) + end
    tunnel = netlink.new_tunnel("t1", IPv6Address(1), IPv6Address(2)).body
    yield bytes((4, 255)) + _message(netlink.RTM_NEWLINK, tunnel) + end
    link = netlink.ifinfo(3) + attribute(netlink.IFLA_ADDRESS, bytes(6))
    link += netlink.u32(netlink.IFLA_MTU, 1500) + attribute(netlink.IFLA_OPERSTATE, b"\6")
    yield bytes((2, 255)) + _message(netlink.RTM_NEWLINK, link)


def _events() -> Iterator[bytes]:
    link = _message(
        netlink.RTM_NEWLINK, netlink.ifinfo(1) + netlink.text(netlink.IFLA_IFNAME, "lo")
    )
    yield link
    yield link + _message(netlink.RTM_NEWADDR, struct.pack("=BBBBI", 10, 64, 0, 0, 1))


def _queued() -> Iterator[bytes]:
    body = bytes(4) + attribute(1, struct.pack("!IHB", 7, 0x86DD, 1)) + attribute(5, bytes(4))
    yield _message(3 << 8, body + attribute(10, b"\x60" + bytes(47)))


def _attributes() -> Iterator[bytes]:
    yield attribute(1, b"abc") + attribute(2, attribute(3, b""))


TARGETS = {
    "netlink-replies": Target(replies, (NetlinkError,), 512, _replies),
    "netlink-events": Target(events, (MalformedReply,), 256, _events),
    "netlink-attributes": Target(attribute_list, (MalformedReply,), 256, _attributes),
    "packet-queue": Target(queued, (MalformedReply,), 512, _queued),
}
