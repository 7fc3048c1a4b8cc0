"""RFC 5213, section 6.9.1.2: one test a rule, named after it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

import pytest

from nodes.actions import CloseTunnel, Log, OpenTunnel, UseLinkLocal
from nodes.mag.binding_update_list import Registration
from nodes.wire.codec import decode, encode
from nodes.wire.errors import MalformedMessage
from nodes.wire.messages import ProxyBindingAcknowledgement, ProxyBindingStatus
from nodes.wire.options import (
    AccessTechnologyType,
    HandoffIndicator,
    LinkLocalAddress,
    MobileNodeIdentifier,
    MobileNodeLinkLayerIdentifier,
    Timestamp,
)
from tests.conformance.mag_messages import advertisements, handoff, hosted, requests
from tests.policy_routing import DROP, routed

if TYPE_CHECKING:
    from tests.domain import Domain, Gateway

CN = IPv6Address("2001:db8:1::2")
REJECTIONS = sorted({int(status) for status in ProxyBindingStatus if status >= 128} | {255})
NOT_FINAL = (
    ProxyBindingStatus.TIMESTAMP_LOWER_THAN_PREV_ACCEPTED,  # step 8: the MAG tries again
)


def changed(answer: ProxyBindingAcknowledgement, option: Any) -> ProxyBindingAcknowledgement:
    options = tuple(option if type(o) is type(option) else o for o in answer.options)
    return replace(answer, options=options)


def attached(domain: type[Domain], **changes: Any) -> tuple[Gateway, ProxyBindingAcknowledgement]:
    """A MAG that waits for its first answer, and the answer."""
    mag = domain.mag(**changes)
    mag.link_up()
    return mag, domain.acceptance(mag.request())


OTHERS = pytest.mark.parametrize(
    "other",
    [
        HandoffIndicator(2),
        AccessTechnologyType(5),
        MobileNodeLinkLayerIdentifier(b"\2\0\0\0\7\7"),
        MobileNodeIdentifier.of("mn3@example.org"),
    ],
    ids=lambda option: type(option).__name__,
)


def test_rfc5213_6_9_1_2_01_an_answer_is_processed(domain: type[Domain]) -> None:
    mag, answer = attached(domain)
    mag.receive(answer, 0.1)
    assert mag.core.bindings[mag.interface].state is Registration.REGISTERED
    assert hosted(mag) == [domain.P1]


def test_rfc5213_6_9_1_2_03_malformed_headers_are_none(domain: type[Domain]) -> None:
    """RFC 6275 section 9.2: what the codec refuses never reaches the MAG."""
    _, answer = attached(domain)
    data = encode(answer, domain.LMA, domain.MAG1)
    assert decode(data, domain.LMA, domain.MAG1) == answer
    for broken in (data[:-1], b"\x00" + data[1:], data[:4] + b"\0\0" + data[6:]):
        with pytest.raises(MalformedMessage):
            decode(broken, domain.LMA, domain.MAG1)


def test_rfc5213_6_9_1_2_04_sequence_number_and_timestamp_are_those_of_the_request(
    domain: type[Domain],
) -> None:
    """Section 5.5: the LMA returns both; an answer with other ones is to something else."""
    mag, answer = attached(domain)
    mag.receive(replace(answer, sequence=answer.sequence ^ 1), 0.1)
    mag.receive(changed(answer, Timestamp.of_unix_seconds(7)), 0.1)
    options = tuple(o for o in answer.options if not isinstance(o, Timestamp))
    mag.receive(replace(answer, options=options), 0.1)
    assert hosted(mag) == []
    assert len(requests(mag.timer(1))) == 1, "it still waits for its answer"
    mag, answer = attached(domain, timestamp_based_approach_in_use=False)
    mag.receive(replace(answer, options=(*answer.options, Timestamp.of_unix_seconds(7))), 0.1)
    assert hosted(mag) == []
    mag.receive(answer, 0.2)
    assert hosted(mag) == [domain.P1]


def test_rfc5213_6_9_1_2_05_no_routing_header_is_asked_for(domain: type[Domain]) -> None:
    """The MAG is told the message and its source, and of no other header."""
    mag, answer = attached(domain)
    data = encode(answer, domain.LMA, domain.MAG1)
    mag.receive(decode(data, domain.LMA, domain.MAG1), 0.1, domain.LMA)
    assert hosted(mag) == [domain.P1]


def test_rfc5213_6_9_1_2_06_an_answer_to_nothing_is_ignored(domain: type[Domain]) -> None:
    mag, answer = attached(domain)
    mag.receive(answer, 0.1)
    state = repr(mag.core.bindings)
    for other in (answer, replace(answer, status=129), replace(answer, sequence=9)):
        assert [type(action) for action in mag.receive(other, 0.2)] == [Log]
    assert repr(mag.core.bindings) == state
    mag, answer = attached(domain)
    mag.receive(answer, 0.1, domain.MAG2)
    mag.receive(replace(answer, proxy_registration=False), 0.1)
    assert hosted(mag) == []


@OTHERS
def test_rfc5213_6_9_1_2_07_an_answer_with_other_values_is_ignored(
    domain: type[Domain], other: Any
) -> None:
    mag, answer = attached(domain)
    for status in (0, 129, ProxyBindingStatus.PROXY_REG_NOT_ENABLED):
        actions = mag.receive(changed(replace(answer, status=status), other), 0.1)
        assert [type(action) for action in actions] == [Log]
    assert mag.core.bindings[mag.interface].state is Registration.REQUESTED
    assert hosted(mag) == []


@OTHERS
def test_rfc5213_6_9_1_2_08_the_request_is_not_repeated_then(
    domain: type[Domain], other: Any
) -> None:
    mag, answer = attached(domain)
    mag.receive(changed(answer, other), 0.1)
    assert requests([a for second in (1, 2, 40, 4000) for a in mag.timer(second)]) == []
    mag.core.retry(domain.at(4001))  # the administrative action
    assert len(requests(mag.taken())) == 1


def test_rfc5213_6_9_1_2_09_a_node_that_is_not_enabled_is_denied_the_service(
    domain: type[Domain],
) -> None:
    """Until an administrative action is taken, even if it attaches again."""
    mag, answer = attached(domain)
    mag.receive(replace(answer, status=ProxyBindingStatus.PROXY_REG_NOT_ENABLED), 0.1)
    actions = [*mag.timer(10), *mag.link_down(11), *mag.link_up(12), *mag.timer(20)]
    assert requests(actions) == []
    assert advertisements(actions) == []
    assert hosted(mag) == []
    mag.core.retry(domain.at(30))
    mag.link_down(30)
    assert len(requests(mag.link_up(31))) == 1


@pytest.mark.parametrize("status", [s for s in REJECTIONS if s not in NOT_FINAL])
def test_rfc5213_6_9_1_2_10_a_rejected_node_has_no_prefix_and_no_service(
    domain: type[Domain], monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """At first, and when a binding isn't extended."""
    mag, answer = attached(domain)
    actions = mag.receive(replace(answer, status=status), 0.1) + mag.solicit(1) + mag.timer(5)
    assert advertisements(actions) == []
    assert hosted(mag) == []
    mag = domain.mag(lifetime_s=100)
    kernel = routed(monkeypatch, mag)
    mag.registered()
    assert kernel.fate(mag.interface, domain.P1[1], CN) != DROP
    mag.timer(81)
    actions = mag.receive(domain.acceptance(mag.request(), status=status), 81.1)
    actions += mag.solicit(82) + mag.timer(90)
    assert kernel.fate(mag.interface, domain.P1[1], CN) == DROP
    for advertisement in advertisements(actions):
        assert domain.P1 not in advertisement.prefixes


