from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from nodes.config import AccessProfile
from nodes.mag.binding_update_list import BindingUpdateListEntry
from nodes.wire.messages import ProxyBindingUpdate

PROFILE = AccessProfile(mn_id="mn", access_technology=4, link_layer_id="02:00:00:00:01:01")
REQUEST = ProxyBindingUpdate(sequence=1, lifetime=900)


def entry() -> BindingUpdateListEntry:
    return BindingUpdateListEntry("eth0", PROFILE, IPv6Address("2001:db8::1"))


def test_an_unknown_link_layer_identifier_is_two_octets_of_zero_rfc5213_6_1() -> None:
    assert entry().link_layer_id == b"\0\0"


def test_a_request_waits_for_its_answer_rfc5213_6_9_4() -> None:
    waiting = entry()
    waiting.request_at = 9.0
    waiting.sent(REQUEST, 10.0, 2.0)
    assert (waiting.request, waiting.retransmit_at, waiting.request_at) == (REQUEST, 12.0, None)
    waiting.settled()
    assert (waiting.request, waiting.deadline()) == (None, None)


def test_a_binding_is_renewed_before_it_ends_rfc5213_6_9_1_3() -> None:
    bound = entry()
    bound.granted(100, 1000.0)
    assert bound.refresh_at == pytest.approx(1080)
    assert bound.expires_at == 1100
    bound.ended()
    assert bound.deadline() is None


def test_the_next_deadline_is_the_earliest_rfc5213_6_1() -> None:
    waiting = entry()
    assert waiting.deadline() is None
    waiting.granted(100, 0.0)
    assert waiting.deadline() == 80
    waiting.sent(REQUEST, 10.0, 1.0)
    assert waiting.deadline() == 11
    waiting.settled()
    waiting.request_at = 5.0
    assert waiting.deadline() == 5
