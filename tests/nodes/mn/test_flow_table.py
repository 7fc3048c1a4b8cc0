from __future__ import annotations

import itertools
from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from nodes.mn.flow_table import FlowTable, FlowTableEntry, static_rows, uplink_selector
from nodes.wire.traffic_selector import IPv6TrafficSelector, PacketFields

CN, HOME = IPv6Address("2001:db8:1::2"), IPv6Address("2001:db8:100::1")
SELECTOR = IPv6TrafficSelector(
    start_source_address=CN,
    start_destination_address=HOME,
    start_source_port=5001,
    end_source_port=5009,
    start_destination_port=6001,
    start_next_header=17,
    start_traffic_class=184,
)
ROW = FlowTableEntry(1, 10, SELECTOR, "mn-wlan")


def test_the_row_with_precedence_comes_first_and_a_fid_has_one_row_rfc7847_3_2() -> None:
    table = FlowTable()
    table.bind(ROW)
    table.bind(replace(ROW, fid=2, priority=5))
    table.bind(replace(ROW, interface="mn-cell"))
    assert [(row.fid, row.interface) for row in table.rows()] == [(2, "mn-wlan"), (1, "mn-cell")]
    table.unbind(2)
    assert [row.fid for row in table.rows()] == [1]


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (replace(ROW, fid=2), "priority"),
        (replace(ROW, selector=IPv6TrafficSelector(start_flow_label=1)), "start_flow_label"),
        (replace(ROW, selector=IPv6TrafficSelector(start_spi=1)), "start_spi"),
    ],
)
def test_a_row_that_can_not_be_is_named_and_nothing_changes(row: FlowTableEntry, name: str) -> None:
    table = FlowTable()
    table.bind(ROW)
    with pytest.raises(ValueError, match=name):
        table.bind(row)
    with pytest.raises(ValueError, match="fid is 7"):
        table.unbind(7)
    assert table.rows() == (ROW,)


def test_both_directions_match_the_same_flows_rfc6088_3() -> None:
    fields = (
        (CN, HOME),
        (CN, HOME),
        (6, 17),
        (5001, 5005, 6001),
        (5001, 5009, 6001),
        (0, 184),
    )
    packets = [PacketFields(*values) for values in itertools.product(*fields)]
    matching = [packet for packet in packets if SELECTOR.matches(packet)]
    assert len(matching) == 2
    answers = uplink_selector(SELECTOR)
    assert [packet for packet in packets if answers.matches(packet.reversed())] == matching


def test_a_static_policy_is_about_the_correspondents_ports_rfc7864_6() -> None:
    first, second = static_rows({"5001": "mn-wlan", "5002": "mn-cell"})
    assert (first.interface, second.interface) == ("mn-wlan", "mn-cell")
    assert uplink_selector(first.selector) == IPv6TrafficSelector(start_destination_port=5001)
    assert len({first.fid, second.fid}) == len({first.priority, second.priority}) == 2
