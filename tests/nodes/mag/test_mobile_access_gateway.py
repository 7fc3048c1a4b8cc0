from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Any

import pytest

from nodes.actions import Action, Advertise, CloseTunnel, HostPrefix, Log, Send, UnhostPrefix
from nodes.config import AccessProfile
from nodes.mag.binding_update_list import Registration
from nodes.router_variables import RouterVariables
from nodes.wire.messages import (
    Heartbeat,
    ProxyBindingStatus,
    ProxyBindingUpdate,
    UpdateNotificationAcknowledgement,
)
from nodes.wire.options import (
    AccessLinkReport,
    AccessTechnologyType,
    HandoffIndicator,
    HomeNetworkPrefix,
    LinkLocalAddress,
    MobileNodeIdentifier,
    MobileNodeLinkLayerIdentifier,
    RestartCounter,
    Timestamp,
)

if TYPE_CHECKING:
    from tests.domain import Domain, Gateway


def requests(domain: type[Domain], actions: list[Action]) -> list[ProxyBindingUpdate]:
    sent = [action.message for action in domain.of(Send, actions)]
    return [message for message in sent if isinstance(message, ProxyBindingUpdate)]


def answers(domain: type[Domain], actions: list[Action]) -> list[UpdateNotificationAcknowledgement]:
    sent = [action.message for action in domain.of(Send, actions)]
    return [m for m in sent if isinstance(m, UpdateNotificationAcknowledgement)]


def hosted(mag: Gateway) -> list[IPv6Network]:
    return sorted(prefix for _, prefix in mag.forwarding.hosted)


def test_the_first_request_rfc5213_6_9_1_1_and_6_9_1_5(domain: type[Domain]) -> None:
    mag = domain.mag(lifetime_s=3600)
    (sent,) = domain.of(Send, mag.link_up(5))
    assert (sent.source, sent.destination) == (domain.MAG1, domain.LMA)
    request = sent.message
    assert isinstance(request, ProxyBindingUpdate)
    assert (request.acknowledge, request.proxy_registration) == (True, True)
    assert (request.home_registration, request.lifetime) == (False, 900)
    assert request.option(MobileNodeIdentifier) == MobileNodeIdentifier.of(domain.MN)
    assert request.all_options(HomeNetworkPrefix) == (HomeNetworkPrefix(IPv6Address("::"), 0),)
    assert request.option(HandoffIndicator) == HandoffIndicator(1)
    assert request.option(AccessTechnologyType) == AccessTechnologyType(domain.WLAN)
    assert request.option(Timestamp) == Timestamp.of_unix_ns(domain.at(5).unix_ns)
    link_layer = MobileNodeLinkLayerIdentifier(domain.LINK_LAYER_1)
    assert request.option(MobileNodeLinkLayerIdentifier) == link_layer
    assert request.option(LinkLocalAddress) is None  # the address is fixed: step 9


def test_the_handoff_indicator_is_the_profiles_rfc7864_3_2_1(domain: type[Domain]) -> None:
    (request,) = requests(domain, domain.mag(handoff=6).link_up())
    assert request.option(HandoffIndicator) == HandoffIndicator(6)


def test_interfaces_without_profile_and_repeated_events_are_nothing_rfc5213_6_9_1_1(
    domain: type[Domain],
) -> None:
    mag = domain.mag()
    mag.core.link_up("eth9", domain.at(0))
    mag.core.link_down("eth9", domain.at(0))
    assert mag.taken() == []
    mag.link_up()
    assert mag.link_up(0.1) == []
    assert requests(domain, mag.registered().link_up(1)) == []


def test_retransmission_times_rfc5213_6_9_4(domain: type[Domain]) -> None:
    """1 s, doubled each time up to 32 s (RFC 6275 section 12), for as long as it takes."""
    mag = domain.mag()
    mag.link_up(0)
    times, now = [], 0.0
    for _ in range(8):
        due = mag.core.timer()
        assert due is not None
        assert mag.timer(due - 0.001) == []
        mag.timer(due)
        times.append(due - now)
        now = due
    assert times == [1, 2, 4, 8, 16, 32, 32, 32]


