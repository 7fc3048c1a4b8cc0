"""What a daemon gives up before it serves: it was started by root, and needs little of that.

It keeps the capabilities to configure the network and to use raw sockets, and can get no others,
nor can a program that it would start: it has a bounding set, and no_new_privs. In place of the
folder for temporary files it has an empty one of its own, which nobody else sees.

It stays the user root without root's rights over files: it may write to what root owns. What others
own (results of a guest that isn't root's) has to be open by then.
"""

from __future__ import annotations

import ctypes
import os
import struct
import tempfile
from collections.abc import Collection
from pathlib import Path

# linux/capability.h
CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN = 10, 12, 13, 21
_VERSION_3 = 0x2008_0522
# linux/prctl.h
_PR_CAPBSET_READ, _PR_CAPBSET_DROP = 23, 24
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
# linux/sched.h, linux/mount.h
_CLONE_NEWNS = 0x0002_0000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 8, 0x1000, 0x4000, 1 << 18
TEMPORARY_OPTIONS = b"mode=0700,size=1m"

NETWORK = frozenset((CAP_NET_ADMIN, CAP_NET_RAW))
# Several nodes in one process go from one network namespace to another, for which Linux wants this.
NETWORKS = NETWORK | {CAP_SYS_ADMIN}

_libc = ctypes.CDLL(None, use_errno=True)


def confine(capabilities: Collection[int], shared: Path | None = None) -> None:
    """For the calling process, which has one thread, and for good. Of the folder for temporary
    files, `shared` stays: where control sockets are, and state. Raises OSError."""
    _own_temporary_folder(Path(tempfile.gettempdir()), shared)
    drop_capabilities(capabilities)


def drop_capabilities(kept: Collection[int]) -> None:
    """All but `kept`, of this thread and those that it starts from now on. Raises OSError."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    number = 0
    # A number that the kernel doesn't know is an error.
    while (there := _libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0)) >= 0:
        if there and number not in kept:
            _prctl(_PR_CAPBSET_DROP, number)
        number += 1
    low, high = (sum(1 << n % 32 for n in kept if n // 32 == word) for word in (0, 1))
    header = struct.pack("=Ii", _VERSION_3, 0)
    # Effective, permitted and inheritable, first those below 32.
    sets = struct.pack("=6I", low, low, 0, high, high, 0)
    _checked(_libc.capset(header, sets), "capset")


def _own_temporary_folder(temporary: Path, shared: Path | None) -> None:
    _checked(_libc.unshare(_CLONE_NEWNS), "unshare")
    _mount(b"none", Path("/"), _MS_REC | _MS_PRIVATE)
    inside = shared is not None and shared.is_relative_to(temporary)
    kept = os.open(shared, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if shared and inside else None
    try:
        flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
        _mount(b"tmpfs", temporary, flags, b"tmpfs", TEMPORARY_OPTIONS)
        if kept is not None and shared is not None:
            shared.mkdir(mode=0o700, parents=True)
            _mount(f"/proc/self/fd/{kept}".encode(), shared, _MS_BIND)
    finally:
        if kept is not None:
            os.close(kept)


def _mount(
    source: bytes, target: Path, flags: int, kind: bytes | None = None, options: bytes | None = None
) -> None:
    _checked(_libc.mount(source, os.fsencode(target), kind, flags, options), f"mount {target}")


def _prctl(option: int, value: int) -> None:
    _checked(_libc.prctl(option, value, 0, 0, 0), f"prctl {option}")


def _checked(result: int, what: str) -> None:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
