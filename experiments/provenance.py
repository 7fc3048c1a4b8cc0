"""What a result depends on: the code, the tools, the kernel, and the data itself."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from fnmatch import fnmatch
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from experiments.declaration.job import Job
from nodes.strict import to_builtins

ROOT = Path(__file__).parent.parent
# What carries out a run, and the analysis with it: its rows are kept beside the run's data. What
# makes figures, tables and pages of many runs' rows isn't here, as it is done anew each time.
CODE = (
    "topologies",
    "nodes",
    "experiments/analysis",
    "experiments/captures",
    "experiments/declaration",
    "experiments/emulation",
    "experiments/engines",
    "experiments/execution.py",
    "experiments/tables.py",
)
# What runs on switches execute besides.
SWITCHED_CODE = ("controllers",)
# Of these a run's inputs have what they make: its job, its kernel.
MAKERS = (
    "experiments/declaration/declarations.py",
    "experiments/declaration/experiment.py",
    "experiments/declaration/cellular_trace.py",
    "experiments/declaration/generate_traces.py",
    "experiments/declaration/link_changes.py",
    "experiments/engines/features.py",
    "experiments/engines/kernel*.py",
)
CODE_SUFFIXES = (".py", ".sh")
# What a run's record names, besides what its key has.
PACKAGES = ("aioquic", "matplotlib", "msgspec", "numpy", "os-ken", "pandas", "scapy", "scipy")
TOOLS = {"iproute2": ["ip", "-V"], "nftables": ["nft", "--version"]}
FORMAT = 1


def code_files(*, switched: bool) -> list[Path]:
    """Every source file that a run or its analysis can execute, relative to the checkout."""
    found = []
    for name in (*CODE, *(SWITCHED_CODE if switched else ())):
        place = ROOT / name
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            relative = path.relative_to(ROOT)
            made = any(fnmatch(str(relative), pattern) for pattern in MAKERS)
            if path.suffix in CODE_SUFFIXES and path.is_file() and not made:
                found.append(relative)
    return found


@cache
def code_digest(*, switched: bool) -> str:
    """sha256 over `code_files`."""
    digest = hashlib.sha256()
    for path in code_files(switched=switched):
        digest.update(str(path).encode() + b"\0")
        digest.update((ROOT / path).read_bytes() + b"\0")
    return digest.hexdigest()


def run_key(job: Job, engine_versions: dict[str, str]) -> str:
    """Two runs with the same key have the same inputs, so one result serves for both."""
    inputs = {
        "format": FORMAT,
        "job": to_builtins(job),
        "engine": engine_versions,
        "code": code_digest(switched=bool(job.spec.topology.switches)),
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


@cache
def versions() -> dict[str, str]:
    """Versions of what is installed here; a tool that is missing is left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    for tool, command in TOOLS.items():
        shown = _output(command)
        if shown:
            found[tool] = shown
    return found


@cache
def commit() -> dict[str, Any]:
    """The commit of this checkout and whether it had changes; empty outside a checkout."""
    head = _output(["git", "-C", str(ROOT), "rev-parse", "HEAD"])
    if not head:
        return {}
    changed = _output(["git", "-C", str(ROOT), "status", "--porcelain"])
    return {"commit": head, "dirty": bool(changed)}


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def describe_run(
    folder: Path, job: Job, key: str, engine_versions: dict[str, str], wall_s: float
) -> dict[str, Any]:
    """The content of a run's meta.json."""
    files = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "meta.json"
    }
    return {
        "format": FORMAT,
        "key": key,
        "run": job.run,
        "parameters": to_builtins(job),
        "seed": job.seed,
        "engine": {"name": job.engine, **engine_versions},
        "versions": versions(),
        **commit(),
        "wall_s": round(wall_s, 3),
        "files": files,
    }
