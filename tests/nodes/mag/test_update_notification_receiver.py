"""What a MAG does about notifications of each reason (RFC 7077 section 6.1)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from nodes.actions import Action, Log, Send
from nodes.config import AccessProfile
from nodes.wire.messages import (
    ProxyBindingUpdate,
    UpdateNotification,
    UpdateNotificationAcknowledgement,
)
from nodes.wire.options import (
    HandoffIndicator,
    HomeNetworkPrefix,
    MobileNodeGroupIdentifier,
    MobileNodeIdentifier,
    VendorSpecific,
)
from tests.domain import Domain, Gateway

FORCE, UPDATE, VENDOR, ANI = 1, 2, 3, 4
FLOW_MOBILITY = 8
OTHER_LMA = IPv6Address("2001:db8:10::2")


def upn(
    reason: int, sequence: int = 5, *, a: bool = True, d: bool = False, mn: str = Domain.MN
) -> UpdateNotification:
    options = (MobileNodeIdentifier.of(mn),)
    return UpdateNotification(sequence, reason, options, acknowledge=a, retransmit=d)


def statuses(actions: list[Action]) -> list[int]:
    sent = [action.message for action in Domain.of(Send, actions)]
    return [int(m.status) for m in sent if isinstance(m, UpdateNotificationAcknowledgement)]


def requests(actions: list[Action]) -> list[ProxyBindingUpdate]:
    sent = [action.message for action in Domain.of(Send, actions)]
    return [message for message in sent if isinstance(message, ProxyBindingUpdate)]


def test_a_forced_registration_lists_the_session_rfc7077_6_1(domain: type[Domain]) -> None:
    mag = domain.mag().registered((domain.P1, domain.P2), (domain.P3,))
    actions = mag.receive(upn(FORCE), 1)
    (request,) = requests(actions)
    assert domain.prefixes(request) == [domain.P1, domain.P2]
    assert request.option(HandoffIndicator) == HandoffIndicator(5)
    assert statuses(actions) == [0]


def test_without_the_a_flag_there_is_no_answer_rfc7077_6_1(domain: type[Domain]) -> None:
    mag = domain.mag().registered()
    actions = mag.receive(upn(FORCE, a=False), 1)
    assert (len(requests(actions)), statuses(actions)) == (1, [])


def test_a_retransmission_redoes_the_action_rfc7077_6_1(domain: type[Domain]) -> None:
    mag = domain.mag().registered()
    (request,) = requests(mag.receive(upn(FORCE, a=False), 1))
    mag.receive(domain.acceptance(request), 1.1)
    assert requests(mag.receive(upn(FORCE, a=False), 2)) == [], "no D flag: not redone"
    assert len(requests(mag.receive(upn(FORCE, a=False, d=True), 2))) == 1


def test_a_retransmission_of_an_unseen_one_is_the_initial_one_rfc7077_6_1(
    domain: type[Domain],
) -> None:
    assert len(requests(domain.mag().registered().receive(upn(FORCE, d=True), 1))) == 1


def test_a_late_retransmission_undoes_nothing_newer_rfc7077_6_1(domain: type[Domain]) -> None:
    mag = domain.mag().registered()
    mag.receive(domain.fmi(5, [domain.P2]), 1)
    mag.receive(domain.fmi(6, [domain.P2, domain.P3]), 1.1)
    actions = mag.receive(domain.fmi(5, [domain.P2], retransmit=True), 1.2)
    assert statuses(actions) == [0], "answered all the same"
    assert {prefix for _, prefix in mag.forwarding.hosted} == {domain.P1, domain.P2, domain.P3}


@pytest.mark.parametrize(
    ("reason", "status"), [(UPDATE, 128), (VENDOR, 129), (ANI, 131), (0, 131), (9, 131), (255, 131)]
)
@pytest.mark.parametrize("acknowledge", [True, False])
def test_what_cannot_be_done_is_said_or_logged_rfc7077_6_1(
    domain: type[Domain], reason: int, status: int, acknowledge: bool
) -> None:
    mag = domain.mag().registered()
    actions = mag.receive(upn(reason, a=acknowledge), 1)
    assert statuses(actions) == ([status] if acknowledge else [])
    assert "upn-failed" in [log.event for log in domain.of(Log, actions)]
    assert requests(actions) == []


def test_an_unknown_vendors_reason_is_not_the_options_fault_rfc7077_6_1(
    domain: type[Domain],
) -> None:
    message = upn(VENDOR)
    options = (*message.options, VendorSpecific(0xFFFF, 1, b"x"))
    asked = UpdateNotification(5, VENDOR, options, acknowledge=True)
    assert statuses(domain.mag().registered().receive(asked, 1)) == [131]


def test_a_mobile_node_that_is_not_attached_rfc7864_4_3(domain: type[Domain]) -> None:
    mag = domain.mag().registered()
    assert statuses(mag.receive(upn(FORCE, mn=domain.OTHER_MN), 1)) == [132]


@pytest.mark.parametrize("reason", [FORCE, FLOW_MOBILITY])
def test_an_identifier_that_is_no_nai_names_nobody_rfc7077_4_1(
    domain: type[Domain], reason: int
) -> None:
    mag = domain.mag().registered()
    other_kind = MobileNodeIdentifier(domain.MN.encode(), subtype=5)
    prefix = HomeNetworkPrefix.of(domain.P2, off_link=True)
    message = UpdateNotification(5, reason, (other_kind, prefix), acknowledge=True)
    actions = mag.receive(message, 1)
    assert statuses(actions) == [132]
    assert requests(actions) == []


def two_nodes(domain: type[Domain]) -> Gateway:
    """Of two LMAs, with a session each."""
    profiles = {
        name: AccessProfile(mn_id=mn, access_technology=4, link_layer_id=link_layer, lma=lma)
        for name, mn, link_layer, lma in (
            ("one", domain.MN, "02:00:00:00:01:01", None),
            ("two", domain.OTHER_MN, "02:00:00:00:01:02", OTHER_LMA),
        )
    }
    gateway = domain.mag(access_interfaces=profiles)
    for interface, prefix, lma in (("one", domain.P1, domain.LMA), ("two", domain.P2, OTHER_LMA)):
        gateway.core.link_up(interface, domain.at(0))
        request = gateway.core.bindings[interface].request
        assert request is not None
        gateway.taken()
        gateway.receive(domain.acceptance(request, (prefix,)), 0.1, lma)
    return gateway


@pytest.mark.parametrize(
    ("group", "expected", "status"), [(1, [Domain.P1], 0), (2, [], 131), (0, [], 131)]
)
def test_a_group_is_all_sessions_with_that_lma_rfc7077_4_1_and_6_2(
    domain: type[Domain], group: int, expected: list[object], status: int
) -> None:
    mag = two_nodes(domain)
    option = MobileNodeGroupIdentifier(group)
    actions = mag.receive(UpdateNotification(5, FORCE, (option,), acknowledge=True), 1)
    assert [domain.prefixes(request) for request in requests(actions)] == [[p] for p in expected]
    assert statuses(actions) == [status]
    (answer,) = [
        action.message
        for action in domain.of(Send, actions)
        if isinstance(action.message, UpdateNotificationAcknowledgement)
    ]
    assert answer.options == (option,)


@pytest.mark.parametrize("reason", [FORCE, FLOW_MOBILITY])
def test_an_lma_has_no_say_about_another_s_session_rfc7077_6_1(
    domain: type[Domain], reason: int
) -> None:
    mag = two_nodes(domain)
    message = domain.fmi(5, (domain.P3,), mn=domain.OTHER_MN, reason=reason)
    assert statuses(mag.receive(message, 1)) == [132]
    assert statuses(mag.receive(message, 1, OTHER_LMA)) == [0]


def test_sequence_numbers_are_those_of_each_lma_rfc7077_6_1(domain: type[Domain]) -> None:
    mag = two_nodes(domain)
    message = domain.fmi(5, (domain.P3,))
    assert statuses(mag.receive(message, 1)) == [0]
    assert statuses(mag.receive(message, 1, OTHER_LMA)) == [132], "not the answer to the other"
    mag.core.peer_restarted(OTHER_LMA, 0, domain.at(2))
    mag.taken()
    actions = mag.receive(replace(message, retransmit=True), 3)
    assert "fmi-duplicate" in [log.event for log in domain.of(Log, actions)]
