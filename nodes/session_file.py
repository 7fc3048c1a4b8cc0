"""The file that an LMA keeps its sessions in (`nodes.lma.session_records`).

It begins with the whole of them, and each line more is what one input changed, with a checksum. A
line that was being written when the process died is the last one, and doesn't count: nothing that
follows from it has happened. When lines have become much more than the whole, the whole is written
anew, beside it, and takes its place.

Lines aren't forced to the disk: a process that dies loses none, and a machine that does has lost
what its kernel knew as well. A record of an earlier start of the machine isn't used.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Callable, Iterable
from ipaddress import IPv6Address
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from nodes.lma.session_records import Record

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
FORMAT, VERSION = "flowmob LMA sessions", 1
# Lines may grow to the size of the whole, and to this many octets.
LEAST_GROWTH = 1 << 20
_CHECKSUM_OCTETS = 8

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(tuple[Record, ...])


class SessionsRefused(ValueError):
    """A file that isn't what it should be; the text says which, why, and what was expected."""


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: str
    version: int
    lma: str
    boot: str


class Found(NamedTuple):
    """Records of an earlier start; none, and perhaps why a file is of no use."""

    records: tuple[Record, ...] = ()
    note: str | None = None


def machine_start() -> str:
    """What is another after each start of this machine."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


class SessionFile:
    """`everything` gives the records that are the whole, and is needed to write."""

    def __init__(self, path: Path, lma: IPv6Address, boot: str | None = None) -> None:
        self._path = path
        self._header = _Header(FORMAT, VERSION, str(lma), machine_start() if boot is None else boot)
        self.everything: Callable[[], Iterable[Record]] = tuple
        self._file: BinaryIO | None = None
        self._growth_left = 0

    def find(self) -> Found:
        """What an earlier start has left. A file that is refused is set aside, as NAME.refused.
        Raises OSError."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return Found()
        try:
            return self._read(data)
        except SessionsRefused as error:
            aside = self._path.with_name(f"{self._path.name}.refused")
            self._path.replace(aside)
            return Found(note=f"{error}; it is {aside} now, and this LMA starts without sessions")

    def _read(self, data: bytes) -> Found:
        first, _, rest = data.partition(b"\n")
        try:
            header = msgspec.json.decode(_checked(first), type=_Header)
        except ValueError as error:
            raise self._refuse(f"its first line is wrong ({error})") from None
        if msgspec.structs.replace(header, boot=self._header.boot) != self._header:
            raise self._refuse(
                f"it is of {header.format!r} version {header.version} of LMA {header.lma}"
            )
        if header.boot != self._header.boot:
            return Found(note=f"{self._path}: from before this machine started; not used")
        *lines, torn = rest.split(b"\n")
        records: list[Record] = []
        for number, line in enumerate(lines, start=2):
            try:
                records += read_line(line)
            except ValueError as error:
                raise self._refuse(f"line {number} is wrong ({error})") from None
        return Found(tuple(records), f"{self._path}: its last line is torn" if torn else None)

    def _refuse(self, what: str) -> SessionsRefused:
        expected = f"{FORMAT!r} version {VERSION} of LMA {self._header.lma}"
        return SessionsRefused(f"{self._path}: {what}; expected {expected}")

    def begin(self) -> None:
        """Write the whole anew. A crash leaves the old file or the new one. Raises OSError."""
        self._close()
        beside = self._path.with_name(f"{self._path.name}.new")
        data = _line(_encoder.encode(self._header)) + line_of(self.everything())
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)
        self._file = self._path.open("ab", buffering=0)
        self._growth_left = max(LEAST_GROWTH, len(data))

    def append(self, records: Iterable[Record]) -> None:
        """Add what changed. Raises OSError, and then there is no file any more: one that lacks
        something would be worse than none. The next call begins a new one."""
        if self._file is None or self._growth_left <= 0:
            self.begin()  # what changed is in it
            return
        line = line_of(records)
        try:
            written = self._file.write(line)
            if written != len(line):
                raise OSError(f"{self._path}: {written} of {len(line)} octets were written")
        except OSError:
            self._close()
            with contextlib.suppress(OSError):
                self._path.unlink()
            raise
        self._growth_left -= len(line)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def close(self) -> None:
        """The file stays, for the next start."""
        self._close()


def line_of(records: Iterable[Record]) -> bytes:
    return _line(_encoder.encode(tuple(records)))


def read_line(line: bytes) -> tuple[Record, ...]:
    """Raises ValueError."""
    return _decoder.decode(_checked(line.removesuffix(b"\n")))


def _line(data: bytes) -> bytes:
    return b"%08x %s\n" % (zlib.crc32(data), data)


def _checked(line: bytes) -> bytes:
    """The octets behind a checksum. Raises ValueError."""
    checksum, data = line[:_CHECKSUM_OCTETS], line[_CHECKSUM_OCTETS + 1 :]
    if checksum != b"%08x" % zlib.crc32(data):
        raise ValueError("checksum")
    return data
