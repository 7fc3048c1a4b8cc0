"""What comes back over netlink: messages, their attributes, and the kernel's refusals.

The kernel says nothing wrong. What isn't as expected is an error all the same, instead of a loop
without end or a value of something else: kernels grow, and this knows those of its time.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_ACK_TLVS, NLMSGERR_ATTR_MSG = 0x200, 1
MAX_ERRNO = 4095  # linux/err.h
HEADER = struct.Struct("=IHHII")
ATTRIBUTE = struct.Struct("=HH")


class NetlinkError(OSError):
    """The kernel refused a request; the message names it and gives the kernel's own words."""


class MalformedReply(NetlinkError):
    """A reply isn't what its format says."""

    def __init__(self, what: str) -> None:
        super().__init__(errno.EBADMSG, f"netlink: {what}")


class Reply(NamedTuple):
    """`number` is that of the request; `body` what follows the header."""

    kind: int
    flags: int
    number: int
    body: bytes


class Failure(NamedTuple):
    error: int
    explanation: str


def replies(data: bytes) -> Iterator[Reply]:
    """The messages of a datagram. Raises MalformedReply, if need be after those before the
    damage."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, flags, number, _ = HEADER.unpack_from(data, offset)
        if not HEADER.size <= length <= len(data) - offset:
            raise MalformedReply(f"a message of {length} octets at offset {offset}")
        yield Reply(kind, flags, number, data[offset + HEADER.size : offset + length])
        offset += length + -length % 4


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and payload of each attribute."""
    offset = 0
    while offset + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, offset)
        if not ATTRIBUTE.size <= length <= len(data) - offset:
            raise MalformedReply(f"an attribute of {length} octets at offset {offset}")
        yield kind, data[offset + ATTRIBUTE.size : offset + length]
        offset += length + -length % 4


def fields(layout: str, body: bytes, offset: int = 0) -> tuple[Any, ...]:
    """`struct.unpack_from`, of what may be too short."""
    try:
        return struct.unpack_from(layout, body, offset)
    except struct.error:
        raise MalformedReply(f"{len(body)} octets of {layout!r} at offset {offset}") from None


def number_of(found: Mapping[int, bytes], kind: int) -> int:
    """The 32 bits of an attribute that has to be there, in this machine's order."""
    value: int = fields("=I", found.get(kind, b""))[0]
    return value


def name_of(found: Mapping[int, bytes], kind: int) -> str:
    """The text of an attribute that has to be there."""
    if kind not in found:
        raise MalformedReply(f"no attribute {kind}, which is a name")
    return found[kind].rstrip(b"\0").decode(errors="replace")


def failure_of(reply: Reply) -> Failure | None:
    """Of an NLMSG_ERROR; None if it says that all is well."""
    code = fields("=i", reply.body)[0]
    if not code:
        return None
    if not -MAX_ERRNO <= code < 0:
        raise MalformedReply(f"error {code}")
    explanation = ""
    if reply.flags & NLM_F_ACK_TLVS:
        # Behind the error number stands the header of the refused request.
        said = dict(attributes(reply.body[HEADER.size + 4 :])).get(NLMSGERR_ATTR_MSG, b"")
        explanation = said.rstrip(b"\0").decode(errors="replace")
    return Failure(-code, explanation)
