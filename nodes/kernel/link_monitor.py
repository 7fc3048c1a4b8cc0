"""Which interfaces of a network namespace changed. Numbers are from linux/rtnetlink.h."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from nodes.kernel.netlink import (
    IFLA_IFNAME,
    RTM_DELLINK,
    RTM_NEWADDR,
    RTM_NEWLINK,
    ifinfo,
)
from nodes.kernel.netlink_replies import MalformedReply, attributes, fields, replies

RTMGRP_LINK, RTMGRP_IPV6_IFADDR = 0x1, 0x100
RTM_DELADDR = 21
MAX_DATAGRAM = 65_535


class LinkMonitor:
    """Readable when some interface of this namespace, or one of its addresses, changed. It tells
    which, not what: whoever wakes up looks at the state, so that no event can be missed by reading
    too late."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.bind((0, RTMGRP_LINK | RTMGRP_IPV6_IFADDR))
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def drain(self) -> set[str] | None:
        """The names of interfaces that changed since the last time; None: it may be any."""
        changed: set[str] | None = set()
        while True:
            try:
                data = self._socket.recv(MAX_DATAGRAM)
            except BlockingIOError:
                return changed
            except OSError:  # ENOBUFS: events were lost
                changed = None
                continue
            try:
                names = set(interfaces_of(data))
            except MalformedReply:
                changed = None
            else:
                changed = None if changed is None else changed | names

    def close(self) -> None:
        self._socket.close()


def interfaces_of(data: bytes) -> Iterator[str]:
    """The interfaces that events are about, by name; those of addresses that have gone with their
    addresses are left out, for they have an event of their own. Raises MalformedReply."""
    for reply in replies(data):
        if reply.kind in (RTM_NEWLINK, RTM_DELLINK):
            name = dict(attributes(reply.body[len(ifinfo()) :])).get(IFLA_IFNAME, b"")
            yield name.rstrip(b"\0").decode(errors="replace")
        elif reply.kind in (RTM_NEWADDR, RTM_DELADDR):
            (index,) = fields("=4xI", reply.body)
            with contextlib.suppress(OSError, OverflowError):
                yield socket.if_indextoname(index)