def test_a_retransmission_has_the_latest_timestamp_rfc5213_6_9_4_step_4(
    domain: type[Domain],
) -> None:
    mag = domain.mag()
    (first,) = requests(domain, mag.link_up(0))
    (second,) = requests(domain, mag.timer(1))
    assert second.option(Timestamp) == Timestamp.of_unix_ns(domain.at(1).unix_ns)
    assert second.sequence == (first.sequence + 1) % 0x10000

    def others(request: ProxyBindingUpdate) -> list[object]:
        return [option for option in request.options if not isinstance(option, Timestamp)]

    assert others(first) == others(second)
    assert (first.lifetime, first.proxy_registration) == (second.lifetime, True)


def test_timestamps_increase_even_if_the_clock_does_not_rfc5213_5_5(
    domain: type[Domain],
) -> None:
    mag = domain.mag(max_update_rate=99)
    stamps = []
    for second in (10, 10, 9):
        for request in requests(domain, [*mag.link_up(second), *mag.link_down(second)]):
            stamp = request.option(Timestamp)
            assert stamp is not None
            stamps.append(stamp.value)
    assert len(stamps) == 6
    assert stamps == sorted(set(stamps))


def test_no_retransmission_after_the_node_left_rfc5213_6_9_4_step_2(domain: type[Domain]) -> None:
    mag = domain.mag()
    mag.link_up(0)
    mag.link_down(0.5)
    actions = [*mag.timer(1), *mag.timer(1.5), *mag.timer(5)]
    assert requests(domain, actions) == []
    assert mag.core.timer() is None


def test_registration_opens_the_way_rfc5213_6_9_1_2_steps_12_to_14(domain: type[Domain]) -> None:
    mag = domain.mag()
    mag.link_up()
    actions = mag.receive(domain.acceptance(mag.request(), [domain.P1, domain.P2]), 0.02)
    assert [type(action).__name__ for action in actions] == [
        "OpenTunnel",
        "HostPrefix",
        "HostPrefix",
        "Log",
        "Advertise",
    ]
    (first, _) = domain.of(HostPrefix, actions)
    link_local = IPv6Address("fe80::ff:fe00:101")
    assert first == HostPrefix("mag1-mn", domain.P1, domain.LMA, link_local)
    (advertised,) = domain.of(Advertise, actions)
    assert (advertised.interface, advertised.prefixes) == ("mag1-mn", (domain.P1, domain.P2))
    assert advertised.advertisement.router_lifetime_s == 1800


def test_nothing_is_advertised_before_rfc5213_6_9_2_step_1(domain: type[Domain]) -> None:
    mag = domain.mag()
    mag.core.router_solicited(mag.interface, domain.at(0))
    actions = mag.link_up(0)
    mag.core.router_solicited(mag.interface, domain.at(0.1))
    actions += [*mag.taken(), *mag.timer(1)]
    assert domain.of(Advertise, actions) == []


def test_a_solicitation_is_answered_after_it_rfc5213_6_9_2_step_1(domain: type[Domain]) -> None:
    mag = domain.mag(router=RouterVariables(max_ra_delay_time_ms=0)).registered()
    (answer,) = domain.of(Advertise, mag.solicit(5))
    assert (answer.destination, answer.prefixes) == (domain.MN_LINK_LOCAL, (domain.P1,))


def test_a_mag_may_leave_a_new_prefix_to_its_timers_rfc4861_6_2_4(domain: type[Domain]) -> None:
    router = RouterVariables(
        advertise_at_once=False, max_rtr_adv_interval_s=4, min_rtr_adv_interval_s=3.0
    )
    mag = domain.mag(router=router)
    mag.link_up()
    assert domain.of(Advertise, mag.receive(domain.acceptance(mag.request(), [domain.P1]), 1)) == []
    due = mag.core.timer()
    assert due is not None
    assert 1 < due < 5
    (unasked,) = domain.of(Advertise, mag.timer(due))
    assert unasked.prefixes == (domain.P1,)


def test_such_a_mag_answers_one_that_has_asked_before_rfc4861_6_2_6(domain: type[Domain]) -> None:
    router = RouterVariables(advertise_at_once=False, max_ra_delay_time_ms=0)
    mag = domain.mag(router=router)
    mag.link_up()
    mag.solicit(0.5)
    (answer,) = domain.of(Advertise, mag.receive(domain.acceptance(mag.request(), [domain.P1]), 1))
    assert answer.destination == domain.MN_LINK_LOCAL


