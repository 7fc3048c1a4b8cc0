"""RFC 5213, section 6.9.1.1: one test a rule, named after it."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import msgspec
import pytest

from nodes.actions import Log, UseLinkLocal
from nodes.config import ANY_PREFIX, MagConfig
from nodes.mag.binding_update_list import Registration
from nodes.strict import InputError, from_json, to_json
from nodes.wire.options import (
    AccessTechnologyType,
    HandoffIndicator,
    HomeNetworkPrefix,
    LinkLocalAddress,
    MobileNodeIdentifier,
    MobileNodeLinkLayerIdentifier,
    Timestamp,
)
from tests.conformance.mag_messages import all_requests, handoff, requests

if TYPE_CHECKING:
    from tests.domain import Domain

ALL_ZERO = IPv6Address("::")
BY_LMA = {"fixed_mag_link_local_address_on_all_access_links": ALL_ZERO}


def test_rfc5213_6_9_1_1_01_a_detected_node_is_identified(domain: type[Domain]) -> None:
    mag = domain.mag()
    mag.link_up()
    assert mag.core.bindings[mag.interface].mn_id == domain.MN


def test_rfc5213_6_9_1_1_02_a_pbu_is_sent_if_the_service_is_offered(domain: type[Domain]) -> None:
    assert len(requests(domain.mag().link_up())) == 1
    refused = domain.mag(profile={"mobility_service": False})
    assert requests(refused.link_up()) == []


def test_rfc5213_6_9_1_1_03_the_pbu_has_the_mn_identifier(domain: type[Domain]) -> None:
    for request in all_requests(domain.mag()):
        assert request.all_options(MobileNodeIdentifier) == (MobileNodeIdentifier.of(domain.MN),)


def test_rfc5213_6_9_1_1_04_the_pbu_has_prefix_options(domain: type[Domain]) -> None:
    for request in all_requests(domain.mag()):
        assert request.all_options(HomeNetworkPrefix)
    known = domain.mag(profile={"home_network_prefixes": (domain.P1, domain.P2)})
    assert domain.prefixes(requests(known.link_up())[0]) == [domain.P1, domain.P2]


def test_rfc5213_6_9_1_1_05_all_zero_comes_alone(domain: type[Domain]) -> None:
    (request,) = requests(domain.mag().link_up())
    assert domain.prefixes(request) == [ANY_PREFIX]
    for request in all_requests(domain.mag(profile={"home_network_prefixes": (domain.P1,)})):
        assert ANY_PREFIX not in domain.prefixes(request)


def test_rfc5213_6_9_1_1_06_the_pbu_has_a_handoff_indicator(domain: type[Domain]) -> None:
    for request in all_requests(domain.mag()):
        assert len(request.all_options(HandoffIndicator)) == 1


def test_rfc5213_6_9_1_1_07_it_says_the_hint(domain: type[Domain]) -> None:
    """The policy store's for an attachment, and what the MAG knows itself for the others."""
    hints = [handoff(request) for request in all_requests(domain.mag(handoff=2))]
    assert hints == [2, 2, 5, 4]


@pytest.mark.parametrize("known", [{}, {"handoff_indicator": 1}])
def test_rfc5213_6_9_1_1_08_an_attachment_over_a_new_interface_is_1(
    domain: type[Domain], known: dict[str, int]
) -> None:
    """An access interface of this MAG is that of one interface of one node, unless the policy store
    knows better."""
    (request,) = requests(domain.mag(profile=known).link_up())
    assert handoff(request) == 1


def test_rfc5213_6_9_1_1_09_a_handoff_between_interfaces_is_2(domain: type[Domain]) -> None:
    assert handoff(requests(domain.mag(handoff=2).link_up())[0]) == 2


def test_rfc5213_6_9_1_1_10_a_handoff_between_mags_is_3(domain: type[Domain]) -> None:
    assert handoff(requests(domain.mag(handoff=3).link_up())[0]) == 3


def test_rfc5213_6_9_1_1_11_what_cannot_be_determined_is_4(domain: type[Domain]) -> None:
    """As told by the policy store; and for a session that may have ended at the LMA."""
    assert handoff(requests(domain.mag(handoff=4).link_up())[0]) == 4
    mag = domain.mag(lifetime_s=100).registered()
    mag.timer(81)
    assert [handoff(request) for request in requests(mag.timer(101))] == [4]


def test_rfc5213_6_9_1_1_12_no_other_value_is_chosen(domain: type[Domain]) -> None:
    """5 is for a session that this MAG has registered, and 0 is reserved (section 8.4)."""
    for wrong in (0, 5, 7):
        document = json.loads(to_json(domain.mag().core.config))
        document["access_interfaces"]["mag1-mn"]["handoff_indicator"] = wrong
        with pytest.raises((InputError, msgspec.ValidationError), match="handoff_indicator"):
            from_json(json.dumps(document).encode(), MagConfig, "mag.json")


