"""Which interfaces events are about. That the kernel sends them is for the tests in a guest."""

from __future__ import annotations

import socket
import struct

from nodes.kernel.link_monitor import interfaces_of
from nodes.kernel.netlink import IFLA_IFNAME, RTM_DELLINK, RTM_NEWADDR, RTM_NEWLINK, ifinfo, text

LOOPBACK = socket.if_nametoindex("lo")
NO_INTERFACE = 1 << 30


def event(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body + bytes(-len(body) % 4)


def address(index: int) -> bytes:
    return struct.pack("=BBBBI", socket.AF_INET6, 64, 0, 0, index)


def test_links_have_their_name_in_the_event() -> None:
    came = event(RTM_NEWLINK, ifinfo(7) + text(IFLA_IFNAME, "mag1-mn"))
    went = event(RTM_DELLINK, ifinfo(8) + text(IFLA_IFNAME, "mag1-mn2"))
    assert list(interfaces_of(came + went)) == ["mag1-mn", "mag1-mn2"]


def test_addresses_have_that_of_their_interface() -> None:
    data = event(RTM_NEWADDR, address(LOOPBACK)) + event(RTM_NEWADDR, address(NO_INTERFACE))
    assert list(interfaces_of(data)) == ["lo"]


def test_other_events_are_about_none() -> None:
    assert list(interfaces_of(event(24, address(LOOPBACK)) + b"\0\0")) == []
