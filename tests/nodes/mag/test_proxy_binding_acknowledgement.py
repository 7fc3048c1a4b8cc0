from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING

import pytest

from nodes.flow_mobility_set import FlowMobilitySet
from nodes.mag.proxy_binding_acknowledgement import acknowledge
from nodes.wire.messages import ProxyBindingStatus
from nodes.wire.options import (
    AccessTechnologyType,
    HandoffIndicator,
    HomeNetworkPrefix,
    LinkLocalAddress,
    MobileNodeIdentifier,
    MobileNodeLinkLayerIdentifier,
    Timestamp,
)

if TYPE_CHECKING:
    from tests.domain import Domain

S = ProxyBindingStatus
ACCEPTED, REFUSED = S.ACCEPTED, S.INSUFFICIENT_RESOURCES
ZERO = IPv6Address("::")


def test_what_identifies_the_request_is_copied_rfc5213_5_3_6(domain: type[Domain]) -> None:
    request = domain.pbu(sequence=4711, handoff=3, technology=8)
    reply = acknowledge(request, ACCEPTED, domain.at(5), lifetime=9, prefixes=(domain.P1,))
    assert (reply.status, reply.sequence, reply.lifetime) == (0, 4711, 9)
    assert reply.proxy_registration
    for kind in (
        MobileNodeIdentifier,
        HandoffIndicator,
        AccessTechnologyType,
        MobileNodeLinkLayerIdentifier,
        Timestamp,
    ):
        assert reply.option(kind) == request.option(kind) is not None
    assert reply.option(LinkLocalAddress) is None


def test_mandatory_options_are_there_whatever_came_rfc5213_5_3_6(domain: type[Domain]) -> None:
    bare = domain.pbu(
        mn=None, prefixes=None, handoff=None, technology=None, link_layer=None, timestamp=False
    )
    reply = acknowledge(bare, ProxyBindingStatus.MISSING_MN_IDENTIFIER_OPTION, domain.at(0))
    assert reply.options == (
        MobileNodeIdentifier(b""),
        HomeNetworkPrefix(ZERO, 0),
        HandoffIndicator(0),
        AccessTechnologyType(0),
    )


@pytest.mark.parametrize("status", [S.REASON_UNSPECIFIED, S.INSUFFICIENT_RESOURCES])
def test_a_rejection_repeats_the_prefixes_that_were_asked_for_rfc5213_5_3_6(
    domain: type[Domain], status: ProxyBindingStatus
) -> None:
    request = domain.pbu(prefixes=(domain.P1, domain.P2))
    reply = acknowledge(request, status, domain.at(0), prefixes=(domain.P3,))
    assert domain.prefixes(reply) == [domain.P1, domain.P2]


def test_an_acceptance_has_the_assigned_and_the_off_link_prefixes_rfc7864_3_3(
    domain: type[Domain],
) -> None:
    reply = acknowledge(
        domain.pbu(),
        ACCEPTED,
        domain.at(0),
        prefixes=(domain.P1,),
        flow_mobility=FlowMobilitySet((domain.P2, domain.P3)),
    )
    assert domain.prefixes(reply) == [domain.P1]
    assert domain.prefixes(reply, off_link=True) == [domain.P2, domain.P3]


@pytest.mark.parametrize("own", [False, True])
def test_whose_time_a_reply_has_rfc5213_5_5_steps_7_to_9(domain: type[Domain], own: bool) -> None:
    reply = acknowledge(domain.pbu(seconds=1), REFUSED, domain.at(2), own_time=own)
    stamp = reply.option(Timestamp)
    assert stamp == Timestamp.of_unix_ns(domain.at(2 if own else 1).unix_ns)


@pytest.mark.parametrize("asked", [ZERO, IPv6Address("fe80::7")])
@pytest.mark.parametrize("own", [None, IPv6Address("fe80::8")])
def test_link_local_address_if_it_was_asked_for_rfc5213_5_3_6(
    domain: type[Domain], asked: IPv6Address, own: IPv6Address | None
) -> None:
    request = domain.pbu(extra=(LinkLocalAddress(asked),))
    reply = acknowledge(request, ACCEPTED, domain.at(0), link_local_address=own)
    assert reply.option(LinkLocalAddress) == LinkLocalAddress(own or asked)
    reply = acknowledge(domain.pbu(), ACCEPTED, domain.at(0), link_local_address=own)
    assert reply.option(LinkLocalAddress) is None


def test_the_last_accepted_sequence_number_can_replace_the_requests_rfc6275_9_5_1(
    domain: type[Domain],
) -> None:
    status = ProxyBindingStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW
    assert acknowledge(domain.pbu(sequence=5), status, domain.at(0), sequence=0).sequence == 0


def test_a_node_with_prefixes_is_acknowledged_in_their_order_rfc5213_5_3_6(
    domain: type[Domain],
) -> None:
    prefixes = (IPv6Network("2001:db8:2::/64"), IPv6Network("2001:db8:1::/64"))
    assert domain.prefixes(
        acknowledge(domain.pbu(), ACCEPTED, domain.at(0), prefixes=prefixes)
    ) == [*prefixes]
