"""Paths that a controller makes, at the LMA: orders, losses, and what its own forwarding does."""

from __future__ import annotations

import itertools
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes import northbound
from nodes.actions import Action, ForwardFlows, InstallFlow, OpenTunnel, Reply, SendNorthbound
from nodes.config import MobileNodePolicy
from nodes.controller_config import FABRIC_GATEWAY, ControllerConfig
from nodes.flow_mobility_cache import FlowAction, FlowMobilityCacheEntry
from nodes.lma.path_carriers import WantedPaths
from nodes.lma.path_control import PathControl
from nodes.strict import InputError
from nodes.wire.traffic_selector import IPv6TrafficSelector
from tests.domain import LMA, Domain, Network

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nodes.northbound import Request

FABRIC = (FABRIC_GATEWAY,)
MODES = ("sdn-core", "sdn-assisted")
UNREACHABLE = "the controller is unreachable"


def configured(
    mode: str, model: str = "shared", policy: dict[str, Any] | None = None, **controller: Any
) -> Network:
    """An LMA with a controller, before anything happened."""
    changes: dict[str, Any] = {"fabric_interface": "fabric"} if mode == "sdn-core" else {}
    return Network(
        MobileNodePolicy(prefix_model=model, **(policy or {})),  # type: ignore[arg-type]
        data_plane=mode,
        controller=ControllerConfig(address=LMA, **controller),
        **changes,
    )


def attached(mode: str, model: str = "shared", **controller: Any) -> Network:
    """Synchronized, and both accesses are attached."""
    network = configured(mode, model, **controller)
    for mag in ("mag1", "mag2"):
        network.attach(mag)
        network.run(0.1)
    assert network.lma.core.controller is not None
    assert network.lma.core.controller.refusal() is None
    network.messages()
    network.controller.ops()
    return network


def with_flow(mode: str, model: str = "shared", **controller: Any) -> Network:
    """And flow 1 goes over the cellular access."""
    network = attached(mode, model, **controller)
    token = network.add_flow(1, "cell", Domain.P1 if model == "shared" else Domain.P2)
    network.run(0.1)
    assert network.replies[token] == Reply(token, {"fid": 1})
    assert way(network) == (Domain.MAG2,)
    network.controller.ops()
    return network


def key(network: Network, fid: int = 1) -> int:
    return network.lma.core.flows.key(Domain.MN, fid)


def way(network: Network, fid: int = 1) -> tuple[IPv6Address, ...] | None:
    return network.controller.way(key(network, fid))


def sent(network: Network, fid: int = 1) -> tuple[IPv6Address, ...]:
    """Where the LMA itself sends packets of a flow."""
    return network.lma.forwarding.targets.get(key(network, fid), ())


def error(network: Network, token: int) -> str:
    found = network.replies[token].error
    assert found is not None
    return found


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


FLOW = 0x10000


def install(prefixes: tuple[IPv6Network, ...]) -> InstallFlow:
    entry = FlowMobilityCacheEntry(1, 1, IPv6TrafficSelector(), (1,))
    return InstallFlow(FLOW, entry, prefixes, Domain.MN)


def requests(actions: Sequence[Action]) -> list[Request]:
    return [action.request for action in actions if isinstance(action, SendNorthbound)]


def alone() -> tuple[PathControl, Callable[[], list[Request]]]:
    """A synchronized part of an LMA, and what it has asked for since the last call."""
    control = PathControl(
        Domain.lma_config(
            data_plane="sdn-core",
            controller=ControllerConfig(address=LMA),
            fabric_interface="fabric",
        )
    )
    control.connected(Domain.at(0))
    (sync,) = requests(control.take())
    control.received(northbound.Reply(id=sync.id, ok=True), Domain.at(0))
    return control, lambda: requests(control.take())


def test_answers_that_nobody_asked_for_change_nothing() -> None:
    network = with_flow("sdn-core")
    for number in (1, 99):
        network.lma.core.northbound_received(
            northbound.Reply(id=number, ok=False, error="late"), network.now()
        )
    network.take_from_lma()
    assert way(network) == (Domain.MAG2,)


def test_policies_decide_only_while_flows_can_move() -> None:
    rule = {
        "kind": "traffic-class",
        "rules": [{"fid": 5, "priority": 5, "selector": {}, "accesses": ["cell", "wlan"]}],
    }
    network = configured("sdn-core", policy={"policies": (rule,)})
    network.controller.reachable = False
    for mag in ("mag1", "mag2"):
        network.attach(mag)
        network.run(0.1)
    assert "triggered" not in network.events()
    network.controller.reachable = True
    network.run(2)
    assert network.events().count("triggered") == 1
    assert way(network, 5) == (Domain.MAG2,)


def test_rates_of_flows_trigger_a_policy() -> None:
    balance = {"kind": "load-balance", "capacities": {"cell": 1000, "wlan": 10_000}}
    network = configured("sdn-core", policy={"policies": (balance,)})
    for mag in ("mag1", "mag2"):
        network.attach(mag)
        network.run(0.1)
    network.add_flow(1, "cell", Domain.P1)
    network.run(0.1)
    for octets in (500, 1_450):  # 950 in a second: 95 % of what the cellular access can
        count = northbound.FlowCount(
            key=key(network), mags=(Domain.MAG2,), packets=1, octets=octets
        )
        network.controller.event(northbound.Statistics(flows=(count,)))
        network.run(1)
    assert way(network) == (Domain.MAG1,)
    assert any("95 %" in str(log.details.get("reason")) for _, log in network.logs)


