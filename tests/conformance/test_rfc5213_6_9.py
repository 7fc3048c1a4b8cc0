"""RFC 5213, sections 6.9.2 to 6.9.5: one test a rule, named after it."""

from __future__ import annotations

import itertools
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import pytest

from nodes.actions import ProbeNeighbour
from nodes.kernel.access_links import lowest_mtu
from nodes.wire.messages import ProxyBindingUpdate
from nodes.wire.options import Timestamp
from tests.conformance.mag_messages import advertisements, requests
from tests.policy_routing import PolicyRouting, RoutedForwarding, two_nodes

if TYPE_CHECKING:
    from nodes.kernel.mag_forwarding import MagForwarding
    from tests.domain import Domain, Gateway

UNSPECIFIED = IPv6Address("::")


def repeated(gateway: Gateway, times: int) -> tuple[list[float], list[ProxyBindingUpdate]]:
    """What the MAG sends again, and after how long each, while nobody answers."""
    found = requests(gateway.link_up(0))
    waits, now = [], 0.0
    while len(waits) < times:
        due = gateway.core.timer()
        assert due is not None
        sent = requests(gateway.timer(due))
        if sent:
            waits.append(due - now)
            now = due
            found += sent
    return waits, found


def test_rfc5213_6_9_2_01_considerations_for_solicitations_are_applied(
    domain: type[Domain],
) -> None:
    """Answered to who asked if the address is known, to all nodes otherwise; with the prefixes,
    and once the registration is complete."""
    mag = domain.mag()
    mag.link_up(0)
    assert advertisements(mag.solicit(0.1)) == []
    (answer,) = advertisements(mag.receive(domain.acceptance(mag.request()), 0.2))
    assert (answer.destination, answer.prefixes) == (domain.MN_LINK_LOCAL, (domain.P1,))
    assert advertisements(mag.solicit(5, UNSPECIFIED, None) + mag.timer(5.5))
    found = advertisements(mag.solicit(20) + mag.timer(20.5))
    assert [advertised.destination for advertised in found][-1] == domain.MN_LINK_LOCAL


@pytest.mark.parametrize("outcome", ["rejected", "unanswered", "expired"])
def test_rfc5213_6_9_2_02_no_prefix_is_advertised_without_registration(
    domain: type[Domain], outcome: str
) -> None:
    mag = domain.mag(lifetime_s=100)
    if outcome == "expired":
        mag.registered()
        mag.timer(81)
        mag.timer(101)
    else:
        mag.link_up(0)
    if outcome == "rejected":
        mag.receive(domain.acceptance(mag.request(), status=129), 0.1)
    actions = mag.solicit(102) + mag.timer(103) + mag.solicit(110, UNSPECIFIED, None)
    actions += mag.timer(120) + mag.timer(800)
    assert all(advertised.prefixes == () for advertised in advertisements(actions))


def test_rfc5213_6_9_4_01_rates_and_retransmissions_are_limited(domain: type[Domain]) -> None:
    """RFC 6275 section 11.8: MAX_UPDATE_RATE. What is held back is sent as soon as may be, and
    says what is the case then."""
    mag = domain.mag()
    actions = mag.link_up(0) + mag.link_down(0.1) + mag.link_up(0.2) + mag.link_down(0.3)
    assert len(requests(actions)) == 3
    assert mag.core.timer() == 1
    (held_back,) = requests(mag.timer(1))
    assert held_back.lifetime == 0
    mag = domain.mag()
    mag.link_up(0)
    mag.link_down(0.1)
    mag.link_up(0.2)
    mag.link_down(0.3)
    mag.link_up(0.4)
    (held_back,) = requests(mag.timer(1))
    assert held_back.lifetime > 0


def test_rfc5213_6_9_4_02_no_retransmission_to_a_node_that_is_gone(domain: type[Domain]) -> None:
    mag = domain.mag()
    mag.link_up(0)
    mag.link_down(0.5)
    actions = [a for second in (1, 1.5, 3, 40) for a in mag.timer(second)]
    assert requests(actions) == []
    # On a link that doesn't say so, not before the node has been asked and has answered.
    mag = domain.mag(profile={"detection": "neighbour"})
    mag.solicit(0)
    for second in (1, 3, 7, 15):
        assert len(requests(mag.timer(second))) == 1
    probes = domain.of(ProbeNeighbour, mag.timer(30))
    assert [probe.neighbour for probe in probes] == [domain.MN_LINK_LOCAL]
    assert requests(mag.timer(31)) == []
    mag.core.neighbour_advertised(mag.interface, domain.MN_LINK_LOCAL, domain.at(31.5))
    assert requests(mag.timer(31.6)) == []
    due = mag.core.timer()
    assert due is not None
    mag.core.neighbour_advertised(mag.interface, domain.MN_LINK_LOCAL, domain.at(due))
    assert len(requests(mag.timer(60))) == 1


