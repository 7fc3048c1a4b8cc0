from __future__ import annotations

from ipaddress import IPv6Network
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from nodes.config import ANY_PREFIX, LmaConfig, MobileNodePolicy
from nodes.lma.binding_cache import BindingCache, BindingCacheEntry, CreateSession, Request
from nodes.lma.prefix_allocation import (
    MAX_REQUESTED_PREFIXES,
    PoolExhausted,
    PrefixAllocation,
    PrefixNotAllowed,
)

if TYPE_CHECKING:
    from tests.domain import Domain

NEW = CreateSession()
OWN = IPv6Network("2001:db8:200::/64")


class Allocator:
    """An allocation whose sessions are recorded as they are made."""

    def __init__(self, domain: type[Domain], config: LmaConfig) -> None:
        self.domain = domain
        self.bindings = BindingCache()
        self._allocation = PrefixAllocation(config, self.bindings)

    def assign(
        self, mn: str, *requested: IPv6Network, lookup: CreateSession = NEW
    ) -> tuple[IPv6Network, ...]:
        mag = self.domain.MAG1
        named = tuple(prefix for prefix in requested if prefix != ANY_PREFIX)
        request = Request(mn, 4, None, 1, named, mag, ANY_PREFIX in requested)
        prefixes = self._allocation.assign(request, lookup)
        bid = self.bindings.allocate_bid()
        self.bindings.add(BindingCacheEntry(bid, bid, mn, 4, bytes(2), prefixes, mag, 100.0))
        return prefixes


def allocator(
    domain: type[Domain], model: str, *, per_session: int = 1, **changes: object
) -> Allocator:
    policy = MobileNodePolicy(
        prefix_model=model,  # type: ignore[arg-type]
        prefixes_per_session=per_session,
    )
    return Allocator(domain, domain.lma_config(policy, **changes))


def test_each_interface_gets_prefixes_of_its_own_rfc5213_5_2(domain: type[Domain]) -> None:
    pool = allocator(domain, "unique")
    assigned = [pool.assign(mn) for mn in (domain.MN, domain.MN, domain.OTHER_MN)]
    assert assigned == [(domain.P1,), (domain.P2,), (domain.P3,)]


def test_shared_model_repeats_the_set_rfc7864_3_1_scenario_1(domain: type[Domain]) -> None:
    pool = allocator(domain, "shared")
    assert pool.assign(domain.MN) == pool.assign(domain.MN) == (domain.P1,)
    assert pool.assign(domain.OTHER_MN) == (domain.P2,)


def test_hybrid_model_adds_a_prefix_to_those_in_use_rfc7864_3_1(domain: type[Domain]) -> None:
    pool = allocator(domain, "hybrid")
    assert pool.assign(domain.MN) == (domain.P1,)
    assert pool.assign(domain.MN) == (domain.P1, domain.P2)


def test_hi_6_shares_whatever_the_model_rfc7864_3_2_1(domain: type[Domain]) -> None:
    pool = allocator(domain, "unique")
    pool.assign(domain.MN)
    (existing,) = pool.bindings
    assert pool.assign(domain.MN, lookup=CreateSession(share=existing)) == (domain.P1,)


def test_own_prefixes_come_before_the_pool_and_are_nobody_elses(domain: type[Domain]) -> None:
    """RFC 5213 section 5.3.2, step 1: not in use by any other node."""
    reserved = MobileNodePolicy(prefixes=(domain.P1, OWN))
    nodes = {domain.MN: reserved, domain.OTHER_MN: MobileNodePolicy()}
    pool = allocator(domain, "unique", mobile_nodes=nodes)
    assert pool.assign(domain.OTHER_MN) == (domain.P2,)
    assert [pool.assign(domain.MN) for _ in range(3)] == [(domain.P1,), (OWN,), (domain.P3,)]


def test_requested_prefixes_are_granted_if_they_are_free_rfc5213_5_3_2_step_3(
    domain: type[Domain],
) -> None:
    nodes = {domain.MN: MobileNodePolicy(prefixes=(OWN,)), domain.OTHER_MN: MobileNodePolicy()}
    pool = allocator(domain, "unique", mobile_nodes=nodes)
    assert pool.assign(domain.MN, domain.P3, OWN) == (domain.P3, OWN)


@pytest.mark.parametrize(
    "prefix", [OWN, IPv6Network("2001:db8:999::/64"), IPv6Network("2001:db8:100::/60")]
)
def test_prefixes_of_others_or_elsewhere_are_refused_rfc5213_5_3_2_step_3(
    domain: type[Domain], prefix: IPv6Network
) -> None:
    nodes = {domain.MN: MobileNodePolicy(prefixes=(OWN,)), domain.OTHER_MN: MobileNodePolicy()}
    pool = allocator(domain, "unique", mobile_nodes=nodes)
    with pytest.raises(PrefixNotAllowed):
        pool.assign(domain.OTHER_MN, domain.P3, prefix)


