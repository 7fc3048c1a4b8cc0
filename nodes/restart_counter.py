"""The Restart Counter that survives restarts (RFC 5847 section 3.2), in a small file."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

from nodes.heartbeat import Incarnation
from nodes.strict import from_json, to_json

MODULUS = 1 << 32


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    restart_counter: int


def same_start(path: Path | None) -> Incarnation:
    """Go on with the counter of the start before, whose sessions are not lost: it MUST NOT be
    incremented then (RFC 5847 section 3.2). Raises OSError or InputError."""
    before = None if path is None else _read(path)
    return count_start(path) if before is None else Incarnation(before.restart_counter)


def count_start(path: Path | None) -> Incarnation:
    """Count this start: the sessions of an earlier one are lost with its process.

    Without a file the counter is the time in s since 1970, which grows from start to start as well;
    only whether there was an earlier start isn't known then. Raises OSError or InputError.
    """
    if path is None:
        return Incarnation(int(time.time()) % MODULUS, restarted=False)
    before = _read(path) or State(0)
    counter = (before.restart_counter + 1) % MODULUS
    _write(path, to_json(State(counter)))
    return Incarnation(counter, restarted=before.restart_counter > 0)


def _read(path: Path) -> State | None:
    try:
        return from_json(path.read_bytes(), State, str(path))
    except FileNotFoundError:
        return None


def _write(path: Path, data: bytes) -> None:
    """Atomically: a crash leaves the old file or the new one."""
    beside = path.with_name(f"{path.name}.new")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
