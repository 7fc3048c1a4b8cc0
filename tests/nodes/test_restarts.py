"""A restarted or failed LMA or MAG is noticed, and state is built again (RFC 5847 section 3.2)."""

from __future__ import annotations

from ipaddress import IPv6Network

import pytest

from nodes.actions import Advertise
from nodes.heartbeat import OVERTAKING_S
from nodes.wire.messages import Heartbeat, ProxyBindingAcknowledgement, ProxyBindingStatus
from nodes.wire.options import HandoffIndicator
from tests.domain import Domain, Network


def prefixes_at(network: Network, mag: str) -> set[IPv6Network]:
    return {prefix for _, prefix in network.mags[mag].forwarding.hosted}


@pytest.mark.parametrize("model", ["unique", "hybrid", "shared"])
def test_a_restarted_lma_has_its_bindings_again_rfc5847_3_2(
    domain: type[Domain], model: str
) -> None:
    network = domain.network(model)
    before = {entry.prefixes for entry in network.lma.core.bindings}
    network.crash("lma")
    network.run(5)
    network.start("lma")
    network.run(0.1)
    assert {entry.prefixes for entry in network.lma.core.bindings} == before
    announced = ["HB lma>mag1", "HB lma>mag2", "PBU mag1>lma", "PBU mag2>lma"]
    assert network.messages()[:6] == [*announced, "PBA lma>mag1", "PBA lma>mag2"]
    for gateway in network.mags.values():
        (entry,) = gateway.core.bindings.values()
        assert set(entry.prefixes) == {prefix for _, prefix in gateway.forwarding.hosted}


def test_flows_of_a_restarted_lma_are_added_again_by_whoever_ordered_them(
    domain: type[Domain],
) -> None:
    network = domain.network("unique")
    network.add_flow(1, "cell", domain.P2)
    network.move(1, "wlan")
    network.run(1)
    assert network.off_link("mag1") == {domain.P2}
    network.crash("lma")
    network.start("lma")
    network.run(1)
    assert network.off_link("mag1") == set(), "the LMA's prefix set is the whole set"
    network.add_flow(1, "wlan", domain.P2)
    network.run(1)
    assert network.path(1) == domain.MAG1
    assert network.off_link("mag1") == {domain.P2}


def test_the_restart_is_noticed_without_the_announcement_rfc5847_3_2(domain: type[Domain]) -> None:
    network = domain.network("unique")
    network.run(61)
    network.crash("lma")
    network.fate = lambda message: ()
    network.start("lma")
    network.fate = lambda message: (0.01,)
    network.run(1)
    assert not list(network.lma.core.bindings)
    network.run(60)
    assert len(list(network.lma.core.bindings)) == 2
    assert "peer-restarted" in network.events("mag1")


def test_a_failed_lma_is_asked_until_it_is_back_rfc5847_3(domain: type[Domain]) -> None:
    network = domain.network("unique")
    network.crash("lma")
    network.run(301)
    assert "peer-failed" in network.events("mag1")
    network.messages()
    network.run(100)
    assert set(network.messages()) == {"PBU mag1>lma", "PBU mag2>lma"}, "and no heartbeats"
    network.start("lma")
    network.run(40)
    assert len(list(network.lma.core.bindings)) == 2
    assert prefixes_at(network, "mag1") == {domain.P1}


def test_a_restarted_mags_nodes_register_anew_and_keep_their_flows_rfc5847_3_2(
    domain: type[Domain],
) -> None:
    network = domain.network("unique")
    network.add_flow(1, "cell", domain.P2)
    network.move(1, "wlan")
    network.run(1)
    network.crash("mag1")
    network.run(3)
    network.messages()
    network.start("mag1")
    network.run(0.1)
    assert network.messages() == ["HB mag1>lma", "PBU mag1>lma", "PBA lma>mag1"]
    assert network.path(1) == domain.MAG1
    assert network.off_link("mag1") == {domain.P2}
    assert prefixes_at(network, "mag1") == {domain.P1, domain.P2}
    network.run(100)
    assert len([entry for entry in network.lma.core.bindings if entry.registered]) == 2


def test_bindings_of_a_restarted_mag_end_if_the_node_is_gone_rfc5847_3(
    domain: type[Domain],
) -> None:
    network = domain.network("unique")
    network.run(OVERTAKING_S + 0.1)
    network.crash("mag1")
    network.detach("mag1")
    network.start("mag1")
    network.run(9.9)
    assert len(list(network.lma.core.bindings)) == 2
    network.run(0.2)
    assert [entry.proxy_coa for entry in network.lma.core.bindings] == [domain.MAG2]