def test_rfc5213_6_9_4_03_the_timeout_doubles_up_to_its_limit(domain: type[Domain]) -> None:
    waits, _ = repeated(domain.mag(), 8)
    assert waits == [1, 2, 4, 8, 16, 32, 32, 32]


def test_rfc5213_6_9_4_04_a_retransmission_has_the_latest_timestamp(domain: type[Domain]) -> None:
    waits, found = repeated(domain.mag(), 4)
    at = [sum(waits[:count]) for count in range(len(found))]
    stamps = [request.option(Timestamp) for request in found]
    assert stamps == [Timestamp.of_unix_ns(domain.at(second).unix_ns) for second in at]


def test_rfc5213_6_9_4_05_a_retransmission_has_a_greater_sequence_number(
    domain: type[Domain],
) -> None:
    _, found = repeated(domain.mag(timestamp_based_approach_in_use=False), 6)
    numbers = [request.sequence for request in found]
    for earlier, later in itertools.pairwise(numbers):
        assert 0 < (later - earlier) % 65536 < 32768  # RFC 6275 section 9.5.1


def served(
    domain: type[Domain], monkeypatch: pytest.MonkeyPatch, **changes: object
) -> tuple[Gateway, PolicyRouting, MagForwarding]:
    gateway = two_nodes(domain, monkeypatch, **changes)
    assert isinstance(gateway.forwarding, RoutedForwarding)
    assert gateway.forwarding.mag is not None
    return gateway, gateway.forwarding.kernel, gateway.forwarding.mag


def test_rfc5213_6_9_5_01_the_kernels_path_mtu_discovery_is_followed(
    domain: type[Domain], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, kernel, forwarding = served(domain, monkeypatch)
    assert forwarding.update_tunnel_mtus() == []
    kernel.path_mtu = 1400
    assert forwarding.update_tunnel_mtus() == [domain.LMA]
    assert forwarding.update_tunnel_mtus() == []


def test_rfc5213_6_9_5_02_a_configured_mtu_stands_in_for_discovery(
    domain: type[Domain], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, kernel, forwarding = served(domain, monkeypatch, path_mtu=1450)
    assert forwarding.advertised_mtu(domain.LMA) == 1410
    kernel.path_mtu = None  # type: ignore[assignment]
    forwarding.update_tunnel_mtus()
    assert forwarding.advertised_mtu(domain.LMA) == 1410


@pytest.mark.parametrize(("path", "tunnel"), [(1500, 1460), (1400, 1360), (1300, 1280)])
def test_rfc5213_6_9_5_03_the_tunnels_mtu_is_the_paths_less_the_header(
    domain: type[Domain], monkeypatch: pytest.MonkeyPatch, path: int, tunnel: int
) -> None:
    """RFC 2473 section 6.7, and 1280 at least (section 7.1: the tunnel fragments then)."""
    _, kernel, forwarding = served(domain, monkeypatch)
    kernel.path_mtu = path
    forwarding.update_tunnel_mtus()
    assert forwarding.advertised_mtu(domain.LMA) == tunnel


def test_rfc5213_6_9_5_04_the_lower_mtu_is_advertised() -> None:
    assert lowest_mtu(1460, 1500) == 1460
    assert lowest_mtu(1460, 1400) == 1400
    assert lowest_mtu(None, 1500) is None, "there is no tunnel"


def test_rfc5213_6_9_5_05_a_changed_path_changes_the_tunnel(
    domain: type[Domain], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the mobile nodes behind it are told; the model's clock is at second 10."""
    gateway, kernel, forwarding = served(domain, monkeypatch)
    for path in (1400, 1500):
        kernel.path_mtu = path
        (lma,) = forwarding.update_tunnel_mtus()
        assert forwarding.advertised_mtu(lma) == path - 40
    gateway.core.tunnel_mtu_changed(domain.LMA, domain.at(10))
    told = {advertised.interface for advertised in advertisements(gateway.taken())}
    assert told == {"mag1-mn", "mag1-other"}


def test_rfc5213_6_9_5_06_later_advertisements_have_it_too(
    domain: type[Domain], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The MTU option is not kept: whoever sends an advertisement asks the tunnel it names."""
    gateway, kernel, forwarding = served(domain, monkeypatch)
    kernel.path_mtu = 1400
    forwarding.update_tunnel_mtus()
    for advertised in advertisements(gateway.timer(17)):
        assert advertised.advertisement.mtu is None
        assert forwarding.advertised_mtu(advertised.lma) == 1360
