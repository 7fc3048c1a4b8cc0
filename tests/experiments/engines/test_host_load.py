from __future__ import annotations

import os
from pathlib import Path

import pytest

from experiments.engines.host_load import host_load


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_busy_processes_end_with_the_block() -> None:
    with host_load(2) as pids:
        assert len(pids) == 2 * len(os.sched_getaffinity(0))
        assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in pids} == {
            os.getpriority(os.PRIO_PROCESS, 0)
        }
        assert all(state(pid) in "RD" for pid in pids)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_they_end_when_the_run_fails() -> None:
    with pytest.raises(RuntimeError), host_load(1) as pids:
        raise RuntimeError
    assert pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_no_load_is_no_process() -> None:
    with host_load(0) as pids:
        assert pids == []
