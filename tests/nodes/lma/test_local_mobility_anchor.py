from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.actions import BlockPrefix, CloseTunnel, Log, RoutePrefix, Send, UnroutePrefix
from nodes.config import EgressAddress, MobileNodePolicy
from nodes.lma.registration_checks import newer
from nodes.wire.messages import (
    Heartbeat,
    ProxyBindingAcknowledgement,
    ProxyBindingStatus,
    ProxyBindingUpdate,
)
from nodes.wire.options import (
    AlternateCareOfAddress,
    HomeNetworkPrefix,
    MobileNodeIdentifier,
    RestartCounter,
    Timestamp,
)

if TYPE_CHECKING:
    from tests.domain import Anchor, Domain

S = ProxyBindingStatus
STRANGER = IPv6Address("2001:db8:bad::1")
# Each request breaks its rule and all later ones, so the status says which check came first.
BROKEN: list[tuple[ProxyBindingStatus, dict[str, Any]]] = [
    (S.MISSING_ACCESS_TECH_TYPE_OPTION, {"technology": None}),
    (S.MISSING_HANDOFF_INDICATOR_OPTION, {"handoff": None}),
    (S.MISSING_HOME_NETWORK_PREFIX_OPTION, {"prefixes": None}),
    (S.TIMESTAMP_MISMATCH, {"seconds": 1.0}),
    (S.PROXY_REG_NOT_ENABLED, {"mn": "barred@example.org"}),
    (S.NOT_LMA_FOR_THIS_MOBILE_NODE, {"mn": "nobody@example.org"}),
    (S.MAG_NOT_AUTHORIZED_FOR_PROXY_REG, {"source": STRANGER}),
    (S.MISSING_MN_IDENTIFIER_OPTION, {"mn": None}),
]


@pytest.mark.parametrize("count", range(1, len(BROKEN) + 1))
@pytest.mark.parametrize("alone", [True, False])
def test_checks_in_their_order_rfc5213_5_3_1(domain: type[Domain], count: int, alone: bool) -> None:
    nodes = {domain.MN: MobileNodePolicy(), "barred@example.org": MobileNodePolicy(enabled=False)}
    anchor = domain.lma(mobile_nodes=nodes)
    changes: dict[str, Any] = {}
    for _, change in BROKEN[count - 1 : count] if alone else BROKEN[:count]:
        changes |= change
    source = changes.pop("source", domain.MAG1)
    reply = anchor.acknowledged(domain.pbu(**changes), source=source)
    assert reply.status == BROKEN[count - 1][0]
    assert len(list(anchor.core.bindings)) == 0
    assert reply.option(MobileNodeIdentifier) is not None


def test_an_identifier_that_is_missing_is_answered_with_none_rfc5213_5_3_1_step_4(
    domain: type[Domain],
) -> None:
    reply = domain.lma().acknowledged(domain.pbu(mn=None))
    assert reply.option(MobileNodeIdentifier) == MobileNodeIdentifier(b"")


def test_a_binding_update_of_a_mobile_node_is_not_for_an_lma_rfc5213_5_3_1_step_1(
    domain: type[Domain],
) -> None:
    anchor = domain.lma()
    actions = anchor.receive(replace(domain.pbu(), proxy_registration=False))
    assert domain.of(Send, actions) == []
    assert list(anchor.core.bindings) == []


def test_a_new_session_rfc5213_5_3_2(domain: type[Domain]) -> None:
    anchor = domain.lma()
    reply = anchor.acknowledged(domain.pbu(lifetime=900), 0.1)
    assert (reply.status, reply.lifetime) == (0, 900)
    assert domain.prefixes(reply) == [domain.P1]
    (entry,) = anchor.core.bindings
    assert (entry.mn_id, entry.access_technology, entry.link_layer_id, entry.proxy_coa) == (
        domain.MN,
        domain.WLAN,
        domain.LINK_LAYER_1,
        domain.MAG1,
    )
    assert entry.bid_priority == 10
    assert entry.expires == pytest.approx(3600.1)
    assert anchor.forwarding.tunnels == {domain.MAG1}
    assert anchor.forwarding.routes == {domain.P1: domain.MAG1}


def test_forwarding_is_there_before_the_acknowledgement_rfc5213_5_3_2_steps_5_to_7(
    domain: type[Domain],
) -> None:
    kinds = [type(action).__name__ for action in domain.lma().receive(domain.pbu())]
    assert kinds == ["OpenTunnel", "RoutePrefix", "AcceptSources", "Log", "Send"]


