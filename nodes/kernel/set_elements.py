"""Elements of nftables' sets and maps, changed by netlink and not in nftables' language.

A change in that language is parsed, and asks the kernel for every table, chain and set first: some
20 us an element and a look at all of them, where a move of 10,000 flows has 20,000 elements. This
is what the flow map needs only; the tables are made by libnftables. Numbers are from
linux/netfilter/nfnetlink.h and nf_tables.h.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import struct
from collections.abc import Sequence
from ipaddress import IPv6Address
from typing import NamedTuple

from nodes.classifier import FiveTuple
from nodes.kernel.netlink import (
    NLA_F_NESTED,
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_REQUEST,
    NLMSG_HEADER_BYTES,
    attribute,
    text,
)
from nodes.kernel.netlink_replies import NLMSG_ERROR, failure_of, replies

NETLINK_NETFILTER, NFNL_SUBSYS_NFTABLES = 12, 10
NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END = 16, 17
NFT_MSG_NEWSETELEM = NFNL_SUBSYS_NFTABLES << 8 | 12
NFT_MSG_DELSETELEM = NFNL_SUBSYS_NFTABLES << 8 | 14
NFPROTO_IPV6 = 10
NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_LIST_ELEMENTS = 1, 2, 3
NFTA_LIST_ELEM, NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_DATA, NFTA_DATA_VALUE = 1, 1, 2, 1
SO_SNDBUFFORCE = 32
IFNAMSIZ = 16
# A transaction is one message to the kernel, which has to fit into the socket's buffer; the
# elements of one request have to fit into an attribute of 65,535 octets.
SEND_BUFFER_BYTES = 1 << 24
AT_ONCE = 500


class TunnelSource(NamedTuple):
    """Whence a packet comes: interface, and the first address of a prefix."""

    interface: str
    prefix: IPv6Address


Key = int | IPv6Address | FiveTuple | TunnelSource


class ElementChange(NamedTuple):
    """An element of the set `into` comes (`add`) or goes. A `key` that is a number is a mark, and
    so is what a map has for it: `mark`, where one comes."""

    add: bool
    into: str
    key: Key
    mark: int | None = None

    def command(self, table: str) -> str:
        """The same in nftables' language, for a transaction that has other things in it."""
        verb = "add" if self.add else "delete"
        value = "" if self.mark is None else f" : {self.mark:#x}"
        return f"{verb} element {table} {self.into} {{ {_words(self.key)}{value} }}"


class ElementsRefused(OSError):
    """The kernel refused a transaction; nothing of it is in force."""


class ElementChannel:
    """To the nftables of the network namespace that it was opened in. `table` is of family ip6."""

    def __init__(self, table: str) -> None:
        self._table = table.removeprefix("ip6 ")
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        with contextlib.suppress(PermissionError):  # then what every user gets has to do
            self._socket.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER_BYTES)

    def run(self, changes: Sequence[ElementChange]) -> None:
        """Carry out `changes` in order, as one transaction. Raises ElementsRefused."""
        if not changes:
            return
        messages = [_message(NFNL_MSG_BATCH_BEGIN, 0, 0, _header(0, NFNL_SUBSYS_NFTABLES))]
        for number, body in enumerate(self._requests(changes), 1):
            messages.append(_message(*body[:2], number, body[2]))
        last = len(messages) - 1
        messages.append(_message(NFNL_MSG_BATCH_END, 0, last + 1, _header(0, NFNL_SUBSYS_NFTABLES)))
        self._socket.send(b"".join(messages))
        self._await(last)

    def close(self) -> None:
        self._socket.close()

    def _requests(self, changes: Sequence[ElementChange]) -> list[tuple[int, int, bytes]]:
        """Kind, flags and body of each; neighbours that do the same to one set go together."""
        requests = []
        for (add, into), group in itertools.groupby(changes, lambda one: (one.add, one.into)):
            head = _header(NFPROTO_IPV6, 0)
            head += text(NFTA_SET_ELEM_LIST_TABLE, self._table) + text(NFTA_SET_ELEM_LIST_SET, into)
            kind, flags = (NFT_MSG_NEWSETELEM, NLM_F_CREATE) if add else (NFT_MSG_DELSETELEM, 0)
            elements = [_element(change) for change in group]
            for first in range(0, len(elements), AT_ONCE):
                some = b"".join(elements[first : first + AT_ONCE])
                body = head + attribute(NLA_F_NESTED | NFTA_SET_ELEM_LIST_ELEMENTS, some)
                requests.append((kind, flags | NLM_F_ACK, body))
        return requests

    def _await(self, last: int) -> None:
        """Read the answers up to that of request `last`. What fails when all is committed is an
        answer to number 0, and then it is the only one."""
        failure = answered = 0
        while not answered:
            for reply in replies(self._socket.recv(65_536)):
                if reply.kind == NLMSG_ERROR:
                    error, _ = failure_of(reply) or (0, "")
                    failure = failure or error
                    answered = reply.number == last or (reply.number == 0 and error != 0)
        if failure:
            raise ElementsRefused(failure, f"elements of {self._table}: {os.strerror(failure)}")


def _message(kind: int, flags: int, number: int, body: bytes) -> bytes:
    length = NLMSG_HEADER_BYTES + len(body)
    return struct.pack("=IHHII", length, kind, flags | NLM_F_REQUEST, number, 0) + body


def _header(family: int, resource: int) -> bytes:
    """struct nfgenmsg."""
    return struct.pack("=BB", family, 0) + struct.pack(">H", resource)


def _element(change: ElementChange) -> bytes:
    value = attribute(NFTA_DATA_VALUE, _packed(change.key))
    parts = attribute(NLA_F_NESTED | NFTA_SET_ELEM_KEY, value)
    if change.mark is not None:
        data = attribute(NFTA_DATA_VALUE, struct.pack("=I", change.mark))
        parts += attribute(NLA_F_NESTED | NFTA_SET_ELEM_DATA, data)
    return attribute(NLA_F_NESTED | NFTA_LIST_ELEM, parts)


def _packed(key: Key) -> bytes:
    """As registers have it: marks as this machine writes numbers; the parts of a concatenation in
    four octets each, or a multiple."""
    if isinstance(key, int):
        return struct.pack("=I", key)
    if isinstance(key, IPv6Address):
        return key.packed
    if isinstance(key, TunnelSource):
        return struct.pack(f"={IFNAMSIZ}s", key.interface.encode()) + key.prefix.packed
    ports = (key.source_port, key.destination_port)
    return (
        key.source.packed + key.destination.packed + struct.pack(">B3xH2xH2x", key.protocol, *ports)
    )


def _words(key: Key) -> str:
    if isinstance(key, int):
        return f"{key:#x}"
    if isinstance(key, IPv6Address):
        return str(key)
    if isinstance(key, TunnelSource):
        return f'"{key.interface}" . {key.prefix}'
    return " . ".join(str(part) for part in key)
