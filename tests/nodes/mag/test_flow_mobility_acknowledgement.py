"""What a MAG makes of an FMI (RFC 7864 sections 3.4, 4.2, 4.3 and 5.2)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest

from nodes.actions import FilterFlows, HostPrefix, Send, UnhostPrefix
from nodes.wire.flow_options import (
    BindingReference,
    FlowBindingActionSubOption,
    FlowIdentification,
)
from nodes.wire.messages import UpdateNotificationAcknowledgement, UpdateNotificationStatus
from nodes.wire.options import AccessTechnologyType, HomeNetworkPrefix, MobileNodeIdentifier
from nodes.wire.tlv import Option, SubOption
from nodes.wire.traffic_selector import (
    IPv4TrafficSelector,
    IPv6TrafficSelector,
    UnknownTrafficSelector,
)
from nodes.wire.values import FlowBindingAction, FlowStatus

if TYPE_CHECKING:
    from nodes.actions import Action
    from tests.domain import Domain, Gateway

UDP = IPv6TrafficSelector(start_next_header=17)
TCP = IPv6TrafficSelector(start_next_header=6)


def flow(fid: int, *sub_options: SubOption, priority: int | None = None) -> FlowIdentification:
    return FlowIdentification(fid, priority or fid, sub_options=sub_options)


def send(
    domain: type[Domain], mag: Gateway, *options: Option, sequence: int = 1
) -> tuple[UpdateNotificationAcknowledgement, list[Action]]:
    """An FMI with these options behind the MN-ID: the FMA, and what else is done."""
    message = domain.fmi(sequence, ())
    actions = mag.receive(replace(message, options=message.options + options), 1.0)
    (sent,) = domain.of(Send, actions)
    assert isinstance(sent.message, UpdateNotificationAcknowledgement)
    return sent.message, [action for action in actions if action is not sent]


def test_flows_are_told_apart_and_acknowledged_rfc7864_3_4(domain: type[Domain]) -> None:
    mag = domain.mag().registered((domain.P1,))
    off_link = HomeNetworkPrefix.of(domain.P2, off_link=True)
    answer, actions = send(domain, mag, off_link, flow(2, TCP), flow(1, UDP))
    assert answer.status == UpdateNotificationStatus.SUCCESS
    assert answer.options == (
        MobileNodeIdentifier.of(domain.MN),
        off_link,
        FlowIdentification(2, 2),
        FlowIdentification(1, 1),
    )
    (filtered,) = domain.of(FilterFlows, actions)
    assert (filtered.interface, filtered.prefixes) == (mag.interface, (domain.P2,))
    # In order of precedence, and without bindings, which are the LMA's own (section 5.1).
    assert [(row.fid, row.selector, row.bids) for row in filtered.flows] == [
        (1, UDP, ()),
        (2, TCP, ()),
    ]
    (hosted,) = domain.of(HostPrefix, actions)
    assert actions.index(filtered) < actions.index(hosted), "nothing passes in between"


def test_flows_that_are_absent_are_removed_rfc7864_3_4(domain: type[Domain]) -> None:
    mag = domain.mag().registered((domain.P1,))
    off_link = HomeNetworkPrefix.of(domain.P2, off_link=True)
    send(domain, mag, off_link, flow(1, UDP), flow(2, TCP))
    _, actions = send(domain, mag, off_link, flow(2, TCP), sequence=2)
    (filtered,) = domain.of(FilterFlows, actions)
    assert [row.fid for row in filtered.flows] == [2]
    # Prefixes alone: all flows to them.
    _, actions = send(domain, mag, off_link, sequence=3)
    assert domain.of(FilterFlows, actions) == [FilterFlows(mag.interface)]
    assert mag.forwarding.hosted == {(mag.interface, domain.P1), (mag.interface, domain.P2)}


def test_flows_in_a_common_prefix_are_known_and_nothing_is_filtered_rfc7864_3_4(
    domain: type[Domain],
) -> None:
    mag = domain.mag().registered((domain.P1,))
    answer, actions = send(domain, mag, HomeNetworkPrefix.of(domain.P1), flow(1, UDP))
    assert answer.status == UpdateNotificationStatus.SUCCESS
    assert domain.of(FilterFlows, actions) == []
    assert [row.fid for row in mag.core.bindings[mag.interface].flows] == [1]


def test_on_link_prefixes_alone_empty_the_set_rfc7864_4_2(domain: type[Domain]) -> None:
    mag = domain.mag().registered((domain.P1,), (domain.P2, domain.P3))
    answer, actions = send(domain, mag, HomeNetworkPrefix.of(domain.P1))
    assert answer.status == UpdateNotificationStatus.SUCCESS
    assert answer.all_options(HomeNetworkPrefix) == (HomeNetworkPrefix.of(domain.P1),)
    assert {action.prefix for action in domain.of(UnhostPrefix, actions)} == {domain.P2, domain.P3}
    assert mag.forwarding.hosted == {(mag.interface, domain.P1)}


def test_an_on_link_prefix_of_no_session_is_refused_rfc7864_4_1(domain: type[Domain]) -> None:
    """An FMI hosts nothing on-link; and it isn't applied in part."""
    mag = domain.mag().registered((domain.P1,), (domain.P3,))
    wrong = HomeNetworkPrefix.of(domain.P2)
    off_link = HomeNetworkPrefix.of(domain.P3, off_link=True)
    answer, actions = send(domain, mag, wrong, off_link, flow(1, UDP))
    assert answer.status == UpdateNotificationStatus.REASON_UNSPECIFIED
    assert answer.options == (MobileNodeIdentifier.of(domain.MN),)
    assert domain.of(UnhostPrefix, actions) == domain.of(FilterFlows, actions) == []
    assert mag.core.bindings[mag.interface].off_link_prefixes == (domain.P3,)