def test_prefixes_run_out_rfc5213_5_3_2_step_2(domain: type[Domain]) -> None:
    anchor = domain.lma(prefix_pool=IPv6Network("2001:db8:100::/64"))
    assert anchor.acknowledged(domain.pbu()).status == 0
    reply = anchor.acknowledged(domain.pbu(mn=domain.OTHER_MN))
    assert reply.status == S.INSUFFICIENT_RESOURCES
    assert reply.option(HomeNetworkPrefix) == HomeNetworkPrefix(IPv6Address("::"), 0)


def test_a_prefix_that_is_not_the_lmas_rfc5213_5_3_2_step_3(domain: type[Domain]) -> None:
    foreign = IPv6Network("2001:db8:999::/64")
    reply = domain.lma().acknowledged(domain.pbu(prefixes=(foreign,)))
    assert reply.status == S.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX
    assert domain.prefixes(reply) == [foreign]


def test_a_granted_lifetime_has_a_limit_rfc5213_5_3_2(domain: type[Domain]) -> None:
    anchor = domain.lma(max_lifetime_s=40)
    assert anchor.acknowledged(domain.pbu(lifetime=900)).lifetime == 10
    assert anchor.core.timer() == pytest.approx(40.0)


def test_extension_by_the_same_mag_rfc5213_5_3_3(domain: type[Domain]) -> None:
    anchor = domain.lma()
    anchor.receive(domain.pbu())
    reply = anchor.acknowledged(domain.pbu(50, prefixes=(domain.P1,), handoff=5), 50)
    assert (reply.status, domain.prefixes(reply)) == (0, [domain.P1])
    (entry,) = anchor.core.bindings
    assert entry.expires == pytest.approx(3650)


def test_extension_after_a_handoff_rfc5213_5_3_4(domain: type[Domain]) -> None:
    anchor = domain.lma()
    anchor.receive(domain.pbu())
    actions = anchor.receive(
        domain.pbu(5, handoff=2, technology=domain.CELL, link_layer=domain.LINK_LAYER_2),
        5,
        domain.MAG2,
    )
    (entry,) = anchor.core.bindings
    assert (entry.proxy_coa, entry.access_technology, entry.bid_priority) == (
        domain.MAG2,
        domain.CELL,
        20,
    )
    assert entry.link_layer_id == domain.LINK_LAYER_2
    assert domain.of(CloseTunnel, actions) == [CloseTunnel(domain.MAG1)]
    assert anchor.forwarding.routes == {domain.P1: domain.MAG2}


def test_an_alternate_care_of_address_is_the_proxy_coa_rfc5213_6_9_1_5(
    domain: type[Domain],
) -> None:
    egress = IPv6Address("2001:db8:12::99")
    anchor = domain.lma(egress_addresses=(EgressAddress(egress, domain.MAG2),))
    extra = (AlternateCareOfAddress(domain.MAG2),)
    anchor.acknowledged(domain.pbu(extra=extra), source=egress)
    (entry,) = anchor.core.bindings
    assert entry.proxy_coa == domain.MAG2
    # The session is found by Proxy-CoA and technology, so its timestamps count: 5.4.1.1, 5.5.
    asked = domain.pbu(
        -0.1, prefixes=(domain.P1,), link_layer=domain.LINK_LAYER_2, handoff=5, extra=extra
    )
    reply = anchor.acknowledged(asked, source=egress)
    assert reply.status == S.TIMESTAMP_LOWER_THAN_PREV_ACCEPTED


def test_an_identifier_of_zeros_is_none_rfc5213_5_4_1_2_figure_8(domain: type[Domain]) -> None:
    anchor = domain.lma()
    anchor.receive(domain.pbu(link_layer=bytes(6)))
    (entry,) = anchor.core.bindings
    assert entry.link_layer_id == bytes(2)  # section 5.1
    anchor.receive(domain.pbu(1, link_layer=bytes(6), handoff=3), 1, domain.MAG2)
    assert [entry.proxy_coa for entry in anchor.core.bindings] == [domain.MAG2]


