"""The job of one run: what the runner hands to an engine, and the analysis reads again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from experiments.declaration.spec import LinkChange, RunSpec

# The columns that rows of a run begin with.
IDENTITY = ("experiment", "point", "run", "seed", "engine", "prefix_model")


def run_name(point: str, seed: int) -> str:
    return f"{point}-s{seed}"


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`levels` and `values` say where the point lies on each factor. `decisions_s` are the instants
    of the moves, in s of the run; `changes` are all changes of links, those of traces included, in
    order of time. `start_ns` is second 0 of the run on CLOCK_REALTIME; the run
    itself fills it in."""

    experiment: str
    point: str
    levels: dict[str, str]
    values: dict[str, float | str | None]
    seed: int
    engine: str
    spec: RunSpec
    decisions_s: tuple[float, ...]
    changes: tuple[LinkChange, ...] = ()
    start_ns: int = 0

    @property
    def run(self) -> str:
        """Name of the run, which is that of its folder too."""
        return run_name(self.point, self.seed)

    def factors(self) -> dict[str, float | str]:
        """The value of each factor at this point, or its label where it has none."""
        found: dict[str, float | str] = {}
        for factor, label in self.levels.items():
            value = self.values.get(factor)
            found[factor] = label if value is None else value
        return found

    def identity(self) -> dict[str, Any]:
        """The values of `IDENTITY`."""
        found = (self.experiment, self.point, self.run, self.seed, self.engine)
        return dict(zip(IDENTITY, (*found, self.spec.protocol.prefix_model), strict=True))


def quic_keys(folder: Path, flow: str) -> Path:
    """Where a download over QUIC logs its TLS secrets, in the format of NSS."""
    return folder / "logs" / f"quic-{flow}.keys"


def esp_keys(folder: Path) -> Path:
    """Where a run with protected signalling keeps its keys, by the name that Wireshark has for such
    a file."""
    return folder / "esp_sa"


def write_atomically(path: Path, content: bytes) -> None:
    """Whole or not at all, also if this process or the machine stops in between."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
