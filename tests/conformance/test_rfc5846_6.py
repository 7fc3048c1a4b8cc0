"""RFC 5846 section 6, Binding Revocation at both ends: one test a rule."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import pytest

from nodes.actions import Reply
from nodes.wire.codec import decode, encode
from nodes.wire.errors import MalformedMessage
from nodes.wire.messages import BindingRevocationAcknowledgement, BindingRevocationIndication
from tests.conformance.headers import (
    DESTINATION,
    SOURCE,
    changed,
    check_header,
    check_reserved,
    check_unknown_option,
)
from tests.conformance.revocation import (
    ADMINISTRATIVE,
    ATTACHED,
    FUNCTION_NOT_SUPPORTED,
    HNP1,
    HNP2,
    LOCAL_POLICY,
    NO_BINDING,
    ONE,
    PARTIAL,
    PER_PEER,
    SAME_ACCESS,
    TRIGGER_NOT_SUPPORTED,
    anchor,
    answers,
    bound,
    indication,
    indications,
    messages,
    revoke,
    revoke_mag,
    revoke_realm,
    told,
)

if TYPE_CHECKING:
    from tests.domain import Domain

BRA = BindingRevocationAcknowledgement


def test_rfc5846_6_1_1_01_an_indication_has_its_format() -> None:
    (message,) = indications(revoke(anchor(), "wlan"))
    octets = encode(message, SOURCE, DESTINATION)
    assert (octets[2], octets[6], octets[7]) == (16, 1, ADMINISTRATIVE)
    assert int.from_bytes(octets[8:10], "big") == message.sequence
    assert octets[10:12] == bytes([0x80, 0])


def test_rfc5846_6_1_1_02_sequence_numbers_of_outstanding_ones_differ() -> None:
    made = anchor()
    found = [m.sequence for m in indications(revoke(made))]
    made.core.indications._next_sequence = found[0]
    found += [m.sequence for m in indications(revoke_mag(made))]
    assert len(found) == len(set(found)) == 3


def test_rfc5846_6_1_1_03_the_p_bit_says_proxy_binding() -> None:
    for order in (revoke, revoke_mag, revoke_realm):
        assert all(message.proxy_binding for message in indications(order(anchor())))


def test_rfc5846_6_1_1_04_several_sessions_take_the_g_bit() -> None:
    for order in (revoke_mag, revoke_realm):
        found = indications(order(anchor()))
        assert found
        assert all(message.global_revocation for message in found)


def test_rfc5846_6_1_1_05_with_the_g_bit_the_trigger_is_a_global_one() -> None:
    for order, trigger in ((revoke_mag, PER_PEER), (revoke_realm, LOCAL_POLICY)):
        assert {message.trigger for message in indications(order(anchor()))} == {trigger}


def test_rfc5846_6_1_1_06_without_it_the_trigger_is_per_node() -> None:
    for message in indications(revoke(anchor())):
        assert not message.global_revocation
        assert message.trigger < 128


def test_rfc5846_6_1_2_01_an_indication_is_answered(domain: type[Domain]) -> None:
    for trigger, options, g in ((1, (ONE,), False), (200, (ONE,), False), (128, (), True)):
        gateway = domain.mag().registered()
        assert len(answers(gateway.receive(indication(trigger, *options, g=g), 10))) == 1


def test_rfc5846_6_1_2_02_what_is_discarded_is_not_answered(domain: type[Domain]) -> None:
    gateway = domain.mag().registered()
    message = indication(ADMINISTRATIVE, ONE)
    assert messages(gateway.receive(message, 10, domain.MAG2)) == []
    assert gateway.forwarding.hosted


def test_rfc5846_6_1_2_03_an_accepted_one_with_success(domain: type[Domain]) -> None:
    assert told(domain.mag().registered(), indication(ADMINISTRATIVE, ONE)) == 0


def test_rfc5846_6_1_2_04_a_refused_one_with_a_failure(domain: type[Domain]) -> None:
    gateway = domain.mag().registered()
    assert told(gateway, indication(ADMINISTRATIVE, ONE, HNP2)) == NO_BINDING
    assert told(gateway, indication(SAME_ACCESS, ONE, HNP1)) == ATTACHED
    assert gateway.forwarding.hosted


@pytest.mark.parametrize("source", ["ff02::1", "::"])
def test_rfc5846_6_1_2_05_the_source_has_to_be_unicast(domain: type[Domain], source: str) -> None:
    gateway = domain.mag().registered()
    message = indication(ADMINISTRATIVE, ONE)
    assert messages(gateway.receive(message, 10, IPv6Address(source))) == []
    assert gateway.forwarding.hosted


def answer(domain: type[Domain], message: BindingRevocationIndication) -> BRA:
    (found,) = answers(domain.mag().registered().receive(message, 10))
    return found


def test_rfc5846_6_1_2_06_an_answer_has_its_format(domain: type[Domain]) -> None:
    found = answer(domain, indication(ADMINISTRATIVE, ONE, sequence=0x1234))
    octets = encode(found, SOURCE, DESTINATION)
    assert (octets[2], octets[6], octets[7], octets[8:10]) == (16, 2, 0, b"\x12\x34")


def test_rfc5846_6_1_2_07_the_sequence_number_is_copied(domain: type[Domain]) -> None:
    for sequence in (0, 0x1234, 0xFFFF):
        message = indication(ADMINISTRATIVE, ONE, sequence=sequence)
        assert answer(domain, message).sequence == sequence


def test_rfc5846_6_1_2_08_the_status_says_what_came_of_it(domain: type[Domain]) -> None:
    """Success if and only if the mobile node has lost the service."""
    for options in ((ONE,), (ONE, HNP1), (ONE, HNP1, HNP2), (ONE, HNP2), ()):
        gateway = domain.mag().registered()
        status = told(gateway, indication(ADMINISTRATIVE, *options))
        assert (status < NO_BINDING) is not bool(gateway.forwarding.hosted)


@pytest.mark.parametrize("p", [True, False])
def test_rfc5846_6_1_2_09_the_p_bit_is_copied(domain: type[Domain], p: bool) -> None:
    assert answer(domain, indication(ADMINISTRATIVE, ONE, p=p)).proxy_binding is p


@pytest.mark.parametrize("g", [True, False])
def test_rfc5846_6_1_2_10_the_g_bit_is_copied(domain: type[Domain], g: bool) -> None:
    message = indication(PER_PEER, g=True) if g else indication(ADMINISTRATIVE, ONE)
    assert answer(domain, message).global_revocation is g


@pytest.mark.parametrize("v", [True, False])
def test_rfc5846_6_1_2_11_the_v_bit_is_copied(domain: type[Domain], v: bool) -> None:
    assert answer(domain, indication(ADMINISTRATIVE, ONE, v=v)).ipv4_only is v


@pytest.mark.parametrize("message", [indication(ADMINISTRATIVE, ONE), BRA(0, 7, (ONE,))])
def test_rfc5846_6_2_01_the_header_is_checked(
    message: BindingRevocationIndication | BindingRevocationAcknowledgement,
) -> None:
    check_header(message)


def test_rfc5846_6_2_02_a_broken_header_changes_nothing() -> None:
    """It doesn't come as far as the core; what is answered to the fault is tested for any
    message, over sockets (RFC 6275 section 9.2)."""
    octets = encode(indication(ADMINISTRATIVE, ONE), SOURCE, DESTINATION)
    with pytest.raises(ValueError, match="checksum"):
        decode(octets[:7] + bytes([octets[7] ^ 3]) + octets[8:], SOURCE, DESTINATION)


def test_rfc5846_6_2_03_strangers_are_not_heard(domain: type[Domain]) -> None:
    """Without IPsec the source address is all that tells peers from others."""
    gateway = domain.mag().registered()
    gateway.receive(indication(PER_PEER, g=True), 10, domain.POOL[9])
    assert gateway.forwarding.hosted
    made = anchor()
    (message,) = indications(revoke(made, "wlan"))
    made.receive(BRA(0, message.sequence), 2.1, domain.POOL[9])
    made.receive(BRA(0, message.sequence), 2.1, domain.MAG2)
    assert (domain.MN, domain.MAG1) in bound(made)


def test_rfc5846_6_2_1_01_the_format_of_an_indication_is_checked() -> None:
    message = indication(ADMINISTRATIVE, ONE, HNP1)
    assert decode(encode(message, SOURCE, DESTINATION), SOURCE, DESTINATION) == message
    check_reserved(message, {3: 0xFF, 10: 0x1F, 11: 0xFF})
    check_unknown_option(message)
    for kind in (0, 3, 255):
        with pytest.raises(MalformedMessage):
            decode(changed(message, {6: kind}), SOURCE, DESTINATION)


@pytest.mark.parametrize("trigger", [8, 127, 130, 249, 250, 255])
def test_rfc5846_6_2_1_02_unknown_triggers_are_refused(domain: type[Domain], trigger: int) -> None:
    message = indication(trigger, ONE, g=trigger >= PER_PEER)
    assert told(domain.mag().registered(), message) == TRIGGER_NOT_SUPPORTED


@pytest.mark.parametrize(
    ("trigger", "g"), [(ADMINISTRATIVE, True), (SAME_ACCESS, True), (PER_PEER, False)]
)
def test_rfc5846_6_2_1_03_triggers_that_do_not_fit_are_refused(
    domain: type[Domain], trigger: int, g: bool
) -> None:
    options = () if trigger == PER_PEER else (ONE,)
    message = indication(trigger, *options, g=g)
    assert told(domain.mag().registered(), message) == FUNCTION_NOT_SUPPORTED


def test_rfc5846_6_2_1_04_bindings_that_are_not_found_are_refused(domain: type[Domain]) -> None:
    gateway = domain.mag().registered()
    assert told(gateway, indication(ADMINISTRATIVE, ONE, HNP2)) == NO_BINDING
    gateway.link_down(11)
    gateway.timer(20)
    assert told(gateway, indication(ADMINISTRATIVE, ONE)) == NO_BINDING


def test_rfc5846_6_2_2_01_an_answer_fits_by_its_number(domain: type[Domain]) -> None:
    made = anchor()
    (message,) = indications(revoke(made, "wlan"))
    actions = made.receive(BRA(0, message.sequence), 2.1)
    assert domain.of(Reply, actions) == [Reply(1, {"revoked": 1})]


def test_rfc5846_6_2_2_02_an_answer_to_nothing_is_discarded(domain: type[Domain]) -> None:
    made = anchor()
    (message,) = indications(revoke(made, "wlan"))
    before = bound(made)
    for wrong in (message.sequence + 1, message.sequence - 1):
        assert messages(made.receive(BRA(0, wrong % 0x10000), 2.1)) == []
    assert bound(made) == before
    assert made.core.indications.deadline() is not None


@pytest.mark.parametrize("status", [0, PARTIAL])
def test_rfc5846_6_2_2_03_success_deletes_bindings_and_timer(
    domain: type[Domain], status: int
) -> None:
    made = anchor()
    (message,) = indications(revoke(made, "wlan"))
    made.receive(BRA(status, message.sequence), 2.1)
    assert bound(made) == [(domain.MN, domain.MAG2), (domain.OTHER_MN, domain.MAG1)]
    assert domain.P1 not in made.forwarding.routes
    assert made.core.indications.deadline() is None


@pytest.mark.parametrize("retries", [None, 0, 3])
def test_rfc5846_6_3_01_it_is_repeated_as_often_as_configured(retries: int | None) -> None:
    made = anchor(**({} if retries is None else {"bri_max_retries_number": retries}))
    found = indications(revoke(made, "wlan"))
    while (due := made.core.indications.deadline()) is not None:
        found += indications(made.timer(due))
    assert len(found) == 1 + (1 if retries is None else retries)
    assert all(message == found[0] for message in found)


def test_rfc5846_6_3_02_the_timeout_doubles_up_to_the_greatest() -> None:
    made = anchor(bri_max_retries_number=4)
    revoke(made, "wlan", 2.0)
    times = []
    while (due := made.core.indications.deadline()) is not None:
        times.append(due)
        made.timer(due)
    assert times == [3.0, 5.0, 7.0, 9.0, 11.0]


def test_rfc5846_6_3_03_without_an_answer_everything_is_cleaned_up(domain: type[Domain]) -> None:
    made = anchor()
    revoke(made)
    while (due := made.core.indications.deadline()) is not None:
        made.timer(due)
    assert bound(made) == [(domain.OTHER_MN, domain.MAG1)]
    assert set(made.forwarding.routes) == {e.prefixes[0] for e in made.core.bindings}
    assert made.forwarding.tunnels == {domain.MAG1}
