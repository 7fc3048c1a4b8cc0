"""What a result depends on: the code, the tools, the kernel, and the data itself."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from experiments.declaration.job import Job
from nodes.strict import to_builtins

ROOT = Path(__file__).parent.parent
# What a run executes, and the analysis with it: its rows are kept beside the run's data.
CODE = ("topologies", "nodes", "experiments")
CODE_SUFFIXES = (".py", ".sh")
PACKAGES = ("msgspec", "numpy", "pandas", "scipy", "matplotlib", "scapy")
TOOLS = {"iproute2": ["ip", "-V"], "nftables": ["nft", "--version"]}
FORMAT = 1


@cache
def code_digest() -> str:
    """sha256 over every source file that a run or its analysis can execute."""
    digest = hashlib.sha256()
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in CODE_SUFFIXES and path.is_file():
                digest.update(str(path.relative_to(ROOT)).encode() + b"\0")
                digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def run_key(job: Job, engine_versions: dict[str, str]) -> str:
    """Two runs with the same key have the same inputs, so one result serves for both."""
    inputs = {
        "format": FORMAT,
        "job": to_builtins(job),
        "engine": engine_versions,
        "code": code_digest(),
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
