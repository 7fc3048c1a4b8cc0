from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nodes.access_operations import operate_mag, operate_mn
from nodes.actions import Reply, Send, SteerUplink
from nodes.config import MnConfig
from nodes.control_requests import (
    BindFlow,
    ListFlows,
    ListServed,
    MnRequest,
    ReportLink,
    UnbindFlow,
)
from nodes.mn.mobile_node import MobileNode
from nodes.wire.options import AccessLinkReport

if TYPE_CHECKING:
    from tests.domain import Domain

BIND = {"fid": 1, "priority": 5, "selector": {"start_source_port": 5001}, "to": "mn-wlan"}


@pytest.fixture
def node(domain: type[Domain]) -> MobileNode:
    config = MnConfig(
        events=Path("/dev/null"),
        logical_interface="lif0",
        access_interfaces=("mn-wlan", "mn-cell"),
        interface_id=1,
        uplink="own",
    )
    core = MobileNode(config)
    core.link_up("mn-wlan", domain.at(0))
    core.take_actions()
    return core


def answer(domain: type[Domain], core: MobileNode, request: MnRequest) -> Reply:
    operate_mn(core, request, 7)
    (reply,) = domain.of(Reply, core.take_actions())
    assert reply.token == 7
    return reply


def test_a_flow_is_bound_listed_and_unbound(domain: type[Domain], node: MobileNode) -> None:
    operate_mn(node, BindFlow(**BIND), 1)
    actions = node.take_actions()
    assert len(domain.of(SteerUplink, actions)) == 1
    assert domain.of(Reply, actions) == [Reply(1, {"fid": 1})]
    assert answer(domain, node, ListFlows()).result == [BIND]
    assert answer(domain, node, UnbindFlow(fid=1)).error is None
    assert answer(domain, node, ListFlows()).result == []


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"to": "eth9"}, "to is 'eth9'"),
        ({"selector": {"port": 1}}, "selector.port"),
        ({"selector": {"start_flow_label": 1}}, "start_flow_label"),
    ],
)
def test_what_can_not_be_bound_is_named_and_changes_nothing(
    domain: type[Domain], node: MobileNode, changes: dict[str, Any], name: str
) -> None:
    assert name in str(answer(domain, node, BindFlow(**{**BIND, **changes})).error)
    assert answer(domain, node, ListFlows()).result == []
    assert "fid is 3" in str(answer(domain, node, UnbindFlow(fid=3)).error)


def test_what_is_known_of_a_link_is_reported(domain: type[Domain]) -> None:
    gateway = domain.mag().registered()
    operate_mag(gateway.core, ReportLink(interface=gateway.interface, quality=40), 1)
    actions = gateway.taken()
    assert domain.of(Reply, actions) == [Reply(1, {"interface": gateway.interface})]
    (sent,) = domain.of(Send, actions)
    assert sent.message.option(AccessLinkReport) == AccessLinkReport(40)
    operate_mag(gateway.core, ReportLink(interface="eth9"), 2)
    (reply,) = domain.of(Reply, gateway.taken())
    assert "interface is 'eth9'" in str(reply.error)


def test_the_nodes_that_a_mag_serves_are_listed(domain: type[Domain]) -> None:
    gateway = domain.mag().registered((domain.P1,), (domain.P2,))
    operate_mag(gateway.core, ListServed(), 1)
    (reply,) = domain.of(Reply, gateway.taken())
    (served,) = reply.result
    assert (served["mn"], served["state"]) == (domain.MN, "registered")
    assert (served["prefixes"], served["off_link_prefixes"]) == ([str(domain.P1)], [str(domain.P2)])
