"""Orders to register a mobile node again (RFC 7077 sections 4.1, 5 and 6)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nodes.wire.messages import (
    BindingError,
    UpdateNotification,
    UpdateNotificationAcknowledgement,
)
from nodes.wire.options import MobileNodeGroupIdentifier
from tests.domain import MN, at

if TYPE_CHECKING:
    from tests.domain import Domain, Network


def force(network: Network, token: int = 99) -> None:
    network.lma.core.force_registration(MN, token, at(network.seconds))
    network.take_from_lma()


def test_a_forced_registration_is_ordered_again_if_none_comes_rfc7077_5_1(
    domain: type[Domain],
) -> None:
    network = domain.network("unique")
    network.fate = lambda message: () if isinstance(message, UpdateNotification) else (0.01,)
    force(network)
    network.run(0.99)
    first = network.sent[:2]
    assert network.messages() == ["FMI lma>mag1", "FMI lma>mag2"]
    network.fate = lambda message: (0.01,)
    network.run(0.5)
    again = network.sent[:2]
    asked = ["FMI lma>mag1", "FMI lma>mag2", "PBU mag1>lma", "PBU mag2>lma"]
    assert network.messages() == [*asked, "PBA lma>mag1", "PBA lma>mag2"]
    for before, after in zip(first, again, strict=True):
        assert isinstance(before.message, UpdateNotification)
        assert replace(before.message, retransmit=True) == after.message
        assert not before.message.acknowledge
    network.run(5)
    assert network.messages() == []


def test_a_forced_registration_is_ordered_no_more_than_configured_rfc7077_5_2(
    domain: type[Domain],
) -> None:
    network = domain.network("unique")
    network.fate = lambda message: () if isinstance(message, UpdateNotification) else (0.01,)
    force(network)
    network.run(10)
    assert network.messages() == ["FMI lma>mag1", "FMI lma>mag2"] * 2
    assert network.events().count("fmi-expired") == 2


def test_all_sessions_of_a_mag_are_a_group_rfc7077_4_1(domain: type[Domain]) -> None:
    network = domain.network("unique")
    network.lma.core.force_registrations(domain.MAG2, 99, at(network.seconds))
    network.take_from_lma()
    (order,) = network.sent
    assert isinstance(order.message, UpdateNotification)
    assert order.message.options == (MobileNodeGroupIdentifier(1),)
    network.run(5)
    assert network.messages() == ["FMI lma>mag2", "PBU mag2>lma", "PBA lma>mag2"]
    assert network.replies[99].result == {"asked": [str(domain.MAG2)]}
    network.lma.core.force_registrations(domain.POOL[1], 100, at(network.seconds))
    network.take_from_lma()
    assert network.replies[100].error


def test_a_newer_forced_registration_replaces_the_older_rfc7077_4_1(domain: type[Domain]) -> None:
    network = domain.network("unique")
    network.fate = lambda message: () if isinstance(message, UpdateNotification) else (0.01,)
    force(network)
    network.run(0.5)
    force(network, 100)
    network.run(1.4)
    assert len(network.messages()) == 6, "the older isn't repeated"


def test_an_unasked_acknowledgement_counts_as_any_rfc7077_5_2(domain: type[Domain]) -> None:
    network = domain.network("unique")
    network.fate = lambda message: ()
    force(network)
    sequence = getattr(network.sent[0].message, "sequence", -1)
    network.inject(UpdateNotificationAcknowledgement(sequence, 0), domain.MAG1)
    assert network.events()[-1] == "fma-received"
    network.run(5)
    assert network.messages() == ["FMI lma>mag1", "FMI lma>mag2", "FMI lma>mag2"]


def test_a_forced_registration_asks_for_no_acknowledgement_rfc7077_5_1(
    domain: type[Domain],
) -> None:
    network = domain.network("unique")
    force(network)
    network.run(1)
    asked = ["FMI lma>mag1", "FMI lma>mag2", "PBU mag1>lma", "PBU mag2>lma"]
    assert network.messages() == [*asked, "PBA lma>mag1", "PBA lma>mag2"]
    assert network.replies[99].result == {"asked": [str(domain.MAG1), str(domain.MAG2)]}
    network.inject(BindingError(2), domain.MAG1)
    force(network, 100)
    assert network.messages() == ["FMI lma>mag2"], "never again to a MAG that doesn't know them"
    network.lma.core.force_registration("nobody@example.org", 101, domain.at(network.seconds))
    network.take_from_lma()
    assert network.replies[101].error
