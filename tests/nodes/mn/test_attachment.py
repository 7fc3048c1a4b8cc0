"""The mobile node's part of docs/layer-2-signalling.md."""

from __future__ import annotations

from ipaddress import IPv6Network
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.actions import Reply, SendOnLink
from nodes.config import MnConfig
from nodes.mn.mobile_node import MobileNode
from nodes.strict import InputError, convert
from nodes.wire.attachment import AttachmentAnswer, AttachmentRequest
from nodes.wire.options import (
    AccessTechnologyType,
    HandoffIndicator,
    HomeNetworkPrefix,
    MobileNodeIdentifier,
)

if TYPE_CHECKING:
    from tests.domain import Domain

P1 = IPv6Network("2001:db8:100::/64")
MAG_MAC = bytes.fromhex("00005e005213")
DOCUMENT: dict[str, Any] = {
    "events": "/dev/null",
    "logical_interface": "lif0",
    "access_interfaces": ["mn-wlan", "mn-cell"],
    "interface_id": 1,
    "mn_id": "mn1@example.org",
    "layer_2": {
        "mn-wlan": {"access_technology": 4},
        "mn-cell": {"access_technology": 8, "attach": "order"},
    },
}


def make(**changes: Any) -> MobileNode:
    return MobileNode(convert({**DOCUMENT, **changes}, MnConfig, "mn.toml"), 0xFFFF)


def requests(domain: type[Domain], node: MobileNode) -> list[AttachmentRequest]:
    found = []
    for action in domain.of(SendOnLink, node.take_actions()):
        assert action.destination == MAG_MAC
        assert isinstance(action.message, AttachmentRequest)
        found.append(action.message)
    return found


def answer(request: AttachmentRequest, status: int = 0) -> AttachmentAnswer:
    return AttachmentAnswer(request.sequence, status, (HomeNetworkPrefix.of(P1),), request.detach)


def test_the_mag_has_the_link_layer_address_of_the_domain_rfc5213_9_3(
    domain: type[Domain],
) -> None:
    node = make(mag_link_layer_address="02:00:00:00:ff:01")
    node.link_up("mn-wlan", domain.at(0))
    (sent,) = domain.of(SendOnLink, node.take_actions())
    assert sent.destination == bytes.fromhex("02000000ff01")
    with pytest.raises(InputError, match="expected 6 octets"):
        make(mag_link_layer_address="02:00")


def test_a_link_that_comes_up_is_attached_as_configured(domain: type[Domain]) -> None:
    node = make()
    node.link_up("mn-cell", domain.at(0))
    assert requests(domain, node) == []
    node.link_up("mn-wlan", domain.at(0))
    (request,) = requests(domain, node)
    assert request == AttachmentRequest(
        0xFFFF,
        (
            MobileNodeIdentifier.of("mn1@example.org"),
            HandoffIndicator(1),
            AccessTechnologyType(4),
        ),
    )
    node.attachments.answered("mn-wlan", answer(request), domain.at(0))
    assert node.attachments.status("mn-wlan") == {
        "interface": "mn-wlan",
        "link": "up",
        "attachment": "attached",
        "status": 0,
        "prefixes": [str(P1)],
    }


def test_an_order_names_handoff_and_session_and_is_answered(domain: type[Domain]) -> None:
    node = make()
    node.link_up("mn-cell", domain.at(0))
    node.attachments.attach("mn-cell", 6, (P1,), 5, domain.at(1))
    (request,) = requests(domain, node)
    assert request.option(HandoffIndicator) == HandoffIndicator(6)
    assert request.all_options(HomeNetworkPrefix) == (HomeNetworkPrefix.of(P1),)
    node.attachments.answered("mn-cell", answer(request), domain.at(0))
    (reply,) = domain.of(Reply, node.take_actions())
    assert (reply.token, reply.error) == (5, None)
    node.attachments.detach("mn-cell", 6, domain.at(2))
    (leaving,) = requests(domain, node)
    assert (leaving.sequence, leaving.detach) == (0, True)  # numbers wrap
    assert leaving.options == (MobileNodeIdentifier.of("mn1@example.org"),)
    node.attachments.answered("mn-cell", answer(leaving), domain.at(0))
    (reply,) = domain.of(Reply, node.take_actions())
    assert reply.result["attachment"] == "detached"


def test_a_refusal_is_told(domain: type[Domain]) -> None:
    node = make()
    node.link_up("mn-cell", domain.at(0))
    node.attachments.attach("mn-cell", 2, (), 5, domain.at(1))
    (request,) = requests(domain, node)
    node.attachments.answered("mn-cell", answer(request, 129), domain.at(0))
    (reply,) = domain.of(Reply, node.take_actions())
    assert reply.error == "the MAG refused: status 129"
    assert node.attachments.status("mn-cell")["attachment"] == "refused"
    assert node.attachments.deadline() is None


def test_requests_are_repeated_five_times_in_all_with_back_off(domain: type[Domain]) -> None:
    node = make()
    node.link_up("mn-cell", domain.at(0))
    node.take_actions()
    node.attachments.attach("mn-cell", None, (), 5, domain.at(0))
    first = requests(domain, node)
    times = []
    while (due := node.attachments.deadline()) is not None:
        times.append(due)
        node.attachments.handle_timer(domain.at(due - 0.001))
        assert node.take_actions() == []
        node.attachments.handle_timer(domain.at(due))
        actions = node.take_actions()
        sent = [action.message for action in domain.of(SendOnLink, actions)]
        assert sent == (first if len(times) < 5 else [])
    assert times == [1, 3, 7, 15, 31]
    (reply,) = domain.of(Reply, actions)
    assert (reply.token, reply.error) == (5, "the MAG didn't answer")
    assert node.attachments.status("mn-cell")["attachment"] == "unanswered"


