"""What the tests of MAGs look for in the actions of one."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv6Network
from typing import TYPE_CHECKING

from nodes.actions import Action, Advertise, Send
from nodes.wire.messages import ProxyBindingUpdate
from nodes.wire.options import HandoffIndicator

if TYPE_CHECKING:
    from tests.domain import Gateway


def requests(actions: Sequence[Action]) -> list[ProxyBindingUpdate]:
    sent = [action.message for action in actions if isinstance(action, Send)]
    return [message for message in sent if isinstance(message, ProxyBindingUpdate)]


def advertisements(actions: Sequence[Action]) -> list[Advertise]:
    return [action for action in actions if isinstance(action, Advertise)]


def handoff(request: ProxyBindingUpdate) -> int:
    option = request.option(HandoffIndicator)
    assert option is not None
    return int(option.hint)


def hosted(gateway: Gateway) -> list[IPv6Network]:
    return sorted(prefix for _, prefix in gateway.forwarding.hosted)


def all_requests(gateway: Gateway) -> list[ProxyBindingUpdate]:
    """The first, a retransmission, a renewal and a deregistration, all answered but the first."""
    from tests.domain import Domain

    found = requests(gateway.link_up(0))
    found += requests(gateway.timer(1))
    gateway.receive(Domain.acceptance(gateway.request()), 1.1)
    due = gateway.core.bindings[gateway.interface].refresh_at
    assert due is not None
    found += requests(gateway.timer(due))
    gateway.receive(Domain.acceptance(gateway.request()), due + 0.1)
    found += requests(gateway.link_down(due + 5))
    gateway.receive(Domain.acceptance(gateway.request()), due + 5.1)
    assert len(found) == 4
    return found
