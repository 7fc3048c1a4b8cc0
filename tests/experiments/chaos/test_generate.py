"""A seed makes a scenario: the same every time, complete, and one that can be carried out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from experiments.chaos.domain import configure, topology
from experiments.chaos.generate import BUSY_OF, generate
from experiments.chaos.scenario import Attach, Flap, Scenario, quiet_s, read, write
from topologies.model import Role
from topologies.plan import addresses, routes

SEEDS = range(1, 61)


@pytest.fixture(scope="module")
def scenarios() -> list[Scenario]:
    return [generate(seed) for seed in SEEDS]


def test_a_seed_makes_the_same_scenario_every_time() -> None:
    assert generate(7) == generate(7)
    assert generate(7) != generate(8)


def test_a_scenario_is_data_that_a_file_keeps(tmp_path: Path) -> None:
    for seed in (1, 2, 3, BUSY_OF):
        write(tmp_path / "scenario.json", generate(seed))
        assert read(tmp_path / "scenario.json") == generate(seed)


def test_topologies_are_of_every_size(scenarios: list[Scenario]) -> None:
    assert {scenario.mags for scenario in scenarios} == {1, 2, 3, 4, 5}
    sizes = {len(scenario.mobiles) for scenario in scenarios}
    assert min(sizes) <= 2
    assert max(sizes) >= 15
    assert max(sizes) <= 20
    interfaces = {len(m.interfaces) for scenario in scenarios for m in scenario.mobiles}
    assert interfaces == {1, 2, 3}


def test_every_kind_of_fault_occurs(scenarios: list[Scenario]) -> None:
    kinds = Counter(type(fault).__name__ for scenario in scenarios for fault in scenario.faults)
    assert set(kinds) == {
        *("Attach", "Flap", "Kill", "Partition", "Disturb", "AddFlow", "MoveFlow", "RemoveFlow"),
        *("Revoke", "ForceRegistration", "Report", "Detach", "Policy", "Spoof", "Garbage"),
    }
    assert {scenario.attachment for scenario in scenarios} == {"link", "layer-2"}


def test_nothing_goes_wrong_while_all_are_to_agree(scenarios: list[Scenario]) -> None:
    for scenario in scenarios:
        begin_s = 0.0
        for agreed_s in scenario.agreed_s:
            quiet_from_s = agreed_s - quiet_s(scenario.lifetime_s)
            faults = [f for f in scenario.faults if begin_s < f.at_s <= agreed_s + 5.0]
            for fault in faults:
                lasts_s = getattr(fault, "for_s", 0.0) or 0.0
                if isinstance(fault, Flap):
                    lasts_s = (fault.times - 0.5) * fault.period_s
                assert fault.at_s + lasts_s <= quiet_from_s + 1e-3, (scenario.seed, fault)
            begin_s = agreed_s + 5.0


def test_nodes_are_configured_and_the_network_is_connected(
    scenarios: list[Scenario], tmp_path: Path
) -> None:
    for scenario in scenarios:
        built = topology(scenario)
        domain = configure(scenario, built, tmp_path, tmp_path)
        assert len(domain.mags) == scenario.mags
        assert len(domain.mns) == len(scenario.mobiles)
        interfaces = [name for mag in domain.mags.values() for name in mag.interfaces]
        assert len(interfaces) == sum(len(m.interfaces) for m in scenario.mobiles)
        assert all(len(name) <= 15 for name in interfaces), "IFNAMSIZ"
        assert addresses(built)
        lma = built.node_with_role(Role.LMA)
        reached = {route.network for route in routes(built)[lma]}
        for mag in domain.mags.values():
            assert any(net is not None and mag.proxy_coa in net for net in reached)


def test_a_node_with_two_interfaces_at_a_mag_has_no_flows_of_its_own_there(
    scenarios: list[Scenario],
) -> None:
    for scenario in scenarios:
        for mobile in scenario.mobiles:
            mags = [interface.mag for interface in mobile.interfaces.values()]
            assert len(set(mags)) == len(mags) or mobile.policy.granularity == "prefix"


def test_most_accesses_are_attached_at_first(scenarios: list[Scenario]) -> None:
    interfaces = sum(len(m.interfaces) for s in scenarios for m in s.mobiles)
    first = [f for s in scenarios for f in s.faults if isinstance(f, Attach) and f.at_s < 5]
    assert len(first) > 0.8 * interfaces
