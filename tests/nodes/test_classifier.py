from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.classifier import ClassifiedRow, Classifier, FiveTuple, classify, five_tuple
from nodes.flow_mobility_cache import FlowConflict, FlowMobilityCache, FlowMobilityCacheEntry
from nodes.wire.traffic_selector import IPv6TrafficSelector, PacketFields

CN1, CN2 = IPv6Address("2001:db8:1::2"), IPv6Address("2001:db8:1::3")
HOME = IPv6Network("2001:db8:100::/64")
MN1, MN2 = HOME[1], HOME[2]
TCP, UDP, ICMP = 6, 17, 58


def exact(priority: int = 1, **changes: Any) -> FlowMobilityCacheEntry:
    values: dict[str, Any] = {
        "start_source_address": CN1,
        "start_destination_address": MN1,
        "start_next_header": UDP,
        "start_source_port": 1,
        "start_destination_port": 2,
        **changes,
    }
    selector = IPv6TrafficSelector(**values)
    return FlowMobilityCacheEntry(priority, priority, selector, (1,))


def test_a_selector_of_one_5_tuple_is_exact_rfc6088_3_2() -> None:
    expected = FiveTuple(CN1, MN1, UDP, 1, 2)
    assert five_tuple(exact()) == expected
    same = exact(
        end_source_address=CN1,
        end_destination_address=MN1,
        end_next_header=UDP,
        end_source_port=1,
        end_destination_port=2,
    )
    assert five_tuple(same) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"start_source_address": None},
        {"start_destination_address": None},
        {"start_next_header": None},
        {"start_source_port": None},
        {"start_destination_port": None},
        {"end_source_address": CN2},
        {"end_destination_address": MN2},
        {"end_next_header": UDP + 1},
        {"end_source_port": 2},
        {"end_destination_port": 3},
        {"start_spi": 1},
        {"start_flow_label": 0},
        {"start_traffic_class": 0},
        {"start_next_header": ICMP},
    ],
)
def test_anything_else_is_not_rfc6088_3_2(changes: dict[str, Any]) -> None:
    assert five_tuple(exact(**changes)) is None


def test_an_exact_row_behind_an_overlapping_one_is_in_the_list_rfc6089_4_2() -> None:
    wide = FlowMobilityCacheEntry(5, 5, IPv6TrafficSelector.of(protocol=UDP), (1,))
    rows = [ClassifiedRow(key, entry, (HOME,)) for key, entry in enumerate((exact(9), wide))]
    division = classify(rows)
    assert division.exact == {}
    assert [row.key for row in division.ordered] == [1, 0]


def test_of_two_rows_with_one_5_tuple_the_lower_fid_pri_counts_rfc6089_4_2() -> None:
    rows = [ClassifiedRow(key, exact(key), (HOME,)) for key in (9, 3)]
    assert list(classify(rows).exact.values()) == [3]


def test_a_wide_row_of_another_node_does_not_matter_rfc7864_5_2() -> None:
    wide = FlowMobilityCacheEntry(5, 5, IPv6TrafficSelector(), (1,))
    other = IPv6Network("2001:db8:100:1::/64")
    division = classify([ClassifiedRow(7, exact(9), (HOME,)), ClassifiedRow(8, wide, (other,))])
    assert list(division.exact.values()) == [7]
    assert [row.key for row in division.ordered] == [8]


def pick(values: list[object]) -> st.SearchStrategy[object]:
    return st.one_of(st.none(), st.sampled_from(values))


@st.composite
def selectors(draw: st.DrawFn) -> IPv6TrafficSelector:
    """From a small world, so that rows overlap and packets match. Half are 5-tuples or nearly."""
    values: dict[str, object] = {}
    ranges: dict[str, list[object]] = {
        "source_address": [CN1, CN2],
        "destination_address": [MN1, MN2],
        "next_header": [TCP, UDP, ICMP],
        "source_port": [1, 2, 3],
        "destination_port": [1, 2],
    }
    complete = draw(st.booleans())
    for name, choices in ranges.items():
        start = draw(st.sampled_from(choices) if complete else pick(choices))
        if start is None:
            continue
        values[f"start_{name}"] = start
        end = draw(pick(choices))
        if end is not None and draw(st.integers(0, 3)) == 0:
            first, last = sorted((start, end), key=int)  # type: ignore[arg-type]
            values[f"start_{name}"], values[f"end_{name}"] = first, last
    if draw(st.integers(0, 5)) == 0:
        values["start_traffic_class"] = draw(st.sampled_from([0, 3, 184]))
    return IPv6TrafficSelector(**values)  # type: ignore[arg-type]


