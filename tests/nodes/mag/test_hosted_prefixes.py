"""The MAG's routing state, and that of its tunnels, as actions (RFC 5213 sections 5.6.1, 6.10)."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest

from nodes.actions import CloseTunnel, FilterFlows, HostPrefix, OpenTunnel, Outbox, UnhostPrefix
from nodes.config import AccessProfile
from nodes.flow_mobility_cache import FlowMobilityCacheEntry
from nodes.mag.binding_update_list import BindingUpdateListEntry
from nodes.mag.hosted_prefixes import HostedPrefixes
from nodes.wire.traffic_selector import IPv6TrafficSelector

LMA, OTHER_LMA = IPv6Address("2001:db8:10::1"), IPv6Address("2001:db8:20::1")
P1, P2, P3 = (IPv6Network(f"2001:db8:100:{number}::/64") for number in range(3))
MN = IPv6Address("fe80::1")
ROW = FlowMobilityCacheEntry(1, 1, IPv6TrafficSelector(start_next_header=17), ())


def entry(interface: str, lma: IPv6Address = LMA, **profile: object) -> BindingUpdateListEntry:
    fields = {"mn_id": "mn@example.org", "access_technology": 4, **profile}
    made = AccessProfile(**fields, link_layer_id="02:00:00:00:01:01")  # type: ignore[arg-type]
    return BindingUpdateListEntry(interface, made, lma)


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
def hosted(outbox: Outbox) -> HostedPrefixes:
    return HostedPrefixes(False, outbox)


def test_a_tunnel_for_all_of_an_lma_and_none_without_users_rfc5213_5_6_1(
    hosted: HostedPrefixes, outbox: Outbox
) -> None:
    first, second, other = entry("a"), entry("b"), entry("c", OTHER_LMA)
    hosted.host(first, (P1,), ())
    assert outbox.take() == [OpenTunnel(LMA), HostPrefix("a", P1, LMA, None)]
    hosted.host(second, (P2,), ())
    hosted.host(other, (P3,), ())
    assert [a for a in outbox.take() if isinstance(a, OpenTunnel)] == [OpenTunnel(OTHER_LMA)]
    for left, closed in ((first, []), (second, [CloseTunnel(LMA)]), (second, [])):
        hosted.unhost(left)
        hosted.leave_tunnel(left)
        assert [a for a in outbox.take() if not isinstance(a, UnhostPrefix)] == closed
    hosted.host(first, (P1,), ())
    assert outbox.take()[0] == OpenTunnel(LMA)


def test_the_set_becomes_what_it_is_told_to_be_rfc7864_4_2(
    hosted: HostedPrefixes, outbox: Outbox
) -> None:
    there = entry("a")
    hosted.host(there, (P1,), (P2,))
    outbox.take()
    hosted.host(there, (P1,), (P3,))
    assert outbox.take() == [HostPrefix("a", P3, LMA, None), UnhostPrefix("a", P2)]
    assert (there.prefixes, there.off_link_prefixes, there.hosted) == ((P1,), (P3,), (P1, P3))
    hosted.host(there, (P1,), (P3,))
    assert outbox.take() == []
    hosted.unhost(there)
    assert outbox.take() == [UnhostPrefix("a", P1), UnhostPrefix("a", P3)]
    assert (there.prefixes, there.off_link_prefixes, there.hosted) == ((P1,), (), ())


def test_a_filter_precedes_what_it_filters_and_goes_with_it_rfc7864_3_4(
    hosted: HostedPrefixes, outbox: Outbox
) -> None:
    there = entry("a")
    hosted.host(there, (P1,), (), (ROW,))
    assert not [a for a in outbox.take() if isinstance(a, FilterFlows)], "on-link isn't filtered"
    hosted.host(there, (P1,), (P2,), (ROW,))
    assert outbox.take() == [FilterFlows("a", (P2,), (ROW,)), HostPrefix("a", P2, LMA, None)]
    hosted.host(there, (P1,), (P2,), (ROW,))
    assert outbox.take() == []
    hosted.host(there, (P1,), (P2,), ())
    assert outbox.take() == [FilterFlows("a", (P2,), ())]
    hosted.host(there, (P1,), (P2,), None)
    assert outbox.take() == [FilterFlows("a")]
    hosted.host(there, (P1,), (P2,), (ROW,))
    outbox.take()
    hosted.unhost(there)
    assert outbox.take()[-1] == FilterFlows("a")


def test_prefixes_follow_the_nodes_address_rfc5213_6_10(
    hosted: HostedPrefixes, outbox: Outbox
) -> None:
    there = entry("a")
    hosted.host(there, (P1,), (P2,))
    outbox.take()
    hosted.move_to(there, MN)
    assert outbox.take() == [
        UnhostPrefix("a", P1),
        HostPrefix("a", P1, LMA, MN),
        UnhostPrefix("a", P2),
        HostPrefix("a", P2, LMA, MN),
    ]
    hosted.move_to(there, MN)
    assert outbox.take() == []


@pytest.mark.parametrize("domain_wide", [False, True])
@pytest.mark.parametrize("own", [None, False, True])
def test_a_profile_overrides_local_routing_rfc5213_6_10_3(
    outbox: Outbox, domain_wide: bool, own: bool | None
) -> None:
    HostedPrefixes(domain_wide, outbox).host(entry("a", local_routing=own), (P1,), ())
    (hosted,) = [a for a in outbox.take() if isinstance(a, HostPrefix)]
    assert hosted.local_routing is (domain_wide if own is None else own)