@pytest.mark.parametrize(
    ("sub_options", "status"),
    [
        ((), FlowStatus.MALFORMED),
        ((BindingReference((1,)),), FlowStatus.MALFORMED),
        (
            (IPv4TrafficSelector(start_source_address=IPv4Address("192.0.2.1")),),
            FlowStatus.TRAFFIC_SELECTOR_FORMAT_NOT_SUPPORTED,
        ),
        ((UnknownTrafficSelector(9),), FlowStatus.TRAFFIC_SELECTOR_FORMAT_NOT_SUPPORTED),
        ((UDP, FlowBindingActionSubOption(FlowBindingAction.DELETE)), FlowStatus.MALFORMED),
        ((UDP, FlowBindingActionSubOption(FlowBindingAction.REVOKE)), FlowStatus.MALFORMED),
        ((UDP, FlowBindingActionSubOption(FlowBindingAction.ADD)), FlowStatus.SUCCESSFUL),
        ((UDP, FlowBindingActionSubOption(FlowBindingAction.MODIFY)), FlowStatus.SUCCESSFUL),
        ((UDP, BindingReference((7,))), FlowStatus.SUCCESSFUL),
    ],
)
def test_each_flow_has_a_status_of_its_own_rfc6089_4_2(
    domain: type[Domain], sub_options: tuple[SubOption, ...], status: FlowStatus
) -> None:
    mag = domain.mag().registered((domain.P1,))
    off_link = HomeNetworkPrefix.of(domain.P2, off_link=True)
    answer, actions = send(domain, mag, off_link, flow(1, *sub_options), flow(2, TCP))
    assert answer.status == UpdateNotificationStatus.SUCCESS
    answers = answer.all_options(FlowIdentification)
    assert [(option.fid, option.status) for option in answers] == [(1, status), (2, 0)]
    (filtered,) = domain.of(FilterFlows, actions)
    good = [1, 2] if status == FlowStatus.SUCCESSFUL else [2]
    assert [row.fid for row in filtered.flows] == good


def test_with_no_flow_that_is_right_nothing_passes_rfc7864_3_4(domain: type[Domain]) -> None:
    mag = domain.mag().registered((domain.P1,))
    off_link = HomeNetworkPrefix.of(domain.P2, off_link=True)
    _, actions = send(domain, mag, off_link, flow(1))
    assert domain.of(FilterFlows, actions) == [FilterFlows(mag.interface, (domain.P2,), ())]


@pytest.mark.parametrize("second", [flow(1, TCP, priority=2), flow(2, TCP, priority=1)])
def test_fid_and_priority_are_unique_rfc6089_4_2(
    domain: type[Domain], second: FlowIdentification
) -> None:
    mag = domain.mag().registered((domain.P1,))
    off_link = HomeNetworkPrefix.of(domain.P2, off_link=True)
    answer, _ = send(domain, mag, off_link, flow(1, UDP), second)
    answers = answer.all_options(FlowIdentification)
    assert [option.status for option in answers] == [0, FlowStatus.MALFORMED]


def test_flows_in_a_pba_count_as_in_an_fmi_rfc7864_3_4(domain: type[Domain]) -> None:
    mag = domain.mag()
    mag.link_up()
    acceptance = domain.acceptance(mag.request(), (domain.P1,), (domain.P2,))
    acceptance = replace(acceptance, options=(*acceptance.options, flow(1, UDP)))
    actions = mag.receive(acceptance, 0.02)
    (filtered,) = domain.of(FilterFlows, actions)
    assert (filtered.prefixes, [row.fid for row in filtered.flows]) == ((domain.P2,), [1])
    gone = mag.link_down(1.0)
    assert domain.of(FilterFlows, gone) == [FilterFlows(mag.interface)]


def test_an_interface_that_is_named_and_not_there_rfc7864_4_3_status_132(
    domain: type[Domain],
) -> None:
    mag = domain.mag().registered((domain.P1,))
    off_link = HomeNetworkPrefix.of(domain.P2, off_link=True)
    answer, _ = send(domain, mag, off_link, AccessTechnologyType(5))
    assert answer.status == UpdateNotificationStatus.MN_NOT_ATTACHED
