"""Paths that a controller makes, at the LMA: answers nobody asked for, rates, any sequence."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes import northbound
from nodes.controller_config import FABRIC_GATEWAY
from nodes.flow_mobility_cache import FlowMobilityCacheEntry
from nodes.lma.path_carriers import WantedPaths
from nodes.strict import InputError
from tests.domain import Domain, Network

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

from tests.nodes.lma.controlled import MODES, attached, configured, key, way, with_flow


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
