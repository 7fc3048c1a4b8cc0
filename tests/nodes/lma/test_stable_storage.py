"""An LMA that starts again with its sessions on disk goes on with what it was about: bindings,
flows and orders that were under way. That nothing is missing on disk is an invariant of
tests/nodes/test_invariants.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nodes.actions import Persist
from nodes.config import MobileNodePolicy
from nodes.lma.session_records import BindingRecord, Numbers
from nodes.lma.stable_storage import Kept
from nodes.wire.messages import (
    BindingRevocationIndication,
    Heartbeat,
    ProxyBindingUpdate,
    UpdateNotification,
)
from tests.domain import Domain, Network


@pytest.fixture
def network(domain: type[Domain]) -> Network:
    """A node that is attached twice, with one flow to the cell's prefix."""
    made = Network(MobileNodePolicy(), sessions=Path("sessions"))
    for mag in ("mag1", "mag2"):
        made.attach(mag)
        made.run(0.1)
    made.add_flow(1, "cell", domain.P2)
    made.run(1)
    return made


def again(network: Network, down_s: float = 1.0, **changes: Any) -> None:
    """The LMA is killed, and starts after a while."""
    network.crash("lma")
    network.run(down_s)
    network.messages()
    network.start("lma", **changes)


def bindings(network: Network) -> list[str]:
    return sorted(repr(entry) for entry in network.lma.core.bindings)


def test_nothing_is_said_and_nothing_is_forgotten_rfc5847_3_2(
    network: Network, domain: type[Domain]
) -> None:
    """The Restart Counter MUST NOT be incremented if the recovery happens without losing state."""
    network.move(1, "wlan")
    network.run(20)
    before, forwarding = bindings(network), network.lma.forwarding
    again(network)
    network.run(5)
    assert network.messages() == []
    assert bindings(network) == before
    assert network.path(1) == domain.MAG1
    assert network.lma.forwarding.routes == forwarding.routes
    assert network.lma.forwarding.targets == forwarding.targets
    assert network.lma.core.heartbeats.restart_counters == {}


def test_an_order_that_a_mag_has_not_answered_goes_on_rfc7864_3_2_2(
    network: Network, domain: type[Domain]
) -> None:
    network.fate = lambda message: () if isinstance(message, UpdateNotification) else (0.01,)
    network.move(1, "wlan")
    network.run(0.005)
    (first,) = [s.message for s in network.sent if isinstance(s.message, UpdateNotification)]
    network.fate = lambda message: (0.01,)
    again(network)
    (asked,) = [s.message for s in network.sent if isinstance(s.message, UpdateNotification)]
    assert asked.options == first.options
    assert asked.sequence == (first.sequence + 1) % 0x10000, "numbers go on"
    assert network.path(1) is None or network.path(1) == domain.MAG2, "not before the FMA"
    network.run(1)
    assert network.path(1) == domain.MAG1
    assert network.off_link("mag1") == {domain.P2}
    assert network.row(1).bids == (network.bid("wlan"),)


def test_an_order_that_fails_after_the_restart_goes_back(
    network: Network, domain: type[Domain]
) -> None:
    network.fate = lambda message: () if isinstance(message, UpdateNotification) else (0.01,)
    network.move(1, "wlan")
    network.run(0.005)
    again(network, 0.1)
    network.run(10)
    assert "fmi-expired" in network.events()
    assert network.path(1) == domain.MAG2
    assert network.row(1).bids == (network.bid("cell"),)


def test_a_flow_whose_addition_was_under_way_is_there(
    network: Network, domain: type[Domain]
) -> None:
    network.fate = lambda message: () if isinstance(message, UpdateNotification) else (0.01,)
    network.add_flow(2, "wlan", domain.P2)
    network.run(0.005)
    network.fate = lambda message: (0.01,)
    again(network)
    network.run(1)
    assert network.path(2) == domain.MAG1


def test_a_revocation_goes_on_rfc5846_8_1(network: Network, domain: type[Domain]) -> None:
    network.fate = lambda message: (
        () if isinstance(message, BindingRevocationIndication) else (0.01,)
    )
    network.revoke("cell")
    network.run(0.005)
    network.fate = lambda message: (0.01,)
    again(network, 0.1)
    assert network.messages() == ["BRI lma>mag2"]
    network.run(1)
    assert [entry.proxy_coa for entry in network.lma.core.bindings] == [domain.MAG1]


def test_what_expired_meanwhile_ends_rfc5213_5_3_6(network: Network, domain: type[Domain]) -> None:
    network.fate = lambda message: ()
    again(network, 4000)
    network.fate = lambda message: (0.01,)
    assert len(list(network.lma.core.bindings)) == 2
    network.lma.core.handle_timer(network.now())
    assert list(network.lma.core.bindings) == []
    network.take_from_lma()
    assert not network.row(1).active
    network.run(60)
    assert len(list(network.lma.core.bindings)) == 2, "MAGs that still have the node ask again"


