from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest

from nodes.lma.binding_cache import (
    BindingCache,
    BindingCacheEntry,
    CreateSession,
    Lookup,
    RejectRequest,
    Request,
    UpdateEntry,
    WaitForDeregistration,
)
from nodes.wire.messages import ProxyBindingStatus

MAG1, MAG2 = IPv6Address("2001:db8:11::1"), IPv6Address("2001:db8:12::1")
P1, P2 = IPv6Network("2001:db8:100::/64"), IPv6Network("2001:db8:100:1::/64")
WLAN, CELL = 4, 8
FIRST, SECOND = b"\x02\0\0\0\1\1", b"\x02\0\0\0\2\1"


def entry(
    bid: int = 1,
    *,
    mn: str = "mn1",
    technology: int = WLAN,
    link_layer: bytes | None = FIRST,
    prefixes: tuple[IPv6Network, ...] = (P1,),
    proxy_coa: IPv6Address = MAG1,
    priority: int = 10,
) -> BindingCacheEntry:
    return BindingCacheEntry(
        bid, priority, mn, technology, link_layer or bytes(2), prefixes, proxy_coa, expires=100.0
    )


def request(
    handoff: int = 1,
    *,
    mn: str = "mn1",
    technology: int = WLAN,
    link_layer: bytes | None = FIRST,
    prefixes: tuple[IPv6Network, ...] = (),
    proxy_coa: IPv6Address = MAG1,
) -> Request:
    return Request(mn, technology, link_layer, handoff, prefixes, proxy_coa)


def look_up(wanted: Request, *entries: BindingCacheEntry, wait_on_unknown: bool = True) -> Lookup:
    cache = BindingCache()
    for item in entries:
        cache.add(item)
    return cache.look_up(wanted, wait_on_unknown=wait_on_unknown)


def test_a_prefix_that_no_entry_has_is_a_new_session_rfc5213_5_4_1_1_step_2() -> None:
    assert look_up(request(prefixes=(P2,)), entry()) == CreateSession()


def test_a_prefix_of_another_node_is_refused_rfc5213_5_4_1_1_step_3() -> None:
    found = look_up(request(mn="mn2", prefixes=(P1,)), entry())
    assert found == RejectRequest(ProxyBindingStatus.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX)


def test_a_prefix_of_another_node_is_refused_among_own_ones_rfc5213_5_4_1_1_step_3() -> None:
    found = look_up(
        request(mn="mn2", prefixes=(P1, P2)), entry(), entry(2, mn="mn2", prefixes=(P2,))
    )
    assert found == RejectRequest(ProxyBindingStatus.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX)


@pytest.mark.parametrize("asked", [(P1,), (P1, P2, P2), (P1, IPv6Network("2001:db8:100:9::/64"))])
def test_prefix_sets_have_to_be_the_same_rfc5213_5_4_1_1_step_4(
    asked: tuple[IPv6Network, ...],
) -> None:
    found = look_up(request(prefixes=asked), entry(prefixes=(P1, P2)))
    assert found == RejectRequest(ProxyBindingStatus.BCE_PBU_PREFIX_SET_DO_NOT_MATCH)


def test_the_order_of_prefixes_does_not_matter_rfc5213_5_4_1_1_step_5() -> None:
    held = entry(prefixes=(P1, P2))
    assert look_up(request(prefixes=(P2, P1)), held) == UpdateEntry(held)


@pytest.mark.parametrize(
    ("held", "asked", "updates"),
    [
        # Link-layer identifier and access technology, from anywhere and with any hint.
        (entry(), request(3, prefixes=(P1,), proxy_coa=MAG2), True),
        (entry(), request(3, prefixes=(P1,), link_layer=SECOND, proxy_coa=MAG2), False),
        (entry(), request(3, prefixes=(P1,), technology=CELL, proxy_coa=MAG2), False),
        # HI 2, from any interface.
        (entry(), request(2, prefixes=(P1,), technology=CELL, link_layer=SECOND), True),
        # No identifier on either side, same technology, HI 3.
        (entry(link_layer=None), request(3, prefixes=(P1,), link_layer=None, proxy_coa=MAG2), True),
        (entry(), request(3, prefixes=(P1,), link_layer=None, proxy_coa=MAG2), False),
        (entry(link_layer=None), request(3, prefixes=(P1,), proxy_coa=MAG2), False),
        (
            entry(link_layer=None),
            request(1, prefixes=(P1,), link_layer=None, proxy_coa=MAG2),
            False,
        ),
        (
            entry(link_layer=None, technology=CELL),
            request(3, prefixes=(P1,), link_layer=None, proxy_coa=MAG2),
            False,
        ),
        # Proxy-CoA and access technology.
        (entry(), request(1, prefixes=(P1,), link_layer=SECOND), True),
        (entry(), request(1, prefixes=(P1,), link_layer=SECOND, technology=CELL), False),
        (entry(), request(1, prefixes=(P1,), link_layer=SECOND, proxy_coa=MAG2), False),
    ],
)
def test_what_makes_a_request_an_update_rfc5213_5_4_1_1_steps_5_and_6(
    held: BindingCacheEntry, asked: Request, updates: bool
) -> None:
    assert look_up(asked, held) == (UpdateEntry(held) if updates else CreateSession())


