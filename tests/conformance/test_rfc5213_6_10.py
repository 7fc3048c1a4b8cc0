"""RFC 5213, section 6.10: one test a rule, named after it. The MAG's forwarding state is judged by
a model of the kernel's policy routing; that the kernel itself does so is for the tests in a
guest."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING

import pytest

from nodes.kernel import netlink
from tests.policy_routing import DROP, HERE, PolicyRouting, RoutedForwarding, routed, two_nodes

if TYPE_CHECKING:
    from tests.domain import Domain, Gateway

CN = IPv6Address("2001:db8:1::2")
FIXED_NODES = IPv6Network("2001:db8:77::/64")
FIXED = FIXED_NODES[5]
MN_LINK, OTHER_LINK, TUNNEL, CORE = "mag1-mn", "mag1-other", "lma0", "mag1-core"


def kernel_of(gateway: Gateway) -> PolicyRouting:
    assert isinstance(gateway.forwarding, RoutedForwarding)
    return gateway.forwarding.kernel


@pytest.fixture
def kernel(domain: type[Domain], monkeypatch: pytest.MonkeyPatch) -> PolicyRouting:
    """With P1 for one mobile node and P2 for another."""
    return kernel_of(two_nodes(domain, monkeypatch))


def test_rfc5213_6_10_5_01_the_inner_destination_says_the_interface(
    domain: type[Domain], kernel: PolicyRouting
) -> None:
    assert kernel.fate(TUNNEL, CN, domain.P1[7]) == MN_LINK
    assert kernel.fate(TUNNEL, CN, domain.P2[7]) == OTHER_LINK


def test_rfc5213_6_10_5_02_the_tunnel_takes_the_outer_header_off(
    domain: type[Domain], kernel: PolicyRouting
) -> None:
    """It is one interface of the kind that does, between Proxy-CoA and LMAA; none else is there."""
    assert kernel.tunnels == {TUNNEL: (domain.MAG1, domain.LMA)}
    request = netlink.new_tunnel(TUNNEL, domain.MAG1, domain.LMA).body
    assert b"ip6tnl\0" in request


def test_rfc5213_6_10_5_03_only_ipv6_in_ipv6_is_decapsulated(domain: type[Domain]) -> None:
    request = netlink.new_tunnel(TUNNEL, domain.MAG1, domain.LMA).body
    assert netlink.attribute(netlink.IFLA_IPTUN_PROTO, bytes([41])) in request
    assert netlink.attribute(netlink.IFLA_IPTUN_REMOTE, domain.LMA.packed) in request


@pytest.mark.parametrize("destination", ["2001:db8:100:77::1", "2001:db8:1::2", "2001:db8:11::1"])
def test_rfc5213_6_10_5_04_packets_for_nobody_here_are_dropped(
    kernel: PolicyRouting, destination: str
) -> None:
    """Of the pool, the correspondent's, and this MAG's own address: none is a mobile node's."""
    assert kernel.fate(TUNNEL, CN, IPv6Address(destination)) == DROP


def local_routing(
    domain: type[Domain], monkeypatch: pytest.MonkeyPatch, enabled: bool
) -> PolicyRouting:
    gateway = two_nodes(
        domain, monkeypatch, enable_mag_local_routing=enabled, local_networks=(FIXED_NODES,)
    )
    kernel = kernel_of(gateway)
    kernel.tables[netlink.RT_TABLE_MAIN][FIXED_NODES] = ("mag1-lan", None)
    return kernel


