"""The MAG's part of docs/layer-2-signalling.md."""

from __future__ import annotations

from ipaddress import IPv6Network
from typing import TYPE_CHECKING, Any

import pytest

from nodes.actions import Advertise, Send, SendOnLink
from nodes.config import AttachmentPolicy
from nodes.wire.attachment import AttachmentAnswer, AttachmentRequest
from nodes.wire.messages import ProxyBindingUpdate
from nodes.wire.options import (
    AccessTechnologyType,
    HandoffIndicator,
    HomeNetworkPrefix,
    MobileNodeIdentifier,
    MobileNodeLinkLayerIdentifier,
)

if TYPE_CHECKING:
    from tests.domain import Domain, Gateway

P1 = IPv6Network("2001:db8:100::/64")
MAC, OTHER_MAC = bytes.fromhex("020000000202"), bytes.fromhex("020000000303")


def gateway(domain: type[Domain], **policy: Any) -> Gateway:
    values = {"access_technologies": (8,), **policy}
    mobile_nodes = {name: AttachmentPolicy(**values) for name in (domain.MN, domain.OTHER_MN)}
    return domain.mag(
        "mag2",
        access_interfaces={},
        layer_2_interfaces=("mag2-mn",),
        mobile_nodes=mobile_nodes,
        max_update_rate=9,  # all at the same instant
    )


def request(
    sequence: int = 1,
    *,
    mn: str | None = "mn1@example.org",
    handoff: int | None = 6,
    technology: int | None = 8,
    prefixes: tuple[IPv6Network, ...] = (),
    detach: bool = False,
) -> AttachmentRequest:
    options = (
        *(() if mn is None else (MobileNodeIdentifier.of(mn),)),
        *(() if handoff is None else (HandoffIndicator(handoff),)),
        *(() if technology is None else (AccessTechnologyType(technology),)),
        *(HomeNetworkPrefix.of(prefix) for prefix in prefixes),
    )
    return AttachmentRequest(sequence, options, detach)


def receive(
    domain: type[Domain],
    mag: Gateway,
    message: AttachmentRequest,
    source: bytes = MAC,
    interface: str = "mag2-mn",
) -> tuple[list[ProxyBindingUpdate], list[AttachmentAnswer]]:
    """PBUs and answers that a request leads to at once."""
    mag.core.attachment_requested(interface, message, source, domain.at(1))
    actions = mag.taken()
    answers = []
    for action in domain.of(SendOnLink, actions):
        assert (action.interface, action.destination) == (interface, source)
        assert isinstance(action.message, AttachmentAnswer)
        answers.append(action.message)
    updates = [action.message for action in domain.of(Send, actions)]
    assert all(isinstance(update, ProxyBindingUpdate) for update in updates)
    return updates, answers  # type: ignore[return-value]


def accepted(
    domain: type[Domain], mag: Gateway, prefixes: tuple[IPv6Network, ...] = (P1,), status: int = 0
) -> list[AttachmentAnswer]:
    """The LMA answers; returned are the answers to the node."""
    actions = mag.receive(domain.acceptance(mag.request(), prefixes, status=status), 1.1)
    return [a.message for a in domain.of(SendOnLink, actions)]  # type: ignore[misc]


def test_a_carrier_alone_registers_nobody(domain: type[Domain]) -> None:
    mag = gateway(domain)
    assert mag.link_up() == []
    assert mag.core.bindings == {}


@pytest.mark.parametrize("handoff", [1, 2, 3, 4, 5, 6])
def test_the_pbu_says_what_the_node_said_rfc5213_6_9_1_5(
    domain: type[Domain], handoff: int
) -> None:
    mag = gateway(domain)
    (update,), answers = receive(domain, mag, request(handoff=handoff, prefixes=(P1,)))
    assert answers == []
    assert update.option(MobileNodeIdentifier) == MobileNodeIdentifier.of(domain.MN)
    assert update.option(HandoffIndicator) == HandoffIndicator(handoff)
    assert update.option(AccessTechnologyType) == AccessTechnologyType(8)
    assert update.option(MobileNodeLinkLayerIdentifier) == MobileNodeLinkLayerIdentifier(MAC)
    assert domain.prefixes(update) == [P1]
    (answer,) = accepted(domain, mag)
    assert (answer.sequence, answer.status, answer.detach) == (1, 0, False)
    assert answer.all_options(HomeNetworkPrefix) == (HomeNetworkPrefix.of(P1),)


def test_without_prefixes_the_lma_is_asked_for_any_rfc5213_8_3(domain: type[Domain]) -> None:
    (update,), _ = receive(domain, gateway(domain), request(handoff=1))
    assert update.all_options(HomeNetworkPrefix)[0].all_zero


def test_the_lma_s_refusal_is_passed_on(domain: type[Domain]) -> None:
    mag = gateway(domain)
    receive(domain, mag, request(prefixes=(P1,)))
    (answer,) = accepted(domain, mag, status=155)
    assert (answer.status, answer.all_options(HomeNetworkPrefix)) == (155, ())
    # What comes later is a new attempt.
    updates, _ = receive(domain, mag, request(2, handoff=1))
    assert updates[0].all_options(HomeNetworkPrefix)[0].all_zero


