"""Security associations for ESP with AES-GCM (RFC 4303, RFC 4106), and the file that has them.

The file is a table as Wireshark keeps it (`esp_sa`): so the keys of a run open its captures as they
are. A line is protocol, source, destination, SPI, encryption, key, authentication, its key.
"""

from __future__ import annotations

import csv
import io
import os
import stat
from collections.abc import Iterable
from ipaddress import IPv6Address
from pathlib import Path
from typing import NamedTuple

from nodes.strict import InputError

# RFC 4106 section 8.1: a key of AES, and the salt of its nonces behind it.
SALT_OCTETS = 4
KEY_OCTETS = (16 + SALT_OCTETS, 24 + SALT_OCTETS, 32 + SALT_OCTETS)
# RFC 4303 section 2.1: smaller ones are reserved.
LEAST_SPI, MOST_SPI = 256, 0xFFFF_FFFF
# Wireshark's names.
IPV6, AES_GCM, NO_AUTHENTICATION = "IPv6", "AES-GCM with 16 octet ICV [RFC4106]", "NULL"
FILE_MODE = 0o600
_FIELDS = 8


class SecurityAssociation(NamedTuple):
    """One direction between two nodes. `key`: with its salt."""

    source: IPv6Address
    destination: IPv6Address
    spi: int
    key: bytes


def table(associations: Iterable[SecurityAssociation]) -> str:
    """The lines of a file."""
    lines = io.StringIO()
    writer = csv.writer(lines, quoting=csv.QUOTE_ALL, lineterminator="\n")
    for sa in associations:
        names = (str(sa.source), str(sa.destination), f"0x{sa.spi:08x}")
        writer.writerow((IPV6, *names, AES_GCM, f"0x{sa.key.hex()}", NO_AUTHENTICATION, ""))
    return lines.getvalue()


def write_keys(path: Path, associations: Iterable[SecurityAssociation]) -> None:
    """As `write_private`."""
    write_private(path, table(associations))


def write_private(path: Path, text: str) -> None:
    """A new file that only its owner can read. Raises OSError, also if there is one."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, FILE_MODE), "w", encoding="ascii") as file:
        file.write(text)


def read_private(path: Path) -> str:
    """The text of a file with secrets. Raises InputError if others than its owner, who has to be
    this process's user, may read or write it, and OSError."""
    # What is looked at is what is read: the name could mean another file by then.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise InputError(str(path), "(file)", "no file", "expected a regular file")
        if status.st_uid != os.geteuid():
            expected = f"expected that of this process, {os.geteuid()}"
            raise InputError(str(path), "(owner)", status.st_uid, expected)
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o177:
            expected = f"expected {FILE_MODE:04o}: keys are their owner's alone"
            raise InputError(str(path), "(mode)", f"{mode:04o}", expected)
        return file.read().decode(errors="surrogateescape")


def read_keys(path: Path) -> list[SecurityAssociation]:
    """The security associations of a file that nobody else can read. Raises InputError, which
    never shows a key, and OSError."""
    return parse_table(read_private(path), str(path))


def parse_table(text: str, source: str) -> list[SecurityAssociation]:
    """The security associations of a file's text. Raises InputError, which names `source`."""
    found: list[SecurityAssociation] = []
    known: set[tuple[IPv6Address, int]] = set()
    reader = csv.reader(io.StringIO(text), skipinitialspace=True)
    for row in reader:
        if not row or row[0].startswith("#"):
            continue
        where = f"line {reader.line_num}"
        if len(row) < _FIELDS:
            raise InputError(source, where, f"{len(row)} fields", f"expected {_FIELDS}")
        sa = SecurityAssociation(
            _address(source, f"{where}, source", row[1]),
            _address(source, f"{where}, destination", row[2]),
            _spi(source, f"{where}, SPI", row[3]),
            _key(source, f"{where}, key", row[5]),
        )
        for what, value, expected in (
            ("protocol", row[0], IPV6),
            ("encryption", row[4], AES_GCM),
            ("authentication", row[6], NO_AUTHENTICATION),
        ):
            if value != expected:
                raise InputError(source, f"{where}, {what}", value, f"expected {expected}")
        if (sa.destination, sa.spi) in known:
            expected = f"expected each once for {sa.destination} (RFC 4301 section 4.1)"
            raise InputError(source, f"{where}, SPI", row[3], expected)
        known.add((sa.destination, sa.spi))
        found.append(sa)
    return found


def _address(source: str, where: str, text: str) -> IPv6Address:
    try:
        return IPv6Address(text)
    except ValueError:
        raise InputError(source, where, text, "expected an IPv6 address") from None


def _spi(source: str, where: str, text: str) -> int:
    try:
        spi = int(text, 16)
    except ValueError:
        spi = 0
    if not LEAST_SPI <= spi <= MOST_SPI:
        expected = f"expected {LEAST_SPI:#x} to {MOST_SPI:#x}, in hexadecimal"
        raise InputError(source, where, text, expected)
    return spi


def _key(source: str, where: str, text: str) -> bytes:
    digits = text.removeprefix("0x")
    try:
        key = bytes.fromhex(digits)
    except ValueError:
        raise InputError(source, where, "no hexadecimal number", "expected one") from None
    if len(key) not in KEY_OCTETS:
        wanted = ", ".join(map(str, KEY_OCTETS))
        expected = f"expected {wanted}, with the {SALT_OCTETS} of the salt"
        raise InputError(source, where, f"{len(key)} octets", expected)
    return key
