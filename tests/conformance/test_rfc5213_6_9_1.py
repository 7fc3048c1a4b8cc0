"""RFC 5213, sections 6.9.1.3 to 6.9.1.5: one test a rule, named after it."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import pytest

from nodes.actions import CloseTunnel, Send, TearDownLink
from nodes.wire.codec import encode
from nodes.wire.options import (
    AccessTechnologyType,
    AlternateCareOfAddress,
    HandoffIndicator,
    HomeNetworkPrefix,
    MobileNodeIdentifier,
)
from tests.conformance.mag_messages import advertisements, all_requests, handoff, hosted, requests
from tests.policy_routing import DROP, routed, two_nodes

if TYPE_CHECKING:
    from tests.domain import Domain, Gateway

CN = IPv6Address("2001:db8:1::2")
EGRESS = IPv6Address("2001:db8:13::1")
ANSWERED = pytest.mark.parametrize("answered", [True, False])


def registered(domain: type[Domain]) -> Gateway:
    return domain.mag(lifetime_s=100).registered([domain.P1, domain.P2], [domain.P3])


def left(domain: type[Domain], mag: Gateway, answered: bool, second: float = 10.0) -> list[object]:
    """The node leaves, and the LMA answers or doesn't; what happens up to INITIAL_BINDACK_TIMEOUT
    after that."""
    actions: list[object] = [*mag.link_down(second)]
    if answered:
        actions += mag.receive(domain.acceptance(mag.request()), second + 0.1)
    else:
        assert mag.interface in mag.core.bindings
        actions += mag.timer(second + 0.999)
        assert mag.interface in mag.core.bindings
        actions += mag.timer(second + 1)
    return actions


def kinds(request: object) -> list[str]:
    return sorted({type(option).__name__ for option in request.options})  # type: ignore[attr-defined]


def test_rfc5213_6_9_1_3_01_a_renewal_has_the_options_of_the_first(domain: type[Domain]) -> None:
    first, _, renewal, _ = all_requests(domain.mag())
    assert kinds(renewal) == kinds(first)
    assert (renewal.lifetime, renewal.acknowledge) == (first.lifetime, True)


def test_rfc5213_6_9_1_3_02_a_renewal_lists_the_prefixes(domain: type[Domain]) -> None:
    (renewal,) = requests(registered(domain).timer(81))
    assert domain.prefixes(renewal) == [domain.P1, domain.P2]


def test_rfc5213_6_9_1_3_03_a_renewal_says_not_changed(domain: type[Domain]) -> None:
    assert [handoff(request) for request in requests(registered(domain).timer(81))] == [5]


def test_rfc5213_6_9_1_4_01_a_deregistration_has_the_options_of_the_first(
    domain: type[Domain],
) -> None:
    first, _, _, last = all_requests(domain.mag())
    assert kinds(last) == kinds(first)
    assert last.lifetime == 0


def test_rfc5213_6_9_1_4_02_a_deregistration_lists_the_prefixes(domain: type[Domain]) -> None:
    (request,) = requests(registered(domain).link_down(10))
    assert domain.prefixes(request) == [domain.P1, domain.P2]


def test_rfc5213_6_9_1_4_03_a_deregistration_says_unknown(domain: type[Domain]) -> None:
    assert [handoff(request) for request in requests(registered(domain).link_down(10))] == [4]


@ANSWERED
def test_rfc5213_6_9_1_4_04_it_ends_with_the_answer_or_after_a_second(
    domain: type[Domain], answered: bool
) -> None:
    mag = registered(domain)
    actions = left(domain, mag, answered)
    assert len(requests(actions)) == 1  # type: ignore[arg-type]
    assert mag.core.timer() is None


@ANSWERED
def test_rfc5213_6_9_1_4_05_the_entry_is_removed(domain: type[Domain], answered: bool) -> None:
    mag = registered(domain)
    left(domain, mag, answered)
    assert mag.core.bindings == {}


@ANSWERED
def test_rfc5213_6_9_1_4_06_the_routing_state_is_removed(
    domain: type[Domain], monkeypatch: pytest.MonkeyPatch, answered: bool
) -> None:
    mag = domain.mag()
    kernel = routed(monkeypatch, mag)
    before = sorted(map(repr, kernel.rules))
    mag.registered([domain.P1, domain.P2], [domain.P3])
    left(domain, mag, answered)
    assert hosted(mag) == []
    for prefix in (domain.P1, domain.P2, domain.P3):
        assert kernel.fate(mag.interface, prefix[7], CN) == DROP
    assert sorted(map(repr, kernel.rules)) == before


@ANSWERED
def test_rfc5213_6_9_1_4_07_the_tunnel_goes_with_the_last_node(
    domain: type[Domain], monkeypatch: pytest.MonkeyPatch, answered: bool
) -> None:
    mag = two_nodes(domain, monkeypatch)
    closed = domain.of(CloseTunnel, left(domain, mag, answered))  # type: ignore[arg-type]
    assert closed == []
    mag.interface = "mag1-other"
    closed = domain.of(CloseTunnel, left(domain, mag, answered, 20.0))  # type: ignore[arg-type]
    assert closed == [CloseTunnel(domain.LMA)]


@ANSWERED
def test_rfc5213_6_9_1_4_08_the_link_is_torn_down(domain: type[Domain], answered: bool) -> None:
    """One that the node left is down already; one that it is still at is ended, after the node was
    told that there are no prefix and no router any more."""
    mag = registered(domain)
    assert domain.of(TearDownLink, left(domain, mag, answered)) == []  # type: ignore[arg-type]
    mag = registered(domain)
    mag.core.terminate(mag.interface, domain.at(10))
    actions = mag.taken()
    (final,) = advertisements(actions)
    assert (final.prefixes, final.withdrawn) == ((), (domain.P1, domain.P2))
    assert final.advertisement.router_lifetime_s == 0
    (request,) = requests(actions)
    assert request.lifetime == 0
    rest = mag.receive(domain.acceptance(request), 10.1) if answered else mag.timer(11)
    assert domain.of(TearDownLink, rest) == [TearDownLink(mag.interface)]


def test_rfc5213_6_9_1_5_01_the_message_is_that_of_figure_12(domain: type[Domain]) -> None:
    for request in all_requests(domain.mag()):
        data = encode(request, domain.MAG1, domain.LMA)
        assert (data[0], data[2]) == (59, 5), "a Binding Update, and nothing behind it"


def test_rfc5213_6_9_1_5_02_p_and_a_are_1(domain: type[Domain]) -> None:
    for request in all_requests(domain.mag()):
        flags = int.from_bytes(encode(request, domain.MAG1, domain.LMA)[8:10], "big")
        assert flags == 0x8200, "A and P, and no others"


def test_rfc5213_6_9_1_5_03_the_source_is_the_egress_interfaces_address(
    domain: type[Domain],
) -> None:
    """The Proxy-CoA; or an Alternate Care-of Address option tells that."""
    (sent,) = domain.of(Send, domain.mag().link_up())
    assert sent.source == domain.MAG1
    assert sent.message.option(AlternateCareOfAddress) is None
    (sent,) = domain.of(Send, domain.mag(egress_address=EGRESS).link_up())
    assert sent.source == EGRESS
    assert sent.message.option(AlternateCareOfAddress) == AlternateCareOfAddress(domain.MAG1)


def test_rfc5213_6_9_1_5_04_the_destination_is_the_lmas_address(domain: type[Domain]) -> None:
    """The MAG's, or that of the mobile node's policy profile (section 6.2)."""
    own = IPv6Address("2001:db8:20::1")
    for mag, lma in ((domain.mag(), domain.LMA), (domain.mag(profile={"lma": own}), own)):
        (sent,) = domain.of(Send, mag.link_up())
        assert sent.destination == lma
        mag.receive(domain.acceptance(mag.request()), 0.1, lma)
        assert mag.forwarding.tunnels == {lma}


@pytest.mark.parametrize("timestamps", [True, False])
def test_rfc5213_6_9_1_5_05_the_mn_identifier_is_there(
    domain: type[Domain], timestamps: bool
) -> None:
    for request in all_requests(domain.mag(timestamp_based_approach_in_use=timestamps)):
        assert len(request.all_options(MobileNodeIdentifier)) == 1


def test_rfc5213_6_9_1_5_06_a_prefix_is_there(domain: type[Domain]) -> None:
    mag = domain.mag()
    assert all(request.all_options(HomeNetworkPrefix) for request in all_requests(mag))
    unanswered = domain.mag()
    unanswered.link_up(0)
    (request,) = requests(unanswered.link_down(0.5))
    assert request.all_options(HomeNetworkPrefix), "though none was assigned"


def test_rfc5213_6_9_1_5_07_the_handoff_indicator_is_there(domain: type[Domain]) -> None:
    assert all(request.option(HandoffIndicator) for request in all_requests(domain.mag()))


def test_rfc5213_6_9_1_5_08_the_access_technology_is_there(domain: type[Domain]) -> None:
    assert all(request.option(AccessTechnologyType) for request in all_requests(domain.mag()))


def test_rfc5213_6_9_1_5_10_there_is_no_home_address_option(domain: type[Domain]) -> None:
    """The daemon hands the kernel a Mobility Header alone, and so there is no extension header
    before it: the action has no place for one."""
    (sent,) = domain.of(Send, domain.mag().link_up())
    fields = set(Send.__dataclass_fields__)
    assert fields == {"message", "source", "destination"}
    assert encode(sent.message, sent.source, sent.destination)[2] == 5
