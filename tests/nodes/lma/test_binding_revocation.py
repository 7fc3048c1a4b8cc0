"""Revocation by the LMA, with the MAGs that answer it (RFC 5846 sections 6, 8.1)."""

from __future__ import annotations

import random
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.actions import Reply, Send
from nodes.wire.messages import (
    BindingError,
    BindingRevocationAcknowledgement,
    BindingRevocationIndication,
    Message,
    ProxyBindingStatus,
    RevocationStatus,
    RevocationTrigger,
)
from nodes.wire.options import MobileNodeIdentifier
from tests.domain import Domain, Network


def indications(network: Network) -> list[BindingRevocationIndication]:
    messages = [sent.message for sent in network.sent]
    return [message for message in messages if isinstance(message, BindingRevocationIndication)]


def test_one_binding_is_named_by_its_prefixes_rfc5846_5_1_8_1(domain: type[Domain]) -> None:
    network = domain.network("unique")
    token = network.revoke("wlan")
    (message,) = indications(network)
    assert message.proxy_binding
    assert not message.global_revocation
    assert message.trigger == RevocationTrigger.ADMINISTRATIVE_REASON
    assert message.option(MobileNodeIdentifier) == MobileNodeIdentifier.of(domain.MN)
    assert domain.prefixes(message) == [domain.P1]
    network.run(1)
    assert network.messages() == ["BRI lma>mag1", "BRA mag1>lma"]
    assert network.replies[token].result == {"revoked": 1}
    assert [entry.proxy_coa for entry in network.lma.core.bindings] == [domain.MAG2]
    assert not network.mags["mag1"].forwarding.hosted
    assert network.mags["mag2"].forwarding.hosted


def test_all_of_a_mobile_node_by_its_identifier_alone_rfc5846_8_1(domain: type[Domain]) -> None:
    network = domain.network("shared")
    token = network.revoke()
    assert [domain.prefixes(message) for message in indications(network)] == [[], []]
    network.run(1)
    assert network.replies[token].result == {"revoked": 2}
    assert not list(network.lma.core.bindings)
    assert not network.lma.forwarding.tunnels


def test_all_of_a_mag_without_options_rfc5846_8_1(domain: type[Domain]) -> None:
    network = domain.network("unique")
    network.revoke_mag(domain.MAG2)
    (message,) = indications(network)
    assert message.global_revocation
    assert message.trigger == RevocationTrigger.PER_PEER_POLICY
    assert message.options == ()
    network.run(1)
    assert [entry.proxy_coa for entry in network.lma.core.bindings] == [domain.MAG1]
    assert not network.mags["mag2"].forwarding.hosted


@pytest.mark.parametrize("mag", [None, Domain.MAG2])
def test_all_of_a_realm_by_an_identifier_without_user_rfc5846_8_1(
    domain: type[Domain], mag: IPv6Address | None
) -> None:
    network = domain.network("unique")
    network.lma.core.revoke_realm("example.org", mag, 9, domain.at(network.seconds))
    network.take_from_lma()
    for message in indications(network):
        assert message.global_revocation
        assert message.trigger == RevocationTrigger.REVOKING_MOBILITY_NODE_LOCAL_POLICY
        assert message.options == (MobileNodeIdentifier.of("@example.org"),)
    network.run(1)
    told = ["BRI lma>mag1", "BRI lma>mag2", "BRA mag1>lma", "BRA mag2>lma"]
    assert network.messages() == [m for m in told if mag is None or "mag2" in m]
    assert network.replies[9].result == {"revoked": 2 if mag is None else 1}
    bound = [entry.proxy_coa for entry in network.lma.core.bindings]
    assert bound == ([] if mag is None else [domain.MAG1])
    assert not network.mags["mag2"].forwarding.hosted


@pytest.mark.parametrize("realm", ["org", "xample.org", "foo.example.org"])
def test_a_realm_is_all_that_follows_the_at_sign_rfc5846_8_1(
    domain: type[Domain], realm: str
) -> None:
    network = domain.network("unique")
    network.lma.core.revoke_realm(realm, None, 9, domain.at(network.seconds))
    network.take_from_lma()
    assert network.messages() == []
    assert network.replies[9].error


def test_the_mobile_node_has_no_router_there_any_more_rfc5846_9_1(domain: type[Domain]) -> None:
    network = domain.network("unique")
    network.advertised.clear()
    network.revoke("wlan")
    network.run(700)
    final = [advertise for _, mag, advertise in network.advertised if mag == "mag1"]
    assert len(final) == 3  # RFC 4861 section 6.2.5: MAX_FINAL_RTR_ADVERTISEMENTS
    for advertise in final:
        assert (advertise.prefixes, advertise.withdrawn) == ((), (domain.P1,))
        assert advertise.advertisement.router_lifetime_s == 0
    network.detach("mag1")
    network.attach("mag1")
    network.run(1)
    assert len(list(network.lma.core.bindings)) == 2, "it may come again"


def test_again_with_back_off_and_the_same_contents_rfc5846_6_3(domain: type[Domain]) -> None:
    network = domain.network("unique")
    network.fate = lambda message: ()
    token = network.revoke("wlan")
    network.run(0.99)
    assert len(indications(network)) == 1
    network.run(0.02)
    first, second = indications(network)
    assert first == second
    network.run(1.98)
    assert token not in network.replies
    assert len(list(network.lma.core.bindings)) == 2
    network.run(0.02)
    assert network.replies[token].result == {"revoked": 1}, "cleaned up without an answer"
    assert len(indications(network)) == 2, "BRIMaxRetriesNumber is 1"
    assert "bri-expired" in network.events()


