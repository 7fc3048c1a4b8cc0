"""RFC 5213 sections 5.3 and 5.3.2 to 5.3.5, registrations: one test a rule, named after it."""

from __future__ import annotations

from ipaddress import IPv6Network
from typing import TYPE_CHECKING, Any

import pytest

from nodes.actions import BlockPrefix, CloseTunnel, OpenTunnel, RoutePrefix, Send, UnroutePrefix
from nodes.config import MobileNodePolicy
from nodes.wire.messages import ProxyBindingAcknowledgement
from nodes.wire.options import HandoffIndicator, Timestamp

if TYPE_CHECKING:
    from tests.domain import Anchor, Domain

FOREIGN = IPv6Network("2001:db8:999::/64")
OWN = IPv6Network("2001:db8:200::/64")


def registered(domain: type[Domain], **changes: Any) -> Anchor:
    anchor = domain.lma(**changes)
    assert anchor.acknowledged(domain.pbu(lifetime=100)).status == 0
    return anchor


def handed_off(domain: type[Domain]) -> tuple[Anchor, list[Any]]:
    """A session of MAG 1 that MAG 2 takes over, by another interface, at second 5."""
    anchor = registered(domain)
    values: dict[str, Any] = {"technology": domain.CELL, "link_layer": domain.LINK_LAYER_2}
    request = domain.pbu(5, prefixes=(domain.P1,), handoff=2, lifetime=200, **values)
    return anchor, anchor.receive(request, 5, domain.MAG2)


def leaving(domain: type[Domain], seconds: float = 20.0) -> Any:
    return domain.pbu(seconds, prefixes=(domain.P1,), handoff=4, lifetime=0)


def sent(domain: type[Domain], actions: list[Any]) -> ProxyBindingAcknowledgement:
    (send,) = domain.of(Send, actions)
    assert isinstance(send.message, ProxyBindingAcknowledgement)
    return send.message


def expect_constructed(domain: type[Domain], reply: ProxyBindingAcknowledgement) -> None:
    assert reply.proxy_registration
    assert domain.prefixes(reply) == [domain.P1]
    assert reply.option(HandoffIndicator) is not None
    assert reply.option(Timestamp) is not None


# Each breaks its rule; pairs of them say which check comes first.
FAULTS: list[tuple[int, dict[str, Any]]] = [
    (160, {"mn": None}),
    (154, {"source": "stranger"}),
    (153, {"mn": "nobody@example.org"}),
    (152, {"mn": "barred@example.org"}),
    (156, {"seconds": 1.0}),
    (158, {"prefixes": None}),
    (161, {"handoff": None}),
    (162, {"technology": None}),
    (155, {"prefixes": (FOREIGN,)}),
]


@pytest.mark.parametrize("first", range(len(FAULTS)))
@pytest.mark.parametrize("second", range(len(FAULTS)))
def test_rfc5213_5_3_01_checks_are_made_in_order(
    domain: type[Domain], first: int, second: int
) -> None:
    if first > second:
        first, second = second, first
    status, change = FAULTS[first]
    faults: dict[str, Any] = {**FAULTS[second][1], **change}
    stranger = faults.pop("source", None)
    nodes = {domain.MN: MobileNodePolicy(), "barred@example.org": MobileNodePolicy(enabled=False)}
    source = OWN[1] if stranger else domain.MAG1
    reply = domain.lma(mobile_nodes=nodes).acknowledged(domain.pbu(**faults), source=source)
    assert reply.status == status


@pytest.mark.parametrize("count", [1, 2, 4])
def test_rfc5213_5_3_2_01_prefixes_are_allocated(domain: type[Domain], count: int) -> None:
    anchor = domain.lma(MobileNodePolicy(prefixes_per_session=count))
    prefixes = domain.prefixes(anchor.acknowledged(domain.pbu()))
    assert len(set(prefixes)) == count
    assert all(prefix.subnet_of(domain.POOL) for prefix in prefixes)
    mixed = domain.lma().acknowledged(domain.pbu(prefixes=(domain.P3, IPv6Network("::/0"))))
    assert domain.prefixes(mixed) == [domain.P3, domain.P1]


def test_rfc5213_5_3_2_02_allocated_prefixes_are_in_no_other_session(domain: type[Domain]) -> None:
    anchor = domain.lma(MobileNodePolicy(prefixes_per_session=2))
    used: list[IPv6Network] = []
    for mn in (domain.MN, domain.OTHER_MN):
        for link_layer in (domain.LINK_LAYER_1, domain.LINK_LAYER_2):
            used += domain.prefixes(anchor.acknowledged(domain.pbu(mn=mn, link_layer=link_layer)))
    assert len(used) == len(set(used)) == 8


def test_rfc5213_5_3_2_04_no_prefix_is_left(domain: type[Domain]) -> None:
    anchor = registered(domain, prefix_pool=IPv6Network("2001:db8:100::/64"))
    reply = anchor.acknowledged(domain.pbu(mn=domain.OTHER_MN))
    assert reply.status == 130
    assert len(list(anchor.core.bindings)) == 1


