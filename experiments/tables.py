"""Tables that people and programs read: comma-separated values, the same for the same rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from experiments.declaration.job import write_atomically


def write_table(rows: Iterable[dict[str, Any]], columns: Sequence[str], path: Path) -> None:
    """`columns` in order, then what else there is (factors) by name; None is an empty field."""
    rows = list(rows)
    extra = sorted({key for row in rows for key in row} - set(columns))
    text = io.StringIO()
    writer = csv.DictWriter(text, [*columns, *extra], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())
