"""`make fuzz`: each parser gets octets that Atheris makes up, guided by the branches they take.

Targets take turns, one process at a time. What finds new branches is kept in .fuzz/ from one call
to the next, what breaks a target in .fuzz/crashes/, and how many inputs there were in
.fuzz/ledger.csv. `--keep` minimises what was found and puts it into the committed corpus.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib.util
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from tests.fuzz import corpus
from tests.fuzz.catalogue import NAMES, load

FOUND = Path(".fuzz")
CRASHES, LEDGER = FOUND / "crashes", FOUND / "ledger.csv"
COLUMNS = ("commit", "target", "inputs", "seconds", "outcome")
# What of a corpus is committed: enough for a test of seconds.
MOST_KEPT = 100
LONGEST_KEPT = 1024


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    known = ", ".join(NAMES)
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument("--seconds", type=int, default=300, help="for all targets together")
    limit.add_argument("--inputs", type=int, help="for all targets together")
    parser.add_argument("--keep", action="store_true", help="into the committed corpus")
    parser.add_argument("--ledger", action="store_true", help="show how many inputs there were")
    parser.add_argument("targets", nargs="*", default=NAMES, metavar="TARGET", help=known)
    options = parser.parse_args()
    for name in options.targets:
        if name not in NAMES:
            parser.error(f"{name} is no target; expected some of {known}")
    if options.ledger:
        show_ledger()
        return 0
    if importlib.util.find_spec("atheris") is None:
        print("fuzz: Atheris is not installed: PyPI has it for x86-64 and Python 3.11 to 3.13")
        return 1
    if options.keep:
        for name in options.targets:
            keep(name)
        return 0
    broken = False
    for name in options.targets:
        share = len(options.targets)
        if options.inputs is None:
            until = [f"-max_total_time={max(1, options.seconds // share)}"]
        else:
            until = [f"-runs={max(1, options.inputs // share)}"]
        broken |= not fuzz(name, until)
    return int(broken)


def fuzz(name: str, until: list[str]) -> bool:
    """Whether nothing broke. A finding ends the target's turn."""
    folder = FOUND / "corpus" / name
    folder.mkdir(parents=True, exist_ok=True)
    CRASHES.mkdir(exist_ok=True)
    for data in [*corpus.read(name), *(() if any(folder.iterdir()) else load(name).seeds())]:
        _put(folder, data)
    begun = time.monotonic()
    done = _instrumented(name, [str(folder), f"-artifact_prefix={CRASHES}/{name}-", *until])
    counted = re.search(rb"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    inputs = int(counted[1]) if counted else 0
    outcome = "passed" if done.returncode == 0 else "broke"
    _note(name, inputs, time.monotonic() - begun, outcome)
    print(f"{name:20} {inputs:12,} inputs  {outcome}", flush=True)
    if done.returncode:
        sys.stderr.write(done.stdout.decode(errors="replace")[-4000:])
        sys.stderr.write(done.stderr.decode(errors="replace")[-1500:])
    return done.returncode == 0


def keep(name: str) -> None:
    """The least of what was found that takes the same branches, and all that ever broke it."""
    with tempfile.TemporaryDirectory() as least, tempfile.TemporaryDirectory() as committed:
        for data in corpus.read(name):
            _put(Path(committed), data)
        folder = FOUND / "corpus" / name
        folder.mkdir(parents=True, exist_ok=True)
        done = _instrumented(name, ["-merge=1", least, committed, str(folder)])
        done.check_returncode()
        inputs = [path.read_bytes() for path in Path(least).iterdir()]
    short = sorted((data for data in inputs if len(data) <= LONGEST_KEPT), key=len)
    # Not only the shortest: those that get far are long.
    step = max(1.0, len(short) / MOST_KEPT)
    kept = [short[int(n * step)] for n in range(min(MOST_KEPT, len(short)))]
    broke = [path.read_bytes() for path in CRASHES.glob(f"{name}-*-*")]
    corpus.write(name, [*kept, *broke])
    print(f"{name:20} {len(kept):4} of {len(inputs)} inputs are kept", flush=True)


def _instrumented(name: str, arguments: list[str]) -> subprocess.CompletedProcess[bytes]:
    """A program that takes nothing but libFuzzer's arguments, because it starts itself anew."""
    program = (FOUND / f"fuzz-{name}").resolve()
    start = shlex.join([sys.executable, "-m", "tests.fuzz.instrumented"])
    program.write_text(f'#!/bin/sh\nexec {start} "$0" {name} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return subprocess.run([program, *arguments], capture_output=True, check=False)


def _put(folder: Path, data: bytes) -> None:
    (folder / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)


def _note(name: str, inputs: int, seconds: float, outcome: str) -> None:
    new = not LEDGER.exists()
    with LEDGER.open("a", newline="", encoding="ascii") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(COLUMNS)
        writer.writerow((_commit(), name, inputs, round(seconds), outcome))


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=7"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def show_ledger() -> None:
    """Per target and commit, and in all."""
    sums: dict[tuple[str, str], int] = defaultdict(int)
    if LEDGER.exists():
        with LEDGER.open(newline="", encoding="ascii") as file:
            for row in csv.DictReader(file):
                sums[row["target"], row["commit"]] += int(row["inputs"])
    commits = list(dict.fromkeys(commit for _, commit in sums))
    print("| parser | " + " | ".join(commits) + " | all |")
    print("|---|" + "---:|" * (len(commits) + 1))
    for name in NAMES:
        counts = [sums[name, commit] for commit in commits]
        print(f"| {name} | " + " | ".join(f"{n:,}" for n in counts) + f" | {sum(counts):,} |")
    columns = [sum(sums[name, commit] for name in NAMES) for commit in commits]
    print("| all | " + " | ".join(f"{n:,}" for n in columns) + f" | {sum(columns):,} |")


if __name__ == "__main__":
    sys.exit(main())
