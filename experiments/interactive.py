"""`flowmob shell`: the testbed with a prompt, on an engine that runs in real time."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import msgspec

from experiments.declaration.experiment import TOPOLOGIES, jobs, load, points
from experiments.declaration.job import Job, write_atomically
from experiments.engines.guest import GuestEngine
from experiments.engines.host import OWN_NAMESPACES
from experiments.runner import make_engine
from nodes.northbound import Mode
from nodes.strict import InputError, load_toml, to_json
from topologies.model import Topology

# Whose flows the prompt begins with.
EXPERIMENT = "smoke"


def open_shell(
    topology: str, engine: str, prefix_model: str, data_plane: Mode | None = None
) -> int:
    """Run the prompt on `topology`; returns its exit status.

    `data_plane`: by default sdn-core where there are switches. Raises InputError for an unknown
    topology or a data plane that it can't have, EngineUnavailable or KernelError.
    """
    job = _job(topology, engine, prefix_model, data_plane)
    chosen = make_engine(engine)
    print(f"flowmob: starting {topology} on the {engine} engine, a few seconds", flush=True)
    with tempfile.TemporaryDirectory(prefix="flowmob-") as name, _terminal_restored():
        folder = Path(name) / "run"
        folder.mkdir()
        write_atomically(folder / "job.json", to_json(job))
        if engine == "host":
            command = [*OWN_NAMESPACES, sys.executable, "-s", "-m", "experiments.emulation.prompt"]
            return subprocess.run([*command, str(folder)], check=False).returncode
        boot = Path(name) / "boot"
        boot.mkdir()
        guest = cast(GuestEngine, chosen)
        command = guest.command(boot, folder, "experiments.emulation.prompt", tty="/dev/tty0")
        environment = {**os.environ, "HOME": name}
        return subprocess.run(
            [*command, "con=null", "con0=fd:0,fd:1"], env=environment, check=False
        ).returncode


def _job(topology: str, engine: str, prefix_model: str, data_plane: Mode | None) -> Job:
    path = TOPOLOGIES / f"{topology}.toml"
    if not path.is_file():
        known = ", ".join(sorted(path.stem for path in TOPOLOGIES.glob("*.toml")))
        raise InputError("topology", "TOPOLOGY", topology, f"expected one of {known}")
    job = next(jobs(EXPERIMENT, points(EXPERIMENT, load(EXPERIMENT), 1), engine))
    found = load_toml(path, Topology)
    if data_plane is None:
        data_plane = "sdn-core" if found.switches else "tunnel"
    changes = {"prefix_model": prefix_model, "data_plane": data_plane}
    protocol = msgspec.structs.replace(job.spec.protocol, **changes)
    try:
        spec = msgspec.structs.replace(job.spec, topology=found, protocol=protocol)
    except ValueError as error:
        raise InputError("shell", "--data-plane", data_plane, str(error)) from None
    return msgspec.structs.replace(job, spec=spec)


@contextlib.contextmanager
def _terminal_restored() -> Iterator[None]:
    """A guest puts the terminal into raw mode and doesn't put it back when it is killed."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