def test_bindings_of_a_failed_mag_are_invalid_rfc5847_3(domain: type[Domain]) -> None:
    network = domain.network("shared")
    network.crash("mag1")
    network.run(301)
    assert "peer-failed" in network.events()
    assert [e.registered for e in network.lma.core.bindings.of(domain.MN)] == [False, True]
    assert network.lma.forwarding.routes[domain.P1] == domain.MAG2, "the other access takes over"
    network.run(10)
    assert [entry.proxy_coa for entry in network.lma.core.bindings] == [domain.MAG2]


def test_a_mag_that_was_only_unreachable_revives_its_bindings_rfc5847_3(
    domain: type[Domain],
) -> None:
    network = domain.network("unique")
    network.run(1)
    lost = {domain.MAG1}
    network.fate = lambda message: () if lost else (0.01,)
    network.run(301)
    assert not any(entry.registered for entry in network.lma.core.bindings)
    lost.clear()
    network.run(33)
    assert [entry.registered for entry in network.lma.core.bindings] == [True, True]
    assert prefixes_at(network, "mag1") == {domain.P1}


def test_the_same_prefixes_and_handoff_indicator_are_asked_for_rfc5213_5_4_1_1(
    domain: type[Domain],
) -> None:
    gateway = domain.mag(handoff=6).registered((domain.P1, domain.P3))
    gateway.receive(Heartbeat(0, True, True, options=domain.restart_counter(2)), 5)
    request = gateway.request()
    assert domain.prefixes(request) == [domain.P1, domain.P3]
    assert request.option(HandoffIndicator) == HandoffIndicator(6)
    assert gateway.forwarding.hosted, "service goes on meanwhile"


def test_a_prefix_that_another_has_by_now_is_given_up_rfc5213_6_9_1_2_step_10(
    domain: type[Domain],
) -> None:
    gateway = domain.mag().registered((domain.P1,))
    gateway.receive(Heartbeat(0, True, True, options=domain.restart_counter(2)), 5)
    refused = ProxyBindingStatus.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX
    gateway.receive(domain.acceptance(gateway.request(), status=refused), 6)
    assert not gateway.forwarding.hosted
    assert domain.prefixes(gateway.request()) == [IPv6Network("::/0")]
    actions = gateway.receive(domain.acceptance(gateway.request(), (domain.P2,)), 7)
    assert [action.prefixes for action in domain.of(Advertise, actions)] == [(domain.P2,)]
    gateway.receive(domain.acceptance(domain.pbu(), status=refused), 8)


def test_nobody_else_can_announce_a_restart(domain: type[Domain]) -> None:
    restart = Heartbeat(0, True, True, options=domain.restart_counter(2))
    anchor = domain.lma()
    anchor.receive(domain.pbu())
    (entry,) = anchor.core.bindings
    anchor.receive(restart, 1, source=domain.POOL[9])
    assert entry.expires > 1000
    gateway = domain.mag().registered()
    gateway.receive(restart, 1, source=domain.POOL[9])
    assert gateway.core.bindings[gateway.interface].request is None


def test_registrations_answered_by_a_dead_lma_are_not_lost(domain: type[Domain]) -> None:
    """The LMA dies with the PBA on its way: its bindings come back all the same."""
    network = domain.network("unique")
    network.detach("mag2")
    network.run(20)
    network.attach("mag2")
    network.run(0.015)
    assert any(isinstance(s.message, ProxyBindingAcknowledgement) for s in network.sent)
    network.crash("lma")
    network.run(1)
    network.start("lma")
    network.run(1)
    assert len(list(network.lma.core.bindings)) == 2


def test_a_late_notice_of_a_mags_restart_ends_nothing_that_was_confirmed_since_rfc5847_3_2(
    domain: type[Domain],
) -> None:
    network = domain.network("unique")
    network.run(65)
    network.crash("mag1")
    network.run(5)
    network.fate = lambda message: () if isinstance(message, Heartbeat) else (0.01,)
    network.start("mag1")
    network.run(1)
    network.fate = lambda message: (0.01,)
    assert "peer-restarted" not in network.events()
    network.run(100)
    assert "peer-restarted" in network.events()
    assert len([entry for entry in network.lma.core.bindings if entry.registered]) == 2
    assert prefixes_at(network, "mag1") == {domain.P1}
