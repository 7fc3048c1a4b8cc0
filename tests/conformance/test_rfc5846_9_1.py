"""RFC 5846 section 9.1, a MAG whose bindings are revoked: one test a rule."""

from __future__ import annotations

import pytest

from nodes.wire.options import AlternateCareOfAddress, MobileNodeIdentifier, Option
from tests.conformance.revocation import (
    ADMINISTRATIVE,
    ATTACHED,
    FUNCTION_NOT_SUPPORTED,
    HNP1,
    HNP2,
    IDENTITY_REQUIRED,
    LOCAL_POLICY,
    NO_BINDING,
    ONE,
    OTHER_ACCESS,
    PARTIAL,
    PER_PEER,
    REALM,
    SAME_ACCESS,
    UNKNOWN_HANDOVER,
    answers,
    indication,
    messages,
    told,
)
from tests.domain import Domain, Gateway

GLOBAL = ((PER_PEER, ()), (LOCAL_POLICY, (REALM,)))
HANDOVERS = (SAME_ACCESS, OTHER_ACCESS, UNKNOWN_HANDOVER)
OTHER_KIND = MobileNodeIdentifier(b"@example.org", subtype=5)


def gateway() -> Gateway:
    return Domain.mag().registered()


@pytest.mark.parametrize("options", [(), (ONE,), (HNP1,), (AlternateCareOfAddress(Domain.MAG1),)])
@pytest.mark.parametrize("p", [True, False])
def test_rfc5846_9_1_01_of_all_bindings_without_options(
    options: tuple[Option, ...], p: bool
) -> None:
    made = gateway()
    status = told(made, indication(PER_PEER, *options, g=True, p=p))
    assert status == (0 if p and not options else FUNCTION_NOT_SUPPORTED)
    assert bool(made.forwarding.hosted) is (status != 0)


@pytest.mark.parametrize(("trigger", "options"), GLOBAL[:1])
def test_rfc5846_9_1_02_all_bindings_are_revoked(trigger: int, options: tuple[Option, ...]) -> None:
    made = gateway()
    assert told(made, indication(trigger, *options, g=True)) == 0
    assert not made.forwarding.hosted


@pytest.mark.parametrize(
    ("options", "p", "accepted"),
    [
        ((REALM,), True, True),
        ((REALM,), False, False),
        ((), True, False),
        ((ONE,), True, False),
        ((HNP1,), True, False),
        ((OTHER_KIND,), True, False),
    ],
)
def test_rfc5846_9_1_03_of_a_realm_that_is_named(
    options: tuple[Option, ...], p: bool, accepted: bool
) -> None:
    status = told(gateway(), indication(LOCAL_POLICY, *options, g=True, p=p))
    assert (status == 0) is accepted


def test_rfc5846_9_1_04_all_of_the_realm_are_revoked() -> None:
    made = gateway()
    assert told(made, indication(LOCAL_POLICY, REALM, g=True)) == 0
    assert not made.forwarding.hosted


@pytest.mark.parametrize("options", [(), (MobileNodeIdentifier.of("@elsewhere.example"),)])
def test_rfc5846_9_1_05_a_realm_that_nobody_is_of_is_an_error(
    options: tuple[Option, ...],
) -> None:
    made = gateway()
    assert told(made, indication(LOCAL_POLICY, *options, g=True)) >= NO_BINDING
    assert made.forwarding.hosted


@pytest.mark.parametrize("options", [(), (MobileNodeIdentifier.of("@elsewhere.example"),)])
def test_rfc5846_9_1_06_with_a_status_of_its_own(options: tuple[Option, ...]) -> None:
    assert told(gateway(), indication(LOCAL_POLICY, *options, g=True)) == IDENTITY_REQUIRED


@pytest.mark.parametrize("trigger", HANDOVERS)
def test_rfc5846_9_1_07_a_handover_is_accepted_once_the_node_is_gone(trigger: int) -> None:
    made = gateway()
    assert told(made, indication(trigger, ONE, HNP1)) == ATTACHED
    made.link_down(10.5)
    assert told(made, indication(trigger, ONE, HNP1)) == 0
    assert not made.core.bindings


@pytest.mark.parametrize("trigger", HANDOVERS)
def test_rfc5846_9_1_08_a_node_that_is_attached_stays(trigger: int) -> None:
    made = gateway()
    assert told(made, indication(trigger, ONE, HNP1)) == ATTACHED
    assert made.forwarding.hosted


def test_rfc5846_9_1_13_an_ipv4_address_that_isn_t_known_is_refused() -> None:
    """None is known here."""
    made = gateway()
    assert told(made, indication(ADMINISTRATIVE, ONE, v=True)) == NO_BINDING
    assert made.forwarding.hosted


def test_rfc5846_9_1_14_what_was_released_before_is_no_reason_to_refuse() -> None:
    made = gateway()
    assert told(made, indication(ADMINISTRATIVE, ONE, HNP1, HNP2)) == PARTIAL
    assert not made.forwarding.hosted


def test_rfc5846_9_1_15_the_answer_is_that_of_section_6() -> None:
    for trigger, options in (*GLOBAL, (ADMINISTRATIVE, (ONE,)), (ADMINISTRATIVE, (ONE, HNP2))):
        message = indication(trigger, *options, g=trigger >= PER_PEER, sequence=99)
        actions = gateway().receive(message, 10)
        (answer,) = answers(actions)
        assert (answer.sequence, answer.proxy_binding) == (99, True)
        assert answer.global_revocation is message.global_revocation
        assert answer in messages(actions)
