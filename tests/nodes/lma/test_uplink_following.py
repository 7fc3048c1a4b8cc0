"""RFC 7864 section 3.1: the mobile node decides, and the LMA follows."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import pytest

from nodes.actions import IgnoreUplink, WatchUplink
from nodes.config import MobileNodePolicy
from nodes.lma.uplink_following import MOST_OWN_ROWS, OWN_ROWS
from nodes.wire.traffic_selector import PacketFields

if TYPE_CHECKING:
    from tests.domain import Domain, Network

CN = IPv6Address("2001:db8:1::2")


def packet(domain: type[Domain], port: int = 5001) -> PacketFields:
    return PacketFields(domain.P1[1], CN, 17, port, port)


def deciding(domain: type[Domain], model: str = "shared", **changes: str) -> Network:
    return domain.network(model, decision_maker="mn", **changes)


def test_one_of_them_decides_never_both_rfc7864_3_1(domain: type[Domain]) -> None:
    with pytest.raises(ValueError, match=r"decision_maker"):
        MobileNodePolicy(decision_maker="mn", policies=({"kind": "load-balance"},))
    network = deciding(domain)
    network.add_flow(1, "wlan", domain.P1)
    token = network.move(1, "cell")
    assert "decides for itself" in str(network.replies[token].error)
    assert network.path(1) == domain.MAG1


def test_prefixes_of_deciding_nodes_are_watched(domain: type[Domain]) -> None:
    anchor = domain.lma(MobileNodePolicy(decision_maker="mn"))
    assert domain.of(WatchUplink, anchor.receive(domain.pbu())) == [WatchUplink(domain.P1)]
    assert domain.of(WatchUplink, anchor.receive(domain.pbu(1), 1)) == []
    anchor.receive(domain.pbu(2, lifetime=0, handoff=4), 2)
    assert domain.of(IgnoreUplink, anchor.timer(12)) == [IgnoreUplink(domain.P1)]
    other = domain.lma()
    assert domain.of(WatchUplink, other.receive(domain.pbu())) == []


def test_a_row_follows_the_uplink(domain: type[Domain]) -> None:
    network = deciding(domain)
    network.add_flow(1, "wlan", domain.P1)
    network.uplink(packet(domain), domain.MAG1)
    assert network.path(1) == domain.MAG1
    network.uplink(packet(domain), domain.MAG2)
    assert network.path(1) == domain.MAG2
    network.uplink(packet(domain), domain.MAG1)
    assert network.path(1) == domain.MAG1
    assert network.events().count("followed") == 2


def test_with_unique_prefixes_the_target_mag_is_signalled(domain: type[Domain]) -> None:
    network = deciding(domain, "unique", prefix_delivery="on-move")
    network.add_flow(1, "wlan", domain.P1)
    network.messages()
    network.uplink(packet(domain), domain.MAG2)
    network.run(1.0)
    assert network.messages() == ["FMI lma>mag2", "FMA mag2>lma"]
    assert network.path(1) == domain.MAG2


def test_a_flow_without_a_row_gets_one_off_the_default_path(domain: type[Domain]) -> None:
    network = deciding(domain)
    network.uplink(packet(domain), domain.MAG1)
    assert network.lma.core.flows.cache.rows(domain.MN) == ()
    network.uplink(packet(domain), domain.MAG2)
    (row,) = network.lma.core.flows.cache.rows(domain.MN)
    assert row.fid == row.priority == OWN_ROWS[0]
    assert row.selector.matches(packet(domain).reversed())
    assert not row.selector.matches(packet(domain, 5002).reversed())
    assert network.path(row.fid) == domain.MAG2
    network.uplink(packet(domain), domain.MAG1)
    assert network.path(row.fid) == domain.MAG1


def test_mobility_signalling_is_no_flow_rfc6089_4_3(domain: type[Domain]) -> None:
    network = deciding(domain)
    network.add_flow(1, "wlan", None)
    signalling = PacketFields(domain.P1[1], CN, 135)
    network.uplink(signalling, domain.MAG2)
    assert network.path(1) == domain.MAG1
    network.remove_flow(1)
    network.uplink(signalling, domain.MAG2)
    assert network.lma.core.flows.cache.rows(domain.MN) == ()


def test_own_rows_are_bounded(domain: type[Domain]) -> None:
    network = deciding(domain)
    for port in range(MOST_OWN_ROWS + 2):
        network.uplink(packet(domain, 2000 + port), domain.MAG2)
    rows = network.lma.core.flows.cache.rows(domain.MN)
    assert len(rows) == MOST_OWN_ROWS
    assert not any(row.selector.matches(packet(domain, 2001).reversed()) for row in rows)


def test_others_and_strangers_move_nothing(domain: type[Domain]) -> None:
    network = domain.network("shared")
    network.add_flow(1, "wlan", domain.P1)
    network.uplink(packet(domain), domain.MAG2)
    assert network.path(1) == domain.MAG1
    network = deciding(domain)
    network.add_flow(1, "wlan", domain.P1)
    network.uplink(replace(packet(domain), source=domain.P3[1]), domain.MAG2)
    network.uplink(packet(domain), CN)
    assert network.path(1) == domain.MAG1
