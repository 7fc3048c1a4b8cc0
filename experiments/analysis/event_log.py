"""What the nodes say happened: `events/NODE.jsonl` of a run, as one table in seconds of the run."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from experiments.captures.frames import TICKS_PER_S, ticks
from nodes.strict import MISSING, InputError, to_json

COLUMNS = ("time_s", "node", "event", "detail")
LATEST_NS = (1 << 63) - 1  # 2262
_OWN_FIELDS = ("t", "node", "event")


class Event(NamedTuple):
    """`tick` counts 10 us from second 0 of the run; `detail` is what the node added."""

    tick: int
    node: str
    event: str
    detail: dict[str, Any]


def read_events(folder: Path, start_ns: int) -> list[Event]:
    """The events of all nodes, ordered by time, then node, then the order in the node's file.

    Times are rounded down to 10 us before they are ordered, so that the microsecond by which two
    runs of one trial may differ never changes the order. Raises InputError, naming file and line.
    """
    events: list[Event] = []
    for path in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            if line.strip():
                events.append(event_of(line, path, number, start_ns))
    return sorted(events, key=lambda event: (event.tick, event.node))


def event_of(line: bytes, path: Path, number: int, start_ns: int) -> Event:
    """What a line of a node's file says. Raises InputError."""
    try:
        fields = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(str(path), f"line {number}", MISSING, f"is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise InputError(str(path), f"line {number}", fields, "expected an object")
    for key, kind in (("t", int), ("node", str), ("event", str)):
        if not isinstance(fields.get(key), kind):
            raise InputError(
                str(path), f"line {number}: {key}", fields.get(key), f"expected {kind.__name__}"
            )
    if not 0 <= fields["t"] <= LATEST_NS:
        raise InputError(str(path), f"line {number}: t", fields["t"], f"expected 0 to {LATEST_NS}")
    detail = {key: value for key, value in fields.items() if key not in _OWN_FIELDS}
    return Event(int(ticks(fields["t"], start_ns)), fields["node"], fields["event"], detail)


def events_csv(events: list[Event]) -> bytes:
    """The table `events.csv`: time_s, node, event, detail (a JSON object with sorted keys)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for event in events:
        detail = to_json(dict(sorted(event.detail.items()))).decode() if event.detail else ""
        writer.writerow([f"{event.tick / TICKS_PER_S:.5f}", event.node, event.event, detail])
    return text.getvalue().encode()
