"""The cache of guest kernels, outside the checkout and shared by all checkouts of a user.

A kernel lies in `kernels/<version>-<config digest>/`. Such a folder appears by one rename when
everything in it is complete, so whatever has the name is a finished build.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.engines.kernel_config import (
    GuestConfig,
    KernelError,
    check_config,
    read_guest_config,
)

WORK_PREFIX = ".build-"
FINISHED_FILES = ("linux", "config", "meta.json")
PROBE_SECONDS = 20.0
BUILD_HINT = (
    "run `make kernel` to build one, or set FLOWMOB_KERNEL=FILE to a ready UML kernel "
    "or KERNEL_SOURCE=FILE_OR_FOLDER to the sources to build from"
)


@dataclass(frozen=True)
class Kernel:
    """A guest kernel that can be started."""

    path: Path
    version: str
    sha256: str
    supports_seccomp: bool
    """From Linux 6.16 on: the guest's system calls cost a third of what they cost with ptrace."""


def kernels_dir() -> Path:
    """Return the folder that holds the finished kernels."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "flowmob" / "kernels"


def find_kernel(config: GuestConfig | None = None) -> Kernel:
    """Return the kernel to use: FLOWMOB_KERNEL if set, else the newest cached one of our config."""
    config = config or read_guest_config()
    if named := os.environ.get("FLOWMOB_KERNEL"):
        return examine_binary(Path(named).expanduser(), config)
    problems: list[str] = []
    for folder in sorted(_finished(config.digest), key=_version_key, reverse=True):
        try:
            return _load(folder)
        except KernelError as error:
            problems.append(str(error))
    found = "; ".join(problems) or f"none with configuration {config.digest} in {kernels_dir()}"
    raise KernelError(f"no guest kernel: {found}; {BUILD_HINT}")


def version_key(version: str) -> tuple[int, ...]:
    """Return a sort key for a kernel version such as 6.1.192 or 7.3-rc2."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def examine_binary(path: Path, config: GuestConfig) -> Kernel:
    """Check a kernel that the user names: that it is UML and has what the guest needs."""
    if not path.is_file() or not os.access(path, os.X_OK):
        raise KernelError(f"FLOWMOB_KERNEL={path}: expected an executable UML kernel (`linux`)")
    version = _ask(path, "--version").strip()
    if not re.fullmatch(r"\d+\.\d+\S*", version):
        raise KernelError(f"FLOWMOB_KERNEL={path}: is no UML kernel (--version said {version!r})")
    check_config(_ask(path, "--showconfig"), config, f"FLOWMOB_KERNEL={path} (Linux {version})")
    return Kernel(path.resolve(), version, sha256_of(path), supports_seccomp(path))


def supports_seccomp(path: Path) -> bool:
    """Tell whether a kernel knows `seccomp=`."""
    return "seccomp=" in _ask(path, "--help")


@contextmanager
def build_lock(say: Callable[[str], None]) -> Iterator[Path]:
    """Hold the right to build; yield the cache folder, freed of what dead builds left behind.

    The lock belongs to the open file, so the system frees it however its holder ends.
    """
    root = kernels_dir()
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = (root / ".lock").open("a+")
    except OSError as error:
        raise KernelError(
            f"cannot write the kernel cache {root}: {error.strerror}; "
            "set XDG_CACHE_HOME to a folder that you can write"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another checkout is building a guest kernel; waiting for it to finish")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in root.glob(f"{WORK_PREFIX}*"):
            say(f"removing what an interrupted build left in {leftover}")
            shutil.rmtree(leftover, ignore_errors=True)
        yield root


def install(root: Path, work: Path, files: dict[str, Path], meta: dict[str, Any]) -> Path:
    """Put a finished kernel into the cache in one step."""
    staged = work / "finished"
    staged.mkdir()
    for name, source in files.items():
        shutil.copy2(source, staged / name)
    (staged / "meta.json").write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
    for entry in (*staged.iterdir(), staged):
        _flush(entry)
    target = root / f"{meta['version']}-{meta['config_digest']}"
    if target.exists():
        # Only a damaged kernel is built again; a guest that still runs keeps its open file.
        target.rename(work / "replaced")
    staged.rename(target)
    _flush(root)
    return target


def clean() -> list[Path]:
    """Remove every cached kernel and what dead builds left; return what was removed."""
    if not kernels_dir().is_dir():
        return []
    with build_lock(lambda _: None) as root:
        removed = [entry for entry in root.iterdir() if entry.is_dir()]
        for entry in removed:
            shutil.rmtree(entry)
    return removed


def _finished(digest: str) -> list[Path]:
    return [folder for folder in kernels_dir().glob(f"*-{digest}") if folder.is_dir()]


def _version_key(folder: Path) -> tuple[int, ...]:
    return version_key(folder.name.rpartition("-")[0])


def _load(folder: Path) -> Kernel:
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        kernel = Kernel(
            path=folder / "linux",
            version=meta["version"],
            sha256=meta["sha256"],
            supports_seccomp=meta["supports_seccomp"],
        )
        actual = sha256_of(kernel.path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KernelError(f"{folder} is damaged ({error})") from error
    if actual != kernel.sha256:
        raise KernelError(f"{kernel.path} is damaged (its SHA-256 is not the one in meta.json)")
    return kernel


def _ask(path: Path, option: str) -> str:
    try:
        answer = subprocess.run(
            [str(path), option],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KernelError(f"{path} {option}: {error}") from error
    return answer.stdout


def _flush(path: Path) -> None:
    """Write a file or folder through to the disk, so that no crash leaves an empty one."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
