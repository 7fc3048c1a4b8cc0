"""Boots a guest kernel for a trivial command: does it start here, and does time travel work?"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from experiments.engines.kernel_config import KernelError
from experiments.engines.kernel_process import end_group, last_lines

BOOT_SECONDS = 60.0
START_NS = 1_700_000_000_000_000_000
SLEEP_SECONDS = 3600
MARK = "flowmob-boot "

# The guest has the machine's file system, so its first process is the distribution's Python.
# It halts the guest by the system call, because not every machine has a `poweroff`.
_INIT = f"""#!/usr/bin/python3
import ctypes, json, os, time
start = time.time()
time.sleep({SLEEP_SECONDS})
end = time.time()
found = dict(release=os.uname().release, uid=os.getuid(), start=start, slept=end - start)
print({MARK!r} + json.dumps(found), flush=True)
ctypes.CDLL(None, use_errno=True).reboot(0x4321FEDC)
"""


@dataclass(frozen=True)
class Boot:
    """What a guest that was started for a check reported."""

    release: str
    wall_seconds: float


def boot_command(kernel: Path, init: Path, folder: Path, seccomp: str | None) -> list[str]:
    """Return the command that boots a kernel in virtual time with `init` as its first process."""
    return [
        str(kernel),
        "time-travel=inf-cpu",
        f"time-travel-start={START_NS}",
        *([f"seccomp={seccomp}"] if seccomp else []),
        "mem=64M",
        "root=/dev/root",
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        f"init={init}",
        f"uml_dir={folder}",
        "con=null",
        "con0=fd:0,fd:1",
        "ssl=null",
        "quiet",
    ]


def check_boot(kernel: Path, *, seccomp: bool) -> Boot:
    """Boot a kernel, let an hour of virtual time pass, halt it; raise KernelError if it can't."""
    with tempfile.TemporaryDirectory(prefix="flowmob-boot-") as name:
        folder = Path(name)
        init = folder / "init"
        init.write_text(_INIT, encoding="utf-8")
        init.chmod(0o755)
        command = boot_command(kernel, init, folder, "on" if seccomp else None)
        began = time.monotonic()
        console = _console_of(kernel, command, {**os.environ, "HOME": name})
    return read_report(kernel, console, time.monotonic() - began)


def read_report(kernel: Path, console: str, wall_seconds: float) -> Boot:
    """Find the guest's report on its console and check it."""
    report = next((line for line in console.splitlines() if line.startswith(MARK)), None)
    if report is None:
        raise KernelError(
            f"{kernel}: the guest did not boot; the console's last lines:\n{last_lines(console)}"
        )
    found = json.loads(report.removeprefix(MARK))
    late = abs(found["start"] - START_NS / 1e9) > SLEEP_SECONDS
    if late or abs(found["slept"] - SLEEP_SECONDS) > 1:
        raise KernelError(
            f"{kernel}: time travel does not work: slept {found['slept']:.3f} s instead of "
            f"{SLEEP_SECONDS} s from {found['start']:.0f}"
        )
    return Boot(found["release"], wall_seconds)


def _console_of(kernel: Path, command: list[str], environment: dict[str, str]) -> str:
    try:
        guest = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise KernelError(f"{kernel}: cannot start: {error.strerror}") from error
    try:
        return guest.communicate(timeout=BOOT_SECONDS)[0].decode(errors="replace")
    except subprocess.TimeoutExpired as error:
        end_group(guest)
        console = guest.communicate()[0].decode(errors="replace")
        raise KernelError(
            f"{kernel}: no halt within {BOOT_SECONDS:.0f} s; the console's last lines:\n"
            f"{last_lines(console)}"
        ) from error
    except BaseException:
        end_group(guest)
        raise
