"""The inputs that are kept: a file of hex lines a target, because hundreds of small binary files
are a nuisance in a repository."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


def place(name: str) -> Path:
    return CORPUS / f"{name}.hex"


def read(name: str) -> list[bytes]:
    path = place(name)
    if not path.exists():
        return []
    return [bytes.fromhex(line) for line in path.read_text(encoding="ascii").splitlines()]


def write(name: str, inputs: Iterable[bytes]) -> None:
    """Shortest first."""
    CORPUS.mkdir(exist_ok=True)
    lines = [f"{data.hex()}\n" for data in sorted(set(inputs), key=lambda data: (len(data), data))]
    place(name).write_text("".join(lines), encoding="ascii")
