from __future__ import annotations

from ipaddress import IPv6Address

from nodes.binding_update_list import BindingUpdateListEntry
from nodes.config import AccessProfile
from nodes.wire.messages import ProxyBindingUpdate

PROFILE = AccessProfile(mn_id="mn", access_technology=4, link_layer_id="02:00:00:00:01:01")
REQUEST = ProxyBindingUpdate(sequence=1, lifetime=900)


def entry() -> BindingUpdateListEntry:
    return BindingUpdateListEntry("eth0", PROFILE, IPv6Address("fe80::1"))


def test_the_timeout_doubles_up_to_its_limit_rfc6275_11_8() -> None:
    waiting = entry()
    timeouts = []
    for number in range(8):
        waiting.sent(REQUEST, 100.0, again=number > 0)
        timeouts.append(waiting.timeout)
        assert waiting.retransmit_at == 100.0 + waiting.timeout
    assert timeouts == [1, 2, 4, 8, 16, 32, 32, 32]


def test_a_new_request_starts_from_the_beginning_rfc5213_6_9_4() -> None:
    waiting = entry()
    for again in (False, True, True, False):
        waiting.sent(REQUEST, 0.0, again=again)
    assert waiting.timeout == 1


def test_the_next_deadline_is_the_earliest_rfc5213_6_1() -> None:
    waiting = entry()
    assert waiting.deadline() is None
    waiting.refresh_at, waiting.advertise_at = 80.0, 60.0
    assert waiting.deadline() == 60.0
    waiting.sent(REQUEST, 10.0, again=False)
    assert waiting.deadline() == 11.0
    waiting.settled()
    assert (waiting.deadline(), waiting.request) == (60.0, None)