def test_a_reserved_prefix_of_the_pool_is_refused_to_others_rfc5213_5_3_2_step_3(
    domain: type[Domain],
) -> None:
    reserved = MobileNodePolicy(prefixes=(domain.P1,))
    nodes = {domain.MN: reserved, domain.OTHER_MN: MobileNodePolicy()}
    pool = allocator(domain, "unique", mobile_nodes=nodes)
    with pytest.raises(PrefixNotAllowed):
        pool.assign(domain.OTHER_MN, domain.P1)
    assert pool.assign(domain.MN, domain.P1) == (domain.P1,)


def test_an_empty_pool_is_reported_rfc5213_5_3_2_step_2(domain: type[Domain]) -> None:
    pool = allocator(domain, "unique", prefix_pool=IPv6Network("2001:db8:100::/63"))
    assert [pool.assign(domain.MN), pool.assign(domain.MN)] == [(domain.P1,), (domain.P2,)]
    with pytest.raises(PoolExhausted):
        pool.assign(domain.OTHER_MN)


def test_a_prefix_that_carries_moved_flows_stays_taken_rfc7864_figure_5(
    domain: type[Domain],
) -> None:
    """After a move the target's binding has the prefix as well, whatever becomes of the other."""
    pool = allocator(domain, "unique")
    pool.assign(domain.MN)
    (entry,) = pool.bindings
    entry.flow_mobility_prefixes = (domain.P2,)
    pool.bindings.lend(entry)
    with pytest.raises(PrefixNotAllowed):
        pool.assign(domain.OTHER_MN, domain.P2)
    assert pool.assign(domain.OTHER_MN) == (domain.P3,)
    assert pool.assign(domain.MN) == (domain.P2,)


def test_a_session_gets_as_many_prefixes_as_its_policy_says_rfc5213_5_3_2_step_1(
    domain: type[Domain],
) -> None:
    pool = allocator(domain, "unique", per_session=2)
    assert pool.assign(domain.MN) == (domain.P1, domain.P2)
    other = pool.assign(domain.MN)
    assert len(other) == 2
    assert not {domain.P1, domain.P2} & set(other)


def test_hybrid_sessions_add_as_many_as_the_policy_says_rfc7864_3_1(domain: type[Domain]) -> None:
    pool = allocator(domain, "hybrid", per_session=2)
    first = pool.assign(domain.MN)
    second = pool.assign(domain.MN)
    assert second[:2] == first
    assert len(set(second)) == 4


def test_fewer_prefixes_are_better_than_none_rfc5213_5_3_2_step_2(domain: type[Domain]) -> None:
    """Rejected is who can't be given "any" prefix."""
    small = IPv6Network("2001:db8:100::/64")
    pool = allocator(domain, "unique", per_session=2, prefix_pool=small)
    assert pool.assign(domain.MN) == (domain.P1,)
    with pytest.raises(PoolExhausted):
        pool.assign(domain.MN)


def test_named_prefixes_and_one_that_the_lma_chooses_rfc5213_5_3_2_steps_1_and_3(
    domain: type[Domain],
) -> None:
    pool = allocator(domain, "unique")
    assert pool.assign(domain.MN, domain.P1, ANY_PREFIX) == (domain.P1, domain.P2)
    assert pool.assign(domain.MN, domain.P3, domain.P3) == (domain.P3,)


@pytest.mark.parametrize(("model", "granted"), [("unique", False), ("shared", True)])
def test_a_prefix_of_the_nodes_other_interface_rfc5213_5_2(
    domain: type[Domain], model: str, granted: bool
) -> None:
    pool = allocator(domain, model)
    pool.assign(domain.MN)
    if granted:
        assert pool.assign(domain.MN, domain.P1) == (domain.P1,)
    else:
        with pytest.raises(PrefixNotAllowed):
            pool.assign(domain.MN, domain.P1)


def test_a_request_can_not_name_the_pool_away_rfc5213_5_3_2_step_2(domain: type[Domain]) -> None:
    named = tuple(islice(domain.POOL.subnets(new_prefix=64), MAX_REQUESTED_PREFIXES + 1))
    pool = allocator(domain, "unique")
    with pytest.raises(PoolExhausted):
        pool.assign(domain.MN, *named)
    assert pool.assign(domain.MN, *named[1:]) == named[1:]
    assert pool.assign(domain.OTHER_MN) == named[:1]


def test_a_prefix_whose_session_has_ended_is_given_again_rfc5213_5_3_2(
    domain: type[Domain],
) -> None:
    """Also one that was lent, when the last flow has left."""
    pool = allocator(domain, "unique", prefix_pool=IPv6Network("2001:db8:100::/63"))
    pool.assign(domain.MN)
    pool.assign(domain.MN)
    first, second = list(pool.bindings)
    pool.bindings.remove(first)
    second.inherited_prefixes = first.prefixes
    pool.bindings.lend(second)
    with pytest.raises(PoolExhausted):
        pool.assign(domain.OTHER_MN)
    second.inherited_prefixes = ()
    pool.bindings.lend(second)
    assert pool.assign(domain.OTHER_MN) == first.prefixes
