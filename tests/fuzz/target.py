"""What is fuzzed: a function that takes any octets, and what it may raise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, cast


@dataclass(frozen=True)
class Target:
    """`run` may raise what is `declared` and nothing else; assertions in it are properties that
    hold for any octets. `octets`: the longest input that is tried. `seeds`: inputs to begin with,
    besides the corpus."""

    run: Callable[[bytes], object]
    declared: tuple[type[Exception], ...] = ()
    octets: int = 1024
    seeds: Callable[[], Iterable[bytes]] = tuple

    def __call__(self, data: bytes) -> bool:
        """Whether the input was accepted."""
        try:
            self.run(data)
        except self.declared:
            return False
        return True


class _File:
    """As much of a Path as readers use, without a file system that makes each input slower."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __str__(self) -> str:
        return "input"

    def read_bytes(self) -> bytes:
        return self._data

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._data.decode(encoding, errors)

    def open(self, _mode: str) -> BytesIO:
        return BytesIO(self._data)


def file_with(data: bytes) -> Path:
    return cast(Path, _File(data))


class _Channel:
    """As much of a socket as clients use: each `recv` gives the next piece, at last nothing."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = list(pieces)

    def recv(self, _octets: int) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def send(self, data: bytes) -> int:
        return len(data)

    def sendall(self, _data: bytes) -> None:
        pass

    def connect(self, _address: object) -> None:
        pass

    def settimeout(self, _seconds: float) -> None:
        pass

    def close(self) -> None:
        pass


def channel_with(*pieces: bytes) -> Any:
    return _Channel(pieces)


def some(data: bytes, count: int) -> tuple[bytes, bytes]:
    """The first octets, as many as there are, with zeros behind; and the rest."""
    return data[:count].ljust(count, b"\0"), data[count:]
