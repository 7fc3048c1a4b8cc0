"""The testbed with Mininet's prompt: what `flowmob shell` runs in a guest or on a host kernel."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from controllers.fabric import Fabric
from experiments.declaration.job import Job
from experiments.emulation.inside import leave
from experiments.emulation.roles import MN_ID
from experiments.emulation.rule_listing import list_flows, rule_lines
from experiments.emulation.testbed import Testbed, bind_flows, testbed
from nodes.control_client import Session
from nodes.strict import from_json
from topologies.fabric import fabric_description
from topologies.model import Role
from topologies.shell import FlowShell

REGISTRATION_LIMIT_S = 10.0
POLL_S = 0.05

WELCOME = """
Both accesses are attached and the flows are bound. Try:
  bindings            the LMA's binding cache: one entry an attached interface
  flows               its flow mobility cache
  move 1 cell         move flow 1 to the cellular access
  link wlan down delay=20     change a link in place
  mn ip -6 addr       a command in a node
  help, exit
"""
WITH_SWITCHES = """  rules [s2]          what the switches do with the packets of flows
"""


def open_prompt(folder: Path, script: str | None = None) -> None:
    """Bring up the testbed that `job.json` describes and run the prompt until the user leaves.
    `script`: the name of a file with commands to run instead."""
    job = from_json((folder / "job.json").read_bytes(), Job, "job.json")
    with contextlib.ExitStack() as stack:
        state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flowmob-")))
        control = state / "control.sock"
        bed = stack.enter_context(testbed(job.spec, job.seed, folder, control))
        with Session(control) as session:
            for attachment in job.spec.attachments:
                bed.network.set_access(attachment.access, True)
                _await_registration(session, attachment.access)
            bind_flows(job.spec, session)
        print(WELCOME + (WITH_SWITCHES if bed.switches is not None else ""))
        show = partial(show_rules, bed) if bed.roles.controller is not None else None
        FlowShell(bed.network, control, MN_ID, script=script, switches=bed.switches, rules=show)


def show_rules(bed: Testbed, switch: str | None) -> str:
    """Raises OSError, ValueError."""
    topology = bed.network.topology
    namespace = bed.network.namespace(topology.node_with_role(Role.CONTROLLER))
    fabric = Fabric(fabric_description(topology))
    return "\n".join(rule_lines(fabric, list_flows(namespace), switch))


def _await_registration(session: Session, access: str) -> None:
    """The control socket tells states and not events, so this asks until it is so."""
    deadline = time.monotonic() + REGISTRATION_LIMIT_S
    while time.monotonic() < deadline:
        bindings = session.request({"op": "bindings"})["result"]
        if any(entry["access"] == access for entry in bindings):
            return
        time.sleep(POLL_S)
    raise TimeoutError(f"{access}: not registered within {REGISTRATION_LIMIT_S:g} s")


def main(arguments: list[str]) -> int:
    """`FOLDER [--power-off]`."""
    status = 1
    try:
        open_prompt(Path(arguments[0]))
        status = 0
    except Exception as error:  # in a guest nobody else is there to say it
        print(f"flowmob: {type(error).__name__}: {error}", file=sys.stderr)
    finally:
        status = leave(status, "--power-off" in arguments)
    return status


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
