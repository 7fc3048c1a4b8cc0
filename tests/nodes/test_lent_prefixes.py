"""Prefixes of one MAG's session that another MAG has for flows, when that session ends (RFC 7864
section 3.2.2, figure 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nodes.wire.messages import Message, UpdateNotification

if TYPE_CHECKING:
    from tests.domain import Domain, Network


def lent(domain: type[Domain], **policy: object) -> Network:
    """P1 is of the session at MAG 1, and its flow 1 is at MAG 2."""
    network = domain.network("unique", **policy)
    network.add_flow(1, "cell", domain.P1)
    network.run(0.1)
    assert network.off_link("mag2") == {domain.P1}
    return network


def hold_fmis(network: Network) -> None:
    network.fate = lambda message: () if isinstance(message, UpdateNotification) else (0.01,)


def fmi(network: Network) -> Message:
    """The one that was sent last."""
    return [s.message for s in network.sent if isinstance(s.message, UpdateNotification)][-1]


def expire(network: Network, domain: type[Domain]) -> None:
    """The session of P1 ends with its lifetime."""
    (wlan,) = [e for e in network.lma.core.bindings.of(domain.MN) if e.prefixes == (domain.P1,)]
    network.lma.core.registrations.end_at(wlan, network.seconds)
    network.lma.timer(network.seconds)


@pytest.mark.parametrize("granularity", ["prefix", "flow"])
def test_flows_outlive_the_session_of_their_prefix_rfc7864_figure_5(
    domain: type[Domain], granularity: str
) -> None:
    network = lent(domain, granularity=granularity)
    network.detach("mag1")
    network.run(0.1)
    routes = network.lma.forwarding.routes
    assert routes[domain.P1] is None, "RFC 5213 section 5.3.5: dropped, but for the flow"
    assert network.path(1) == domain.MAG2
    network.run(15)
    assert len(list(network.lma.core.bindings)) == 1
    assert (network.path(1), routes[domain.P1]) == (domain.MAG2, domain.MAG2)
    assert network.off_link("mag2") == {domain.P1}
    # Nobody else gets the prefix meanwhile, and with the flow it goes.
    other = domain.pbu(network.seconds, mn=domain.OTHER_MN, link_layer=b"\2\0\0\0\4\1")
    network.inject(other, domain.MAG1)
    (entry,) = network.lma.core.bindings.of(domain.OTHER_MN)
    assert entry.prefixes == (domain.P3,)
    network.remove_flow(1)
    network.run(15)
    assert domain.P1 not in routes
    assert network.off_link("mag2") == set()


@pytest.mark.parametrize("by", ["revocation", "lifetime"])
def test_however_the_session_ends_rfc7864_figure_5(domain: type[Domain], by: str) -> None:
    network = lent(domain)
    if by == "revocation":
        network.revoke("wlan")
    else:
        expire(network, domain)
    network.run(0.1)
    assert [entry.prefixes for entry in network.lma.core.bindings] == [(domain.P2,)]
    assert network.path(1) == domain.MAG2
    assert network.lma.forwarding.routes[domain.P1] == domain.MAG2
    # The MAG goes on not to advertise it: nothing is signalled, and it stays off-link.
    assert network.off_link("mag2") == {domain.P1}
    assert not [sent for sent in network.sent if isinstance(sent.message, UpdateNotification)][1:]


def test_without_a_flow_that_needs_it_the_prefix_goes_with_its_session_rfc7864_4_2(
    domain: type[Domain],
) -> None:
    network = domain.network("unique", prefix_delivery="at-attach")
    network.run(0.1)
    assert network.off_link("mag2") == {domain.P1}
    network.detach("mag1")
    network.run(25)
    assert domain.P1 not in network.lma.forwarding.routes
    assert network.off_link("mag2") == set()


def test_a_node_that_comes_back_gets_its_prefix_again_rfc5213_5_3_2(domain: type[Domain]) -> None:
    network = lent(domain)
    network.detach("mag1")
    network.run(15)
    network.attach("mag1")
    network.run(0.1)
    assert [entry.prefixes for entry in network.lma.core.bindings.of(domain.MN)] == [
        (domain.P1,),
        (domain.P2,),
    ]
    assert network.lma.forwarding.routes[domain.P1] == domain.MAG1
    assert network.path(1) == domain.MAG2


def test_both_sessions_end_and_the_prefix_is_free_rfc5213_5_3_5(domain: type[Domain]) -> None:
    network = lent(domain)
    network.detach("mag1")
    network.run(15)
    network.detach("mag2")
    network.run(0.1)
    assert network.lma.forwarding.routes == {domain.P1: None, domain.P2: None}
    network.run(15)
    assert network.lma.forwarding.routes == {}
    assert network.lma.forwarding.tunnels == set()
    other = domain.pbu(network.seconds, mn=domain.OTHER_MN, link_layer=b"\2\0\0\0\4\1")
    network.inject(other, domain.MAG1)
    (entry,) = network.lma.core.bindings.of(domain.OTHER_MN)
    assert entry.prefixes == (domain.P1,)


@pytest.mark.parametrize("switch", ["on-ack", "on-send"])
def test_a_session_that_ends_while_its_prefix_is_being_lent_rfc7864_4_3(
    domain: type[Domain], switch: str
) -> None:
    network = domain.network("unique", switch=switch)
    network.add_flow(1, "wlan", domain.P1)
    hold_fmis(network)
    token = network.move(1, "cell")
    message = fmi(network)
    expire(network, domain)
    # Not before the MAG has answered that it routes the prefix.
    assert network.lma.forwarding.routes[domain.P1] is None
    network.fate = lambda message: (0.01,)
    network.deliver("mag2", message, domain.LMA)
    network.run(0.1)
    assert network.replies[token].error is None
    assert network.path(1) == domain.MAG2
    assert network.lma.forwarding.routes[domain.P1] == domain.MAG2


def test_a_prefix_that_is_being_lent_is_nobody_elses_rfc5213_5_2(domain: type[Domain]) -> None:
    """Its session expires, and the flow goes, while the FMI is under way: the MAG may have the
    prefix until it has answered."""
    network = domain.network("unique", withdrawal_delay_ms=1_000)
    network.add_flow(1, "wlan", domain.P1)
    hold_fmis(network)
    network.move(1, "cell")
    message = fmi(network)
    network.remove_flow(1)
    expire(network, domain)
    network.fate = lambda message: (0.01,)
    network.deliver("mag2", message, domain.LMA)
    assert network.off_link("mag2") == {domain.P1}
    for expected, link_layer in ((domain.P3, b"\2\0\0\0\4\1"), (domain.P1, b"\2\0\0\0\4\2")):
        other = domain.pbu(network.seconds, mn=domain.OTHER_MN, link_layer=link_layer)
        network.inject(other, domain.MAG1)
        assert network.lma.core.bindings.of(domain.OTHER_MN)[-1].prefixes == (expected,)
        network.run(2)
        assert network.off_link("mag2") == set()


@pytest.mark.parametrize("how", ["handover", "revival"])
def test_a_flow_keeps_the_prefix_wherever_its_binding_goes_rfc7864_3_3(
    domain: type[Domain], how: str
) -> None:
    network = lent(domain)
    network.detach("mag1")
    network.run(15)
    if how == "revival":
        network.detach("mag2")
        network.run(5)
        assert network.lma.forwarding.routes == {domain.P1: None, domain.P2: None}
        network.attach("mag2")
        network.run(0.1)
        assert network.off_link("mag2") == {domain.P1}
        mag = domain.MAG2
    else:
        request = domain.pbu(
            network.seconds,
            handoff=3,
            technology=domain.CELL,
            link_layer=domain.LINK_LAYER_2,
        )
        network.sent.clear()
        network.inject(request, domain.MAG1)
        (answer,) = [sent.message for sent in network.sent]
        assert domain.prefixes(answer) == [domain.P2]
        assert domain.prefixes(answer, off_link=True) == [domain.P1]
        mag = domain.MAG1
    assert network.path(1) == mag
    assert network.lma.forwarding.routes == {domain.P1: mag, domain.P2: mag}