def test_off_link_prefixes_are_routed_and_never_advertised_rfc7864_4_1(
    domain: type[Domain],
) -> None:
    mag = domain.mag()
    mag.link_up()
    pba = domain.acceptance(mag.request(), [domain.P1], off_link=[domain.P2])
    actions = mag.receive(pba, 0.02)
    actions += mag.receive(domain.fmi(1, [domain.P2, domain.P3]), 1)
    actions += [*mag.solicit(2), *mag.timer(2.6), *mag.timer(17)]
    assert hosted(mag) == [domain.P1, domain.P2, domain.P3]
    advertised = domain.of(Advertise, actions)
    assert len(advertised) == 3
    assert {advertisement.prefixes for advertisement in advertised} == {(domain.P1,)}


@pytest.mark.parametrize(
    "changed",
    [
        MobileNodeIdentifier.of("mn3@example.org"),
        HandoffIndicator(2),
        AccessTechnologyType(5),
        MobileNodeLinkLayerIdentifier(b"\2\0\0\0\7\7"),
    ],
)
def test_an_answer_that_echoes_something_else_is_ignored_rfc5213_6_9_1_2_step_6(
    domain: type[Domain], changed: Any
) -> None:
    mag = domain.mag()
    mag.link_up()
    pba = domain.acceptance(mag.request())
    wrong = tuple(changed if type(o) is type(changed) else o for o in pba.options)
    assert [type(action) for action in mag.receive(replace(pba, options=wrong), 0.02)] == [Log]
    assert mag.core.bindings[mag.interface].state is Registration.REQUESTED
    assert mag.core.timer() is None  # no retransmission until an administrative action
    mag.receive(pba, 0.03)
    assert hosted(mag) == [domain.P1]


def test_an_answer_to_nothing_is_ignored_rfc5213_6_9_1_2_step_5(domain: type[Domain]) -> None:
    mag = domain.mag()
    mag.link_up()
    pba = domain.acceptance(mag.request())
    for other in (replace(pba, sequence=pba.sequence ^ 1), replace(pba, proxy_registration=False)):
        mag.receive(other, 0.02)
        assert hosted(mag) == []
    mag.receive(pba, 0.02, IPv6Address("2001:db8:bad::1"))
    assert hosted(mag) == []
    assert mag.core.timer() == 1.0


@pytest.mark.parametrize(
    "status",
    [
        ProxyBindingStatus.TIMESTAMP_MISMATCH,
        ProxyBindingStatus.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX,
        ProxyBindingStatus.REASON_UNSPECIFIED,
    ],
)
def test_a_rejection_means_no_service_rfc5213_6_9_1_2_steps_7_to_11(
    domain: type[Domain], status: ProxyBindingStatus
) -> None:
    mag = domain.mag()
    mag.link_up()
    actions = mag.receive(domain.acceptance(mag.request(), status=status), 0.02)
    actions += mag.solicit(1)
    assert [type(action) for action in actions] == [Log]
    assert (hosted(mag), mag.core.timer()) == ([], None)
    mag.link_down(5)
    assert len(requests(domain, mag.link_up(6))) == 1  # another attachment, another request


def test_a_rejected_refresh_ends_the_service_rfc5213_6_9_1_2_step_11(domain: type[Domain]) -> None:
    mag = domain.mag(lifetime_s=100).registered()
    mag.timer(81)
    actions = mag.receive(domain.acceptance(mag.request(), status=129), 81.1)
    assert domain.of(UnhostPrefix, actions) == [UnhostPrefix("mag1-mn", domain.P1)]
    assert mag.forwarding.tunnels == set()
    (final,) = domain.of(Advertise, actions)
    assert (final.prefixes, final.withdrawn) == ((), (domain.P1,))
    assert final.advertisement.router_lifetime_s == 0
    assert mag.solicit(85) == []
    assert requests(domain, [*mag.timer(90), *mag.timer(100), *mag.timer(110)]) == []


def test_a_binding_ends_with_its_lifetime_rfc5213_6_9_1_3(domain: type[Domain]) -> None:
    """Nobody answers: no service, and the MAG goes on asking for the same prefixes."""
    mag = domain.mag(lifetime_s=100).registered([domain.P1], [domain.P3])
    for second in (81, 82, 84, 88, 96):
        assert domain.of(UnhostPrefix, mag.timer(second)) == []
    actions = mag.timer(100.03)
    assert hosted(mag) == []
    (final,) = domain.of(Advertise, actions)
    assert (final.prefixes, final.withdrawn) == ((), (domain.P1,))
    (request,) = requests(domain, actions)
    assert request.option(HandoffIndicator) == HandoffIndicator(4)
    assert domain.prefixes(request) == [domain.P1]
    mag.receive(domain.acceptance(request, [domain.P1]), 100.1)
    assert hosted(mag) == [domain.P1]


