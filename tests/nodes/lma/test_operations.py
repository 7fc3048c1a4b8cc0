"""What `test_control` doesn't see: the operations on a core without a socket (RFC 7864 5.2)."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.actions import Reply, Send
from nodes.config import MobileNodePolicy
from nodes.control_requests import (
    AddFlow,
    ControllerStatus,
    FlowStatistics,
    ForceRegistration,
    ListBindings,
    MoveFlow,
    Revoke,
)
from nodes.controller_config import ControllerConfig
from nodes.flow_mobility_cache import FlowAction
from nodes.lma.operations import list_flows, operate
from nodes.northbound import FlowCount, Statistics
from tests.domain import Domain, Network


def add(domain: type[Domain], **changes: Any) -> AddFlow:
    values: dict[str, Any] = {
        "mn": domain.MN,
        "fid": 1,
        "priority": 1,
        "selector": {"start_destination_address": str(domain.P2[1])},
        "to": "cell",
    }
    return AddFlow(**{**values, **changes})


def test_a_reply_waits_for_the_signalling_rfc7864_3_2_2(domain: type[Domain]) -> None:
    network = domain.network("unique")
    core = network.lma.core
    operate(core, add(domain), 1)
    operate(core, MoveFlow(mn=domain.MN, fid=1, to="wlan"), 2)
    actions = network.lma.taken()
    assert [reply.token for reply in domain.of(Reply, actions)] == [1]
    assert len(domain.of(Send, actions)) == 1


def test_a_flow_can_be_dropped_rfc7864_5_2(domain: type[Domain]) -> None:
    core = domain.network("unique").lma.core
    operate(core, add(domain, action="drop"), 1)
    row = core.flows.cache.get(domain.MN, 1)
    assert row is not None
    assert row.action is FlowAction.DROP
    assert [flow["action"] for flow in list_flows(core)] == ["drop"]


def test_a_binding_that_waits_for_its_end_is_shown_as_such_rfc5213_5_3_5(
    domain: type[Domain],
) -> None:
    network = domain.network("unique")
    network.detach("mag1")
    network.run(0.1)
    operate(network.lma.core, ListBindings(), 1)
    (reply,) = domain.of(Reply, network.lma.taken())
    assert [entry["state"] for entry in reply.result] == ["deregistered", "registered"]


@pytest.mark.parametrize(
    ("what", "trigger", "peers"),
    [
        ({"mn": Domain.MN}, 1, [Domain.MAG1, Domain.MAG2]),
        ({"mn": Domain.MN, "binding": "cell"}, 1, [Domain.MAG2]),
        ({"mag": Domain.MAG1}, 128, [Domain.MAG1]),
        ({"realm": "example.org"}, 129, [Domain.MAG1, Domain.MAG2]),
        ({"realm": "example.org", "mag": Domain.MAG2}, 129, [Domain.MAG2]),
    ],
)
def test_what_is_revoked_rfc5846_8_1(
    domain: type[Domain], what: dict[str, Any], trigger: int, peers: list[object]
) -> None:
    network = domain.network("unique")
    operate(network.lma.core, Revoke(**what), 1)
    sent = domain.of(Send, network.lma.taken())
    assert [action.destination for action in sent] == peers
    assert {getattr(action.message, "trigger", None) for action in sent} == {trigger}


@pytest.mark.parametrize(
    "what",
    [
        {},
        {"mn": Domain.MN, "mag": Domain.MAG1},
        {"mn": Domain.MN, "realm": "example.org"},
        {"mag": Domain.MAG1, "binding": "cell"},
        {"realm": "example.org", "binding": 1},
        {"binding": 1},
    ],
)
def test_what_cannot_be_revoked_is_refused(domain: type[Domain], what: dict[str, Any]) -> None:
    network = domain.network("unique")
    operate(network.lma.core, Revoke(**what), 1)
    (reply,) = network.lma.taken()
    assert isinstance(reply, Reply)
    assert reply.error


@pytest.mark.parametrize(
    ("what", "peers"),
    [({"mn": Domain.MN}, [Domain.MAG1, Domain.MAG2]), ({"mag": Domain.MAG2}, [Domain.MAG2])],
)
def test_who_is_to_register_again_rfc7077_4_1(
    domain: type[Domain], what: dict[str, Any], peers: list[object]
) -> None:
    network = domain.network("unique")
    operate(network.lma.core, ForceRegistration(**what), 1)
    actions = network.lma.taken()
    assert [action.destination for action in domain.of(Send, actions)] == peers
    assert domain.of(Reply, actions)[0].result == {"asked": [str(peer) for peer in peers]}


@pytest.mark.parametrize("what", [{}, {"mn": Domain.MN, "mag": Domain.MAG1}])
def test_one_node_or_one_mag_is_to_register_again(
    domain: type[Domain], what: dict[str, Any]
) -> None:
    network = domain.network("unique")
    operate(network.lma.core, ForceRegistration(**what), 1)
    (reply,) = network.lma.taken()
    assert isinstance(reply, Reply)
    assert reply.error


def test_what_switches_count_is_told_by_flow_and_path(domain: type[Domain]) -> None:
    network = Network(
        MobileNodePolicy(prefix_model="shared"),
        data_plane="sdn-assisted",
        controller=ControllerConfig(address=domain.LMA),
    )
    for mag in ("mag1", "mag2"):
        network.attach(mag)
        network.run(0.1)
    network.add_flow(1, "cell", domain.P1)
    network.run(0.1)
    core = network.lma.core
    key = core.flows.key(domain.MN, 1)
    for octets in (1_000, 1_500):
        count = FlowCount(key=key, mags=(domain.MAG2,), packets=5, octets=octets)
        network.controller.event(Statistics(flows=(count,)))
        network.run(0.5)
    operate(core, FlowStatistics(), 900)
    operate(core, ControllerStatus(), 901)
    network.take_from_lma()
    paths = [{"mags": [str(domain.MAG2)], "access": ["cell"], "packets": 5, "octets": 1_500}]
    (shown,) = network.replies[900].result
    assert shown == {"mn": domain.MN, "fid": 1, "paths": paths, "octets_per_s": 1_000.0}
    assert network.replies[901].result["state"] == "synchronized"


@pytest.mark.parametrize("request_", [FlowStatistics(), ControllerStatus()])
def test_without_a_controller_nothing_is_known_of_one(
    domain: type[Domain], request_: FlowStatistics | ControllerStatus
) -> None:
    network = domain.network("shared")
    operate(network.lma.core, request_, 900)
    network.take_from_lma()
    assert network.replies[900].error == 'data_plane is "tunnel": no controller'


def with_flows(domain: type[Domain]) -> Network:
    """Flows 1 and 2 are addressed to P1, flow 3 to P2, and flow 4 to any prefix, all on the WLAN's
    binding but flow 3."""
    network = domain.network("shared")
    for fid, prefix, to in ((1, domain.P1, "wlan"), (2, domain.P1, "wlan"), (3, domain.P2, "cell")):
        selector = {
            "start_destination_address": str(prefix[0]),
            "end_destination_address": str(prefix[-1]),
        }
        operate(network.lma.core, add(domain, fid=fid, priority=fid, selector=selector, to=to), fid)
    operate(network.lma.core, add(domain, fid=4, priority=4, selector={}, to="wlan"), 4)
    network.lma.taken()
    return network


def moved(domain: type[Domain], network: Network, **request: Any) -> Reply:
    """The reply to an order; what it took to the cell is in the cache."""
    operate(network.lma.core, MoveFlow(mn=domain.MN, **request), 9)
    (reply,) = domain.of(Reply, network.lma.taken())
    return reply


@pytest.mark.parametrize(
    ("which", "fids"),
    [
        ({"fid": 2}, [2]),
        ({"fid": [1, 4]}, [1, 4]),
        ({"fid": "all"}, [1, 2, 3, 4]),
        ({"prefix": "P1"}, [1, 2]),
        ({"prefix": "P2"}, [3]),
    ],
)
def test_which_flows_an_order_moves_rfc7864_5_2(
    domain: type[Domain], which: dict[str, Any], fids: list[int]
) -> None:
    network = with_flows(domain)
    if "prefix" in which:
        which = {"prefix": getattr(domain, which["prefix"])}
    assert moved(domain, network, to="cell", **which).error is None
    cell = network.bid("cell")
    rows = network.lma.core.flows.cache.rows(domain.MN)
    assert [row.fid for row in rows if row.bids == (cell,)] == sorted({*fids, 3})


def test_an_order_may_name_several_bindings_rfc6089_5_3_6(domain: type[Domain]) -> None:
    network = with_flows(domain)
    wlan, cell = network.bid("wlan"), network.bid("cell")
    assert moved(domain, network, fid=1, to=["cell", wlan, "wlan"]).error is None
    assert network.row(1).bids == (cell, wlan)
    assert list_flows(network.lma.core)[0]["access"] == ["cell", "wlan"]


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"to": "cell"}, "fid, prefix"),
        ({"fid": 1, "prefix": "P1", "to": "cell"}, "fid, prefix"),
        ({"fid": [1, 2], "to": "cell", "await_ms": 5}, "await_ms"),
        ({"fid": 1, "to": ["cell"], "await_ms": 5}, "await_ms"),
        ({"fid": [1, 7], "to": "cell"}, "fid is 7"),
        ({"fid": [], "to": "cell"}, "at least"),
        ({"prefix": "P3", "to": "cell"}, "at least"),
        ({"fid": 1, "to": []}, "at least"),
        ({"fid": 1, "to": ["cell", "lan"]}, "'lan'"),
    ],
)
def test_orders_that_make_no_sense_change_nothing_rfc7864_5_2(
    domain: type[Domain], request_: dict[str, Any], error: str
) -> None:
    network = with_flows(domain)
    before = network.lma.core.flows.cache.rows(domain.MN)
    if "prefix" in request_:
        request_ = {**request_, "prefix": getattr(domain, request_["prefix"])}
    reply = moved(domain, network, **request_)
    assert error in str(reply.error)
    assert network.lma.core.flows.cache.rows(domain.MN) == before


def test_a_flow_to_nobody_is_not_added_rfc7864_5_2(domain: type[Domain]) -> None:
    network = domain.network("shared")
    for to in ("lan", [], ["wlan", "lan"]):
        operate(network.lma.core, add(domain, to=to), 1)
        (reply,) = domain.of(Reply, network.lma.taken())
        assert reply.error
    assert network.lma.core.flows.cache.rows(domain.MN) == ()