packets = st.builds(
    PacketFields,
    st.sampled_from([CN1, CN2]),
    st.sampled_from([MN1, MN2]),
    st.sampled_from([TCP, UDP]),
    st.sampled_from([1, 2, 3]),
    st.sampled_from([1, 2]),
    st.sampled_from([0, 184]),
)


@given(
    st.lists(st.tuples(st.integers(1, 9), selectors(), st.booleans()), max_size=8),
    st.lists(packets, min_size=1, max_size=6),
)
def test_map_and_list_choose_the_same_row_as_the_cache_rfc6089_5_3_6(
    rows: list[tuple[int, IPv6TrafficSelector, bool]], arriving: list[PacketFields]
) -> None:
    cache = FlowMobilityCache()
    for fid, (priority, selector, active) in enumerate(rows, start=1):
        try:
            cache.add("mn", FlowMobilityCacheEntry(priority, fid, selector, (1,), active=active))
        except FlowConflict:
            continue
    active_rows = [row for row in cache.rows("mn") if row.active]
    division = classify(ClassifiedRow(row.fid, row, (HOME,)) for row in reversed(active_rows))
    for packet in arriving:
        found = FiveTuple(
            *(packet.source, packet.destination, packet.protocol),  # type: ignore[arg-type]
            *(packet.source_port, packet.destination_port),  # type: ignore[arg-type]
        )
        chosen = division.exact.get(found)
        if chosen is None:
            chosen = next(
                (r.key for r in division.ordered if r.entry.selector.matches(packet)), None
            )
        expected = cache.match("mn", packet)
        assert chosen == (None if expected is None else expected.fid)


OTHER_HOME = IPv6Network("2001:db8:100:1::/64")
changed_rows = st.builds(
    lambda priority, selector, prefixes: (
        FlowMobilityCacheEntry(priority, priority, selector, (1,)),
        prefixes,
    ),
    st.integers(1, 4),
    selectors(),
    st.sampled_from([(HOME,), (OTHER_HOME,), (HOME, OTHER_HOME)]),
)


@given(
    st.lists(st.dictionaries(st.integers(1, 6), st.none() | changed_rows, max_size=3), max_size=12)
)
def test_rows_that_come_and_go_end_as_all_rows_at_once_rfc6089_5_3_6(
    changes: list[dict[int, tuple[FlowMobilityCacheEntry, tuple[IPv6Network, ...]] | None]],
) -> None:
    classifier = Classifier()
    rows: dict[int, ClassifiedRow] = {}
    exact: dict[FiveTuple, int] = {}
    ordered: tuple[ClassifiedRow, ...] = ()
    for change in changes:
        new = {
            key: None if given is None else ClassifiedRow(key, *given)
            for key, given in change.items()
        }
        rows = {key: row for key, row in {**rows, **new}.items() if row is not None}
        done = classifier.change(new)
        for found, key in done.left.items():
            assert exact.pop(found) == key
        assert not exact.keys() & done.came.keys()
        exact.update(done.came)
        if done.ordered is not None:
            assert done.ordered != ordered
            ordered = done.ordered
        wanted = classify(rows.values())
        assert (exact, ordered) == (wanted.exact, wanted.ordered)


def test_a_flow_more_does_not_cost_those_that_are_there_rfc6089_5_3_6(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_at = 0

    def counted(entry: FlowMobilityCacheEntry) -> FiveTuple | None:
        nonlocal looked_at
        looked_at += 1
        return five_tuple(entry)

    monkeypatch.setattr("nodes.classifier.five_tuple", counted)
    classifier = Classifier()
    for number in range(1, 201):
        row = ClassifiedRow(number, exact(number, start_source_port=number), (HOME,))
        change = classifier.change({number: row})
        assert (list(change.came.values()), change.left, change.ordered) == ([number], {}, None)
    assert looked_at <= 3 * 200


def test_of_rows_with_one_5_tuple_the_next_takes_over_rfc6089_4_2() -> None:
    classifier = Classifier()
    first, second = (ClassifiedRow(key, exact(key), (HOME,)) for key in (3, 9))
    assert list(classifier.change({9: second}).came.values()) == [9]
    change = classifier.change({3: first})
    assert (list(change.left.values()), list(change.came.values())) == ([9], [3])
    assert classifier.change({9: None}) == ({}, {}, None)
    assert classifier.change({9: second}) == ({}, {}, None)
    change = classifier.change({3: None})
    assert (list(change.left.values()), list(change.came.values())) == ([3], [9])