def test_answers_to_nothing_that_waits_change_nothing(domain: type[Domain]) -> None:
    node = make()
    node.link_up("mn-wlan", domain.at(0))
    (request,) = requests(domain, node)
    for stray in (
        AttachmentAnswer(request.sequence + 1 & 0xFFFF, 0),
        AttachmentAnswer(request.sequence, 0, detach=True),
    ):
        node.attachments.answered("mn-wlan", stray, domain.at(0))
        assert node.attachments.status("mn-wlan")["attachment"] == "requested"
    node.attachments.answered("eth0", answer(request), domain.at(0))
    node.attachments.answered("mn-wlan", answer(request), domain.at(0))
    node.attachments.answered("mn-wlan", answer(request, 129), domain.at(0))
    assert node.attachments.status("mn-wlan")["attachment"] == "attached"


def test_newer_orders_and_links_that_go_down_end_older_ones(domain: type[Domain]) -> None:
    node = make()
    node.link_up("mn-cell", domain.at(0))
    node.attachments.attach("mn-cell", None, (), 5, domain.at(0))
    node.attachments.attach("mn-cell", 2, (), 6, domain.at(1))
    node.link_down("mn-cell", domain.at(2))
    replies = domain.of(Reply, node.take_actions())
    assert [(reply.token, reply.error) for reply in replies] == [
        (5, "a newer order replaced it"),
        (6, "the link went down"),
    ]
    assert node.attachments.deadline() is None
    assert node.attachments.status("mn-cell")["link"] == "down"


@pytest.mark.parametrize("interface", ["eth0", "mn-cell"])
def test_orders_that_can_not_be_are_refused(domain: type[Domain], interface: str) -> None:
    node = make()
    for order in (
        lambda: node.attachments.attach(interface, None, (), 1, domain.at(0)),
        lambda: node.attachments.detach(interface, 1, domain.at(0)),
    ):
        with pytest.raises(ValueError, match=f"interface is '{interface}'"):
            order()
    assert node.take_actions() == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mn_id": ""}, "mn_id is ''"),
        ({"layer_2": {"eth0": {"access_technology": 4}}}, "layer_2 has 'eth0'"),
        (
            {"layer_2": {"mn-cell": {"access_technology": 4, "handoff_indicator": 7}}},
            "handoff_indicator",
        ),
    ],
)
def test_configuration_is_checked(changes: dict[str, Any], words: str) -> None:
    with pytest.raises((InputError, msgspec.ValidationError), match=words):
        make(**changes)


@given(st.lists(st.sampled_from(["attach", "detach", "up", "down", "answer", "timer"])))
def test_every_order_is_answered_once_whatever_happens(
    domain: type[Domain], steps: list[str]
) -> None:
    node, sent, tokens, seconds = make(), [AttachmentRequest(1)], 0, 0.0
    answered: list[int] = []
    for step in [*steps, "down"]:
        seconds += 1.0
        instant = domain.at(seconds)
        try:
            match step:
                case "attach":
                    node.attachments.attach("mn-cell", None, (), tokens + 1, instant)
                    tokens += 1
                case "detach":
                    node.attachments.detach("mn-cell", tokens + 1, instant)
                    tokens += 1
                case "up":
                    node.link_up("mn-cell", instant)
                case "down":
                    node.link_down("mn-cell", instant)
                case "answer":
                    node.attachments.answered("mn-cell", answer(sent[-1]), domain.at(0))
                case _:
                    node.handle_timer(instant)
        except ValueError:
            pass
        actions = node.take_actions()
        for action in domain.of(SendOnLink, actions):
            assert isinstance(action.message, AttachmentRequest)
            sent.append(action.message)
        answered += [reply.token for reply in domain.of(Reply, actions)]
    assert answered == list(range(1, tokens + 1))


NOTICE = AttachmentAnswer(0, 0, detach=True)


def test_rule_6_a_node_that_is_told_that_it_is_not_attached_attaches_again(
    domain: type[Domain],
) -> None:
    node = make()
    node.link_up("mn-cell", domain.at(0))
    node.attachments.attach("mn-cell", 6, (P1,), 7, domain.at(0))
    (first,) = requests(domain, node)
    node.attachments.answered("mn-cell", answer(first), domain.at(0))
    node.take_actions()
    node.attachments.answered("mn-cell", NOTICE, domain.at(5))
    (again,) = requests(domain, node)
    assert again.options == first.options
    assert again.sequence != first.sequence
    assert node.attachments.status("mn-cell")["attachment"] == "requested"
    # Once is enough, and it is repeated like any other request.
    node.attachments.answered("mn-cell", NOTICE, domain.at(5))
    assert requests(domain, node) == []
    node.attachments.handle_timer(domain.at(6))
    assert requests(domain, node) == [again]
    node.attachments.answered("mn-cell", answer(again), domain.at(6))
    assert node.attachments.status("mn-cell")["attachment"] == "attached"


def test_rule_6_a_node_that_is_not_attached_does_not_care(domain: type[Domain]) -> None:
    node = make()
    node.link_up("mn-cell", domain.at(0))
    node.attachments.answered("mn-cell", NOTICE, domain.at(0))
    node.attachments.attach("mn-cell", None, (), 7, domain.at(0))
    (sent,) = requests(domain, node)
    node.attachments.answered("mn-cell", answer(sent, status=129), domain.at(0))
    node.attachments.answered("mn-cell", NOTICE, domain.at(0))
    assert requests(domain, node) == []
    assert node.attachments.status("mn-cell")["attachment"] == "refused"