def test_deregistration_rfc5213_5_3_5(domain: type[Domain]) -> None:
    anchor = domain.lma()
    anchor.receive(domain.pbu())
    leave = domain.pbu(20, prefixes=(domain.P1,), handoff=4, lifetime=0)
    actions = anchor.receive(leave, 20)
    (reply,) = domain.of(Send, actions)
    assert isinstance(reply.message, ProxyBindingAcknowledgement)
    assert (reply.message.status, reply.message.lifetime) == (0, 0)
    assert domain.of(BlockPrefix, actions) == [BlockPrefix(domain.P1)]
    assert anchor.core.timer() == pytest.approx(30)
    anchor.timer(29.99)
    assert len(list(anchor.core.bindings)) == 1
    actions = anchor.timer(30.0)
    assert list(anchor.core.bindings) == []
    assert domain.of(UnroutePrefix, actions) == [UnroutePrefix(domain.P1)]
    assert anchor.forwarding.tunnels == set()
    assert anchor.core.timer() is None


def test_deregistration_from_elsewhere_is_ignored_rfc5213_5_3_5_step_1(
    domain: type[Domain],
) -> None:
    anchor = domain.lma()
    anchor.receive(domain.pbu())
    leave = domain.pbu(20, prefixes=(domain.P1,), handoff=4, lifetime=0)
    actions = anchor.receive(leave, 20, domain.MAG2)
    assert [type(action) for action in actions] == [Log]
    assert all(entry.registered for entry in anchor.core.bindings)


@pytest.mark.parametrize("prefixes", [(IPv6Network("::/0"),), (IPv6Network("2001:db8:100::/64"),)])
def test_deregistration_of_nothing_is_ignored_rfc5213_5_4_1(
    domain: type[Domain], prefixes: tuple[IPv6Network, ...]
) -> None:
    leave = domain.pbu(prefixes=prefixes, handoff=4, lifetime=0)
    assert domain.of(Send, domain.lma().receive(leave)) == []


def test_a_registration_in_the_delay_revives_the_session_rfc5213_5_3_5_step_2(
    domain: type[Domain],
) -> None:
    anchor = domain.lma()
    anchor.receive(domain.pbu())
    (entry,) = anchor.core.bindings
    anchor.receive(domain.pbu(20, prefixes=(domain.P1,), handoff=4, lifetime=0), 20)
    actions = anchor.receive(domain.pbu(29, handoff=3), 29, domain.MAG2)
    assert domain.of(RoutePrefix, actions) == [RoutePrefix(domain.P1, domain.MAG2)]
    anchor.timer(40)
    assert [(item.bid, item.registered) for item in anchor.core.bindings] == [(entry.bid, True)]


def test_a_lifetime_that_ends_ends_the_session_rfc5213_5_3_3(domain: type[Domain]) -> None:
    anchor = domain.lma()
    anchor.receive(domain.pbu(lifetime=10))
    anchor.timer(39.9)
    assert anchor.forwarding.routes == {domain.P1: domain.MAG1}
    anchor.timer(40.0)
    assert (anchor.forwarding.routes, list(anchor.core.bindings)) == ({}, [])


def unknown(domain: type[Domain], seconds: float, **changes: Any) -> ProxyBindingUpdate:
    """The request of MAG 2, which doesn't know whether its new node comes from elsewhere."""
    values = {"handoff": 4, "technology": domain.CELL, "link_layer": domain.LINK_LAYER_2}
    return domain.pbu(seconds, **{**values, **changes})


def held(domain: type[Domain], seconds: float = 10.0) -> Anchor:
    anchor = domain.lma()
    anchor.receive(domain.pbu())
    assert domain.of(Send, anchor.receive(unknown(domain, seconds), seconds, domain.MAG2)) == []
    return anchor


def test_hi_4_becomes_a_handoff_when_the_old_mag_deregisters_rfc5213_5_4_1_2_step_4(
    domain: type[Domain],
) -> None:
    """Although the deregistration has the later timestamp, and the request is older by now than
    TimestampValidityWindow: both were checked when they came (section 5.5)."""
    anchor = held(domain)
    leave = domain.pbu(11, prefixes=(domain.P1,), handoff=4, lifetime=0)
    replies = domain.of(Send, anchor.receive(leave, 11))
    assert [reply.destination for reply in replies] == [domain.MAG1, domain.MAG2]
    assert [getattr(reply.message, "status", None) for reply in replies] == [0, 0]
    assert domain.prefixes(replies[1].message) == [domain.P1]
    (entry,) = anchor.core.bindings
    assert (entry.proxy_coa, entry.registered) == (domain.MAG2, True)
    assert entry.greatest_timestamp == Timestamp.of_unix_ns(domain.at(11).unix_ns).value


