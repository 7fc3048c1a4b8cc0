"""The LMA's forwarding with a controller, over a model of policy routing and what nftables is told:
native exits, and labels of tunnel headers. That packets do so is for the tests in a guest."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.actions import (
    BlockPrefix,
    CloseTunnel,
    ForwardFlows,
    InstallFlow,
    LabelFlow,
    OpenTunnel,
    Outbox,
    RemoveFlow,
    RoutePrefix,
    UnroutePrefix,
)
from nodes.controller_config import FABRIC_GATEWAY, FABRIC_MAC
from nodes.flow_mobility_cache import FlowMobilityCache, FlowMobilityCacheEntry
from nodes.kernel import lma_forwarding
from nodes.kernel.flow_labels import with_label
from nodes.kernel.lma_forwarding import FABRIC_MARK, TABLE, LmaForwarding
from nodes.kernel.nftables import Command
from nodes.kernel.selector_rules import SelectorNotSupported, match_expressions
from nodes.kernel.set_elements import ElementChange
from nodes.lma.binding_cache import BindingCache, BindingCacheEntry
from nodes.lma.flow_forwarding import FlowForwarding
from nodes.wire.traffic_selector import IPv6TrafficSelector, PacketFields
from tests.domain import LMA, MAG1, MAG2, P1
from tests.domain import MN as MN_ID
from tests.nodes.test_classifier import HOME, packets, selectors
from tests.policy_routing import DROP, PolicyRouting

FABRIC = "lma-s1"
KEY, LABEL = 0x10001, 0xFFFFF
CN, MN = IPv6Address("2001:db8:1::2"), P1[1]
BIDS = ((1,), (2,), (3,), (1, 2))
Made = tuple[LmaForwarding, PolicyRouting, list[str]]


def _words(command: Command) -> str:
    return command.command(TABLE) if isinstance(command, ElementChange) else command


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], Made]:
    """Forwarding with tunnels to both MAGs and one flow, its routing, and nftables' commands."""

    def made(fabric: str | None) -> Made:
        kernel, commands = PolicyRouting(), []

        class RecordedTransactions:
            def __init__(self, table: str, skeleton: object, *, adopt: bool) -> None:
                assert table == TABLE
                assert not adopt

            def run(self, *some: Command) -> None:
                commands.extend(_words(command) for command in some)

        monkeypatch.setattr(lma_forwarding, "Routing", lambda: kernel)
        monkeypatch.setattr(lma_forwarding, "AdoptedTable", RecordedTransactions)
        forwarding = LmaForwarding(LMA, fabric=fabric, labels=fabric is None)
        for peer in (MAG1, MAG2):
            forwarding.perform(OpenTunnel(peer))
        row = FlowMobilityCacheEntry(1, 1, IPv6TrafficSelector.of(protocol=17), (1,))
        forwarding.perform(InstallFlow(KEY, row, (P1,), "mn"))
        commands.clear()
        return forwarding, kernel, commands

    return made


def test_the_fabric_is_one_exit_more(make: Callable[[str | None], Made]) -> None:
    forwarding, kernel, commands = make(FABRIC)
    assert kernel.neighbours == {FABRIC: (FABRIC_GATEWAY, FABRIC_MAC)}
    forwarding.perform(RoutePrefix(P1, FABRIC_GATEWAY))
    forwarding.perform(ForwardFlows(((KEY, (FABRIC_GATEWAY,)),)))
    assert kernel.tables[254][P1] == (FABRIC, FABRIC_GATEWAY)
    assert kernel.fate("cn-lma", CN, MN) == FABRIC
    assert kernel.fate("cn-lma", CN, MN, mark=FABRIC_MARK) == FABRIC
    assert f"add element ip6 flowmob binding {{ {KEY:#x} : {FABRIC_MARK:#x} }}" in commands
    forwarding.perform(ForwardFlows(((KEY, (MAG2,)),)))  # a fallback
    assert kernel.fate("cn-lma", CN, MN, mark=2) == "mag2"


