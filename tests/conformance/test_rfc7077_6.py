"""RFC 7077 section 6, Update Notifications at the MAG: one test a rule."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import pytest

from nodes.actions import Action, Log, Send
from nodes.wire.codec import decode, encode
from nodes.wire.messages import (
    Option,
    ProxyBindingUpdate,
    UpdateNotification,
    UpdateNotificationAcknowledgement,
)
from nodes.wire.options import HandoffIndicator, MobileNodeIdentifier, VendorSpecific
from tests.conformance.headers import DESTINATION, SOURCE, check_header

if TYPE_CHECKING:
    from tests.domain import Domain

FORCE, UPDATE_PARAMETERS, VENDOR_SPECIFIC = 1, 2, 3
FAILED_TO_UPDATE, MISSING_VENDOR_OPTION = 128, 129


def notification(
    domain: type[Domain],
    reason: int,
    *,
    sequence: int = 5,
    acknowledge: bool = True,
    retransmit: bool = False,
    extra: tuple[Option, ...] = (),
) -> UpdateNotification:
    options = (MobileNodeIdentifier.of(domain.MN), *extra)
    return UpdateNotification(
        sequence, reason, options, acknowledge=acknowledge, retransmit=retransmit
    )


def statuses(domain: type[Domain], actions: list[Action]) -> list[int]:
    """Of the answers."""
    sent = [action.message for action in domain.of(Send, actions)]
    return [int(m.status) for m in sent if isinstance(m, UpdateNotificationAcknowledgement)]


def requests(domain: type[Domain], actions: list[Action]) -> list[ProxyBindingUpdate]:
    sent = [action.message for action in domain.of(Send, actions)]
    return [message for message in sent if isinstance(message, ProxyBindingUpdate)]


def failures(domain: type[Domain], actions: list[Action]) -> list[object]:
    """Those that were logged."""
    logs = domain.of(Log, actions)
    return [log.details["status"] for log in logs if log.event == "upn-failed"]


def test_rfc7077_6_1_01_the_header_of_a_notification_is_checked(domain: type[Domain]) -> None:
    check_header(domain.fmi(5, (domain.P1,)))


def test_rfc7077_6_1_02_a_notification_with_a_broken_header_changes_nothing(
    domain: type[Domain],
) -> None:
    """It doesn't come as far as the core; what is answered to the fault is tested for any
    message, over sockets (RFC 6275 section 9.2)."""
    octets = encode(domain.fmi(5, (domain.P1,)), SOURCE, DESTINATION)
    with pytest.raises(ValueError, match="checksum"):
        decode(octets[:6] + bytes([octets[6] ^ 1]) + octets[7:], SOURCE, DESTINATION)


def test_rfc7077_6_1_07_a_repetition_redoes_the_action(domain: type[Domain]) -> None:
    gateway = domain.mag().registered()
    message = notification(domain, FORCE, acknowledge=False)
    (request,) = requests(domain, gateway.receive(message, 1))
    gateway.receive(domain.acceptance(request), 1.1)
    again = notification(domain, FORCE, acknowledge=False, retransmit=True)
    assert len(requests(domain, gateway.receive(again, 2))) == 1


def test_rfc7077_6_1_09_what_the_reason_says_is_done(domain: type[Domain]) -> None:
    gateway = domain.mag().registered()
    gateway.receive(domain.fmi(5, (domain.P2,), acknowledge=False), 1)
    assert {prefix for _, prefix in gateway.forwarding.hosted} == {domain.P1, domain.P2}
    assert len(requests(domain, gateway.receive(notification(domain, FORCE, sequence=6), 2))) == 1


def test_rfc7077_6_1_11_a_forced_registration_is_a_pbu(domain: type[Domain]) -> None:
    """Its answer brings the session's parameters: here, prefixes for flow mobility."""
    gateway = domain.mag().registered()
    (request,) = requests(domain, gateway.receive(notification(domain, FORCE), 1))
    assert domain.prefixes(request) == [domain.P1]
    assert request.option(HandoffIndicator) == HandoffIndicator(5)
    assert request.lifetime > 0
    gateway.receive(domain.acceptance(request, (domain.P1,), (domain.P2,)), 1.1)
    assert {prefix for _, prefix in gateway.forwarding.hosted} == {domain.P1, domain.P2}