def test_hi_4_becomes_a_new_session_when_the_wait_ends_rfc5213_5_4_1_2_step_4(
    domain: type[Domain],
) -> None:
    anchor = held(domain)
    assert anchor.core.timer() == pytest.approx(11.5)  # MaxDelayBeforeNewBCEAssign
    (reply,) = domain.of(Send, anchor.timer(11.5))
    assert domain.prefixes(reply.message) == [domain.P2]
    assert len(list(anchor.core.bindings)) == 2


def test_a_retransmission_does_not_prolong_the_wait_rfc5213_6_9_4(domain: type[Domain]) -> None:
    anchor = held(domain)
    anchor.receive(unknown(domain, 11, sequence=8), 11, domain.MAG2)
    (reply,) = domain.of(Send, anchor.timer(11.5))
    assert isinstance(reply.message, ProxyBindingAcknowledgement)
    assert reply.message.sequence == 8
    assert domain.of(Send, anchor.timer(20)) == []


def test_a_node_that_left_again_is_not_registered_rfc5213_5_4_1_2(domain: type[Domain]) -> None:
    anchor = held(domain)
    anchor.receive(unknown(domain, 11, lifetime=0), 11, domain.MAG2)
    assert domain.of(Send, anchor.timer(11.5)) == []
    assert [entry.proxy_coa for entry in anchor.core.bindings] == [domain.MAG1]


def test_a_deregistration_from_elsewhere_does_not_end_the_wait_rfc5213_5_3_5(
    domain: type[Domain],
) -> None:
    anchor = held(domain)
    anchor.receive(unknown(domain, 11, lifetime=0), 11, domain.MAG1)
    (reply,) = domain.of(Send, anchor.timer(11.5))
    assert reply.destination == domain.MAG2


@pytest.mark.parametrize(
    ("stamped", "status"),
    [
        (10.0, 0),
        (10.3, 0),
        (9.701, 0),
        (10.301, S.TIMESTAMP_MISMATCH),
        (9.699, S.TIMESTAMP_MISMATCH),
    ],
)
def test_timestamp_validity_window_rfc5213_5_5_step_6(
    domain: type[Domain], stamped: float, status: int
) -> None:
    reply = domain.lma().acknowledged(domain.pbu(stamped), 10.0)
    assert reply.status == status


@pytest.mark.parametrize(
    ("stamped", "status"),
    [
        (10.1, 0),
        (10.0, S.TIMESTAMP_MISMATCH),
        (9.9, S.TIMESTAMP_LOWER_THAN_PREV_ACCEPTED),
        (0.0, S.TIMESTAMP_LOWER_THAN_PREV_ACCEPTED),
    ],
)
def test_timestamps_have_to_increase_rfc5213_5_5_steps_6_8_and_9(
    domain: type[Domain], stamped: float, status: int
) -> None:
    anchor = domain.lma()
    anchor.receive(domain.pbu(10), 10)
    reply = anchor.acknowledged(domain.pbu(stamped), 10.1)
    assert reply.status == status
    if status:
        assert reply.option(Timestamp) == Timestamp.of_unix_ns(domain.at(10.1).unix_ns)


def test_a_refused_timestamp_is_not_remembered_rfc5213_5_5_step_6(domain: type[Domain]) -> None:
    anchor = domain.lma()
    anchor.receive(domain.pbu(10), 10)
    anchor.receive(domain.pbu(20), 10.1)
    assert anchor.acknowledged(domain.pbu(10.2), 10.2).status == 0


def test_with_a_timestamp_the_sequence_number_is_ignored_rfc5213_5_5_step_5(
    domain: type[Domain],
) -> None:
    anchor = domain.lma()
    anchor.receive(domain.pbu(sequence=100))
    reply = anchor.acknowledged(domain.pbu(1, sequence=3), 1)
    assert (reply.status, reply.sequence) == (0, 3)