def test_rates_of_flows_need_switches_that_count_all_of_them() -> None:
    balance = {"kind": "load-balance", "capacities": {"wlan": 10_000}}
    with pytest.raises(InputError, match=r"policies\[0\] \(load-balance\): capacities is"):
        configured("sdn-assisted", policy={"policies": (balance,)})


def fails(op: str, error: str, *, once: bool = False) -> Any:
    """A fault of requests of a kind."""
    left = itertools.count() if not once else iter([0])

    def fault(request: Request) -> str | None:
        if type(request).__struct_config__.tag != op:
            return None
        return error if next(left, None) is not None else None

    return fault


def lose(network: Network) -> None:
    """The controller is gone, and the LMA knows."""
    network.controller.reachable = False
    network.controller.break_connection()
    network.run(0.01)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "add",
                "move",
                "several",
                "remove",
                "break",
                "away",
                "back",
                "fail",
                "heal",
                "silent",
                "lma",
                "detach",
                "attach",
                "switches",
            ]
        ),
        st.integers(1, 3),
        st.sampled_from(["wlan", "cell"]),
        st.sampled_from([0.0, 0.003, 0.012, 0.4, 1.5]),
    ),
    max_size=24,
)


def wanted(network: Network, row: FlowMobilityCacheEntry) -> tuple[IPv6Address, ...] | None:
    bindings = [network.lma.core.bindings.get(bid) for bid in row.bids]
    return tuple(b.proxy_coa for b in bindings if b is not None and b.registered) or None


def move_all(network: Network, access: str, token: int) -> int:
    """All flows that there are, in one order."""
    fids = [row.fid for row in network.lma.core.flows.cache.rows(Domain.MN)]
    bids = (network.bid(access),)
    network.lma.core.move_flows(Domain.MN, fids, bids, token, network.now())
    network.take_from_lma()
    return token


def play(
    network: Network, steps: Sequence[tuple[str, int, str, float]], *, fallback: bool
) -> list[int]:
    """Returns the tokens of the orders. With the fallback every flow goes where it should as soon
    as the LMA knows that the controller is away."""
    tokens: list[int] = []
    model = network.controller
    failing: list[str] = []
    model.fault = lambda request: "broken" if failing else None
    others: dict[str, Callable[[], object]] = {
        "break": model.break_connection,
        "away": lambda: (setattr(model, "reachable", False), model.break_connection()),
        "back": lambda: setattr(model, "reachable", True),
        "fail": lambda: failing.append("fail"),
        "heal": failing.clear,
        "silent": lambda: setattr(model, "silent", not model.silent),
        "detach": lambda: network.detach("mag2"),
        "attach": lambda: network.attach("mag2"),
        "switches": lambda: model.event(northbound.Switches(ready=("s1",), lost=())),
    }
    for what, fid, access, pause in steps:
        known = network.lma.core.resolve(Domain.MN, access) is not None
        if what == "add" and known:
            tokens.append(network.add_flow(fid, access, Domain.P1))
        elif what == "move" and known:
            tokens.append(network.move(fid, access))
        elif what == "several" and known:
            tokens.append(move_all(network, access, 10_000 + len(tokens)))
        elif what == "remove":
            tokens.append(network.remove_flow(fid))
        elif what in others:
            others[what]()
        network.run(pause)
        if fallback and not model.reachable:
            network.run(0.006)
            for row in network.lma.core.flows.cache.rows(Domain.MN):
                assert way(network, row.fid) == wanted(network, row)
    failing.clear()
    model.reachable, model.silent = True, False
    network.run(40)
    return tokens


@pytest.mark.parametrize("fallback", ["refuse", "tunnel"])
@pytest.mark.parametrize("mode", MODES)
@given(steps=STEPS)
def test_whatever_happens_controller_and_lma_agree_in_the_end(
    mode: str, fallback: str, steps: list[tuple[str, int, str, float]]
) -> None:
    """And every order is answered exactly once (the model refuses a second answer)."""
    network = attached(mode, fallback=fallback, request_timeout_ms=500)
    tokens = play(network, steps, fallback=fallback == "tunnel")
    assert all(token in network.replies for token in tokens)
    core, model = network.lma.core, network.controller
    assert core.controller is not None
    status = core.controller.status()
    assert (status["state"], status["waiting"], status["in_tunnels"]) == ("synchronized", 0, 0)
    assert status["refused"] == []
    assert set(model.flows) == {key(network, row.fid) for row in installed(network)}
    for row in core.flows.cache.rows(Domain.MN):
        assert way(network, row.fid) == wanted(network, row)
    holders = [b for b in core.bindings.of(Domain.MN) if b.registered]
    assert model.prefixes == {Domain.P1: holders[0].proxy_coa}
    fabric = FABRIC_GATEWAY if mode == "sdn-core" else holders[0].proxy_coa
    assert network.lma.forwarding.routes == {Domain.P1: fabric}
    for row in core.flows.cache.rows(Domain.MN):
        network.remove_flow(row.fid)
    for mag in ("mag1", "mag2"):
        network.detach(mag)
    network.run(30)
    assert (model.flows, model.paths, model.prefixes) == ({}, {}, {})
    assert network.lma.forwarding.labels == {}
    for part in (core.controller, core.controller._carriers, core.controller._wanted):
        slots = part.__slots__ if isinstance(part, WantedPaths) else vars(part)
        held = {name: getattr(part, name) for name in slots}
        kept = {name: v for name, v in held.items() if isinstance(v, (dict, set, list)) and v}
        assert kept == {}


def installed(network: Network) -> list[FlowMobilityCacheEntry]:
    rows = network.lma.core.flows.cache.rows(Domain.MN)
    return [row for row in rows if key(network, row.fid) in network.lma.forwarding.flows]