def test_a_timestamp_that_is_too_low_is_tried_again_rfc5213_6_9_1_2_step_8(
    domain: type[Domain],
) -> None:
    mag = domain.mag()
    (first,) = requests(domain, mag.link_up())
    status = ProxyBindingStatus.TIMESTAMP_LOWER_THAN_PREV_ACCEPTED
    mag.receive(domain.acceptance(first, status=status), 0.02)
    (second,) = requests(domain, mag.timer(1))
    stamps = [request.option(Timestamp) for request in (first, second)]
    assert stamps[0] is not None
    assert stamps[1] is not None
    assert stamps[0].value < stamps[1].value


def test_extending_the_lifetime_rfc5213_6_9_1_3(domain: type[Domain]) -> None:
    mag = domain.mag(lifetime_s=100, heartbeat_interval_s=3600).registered(
        [domain.P1, domain.P2], [domain.P3]
    )
    assert requests(domain, mag.timer(80)) == []
    (request,) = requests(domain, mag.timer(80.02))
    assert (request.lifetime, domain.prefixes(request)) == (25, [domain.P1, domain.P2])
    assert request.option(HandoffIndicator) == HandoffIndicator(5)
    actions = mag.receive(domain.acceptance(request, [domain.P1, domain.P2], [domain.P3]), 80.1)
    assert domain.of(HostPrefix, actions) == []
    assert domain.of(UnhostPrefix, actions) == []
    assert mag.core.bindings[mag.interface].refresh_at == pytest.approx(160.1)
    assert mag.core.bindings[mag.interface].expires_at == pytest.approx(180.1)


def test_a_pba_is_the_whole_set_of_prefixes_rfc5213_6_9_1_2_step_14(domain: type[Domain]) -> None:
    mag = domain.mag(lifetime_s=100).registered([domain.P1], [domain.P3])
    mag.timer(81)
    mag.receive(domain.acceptance(mag.request(), [domain.P2], []), 81.1)
    assert hosted(mag) == [domain.P2]


def test_all_zero_in_an_answer_is_no_prefix_rfc5213_8_3(domain: type[Domain]) -> None:
    mag = domain.mag().registered([IPv6Network("::/0"), domain.P1])
    assert hosted(mag) == [domain.P1]


def test_deregistration_rfc5213_6_9_1_4(domain: type[Domain]) -> None:
    mag = domain.mag().registered([domain.P1, domain.P2], [domain.P3])
    actions = mag.link_down(10)
    (request,) = requests(domain, actions)
    assert (request.lifetime, domain.prefixes(request)) == (0, [domain.P1, domain.P2])
    assert request.option(HandoffIndicator) == HandoffIndicator(4)
    assert hosted(mag) == []
    assert domain.of(CloseTunnel, actions) == []
    actions = mag.receive(domain.acceptance(request), 10.02)
    assert domain.of(CloseTunnel, actions) == [CloseTunnel(domain.LMA)]
    assert (mag.core.bindings, mag.core.timer()) == ({}, None)
    assert mag.link_down(11) == []


@pytest.mark.parametrize("answer", ["none", "rejected", "mismatch"])
def test_without_a_good_answer_the_entry_goes_after_1_s_rfc5213_6_9_1_4(
    domain: type[Domain], answer: str
) -> None:
    mag = domain.mag().registered()
    mag.link_down(10)
    reply = domain.acceptance(mag.request(), status=159 if answer == "rejected" else 0)
    if answer == "mismatch":
        reply = replace(reply, options=reply.options[1:])
    if answer != "none":
        mag.receive(reply, 10.02)
    assert mag.core.timer() == pytest.approx(11)
    actions = mag.timer(11)
    assert domain.of(Send, actions) == []
    assert (mag.core.bindings, mag.forwarding.tunnels) == ({}, set())
    assert len(requests(domain, mag.link_up(12))) == 1


