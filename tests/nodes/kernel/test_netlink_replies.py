"""linux/netlink.h: what is as it says is read, and what isn't is refused instead of read anew for
ever."""

from __future__ import annotations

import errno
import struct

import pytest

from nodes.kernel.netlink_replies import (
    HEADER,
    NLM_F_ACK_TLVS,
    NLMSG_ERROR,
    NLMSGERR_ATTR_MSG,
    Failure,
    MalformedReply,
    Reply,
    attributes,
    failure_of,
    fields,
    name_of,
    number_of,
    replies,
)


def message(body: bytes, length: int | None = None, kind: int = 16) -> bytes:
    octets = HEADER.size + len(body) if length is None else length
    return HEADER.pack(octets, kind, 0, 7, 0) + body


def attribute(kind: int, payload: bytes, length: int | None = None) -> bytes:
    octets = 4 + len(payload) if length is None else length
    return struct.pack("=HH", octets, kind) + payload + bytes(-len(payload) % 4)


def test_messages_follow_one_another_in_units_of_four_octets() -> None:
    first, second = message(b"abcde") + bytes(3), message(b"")
    assert list(replies(first + second)) == [Reply(16, 0, 7, b"abcde"), Reply(16, 0, 7, b"")]


@pytest.mark.parametrize("length", [0, 15, 18])
def test_a_message_of_no_length_or_too_much_is_refused(length: int) -> None:
    with pytest.raises(MalformedReply, match=f"a message of {length} octets at offset 16"):
        list(replies(message(b"") + message(b"x", length)))


@pytest.mark.parametrize("length", [0, 3, 9])
def test_an_attribute_of_no_length_or_too_much_is_refused(length: int) -> None:
    with pytest.raises(MalformedReply, match=f"an attribute of {length} octets at offset 8"):
        list(attributes(attribute(1, b"abc") + attribute(2, b"abcd", length)))


def test_what_has_to_be_there_is_asked_for() -> None:
    assert number_of({4: struct.pack("=I", 9)}, 4) == 9
    with pytest.raises(MalformedReply):
        number_of({}, 4)
    assert name_of({3: b"lo\0"}, 3) == "lo"
    with pytest.raises(MalformedReply):
        name_of({}, 3)
    with pytest.raises(MalformedReply):
        fields("=I", b"abc")


def test_a_refusal_in_the_kernels_words() -> None:
    body = struct.pack("=i", -errno.EEXIST) + bytes(HEADER.size)
    said = attribute(NLMSGERR_ATTR_MSG, b"no\xff\0")
    refused = Reply(NLMSG_ERROR, NLM_F_ACK_TLVS, 1, body + said)
    assert failure_of(refused) == Failure(errno.EEXIST, "no\N{REPLACEMENT CHARACTER}")
    assert failure_of(Reply(NLMSG_ERROR, 0, 1, bytes(20))) is None
    for code in (1, -5_000, -(1 << 31)):
        with pytest.raises(MalformedReply, match=f"error {code}"):
            failure_of(Reply(NLMSG_ERROR, 0, 1, struct.pack("=i", code)))
