import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.engines import kernel_process
from experiments.engines.kernel_config import KernelError
from experiments.engines.kernel_process import run_step

CHECKOUT = Path(__file__).resolve().parents[3]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_output_of_both_streams_is_returned() -> None:
    code = "import sys; print('out', flush=True); print('err', file=sys.stderr)"
    assert run_step([sys.executable, "-c", code], "step") == "out\nerr\n"


def test_failure_shows_the_last_lines() -> None:
    code = "import sys; print(*range(100), sep='\\n'); sys.exit(3)"
    with pytest.raises(KernelError) as caught:
        run_step([sys.executable, "-c", code], "compiling")
    lines = str(caught.value).splitlines()
    assert lines[0] == "compiling failed (status 3):"
    assert lines[-1].strip() == "99"
    assert len(lines) == 1 + kernel_process.SHOWN_LINES


def test_missing_program_is_named() -> None:
    with pytest.raises(KernelError, match="unpacking: the program no-such-program is missing"):
        run_step(["no-such-program"], "unpacking")


def test_interrupt_ends_the_program_and_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_process, "POLL_SECONDS", 0.01)
    pids = tmp_path / "pids"
    code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        f"open({str(pids)!r} + '.new', 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        f"os.rename({str(pids)!r} + '.new', {str(pids)!r})\n"
        "time.sleep(60)\n"
    )

    def interrupt(_: Path) -> None:
        if pids.exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_step([sys.executable, "-c", code], "step", watch=interrupt)
    deadline = time.monotonic() + 5
    found = [int(pid) for pid in pids.read_text().split()]
    while any(map(is_running, found)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(is_running, found))
    assert os.getpid() not in found


def test_killing_this_process_ends_the_program(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = (
        "import sys; from experiments.engines.kernel_process import run_step\n"
        f"run_step(['sh', '-c', 'echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; "
        "exec sleep 60'], 'step')\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=CHECKOUT)
    deadline = time.monotonic() + 10
    while not pid_file.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    parent.kill()
    parent.wait()
    pid = int(pid_file.read_text())
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(pid)
