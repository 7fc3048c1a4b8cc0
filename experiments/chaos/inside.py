"""First program of a guest that runs a scenario: `python -m experiments.chaos.inside FOLDER`.

Reads `scenario.json` in the folder; leaves `record.jsonl`, `packets.jsonl`, events, logs and an
outcome. Whether it went well is for the checks to say: `experiments.chaos.checks`.
"""

from __future__ import annotations

import contextlib
import gc
import json
import resource
import sys
import tempfile
import traceback
from pathlib import Path

from experiments.chaos.agents import Agents
from experiments.chaos.control import NoAnswer
from experiments.chaos.course import Course
from experiments.chaos.domain import configure, topology
from experiments.chaos.loop import Loop
from experiments.chaos.record import Recorder
from experiments.chaos.scenario import SCENARIO, read
from experiments.declaration.job import write_atomically
from experiments.emulation.inside import leave
from experiments.emulation.testbed import RunFailed
from experiments.emulation.traffic import run_start
from experiments.engines.base import OUTCOME
from topologies.namespaces import set_timer_slack
from topologies.network import running

# select() knows no more.
DESCRIPTORS = 1024
LEAD_S = 0.5


def carry_out(folder: Path) -> None:
    """Raises RunFailed if a daemon failed, NoAnswer, or what went wrong in this program."""
    scenario = read(folder / SCENARIO)
    for name in ("logs", "events"):
        (folder / name).mkdir(exist_ok=True)
    set_timer_slack(1)
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    built = topology(scenario)
    gc.freeze()
    with contextlib.ExitStack() as stack:
        state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flowmob-")))
        network = stack.enter_context(running(built, scenario.seed))
        agents = Agents(network, configure(scenario, built, folder / "events", state), folder)
        stack.callback(agents.close)
        agents.start_all()
        recorder = Recorder(folder)
        stack.callback(recorder.close)
        loop = Loop(run_start(LEAD_S))
        stack.callback(loop.close)
        course = Course(scenario, network, agents, loop, recorder, folder, state)
        stack.callback(course.close)
        course.run()


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0])
    failure: str | None = None
    try:
        carry_out(folder)
    except (RunFailed, NoAnswer) as error:
        failure = str(error)
    except BaseException as error:  # whatever it is, the outcome has to say it
        traceback.print_exc()
        failure = f"{type(error).__name__}: {error}"
    try:
        write_atomically(folder / OUTCOME, json.dumps({"failure": failure}).encode())
    finally:
        status = leave(0 if failure is None else 1, "--power-off" in arguments)
    return status


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
