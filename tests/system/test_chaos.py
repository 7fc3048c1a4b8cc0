"""A scenario with every kind of fault in a guest, and a daemon that is broken on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from experiments.chaos.campaign import run_one
from experiments.chaos.generate import generate
from experiments.chaos.scenario import Kill, Scenario
from experiments.chaos.shrink import cut
from experiments.engines.kernel_cache import Kernel

# Three MAGs, six mobile nodes, one episode with faults seconds apart.
SEED = 8


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    found = generate(SEED)
    return cut(found, found.agreed_s[0])


def test_faults_leave_everybody_in_agreement(
    kernel: Kernel, scenario: Scenario, tmp_path: Path
) -> None:
    verdict = run_one(kernel, scenario, tmp_path, "run").verdict
    assert verdict.rules == {}, verdict.told
    assert verdict.faults == len(scenario.faults)
    assert len({type(fault) for fault in scenario.faults}) > 8
    assert verdict.looks > 2 * verdict.faults
    assert verdict.packets > 1000
    assert not (tmp_path / "failed").exists()


def test_what_fails_is_kept_with_its_scenario(
    kernel: Kernel, scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All faults end long before the end; here daemons that were killed are not started again."""
    late = replace(
        scenario,
        faults=tuple(
            replace(fault, for_s=1_000.0) if isinstance(fault, Kill) else fault
            for fault in scenario.faults
        ),
    )
    verdict = run_one(kernel, late, tmp_path, "run").verdict
    assert "agree-running" in verdict.rules
    assert (tmp_path / "failed" / "run" / "scenario.json").is_file()
