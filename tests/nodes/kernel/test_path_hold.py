"""Queueing classes for packets that wait, as requests and commands; that packets do wait, in order,
is for the tests in a guest."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from nodes.actions import EndHold, HoldFlows, ReleaseFlows
from nodes.kernel import path_hold
from nodes.kernel.netlink import LinkState, Request
from nodes.kernel.path_hold import (
    HANDLE,
    NO_LIMIT,
    OTHERS,
    RTM_DELTCLASS,
    RTM_NEWQDISC,
    RTM_NEWTCLASS,
    PathHolding,
)

KEY, OTHER, HOLD_MS = 0x10001, 0x10002, 23
INDEX = {"mag1": 11, "mag2": 12}


class RecordedTransactions:
    def __init__(self) -> None:
        self.commands: list[str] = []

    def run(self, *commands: str) -> None:
        self.commands.extend(commands)


class Kernel:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requests: list[Request] = []
        self.nftables = RecordedTransactions()
        monkeypatch.setattr(
            path_hold, "link_state", lambda _, name: LinkState(INDEX[name], b"", 1460, True)
        )
        monkeypatch.setattr(
            path_hold, "carry_out", lambda _, requests: self.requests.extend(requests)
        )
        self.holding = PathHolding("ip6 t", self.nftables)  # type: ignore[arg-type]

    def taken(self) -> list[Request]:
        requests, self.requests = self.requests, []
        return requests


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    kernel = Kernel(monkeypatch)
    yield kernel
    kernel.holding.close()


def handles(request: Request) -> tuple[int, int, int]:
    """Interface, handle and parent."""
    index, handle, parent = struct.unpack_from("=iII", request.body, 4)
    return index, handle, parent


def limit(request: Request) -> tuple[int, ...]:
    """Rate until, end of that, and rate after, of the upper limit: the last attribute."""
    return struct.unpack("=III", request.body[-12:])


def test_a_tunnel_has_a_class_without_limit_for_all_others(kernel: Kernel) -> None:
    kernel.holding.prepare("mag2")
    qdisc, others = kernel.taken()
    assert (qdisc.kind, others.kind) == (RTM_NEWQDISC, RTM_NEWTCLASS)
    assert handles(qdisc) == (12, HANDLE, 0xFFFF_FFFF)
    assert handles(others) == (12, HANDLE | OTHERS, HANDLE)
    assert limit(others) == (0, 0, NO_LIMIT)


def test_a_hold_from_its_beginning_to_its_end(kernel: Kernel) -> None:
    holding = kernel.holding
    assert holding.replace(KEY, "mag1") == []
    holding.perform(HoldFlows(1, (KEY, OTHER), HOLD_MS))
    assert kernel.taken() == [], "until the flows move"
    assert holding.replace(KEY, "mag2") == [f"add element ip6 t holds {{ {KEY:#x} : 7864:2 }}"]
    assert holding.replace(OTHER, "mag2") == [f"add element ip6 t holds {{ {OTHER:#x} : 7864:2 }}"]
    (made,) = kernel.taken()
    assert (made.kind, handles(made)) == (RTM_NEWTCLASS, (12, HANDLE | 2, HANDLE))
    assert limit(made) == (0, HOLD_MS * 1000, NO_LIMIT)
    holding.perform(ReleaseFlows(1))
    (released,) = kernel.taken()
    assert handles(released) == handles(made)
    assert limit(released) == (0, 0, NO_LIMIT)
    assert kernel.nftables.commands == [], "else what comes would overtake what waits"
    holding.perform(EndHold(1))
    assert kernel.nftables.commands == [
        f"delete element ip6 t holds {{ {key:#x} }}" for key in (KEY, OTHER)
    ]
    (deleted,) = kernel.taken()
    assert (deleted.kind, handles(deleted)) == (RTM_DELTCLASS, (12, HANDLE | 2, HANDLE))


def test_a_flow_that_moves_on_leaves_its_packets_to_wait(kernel: Kernel) -> None:
    holding = kernel.holding
    holding.perform(HoldFlows(1, (KEY,), HOLD_MS))
    holding.replace(KEY, "mag2")
    holding.perform(HoldFlows(2, (KEY,), HOLD_MS))
    kernel.taken()
    assert holding.replace(KEY, "mag1") == [
        f"delete element ip6 t holds {{ {KEY:#x} }}",
        f"add element ip6 t holds {{ {KEY:#x} : 7864:3 }}",
    ]
    (made,) = kernel.taken()
    assert made.kind == RTM_NEWTCLASS, "and the class of the first is still there"
    for hold in (1, 2):
        holding.perform(ReleaseFlows(hold))
        holding.perform(EndHold(hold))
    assert kernel.nftables.commands == [f"delete element ip6 t holds {{ {KEY:#x} }}"]
    deleted = [handles(found)[:2] for found in kernel.taken() if found.kind == RTM_DELTCLASS]
    assert deleted == [(12, HANDLE | 2), (11, HANDLE | 3)]


def test_a_flow_that_is_removed_waits_no_more(kernel: Kernel) -> None:
    kernel.holding.perform(HoldFlows(1, (KEY,), HOLD_MS))
    kernel.holding.replace(KEY, "mag2")
    assert kernel.holding.replace(KEY, None) == [f"delete element ip6 t holds {{ {KEY:#x} }}"]
    kernel.holding.perform(EndHold(1))
    assert kernel.nftables.commands == []


def test_a_tunnel_that_closes_takes_its_classes_along(kernel: Kernel) -> None:
    kernel.holding.perform(HoldFlows(1, (KEY,), HOLD_MS))
    kernel.holding.replace(KEY, "mag2")
    kernel.holding.forget("mag2")
    kernel.taken()
    kernel.holding.perform(ReleaseFlows(1))
    kernel.holding.perform(EndHold(1))
    assert kernel.taken() == []