def test_a_node_that_comes_back_at_once_is_served_again_rfc5213_6_9_1_1(
    domain: type[Domain],
) -> None:
    mag = domain.mag().registered([domain.P1], [domain.P2])
    mag.link_down(10)
    leave = mag.request()
    (request,) = requests(domain, mag.link_up(10.01))
    mag.receive(domain.acceptance(leave), 10.02)  # too late: it is ignored
    mag.receive(domain.acceptance(request, [domain.P1]), 10.03)
    assert hosted(mag) == [domain.P1]
    assert mag.core.bindings[mag.interface].state is Registration.REGISTERED


def test_an_fmi_is_the_whole_set_of_off_link_prefixes_rfc7864_4_2(domain: type[Domain]) -> None:
    mag = domain.mag().registered([domain.P1])
    for sequence, prefixes in enumerate([[domain.P2], [domain.P2, domain.P3], [domain.P3]]):
        mag.receive(domain.fmi(sequence, prefixes), sequence)
        assert hosted(mag) == [domain.P1, *prefixes]
    mag.receive(domain.fmi(9, [domain.P1], off_link=False), 9)
    assert hosted(mag) == [domain.P1]


def test_a_prefix_that_is_on_link_stays_on_link_rfc7864_4_1(domain: type[Domain]) -> None:
    mag = domain.mag().registered([domain.P1])
    mag.receive(domain.fmi(1, [domain.P1, domain.P2]), 1)
    assert mag.core.bindings[mag.interface].off_link_prefixes == (domain.P2,)
    mag.receive(domain.fmi(2, [domain.P3]), 2)
    assert hosted(mag) == [domain.P1, domain.P3]
    assert mag.core.bindings[mag.interface].prefixes == (domain.P1,)


def test_an_fma_of_success_has_node_and_prefixes_rfc7864_4_3(domain: type[Domain]) -> None:
    mag = domain.mag().registered([domain.P1])
    message = domain.fmi(700, [domain.P2, domain.P3])
    actions = mag.receive(message, 1)
    (answer,) = answers(domain, actions)
    assert (answer.sequence, answer.status, answer.options) == (700, 0, message.options)
    (sent,) = domain.of(Send, actions)
    assert (sent.source, sent.destination) == (domain.MAG1, domain.LMA)


def test_a_node_that_is_not_attached_rfc7864_4_3_status_132(domain: type[Domain]) -> None:
    mag = domain.mag()
    statuses = []

    def ask(sequence: int, mn: str) -> None:
        actions = mag.receive(domain.fmi(sequence, [domain.P2], mn=mn), sequence)
        (answer,) = answers(domain, actions)
        assert answer.options == (MobileNodeIdentifier.of(mn),)
        statuses.append(answer.status)

    ask(1, domain.MN)
    mag.link_up(2)
    ask(2, domain.MN)
    mag.registered()
    ask(3, domain.OTHER_MN)
    mag.link_down(4)
    ask(4, domain.MN)
    assert statuses == [132] * 4
    assert hosted(mag) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"mn": None},
        {"prefixes": []},
        {"prefixes": [IPv6Network("::/0")]},
        {"reason": 99},
    ],
)
def test_other_reasons_and_incomplete_requests_rfc7864_4_3_status_131(
    domain: type[Domain], changes: dict[str, Any]
) -> None:
    mag = domain.mag().registered()
    values: dict[str, Any] = {"prefixes": [domain.P2], **changes}
    (answer,) = answers(domain, mag.receive(domain.fmi(1, **values), 1))
    assert answer.status == 131
    assert hosted(mag) == [domain.P1]


def test_without_the_a_flag_there_is_no_answer_rfc7077_6_1(domain: type[Domain]) -> None:
    mag = domain.mag().registered()
    assert answers(domain, mag.receive(domain.fmi(1, [domain.P2], acknowledge=False), 1)) == []
    assert hosted(mag) == [domain.P1, domain.P2]


@pytest.mark.parametrize("retransmit", [True, False])
def test_a_duplicate_is_answered_and_not_new_rfc7077_6_1(
    domain: type[Domain], retransmit: bool
) -> None:
    mag = domain.mag().registered()
    (first,) = answers(domain, mag.receive(domain.fmi(1, [domain.P2]), 1))
    mag.receive(domain.fmi(2, [domain.P3]), 2)
    again = mag.receive(domain.fmi(1, [domain.P2], retransmit=retransmit), 3)
    assert answers(domain, again) == [first]
    assert hosted(mag) == [domain.P1, domain.P3]


