"""Flow mobility with a MAG that knows no Update Notifications: what an FMI would have told it, the
PBA of its next registration does (RFC 7077 section 5.2, RFC 7864 section 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nodes.config import MobileNodePolicy
from nodes.wire.messages import BindingError, ProxyBindingAcknowledgement, UpdateNotification

if TYPE_CHECKING:
    from tests.domain import Domain, Network

FMI = UpdateNotification
REGISTERED_AGAIN = ["PBU mag1>lma", "PBA lma>mag1"]
LIFETIME_S = 3_600.0


def with_plain_mag(domain: type[Domain], **policy: object) -> Network:
    """mag1 is one of RFC 5213 alone. A flow to the prefix of the cellular access is there."""
    network = domain.unattached(MobileNodePolicy(**policy))  # type: ignore[arg-type]
    network.mags["mag1"] = domain.mag("mag1", update_notifications=False)
    for mag in ("mag1", "mag2"):
        network.attach(mag)
        network.run(0.1)
    network.add_flow(1, "cell", domain.P2)
    network.messages()
    return network


def register_again(network: Network) -> None:
    """As if the lifetime of the WLAN binding were nearly over."""
    gateway = network.mags["mag1"]
    gateway.core.bindings[gateway.interface].refresh_at = network.seconds
    network.run(0.1)


@pytest.mark.parametrize("switch", ["on-ack", "on-send"])
def test_a_move_is_complete_with_the_next_registration_rfc7864_3_3(
    domain: type[Domain], switch: str
) -> None:
    network = with_plain_mag(domain, switch=switch)
    token = network.move(1, "wlan")
    network.run(30)
    assert network.messages() == ["FMI lma>mag1", "BE mag1>lma"]
    assert (token in network.replies, network.path(1)) == (False, domain.MAG2)
    assert network.row(1).bids == (network.bid("cell"),)
    network.run(LIFETIME_S)
    messages = [m for m in network.messages() if "mag1" in m and not m.startswith("HB")]
    assert messages[:2] == REGISTERED_AGAIN
    assert network.off_link("mag1") == {domain.P2}
    assert network.replies[token].result == {"fid": 1, "move": 1}
    assert network.path(1) == domain.MAG1


def test_the_acknowledgement_has_the_prefix_with_the_l_bit_rfc7864_3_3(
    domain: type[Domain],
) -> None:
    network = with_plain_mag(domain)
    network.move(1, "wlan")
    network.run(1)
    network.messages()
    register_again(network)
    answer = network.sent[-1].message
    assert isinstance(answer, ProxyBindingAcknowledgement)
    assert domain.prefixes(answer) == [domain.P1]
    assert domain.prefixes(answer, off_link=True) == [domain.P2]


def test_later_moves_are_not_signalled_and_wait_as_well_rfc7077_5_2(domain: type[Domain]) -> None:
    network = with_plain_mag(domain)
    network.move(1, "wlan")
    network.run(1)
    network.add_flow(2, "cell", domain.P2)
    network.messages()
    token = network.move(2, "wlan")
    network.run(30)
    assert (network.messages(), token in network.replies) == ([], False)
    register_again(network)
    assert network.messages() == REGISTERED_AGAIN
    assert network.replies[token].error is None
    assert network.path(1) == network.path(2) == domain.MAG1


def test_a_flow_that_is_added_takes_the_default_path_meanwhile_rfc7864_5_2(
    domain: type[Domain],
) -> None:
    network = with_plain_mag(domain)
    token = network.add_flow(2, "wlan", domain.P2)
    network.run(1)
    assert (token in network.replies, network.path(2)) == (False, None)
    register_again(network)
    assert network.replies[token].result == {"fid": 2}
    assert network.path(2) == domain.MAG1


def test_an_order_to_several_mags_waits_for_the_slowest_rfc7864_5_2(domain: type[Domain]) -> None:
    network = with_plain_mag(domain)
    network.add_flow(3, "wlan", domain.P1)
    token = network.move((1, 3), ("wlan", "cell"))
    network.run(1)
    assert "FMA mag2>lma" in network.messages()
    assert token not in network.replies
    assert (network.paths(1), network.paths(3)) == ((domain.MAG2,), (domain.MAG1,))
    register_again(network)
    assert network.replies[token].error is None
    assert set(network.paths(1)) == set(network.paths(3)) == {domain.MAG1, domain.MAG2}


@pytest.mark.parametrize("how", ["superseded", "removed", "detached"])
def test_an_order_that_waits_is_answered_whatever_comes_rfc7864_5_2(
    domain: type[Domain], how: str
) -> None:
    network = with_plain_mag(domain)
    token = network.move(1, "wlan")
    network.run(1)
    match how:
        case "superseded":
            network.move(1, "cell")
        case "removed":
            network.remove_flow(1)
        case "detached":
            network.detach("mag1")
            network.run(0.1)
    assert network.replies[token].error is not None
    assert network.path(1) == (None if how == "removed" else domain.MAG2)
    if how != "detached":
        register_again(network)
        assert network.off_link("mag1") == set(), "nothing is conveyed that is needed no more"


def test_what_no_flow_needs_any_more_goes_with_a_registration_rfc7864_3_3(
    domain: type[Domain],
) -> None:
    network = with_plain_mag(domain, withdrawal_delay_ms=100)
    network.move(1, "wlan")
    network.run(1)
    register_again(network)
    assert network.off_link("mag1") == {domain.P2}
    network.move(1, "cell")
    network.run(1)
    assert [m for m in network.messages() if m.startswith("FMI")] == ["FMI lma>mag1"], "the first"
    assert network.off_link("mag1") == {domain.P2}
    register_again(network)
    assert network.off_link("mag1") == set()
    register_again(network)
    assert network.off_link("mag1") == set()


def test_the_lma_knows_what_the_mag_has_kept_rfc7077_5_2(domain: type[Domain]) -> None:
    """The FMI that was to withdraw a prefix is refused; a move back needs nothing then."""
    network = with_plain_mag(domain, withdrawal_delay_ms=100)
    network.mags["mag1"] = domain.mag("mag1")  # as long as it still knows FMIs
    network.attach("mag1")
    network.run(1)
    network.move(1, "wlan")
    network.run(1)
    assert network.off_link("mag1") == {domain.P2}
    network.fate = lambda message: () if isinstance(message, FMI) else (0.01,)
    network.move(1, "cell")
    network.run(0.2)
    assert str(network.sent[-1]) == "FMI lma>mag1", "the withdrawal"
    network.inject(BindingError(2), domain.MAG1)
    token = network.move(1, "wlan")
    assert network.replies[token].error is None
    assert network.path(1) == domain.MAG1


def test_a_prefix_that_the_mag_does_not_give_back_keeps_its_route_rfc7864_3_3(
    domain: type[Domain],
) -> None:
    """mag1 has it by its PBA, and the LMA finds out that it can't take it back when the session of
    the prefix has ended: packets go where it is routed on."""
    rules = MobileNodePolicy(prefix_delivery="at-attach", withdrawal_delay_ms=0)
    network = domain.unattached(rules)
    network.mags["mag1"] = domain.mag("mag1", update_notifications=False)
    for mag in ("mag2", "mag1"):
        network.attach(mag)
        network.run(0.1)
    assert network.off_link("mag1") == {domain.P1}
    network.detach("mag2")
    network.run(11)
    assert network.messages()[-2:] == ["FMI lma>mag1", "BE mag1>lma"]
    assert network.off_link("mag1") == {domain.P1}
    assert network.lma.forwarding.routes == {domain.P1: domain.MAG1, domain.P2: domain.MAG1}
    register_again(network)
    assert network.off_link("mag1") == set()
    assert network.lma.forwarding.routes == {domain.P2: domain.MAG1}


def test_refused_if_the_policy_says_so_rfc7077_5_2(domain: type[Domain]) -> None:
    network = with_plain_mag(domain, fallback="refuse")
    token = network.move(1, "wlan")
    network.run(1)
    assert "doesn't support" in (network.replies[token].error or "")
    register_again(network)
    assert network.off_link("mag1") == set()
