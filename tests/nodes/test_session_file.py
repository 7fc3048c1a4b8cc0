"""The file that an LMA keeps its sessions in: whole at every instant, or refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest

from nodes import session_file
from nodes.lma.session_records import Numbers, Record, RowGone
from nodes.session_file import Found, SessionFile

LMA, OTHER_LMA = IPv6Address("2001:db8:10::1"), IPv6Address("2001:db8:10::2")
NUMBERS = Numbers(1, 2, 3, 4, 5, 6, 7)


def gone(fid: int) -> RowGone:
    return RowGone("mn1@example.org", fid)


def opened(path: Path, whole: tuple[Record, ...] = (NUMBERS,), **changes: Any) -> SessionFile:
    file = SessionFile(path, **{"lma": LMA, "boot": "now"} | changes)
    file.everything = lambda: whole
    return file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with the whole, and two changes."""
    found = tmp_path / "lma.sessions"
    file = opened(found)
    assert file.find() == Found()
    file.append(())
    file.append([gone(1)])
    file.append([gone(2), gone(3)])
    file.close()
    return found


def test_what_was_written_is_found(path: Path) -> None:
    assert opened(path).find() == Found((NUMBERS, gone(1), gone(2), gone(3)))


def test_at_every_octet_that_a_write_may_end_with_it_is_as_before_or_after(path: Path) -> None:
    data = path.read_bytes()
    last = data.rindex(b"\n", 0, -1) + 1
    for end in range(last, len(data)):
        path.write_bytes(data[:end])
        found = opened(path).find()
        assert found.records == (NUMBERS, gone(1)), "all of a change, or nothing of it"
        assert (found.note is None) is (end == last)


@pytest.mark.parametrize("line", [0, 1, 2])
def test_a_damaged_file_is_refused_and_set_aside(path: Path, line: int) -> None:
    lines = path.read_bytes().split(b"\n")
    lines[line] = lines[line].replace(b"1", b"2")
    path.write_bytes(b"\n".join(lines))
    found = opened(path).find()
    assert found.records == ()
    assert found.note is not None
    expected = "expected 'flowmob LMA sessions' version 1 of LMA"
    for part in (str(path), "checksum", expected, "refused"):
        assert part in found.note
    assert not path.exists()
    assert path.with_name("lma.sessions.refused").read_bytes() == b"\n".join(lines)


@pytest.mark.parametrize("data", [b"", b"\0" * 100, b"[sessions]\nmn = 1\n", b"\xff\n"])
def test_a_foreign_file_is_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    found = opened(path).find()
    assert found.records == ()
    assert found.note is not None
    assert str(path) in found.note


def test_the_file_of_another_lma_is_refused(path: Path) -> None:
    found = opened(path, lma=OTHER_LMA).find()
    assert found.note is not None
    assert f"of LMA {LMA}; expected" in found.note
    assert not path.exists()


def test_a_file_from_before_the_machine_started_is_not_used(path: Path) -> None:
    """Its last lines may be missing, and the kernel knows nothing any more."""
    found = opened(path, boot="later").find()
    assert found.records == ()
    assert found.note is not None
    assert "from before this machine started" in found.note


def test_the_whole_is_written_anew_when_changes_have_become_more(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_file, "LEAST_GROWTH", 500)
    file = opened(path)
    file.append(())
    sizes = []
    for fid in range(1, 100):
        file.append([gone(fid)])
        sizes.append(path.stat().st_size)
    assert max(sizes) < 800
    assert file.find().records[-1] in (gone(99), NUMBERS)
    assert not path.with_name("lma.sessions.new").exists()


class _Full:
    """A disk that takes `left` octets more."""

    def __init__(self, left: int, raises: bool) -> None:
        self._left, self._raises = left, raises

    def write(self, data: bytes) -> int:
        if self._raises:
            raise OSError(28, os.strerror(28))
        return min(self._left, len(data))

    def close(self) -> None:
        pass


@pytest.mark.parametrize("raises", [True, False])
def test_after_a_write_that_fails_there_is_no_file_and_then_a_whole_one(
    path: Path, raises: bool
) -> None:
    file = opened(path)
    file.append(())
    file._file = _Full(10, raises)  # type: ignore[assignment]
    with pytest.raises(OSError, match=r"No space|10 of"):
        file.append([gone(9)])
    assert not path.exists(), "what lacks something is worse than nothing"
    file.append([gone(10)])
    assert opened(path).find().records == (NUMBERS,)


def test_a_crash_while_the_whole_is_written_leaves_the_old_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    def failing() -> Iterator[None]:
        monkeypatch.setattr(os, "fsync", crash)
        yield

    for _ in failing():
        with pytest.raises(KeyboardInterrupt):
            opened(path).begin()
    assert opened(path).find().records == (NUMBERS, gone(1), gone(2), gone(3))
