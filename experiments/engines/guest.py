"""The engines `virtual` and `realtime`: a User-Mode Linux guest per run.

The guest boots from this machine's file system, read-only, as an ordinary process of an ordinary
user; only the run's folder is writable. With time travel its clock skips whatever time nobody
computes in.
"""

from __future__ import annotations

import json
import math
import shlex
import sys
import tempfile
from pathlib import Path

from experiments.captures.capture_plan import ring_bytes
from experiments.declaration.flows import QuicDownload
from experiments.declaration.job import Job
from experiments.engines.base import (
    CONSOLE,
    OUTCOME,
    EngineUnavailable,
    Outcome,
    ended_early,
    hung,
)
from experiments.engines.kernel_cache import Kernel
from experiments.engines.process import LimitExceeded, run_process
from nodes.strict import from_json
from topologies.crowd import mobile_nodes

INIT = Path(__file__).with_name("guest-init.sh")
MEMORY_MIB = 112
RINGS_MIB = 8  # of these, for captured packets
# Open vSwitch takes up to 25 MiB, a controller 29 (os-ken) or 37 (Ryu).
SWITCHING_MIB = 64
# aioquic and its libraries take 22 MiB, the state of a download a few.
QUIC_MIB = 48
# charon takes 10 MiB, and there is one for the LMA and for each of its MAGs.
KEY_EXCHANGE_MIB = 40
# A further mobile node: its namespace 0.6, its share of a daemon 0.9, what others know of it 0.3.
MOBILE_NODE_MIB = 2
# 2026-01-01 00:00:00 UTC: every virtual run begins at the same instant.
VIRTUAL_EPOCH_NS = 1_767_225_600_000_000_000


class GuestEngine:
    def __init__(self, kernel: Kernel, *, virtual: bool) -> None:
        self.name = "virtual" if virtual else "realtime"
        self._kernel = kernel
        self._virtual = virtual
        self.versions = {"kernel": kernel.version, "kernel_sha256": kernel.sha256}

    def run(self, folder: Path, limit_s: float) -> Outcome:
        console = folder / CONSOLE
        with tempfile.TemporaryDirectory(prefix="flowmob-") as name:
            command = self.command(Path(name), folder, "experiments.emulation.inside")
            try:
                _, wall_s = run_process(
                    [*command, "con=null", "con0=null,fd:1"],
                    console,
                    limit_s,
                    guest_environment(name),
                )
            except LimitExceeded:
                return hung(limit_s, console)
        return outcome(folder, wall_s)

    def command(
        self, work: Path, folder: Path, module: str, *, tty: str = "", memory: int | None = None
    ) -> list[str]:
        """The guest's command line, but for its consoles. `work` is a folder of this boot's own;
        `memory` in MiB, without it what the job in `folder` needs."""
        (work / "init").symlink_to(INIT)
        (work / "run").symlink_to(folder.resolve())
        environment = {
            "FLOWMOB_PYTHON": sys.executable,
            "FLOWMOB_MODULE": module,
            "FLOWMOB_TTY": tty,
            "FLOWMOB_VIRTUAL": "yes" if self._virtual else "",
        }
        (work / "environment").write_text(
            "".join(f"{name}={shlex.quote(value)}\n" for name, value in environment.items())
        )
        if any(character.isspace() or character in "\",'" for character in str(work)):
            raise EngineUnavailable(
                f"TMPDIR: {work.parent} has a character that a kernel command line can't carry; "
                "set TMPDIR to a folder without blanks, commas and quotes"
            )
        clock = (
            ["time-travel=inf-cpu", f"time-travel-start={VIRTUAL_EPOCH_NS}"]
            if self._virtual
            else []
        )
        return [
            str(self._kernel.path),
            *clock,
            *(["seccomp=auto"] if self._kernel.supports_seccomp else []),
            f"mem={memory_mib(folder) if memory is None else memory}M",
            "root=/dev/root",
            "rootfstype=hostfs",
            "rootflags=/",
            "ro",
            f"init={work}/init",
            f"uml_dir={work}",
            "norandmaps",
            "quiet",
            "ssl=null",
        ]


def guest_environment(home: str) -> dict[str, str]:
    return {"HOME": home, "TMPDIR": tempfile.gettempdir(), "PATH": "/usr/bin:/bin"}


def memory_mib(folder: Path) -> int:
    """Memory of the guest for the run in `folder`, or for a check, which has no job."""
    try:
        job = from_json((folder / "job.json").read_bytes(), Job, "job.json")
    except FileNotFoundError:
        return MEMORY_MIB
    rings_mib = math.ceil(ring_bytes(job.spec) / (1 << 20))
    return (
        MEMORY_MIB
        + max(0, rings_mib - RINGS_MIB)
        + (SWITCHING_MIB if job.spec.topology.switches else 0)
        + (QUIC_MIB if any(isinstance(f, QuicDownload) for f in job.spec.flows.values()) else 0)
        + (KEY_EXCHANGE_MIB if job.spec.protocol.protection == "ikev2" else 0)
        + (len(mobile_nodes(job.spec.topology)) - 1) * MOBILE_NODE_MIB
    )


def outcome(folder: Path, wall_s: float) -> Outcome:
    """What the run itself left as its outcome; its absence is a failure too."""
    try:
        failure = json.loads((folder / OUTCOME).read_bytes())["failure"]
    except (OSError, ValueError, KeyError):
        return ended_early(folder / CONSOLE, wall_s)
    return Outcome(failure, wall_s)
