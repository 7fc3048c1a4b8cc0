"""The previous MAG is told of a handover (RFC 5846 section 8.1)."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.actions import Action, Send
from nodes.config import MobileNodePolicy
from nodes.wire.messages import (
    BindingError,
    BindingRevocationAcknowledgement,
    BindingRevocationIndication,
    Message,
    ProxyBindingAcknowledgement,
)
from nodes.wire.options import MobileNodeIdentifier
from tests.domain import Domain, Network

if TYPE_CHECKING:
    from tests.domain import Anchor

BRI, PBA = BindingRevocationIndication, ProxyBindingAcknowledgement
SAME_ACCESS, OTHER_ACCESS, UNKNOWN = 2, 3, 4
ATTACHED, NO_BINDING, NO_SUCH_TRIGGER = 132, 128, 133


def sent(domain: type[Domain], actions: list[Action]) -> list[tuple[str, object]]:
    """What was sent, and to whom."""
    return [(type(a.message).__name__, a.destination) for a in domain.of(Send, actions)]


def indication(domain: type[Domain], actions: list[Action]) -> BindingRevocationIndication:
    (message,) = [a.message for a in domain.of(Send, actions) if isinstance(a.message, BRI)]
    return message


def prefixes(domain: type[Domain], actions: list[Action]) -> list[object]:
    """Those of the one PBA, which goes to the new MAG."""
    (answer,) = [a for a in domain.of(Send, actions) if isinstance(a.message, PBA)]
    assert answer.destination == domain.MAG2
    return list(domain.prefixes(answer.message))


def anchor_of(domain: type[Domain], **changes: object) -> Anchor:
    """With a session at mag1."""
    anchor = domain.lma(revoke_on_handover=True, **changes)
    anchor.receive(domain.pbu())
    return anchor


def unknown_handover(domain: type[Domain], anchor: Anchor, seconds: float = 10.0) -> list[Action]:
    """A request of mag2 for an interface that wasn't seen before, with handoff state unknown."""
    request = domain.pbu(seconds, handoff=4, technology=domain.CELL, link_layer=domain.LINK_LAYER_2)
    return anchor.receive(request, seconds, domain.MAG2)


@pytest.mark.parametrize(
    ("handoff", "technology", "trigger"), [(3, 4, SAME_ACCESS), (2, 8, OTHER_ACCESS)]
)
def test_the_trigger_says_what_handover_it_was_rfc5846_5_1(
    domain: type[Domain], handoff: int, technology: int, trigger: int
) -> None:
    anchor = anchor_of(domain)
    request = domain.pbu(10, handoff=handoff, technology=technology)
    actions = anchor.receive(request, 10, domain.MAG2)
    assert sent(domain, actions) == [(PBA.__name__, domain.MAG2), (BRI.__name__, domain.MAG1)]
    message = indication(domain, actions)
    assert message.trigger == trigger
    assert (message.proxy_binding, message.global_revocation) == (True, False)
    assert message.option(MobileNodeIdentifier) == MobileNodeIdentifier.of(domain.MN)
    assert domain.prefixes(message) == [domain.P1]


def test_each_prefix_of_the_session_is_named_rfc5846_8_1(domain: type[Domain]) -> None:
    anchor = domain.lma(MobileNodePolicy(prefixes_per_session=2), revoke_on_handover=True)
    anchor.receive(domain.pbu())
    actions = anchor.receive(domain.pbu(10, handoff=3), 10, domain.MAG2)
    assert domain.prefixes(indication(domain, actions)) == [domain.P1, domain.P2]


@pytest.mark.parametrize("status", [0, 1, NO_BINDING, ATTACHED, None])
def test_what_the_previous_mag_answers_changes_nothing_any_more_rfc5846_8_1(
    domain: type[Domain], status: int | None
) -> None:
    anchor = anchor_of(domain)
    message = indication(domain, anchor.receive(domain.pbu(10, handoff=3), 10, domain.MAG2))
    before = repr(list(anchor.core.bindings))
    if status is None:
        assert indication(domain, anchor.timer(11.0)) == message
        assert sent(domain, anchor.timer(13.0)) == []
    else:
        anchor.receive(BindingRevocationAcknowledgement(status, message.sequence), 10.1)
        assert sent(domain, anchor.timer(13.0)) == []
    assert repr(list(anchor.core.bindings)) == before
    assert anchor.forwarding.routes == {domain.P1: domain.MAG2}


