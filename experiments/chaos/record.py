"""What a run leaves for the checks: everything that was done and seen, a JSON value a line.

`record.jsonl` has objects with `t` (s) and `what`; `packets.jsonl` has arrays: those of `Sent` and
`Arrived`, after their first letter.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from experiments.chaos.probes import Probe, Seen
from nodes.strict import to_builtins

RECORD, PACKETS = "record.jsonl", "packets.jsonl"


class Sent(NamedTuple):
    """`error`: why it didn't leave."""

    t: float
    probe: Probe
    source: str
    destination: str
    error: str | None


class Arrived(NamedTuple):
    """`probe`: None for UDP that is none of the run's."""

    t: float
    node: str
    interface: str
    source: str
    destination: str
    probe: Probe | None


class Recorder:
    def __init__(self, folder: Path) -> None:
        self._record = (folder / RECORD).open("wb", buffering=1 << 16)
        self._packets = (folder / PACKETS).open("wb", buffering=1 << 16)
        self._encode = msgspec.json.Encoder(enc_hook=str).encode

    def write(self, t: float, what: str, **details: Any) -> None:
        line = {"t": round(t, 6), "what": what, **to_builtins(details)}
        self._record.write(self._encode(line) + b"\n")

    def sent(self, t: float, probe: Probe, source: Any, to: Any, error: str | None) -> None:
        self._packet(["s", round(t, 6), probe, str(source), str(to), error])

    def arrived(self, t: float, seen: Seen) -> None:
        ends = (str(seen.source), str(seen.destination))
        self._packet(["a", round(t, 6), seen.node, seen.interface, *ends, seen.probe])

    def _packet(self, fields: list[Any]) -> None:
        self._packets.write(self._encode(fields) + b"\n")

    def close(self) -> None:
        self._record.close()
        self._packets.close()


def read_record(folder: Path) -> Iterator[dict[str, Any]]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    with (folder / RECORD).open("rb") as lines:
        yield from (decode(line) for line in lines)


def read_packets(folder: Path) -> Iterator[Sent | Arrived]:
    with (folder / PACKETS).open("rb") as lines:
        for line in lines:
            kind, *fields = msgspec.json.decode(line)
            if kind == "s":
                yield Sent(fields[0], Probe(*fields[1]), *fields[2:])
            else:
                probe = None if fields[5] is None else Probe(*fields[5])
                yield Arrived(fields[0], fields[1], fields[2], fields[3], fields[4], probe)
