"""The engine `host`: this machine's own kernel, as root, in real time.

The whole run lives in namespaces of its own for network, processes and mounts. When its first
process ends, however that comes about, the kernel removes everything in them, and nothing outside
was ever touched: that is the clean-up.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from pathlib import Path

from experiments.engines.base import CONSOLE, EngineUnavailable, Outcome, hung
from experiments.engines.features import NEEDED, missing_features
from experiments.engines.guest import outcome
from experiments.engines.process import LimitExceeded, run_process

OWN_NAMESPACES = (
    "unshare",
    "--net",
    "--mount",
    "--pid",
    "--ipc",
    "--uts",
    "--fork",
    "--kill-child=SIGKILL",
    "--mount-proc",
    "--",
)
# Temporary files go with the run's mount namespace, however the run ends.
_OWN_TEMPORARY_FILES = ("sh", "-c", 'mount -t tmpfs tmpfs "$TMPDIR" && exec "$@"', "sh")


class HostEngine:
    name = "host"

    def __init__(self) -> None:
        """Raises EngineUnavailable, before anything was created, if this kernel lacks a feature."""
        if os.geteuid() != 0:
            raise EngineUnavailable(
                "engine host: needs root (you are not); the engine virtual needs none"
            )
        missing = missing_features(NEEDED)
        if missing:
            names = ", ".join(item.name for item in missing)
            lines = [f"engine host: kernel {platform.release()} lacks {names}"]
            lines += [f"  {item.name}: {item.why}. {item.remedy}" for item in missing]
            lines.append("Use ENGINE=virtual (the default), which brings a kernel of its own.")
            raise EngineUnavailable("\n".join(lines))
        self.versions = {"kernel": platform.release()}

    def run(self, folder: Path, limit_s: float) -> Outcome:
        console = folder / CONSOLE
        program = (sys.executable, "-s", "-m", "experiments.emulation.inside", str(folder))
        with tempfile.TemporaryDirectory(prefix="flowmob-") as name:
            try:
                _, wall_s = run_process(
                    [*OWN_NAMESPACES, *_OWN_TEMPORARY_FILES, *program],
                    console,
                    limit_s,
                    {
                        **os.environ,
                        "PYTHONHASHSEED": "0",
                        "PYTHONSAFEPATH": "1",
                        "TMPDIR": name,
                    },
                )
            except LimitExceeded:
                return hung(limit_s, console)
        return outcome(folder, wall_s)
