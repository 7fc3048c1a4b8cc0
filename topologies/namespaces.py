"""Network namespaces and processes in them.

A namespace is an open file descriptor: it lives as long as the descriptor, an interface's peer or
a process in it does, needs no name in the file system, and is inherited by forked children.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

CLONE_NEWNET, CLONE_NEWNS = 0x4000_0000, 0x0002_0000
MS_REC, MS_PRIVATE = 0x4000, 1 << 18
PR_SET_PDEATHSIG = 1
PR_SET_TIMERSLACK = 29
OWN_NAMESPACE = "/proc/thread-self/ns/net"

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def enter(namespace: int) -> None:
    """Move the calling thread into a network namespace. Raises OSError."""
    _checked(_libc.setns(namespace, CLONE_NEWNET), "setns")


@contextlib.contextmanager
def inside(namespace: int) -> Iterator[None]:
    """The calling thread is in `namespace` for the time of the block. Raises OSError."""
    back = os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(namespace)
        try:
            yield
        finally:
            enter(back)
    finally:
        os.close(back)


def create() -> int:
    """Make a network namespace and return its descriptor, which the caller closes."""
    back = os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _checked(_libc.unshare(CLONE_NEWNET), "unshare")
        try:
            return os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        finally:
            enter(back)
    finally:
        os.close(back)


def socket_in(namespace: int, make: Callable[[], T]) -> T:
    """What `make` returns when called in `namespace`: a socket stays in the one it was made in."""
    with inside(namespace):
        return make()


def mount_privately(folder: Path) -> None:
    """Give this process, alone, an empty folder in memory in place of `folder`. Raises OSError."""
    _checked(_libc.unshare(CLONE_NEWNS), "unshare")
    _checked(_libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount")
    target = os.fsencode(folder)
    _checked(_libc.mount(b"tmpfs", target, b"tmpfs", 0, None), f"mount {folder}")


def set_timer_slack(nanoseconds: int) -> None:
    """How late the kernel may wake this process; the default of 50 us would show in every send."""
    _checked(_libc.prctl(PR_SET_TIMERSLACK, nanoseconds, 0, 0, 0), "prctl(PR_SET_TIMERSLACK)")


class Child:
    """A forked process. Not for use from several threads."""

    def __init__(self, pid: int, name: str, log: Path) -> None:
        self.pid, self.name, self.log = pid, name, log
        self.pidfd = os.pidfd_open(pid)
        self._status: int | None = None

    def terminate(self) -> None:
        """Ask the process to end (SIGTERM); nothing happens if it has ended."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)

    def wait(self, timeout_s: float | None = None) -> int:
        """Exit status, negative for the signal that ended it. Raises TimeoutError."""
        if self._status is None:
            poller = select.poll()
            poller.register(self.pidfd, select.POLLIN)
            if not poller.poll(None if timeout_s is None else timeout_s * 1000):
                raise TimeoutError(f"{self.name} (pid {self.pid}) runs after {timeout_s} s")
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            os.close(self.pidfd)
        return self._status


def fork_into(
    namespace: int | None,
    function: Callable[..., int | None],
    *args: object,
    log: Path,
    name: str = "",
) -> Child:
    """Run `function(*args)` in a forked process in `namespace` (None: the caller's).

    Its standard output and standard error are appended to `log`. It ends with the number that
    `function` returns (None: 0), or with 1 and a traceback in the log; and it is killed when the
    calling process ends. The caller must have no other threads.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    # Without this the child's first garbage collection would copy most of the parent's pages.
    gc.freeze()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return Child(pid, name or function.__name__, log)
    status = 1
    try:
        _prepare_child(parent, log)
        if namespace is not None:
            enter(namespace)
        status = function(*args) or 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        # Not sys.exit: the parent's exit handlers and `finally` blocks are not the child's.
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _prepare_child(parent: int, log: Path) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    _checked(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    sys.stdin = open(0, closefd=False, encoding="utf-8")  # noqa: SIM115
    sys.stdout = open(1, "w", buffering=1, closefd=False, encoding="utf-8")  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False, encoding="utf-8")  # noqa: SIM115