@pytest.mark.parametrize(
    ("asked", "status"), [((OWN,), 0), ((FOREIGN,), 155), ((OWN, FOREIGN), 155)]
)
def test_rfc5213_5_3_2_05_named_prefixes_are_the_lmas_and_the_nodes(
    domain: type[Domain], asked: tuple[IPv6Network, ...], status: int
) -> None:
    nodes = {domain.MN: MobileNodePolicy(prefixes=(OWN,)), domain.OTHER_MN: MobileNodePolicy()}
    anchor = domain.lma(mobile_nodes=nodes)
    assert anchor.acknowledged(domain.pbu(prefixes=asked)).status == status


def test_rfc5213_5_3_2_06_prefix_is_not_the_nodes(domain: type[Domain]) -> None:
    nodes = {domain.MN: MobileNodePolicy(prefixes=(OWN,)), domain.OTHER_MN: MobileNodePolicy()}
    anchor = domain.lma(mobile_nodes=nodes)
    for asked in ((OWN,), (domain.P1, OWN), (FOREIGN,)):
        reply = anchor.acknowledged(domain.pbu(mn=domain.OTHER_MN, prefixes=asked))
        assert reply.status == 155
    assert list(anchor.core.bindings) == []


def test_rfc5213_5_3_2_07_binding_cache_entry_is_created(domain: type[Domain]) -> None:
    (entry,) = registered(domain).core.bindings
    assert (entry.mn_id, entry.access_technology, entry.link_layer_id) == (
        domain.MN,
        domain.WLAN,
        domain.LINK_LAYER_1,
    )
    assert (entry.prefixes, entry.proxy_coa) == ((domain.P1,), domain.MAG1)
    assert entry.expires == 400.0
    assert entry.timestamp == Timestamp.of_unix_ns(domain.at(0).unix_ns).value


def test_rfc5213_5_3_2_08_tunnel_is_established(domain: type[Domain]) -> None:
    anchor = domain.lma()
    assert domain.of(OpenTunnel, anchor.receive(domain.pbu())) == [OpenTunnel(domain.MAG1)]
    other = anchor.receive(domain.pbu(mn=domain.OTHER_MN))
    assert domain.of(OpenTunnel, other) == []  # there is one


def test_rfc5213_5_3_2_09_tunnel_is_there_while_it_is_needed(domain: type[Domain]) -> None:
    """Section 5.6.1."""
    anchor = registered(domain)
    anchor.acknowledged(domain.pbu(mn=domain.OTHER_MN, lifetime=200))
    assert domain.of(CloseTunnel, anchor.timer(400.0)) == []
    assert domain.of(CloseTunnel, anchor.timer(800.0)) == [CloseTunnel(domain.MAG1)]


def test_rfc5213_5_3_2_10_prefix_routes_are_created(domain: type[Domain]) -> None:
    anchor = domain.lma(MobileNodePolicy(prefixes_per_session=2))
    anchor.acknowledged(domain.pbu())
    assert anchor.forwarding.routes == {domain.P1: domain.MAG1, domain.P2: domain.MAG1}


def test_rfc5213_5_3_2_11_forwarding_is_in_place_before_the_answer(domain: type[Domain]) -> None:
    actions = domain.lma().receive(domain.pbu())
    kinds = [type(a) for a in actions if isinstance(a, (OpenTunnel, RoutePrefix, Send))]
    assert kinds == [OpenTunnel, RoutePrefix, Send]


def test_rfc5213_5_3_2_12_answer_says_accepted(domain: type[Domain]) -> None:
    reply = domain.lma().acknowledged(domain.pbu(lifetime=100))
    assert (reply.status, reply.lifetime) == (0, 100)


def test_rfc5213_5_3_2_13_answer_is_constructed(domain: type[Domain]) -> None:
    expect_constructed(domain, domain.lma().acknowledged(domain.pbu()))


def test_rfc5213_5_3_3_01_entry_is_updated(domain: type[Domain]) -> None:
    anchor = registered(domain)
    anchor.acknowledged(domain.pbu(50, prefixes=(domain.P1,), handoff=5, lifetime=100), 50)
    (entry,) = anchor.core.bindings
    assert entry.expires == 450.0
    assert entry.timestamp == Timestamp.of_unix_ns(domain.at(50).unix_ns).value
    anchor.timer(400.0)
    assert anchor.forwarding.routes == {domain.P1: domain.MAG1}


def test_rfc5213_5_3_3_02_answer_says_accepted(domain: type[Domain]) -> None:
    anchor = registered(domain)
    reply = anchor.acknowledged(domain.pbu(1, prefixes=(domain.P1,), handoff=5, lifetime=99), 1)
    assert (reply.status, reply.lifetime) == (0, 99)