@pytest.mark.parametrize("status", [0, 1, NO_BINDING])
def test_with_state_unknown_the_previous_mag_is_asked_rfc5846_8_1(
    domain: type[Domain], status: int
) -> None:
    """Its assent is as good as a deregistration, and doesn't take as long."""
    anchor = anchor_of(domain)
    actions = unknown_handover(domain, anchor)
    assert sent(domain, actions) == [(BRI.__name__, domain.MAG1)]
    message = indication(domain, actions)
    assert (message.trigger, domain.prefixes(message)) == (UNKNOWN, [domain.P1])
    answer = BindingRevocationAcknowledgement(status, message.sequence)
    assert prefixes(domain, anchor.receive(answer, 10.1)) == [domain.P1]
    assert anchor.forwarding.routes == {domain.P1: domain.MAG2}
    assert len(list(anchor.core.bindings)) == 1


def test_a_deregistration_meanwhile_decides_as_well_rfc5846_8_1(domain: type[Domain]) -> None:
    anchor = anchor_of(domain)
    message = indication(domain, unknown_handover(domain, anchor))
    leaving = domain.pbu(10.1, prefixes=(domain.P1,), handoff=4, lifetime=0)
    actions = anchor.receive(leaving, 10.1)
    assert sent(domain, actions) == [(PBA.__name__, domain.MAG1), (PBA.__name__, domain.MAG2)]
    anchor.receive(BindingRevocationAcknowledgement(NO_BINDING, message.sequence), 10.2)
    assert [entry.proxy_coa for entry in anchor.core.bindings] == [domain.MAG2]
    assert anchor.forwarding.routes == {domain.P1: domain.MAG2}


def test_a_node_that_is_still_attached_has_another_interface_rfc5846_8_1(
    domain: type[Domain],
) -> None:
    anchor = anchor_of(domain)
    message = indication(domain, unknown_handover(domain, anchor))
    answer = BindingRevocationAcknowledgement(ATTACHED, message.sequence)
    assert prefixes(domain, anchor.receive(answer, 10.1)) == [domain.P2]
    assert anchor.forwarding.routes == {domain.P1: domain.MAG1, domain.P2: domain.MAG2}


def test_without_an_answer_there_is_a_new_session_rfc5846_8_1(domain: type[Domain]) -> None:
    """After the last retransmission, which takes the place of MaxDelayBeforeNewBCEAssign."""
    anchor = anchor_of(domain)
    message = indication(domain, unknown_handover(domain, anchor))
    assert indication(domain, anchor.timer(11.0)) == message
    assert sent(domain, anchor.timer(11.6)) == []
    assert anchor.core.timer() == 13.0
    assert prefixes(domain, anchor.timer(13.0)) == [domain.P2]


@pytest.mark.parametrize("how", ["status", "binding error"])
@pytest.mark.parametrize("seconds", [10.1, 12.0])
def test_a_mag_that_cannot_do_it_may_deregister_in_time_rfc5213_5_4_1_2(
    domain: type[Domain], how: str, seconds: float
) -> None:
    anchor = anchor_of(domain)
    message = indication(domain, unknown_handover(domain, anchor))
    answer: Message = BindingRevocationAcknowledgement(NO_SUCH_TRIGGER, message.sequence)
    if how == "binding error":
        answer = BindingError(2)
    assert sent(domain, anchor.receive(answer, seconds)) == []
    assert sent(domain, unknown_handover(domain, anchor, seconds)) == [], "the MAG's retransmission"
    due = anchor.core.timer()
    assert due == 11.5, "MaxDelayBeforeNewBCEAssign"
    assert prefixes(domain, anchor.timer(max(due, seconds))) == [domain.P2]


def test_asked_once_however_many_requests_wait_rfc5846_8_1(domain: type[Domain]) -> None:
    anchor = anchor_of(domain)
    message = indication(domain, unknown_handover(domain, anchor))
    assert sent(domain, unknown_handover(domain, anchor, 10.2)) == [], "the MAG's retransmission"
    other = domain.pbu(10.3, handoff=4, technology=3, link_layer=b"\2\0\0\0\3\1")
    assert sent(domain, anchor.receive(other, 10.3, domain.MAG2)) == []
    answer = BindingRevocationAcknowledgement(ATTACHED, message.sequence)
    assert len(sent(domain, anchor.receive(answer, 10.4))) == 2
    assert len(list(anchor.core.bindings)) == 3


def test_a_node_that_comes_back_is_not_revoked_there_rfc5846_8_1(domain: type[Domain]) -> None:
    anchor = anchor_of(domain)
    anchor.receive(domain.pbu(10, handoff=3), 10, domain.MAG2)
    back = anchor.receive(domain.pbu(10.5, handoff=3), 10.5, domain.MAG1)
    assert sent(domain, back) == [(PBA.__name__, domain.MAG1), (BRI.__name__, domain.MAG2)]
    assert sent(domain, anchor.timer(11.0)) == [], "to mag1"
    assert sent(domain, anchor.timer(11.5)) == [(BRI.__name__, domain.MAG2)]


