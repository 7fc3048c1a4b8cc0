"""The rules that a MAG filters flows by, as nftables gets them; tests/system/test_flows.py has what
the kernel makes of them."""

from __future__ import annotations

from ipaddress import IPv6Network

import pytest

from nodes.actions import FilterFlows
from nodes.flow_mobility_cache import FlowMobilityCacheEntry
from nodes.kernel import mag_flow_filter
from nodes.kernel.mag_flow_filter import MagFlowFilter
from nodes.wire.traffic_selector import IPv6TrafficSelector

P1, P2 = IPv6Network("2001:db8:100::/64"), IPv6Network("2001:db8:100:1::/64")
EMPTY = ["add table ip6 flowmob", "delete table ip6 flowmob"]


class Recorded:
    def __init__(self) -> None:
        self.transactions: list[list[str]] = []

    def run(self, *commands: str) -> None:
        self.transactions.append(list(commands))


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    made = Recorded()
    monkeypatch.setattr(mag_flow_filter, "Transactions", lambda: made)
    return made


def row(fid: int, **fields: int) -> FlowMobilityCacheEntry:
    return FlowMobilityCacheEntry(fid, fid, IPv6TrafficSelector(**fields), ())  # type: ignore[arg-type]


def rules(recorded: Recorded) -> list[str]:
    """Those of the last transaction, without the table that they are in."""
    added = [command for command in recorded.transactions[-1] if command.startswith("add rule")]
    return [command.removeprefix("add rule ip6 flowmob ") for command in added]


def test_a_predecessors_table_goes_at_the_start(recorded: Recorded) -> None:
    MagFlowFilter()
    assert recorded.transactions == [EMPTY]


def test_the_flows_pass_both_ways_and_nothing_else_rfc7864_3_4(recorded: Recorded) -> None:
    filters = MagFlowFilter()
    flow = row(1, start_source_port=5001, start_next_header=17)
    filters.filter(FilterFlows("mag1-mn", (P1, P2), (flow,)))
    assert len(recorded.transactions) == 2, "one transaction, so that nothing slips through"
    assert rules(recorded) == [
        "down_0 meta l4proto 17 th sport 5001 accept",
        "up_0 meta l4proto 17 th dport 5001 accept",
        "down_0 drop",
        "up_0 drop",
        f'filtered oifname "mag1-mn" ip6 daddr {{ {P1}, {P2} }} jump down_0',
        f'filtered iifname "mag1-mn" ip6 saddr {{ {P1}, {P2} }} jump up_0',
    ]


def test_without_a_flow_nothing_passes_rfc7864_3_4(recorded: Recorded) -> None:
    MagFlowFilter().filter(FilterFlows("mag1-mn", (P1,), ()))
    assert rules(recorded)[:2] == ["down_0 drop", "up_0 drop"]


def test_interfaces_have_filters_of_their_own_and_each_is_the_whole_set_rfc7864_4_2(
    recorded: Recorded,
) -> None:
    filters = MagFlowFilter()
    filters.filter(FilterFlows("mag1-a", (P1,), (row(1, start_next_header=6),)))
    filters.filter(FilterFlows("mag1-b", (P2,), (row(1, start_next_header=17),)))
    assert [rule for rule in rules(recorded) if "accept" in rule] == [
        "down_0 meta l4proto 6 accept",
        "up_0 meta l4proto 6 accept",
        "down_1 meta l4proto 17 accept",
        "up_1 meta l4proto 17 accept",
    ]
    filters.filter(FilterFlows("mag1-a", (P1,), (row(2, start_next_header=58),)))
    assert "down_0 meta l4proto 58 accept" in rules(recorded)
    assert "down_0 meta l4proto 6 accept" not in rules(recorded)
    filters.filter(FilterFlows("mag1-a"))
    assert not [rule for rule in rules(recorded) if "mag1-a" in rule]
    filters.filter(FilterFlows("mag1-b"))
    assert recorded.transactions[-1] == EMPTY, "and the kernel looks at no packet"


def test_what_each_sender_chooses_does_not_count_the_other_way_rfc6088_3_2(
    recorded: Recorded,
) -> None:
    """The SPI is that of one direction; that it is IPsec holds for both."""
    filters = MagFlowFilter()
    filters.filter(FilterFlows("mag1-mn", (P1,), (row(1, start_spi=256),)))
    assert rules(recorded)[:3] == [
        "down_0 esp spi 256 accept",
        "down_0 ah spi 256 accept",
        "up_0 meta l4proto 50-51 accept",
    ]
    filters.filter(FilterFlows("mag1-mn", (P1,), (row(1, start_spi=256, start_next_header=51),)))
    assert rules(recorded)[:2] == ["down_0 ah spi 256 accept", "up_0 meta l4proto 51 accept"]
    both = row(1, start_flow_label=7, start_next_header=17)
    filters.filter(FilterFlows("mag1-mn", (P1,), (both,)))
    assert rules(recorded)[:2] == [
        "down_0 ip6 flowlabel 7 meta l4proto 17 accept",
        "up_0 meta l4proto 17 accept",
    ]
