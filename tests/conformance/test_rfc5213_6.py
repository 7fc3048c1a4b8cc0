"""RFC 5213, sections 6.1 to 6.6 and 6.12 to 6.14: one test a rule, named after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from nodes.actions import ProbeNeighbour, UnhostPrefix
from nodes.config import AccessProfile
from nodes.strict import convert
from nodes.wire.options import MobileNodeIdentifier
from tests.conformance.mag_messages import advertisements, all_requests, hosted, requests
from tests.policy_routing import two_nodes

if TYPE_CHECKING:
    from tests.domain import Domain

OPAQUE = "7c2f-pseudonym"


def test_rfc5213_6_1_01_there_is_an_entry_a_binding(
    domain: type[Domain], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the fields that the section lists."""
    gateway = two_nodes(domain, monkeypatch)
    assert set(gateway.core.bindings) == {"mag1-mn", "mag1-other"}
    entry = gateway.core.bindings["mag1-mn"]
    assert (entry.mn_id, entry.link_layer_id) == (domain.MN, domain.LINK_LAYER_1)
    assert (entry.prefixes, entry.lma, entry.interface) == (
        (domain.P1,),
        domain.LMA,
        "mag1-mn",
    )
    assert entry.tunnel


def test_rfc5213_6_1_02_an_unknown_link_layer_identifier_is_two_zero_octets(
    domain: type[Domain],
) -> None:
    mag = domain.mag(profile={"link_layer_id": ""})
    mag.link_up()
    assert mag.core.bindings[mag.interface].link_layer_id == b"\0\0"
    mag.solicit(1)
    assert mag.core.bindings[mag.interface].link_layer_id == domain.LINK_LAYER_1


def test_rfc5213_6_2_01_the_policy_profile_is_at_hand(domain: type[Domain]) -> None:
    """Its mandatory fields can't be left out; without an LMA of its own, a node has the MAG's."""
    profile = {"mn_id": "mn9", "access_technology": 4, "lma": "2001:db8:20::1"}
    found = convert(profile, AccessProfile, "profile")
    assert (found.mn_id, str(found.lma)) == ("mn9", "2001:db8:20::1")
    for mandatory in ("mn_id", "access_technology"):
        lacking = {name: value for name, value in profile.items() if name != mandatory}
        with pytest.raises((ValueError, msgspec.ValidationError), match=mandatory):
            convert(lacking, AccessProfile, "profile")


def test_rfc5213_6_2_02_nobody_is_served_without_a_profile(domain: type[Domain]) -> None:
    mag = domain.mag()
    mag.core.link_up("eth9", domain.at(0))
    mag.core.router_solicited("eth9", domain.at(1), domain.MN_LINK_LOCAL, domain.LINK_LAYER_1)
    assert mag.taken() == []
    assert mag.core.bindings == {}