def test_a_mag_that_serves_another_interface_is_not_told_rfc5846_8_1(domain: type[Domain]) -> None:
    """The prefixes, which both share, couldn't say which of the two it is about."""
    anchor = domain.lma(MobileNodePolicy(prefix_model="shared"), revoke_on_handover=True)
    anchor.receive(domain.pbu())
    other = domain.pbu(
        1, technology=domain.CELL, link_layer=domain.LINK_LAYER_2, handoff=6, prefixes=(domain.P1,)
    )
    anchor.receive(other, 1)
    actions = anchor.receive(domain.pbu(10, handoff=3), 10, domain.MAG2)
    assert sent(domain, actions) == [(PBA.__name__, domain.MAG2)]


def test_a_mag_that_has_deregistered_is_not_told_rfc5846_8_1(domain: type[Domain]) -> None:
    anchor = anchor_of(domain)
    anchor.receive(domain.pbu(9, prefixes=(domain.P1,), handoff=4, lifetime=0), 9)
    actions = anchor.receive(domain.pbu(10, handoff=3), 10, domain.MAG2)
    assert sent(domain, actions) == [(PBA.__name__, domain.MAG2)]


def test_no_mag_is_told_unless_configured_rfc5846_8_1(domain: type[Domain]) -> None:
    anchor = domain.lma()
    anchor.receive(domain.pbu())
    assert sent(domain, unknown_handover(domain, anchor)) == []
    actions = anchor.receive(domain.pbu(10.1, handoff=3), 10.1, domain.MAG2)
    assert BRI.__name__ not in [name for name, _ in sent(domain, actions)]


@pytest.mark.parametrize("gone", [True, False])
def test_the_mag_knows_whether_the_node_is_attached_rfc5846_9_1(
    domain: type[Domain], gone: bool
) -> None:
    """All PBUs of its departure got lost: the BRI ends what the LMA's answer would have."""
    gateway = domain.mag().registered()
    if gone:
        gateway.link_down(10)
    identifier = MobileNodeIdentifier.of(domain.MN)
    prefix = domain.fmi(0, (domain.P1,), off_link=False).options[1]
    message = BRI(SAME_ACCESS, 7, (identifier, prefix))
    (answer,) = [a.message for a in domain.of(Send, gateway.receive(message, 10.5))]
    assert isinstance(answer, BindingRevocationAcknowledgement)
    assert answer.status == (0 if gone else ATTACHED)
    assert bool(gateway.core.bindings) is not gone


GAPS_S = st.sampled_from([-0.3, -0.015, 0.001, 0.005, 0.5, 2.0, 12.0])


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([2, 3, 4]),
    st.booleans(),
    st.booleans(),
    st.lists(GAPS_S, min_size=1, max_size=5),
    st.randoms(use_true_random=False),
)
def test_whatever_gets_lost_the_node_is_served_where_it_is_rfc5846_8_1(
    handoff: int, told: bool, same_interface: bool, gaps: list[float], rng: random.Random
) -> None:
    """It wanders between the MAGs; `gaps` are from leaving one to appearing at the other. No two
    of their requests are made at the same instant, and none arrives twice: an LMA refuses equal
    timestamps with 156, which is for an operator to look into (RFC 5213 section 6.9.1.2)."""
    network = Network(MobileNodePolicy(), revoke_on_handover=told)
    other = {"access_technology": Domain.WLAN, "link_layer_id": Domain.LINK_LAYER_1.hex(":")}
    network.mags["mag1"] = Domain.mag("mag1", handoff)
    network.mags["mag2"] = Domain.mag("mag2", handoff, profile=other if same_interface else {})
    network.attach("mag1")
    network.run(1)
    network.fate = lambda message: rng.choice([(0.01,), (0.01,), (), (0.2,)])
    here, there = "mag1", "mag2"
    for gap_s in gaps:
        first, second = (network.detach, here), (network.attach, there)
        if gap_s < 0:
            first, second = second, first
        first[0](first[1])
        network.run(abs(gap_s))
        second[0](second[1])
        network.run(rng.choice([0.0013, 0.0217, 1.0031, 5.0073]))
        here, there = there, here
    network.fate = lambda message: (0.01,)
    network.run(4_000)
    (bound,) = {entry.proxy_coa for entry in network.lma.core.bindings if entry.registered}
    assert bound == network.mags[here].core.config.proxy_coa
    assert network.lma.core.registrations.held.deadline() is None
    served = {prefix for _, prefix in network.mags[here].forwarding.hosted}
    assert served
    assert served == {p for e in network.lma.core.bindings if e.registered for p in e.prefixes}
    assert set(network.lma.forwarding.routes) >= served
    assert not network.mags[there].forwarding.hosted