def test_rfc5213_6_9_1_1_13_two_and_three_are_never_guessed(domain: type[Domain]) -> None:
    """A node that comes back, or whose binding ended, didn't necessarily move."""
    mag = domain.mag(lifetime_s=100)
    found = all_requests(mag)
    found += requests(mag.link_up(200))
    mag.receive(domain.acceptance(mag.request()), 200.1)
    found += requests(mag.link_down(210)) + requests(mag.link_up(210.2))
    mag.receive(domain.acceptance(mag.request()), 210.4)
    found += requests(mag.timer(295)) + requests(mag.timer(311))
    assert {handoff(request) for request in found} == {1, 4, 5}


def test_rfc5213_6_9_1_1_14_a_timestamp_or_the_sessions_sequence_number(
    domain: type[Domain],
) -> None:
    for request in all_requests(domain.mag()):
        assert len(request.all_options(Timestamp)) == 1
    numbered = all_requests(domain.mag(timestamp_based_approach_in_use=False))
    assert all(request.option(Timestamp) is None for request in numbered)
    first = numbered[0].sequence
    assert [(r.sequence - first) % 65536 for r in numbered] == [0, 1, 2, 3]


def test_rfc5213_6_9_1_1_15_the_link_layer_identifier_is_told_if_known(
    domain: type[Domain],
) -> None:
    own = MobileNodeLinkLayerIdentifier(domain.LINK_LAYER_1)
    for request in all_requests(domain.mag()):
        assert request.all_options(MobileNodeLinkLayerIdentifier) == (own,)
    mag = domain.mag(profile={"link_layer_id": ""})
    mag.link_up()
    mag.solicit(0.5)  # section 6.1: the node tells it
    mag.receive(domain.acceptance(mag.request()), 0.6)
    (request,) = requests(mag.link_down(5))
    assert request.option(MobileNodeLinkLayerIdentifier) == own


@pytest.mark.parametrize("unknown", ["", "00:00", "00:00:00:00:00:00"])
def test_rfc5213_6_9_1_1_16_an_unknown_or_all_zero_one_is_not(
    domain: type[Domain], unknown: str
) -> None:
    for request in all_requests(domain.mag(profile={"link_layer_id": unknown})):
        assert request.option(MobileNodeLinkLayerIdentifier) is None


def test_rfc5213_6_9_1_1_17_the_pbu_has_the_access_technology(domain: type[Domain]) -> None:
    for request in all_requests(domain.mag()):
        wanted = (AccessTechnologyType(domain.WLAN),)
        assert request.all_options(AccessTechnologyType) == wanted


def test_rfc5213_6_9_1_1_18_link_local_address_option_only_without_a_fixed_one(
    domain: type[Domain],
) -> None:
    for request in all_requests(domain.mag()):
        assert request.option(LinkLocalAddress) is None
    mag = domain.mag(**BY_LMA)
    found = requests(mag.link_up()) + requests(mag.timer(1))
    mag.receive(domain.acceptance(mag.request()), 1.1)
    found += requests(mag.link_down(5))
    assert [len(request.all_options(LinkLocalAddress)) for request in found] == [1, 1, 1]


def test_rfc5213_6_9_1_1_19_the_lmas_address_stays_for_the_session(domain: type[Domain]) -> None:
    """Section 6.8: the LMA generates it, and the MAG has it on the link before it advertises."""
    mag = domain.mag(**BY_LMA)
    mag.link_up()
    answer = domain.acceptance(mag.request())
    given = LinkLocalAddress(IPv6Address("fe80::77"))
    options = tuple(given if isinstance(o, LinkLocalAddress) else o for o in answer.options)
    actions = mag.receive(replace(answer, options=options), 0.1)
    kinds = [type(action).__name__ for action in actions]
    assert domain.of(UseLinkLocal, actions) == [UseLinkLocal(mag.interface, given.address)]
    assert kinds.index("UseLinkLocal") < kinds.index("Advertise")
    (request,) = requests(mag.link_down(5))
    assert request.option(LinkLocalAddress) == given


def test_rfc5213_6_9_1_1_20_asking_for_it_is_all_zero(domain: type[Domain]) -> None:
    (request,) = requests(domain.mag(**BY_LMA).link_up())
    assert request.option(LinkLocalAddress) == LinkLocalAddress(ALL_ZERO)


def test_rfc5213_6_9_1_1_21_the_pbu_is_that_of_section_6_9_1_5(domain: type[Domain]) -> None:
    (request,) = requests(domain.mag().link_up())
    assert [type(option).__name__ for option in request.options] == [
        "MobileNodeIdentifier",
        "HomeNetworkPrefix",
        "HandoffIndicator",
        "AccessTechnologyType",
        "Timestamp",
        "MobileNodeLinkLayerIdentifier",
    ]


def test_rfc5213_6_9_1_1_22_the_entry_is_there_with_the_pbu(domain: type[Domain]) -> None:
    mag = domain.mag()
    assert mag.core.bindings == {}
    (request,) = requests(mag.link_up())
    entry = mag.core.bindings[mag.interface]
    assert (entry.state, entry.request) == (Registration.REQUESTED, request)
    assert domain.of(Log, mag.link_up(1)) == []
    assert len(mag.core.bindings) == 1
