"""The LMA's forwarding with a controller, over a model of policy routing and what nftables is told:
native exits, and labels of tunnel headers. That packets do so is for the tests in a guest."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network

import pytest

from nodes.actions import (
    CloseTunnel,
    ForwardFlows,
    InstallFlow,
    LabelFlow,
    OpenTunnel,
    RemoveFlow,
    RoutePrefix,
)
from nodes.controller_config import FABRIC_GATEWAY, FABRIC_MAC
from nodes.flow_mobility_cache import FlowMobilityCacheEntry
from nodes.kernel import lma_forwarding
from nodes.kernel.flow_labels import with_label
from nodes.kernel.lma_forwarding import FABRIC_MARK, LmaForwarding
from nodes.wire.traffic_selector import IPv6TrafficSelector
from tests.domain import LMA, MAG1, MAG2, P1
from tests.policy_routing import PolicyRouting

FABRIC = "lma-s1"
KEY, LABEL = 0x10001, 0xFFFFF
CN, MN = IPv6Address("2001:db8:1::2"), P1[1]
Made = tuple[LmaForwarding, PolicyRouting, list[str]]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], Made]:
    """Forwarding with tunnels to both MAGs and one flow, its routing, and nftables' commands."""

    def made(fabric: str | None) -> Made:
        kernel, commands = PolicyRouting(), []

        class RecordedTransactions:
            def run(self, *some: str) -> None:
                commands.extend(some)

        monkeypatch.setattr(lma_forwarding, "Routing", lambda: kernel)
        monkeypatch.setattr(lma_forwarding, "Transactions", RecordedTransactions)
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


def test_a_marks_label_does_not_change_the_tunnel(make: Callable[[str | None], Made]) -> None:
    forwarding, kernel, commands = make(None)
    forwarding.perform(RoutePrefix(P1, MAG1))
    forwarding.perform(LabelFlow(KEY, LABEL))
    assert commands == [f"add element ip6 flowmob home_prefixes {{ {P1} }}"]
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
