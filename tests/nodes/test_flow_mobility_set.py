from __future__ import annotations

from ipaddress import IPv6Network

from hypothesis import given
from hypothesis import strategies as st

from nodes.flow_mobility_set import FlowMobilitySet
from nodes.wire.flow_options import FlowIdentification
from nodes.wire.traffic_selector import IPv6TrafficSelector

PREFIXES = [IPv6Network(f"2001:db8:{number}::/64") for number in range(3)]
UDP, TCP = (IPv6TrafficSelector(start_next_header=number) for number in (17, 6))


def flow(fid: int, priority: int, selector: IPv6TrafficSelector = UDP) -> FlowIdentification:
    return FlowIdentification(fid, priority, sub_options=(selector,))


FLOWS = st.lists(
    st.builds(flow, st.integers(1, 3), st.integers(1, 3), st.sampled_from([UDP, TCP])),
    max_size=3,
    unique_by=(lambda flow: flow.fid, lambda flow: flow.priority),
).map(tuple)
SETS = st.builds(
    FlowMobilitySet, st.lists(st.sampled_from(PREFIXES), unique=True).map(tuple), FLOWS
)


@given(SETS, SETS)
def test_both_together_and_each_fid_and_priority_once_rfc6089_4_2(
    older: FlowMobilitySet, newer: FlowMobilitySet
) -> None:
    both = older.with_all(newer)
    assert both.holds(newer)
    assert set(both.prefixes) == {*older.prefixes, *newer.prefixes}
    assert len(both.prefixes) == len(set(both.prefixes))
    for values in ([f.fid for f in both.flows], [f.priority for f in both.flows]):
        assert len(values) == len(set(values))
    lost = set(older.flows) - set(both.flows)
    assert all(
        any(gone.fid == f.fid or gone.priority == f.priority for f in newer.flows) for gone in lost
    )


def test_a_flow_with_another_selector_is_another_rfc7864_3_4() -> None:
    there = FlowMobilitySet((PREFIXES[0],), (flow(1, 1),))
    assert there.holds(FlowMobilitySet((), (flow(1, 1),)))
    assert not there.holds(FlowMobilitySet((), (flow(1, 1, TCP),)))
    assert not there.holds(FlowMobilitySet((PREFIXES[1],)))
    assert there.holds(FlowMobilitySet())


def test_a_part_of_a_set() -> None:
    there = FlowMobilitySet((PREFIXES[0], PREFIXES[1]), (flow(1, 1), flow(2, 2)))
    kept = there.only(lambda item: item in (PREFIXES[1], flow(2, 2)))
    assert kept == FlowMobilitySet((PREFIXES[1],), (flow(2, 2),))
    assert kept.items() == (PREFIXES[1], flow(2, 2))
