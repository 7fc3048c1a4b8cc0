from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from nodes.flow_mobility_cache import FlowConflict, FlowMobilityCache, FlowMobilityCacheEntry
from nodes.wire.traffic_selector import IPv6TrafficSelector, PacketFields

PACKET = PacketFields(IPv6Address("2001:db8:1::2"), IPv6Address("2001:db8:100::1"), 17, 5001, 5001)
UDP = IPv6TrafficSelector.of(protocol=17)
TCP = IPv6TrafficSelector.of(protocol=6)
ANY = IPv6TrafficSelector()


def row(
    priority: int, fid: int, selector: IPv6TrafficSelector = ANY, active: bool = True
) -> FlowMobilityCacheEntry:
    return FlowMobilityCacheEntry(priority, fid, selector, (1,), active=active)


def cache(*rows: FlowMobilityCacheEntry) -> FlowMobilityCache:
    made = FlowMobilityCache()
    for item in rows:
        made.add("mn", item)
    return made


def test_the_lower_fid_pri_takes_precedence_rfc6089_4_2() -> None:
    rows = cache(row(30, 1, UDP), row(10, 2, TCP), row(20, 3))
    assert [item.fid for item in rows.rows("mn")] == [2, 3, 1]
    match = rows.match("mn", PACKET)
    assert match is not None
    assert match.fid == 3


def test_inactive_rows_do_not_affect_traffic_rfc7864_5_2() -> None:
    rows = cache(row(10, 1, UDP, active=False), row(20, 2))
    match = rows.match("mn", PACKET)
    assert match is not None
    assert match.fid == 2
    rows.set_active("mn", 2, False)
    assert rows.match("mn", PACKET) is None
    rows.set_active("mn", 1, True)
    match = rows.match("mn", PACKET)
    assert match is not None
    assert match.fid == 1


def test_no_row_is_for_mobility_signalling_rfc6089_4_3() -> None:
    rows = cache(row(10, 1), row(20, 2, IPv6TrafficSelector.of(protocol=135)))
    assert rows.match("mn", replace(PACKET, protocol=135)) is None
    assert rows.match("mn", replace(PACKET, protocol=134)) is not None


def test_rows_of_another_node_do_not_match_rfc7864_5_2() -> None:
    assert cache(row(10, 1)).match("other", PACKET) is None


@pytest.mark.parametrize("fid", [1, 0xFFFF])
def test_the_ends_of_the_ranges_are_in_use_rfc6089_4_2(fid: int) -> None:
    assert cache(row(fid, fid)).get("mn", fid) is not None


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (row(5, 0), "fid is 0"),
        (row(5, 0x10000), "fid is 65536"),
        (row(0, 5), "priority is 0"),
        (row(0x10000, 5), "priority is 65536"),
        (row(5, 1), "fid is 1; mn has a flow with it already"),
        (row(10, 5), "priority is 10; mn has a flow with it already"),
    ],
)
def test_identifiers_and_priorities_are_unique_and_in_range_rfc6089_4_2(
    entry: FlowMobilityCacheEntry, text: str
) -> None:
    rows = cache(row(10, 1))
    with pytest.raises(FlowConflict, match=text):
        rows.add("mn", entry)
    assert len(rows.rows("mn")) == 1


def test_a_move_changes_the_bids_and_nothing_else_rfc7864_5_2() -> None:
    rows = cache(row(10, 1), row(20, 2))
    moved = rows.rebind("mn", 2, (7,))
    assert (moved.bids, moved.priority, moved.selector) == ((7,), 20, ANY)
    assert [item.bids for item in rows.rows("mn")] == [(1,), (7,)]
    with pytest.raises(KeyError):
        rows.rebind("mn", 3, (7,))


def test_a_removed_row_frees_its_identifiers_rfc6089_4_2() -> None:
    rows = cache(row(10, 1))
    assert rows.remove("mn", 1) == row(10, 1)
    assert rows.remove("mn", 1) is None
    assert rows.all_rows() == []
    rows.add("mn", row(10, 1))
    assert rows.all_rows() == [("mn", row(10, 1))]
