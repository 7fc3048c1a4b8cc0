"""The MAG's native data plane, over a model of policy routing. That of tunnels is in
tests/conformance (RFC 5213 section 6.10)."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING

import pytest

from nodes.controller_config import FABRIC_GATEWAY, FABRIC_MAC
from nodes.kernel.mag_forwarding import UPLINK_TABLE
from tests.policy_routing import DROP, HERE, PolicyRouting, RoutedForwarding, two_nodes

if TYPE_CHECKING:
    from tests.domain import Domain, Gateway

CN = IPv6Address("2001:db8:1::2")
FABRIC, CORE, TUNNEL = "mag1-s3", "mag1-core", "lma0"
MN_LINK, OTHER_LINK = "mag1-mn", "mag1-other"
FIXED_NODES = IPv6Network("2001:db8:77::/64")


@pytest.fixture
def gateway(domain: type[Domain], monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """With P1 for one mobile node and P2 for another."""
    return two_nodes(
        domain,
        monkeypatch,
        data_plane="native",
        fabric_interface=FABRIC,
        local_networks=(FIXED_NODES,),
    )


@pytest.fixture
def kernel(gateway: Gateway) -> PolicyRouting:
    assert isinstance(gateway.forwarding, RoutedForwarding)
    return gateway.forwarding.kernel


def test_uplink_leaves_natively_after_the_same_ingress_filter(
    domain: type[Domain], kernel: PolicyRouting
) -> None:
    assert kernel.fate(MN_LINK, domain.P1[1], CN) == FABRIC
    assert kernel.fate(MN_LINK, domain.P1[1], domain.P2[1]) == FABRIC  # the LMA sees it first
    assert kernel.fate(MN_LINK, domain.P2[1], CN) == DROP
    assert kernel.fate(MN_LINK, CN, CN) == DROP
    assert kernel.tables[UPLINK_TABLE][IPv6Network("::/0")] == (FABRIC, FABRIC_GATEWAY)
    assert kernel.neighbours == {FABRIC: (FABRIC_GATEWAY, FABRIC_MAC)}


def test_from_the_fabric_packets_for_hosted_prefixes_pass_and_no_others(
    domain: type[Domain], kernel: PolicyRouting
) -> None:
    assert kernel.fate(FABRIC, CN, domain.P1[1]) == MN_LINK
    assert kernel.fate(FABRIC, CN, domain.P2[1]) == OTHER_LINK
    assert kernel.fate(FABRIC, domain.LMA, domain.MAG1) == HERE  # signalling, and the tunnel
    assert kernel.fate(FABRIC, CN, domain.P3[1]) == DROP  # nothing goes back where it came from
    assert kernel.fate(FABRIC, CN, CN) == DROP
    assert kernel.fate(FABRIC, CN, FIXED_NODES[1]) == CORE  # by the model's only route


def test_the_lmas_tunnel_still_brings_packets_and_no_other_interface_does(
    domain: type[Domain], kernel: PolicyRouting
) -> None:
    assert kernel.fate(TUNNEL, CN, domain.P1[1]) == MN_LINK
    assert kernel.fate(TUNNEL, CN, domain.P3[1]) == DROP
    for interface in (OTHER_LINK, CORE):
        assert kernel.fate(interface, CN, domain.P1[1]) != MN_LINK


def test_a_prefix_that_is_deregistered_is_not_forwarded_any_more(
    domain: type[Domain], gateway: Gateway, kernel: PolicyRouting
) -> None:
    gateway.core.link_down(MN_LINK, domain.at(1))
    gateway.taken()
    assert kernel.fate(FABRIC, CN, domain.P1[1]) == DROP
    assert kernel.fate(MN_LINK, domain.P1[1], CN) == DROP
    assert kernel.fate(FABRIC, CN, domain.P2[1]) == OTHER_LINK


def test_leaving_takes_all_rules_along_but_those_that_drop_what_mobile_nodes_send_rfc5213_6_10_5(
    domain: type[Domain], gateway: Gateway, kernel: PolicyRouting
) -> None:
    """Else it would go on as it is, with any source (found by chaos, seeds 14 and 16)."""
    assert isinstance(gateway.forwarding, RoutedForwarding)
    assert gateway.forwarding.mag is not None
    gateway.forwarding.mag.close()
    left = [priority for priority, _, _ in kernel.rules if 0 < priority < 32_766]
    assert left == [110] * 2, "one for each access interface"
    assert kernel.fate(MN_LINK, domain.P1[1], CN) == DROP
    assert kernel.fate(OTHER_LINK, CN, CN) == DROP


@pytest.mark.parametrize(
    ("data_plane", "fallback", "advertised"),
    [
        ("native", "refuse", (1500, 1400, 1290)),
        ("native", "tunnel", (1460, 1360, 1280)),
        ("tunnel", "refuse", (1460, 1360, 1280)),
    ],
)
def test_packets_have_to_fit_into_the_tunnel_if_it_may_carry_them_rfc5213_6_9_2(
    domain: type[Domain],
    monkeypatch: pytest.MonkeyPatch,
    data_plane: str,
    fallback: str,
    advertised: tuple[int, ...],
) -> None:
    """And changes of the path are told (section 6.9.5), those of the tunnel with its path."""
    fabric = FABRIC if data_plane == "native" else None
    gateway = two_nodes(
        domain, monkeypatch, data_plane=data_plane, fabric_interface=fabric, fallback=fallback
    )
    assert isinstance(gateway.forwarding, RoutedForwarding)
    forwarding, kernel = gateway.forwarding.mag, gateway.forwarding.kernel
    assert forwarding is not None
    assert forwarding.advertised_mtu(domain.LMA) == advertised[0]
    for path, mtu in zip((1400, 1290), advertised[1:], strict=True):
        kernel.path_mtu = path
        assert forwarding.update_tunnel_mtus() == [domain.LMA]
        assert forwarding.update_tunnel_mtus() == []
        assert forwarding.advertised_mtu(domain.LMA) == mtu
        assert kernel.mtu(TUNNEL) == max(path - 40, 1280)
    assert forwarding.advertised_mtu(domain.MAG2) is None
