"""RFC 5846 section 8.1, an LMA that revokes bindings: one test a rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nodes.actions import Action, Send
from nodes.config import MobileNodePolicy
from nodes.wire.messages import (
    BindingRevocationAcknowledgement,
    BindingRevocationIndication,
    ProxyBindingAcknowledgement,
)
from nodes.wire.options import HomeNetworkPrefix, MobileNodeIdentifier
from tests.conformance.revocation import (
    ADMINISTRATIVE,
    ATTACHED,
    LOCAL_POLICY,
    ONE,
    OTHER_ACCESS,
    PER_PEER,
    REALM,
    SAME_ACCESS,
    UNKNOWN_HANDOVER,
    acceptances,
    anchor,
    bound,
    indications,
    revoke,
    revoke_mag,
    revoke_realm,
)
from tests.domain import Domain

if TYPE_CHECKING:
    from tests.domain import Anchor

BRA = BindingRevocationAcknowledgement


def handover(made: Anchor, handoff: int, technology: int, seconds: float = 10.0) -> list[Action]:
    request = Domain.pbu(seconds, handoff=handoff, technology=technology)
    return made.receive(request, seconds, Domain.MAG2)


def asking(**changes: object) -> tuple[Anchor, list[Action]]:
    """An LMA with one binding, and what it does about a request with handoff state unknown."""
    made = Domain.lma(revoke_on_handover=True, **changes)
    made.receive(Domain.pbu())
    request = Domain.pbu(10, handoff=4, technology=Domain.CELL, link_layer=Domain.LINK_LAYER_2)
    return made, made.receive(request, 10, Domain.MAG2)


def asked(actions: list[Action]) -> BindingRevocationIndication:
    (message,) = indications(actions)
    return message


def assigned(actions: list[Action]) -> list[object]:
    (answer,) = acceptances(actions)
    return list(Domain.prefixes(answer))


def test_rfc5846_8_1_01_the_p_bit_says_proxy_binding() -> None:
    for actions in (revoke(anchor()), revoke_mag(anchor()), revoke_realm(anchor()), asking()[1]):
        assert all(message.proxy_binding for message in indications(actions))


def test_rfc5846_8_1_02_the_trigger_says_why() -> None:
    reasons = [
        indications(order(anchor()))[0].trigger for order in (revoke, revoke_mag, revoke_realm)
    ]
    for handoff, technology in ((3, Domain.WLAN), (2, Domain.CELL)):
        made = Domain.lma(revoke_on_handover=True)
        made.receive(Domain.pbu())
        reasons.append(asked(handover(made, handoff, technology)).trigger)
    assert reasons == [ADMINISTRATIVE, PER_PEER, LOCAL_POLICY, SAME_ACCESS, OTHER_ACCESS]


def test_rfc5846_8_1_03_the_mobile_node_is_named() -> None:
    for actions in (revoke(anchor()), revoke(anchor(), "wlan"), asking()[1]):
        for message in indications(actions):
            assert message.option(MobileNodeIdentifier) == ONE


def test_rfc5846_8_1_04_one_of_several_bindings_has_its_prefix() -> None:
    (message,) = indications(revoke(anchor(), "cell"))
    assert Domain.prefixes(message) == [Domain.P2]


def test_rfc5846_8_1_05_all_of_a_peer_take_g_bit_and_trigger() -> None:
    (message,) = indications(revoke_mag(anchor()))
    assert (message.global_revocation, message.trigger) == (True, PER_PEER)


def test_rfc5846_8_1_06_the_destination_is_the_proxy_coa() -> None:
    sent = Domain.of(Send, revoke(anchor()))
    assert [(s.source, s.destination) for s in sent] == [
        (Domain.LMA, Domain.MAG1),
        (Domain.LMA, Domain.MAG2),
    ]
    assert Domain.of(Send, revoke_mag(anchor()))[0].destination == Domain.MAG1


def test_rfc5846_8_1_09_the_entry_stays_until_the_answer_or_the_last_repetition() -> None:
    made = anchor()
    before = bound(made)
    (message,) = indications(revoke(made, "wlan"))
    made.timer(3.0)
    made.timer(4.9)
    assert bound(made) == before
    made.receive(BRA(0, message.sequence), 4.95)
    assert bound(made) == before[1:]
    made = anchor()
    revoke(made, "wlan")
    made.timer(3.0)
    made.timer(5.0)
    assert bound(made) == before[1:]


def test_rfc5846_8_1_10_all_of_a_mag_are_one_global_revocation(domain: type[Domain]) -> None:
    made = anchor()
    (message,) = indications(revoke_mag(made))
    made.receive(BRA(0, message.sequence, global_revocation=True), 2.1)
    assert bound(made) == [(domain.MN, domain.MAG2)]


def test_rfc5846_8_1_11_which_has_no_options() -> None:
    (message,) = indications(revoke_mag(anchor()))
    assert message.options == ()


def test_rfc5846_8_1_12_a_realm_takes_g_bit_and_trigger() -> None:
    for message in indications(revoke_realm(anchor())):
        assert (message.global_revocation, message.trigger) == (True, LOCAL_POLICY)


def test_rfc5846_8_1_13_and_an_option_that_its_nodes_share() -> None:
    found = indications(revoke_realm(anchor()))
    assert len(found) == 2, "one a MAG"
    for message in found:
        assert message.option(MobileNodeIdentifier) is not None


def test_rfc5846_8_1_14_which_begins_with_the_at_sign(domain: type[Domain]) -> None:
    """A realm is the whole of what follows it, and no end of that."""
    made = domain.lma(mobile_nodes={name: MobileNodePolicy() for name in NAMES})
    for number, name in enumerate(NAMES):
        made.receive(domain.pbu(mn=name, link_layer=bytes([2, 0, 0, 0, 9, number])))
    found = indications(revoke_realm(made))
    assert [message.options for message in found] == [(REALM,)]
    made.receive(BRA(0, found[0].sequence, global_revocation=True), 2.1)
    assert [entry.mn_id for entry in made.core.bindings] == list(NAMES[2:])


NAMES = ("1234abdelta@example.org", "a.b@example.org", "x@foo.example.org", "x@anexample.org")


def test_rfc5846_8_1_17_each_prefix_of_a_session_is_named(domain: type[Domain]) -> None:
    made = domain.lma(MobileNodePolicy(prefixes_per_session=3))
    made.receive(domain.pbu())
    other = domain.pbu(1, technology=domain.CELL, link_layer=domain.LINK_LAYER_2)
    made.receive(other, 1, domain.MAG2)
    (message,) = indications(revoke(made, "wlan"))
    (entry,) = [e for e in made.core.bindings if e.proxy_coa == domain.MAG1]
    assert Domain.prefixes(message) == list(entry.prefixes)
    assert len(entry.prefixes) == 3


def test_rfc5846_8_1_18_with_state_unknown_the_previous_mag_is_asked(
    domain: type[Domain],
) -> None:
    """Where `revoke_on_handover` says so: docs/decisions.md."""
    _, actions = asking()
    ((message, destination),) = [(s.message, s.destination) for s in domain.of(Send, actions)]
    assert isinstance(message, BindingRevocationIndication)
    assert destination == domain.MAG1
    assert message.all_options(HomeNetworkPrefix) == (HomeNetworkPrefix.of(domain.P1),)


def test_rfc5846_8_1_19_with_the_trigger_unknown() -> None:
    assert asked(asking()[1]).trigger == UNKNOWN_HANDOVER


@pytest.mark.parametrize("what", ["success", "deregistration", "attached", "nothing"])
def test_rfc5846_8_1_20_all_that_may_come_is_handled(domain: type[Domain], what: str) -> None:
    """Whatever it is, the new MAG gets an answer, once."""
    made, actions = asking()
    message = asked(actions)
    found: list[ProxyBindingAcknowledgement] = []
    if what == "deregistration":
        leaving = domain.pbu(10.1, prefixes=(domain.P1,), handoff=4, lifetime=0)
        found += acceptances(made.receive(leaving, 10.1))[1:]
    elif what != "nothing":
        status = 0 if what == "success" else ATTACHED
        found += acceptances(made.receive(BRA(status, message.sequence), 10.1))
    for seconds in (11.0, 11.5, 13.0, 15.0):
        found += acceptances(made.timer(seconds))
    assert [answer.accepted for answer in found] == [True]


@pytest.mark.parametrize("how", ["acknowledgement", "deregistration"])
def test_rfc5846_8_1_21_its_assent_is_a_deregistration(domain: type[Domain], how: str) -> None:
    made, actions = asking()
    if how == "acknowledgement":
        (answer,) = acceptances(made.receive(BRA(0, asked(actions).sequence), 10.1))
    else:
        leaving = domain.pbu(10.1, prefixes=(domain.P1,), handoff=4, lifetime=0)
        answer = acceptances(made.receive(leaving, 10.1))[1]
    assert domain.prefixes(answer) == [domain.P1]
    assert bound(made) == [(domain.MN, domain.MAG2)]


def test_rfc5846_8_1_22_a_node_that_is_attached_has_another_interface(
    domain: type[Domain],
) -> None:
    made, actions = asking()
    answer = BRA(ATTACHED, asked(actions).sequence)
    assert assigned(made.receive(answer, 10.1)) == [domain.P2]
    assert bound(made) == [(domain.MN, domain.MAG1), (domain.MN, domain.MAG2)]


def test_rfc5846_8_1_23_without_an_answer_there_is_a_new_session(domain: type[Domain]) -> None:
    made, _ = asking()
    assert acceptances(made.timer(11.0)) == []
    assert assigned(made.timer(13.0)) == [domain.P2]
    assert bound(made) == [(domain.MN, domain.MAG1), (domain.MN, domain.MAG2)]


def test_rfc5846_8_1_24_it_is_asked_no_more_often_than_recommended(domain: type[Domain]) -> None:
    """Section 11: one repetition, unless configured."""
    made, actions = asking()
    found = indications(actions)
    for seconds in (11.0, 12.0, 13.0, 14.0, 20.0):
        found += indications(made.timer(seconds))
    assert len(found) == 2
