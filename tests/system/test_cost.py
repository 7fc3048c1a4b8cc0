"""What a reference run costs: memory of the guest, and time."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from experiments.declaration.experiment import Point
from experiments.engines.guest import GuestEngine
from experiments.engines.kernel_cache import Kernel
from tests.system.guests import LIMIT_S, job_of, processes, put_job

MEMORY_LIMIT_BYTES = 128 << 20
WALL_LIMIT_S = 5.0
LOOK_EVERY_S = 0.05
TRIES = 5


def _family(root: int) -> set[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for pid in processes(lambda _: True):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(pid)
    found: set[int] = set()
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        waiting += children.get(pid, [])
    return found


def _memory_bytes(pids: set[int]) -> int:
    """Resident memory; what is shared counts once (proportional set size)."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
    return total


def test_guest_stays_small(
    kernel: Kernel,
    reference_point: Callable[[str], Point],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    folder = put_job(tmp_path, job_of(reference_point("unique-ack"), "virtual", 1))
    # A name of its own tells this guest from those of other tests.
    with tempfile.TemporaryDirectory(prefix="flowmob-test-") as name:
        path = Path(name) / "linux"
        shutil.copy2(kernel.path, path)
        own = Kernel(path, kernel.version, kernel.sha256, kernel.supports_seccomp)
        outcome = []
        running = threading.Thread(
            target=lambda: outcome.append(GuestEngine(own, virtual=True).run(folder, LIMIT_S))
        )
        running.start()
        peak = 0
        while running.is_alive():
            for root in processes(lambda command: command.startswith(str(path).encode())):
                peak = max(peak, _memory_bytes(_family(root)))
            running.join(LOOK_EVERY_S)
    assert outcome[0].failure is None
    record_property("peak_bytes", peak)
    print(f"peak {peak / 2**20:.1f} MiB")
    assert (32 << 20) < peak < MEMORY_LIMIT_BYTES


def test_reference_run_is_fast(
    virtual: GuestEngine,
    kernel: Kernel,
    reference_point: Callable[[str], Point],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """30 emulated seconds, boot and agents included, on a core that need not be idle."""
    limit_s = WALL_LIMIT_S if kernel.supports_seccomp else 4 * WALL_LIMIT_S
    took: list[float] = []
    for number in range(TRIES):
        folder = put_job(
            tmp_path / str(number), job_of(reference_point("unique-ack"), "virtual", 1)
        )
        outcome = virtual.run(folder, LIMIT_S)
        assert outcome.failure is None
        took.append(outcome.wall_s)
        if outcome.wall_s <= limit_s:
            break
    record_property("wall_s", min(took))
    print(f"{min(took):.2f} s")
    assert min(took) <= limit_s