def test_rfc5213_6_10_5_06_the_flag_decides_for_packets_of_a_fixed_node(
    domain: type[Domain], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = local_routing(domain, monkeypatch, enabled=True)
    assert kernel.fate("mag1-lan", FIXED, domain.P1[7]) == MN_LINK


def test_rfc5213_6_10_5_07_else_they_go_towards_the_lma(
    domain: type[Domain], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = local_routing(domain, monkeypatch, enabled=False)
    assert kernel.fate("mag1-lan", FIXED, domain.P1[7]) == CORE


def test_rfc5213_6_10_5_08_without_a_binding_nothing_of_the_node_is_forwarded(
    domain: type[Domain], monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = domain.mag(enable_mag_local_routing=True)
    kernel = routed(monkeypatch, gateway)
    fates = [kernel.fate(MN_LINK, domain.P1[7], CN)]
    gateway.link_up(0)
    fates.append(kernel.fate(MN_LINK, domain.P1[7], CN))
    gateway.receive(domain.acceptance(gateway.request(), [domain.P1]), 0.1)
    fates.append(kernel.fate(MN_LINK, domain.P1[7], CN))
    fates.append(kernel.fate(MN_LINK, domain.P2[7], CN))
    gateway.link_down(1)
    fates.append(kernel.fate(MN_LINK, domain.P1[7], CN))
    assert fates == [DROP, DROP, TUNNEL, DROP, DROP]


@pytest.mark.parametrize(
    ("domain_wide", "own", "expected"),
    [
        (False, (None, None), TUNNEL),
        (True, (None, None), OTHER_LINK),
        (False, (True, True), OTHER_LINK),
        (True, (False, None), TUNNEL),
        (True, (None, False), TUNNEL),
    ],
)
def test_rfc5213_6_10_5_09_the_flag_decides_for_local_destinations(
    domain: type[Domain],
    monkeypatch: pytest.MonkeyPatch,
    domain_wide: bool,
    own: tuple[bool | None, bool | None],
    expected: str,
) -> None:
    """And a mobile node's policy before it (section 9.2): both have to agree."""
    gateway = two_nodes(
        domain, monkeypatch, enable_mag_local_routing=domain_wide, local_routing=own
    )
    assert kernel_of(gateway).fate(MN_LINK, domain.P1[7], domain.P2[7]) == expected


def test_rfc5213_6_10_5_10_else_they_go_through_the_tunnel(
    domain: type[Domain], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To mobile nodes, fixed nodes and this MAG itself."""
    kernel = local_routing(domain, monkeypatch, enabled=False)
    for destination in (domain.P2[7], FIXED, domain.MAG1):
        assert kernel.fate(MN_LINK, domain.P1[7], destination) == TUNNEL


def test_rfc5213_6_10_5_11_with_the_flag_they_go_there_directly(
    domain: type[Domain], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = local_routing(domain, monkeypatch, enabled=True)
    assert kernel.fate(MN_LINK, domain.P1[7], domain.P2[7]) == OTHER_LINK
    assert kernel.fate(MN_LINK, domain.P1[7], FIXED) == "mag1-lan"
    # Local routing is no way around the filter.
    assert kernel.fate(MN_LINK, FIXED, domain.P2[7]) == DROP
    assert kernel.fate(MN_LINK, domain.P2[7], domain.P2[8]) == DROP


@pytest.mark.parametrize("enabled", [False, True])
def test_rfc5213_6_10_5_12_all_else_goes_through_the_tunnel(
    domain: type[Domain], monkeypatch: pytest.MonkeyPatch, enabled: bool
) -> None:
    kernel = local_routing(domain, monkeypatch, enabled)
    for destination in (CN, domain.LMA, domain.P3[7]):
        assert kernel.fate(MN_LINK, domain.P1[7], destination) == TUNNEL


def test_rfc5213_6_10_5_13_link_local_sources_are_not_forwarded(
    domain: type[Domain], kernel: PolicyRouting
) -> None:
    for destination in (CN, domain.P2[7], domain.MAG1):
        assert kernel.fate(MN_LINK, domain.MN_LINK_LOCAL, destination) == DROP
    assert kernel.fate(MN_LINK, domain.MN_LINK_LOCAL, IPv6Address("ff02::2")) == HERE


def test_rfc5213_6_10_5_14_the_outer_header_is_that_of_rfc2473(domain: type[Domain]) -> None:
    """Section 6 of RFC 2473: both addresses, a hop limit of its own, the traffic class of the
    inner packet; and no tunnel encapsulation limit, which is optional."""
    request = netlink.new_tunnel(TUNNEL, domain.MAG1, domain.LMA).body
    for kind, value in (
        (netlink.IFLA_IPTUN_LOCAL, domain.MAG1.packed),
        (netlink.IFLA_IPTUN_REMOTE, domain.LMA.packed),
        (netlink.IFLA_IPTUN_TTL, bytes([64])),
    ):
        assert netlink.attribute(kind, value) in request
    flags = netlink.IGNORE_ENCAPSULATION_LIMIT | netlink.INHERIT_TRAFFIC_CLASS
    assert netlink.u32(netlink.IFLA_IPTUN_FLAGS, flags) in request
