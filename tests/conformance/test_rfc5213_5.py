"""RFC 5213 sections 5.1, 5.2 and 5.6, entries, prefixes and forwarding: one test a rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nodes.actions import BlockPrefix, CloseTunnel, OpenTunnel
from nodes.config import MobileNodePolicy
from nodes.kernel.netlink import (
    IFLA_IPTUN_FLAGS,
    IFLA_IPTUN_TTL,
    INHERIT_TRAFFIC_CLASS,
    attribute,
    new_tunnel,
    u32,
)
from nodes.wire.options import Timestamp

if TYPE_CHECKING:
    from tests.domain import Domain


def test_rfc5213_5_1_01_there_is_an_entry_for_each_registered_node(domain: type[Domain]) -> None:
    anchor = domain.lma()
    for mn in (domain.MN, domain.OTHER_MN):
        anchor.acknowledged(domain.pbu(mn=mn, lifetime=100))
    assert [entry.mn_id for entry in anchor.core.bindings] == [domain.MN, domain.OTHER_MN]
    anchor.timer(399.0)
    assert len(list(anchor.core.bindings)) == 2


@pytest.mark.parametrize("link_layer", [b"\2\0\0\0\1\1", None])
def test_rfc5213_5_1_02_missing_link_layer_identifier_is_two_zeros(
    domain: type[Domain], link_layer: bytes | None
) -> None:
    anchor = domain.lma()
    anchor.acknowledged(domain.pbu(link_layer=link_layer))
    (entry,) = anchor.core.bindings
    assert entry.link_layer_id == (link_layer or b"\0\0")
    anchor.acknowledged(domain.pbu(1, prefixes=(domain.P1,), link_layer=None), 1)
    assert entry.link_layer_id == b"\0\0"


def test_rfc5213_5_1_03_missing_timestamp_is_zero(domain: type[Domain]) -> None:
    anchor = domain.lma()
    anchor.acknowledged(domain.pbu(1.0), 1.0)
    (entry,) = anchor.core.bindings
    assert entry.timestamp == Timestamp.of_unix_ns(domain.at(1).unix_ns).value
    anchor.acknowledged(domain.pbu(timestamp=False, sequence=8), 2.0)
    assert entry.timestamp == 0


def test_rfc5213_5_2_01_prefixes_of_an_interface_are_its_nodes_alone(domain: type[Domain]) -> None:
    anchor = domain.lma(MobileNodePolicy(prefixes_per_session=2))
    first = domain.prefixes(anchor.acknowledged(domain.pbu()))
    second = domain.prefixes(anchor.acknowledged(domain.pbu(mn=domain.OTHER_MN)))
    assert len({*first, *second}) == 4
    assert [len(entry.prefixes) for entry in anchor.core.bindings] == [2, 2]


def test_rfc5213_5_2_02_each_interface_has_prefixes_of_its_own(domain: type[Domain]) -> None:
    """Unless RFC 7864 section 3.2.1 is asked for, by HI 6 or by the node's policy."""
    anchor = domain.lma()
    other = domain.pbu(1, technology=domain.CELL, link_layer=domain.LINK_LAYER_2)
    first = domain.prefixes(anchor.acknowledged(domain.pbu()))
    assert domain.prefixes(anchor.acknowledged(other, 1, domain.MAG2)) == [domain.P2] != first


def test_rfc5213_5_2_03_prefixes_of_two_interfaces_are_two_sessions(domain: type[Domain]) -> None:
    anchor = domain.lma()
    anchor.acknowledged(domain.pbu())
    other = domain.pbu(1, technology=domain.CELL, link_layer=domain.LINK_LAYER_2)
    anchor.acknowledged(other, 1, domain.MAG2)
    assert [entry.prefixes for entry in anchor.core.bindings] == [(domain.P1,), (domain.P2,)]
    both = domain.pbu(2, prefixes=(domain.P1, domain.P2))
    assert anchor.acknowledged(both, 2).status == 159


def test_rfc5213_5_6_1_01_traffic_goes_through_the_tunnel(domain: type[Domain]) -> None:
    """Both ways: the LMA's route into it, and the MAG's."""
    network = domain.network()
    assert network.lma.forwarding.routes == {domain.P1: domain.MAG1, domain.P2: domain.MAG2}
    for mag in network.mags.values():
        assert mag.forwarding.tunnels == {domain.LMA}
        assert len(mag.forwarding.hosted) == 1


def test_rfc5213_5_6_1_02_tunnels_come_and_go_with_their_nodes(domain: type[Domain]) -> None:
    anchor = domain.lma()
    opened = anchor.receive(domain.pbu(lifetime=100))
    opened += anchor.receive(domain.pbu(mn=domain.OTHER_MN, lifetime=200))
    assert domain.of(OpenTunnel, opened) == [OpenTunnel(domain.MAG1)]
    assert domain.of(CloseTunnel, anchor.timer(400.0)) == []
    assert domain.of(CloseTunnel, anchor.timer(800.0)) == [CloseTunnel(domain.MAG1)]


def test_rfc5213_5_6_1_03_tunnel_is_ipv6_in_ipv6_between_lma_and_mag(domain: type[Domain]) -> None:
    body = new_tunnel("mag1", domain.LMA, domain.MAG1).body
    assert b"ip6tnl\0" in body
    local, remote = body.index(domain.LMA.packed), body.index(domain.MAG1.packed)
    assert body[local - 2] == 2  # IFLA_IPTUN_LOCAL
    assert body[remote - 2] == 3  # IFLA_IPTUN_REMOTE


def test_rfc5213_5_6_2_01_packets_of_served_nodes_are_taken(domain: type[Domain]) -> None:
    """There is a route for each prefix of a node, from its registration until its entry goes."""
    anchor = domain.lma(MobileNodePolicy(prefixes_per_session=2))
    anchor.acknowledged(domain.pbu())
    assert set(anchor.forwarding.routes) == {domain.P1, domain.P2}
    leaving = domain.pbu(5, prefixes=(domain.P1, domain.P2), handoff=4, lifetime=0)
    blocked = domain.of(BlockPrefix, anchor.receive(leaving, 5))
    assert {action.prefix for action in blocked} == {domain.P1, domain.P2}
    anchor.timer(15.0)
    assert anchor.forwarding.routes == {}


def test_rfc5213_5_6_2_03_packets_go_through_the_nodes_tunnel(domain: type[Domain]) -> None:
    anchor = domain.lma()
    anchor.acknowledged(domain.pbu())
    anchor.acknowledged(domain.pbu(mn=domain.OTHER_MN), source=domain.MAG2)
    assert anchor.forwarding.routes == {domain.P1: domain.MAG1, domain.P2: domain.MAG2}
    assert anchor.forwarding.tunnels == {domain.MAG1, domain.MAG2}


def test_rfc5213_5_6_2_04_tunnel_packets_have_a_hop_limit_of_their_own(
    domain: type[Domain],
) -> None:
    """RFC 2473 section 6.3; and no encapsulation limit, which section 6.6 leaves to the node."""
    body = new_tunnel("mag1", domain.LMA, domain.MAG1).body
    hop_limit = attribute(IFLA_IPTUN_TTL, bytes([64]))
    assert hop_limit in body


def test_rfc5213_5_6_3_01_traffic_class_is_inherited(domain: type[Domain]) -> None:
    """Without this flag Linux would write the same traffic class on all tunneled packets."""
    body = new_tunnel("mag1", domain.LMA, domain.MAG1).body
    value = body[body.index(u32(IFLA_IPTUN_FLAGS, 0)[:4]) + 4]
    assert value & INHERIT_TRAFFIC_CLASS