def test_a_retransmission_of_something_unseen_is_new_rfc7077_6_1(domain: type[Domain]) -> None:
    mag = domain.mag().registered()
    (answer,) = answers(domain, mag.receive(domain.fmi(1, [domain.P2], retransmit=True), 1))
    assert answer.status == 0
    assert hosted(mag) == [domain.P1, domain.P2]


def test_a_number_with_other_contents_is_no_retransmission_rfc7077_4_1(
    domain: type[Domain],
) -> None:
    """As from an LMA that has started again and chose its first number by chance."""
    mag = domain.mag().registered()
    mag.receive(domain.fmi(1, [domain.P2]), 1)
    mag.receive(domain.fmi(1, [domain.P3]), 2)
    assert hosted(mag) == [domain.P1, domain.P3]


def test_messages_from_elsewhere_are_not_for_this_mag_rfc7077_6_1(domain: type[Domain]) -> None:
    mag = domain.mag().registered()
    actions = mag.receive(domain.fmi(1, [domain.P2]), 1, domain.MAG2)
    assert [type(action) for action in actions] == [Log]
    assert hosted(mag) == [domain.P1]


def test_heartbeats_are_answered_rfc5847_3_3(domain: type[Domain]) -> None:
    (sent,) = domain.of(Send, domain.mag().receive(Heartbeat(sequence=9)))
    assert sent.message == Heartbeat(9, response=True, options=(RestartCounter(0),))


def test_one_tunnel_serves_all_interfaces_rfc5213_6_9_1_4(domain: type[Domain]) -> None:
    first = AccessProfile(mn_id=domain.MN, access_technology=4, link_layer_id="02:00:00:00:01:01")
    second = AccessProfile(mn_id="b", access_technology=4, link_layer_id="02:00:00:00:01:02")
    mag = domain.mag(access_interfaces={"mag1-mn": first, "mag1-b": second})
    for interface, prefix in (("mag1-mn", domain.P1), ("mag1-b", domain.P2)):
        mag.core.link_up(interface, domain.at(0))
        request = mag.core.bindings[interface].request
        assert request is not None
        mag.receive(domain.acceptance(request, [prefix]), 0.1)
    mag.link_down(1)
    mag.receive(domain.acceptance(mag.request()), 1.1)
    assert mag.forwarding.tunnels == {domain.LMA}
    assert hosted(mag) == [domain.P2]


def test_a_link_report_rides_in_a_pbu_that_extends_the_binding(domain: type[Domain]) -> None:
    gateway = domain.mag().registered()
    gateway.core.link_measured(gateway.interface, domain.at(1), quality=80, load=20)
    (sent,) = domain.of(Send, gateway.taken())
    assert isinstance(sent.message, ProxyBindingUpdate)
    assert sent.message.option(AccessLinkReport) == AccessLinkReport(80, 20)
    assert sent.message.option(HandoffIndicator) == HandoffIndicator(5)
    assert domain.prefixes(sent.message) == [domain.P1]


def test_a_link_report_waits_for_the_answer_and_its_interval(domain: type[Domain]) -> None:
    gateway = domain.mag().registered()
    gateway.core.link_measured(gateway.interface, domain.at(1), quality=80)
    gateway.taken()
    gateway.core.link_measured(gateway.interface, domain.at(1.5), quality=50)
    gateway.core.link_measured(gateway.interface, domain.at(1.6), quality=20)
    assert domain.of(Send, gateway.taken()) == []
    gateway.receive(domain.acceptance(gateway.request()), 1.7)
    assert gateway.core.timer() == 2.0
    (sent,) = domain.of(Send, gateway.timer(2.0))
    assert sent.message.option(AccessLinkReport) == AccessLinkReport(20)


def test_nothing_is_reported_of_a_link_without_a_registered_node(domain: type[Domain]) -> None:
    gateway = domain.mag()
    gateway.core.link_measured(gateway.interface, domain.at(0), quality=80)
    gateway.link_up(0.1)
    gateway.core.link_measured(gateway.interface, domain.at(0.2), quality=50)
    assert domain.of(Send, gateway.taken()) == []
    gateway.receive(domain.acceptance(gateway.request()), 0.3)
    assert gateway.core.timer() == 0.0  # it was due all along
    (sent,) = domain.of(Send, gateway.timer(0.3))
    assert sent.message.option(AccessLinkReport) == AccessLinkReport(50)
    gateway.link_down(1.0)
    assert gateway.core.timer() is not None
    assert domain.of(Send, gateway.timer(1.1)) == []