def test_rfc5213_6_9_1_2_11_acceptance_opens_the_tunnel(domain: type[Domain]) -> None:
    mag, answer = attached(domain)
    assert domain.of(OpenTunnel, mag.receive(answer, 0.1)) == [OpenTunnel(domain.LMA)]
    mag.timer(81)
    mag.timer(3000)
    again = mag.receive(domain.acceptance(mag.request()), 3000.1)
    assert domain.of(OpenTunnel, again) == [], "there is one already"


def test_rfc5213_6_9_1_2_12_the_tunnel_is_there_while_it_is_used(
    domain: type[Domain], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Section 5.6.1."""
    mag, answer = attached(domain, lifetime_s=100)
    mag.receive(answer, 0.1)
    actions = mag.timer(80.1)
    assert domain.of(CloseTunnel, actions) == []
    assert domain.of(CloseTunnel, mag.timer(100.1)) == [CloseTunnel(domain.LMA)]


def test_rfc5213_6_9_1_2_13_packets_of_the_node_go_through_the_tunnel(
    domain: type[Domain], monkeypatch: pytest.MonkeyPatch
) -> None:
    mag = domain.mag()
    kernel = routed(monkeypatch, mag)
    mag.registered([domain.P1, domain.P2])
    for prefix in (domain.P1, domain.P2):
        assert kernel.fate(mag.interface, prefix[7], CN) == "lma0"


def test_rfc5213_6_9_1_2_14_forwarding_is_that_of_section_6_10_5(
    domain: type[Domain], monkeypatch: pytest.MonkeyPatch
) -> None:
    mag = domain.mag()
    kernel = routed(monkeypatch, mag)
    mag.registered([domain.P1], [domain.P2])
    for prefix in (domain.P1, domain.P2):
        assert kernel.fate("lma0", CN, prefix[7]) == mag.interface
        assert kernel.fate(mag.interface, prefix[7], CN) == "lma0"
    assert kernel.fate("lma0", CN, domain.P3[7]) == DROP
    assert kernel.fate(mag.interface, domain.P3[7], CN) == DROP


def test_rfc5213_6_9_1_2_15_the_entry_has_what_was_accepted(domain: type[Domain]) -> None:
    mag, _ = attached(domain, lifetime_s=1000)
    answer = domain.acceptance(mag.request(), [domain.P2, domain.P3])
    mag.receive(replace(answer, lifetime=100), 10)
    entry = mag.core.bindings[mag.interface]
    assert (entry.state, entry.prefixes) == (Registration.REGISTERED, (domain.P2, domain.P3))
    assert entry.expires_at == 10 + 400


def test_rfc5213_6_9_1_2_16_the_prefixes_are_advertised_as_on_link(domain: type[Domain]) -> None:
    mag, _ = attached(domain)
    answer = domain.acceptance(mag.request(), [domain.P1, domain.P2])
    (advertised,) = advertisements(mag.receive(answer, 0.1))
    assert advertised.prefixes == (domain.P1, domain.P2)
    assert all(option.on_link for option in advertised.advertisement.prefixes)


def test_rfc5213_6_9_1_2_17_an_address_of_the_node_is_not_used(domain: type[Domain]) -> None:
    """Another one is, and the LMA is told at once."""
    mag, answer = attached(
        domain, fixed_mag_link_local_address_on_all_access_links=IPv6Address("::")
    )
    actions = mag.receive(changed(answer, LinkLocalAddress(domain.MN_LINK_LOCAL)), 0.1)
    (use,) = domain.of(UseLinkLocal, actions)
    assert use.address.is_link_local
    assert use.address != domain.MN_LINK_LOCAL
    assert {advertised.router for advertised in advertisements(actions)} == {use.address}
    (request,) = requests(actions)
    assert request.option(LinkLocalAddress) == LinkLocalAddress(use.address)
    assert handoff(request) == 5
    assert requests(mag.receive(domain.acceptance(request), 0.2)) == []
