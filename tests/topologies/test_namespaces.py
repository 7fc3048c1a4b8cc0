"""Forking without a namespace needs no root; namespaces themselves are checked in the guest."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from topologies.namespaces import fork_into


def test_a_childs_output_and_status_are_kept(tmp_path: Path) -> None:
    def speak() -> int:
        print("out")
        print("err", file=sys.stderr)
        return 3

    child = fork_into(None, speak, log=tmp_path / "log")
    assert child.wait(10) == 3
    assert child.wait() == 3
    assert (tmp_path / "log").read_text() == "out\nerr\n"


def test_an_exception_is_in_the_log(tmp_path: Path) -> None:
    def fail() -> None:
        raise ValueError("no such thing")

    child = fork_into(None, fail, log=tmp_path / "log")
    assert child.wait(10) == 1
    assert "ValueError: no such thing" in (tmp_path / "log").read_text()


def test_terminate_ends_a_child_and_is_harmless_after(tmp_path: Path) -> None:
    child = fork_into(None, signal.pause, log=tmp_path / "log")
    with pytest.raises(TimeoutError, match=r"pause .* runs after 0\.01 s"):
        child.wait(0.01)
    child.terminate()
    assert child.wait(10) == -signal.SIGTERM
    child.terminate()
    child.kill()


def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    def parent() -> None:
        grandchild = fork_into(None, time.sleep, 60, log=tmp_path / "grandchild")
        print(grandchild.pid, flush=True)

    log = tmp_path / "log"
    assert fork_into(None, parent, log=log).wait(10) == 0
    pid = int(log.read_text())
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if " Z " in Path(f"/proc/{pid}/stat").read_text():
            return
    pytest.fail("the grandchild is still there")