@pytest.mark.parametrize("acknowledge", [True, False])
def test_rfc7077_6_1_13_parameters_that_cannot_be_applied_change_nothing(
    domain: type[Domain], acknowledge: bool
) -> None:
    gateway = domain.mag().registered()
    before = repr(gateway.core.bindings)
    message = notification(domain, UPDATE_PARAMETERS, acknowledge=acknowledge)
    actions = gateway.receive(message, 1)
    assert requests(domain, actions) == []
    assert repr(gateway.core.bindings) == before


def test_rfc7077_6_1_14_that_is_logged(domain: type[Domain]) -> None:
    gateway = domain.mag().registered()
    actions = gateway.receive(notification(domain, UPDATE_PARAMETERS, acknowledge=False), 1)
    assert domain.of(Send, actions) == []
    assert failures(domain, actions) == [FAILED_TO_UPDATE]


def test_rfc7077_6_1_15_or_answered(domain: type[Domain]) -> None:
    gateway = domain.mag().registered()
    actions = gateway.receive(notification(domain, UPDATE_PARAMETERS), 1)
    assert statuses(domain, actions) == [FAILED_TO_UPDATE]


def test_rfc7077_6_1_16_a_vendor_s_option_is_looked_at(domain: type[Domain]) -> None:
    """This MAG knows no vendor's; that is another failure than a missing option."""
    option = VendorSpecific(0xFFFF, 1, b"x")
    message = notification(domain, VENDOR_SPECIFIC, extra=(option,))
    (status,) = statuses(domain, domain.mag().registered().receive(message, 1))
    assert status not in (0, MISSING_VENDOR_OPTION)


@pytest.mark.parametrize("acknowledge", [True, False])
def test_rfc7077_6_1_17_without_that_option_nothing_is_done(
    domain: type[Domain], acknowledge: bool
) -> None:
    gateway = domain.mag().registered()
    before = repr(gateway.core.bindings)
    gateway.receive(notification(domain, VENDOR_SPECIFIC, acknowledge=acknowledge), 1)
    assert repr(gateway.core.bindings) == before


def test_rfc7077_6_1_18_its_absence_is_logged(domain: type[Domain]) -> None:
    gateway = domain.mag().registered()
    actions = gateway.receive(notification(domain, VENDOR_SPECIFIC, acknowledge=False), 1)
    assert domain.of(Send, actions) == []
    assert failures(domain, actions) == [MISSING_VENDOR_OPTION]


def test_rfc7077_6_1_19_or_answered(domain: type[Domain]) -> None:
    gateway = domain.mag().registered()
    actions = gateway.receive(notification(domain, VENDOR_SPECIFIC), 1)
    assert statuses(domain, actions) == [MISSING_VENDOR_OPTION]


def answer(domain: type[Domain]) -> Send:
    (sent,) = domain.of(Send, domain.mag().registered().receive(domain.fmi(5, (domain.P2,)), 1))
    return sent


def test_rfc7077_6_2_04_the_answer_comes_from_where_the_notification_went(
    domain: type[Domain],
) -> None:
    """To the Proxy-CoA (section 5.1), also where the MAG signals from another address."""
    assert answer(domain).source == domain.MAG1
    gateway = domain.mag(egress_address=IPv6Address("2001:db8:11::99")).registered()
    (sent,) = domain.of(Send, gateway.receive(domain.fmi(5, (domain.P2,)), 1))
    assert sent.source == domain.MAG1


def test_rfc7077_6_2_05_the_answer_goes_back_to_the_sender(domain: type[Domain]) -> None:
    assert answer(domain).destination == domain.LMA
