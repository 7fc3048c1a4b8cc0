"""What the LMA's forwarding makes of rows, as differences (RFC 7864 section 5.2)."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest

from nodes.actions import ForwardFlows, InstallFlow, Outbox, RemoveFlow
from nodes.flow_mobility_cache import FlowAction, FlowMobilityCache, FlowMobilityCacheEntry
from nodes.lma.binding_cache import BindingCache, BindingCacheEntry
from nodes.lma.flow_forwarding import FIRST_FLOW_KEY, FlowForwarding
from nodes.wire.traffic_selector import IPv6TrafficSelector

MAG1, MAG2 = IPv6Address("2001:db8:11::1"), IPv6Address("2001:db8:12::1")
P1, P2, P3 = (IPv6Network(f"2001:db8:100:{number}::/64") for number in range(3))
MN = "mn@example.org"
KEY = FIRST_FLOW_KEY


def row(
    fid: int, *bids: int, action: FlowAction = FlowAction.FORWARD, to: IPv6Network | None = None
) -> FlowMobilityCacheEntry:
    selector = IPv6TrafficSelector.of(destination=to, protocol=17)
    return FlowMobilityCacheEntry(fid, fid, selector, bids, action)


class Lma:
    """Two bindings, 1 and 2, at MAGs of these numbers, that hold P1 and P2."""

    def __init__(self) -> None:
        self.bindings, self.cache, self.outbox = BindingCache(), FlowMobilityCache(), Outbox()
        for bid, peer, prefix in ((1, MAG1, P1), (2, MAG2, P2)):
            self.bindings.add(
                BindingCacheEntry(bid, bid, MN, 4, bytes(2), (prefix,), peer, expires=9.0)
            )
        self.forwarding = FlowForwarding(
            self.cache,
            self.bindings,
            lambda entry: entry.prefixes + entry.flow_mobility_prefixes,
            self.outbox,
        )

    def binding(self, bid: int) -> BindingCacheEntry:
        found = self.bindings.get(bid)
        assert found is not None
        return found

    def add(self, entry: FlowMobilityCacheEntry) -> list[object]:
        self.cache.add(MN, entry)
        self.forwarding.add(MN, entry.fid)
        return self.refreshed()

    def refreshed(self) -> list[object]:
        self.forwarding.refresh(MN)
        return list(self.outbox.take())


@pytest.fixture
def lma() -> Lma:
    return Lma()


def test_a_flow_goes_where_its_binding_is_and_nothing_is_said_twice_rfc7864_5_2(lma: Lma) -> None:
    entry = row(1, 1, to=P1)
    assert lma.add(entry) == [InstallFlow(KEY, entry, (P1,), MN), ForwardFlows(((KEY, (MAG1,)),))]
    assert lma.refreshed() == []
    lma.forwarding.remove(MN, 1)
    assert lma.outbox.take() == [RemoveFlow(KEY)]


def test_packets_go_only_where_their_prefix_is_routed_rfc7864_3_2_2(lma: Lma) -> None:
    entry = row(1, 2, to=P1)
    assert lma.add(entry) == [InstallFlow(KEY, entry, (), MN), ForwardFlows(((KEY, ()),))]
    assert lma.refreshed() == []
    lma.binding(2).flow_mobility_prefixes = (P1,)
    assert [a for a in lma.refreshed() if isinstance(a, ForwardFlows)] == [
        ForwardFlows(((KEY, (MAG2,)),))
    ]
    lma.binding(2).flow_mobility_prefixes = ()
    assert lma.refreshed() == [ForwardFlows(((KEY, ()),))]
    lma.forwarding.remove(MN, 1)
    assert lma.outbox.take() == [RemoveFlow(KEY)]


def test_a_wide_flow_takes_the_prefixes_that_all_its_mags_route_rfc6089_5_3_6(lma: Lma) -> None:
    lma.binding(2).flow_mobility_prefixes = (P1, P3)
    lma.binding(1).flow_mobility_prefixes = (P3,)
    installed, forwarded = lma.add(row(1, 2, 1))
    assert isinstance(installed, InstallFlow)
    assert installed.prefixes == (P1, P3), "P2 isn't at MAG 1"
    assert forwarded == ForwardFlows(((KEY, (MAG2, MAG1)),))
    lma.binding(1).deletion = 5.0
    installed, forwarded = lma.refreshed()
    assert isinstance(installed, InstallFlow)
    assert installed.prefixes == (P1, P2, P3)
    assert forwarded == ForwardFlows(((KEY, (MAG2,)),))


def test_a_row_is_inactive_without_any_registered_binding_rfc7864_5_2(lma: Lma) -> None:
    lma.add(row(1, 1, 2, to=P1))
    for bid, active in ((1, True), (2, False)):
        lma.binding(bid).deletion = 5.0
        lma.refreshed()
        found = lma.cache.get(MN, 1)
        assert found is not None
        assert found.active is active


def test_two_bindings_at_one_mag_are_one_path_rfc6089_5_3_6(lma: Lma) -> None:
    lma.binding(2).proxy_coa = MAG1
    lma.binding(2).flow_mobility_prefixes = (P1,)
    assert lma.add(row(1, 1, 2, to=P1))[-1] == ForwardFlows(((KEY, (MAG1,)),))


def test_a_dropped_flow_needs_no_prefix_anywhere_rfc7864_5_2(lma: Lma) -> None:
    installed, forwarded = lma.add(row(1, 2, to=P1, action=FlowAction.DROP))
    assert isinstance(installed, InstallFlow)
    assert installed.prefixes == (P1,)
    assert forwarded == ForwardFlows(((KEY, (MAG2,)),))


def test_several_moves_are_one_change_rfc7864_5_2(lma: Lma) -> None:
    lma.binding(2).flow_mobility_prefixes = (P1,)
    for fid in (1, 2):
        lma.add(row(fid, 1, to=P1))
    for fid in (1, 2):
        lma.cache.rebind(MN, fid, (2,))
    assert lma.refreshed() == [ForwardFlows(((KEY, (MAG2,)), (KEY + 1, (MAG2,))))]


@pytest.mark.parametrize(
    ("start", "end", "within", "addressed"),
    [
        (None, None, [], [P1, P2, P3]),
        (P1[0], P1[-1], [P1], [P1]),
        (P1[7], None, [P1], [P1]),
        (P1[-1], P2[0], [], [P1, P2]),
        (P1[7], P3[7], [], [P1, P2, P3]),
        (IPv6Address("2001:db8::1"), None, [], []),
        (IPv6Address("::"), P1[0], [], [P1]),
    ],
)
def test_the_prefixes_that_a_selector_is_about_rfc6088_3_2(
    start: IPv6Address | None,
    end: IPv6Address | None,
    within: list[IPv6Network],
    addressed: list[IPv6Network],
) -> None:
    selector = IPv6TrafficSelector(start_destination_address=start, end_destination_address=end)
    entry = FlowMobilityCacheEntry(1, 1, selector, (1,))
    every = (P1, P2, P3)
    assert [prefix for prefix in every if FlowForwarding.is_within(entry, prefix)] == within
    assert list(FlowForwarding.addressed(entry, every)) == addressed