def test_the_interface_decides_among_sessions_with_the_same_prefixes_rfc7864_3_2_1() -> None:
    first, second = entry(), entry(2, technology=CELL, link_layer=SECOND, proxy_coa=MAG2)
    asked = request(2, prefixes=(P1,), technology=CELL, link_layer=SECOND, proxy_coa=MAG1)
    assert look_up(asked, first, second) == UpdateEntry(second)


def test_hi_6_from_the_interface_of_an_entry_updates_it_rfc7864_3_2_1_rule_1() -> None:
    held = entry()
    assert look_up(request(6, prefixes=(P1,), proxy_coa=MAG2), held) == UpdateEntry(held)


@pytest.mark.parametrize(
    ("technology", "link_layer"),
    [(CELL, SECOND), (CELL, FIRST), (WLAN, SECOND), (CELL, None), (WLAN, None)],
)
def test_hi_6_from_another_interface_shares_the_prefixes_rfc7864_3_2_1_rules_2_and_3(
    technology: int, link_layer: bytes | None
) -> None:
    held = entry(prefixes=(P1, P2))
    asked = request(6, prefixes=(P1, P2), technology=technology, link_layer=link_layer)
    assert look_up(asked, held) == CreateSession(share=held)


def test_hi_6_without_an_identifier_creates_a_session_even_at_the_same_mag_rfc7864_3_2_1() -> None:
    held = entry(link_layer=None)
    asked = request(6, prefixes=(P1,), link_layer=None, proxy_coa=MAG1)
    assert look_up(asked, held) == CreateSession(share=held)


def test_hi_6_and_all_zero_shares_what_the_lma_knows_rfc7864_3_2_1() -> None:
    held = entry()
    asked = request(6, technology=CELL, link_layer=SECOND, proxy_coa=MAG2)
    assert look_up(asked, held) == CreateSession(share=held)
    assert look_up(asked) == CreateSession()


def test_node_technology_and_identifier_find_the_session_rfc5213_5_4_1_2_step_2() -> None:
    held = entry()
    assert look_up(request(1, proxy_coa=MAG2), held, entry(2, mn="mn2")) == UpdateEntry(held)


@pytest.mark.parametrize(("mn", "technology"), [("mn2", WLAN), ("mn1", CELL)])
def test_an_identifier_alone_does_not_find_a_session_rfc5213_5_4_1_2_step_5(
    mn: str, technology: int
) -> None:
    assert look_up(request(1, mn=mn, technology=technology), entry()) == CreateSession()


def test_hi_2_updates_the_only_session_rfc5213_5_4_1_2_step_3() -> None:
    held = entry()
    asked = request(2, technology=CELL, link_layer=SECOND)
    assert look_up(asked, held, entry(2, mn="mn2")) == UpdateEntry(held)
    assert look_up(asked, held, entry(3, link_layer=b"\x02\0\0\0\3\1")) == CreateSession()


def test_hi_4_waits_for_the_only_session_to_end_rfc5213_5_4_1_2_step_4() -> None:
    held, other = entry(), entry(3, link_layer=b"\x02\0\0\0\3\1")
    asked = request(4, technology=CELL, link_layer=SECOND)
    assert look_up(asked, held) == WaitForDeregistration(held)
    assert look_up(asked, held, wait_on_unknown=False) == CreateSession()
    assert look_up(asked, held, other) == CreateSession()
    held.deletion = 50.0
    assert look_up(asked, held) == UpdateEntry(held)


@pytest.mark.parametrize("handoff", [0, 1, 3, 5])
def test_other_hints_make_a_new_session_rfc5213_5_4_1_2_step_5(handoff: int) -> None:
    asked = request(handoff, technology=CELL, link_layer=SECOND)
    assert look_up(asked, entry()) == CreateSession()


@pytest.mark.parametrize("handoff", [2, 3])
def test_a_handoff_updates_the_only_session_rfc5213_5_4_1_3_step_2(handoff: int) -> None:
    held = entry()
    asked = request(handoff, link_layer=None, technology=CELL, proxy_coa=MAG2)
    assert look_up(asked, held, entry(2, mn="mn2")) == UpdateEntry(held)
    assert look_up(asked, held, entry(3)) == CreateSession()


def test_hi_4_waits_without_identifier_as_well_rfc5213_5_4_1_3_step_3() -> None:
    held = entry()
    asked = request(4, link_layer=None)
    assert look_up(asked, held) == WaitForDeregistration(held)
    assert look_up(asked, held, wait_on_unknown=False) == CreateSession()
    held.deletion = 50.0
    assert look_up(asked, held) == UpdateEntry(held)


@pytest.mark.parametrize("handoff", [0, 1, 5])
def test_other_hints_without_identifier_make_a_new_session_rfc5213_5_4_1_3_step_4(
    handoff: int,
) -> None:
    assert look_up(request(handoff, link_layer=None), entry()) == CreateSession()


def test_the_preferred_binding_comes_first_rfc6089_5_3_6() -> None:
    cache = BindingCache()
    for item in (entry(1, priority=20), entry(2, priority=10), entry(3, priority=10)):
        cache.add(item)
    assert [item.bid for item in cache.of("mn1")] == [2, 3, 1]
    assert [item.bid for item in cache.holding(P1)] == [2, 3, 1]
    assert cache.holding(P2) == []
    assert len(cache.using(MAG1)) == 3


def test_bids_are_unique_and_wrap_without_zero_rfc5648_4_3() -> None:
    cache = BindingCache(next_bid=0xFFFF)
    cache.add(entry(1))
    assert [cache.allocate_bid(), cache.allocate_bid()] == [0xFFFF, 2]
