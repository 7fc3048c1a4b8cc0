"""A scenario in a guest of its own."""

from __future__ import annotations

import tempfile
from pathlib import Path

from experiments.chaos.scenario import SCENARIO, Scenario, write
from experiments.engines.base import CONSOLE, Outcome, hung
from experiments.engines.guest import GuestEngine, guest_environment, outcome
from experiments.engines.kernel_cache import Kernel
from experiments.engines.process import LimitExceeded, run_process

MEMORY_MIB, MOBILE_NODE_MIB, MAG_MIB = 128, 4, 8
# Real time, of a machine that does other things as well.
LIMIT_S = 1_200.0


def carry_out(kernel: Kernel, scenario: Scenario, folder: Path) -> Outcome:
    """Leaves in `folder` what `experiments.chaos.inside` says."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "logs").mkdir(exist_ok=True)
    write(folder / SCENARIO, scenario)
    console = folder / CONSOLE
    memory = MEMORY_MIB + MOBILE_NODE_MIB * len(scenario.mobiles) + MAG_MIB * scenario.mags
    with tempfile.TemporaryDirectory(prefix="flowmob-") as name:
        engine = GuestEngine(kernel, virtual=True)
        command = engine.command(Path(name), folder, "experiments.chaos.inside", memory=memory)
        try:
            _, wall_s = run_process(
                [*command, "con=null", "con0=null,fd:1"],
                console,
                LIMIT_S,
                guest_environment(name),
            )
        except LimitExceeded:
            return hung(LIMIT_S, console)
    return outcome(folder, wall_s)
