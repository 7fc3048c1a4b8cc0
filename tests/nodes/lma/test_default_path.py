from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

from nodes.actions import Action, BlockPrefix, CloseTunnel, OpenTunnel, RoutePrefix, UnroutePrefix
from nodes.lma.binding_cache import BindingCache, BindingCacheEntry
from nodes.lma.default_path import DefaultPath

MAG1, MAG2 = IPv6Address("2001:db8:11::1"), IPv6Address("2001:db8:12::1")
P1, P2 = IPv6Network("2001:db8:100::/64"), IPv6Network("2001:db8:100:1::/64")
P3 = IPv6Network("2001:db8:100:2::/64")


def entry(
    bid: int, priority: int, proxy_coa: IPv6Address, *prefixes: IPv6Network
) -> BindingCacheEntry:
    return BindingCacheEntry(bid, priority, "mn", 4, bytes(2), prefixes, proxy_coa, expires=9.0)


def refreshed(path: DefaultPath, bindings: BindingCache) -> list[Action]:
    return [
        *path.open_tunnels(bindings),
        *path.refresh_routes(bindings),
        *path.close_tunnels(bindings),
    ]


def test_tunnel_and_routes_of_a_first_binding_rfc5213_5_3_2_steps_5_and_6() -> None:
    path, bindings = DefaultPath(), BindingCache()
    bindings.add(entry(1, 10, MAG1, P1, P2))
    expected = [OpenTunnel(MAG1), RoutePrefix(P1, MAG1), RoutePrefix(P2, MAG1)]
    assert refreshed(path, bindings) == expected
    assert refreshed(path, bindings) == []


def test_the_lowest_bid_pri_has_the_default_path_rfc6089_5_3_6() -> None:
    path, bindings = DefaultPath(), BindingCache()
    bindings.add(entry(1, 20, MAG2, P1))
    refreshed(path, bindings)
    bindings.add(entry(2, 10, MAG1, P1))
    assert refreshed(path, bindings) == [OpenTunnel(MAG1), RoutePrefix(P1, MAG1)]


def test_a_waiting_deregistration_yields_to_a_registered_binding_rfc5213_5_3_5() -> None:
    path, bindings = DefaultPath(), BindingCache()
    preferred, other = entry(1, 10, MAG1, P1), entry(2, 20, MAG2, P1)
    bindings.add(preferred)
    bindings.add(other)
    refreshed(path, bindings)
    preferred.deletion = 5.0
    assert refreshed(path, bindings) == [RoutePrefix(P1, MAG2)]
    other.deletion = 5.0
    assert refreshed(path, bindings) == [BlockPrefix(P1)]
    preferred.deletion = None
    assert refreshed(path, bindings) == [RoutePrefix(P1, MAG1)]


def test_the_last_binding_of_a_mag_takes_its_tunnel_along_rfc5213_5_6_1() -> None:
    path, bindings = DefaultPath(), BindingCache()
    first, second = entry(1, 10, MAG1, P1), entry(2, 10, MAG1, P2)
    bindings.add(first)
    bindings.add(second)
    refreshed(path, bindings)
    bindings.remove(first)
    assert refreshed(path, bindings) == [UnroutePrefix(P1)]
    bindings.remove(second)
    assert refreshed(path, bindings) == [UnroutePrefix(P2), CloseTunnel(MAG1)]


def test_a_handoff_takes_the_route_along_and_closes_the_old_tunnel_rfc5213_5_3_4() -> None:
    path, bindings = DefaultPath(), BindingCache()
    held = entry(1, 10, MAG1, P1)
    bindings.add(held)
    refreshed(path, bindings)
    bindings.hand_over(held, MAG2)
    assert refreshed(path, bindings) == [
        OpenTunnel(MAG2),
        RoutePrefix(P1, MAG2),
        CloseTunnel(MAG1),
    ]


def test_a_prefix_whose_session_has_ended_stays_where_flows_to_it_are_rfc7864_figure_5() -> None:
    path, bindings = DefaultPath(), BindingCache()
    owner, borrower = entry(1, 10, MAG1, P1), entry(2, 20, MAG2, P2)
    bindings.add(owner)
    bindings.add(borrower)
    borrower.flow_mobility_prefixes = (P1,)
    refreshed(path, bindings)
    owner.deletion = 5.0
    # Dropped, but for the flows (RFC 5213 section 5.3.5): the session may be revived.
    assert refreshed(path, bindings) == [BlockPrefix(P1)]
    bindings.remove(owner)
    assert refreshed(path, bindings) == [RoutePrefix(P1, MAG2), CloseTunnel(MAG1)]
    borrower.deletion = 6.0
    assert refreshed(path, bindings) == [BlockPrefix(P1), BlockPrefix(P2)]
    borrower.deletion, borrower.flow_mobility_prefixes = None, ()
    assert refreshed(path, bindings) == [UnroutePrefix(P1), RoutePrefix(P2, MAG2)]


def test_of_several_mags_that_a_prefix_is_lent_to_the_preferred_one_has_it_rfc6089_5_3_6() -> None:
    path, bindings = DefaultPath(), BindingCache()
    low, high = entry(1, 20, MAG2, P2), entry(2, 10, MAG1, P3)
    for borrower in (low, high):
        borrower.flow_mobility_prefixes = (P1,)
        bindings.add(borrower)
    assert RoutePrefix(P1, MAG1) in refreshed(path, bindings)
    high.deletion = 5.0
    assert RoutePrefix(P1, MAG2) in refreshed(path, bindings)
    # A session that holds it comes first, whatever its preference.
    high.deletion = None
    assert RoutePrefix(P1, MAG1) in refreshed(path, bindings)
    bindings.add(entry(3, 30, MAG2, P1))
    assert refreshed(path, bindings) == [RoutePrefix(P1, MAG2)]


def test_a_refresh_of_one_mobile_node_leaves_those_of_others_rfc6089_5_3_6() -> None:
    path, bindings = DefaultPath(), BindingCache()
    other = BindingCacheEntry(2, 10, "other", 4, bytes(2), (P2,), MAG2, expires=9.0)
    bindings.add(entry(1, 10, MAG1, P1))
    bindings.add(other)
    assert path.refresh_routes(bindings, "mn") == [RoutePrefix(P1, MAG1)]
    other.deletion = 5.0
    assert path.refresh_routes(bindings, "mn") == []
    assert path.refresh_routes(bindings) == [BlockPrefix(P2)]
    bindings.remove(other)
    assert path.refresh_routes(bindings, "mn") == []
    assert path.refresh_routes(bindings, "other") == [UnroutePrefix(P2)]
    assert path.refresh_routes(bindings) == []