def test_without_timestamp_sequence_numbers_order_rfc5213_5_5_rfc6275_9_5_1(
    domain: type[Domain],
) -> None:
    anchor = domain.lma()
    first = anchor.acknowledged(domain.pbu(timestamp=False, sequence=15))
    assert (first.status, first.option(Timestamp)) == (0, None)
    late = anchor.acknowledged(domain.pbu(timestamp=False, sequence=15), 1)
    assert (late.status, late.sequence) == (S.SEQUENCE_NUMBER_OUT_OF_WINDOW, 15)
    stale = anchor.acknowledged(domain.pbu(timestamp=False, sequence=40_000), 2)
    assert (stale.status, stale.sequence) == (S.SEQUENCE_NUMBER_OUT_OF_WINDOW, 15)
    assert anchor.acknowledged(domain.pbu(timestamp=False, sequence=16), 3).status == 0


@pytest.mark.parametrize(
    ("sequence", "expected"),
    [(0, False), (15, False), (16, True), (32782, True), (32783, False), (65535, False)],
)
def test_the_example_of_sequence_number_comparison_rfc6275_9_5_1(
    sequence: int, expected: bool
) -> None:
    assert newer(sequence, than=15) is expected


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_of_two_sequence_numbers_one_is_newer_at_most_rfc6275_9_5_1(one: int, other: int) -> None:
    assert not (newer(one, other) and newer(other, one))
    assert newer((one + 1) % 0x10000, one)


def test_shared_prefix_by_hi_6_rfc7864_3_2_1(domain: type[Domain]) -> None:
    anchor = domain.lma()  # its own policy is unique prefixes
    anchor.receive(domain.pbu())
    asked = unknown(domain, 1, handoff=6, prefixes=(domain.P1,))
    assert domain.prefixes(anchor.acknowledged(asked, 1, domain.MAG2)) == [domain.P1]
    assert [entry.prefixes for entry in anchor.core.bindings] == [(domain.P1,)] * 2
    assert anchor.forwarding.routes == {domain.P1: domain.MAG1}  # the lower BID-PRI


@pytest.mark.parametrize(
    ("model", "second"),
    [
        ("unique", lambda d: [d.P2]),
        ("shared", lambda d: [d.P1]),
        ("hybrid", lambda d: [d.P1, d.P2]),
    ],
)
def test_what_a_second_interface_gets_rfc7864_3_1(
    domain: type[Domain], model: str, second: Any
) -> None:
    anchor = domain.lma(MobileNodePolicy(prefix_model=model))  # type: ignore[arg-type]
    anchor.receive(domain.pbu())
    reply = anchor.acknowledged(unknown(domain, 1, handoff=1), 1, domain.MAG2)
    assert domain.prefixes(reply) == second(domain)


def test_two_nodes_do_not_share_anything_rfc5213_5_3_2(domain: type[Domain]) -> None:
    anchor = domain.lma(MobileNodePolicy(prefix_model="shared"))
    anchor.receive(domain.pbu())
    reply = anchor.acknowledged(domain.pbu(mn=domain.OTHER_MN, link_layer=domain.LINK_LAYER_2))
    assert domain.prefixes(reply) == [domain.P2]
    stolen = domain.pbu(1, mn=domain.OTHER_MN, prefixes=(domain.P1,))
    assert anchor.acknowledged(stolen, 1).status == S.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX


def test_heartbeats_are_answered_rfc5847_3_3(domain: type[Domain]) -> None:
    anchor = domain.lma()
    (sent,) = domain.of(Send, anchor.receive(Heartbeat(sequence=9)))
    assert sent.message == Heartbeat(9, response=True, options=(RestartCounter(0),))
    assert domain.of(Send, anchor.receive(Heartbeat(sequence=9, response=True))) == []


def test_bindings_are_found_by_bid_and_by_access_rfc7864_5_1(domain: type[Domain]) -> None:
    anchor = domain.lma()
    anchor.receive(domain.pbu())
    anchor.receive(unknown(domain, 1, handoff=1), 1, domain.MAG2)
    assert [anchor.core.resolve(domain.MN, name) for name in ("wlan", "cell", 2, 3, "lan")] == [
        1,
        2,
        2,
        None,
        None,
    ]
    assert anchor.core.resolve(domain.OTHER_MN, "wlan") is None


def test_an_access_that_is_not_configured_comes_last_rfc6089_5_3_6(domain: type[Domain]) -> None:
    anchor = domain.lma()
    anchor.receive(domain.pbu(technology=5))
    assert [entry.bid_priority for entry in anchor.core.bindings] == [127]