def test_rfc5213_5_3_3_03_answer_is_constructed(domain: type[Domain]) -> None:
    anchor = registered(domain)
    expect_constructed(domain, anchor.acknowledged(domain.pbu(1, handoff=5), 1))


def test_rfc5213_5_3_4_01_entry_is_updated(domain: type[Domain]) -> None:
    anchor, _ = handed_off(domain)
    (entry,) = anchor.core.bindings
    assert (entry.proxy_coa, entry.access_technology, entry.link_layer_id) == (
        domain.MAG2,
        domain.CELL,
        domain.LINK_LAYER_2,
    )
    assert entry.expires == 805.0


def test_rfc5213_5_3_4_02_previous_routes_are_removed(domain: type[Domain]) -> None:
    anchor, actions = handed_off(domain)
    assert domain.MAG1 not in anchor.forwarding.routes.values()
    assert domain.of(CloseTunnel, actions) == [CloseTunnel(domain.MAG1)]


def test_rfc5213_5_3_4_03_tunnel_is_established(domain: type[Domain]) -> None:
    _, actions = handed_off(domain)
    assert domain.of(OpenTunnel, actions) == [OpenTunnel(domain.MAG2)]


def test_rfc5213_5_3_4_04_tunnel_is_there_while_it_is_needed(domain: type[Domain]) -> None:
    """Section 5.6.1."""
    anchor, _ = handed_off(domain)
    assert anchor.forwarding.tunnels == {domain.MAG2}
    anchor.timer(805.0)
    assert anchor.forwarding.tunnels == set()


def test_rfc5213_5_3_4_05_prefix_routes_are_created(domain: type[Domain]) -> None:
    anchor, _ = handed_off(domain)
    assert anchor.forwarding.routes == {domain.P1: domain.MAG2}


def test_rfc5213_5_3_4_06_forwarding_is_in_place_before_the_answer(domain: type[Domain]) -> None:
    _, actions = handed_off(domain)
    kinds = [type(a) for a in actions if isinstance(a, (OpenTunnel, RoutePrefix, Send))]
    assert kinds == [OpenTunnel, RoutePrefix, Send]


def test_rfc5213_5_3_4_07_answer_says_accepted(domain: type[Domain]) -> None:
    _, actions = handed_off(domain)
    assert (sent(domain, actions).status, sent(domain, actions).lifetime) == (0, 200)


def test_rfc5213_5_3_4_08_answer_is_constructed(domain: type[Domain]) -> None:
    expect_constructed(domain, sent(domain, handed_off(domain)[1]))


def test_rfc5213_5_3_5_01_others_can_not_deregister(domain: type[Domain]) -> None:
    anchor = registered(domain)
    assert domain.of(Send, anchor.receive(leaving(domain), 20, domain.MAG2)) == []
    assert [entry.registered for entry in anchor.core.bindings] == [True]


@pytest.mark.parametrize("delay_ms", [10_000, 3_000])
def test_rfc5213_5_3_5_02_entry_is_kept_for_a_while(domain: type[Domain], delay_ms: int) -> None:
    """MinDelayBeforeBCEDelete."""
    anchor = registered(domain, min_delay_before_bce_delete_ms=delay_ms)
    anchor.receive(leaving(domain), 20)
    anchor.timer(20 + delay_ms / 1000 - 0.001)
    assert len(list(anchor.core.bindings)) == 1
    anchor.timer(20 + delay_ms / 1000)
    assert list(anchor.core.bindings) == []


def test_rfc5213_5_3_5_03_answer_says_accepted_at_once(domain: type[Domain]) -> None:
    reply = registered(domain).acknowledged(leaving(domain), 20)
    assert (reply.status, reply.lifetime) == (0, 0)


def test_rfc5213_5_3_5_04_answer_is_constructed(domain: type[Domain]) -> None:
    expect_constructed(domain, registered(domain).acknowledged(leaving(domain), 20))


@pytest.mark.parametrize("mag", ["MAG1", "MAG2"])
def test_rfc5213_5_3_5_05_registration_ends_the_wait(domain: type[Domain], mag: str) -> None:
    anchor = registered(domain)
    (before,) = anchor.core.bindings
    anchor.receive(leaving(domain), 20)
    anchor.acknowledged(domain.pbu(25, handoff=3, lifetime=100), 25, getattr(domain, mag))
    anchor.timer(60.0)
    (entry,) = anchor.core.bindings
    assert (entry.bid, entry.registered, entry.expires) == (before.bid, True, 425.0)
    assert anchor.forwarding.routes == {domain.P1: getattr(domain, mag)}


def test_rfc5213_5_3_5_06_entry_and_routes_are_removed(domain: type[Domain]) -> None:
    anchor = registered(domain)
    assert domain.of(BlockPrefix, anchor.receive(leaving(domain), 20)) == [BlockPrefix(domain.P1)]
    assert domain.of(UnroutePrefix, anchor.timer(30.0)) == [UnroutePrefix(domain.P1)]
    assert list(anchor.core.bindings) == []
    assert anchor.forwarding.routes == {}