def test_rfc5213_6_6_01_a_node_is_known_by_its_identifier(
    domain: type[Domain], monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = two_nodes(domain, monkeypatch)
    gateway.receive(domain.fmi(1, [domain.P3], mn=domain.OTHER_MN), 1)
    assert gateway.core.bindings["mag1-other"].off_link_prefixes == (domain.P3,)
    assert gateway.core.bindings["mag1-mn"].off_link_prefixes == ()


def test_rfc5213_6_6_03_messages_are_about_one_node(
    domain: type[Domain], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two nodes that ask at once each get their own answer, in whatever order."""
    gateway = domain.mag(
        access_interfaces=two_nodes(domain, monkeypatch).core.config.access_interfaces
    )
    asked = {}
    for interface in ("mag1-mn", "mag1-other"):
        gateway.core.link_up(interface, domain.at(0))
        request = gateway.core.bindings[interface].request
        assert request is not None
        asked[interface] = request
    gateway.taken()
    gateway.receive(domain.acceptance(asked["mag1-other"], [domain.P2]), 0.1)
    gateway.receive(domain.acceptance(asked["mag1-mn"], [domain.P1]), 0.2)
    assert gateway.forwarding.hosted == {("mag1-mn", domain.P1), ("mag1-other", domain.P2)}


def test_rfc5213_6_6_06_an_identifier_that_is_not_the_true_one_will_do(
    domain: type[Domain],
) -> None:
    for request in all_requests(domain.mag(profile={"mn_id": OPAQUE})):
        assert request.option(MobileNodeIdentifier) == MobileNodeIdentifier.of(OPAQUE)


def test_rfc5213_6_6_07_the_identity_belongs_to_the_link(
    domain: type[Domain], monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = two_nodes(domain, monkeypatch)
    links = {entry.mn_id: entry.interface for entry in gateway.core.bindings.values()}
    assert links == {domain.MN: "mag1-mn", domain.OTHER_MN: "mag1-other"}
    gateway.core.link_down("mag1-other", domain.at(5))
    (request,) = requests(gateway.taken())
    assert request.option(MobileNodeIdentifier) == MobileNodeIdentifier.of(domain.OTHER_MN)


def test_rfc5213_6_12_01_a_renumbered_prefix_is_withdrawn(domain: type[Domain]) -> None:
    """The LMA tells by the prefixes of its next acknowledgement."""
    mag = domain.mag(lifetime_s=100).registered([domain.P1, domain.P2])
    mag.timer(81)
    (told,) = advertisements(mag.receive(domain.acceptance(mag.request(), [domain.P2]), 81.1))
    assert (told.prefixes, told.withdrawn) == ((domain.P2,), (domain.P1,))
    for option in told.advertisement.prefixes:
        zero = option.prefix == domain.P1
        assert (option.valid_lifetime_s == 0, option.preferred_lifetime_s == 0) == (zero, zero)
    assert told.advertisement.router_lifetime_s > 0


def test_rfc5213_6_12_02_its_routing_state_is_deleted(domain: type[Domain]) -> None:
    mag = domain.mag(lifetime_s=100).registered([domain.P1, domain.P2])
    mag.timer(81)
    actions = mag.receive(domain.acceptance(mag.request(), [domain.P2]), 81.1)
    assert domain.of(UnhostPrefix, actions) == [UnhostPrefix(mag.interface, domain.P1)]
    assert hosted(mag) == [domain.P2]


def test_rfc5213_6_13_01_no_renewal_before_the_node_is_known_to_be_there(
    domain: type[Domain],
) -> None:
    """The carrier says it; where there is none to go by, the node itself does when asked."""
    mag = domain.mag(lifetime_s=100).registered()
    assert len(requests(mag.timer(81))) == 1
    mag = domain.mag(lifetime_s=40, profile={"detection": "neighbour"})
    mag.solicit(0)
    mag.receive(domain.acceptance(mag.request()), 0.1)
    assert len(domain.of(ProbeNeighbour, mag.timer(30))) == 1
    assert requests(mag.timer(32.2)) == [], "it is asked, and hasn't answered yet"
    mag.core.neighbour_advertised(mag.interface, domain.MN_LINK_LOCAL, domain.at(32.3))
    assert len(requests(mag.timer(33.2))) == 1


def test_rfc5213_6_13_02_a_node_that_does_not_answer_is_not_renewed(domain: type[Domain]) -> None:
    """But deregistered."""
    mag = domain.mag(lifetime_s=40, profile={"detection": "neighbour"})
    mag.solicit(0)
    mag.receive(domain.acceptance(mag.request()), 0.1)
    found = [r for tenth in range(2, 500) for r in requests(mag.timer(tenth / 10))]
    assert [request.lifetime for request in found] == [0]


def test_rfc5213_6_13_03_its_state_is_removed(domain: type[Domain]) -> None:
    mag = domain.mag(profile={"detection": "neighbour"})
    mag.solicit(0)
    mag.receive(domain.acceptance(mag.request()), 0.1)
    for second in (30.1, 31.1, 32.1, 33.1, 34.2):
        mag.timer(second)
    assert mag.core.bindings == {}
    assert (hosted(mag), mag.forwarding.tunnels) == ([], set())
    assert len(requests(mag.solicit(50))) == 1, "it may come back"


def test_rfc5213_6_14_01_it_is_determined_who_is_served(domain: type[Domain]) -> None:
    for served in (True, False):
        mag = domain.mag(profile={"mobility_service": served})
        actions = mag.link_up() + mag.solicit(1)
        assert len(requests(actions)) == served
        assert advertisements(actions) == []
