"""What was run: a line per scenario in `results/chaos/ledger.jsonl`, written when it has ended."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from experiments.provenance import ROOT, code_digest

LEDGER = "ledger.jsonl"


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`code` is a digest of all that carried it out and judged it."""

    seed: int
    code: str
    commit: str
    dirty: bool
    emulated_s: float
    wall_s: float
    mags: int
    mobiles: int
    faults: int
    looks: int
    packets: int
    rules: dict[str, int] = {}


def chaos_digest(kernel_sha256: str) -> str:
    digest = hashlib.sha256(f"{code_digest(switched=False)} {kernel_sha256}".encode())
    for path in sorted((ROOT / "experiments" / "chaos").glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def append(folder: Path, entry: Entry) -> None:
    with (folder / LEDGER).open("ab") as file:
        file.write(msgspec.json.encode(entry) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def entries(folder: Path) -> Iterator[Entry]:
    """A line that was cut off, because the machine stopped, isn't one."""
    path = folder / LEDGER
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            yield msgspec.json.decode(line, type=Entry)
        except msgspec.MsgspecError:
            continue


def summary(found: Iterable[Entry]) -> str:
    """By commit: scenarios, emulated hours, faults, and those that failed, by what was broken."""
    by_commit: dict[str, list[Entry]] = defaultdict(list)
    for entry in found:
        by_commit[entry.commit[:9] + ("+" if entry.dirty else "")].append(entry)
    lines = ["commit      scenarios   hours   faults  packets  failed  h per core-minute"]
    lines += [_line(commit, runs) for commit, runs in by_commit.items()]
    every = [entry for runs in by_commit.values() for entry in runs]
    if len(by_commit) > 1:
        lines.append(_line("all", every))
    seeds: dict[str, list[int]] = defaultdict(list)
    counts: Counter[str] = Counter()
    for entry in every:
        for rule in entry.rules:
            counts[rule] += 1
            seeds[rule].append(entry.seed)
    for rule, count in counts.most_common():
        shown = ", ".join(str(seed) for seed in sorted(set(seeds[rule]))[:8])
        lines.append(f"{rule}: {count} scenarios, seeds {shown}")
    return "\n".join(lines)


def _line(name: str, runs: list[Entry]) -> str:
    hours = sum(run.emulated_s for run in runs) / 3600
    minutes = sum(run.wall_s for run in runs) / 60
    return (
        f"{name:11} {len(runs):9} {hours:7.1f} {sum(run.faults for run in runs):8} "
        f"{sum(run.packets for run in runs):8} {sum(bool(run.rules) for run in runs):7} "
        f"{hours / max(minutes, 1e-9):10.2f}"
    )