def test_the_timeout_doubles_up_to_its_maximum_rfc5846_6_3(domain: type[Domain]) -> None:
    anchor = domain.lma(bri_max_retries_number=4, init_min_delay_bris_ms=500)
    anchor.receive(domain.pbu())
    anchor.core.revoke(domain.MN, None, 1, domain.at(0))
    times = []
    while anchor.core.indications.deadline() is not None:
        times.append(anchor.core.indications.deadline())
        anchor.timer(times[-1] or 0)
    assert times == [0.5, 1.5, 3.5, 5.5, 7.5]


@pytest.mark.parametrize(
    ("status", "deleted"),
    [(0, True), (1, True), (128, True), (130, False), (132, False), (134, False)],
)
def test_what_an_answer_means_rfc5846_6_2_2(
    domain: type[Domain], status: int, deleted: bool
) -> None:
    network = domain.network("unique")
    network.fate = lambda message: ()
    token = network.revoke("wlan")
    (message,) = indications(network)
    answer = BindingRevocationAcknowledgement(status, message.sequence)
    network.inject(answer, domain.MAG2)
    network.inject(
        BindingRevocationAcknowledgement(status, (message.sequence + 1) % 65536), domain.MAG1
    )
    assert token not in network.replies, "not of that MAG, or not of that message"
    network.inject(answer, domain.MAG1)
    assert (network.replies[token].error is None) is deleted
    assert len(list(network.lma.core.bindings)) == (1 if deleted else 2)
    network.run(10)
    assert len(indications(network)) == 1


def test_a_refresh_that_crosses_is_refused_rfc5846_8_1(domain: type[Domain]) -> None:
    anchor = domain.lma()
    anchor.receive(domain.pbu())
    anchor.core.revoke(domain.MN, None, 1, domain.at(1))
    anchor.taken()
    reply = anchor.acknowledged(domain.pbu(1, prefixes=(domain.P1,), handoff=5), 1)
    assert reply.status == ProxyBindingStatus.ADMINISTRATIVELY_PROHIBITED


def test_a_handover_meanwhile_takes_the_binding_out_of_it_rfc5846_8_1(
    domain: type[Domain],
) -> None:
    anchor = domain.lma()
    anchor.receive(domain.pbu())
    anchor.core.revoke(domain.MN, None, 1, domain.at(1))
    anchor.taken()
    moved = domain.pbu(1, handoff=3)
    assert anchor.acknowledged(moved, 1, source=domain.MAG2).accepted
    anchor.timer(2)
    anchor.timer(4)
    assert [entry.proxy_coa for entry in anchor.core.bindings] == [domain.MAG2]


def test_a_mag_without_revocation_keeps_nobody_from_it_rfc5846_6_2(domain: type[Domain]) -> None:
    network = domain.network("unique")
    network.fate = lambda message: ()
    token = network.revoke("wlan")
    network.inject(BindingError(2), domain.MAG1)
    assert network.replies[token].result == {"revoked": 1}


def test_no_mag_revokes_here_rfc5846_8_2(domain: type[Domain]) -> None:
    anchor = domain.lma()
    anchor.receive(domain.pbu())
    bulk = BindingRevocationIndication(128, 5, global_revocation=True)
    (sent,) = [action.message for action in domain.of(Send, anchor.receive(bulk))]
    assert isinstance(sent, BindingRevocationAcknowledgement)
    assert sent.status == RevocationStatus.GLOBAL_REVOCATION_NOT_AUTHORIZED
    assert (sent.sequence, sent.global_revocation, sent.proxy_binding) == (5, True, True)
    assert anchor.receive(bulk, source=domain.POOL[1]) == []
    assert len(list(anchor.core.bindings)) == 1


def test_an_order_for_nothing_is_answered(domain: type[Domain]) -> None:
    network = domain.network("unique")
    network.lma.core.revoke("nobody@example.org", None, 77, domain.at(0))
    network.lma.core.revoke_mag(domain.POOL[1], 78, domain.at(0))
    replies = domain.of(Reply, network.lma.taken())
    assert all(reply.error for reply in replies)
    assert len(replies) == 2


@given(st.integers(0, 1 << 32), st.sampled_from([None, "wlan", "cell"]))
def test_whatever_the_network_does_revocation_ends_and_both_agree(
    seed: int, access: str | None
) -> None:
    chance = random.Random(seed)

    def fate(message: Message) -> list[float]:
        return [chance.choice((0.01, 0.4, 1.2)) for _ in range(chance.choice((0, 1, 1, 2)))]

    network = Domain.network("unique")
    network.fate = fate
    token = network.revoke(access)
    network.run(3.5)
    assert token in network.replies
    assert len(indications(network)) <= 4
    network.fate = lambda message: (0.01,)
    network.run(4_000)
    bound = {entry.proxy_coa for entry in network.lma.core.bindings if entry.registered}
    serving = {
        gateway.core.config.proxy_coa
        for gateway in network.mags.values()
        if gateway.forwarding.hosted
    }
    assert bound == serving