def test_a_node_that_left_meanwhile_is_bound_until_its_lifetime_ends_rfc5213_6_9_1_4(
    network: Network, domain: type[Domain]
) -> None:
    """A deregistration is sent once; this one is lost as any other may be."""
    network.crash("lma")
    network.detach("mag1")
    network.run(3)
    network.start("lma")
    network.run(3000)
    assert len(list(network.lma.core.bindings)) == 2
    network.run(600)
    assert [entry.proxy_coa for entry in network.lma.core.bindings] == [domain.MAG2]


def test_a_mag_that_restarted_meanwhile_is_noticed_by_its_counter_rfc5847_3_2(
    network: Network, domain: type[Domain]
) -> None:
    """Also if nothing of its announcement or its registrations came through."""
    network.run(61)
    network.crash("lma")
    network.run(1)
    network.crash("mag1")
    network.detach("mag1")
    network.start("mag1")
    network.run(1)
    network.start("lma")
    network.run(61)
    assert "peer-restarted" in network.events()
    network.run(11)
    assert [entry.proxy_coa for entry in network.lma.core.bindings] == [domain.MAG2]


def test_old_requests_stay_old_rfc5213_5_5(network: Network, domain: type[Domain]) -> None:
    sent = [s for s in network.sent if isinstance(s.message, ProxyBindingUpdate)]
    assert len(sent) == 2
    before = bindings(network)
    again(network)
    for old in sent:
        network.inject(old.message, {"mag1": domain.MAG1, "mag2": domain.MAG2}[old.source])
    assert bindings(network) == before
    assert network.events().count("rejected") == len(sent)


def test_what_the_configuration_knows_no_more_is_dropped(
    network: Network, domain: type[Domain]
) -> None:
    again(network, authorized_mags=(domain.MAG2,))
    assert [entry.proxy_coa for entry in network.lma.core.bindings] == [domain.MAG2]
    assert "binding-dropped" in network.events()
    assert network.lma.forwarding.tunnels == {domain.MAG2}
    again(network, mobile_nodes={})
    assert list(network.lma.core.bindings) == []
    assert network.lma.core.flows.cache.all_rows() == []


def test_bids_and_keys_are_not_given_twice_rfc7864_5_1(
    network: Network, domain: type[Domain]
) -> None:
    key = network.lma.core.flows.key(domain.MN, 1)
    bids = {entry.bid for entry in network.lma.core.bindings}
    again(network)
    network.add_flow(2, "wlan", domain.P1)
    assert network.lma.core.flows.key(domain.MN, 1) == key
    assert network.lma.core.flows.key(domain.MN, 2) > key
    network.inject(domain.pbu(network.seconds, mn=domain.OTHER_MN), domain.MAG1)
    assert {entry.bid for entry in network.lma.core.bindings} - bids
    assert len(list(network.lma.core.bindings)) == 3


def test_without_a_file_nothing_is_written(domain: type[Domain]) -> None:
    network = domain.network("unique")
    assert network.disk == []
    assert not network.lma.core.bindings.touched


def test_records_that_are_not_whole_are_refused() -> None:
    with pytest.raises(ValueError, match="expected a record"):
        Kept.of([])
    assert Kept.of([Numbers(1, 2, 3, 4, 5, 6, 7)]).bindings == []


def test_the_heartbeat_is_answered_with_the_same_counter_rfc5847_3_2(
    network: Network, domain: type[Domain]
) -> None:
    again(network)
    network.run(61)
    assert any(isinstance(s.message, Heartbeat) for s in network.sent)
    assert "peer-restarted" not in network.events("mag1")


def test_what_a_mag_was_to_give_up_is_asked_of_it_again_rfc7864_4_2(
    network: Network, domain: type[Domain]
) -> None:
    """Nobody ordered it: the LMA alone knows that the MAG may still have the prefix."""
    network.move(1, "wlan")
    network.run(1)
    network.move(1, "cell")
    network.fate = lambda message: () if isinstance(message, UpdateNotification) else (0.01,)
    network.run(10.1)
    assert network.off_link("mag1") == {domain.P2}
    network.fate = lambda message: (0.01,)
    again(network, 0.1)
    network.run(1)
    assert network.off_link("mag1") == set()


def test_it_is_written_before_anything_that_follows_from_it_is_done(
    domain: type[Domain],
) -> None:
    anchor = domain.lma(sessions=Path("sessions"))
    first, *others = anchor.receive(domain.pbu())
    assert isinstance(first, Persist)
    assert others
    assert not domain.of(Persist, others)
    assert domain.of(BindingRecord, first.records)
    assert anchor.taken() == []
