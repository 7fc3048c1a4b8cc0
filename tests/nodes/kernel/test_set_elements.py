"""Changes of nftables' elements, octet by octet, and what becomes of the kernel's answers."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from ipaddress import IPv6Address

import pytest

from nodes.classifier import FiveTuple
from nodes.kernel import set_elements
from nodes.kernel.netlink_replies import attributes
from nodes.kernel.set_elements import (
    AT_ONCE,
    NFNL_MSG_BATCH_BEGIN,
    NFNL_MSG_BATCH_END,
    NFT_MSG_DELSETELEM,
    NFT_MSG_NEWSETELEM,
    ElementChange,
    ElementChannel,
    ElementsRefused,
    TunnelSource,
)

FOUND = FiveTuple(IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2"), 17, 5001, 0x1234)
MASK = 0x3FFF  # of an attribute's kind, without the flag of one that holds others
Sent = tuple[int, int, bytes]


class Kernel:
    """The other end: `answers` gives number and error of each answer to what was sent."""

    def __init__(self, answers: Callable[[list[Sent]], list[tuple[int, int]]]) -> None:
        self.requests: list[Sent] = []
        self._answers = answers

    def __call__(self, family: int, kind: int, protocol: int) -> Kernel:
        assert (family, protocol) == (socket.AF_NETLINK, 12)
        return self

    def setsockopt(self, *option: int) -> None:
        raise PermissionError

    def send(self, data: bytes) -> None:
        offset = 0
        while offset < len(data):
            length, kind, _, number, _ = struct.unpack_from("=IHHII", data, offset)
            self.requests.append((kind, number, data[offset + 16 : offset + length]))
            offset += length
        assert offset == len(data)

    def recv(self, limit: int) -> bytes:
        return b"".join(
            struct.pack("=IHHII", 20, 2, 0, number, 0) + struct.pack("=i", -error)
            for number, error in self._answers(self.requests)
        )


def _acknowledged(requests: list[Sent]) -> list[tuple[int, int]]:
    return [(number, 0) for kind, number, _ in requests if kind >> 8]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    found = Kernel(_acknowledged)
    monkeypatch.setattr(set_elements.socket, "socket", found)
    return found


def _elements(body: bytes) -> tuple[str, str, list[tuple[bytes, bytes | None]]]:
    """Table, set, and key and value of each element."""
    fields = {kind & MASK: value for kind, value in attributes(body[4:])}
    found = []
    for _, element in attributes(fields[3]):
        parts = {kind & MASK: value for kind, value in attributes(element)}
        data = dict(attributes(parts[2]))[1] if 2 in parts else None
        found.append((dict(attributes(parts[1]))[1], data))
    return fields[1].rstrip(b"\0").decode(), fields[2].rstrip(b"\0").decode(), found


def test_a_move_is_one_transaction(kernel: Kernel) -> None:
    changes = [ElementChange(False, "binding", 7), ElementChange(True, "binding", 7, 2)]
    ElementChannel("ip6 t").run(changes)
    kinds = [kind for kind, _, _ in kernel.requests]
    assert kinds == [
        NFNL_MSG_BATCH_BEGIN,
        NFT_MSG_DELSETELEM,
        NFT_MSG_NEWSETELEM,
        NFNL_MSG_BATCH_END,
    ]
    mark = struct.pack("=I", 7)
    assert _elements(kernel.requests[1][2]) == ("t", "binding", [(mark, None)])
    assert _elements(kernel.requests[2][2]) == ("t", "binding", [(mark, struct.pack("=I", 2))])


def test_parts_of_a_key_take_four_octets_each(kernel: Kernel) -> None:
    ElementChannel("ip6 t").run([ElementChange(True, "exact", FOUND, 9)])
    ((key, _),) = _elements(kernel.requests[1][2])[2]
    addresses = FOUND.source.packed + FOUND.destination.packed
    assert key == addresses + bytes.fromhex("11000000 13890000 12340000")


def test_an_interface_takes_16_octets(kernel: Kernel) -> None:
    source = TunnelSource("mag12", IPv6Address("2001:db8:100::"))
    change = ElementChange(True, "sources", source)
    ElementChannel("ip6 t").run([change])
    ((key, _),) = _elements(kernel.requests[1][2])[2]
    assert key == b"mag12" + bytes(11) + source.prefix.packed
    assert change.command("ip6 t") == 'add element ip6 t sources { "mag12" . 2001:db8:100:: }'


def test_elements_of_a_kind_go_together_as_many_as_an_attribute_holds(kernel: Kernel) -> None:
    changes = [ElementChange(False, "exact", FOUND._replace(source_port=n)) for n in range(1201)]
    ElementChannel("ip6 t").run(changes)
    sizes = [len(_elements(body)[2]) for kind, _, body in kernel.requests if kind >> 8]
    assert sizes == [AT_ONCE, AT_ONCE, 1201 - 2 * AT_ONCE]
    assert all(len(body) < 65_536 for _, _, body in kernel.requests)
    with_data = [change._replace(add=True, mark=1) for change in changes]
    ElementChannel("ip6 t").run(with_data)
    assert all(len(body) < 65_536 for _, _, body in kernel.requests)


def test_nothing_to_do_is_no_transaction(kernel: Kernel) -> None:
    ElementChannel("ip6 t").run([])
    assert kernel.requests == []


@pytest.mark.parametrize(
    "answers",
    [
        [(1, errno.ENOENT), (2, 0)],
        [(1, 0), (2, errno.ENOENT)],
        [(0, errno.ENOENT)],  # when all is committed
    ],
)
def test_a_refusal_is_raised(
    monkeypatch: pytest.MonkeyPatch, answers: list[tuple[int, int]]
) -> None:
    monkeypatch.setattr(set_elements.socket, "socket", Kernel(lambda _: answers))
    changes = [ElementChange(False, "binding", 7), ElementChange(True, "binding", 7, 2)]
    with pytest.raises(ElementsRefused, match="No such file") as refusal:
        ElementChannel("ip6 t").run(changes)
    assert refusal.value.errno == errno.ENOENT


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (ElementChange(True, "binding", 7, 2), "add element ip6 t binding { 0x7 : 0x2 }"),
        (ElementChange(False, "binding", 7), "delete element ip6 t binding { 0x7 }"),
        (
            ElementChange(True, "home_prefixes", IPv6Address("2001:db8::")),
            "add element ip6 t home_prefixes { 2001:db8:: }",
        ),
        (
            ElementChange(False, "exact", FOUND),
            "delete element ip6 t exact { 2001:db8::1 . 2001:db8::2 . 17 . 5001 . 4660 }",
        ),
    ],
)
def test_the_same_in_nftables_language(change: ElementChange, words: str) -> None:
    assert change.command("ip6 t") == words
