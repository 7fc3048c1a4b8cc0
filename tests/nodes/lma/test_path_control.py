"""Paths that a controller makes, at the LMA: orders."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nodes.actions import Reply
from nodes.controller_config import FABRIC_GATEWAY
from nodes.flow_mobility_cache import FlowAction
from tests.domain import Domain, Network

if TYPE_CHECKING:
    pass
from tests.nodes.lma.controlled import (
    FABRIC,
    MODES,
    attached,
    configured,
    error,
    fails,
    key,
    sent,
    way,
    with_flow,
)


@pytest.mark.parametrize("mode", MODES)
def test_first_comes_a_sync_then_what_happens(mode: str) -> None:
    network = configured(mode)
    network.run(0.1)
    assert network.controller.ops() == ["sync"]
    network.attach("mag1")
    network.run(0.1)
    assert network.controller.ops() == ["attach"]
    assert network.controller.prefixes == {Domain.P1: Domain.MAG1}
    network.detach("mag1")
    network.run(0.1)
    assert network.controller.prefixes == {Domain.P1: None}  # RFC 5213 section 5.3.5
    network.run(11)
    assert network.controller.ops() == ["attach", "detach"]
    assert network.controller.prefixes == {}


def test_in_the_core_packets_leave_natively_and_drops_stay() -> None:
    network = with_flow("sdn-core")
    assert network.lma.forwarding.routes == {Domain.P1: FABRIC_GATEWAY}
    assert sent(network) == FABRIC
    network.add_flow(2, "wlan", Domain.P1, action=FlowAction.DROP)
    network.run(0.1)
    assert sent(network, 2) == (Domain.MAG1,)  # of a row whose action is drop: no way at all
    assert network.controller.flows[key(network, 2)].action == "drop"


def test_with_tunnels_a_flow_stays_in_that_of_its_anchor_with_its_label() -> None:
    network = with_flow("sdn-assisted")
    assert network.lma.forwarding.routes == {Domain.P1: Domain.MAG1}
    label = network.lma.forwarding.labels[key(network)]
    assert label == network.controller.flows[key(network)].label
    network.move(1, "wlan")
    network.run(0.1)
    assert sent(network) == (Domain.MAG2,)
    assert network.lma.forwarding.labels[key(network)] == label
    path = network.controller.paths[key(network)]
    assert (path.anchor, path.mags) == (Domain.MAG2, (Domain.MAG1,))
    assert way(network) == (Domain.MAG1,)


@pytest.mark.parametrize("mode", MODES)
def test_a_move_is_answered_when_the_controller_has_acknowledged_it(mode: str) -> None:
    network = with_flow(mode)
    token = network.move(1, "wlan")
    network.run(0.019)
    assert token not in network.replies
    assert "switched" not in network.events()
    network.run(0.002)
    assert network.replies[token] == Reply(token, {"fid": 1, "move": 1})
    assert network.events().count("switched") == 1
    assert network.controller.ops() == ["move-flows"]
    assert way(network) == (Domain.MAG1,)


@pytest.mark.parametrize("mode", MODES)
def test_with_unique_prefixes_the_fma_comes_first_and_then_the_controller(mode: str) -> None:
    network = with_flow(mode, "unique")
    token = network.move(1, "wlan")
    network.run(0.019)
    assert network.controller.ops() == []
    network.run(0.019)
    assert token not in network.replies
    network.run(0.003)
    assert network.replies[token].error is None
    assert way(network) == (Domain.MAG1,)


@pytest.mark.parametrize("mode", MODES)
def test_on_send_asks_mag_and_controller_at_once_and_waits_for_both(mode: str) -> None:
    network = configured(mode, "unique", {"switch": "on-send"})
    for mag in ("mag1", "mag2"):
        network.attach(mag)
        network.run(0.1)
    network.add_flow(1, "cell", Domain.P2)
    network.run(0.1)
    network.controller.ops()
    network.controller.work_s = 0.0
    token = network.move(1, "wlan")
    network.run(0.015)
    assert way(network) == (Domain.MAG1,)
    assert "switched" in network.events()
    assert token not in network.replies
    network.run(0.006)
    assert network.replies[token].error is None


@pytest.mark.parametrize("mode", MODES)
def test_several_flows_move_in_one_request(mode: str) -> None:
    network = with_flow(mode)
    network.add_flow(2, "cell", Domain.P1)
    network.run(0.1)
    network.controller.ops()
    core, token = network.lma.core, 900
    core.move_flows(Domain.MN, (1, 2), (network.bid("wlan"),), token, network.now())
    network.take_from_lma()
    network.run(0.1)
    assert network.controller.ops() == ["move-flows"]
    assert network.replies[token].error is None
    assert way(network, 1) == way(network, 2) == (Domain.MAG1,)


@pytest.mark.parametrize("mode", MODES)
def test_an_error_takes_a_move_back_and_says_why(mode: str) -> None:
    network = with_flow(mode)
    network.controller.fault = fails("move-flows", "switch s4 is lost", once=True)
    token = network.move(1, "wlan")
    network.run(0.1)
    assert error(network, token) == "the move failed: switch s4 is lost"
    assert network.row(1).bids == (network.bid("cell"),)
    assert way(network) == (Domain.MAG2,)
    assert "switched" not in network.events()


@pytest.mark.parametrize("mode", MODES)
def test_a_selector_that_switches_cannot_match_is_refused_with_their_words(mode: str) -> None:
    network = attached(mode)
    network.controller.fault = fails("add-flow", "selector: an SPI is no field of OpenFlow 1.3")
    token = network.add_flow(1, "cell", Domain.P1)
    network.run(0.1)
    assert error(network, token) == (
        "the flow was not added: selector: an SPI is no field of OpenFlow 1.3"
    )
    assert network.lma.core.flows.cache.rows(Domain.MN) == ()
    assert network.lma.forwarding.flows == {}
    network.run(30)
    assert network.controller.flows == {}


NO_SPI = "flow 65536: selector.start_spi is 5; OpenFlow 1.3 has no such field"


def check_not_added(network: Network, token: int) -> None:
    assert error(network, token) == f"the flow was not added: {NO_SPI}"
    assert network.lma.core.flows.cache.rows(Domain.MN) == ()
    reasons = [log.details.get("reason") for _, log in network.logs if log.event == "move-failed"]
    assert reasons == [NO_SPI]
    network.run(30)
    assert network.controller.flows == {}
    assert network.lma.forwarding.flows == {}
    assert network.lma.core.controller is not None
    assert network.lma.core.controller.status()["refused"] == []


def test_a_selector_is_refused_while_the_flow_has_no_path_yet() -> None:
    """Its only binding waits for its end (RFC 5213 section 5.3.5), so the row is inactive."""
    network = attached("sdn-core")
    network.detach("mag2")
    network.run(0.1)
    network.controller.fault = fails("add-flow", NO_SPI)
    token = network.add_flow(1, "cell", Domain.P1)
    network.run(0.1)
    check_not_added(network, token)


def test_a_selector_is_refused_before_the_mag_has_answered() -> None:
    """An FMI is on its way, and packets take the default path until the FMA."""
    network = attached("sdn-core", "unique")
    network.controller.fault, network.controller.work_s = fails("add-flow", NO_SPI), 0.0
    token = network.add_flow(1, "cell", Domain.P1)
    network.run(0.015)
    check_not_added(network, token)


@pytest.mark.parametrize("mode", MODES)
def test_a_flow_without_a_path_gets_one_when_its_access_is_back(mode: str) -> None:
    network = attached(mode)
    network.detach("mag2")
    network.run(0.1)
    token = network.add_flow(1, "cell", Domain.P1)
    network.run(0.1)
    assert network.replies[token].error is None
    assert way(network) is None
    network.attach("mag2")
    network.run(0.1)
    assert way(network) == (Domain.MAG2,)


@pytest.mark.parametrize("mode", MODES)
def test_of_two_moves_in_quick_succession_the_newer_wins(mode: str) -> None:
    network = with_flow(mode)
    first, second = network.move(1, "wlan"), network.move(1, "cell")
    network.run(0.1)
    assert "newer move" in error(network, first)
    assert network.replies[second].error is None
    assert way(network) == (Domain.MAG2,)


@pytest.mark.parametrize("mode", MODES)
def test_an_order_for_two_flows_goes_on_when_a_newer_one_takes_one_of_them(mode: str) -> None:
    network = with_flow(mode)
    network.add_flow(2, "cell", Domain.P1)
    network.run(0.1)
    both = 900
    network.lma.core.move_flows(Domain.MN, (1, 2), (network.bid("wlan"),), both, network.now())
    network.take_from_lma()
    newer = network.move(1, "cell")
    network.run(0.1)
    assert network.replies[both].error is None
    assert network.replies[newer].error is None
    assert (way(network, 1), way(network, 2)) == ((Domain.MAG2,), (Domain.MAG1,))


@pytest.mark.parametrize("mode", MODES)
def test_a_flow_is_removed_while_it_moves(mode: str) -> None:
    network = with_flow(mode)
    old = key(network)
    move, removal = network.move(1, "wlan"), network.remove_flow(1)
    assert removal not in network.replies
    network.run(0.1)
    assert "removed" in error(network, move)
    assert network.replies[removal] == Reply(removal, {"fid": 1})
    assert old not in network.controller.flows
    assert old not in network.controller.paths


@pytest.mark.parametrize("mode", MODES)
def test_a_removal_that_the_controller_cannot_do_is_told_and_asked_for_again(mode: str) -> None:
    network = with_flow(mode)
    network.controller.fault = fails("remove-flow", "switch s2 is lost", once=True)
    token = network.remove_flow(1)
    network.run(0.1)
    assert error(network, token) == (
        "the flow is removed here, its rules are not: switch s2 is lost"
    )
    assert len(network.controller.flows) == 1
    network.run(10.1)
    assert network.controller.flows == {}