@pytest.mark.parametrize(
    ("changes", "policy", "status"),
    [
        ({"mn": None}, {}, 160),
        ({"handoff": None}, {}, 161),
        ({"technology": None}, {}, 162),
        ({"mn": "mn9@example.org"}, {}, 129),
        ({"technology": 4}, {}, 129),
        ({}, {"link_layer_ids": (OTHER_MAC.hex(":"),)}, 129),
        ({"handoff": 0}, {}, 128),
        ({"handoff": 7}, {}, 128),
        ({"detach": True, "mn": "mn9@example.org"}, {}, 129),
    ],
)
def test_what_is_not_authorised_or_complete_is_refused(
    domain: type[Domain], changes: dict[str, Any], policy: dict[str, Any], status: int
) -> None:
    mag = gateway(domain, **policy)
    updates, (answer,) = receive(domain, mag, request(**changes))
    assert (updates, answer.status, mag.core.bindings) == ([], status, {})


def test_duplicates_are_harmless(domain: type[Domain]) -> None:
    mag = gateway(domain)
    receive(domain, mag, request())
    assert receive(domain, mag, request()) == ([], [])
    answers = accepted(domain, mag)
    assert receive(domain, mag, request()) == ([], answers)
    receive(domain, mag, request(2, detach=True))
    # Even one that comes late: the node is not attached again.
    assert receive(domain, mag, request()) == ([], answers)
    assert str(mag.core.bindings["mag2-mn"].state) == "deregistering"


def test_a_request_with_the_number_of_another_is_none_of_its_duplicates(
    domain: type[Domain],
) -> None:
    mag = gateway(domain)
    receive(domain, mag, request())
    accepted(domain, mag)
    (update,), _ = receive(domain, mag, request(handoff=2))
    assert update.option(HandoffIndicator) == HandoffIndicator(2)
    mag.link_down(2)
    mag.link_up(3)
    (update,), _ = receive(domain, mag, request())  # a node that starts again
    assert update.lifetime > 0


def test_detaching_deregisters_rfc5213_6_9_1_4(domain: type[Domain]) -> None:
    mag = gateway(domain)
    receive(domain, mag, request())
    accepted(domain, mag)
    (update,), (answer,) = receive(domain, mag, request(2, detach=True))
    assert (update.lifetime, domain.prefixes(update)) == (0, [P1])
    assert (answer.status, answer.detach) == (0, True)
    assert mag.forwarding.hosted == set()
    # Twice is no error.
    _, (answer,) = receive(domain, mag, request(3, detach=True))
    assert answer.status == 0


def test_what_was_detached_is_advertised_no_more_rfc5213_6_12(domain: type[Domain]) -> None:
    """The link stays up, so that nothing else would end the advertisements."""
    mag = gateway(domain)
    receive(domain, mag, request(handoff=1))
    accepted(domain, mag)
    receive(domain, mag, request(2, detach=True))
    while (due := mag.core.timer()) is not None and due < 3_600:
        for advertisement in domain.of(Advertise, mag.timer(due)):
            assert advertisement.advertisement.router_lifetime_s == 0
            assert (advertisement.prefixes, advertisement.withdrawn) == ((), (P1,))


def test_a_link_that_goes_down_detaches_rfc5213_6_9_1_4(domain: type[Domain]) -> None:
    mag = gateway(domain)
    receive(domain, mag, request())
    accepted(domain, mag)
    (send,) = domain.of(Send, mag.link_down(2))
    assert send.message.lifetime == 0  # type: ignore[attr-defined]


def test_one_node_at_a_time_is_attached_to_a_link(domain: type[Domain]) -> None:
    mag = gateway(domain)
    receive(domain, mag, request())
    accepted(domain, mag)
    for stranger, source in ((domain.OTHER_MN, OTHER_MAC), (domain.MN, OTHER_MAC)):
        updates, (answer,) = receive(domain, mag, request(5, mn=stranger), source)
        assert (updates, answer.status) == ([], 130)
    receive(domain, mag, request(2, detach=True))
    (update,), _ = receive(domain, mag, request(6, mn=domain.OTHER_MN, handoff=1), OTHER_MAC)
    # The prefixes of the node before are not asked for.
    assert update.all_options(HomeNetworkPrefix)[0].all_zero
    assert update.option(MobileNodeLinkLayerIdentifier) == MobileNodeLinkLayerIdentifier(OTHER_MAC)


def test_interfaces_with_link_triggers_don_t_listen(domain: type[Domain]) -> None:
    mag = domain.mag("mag2")
    assert receive(domain, mag, request()) == ([], [])
    assert mag.core.bindings == {}


def test_an_interface_has_one_way_to_attach(domain: type[Domain]) -> None:
    with pytest.raises(ValueError, match="layer_2_interfaces has 'mag2-mn'"):
        domain.mag("mag2", layer_2_interfaces=("mag2-mn",))
    with pytest.raises(ValueError, match="timestamp"):  # what all of the domain check, too
        domain.mag(
            timestamp_based_approach_in_use=False, mobile_node_generated_timestamp_in_use=True
        )


def test_rule_6_a_mag_that_starts_tells_whoever_is_there(domain: type[Domain]) -> None:
    mag = gateway(domain)
    mag.core.began("mag2-mn")
    (sent,) = domain.of(SendOnLink, mag.core.take_actions())
    assert (sent.interface, sent.destination) == ("mag2-mn", b"\xff" * 6)
    assert isinstance(sent.message, AttachmentAnswer)
    assert sent.message.detach
    assert sent.message.accepted
    mag.core.began("elsewhere")
    assert domain.of(SendOnLink, mag.core.take_actions()) == []
