"""What happened in a node, as one JSON object a line."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Any


class EventWriter:
    """Appends {"t": ns since 1970, "node": .., "event": .., ...} to a file, a line at a time."""

    def __init__(self, path: Path, node: str) -> None:
        self._node = node
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def write(self, event: str, details: dict[str, Any] | None = None) -> None:
        entry = {"t": time.time_ns(), "node": self._node, "event": event, **(details or {})}
        self._file.write(json.dumps(entry, default=str) + "\n")

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> EventWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
