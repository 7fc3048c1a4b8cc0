"""Paths that a controller makes, at the LMA: a lost controller, refusals, and what follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nodes import northbound
from nodes.actions import ForwardFlows, InstallFlow, OpenTunnel
from nodes.controller_config import FABRIC_GATEWAY
from tests.domain import Domain

if TYPE_CHECKING:
    from nodes.northbound import Request
from tests.nodes.lma.controlled import (
    FABRIC,
    FLOW,
    MODES,
    UNREACHABLE,
    alone,
    attached,
    configured,
    error,
    fails,
    install,
    key,
    lose,
    requests,
    sent,
    way,
    with_flow,
)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("order", ["add", "move", "remove"])
def test_without_a_controller_orders_are_refused_with_that_reason(mode: str, order: str) -> None:
    network = with_flow(mode)
    lose(network)
    token = {
        "add": lambda: network.add_flow(2, "cell", Domain.P1),
        "move": lambda: network.move(1, "wlan"),
        "remove": lambda: network.remove_flow(1),
    }[order]()
    assert UNREACHABLE in error(network, token)
    assert network.row(1).bids == (network.bid("cell"),)
    assert way(network) == (Domain.MAG2,)  # installed flows keep flowing
    assert "controller-lost" in network.events()
    network.controller.reachable = True
    network.run(2)
    token = network.move(1, "wlan")
    network.run(0.1)
    assert network.replies[token].error is None


@pytest.mark.parametrize("mode", MODES)
def test_a_controller_that_is_lost_during_a_move_takes_it_back(mode: str) -> None:
    """The change may have been made: the sync sets it right."""
    network = with_flow(mode)
    token = network.move(1, "wlan")
    network.run(0.016)
    network.controller.break_connection()
    network.run(0.006)
    assert error(network, token) == f"the move failed: {UNREACHABLE}"
    assert network.controller.paths[key(network)].mags == (Domain.MAG1,)
    network.run(2)
    assert way(network) == (Domain.MAG2,)
    assert "sync" in network.controller.ops()


@pytest.mark.parametrize("mode", MODES)
def test_a_controller_that_does_not_answer_counts_as_lost(mode: str) -> None:
    network = with_flow(mode, request_timeout_ms=300)
    network.controller.silent = True
    token = network.move(1, "wlan")
    network.run(0.29)
    assert token not in network.replies
    network.run(0.02)
    assert error(network, token) == ("the move failed: the controller did not answer within 300 ms")
    network.controller.silent = False
    network.run(2)
    assert way(network) == (Domain.MAG2,)
    assert network.lma.core.controller is not None
    assert network.lma.core.controller.status()["state"] == "synchronized"


def test_a_connection_that_does_not_come_about_is_given_up_and_tried_again() -> None:
    network = configured("sdn-core", request_timeout_ms=300, reconnect_delay_ms=200)
    network.controller.delay_s = 10.0  # nothing arrives
    network.run(0.4)
    network.controller.delay_s = 0.005
    network.run(0.2)
    assert network.lma.core.controller is not None
    assert network.lma.core.controller.status()["state"] == "synchronized"
    assert network.events().count("controller-lost") == 1


@pytest.mark.parametrize("mode", MODES)
def test_what_happens_meanwhile_is_in_the_next_sync(mode: str) -> None:
    network = with_flow(mode)
    lose(network)
    network.detach("mag2")
    network.run(0.1)
    assert way(network) in (None, (Domain.MAG2,))
    network.controller.reachable = True
    network.run(2)
    assert network.controller.paths == {}
    assert network.controller.prefixes == {Domain.P1: Domain.MAG1}
    assert way(network) is None


@pytest.mark.parametrize("mode", MODES)
def test_with_the_fallback_tunnels_carry_what_moves_until_the_controller_is_back(
    mode: str,
) -> None:
    network = with_flow(mode, fallback="tunnel")
    network.add_flow(2, "cell", Domain.P1)
    network.run(0.1)
    lose(network)
    before = sent(network, 2)
    token = network.move(1, "wlan")
    assert network.replies[token].error is None
    assert sent(network) == (Domain.MAG1,)
    assert network.lma.forwarding.labels.get(key(network), 0) == 0  # old rules don't match
    assert way(network) == (Domain.MAG1,)
    assert sent(network, 2) == before  # rules that hold are made use of
    network.controller.reachable = True
    network.run(2)
    assert sent(network) == (FABRIC if mode == "sdn-core" else (Domain.MAG1,))
    assert way(network) == (Domain.MAG1,)
    if mode == "sdn-assisted":
        assert network.controller.paths[key(network)].anchor == Domain.MAG1


@pytest.mark.parametrize("mode", MODES)
def test_with_the_fallback_a_move_that_was_under_way_completes(mode: str) -> None:
    network = with_flow(mode, fallback="tunnel")
    token = network.move(1, "wlan")
    network.run(0.001)
    network.controller.reachable = False
    network.controller.break_connection()
    network.run(0.01)
    assert network.replies[token].error is None
    assert way(network) == (Domain.MAG1,)


def test_with_the_fallback_packets_of_a_removed_flow_avoid_its_rules() -> None:
    network = with_flow("sdn-core", fallback="tunnel")
    lose(network)
    token = network.remove_flow(1)
    assert network.replies[token].error is None
    assert network.lma.forwarding.routes == {Domain.P1: Domain.MAG1}
    network.controller.reachable = True
    network.run(2)
    assert network.controller.flows == {}
    assert network.lma.forwarding.routes == {Domain.P1: FABRIC_GATEWAY}


@pytest.mark.parametrize("mode", MODES)
def test_with_the_fallback_a_flow_that_the_controller_refuses_later_stays_in_tunnels(
    mode: str,
) -> None:
    network = attached(mode, fallback="tunnel")
    lose(network)
    token = network.add_flow(1, "cell", Domain.P1)
    network.add_flow(2, "cell", Domain.P1)
    assert network.replies[token].error is None
    first = key(network)

    def fault(request: Request) -> str | None:
        refused = isinstance(request, northbound.AddFlow) and request.flow.key == first
        return "selector: no" if refused else None

    network.controller.fault = fault
    network.controller.reachable = True
    network.run(2)
    assert way(network) == (Domain.MAG2,)
    assert network.lma.forwarding.labels.get(first, 0) == 0
    assert first not in network.controller.flows
    assert network.controller.paths[key(network, 2)].mags == (Domain.MAG2,)
    assert network.lma.core.controller is not None
    assert network.lma.core.controller.status()["refused"] == ["selector: no"]


@pytest.mark.parametrize("fallback", ["refuse", "tunnel"])
def test_a_flow_that_a_sync_leaves_out_is_asked_for_again(fallback: str) -> None:
    """Switches may be others than those that took it."""
    network = with_flow("sdn-core", fallback=fallback)
    network.controller.left_out = {key(network): "s4 has no masks of ports"}
    network.controller.fault = fails("add-flow", "s4 has no masks of ports")
    network.controller.break_connection()
    network.run(2)
    assert network.lma.core.controller is not None
    assert network.lma.core.controller.status()["refused"] == ["s4 has no masks of ports"]
    assert way(network) == (None if fallback == "refuse" else (Domain.MAG2,))
    network.controller.left_out = {}
    network.controller.fault = lambda request: None
    network.run(20)
    assert way(network) == (Domain.MAG2,)
    assert sent(network) == FABRIC


def test_the_tunnel_of_an_anchor_closes_and_the_flow_takes_that_of_its_mag() -> None:
    network = with_flow("sdn-assisted")
    network.move(1, "wlan")
    network.run(0.1)
    network.detach("mag2")
    network.run(11)
    assert Domain.MAG2 not in network.lma.forwarding.tunnels
    assert sent(network) == (Domain.MAG1,)
    assert network.controller.paths[key(network)].anchor == Domain.MAG1


@pytest.mark.parametrize("mode", MODES)
def test_what_the_controller_could_not_do_is_asked_for_again_when_switches_change(
    mode: str,
) -> None:
    network = with_flow(mode)
    network.controller.fault = lambda request: "switch s4 is lost"
    network.detach("mag2")
    network.run(0.1)
    assert network.controller.paths
    network.controller.fault = lambda request: None
    network.controller.event(northbound.Switches(ready=("s1", "s4"), lost=()))
    network.run(0.1)
    assert not network.controller.paths
    assert "switches" in network.events()


@pytest.mark.parametrize("mode", MODES)
def test_a_sync_that_fails_is_repeated_and_orders_wait_for_none(mode: str) -> None:
    network = configured(mode)
    network.controller.fault = fails("sync", "no switch is there")
    for mag in ("mag1", "mag2"):
        network.attach(mag)
        network.run(0.1)
    token = network.add_flow(1, "cell", Domain.P1)
    assert "has not synchronized" in error(network, token)
    network.controller.fault = lambda request: None
    network.run(10.1)
    assert network.controller.prefixes == {Domain.P1: Domain.MAG1}
    network.add_flow(1, "cell", Domain.P1)
    network.run(0.1)
    assert way(network) == (Domain.MAG2,)


@pytest.mark.parametrize("mode", MODES)
def test_a_restarted_lma_has_another_epoch_and_begins_anew(mode: str) -> None:
    network = with_flow(mode)
    network.crash("lma")
    network.controller.perform_close()
    network.run(0.1)
    network.start("lma")
    network.run(2)
    before, after = network.controller.epochs
    assert before != after
    assert network.controller.flows == {}


@pytest.mark.parametrize("mode", MODES)
def test_a_move_to_an_access_that_goes_away_meanwhile_fails(mode: str) -> None:
    network = with_flow(mode)
    network.controller.silent = True
    token = network.move(1, "wlan")
    network.detach("mag1")
    network.run(0.1)
    assert error(network, token) == "the move failed: the target deregistered"
    network.controller.silent = False
    network.run(10)
    assert way(network) == (Domain.MAG2,)


def test_a_flow_without_a_path_takes_the_tunnel_of_the_default_path_while_rules_are_old() -> None:
    network = with_flow("sdn-core", fallback="tunnel")
    lose(network)
    network.detach("mag2")
    network.run(0.1)
    assert network.controller.paths  # which would catch packets to the fabric
    assert sent(network) == ()
    assert network.lma.forwarding.routes == {Domain.P1: Domain.MAG1}


def test_a_flow_that_changes_is_told_in_full_until_the_controller_has_agreed() -> None:
    control, asked = alone()
    control.put(OpenTunnel(Domain.MAG1), OpenTunnel(Domain.MAG2))
    control.put(install((Domain.P1,)), ForwardFlows(((FLOW, (Domain.MAG1,)),)))
    (added,) = asked()
    control.received(northbound.Reply(id=added.id, ok=True), Domain.at(1))
    control.put(install((Domain.P1, Domain.P2)), ForwardFlows(((FLOW, (Domain.MAG1,)),)))
    actions = control.take()
    (changed,) = requests(actions)
    assert isinstance(changed, northbound.AddFlow)
    assert changed.flow.prefixes == (Domain.P1, Domain.P2)
    assert [type(a) for a in actions if isinstance(a, (InstallFlow, ForwardFlows))] == [
        InstallFlow,
        ForwardFlows,
    ]
    # A move that overtakes the change must not lose it.
    control.put(ForwardFlows(((FLOW, (Domain.MAG2,)),)))
    (moved,) = asked()
    assert isinstance(moved, northbound.AddFlow)
    control.received(northbound.Reply(id=moved.id, ok=True), Domain.at(2))
    control.put(ForwardFlows(((FLOW, (Domain.MAG1,)),)))
    assert [type(request) for request in asked()] == [northbound.MoveFlows]


def test_a_flow_whose_change_is_refused_is_not_in_the_next_sync() -> None:
    control, asked = alone()
    control.put(install((Domain.P1,)), ForwardFlows(((FLOW, (Domain.MAG1,)),)))
    (added,) = asked()
    control.received(northbound.Reply(id=added.id, ok=True), Domain.at(1))
    control.put(install((Domain.P2,)), ForwardFlows(((FLOW, (Domain.MAG1,)),)))
    (changed,) = asked()
    control.received(northbound.Reply(id=changed.id, ok=False, error="no"), Domain.at(2))
    control.lost(Domain.at(3))
    control.connected(Domain.at(4))
    sync, again = asked()
    assert isinstance(sync, northbound.Sync)
    assert sync.flows == ()
    assert isinstance(again, northbound.AddFlow)