def test_flows_of_a_prefix_that_is_blocked_are_classified(
    make: Callable[[str | None], Made],
) -> None:
    """Its session has ended, its flows may be with another binding (RFC 7864 figure 5). An LMA that
    goes on with its sessions blocks what it never routed (found by chaos, seed 16)."""
    forwarding, kernel, commands = make(FABRIC)
    forwarding.perform(BlockPrefix(P1))
    assert kernel.fate("cn-lma", CN, MN) == DROP
    assert commands == [f"add element ip6 flowmob home_prefixes {{ {P1[0]} }}"]
    forwarding.perform(RoutePrefix(P1, MAG1))
    assert kernel.fate("cn-lma", CN, MN) == "mag1"
    assert len(commands) == 1, "once"
    forwarding.perform(UnroutePrefix(P1))
    assert commands[1:] == [f"delete element ip6 flowmob home_prefixes {{ {P1[0]} }}"]


def test_a_marks_label_does_not_change_the_tunnel(make: Callable[[str | None], Made]) -> None:
    forwarding, kernel, commands = make(None)
    forwarding.perform(RoutePrefix(P1, MAG1))
    forwarding.perform(LabelFlow(KEY, LABEL))
    assert commands == [f"add element ip6 flowmob home_prefixes {{ {P1[0]} }}"]
    forwarding.perform(ForwardFlows(((KEY, (MAG2,)),)))
    mark = with_label(2, LABEL)
    assert mark < 1 << 32
    assert kernel.fate("cn-lma", CN, MN, mark=mark) == "mag2"
    assert f"add element ip6 flowmob binding {{ {KEY:#x} : {mark:#x} }}" in commands
    assert (
        f"add rule ip6 flowmob label_{KEY:x} @nh,0,32 set @nh,0,32 & 0xfff00000 | {LABEL}"
        in commands
    )
    assert f"add element ip6 flowmob labels {{ {mark:#x} : goto label_{KEY:x} }}" in commands


@pytest.mark.parametrize("end", [LabelFlow(KEY, 0), RemoveFlow(KEY), ForwardFlows(((KEY, ()),))])
def test_a_label_goes_with_its_flow(
    make: Callable[[str | None], Made], end: LabelFlow | RemoveFlow | ForwardFlows
) -> None:
    forwarding, _, commands = make(None)
    forwarding.perform(LabelFlow(KEY, LABEL))
    forwarding.perform(ForwardFlows(((KEY, (MAG2,)),)))
    commands.clear()
    forwarding.perform(end)
    if isinstance(end, LabelFlow):
        forwarding.perform(ForwardFlows(((KEY, (MAG2,)),)))
        assert f"add element ip6 flowmob binding {{ {KEY:#x} : 0x2 }}" in commands
    gone = [line for line in commands if line.startswith(("delete", "flush"))]
    assert f"delete chain ip6 flowmob label_{KEY:x}" in gone
    assert f"delete element ip6 flowmob labels {{ {with_label(2, LABEL):#x} }}" in gone


def test_a_tunnel_that_closes_takes_its_rule_along(make: Callable[[str | None], Made]) -> None:
    forwarding, kernel, _ = make(None)
    before = len(kernel.rules)
    forwarding.perform(CloseTunnel(MAG2))
    assert len(kernel.rules) == before - 1
    assert "mag2" not in kernel.tunnels


def test_prefixes_leave_the_fabric_again(make: Callable[[str | None], Made]) -> None:
    forwarding, kernel, _ = make(FABRIC)
    forwarding.perform(RoutePrefix(P1, FABRIC_GATEWAY))
    forwarding.perform(RoutePrefix(P1, MAG1))
    assert kernel.tables[254] == {IPv6Network(P1): ("mag1", None)}


class Classifier:
    """What nftables has been told of which packet belongs to which flow."""

    def __init__(self) -> None:
        self.exact: dict[str, int] = {}
        self.ordered: list[int] = []

    def tell(self, command: str) -> None:
        words = command.removesuffix(" }").split()
        if command.startswith(f"add element {TABLE} exact"):
            found, _, key = command.split("{ ")[1].removesuffix(" }").rpartition(" : ")
            assert found not in self.exact
            self.exact[found] = int(key, 16)
        elif command.startswith(f"delete element {TABLE} exact"):
            del self.exact[command.split("{ ")[1].removesuffix(" }")]
        elif command.startswith(f"flush chain {TABLE} ordered"):
            self.ordered.clear()
        elif command.startswith(f"add rule {TABLE} ordered"):
            self.ordered.append(int(words[-2], 16))

    def choose(
        self, rows: dict[int, FlowMobilityCacheEntry], packet: PacketFields
    ) -> FlowMobilityCacheEntry | None:
        parts = (packet.source, packet.destination, packet.protocol)
        found = " . ".join(map(str, (*parts, packet.source_port, packet.destination_port)))
        if found in self.exact:
            return rows[self.exact[found]]
        return next((rows[k] for k in self.ordered if rows[k].selector.matches(packet)), None)


def is_supported(selector: IPv6TrafficSelector) -> bool:
    """Others are refused by the control socket."""
    with contextlib.suppress(SelectorNotSupported):
        return bool(match_expressions(selector))
    return False


SELECTORS = selectors().filter(is_supported)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 9), SELECTORS, st.sampled_from(BIDS)),
        st.tuples(st.just("rebind"), st.integers(0, 9), st.none(), st.sampled_from(BIDS)),
        st.tuples(st.just("remove"), st.integers(0, 9), st.none(), st.none()),
        st.tuples(st.just("register"), st.integers(1, 3), st.none(), st.none()),
        st.tuples(st.just("deregister"), st.integers(1, 3), st.none(), st.none()),
    ),
    max_size=16,
)


class Rows:
    """A mobile node with three bindings and its rows, and what they come to in nftables."""

    def __init__(self, forwarding: LmaForwarding) -> None:
        self.cache, self.outbox, self.bindings = FlowMobilityCache(), Outbox(), BindingCache()
        for bid, peer in ((1, MAG1), (2, MAG2), (3, MAG1)):
            self.bindings.add(BindingCacheEntry(bid, bid, MN_ID, 4, b"", (HOME,), peer, 9.0))
        self.forwarding = forwarding
        self.flows = FlowForwarding(self.cache, self.bindings, lambda _: (HOME,), self.outbox)
        self.fids = 0

    def take(self, what: str, number: int, selector: object, bids: tuple[int, ...] | None) -> None:
        rows = self.cache.rows(MN_ID)
        row = rows[number % len(rows)] if rows else None
        if what == "add" and all(row.priority != number for row in rows):
            assert isinstance(selector, IPv6TrafficSelector)
            assert bids is not None
            self.fids += 1
            entry = FlowMobilityCacheEntry(number, self.fids, selector, bids)
            self.cache.add(MN_ID, entry)
            self.flows.add(MN_ID, self.fids)
        elif what == "rebind" and row is not None and bids is not None:
            self.cache.rebind(MN_ID, row.fid, bids)
        elif what == "remove" and row is not None:
            self.cache.remove(MN_ID, row.fid)
            self.flows.remove(MN_ID, row.fid)
        elif what in ("register", "deregister"):
            binding = self.bindings.get(number)
            assert binding is not None
            binding.deletion = 5.0 if what == "deregister" else None
        self.flows.refresh(MN_ID)
        for action in self.outbox.take():
            self.forwarding.perform(action)


@given(steps=STEPS, arriving=st.lists(packets, min_size=1, max_size=6))
def test_the_kernel_chooses_the_row_that_the_cache_does_rfc7864_5_2(
    steps: list[tuple[str, int, object, tuple[int, ...] | None]], arriving: list[PacketFields]
) -> None:
    """Whatever rows and bindings there have been: one that is inactive doesn't stand before those
    behind it."""
    classifier = Classifier()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lma_forwarding, "Routing", PolicyRouting)
        patch.setattr(lma_forwarding.AdoptedTable, "__init__", lambda self, *_, adopt: None)
        patch.setattr(
            lma_forwarding.AdoptedTable,
            "run",
            lambda self, *commands: [classifier.tell(_words(command)) for command in commands],
        )
        forwarding = LmaForwarding(LMA)
        for peer in (MAG1, MAG2):
            forwarding.perform(OpenTunnel(peer))
        model = Rows(forwarding)
        for step in steps:
            model.take(*step)
    rows = {model.flows.key(MN_ID, row.fid): row for row in model.cache.rows(MN_ID)}
    for packet in arriving:
        assert classifier.choose(rows, packet) == model.cache.match(MN_ID, packet)
