"""`make mutations`: break rules on purpose, and see that the suite notices each.

`mutations.toml` has the breaks: a rule, a file, a text that occurs in it once, and what to put in
its place. Each is applied to a copy of the code, in which the tests of conformance, of the whole
cores and of the module that is broken run.
The outcome is docs/mutations.md.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import msgspec

from nodes.strict import load_toml

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "mutations.md"
MUTATIONS = Path(__file__).parent / "mutations.toml"
COPIED = ("nodes", "topologies", "experiments", "controllers", "tests", "docs", "pyproject.toml")
TESTS = (
    "tests/controllers/test_redirection.py",
    "tests/controllers/test_redirection_assisted.py",
    "tests/controllers/test_redirection_losses.py",
    "tests/controllers/test_redirection_requests.py",
    "tests/conformance",
    "tests/nodes/lma/policies",
    "tests/nodes/lma/test_binding_revocation.py",
    "tests/nodes/lma/test_local_mobility_anchor.py",
    "tests/nodes/mag/test_attachment.py",
    "tests/nodes/mag/test_mobile_access_gateway.py",
    "tests/nodes/lma/test_flow_mobility.py",
    "tests/nodes/test_lent_prefixes.py",
    "tests/nodes/test_restarts.py",
    "tests/nodes/test_two_interfaces.py",
    "tests/nodes/lma/test_uplink_following.py",
)
NOT_THIS = "tests/conformance/test_mutations.py"
MOST_FAILURES = 1
LIMIT_S = 300
ABOUT_S = 10


class Mutation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`breaks` says in words what `new` does wrong in the place of `old`."""

    rule: str
    breaks: str
    file: str
    old: str
    new: str


class Mutations(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    mutation: list[Mutation]


class Outcome(NamedTuple):
    """`noticed_by`: the tests that failed, at most MOST_FAILURES. None at all: nobody noticed."""

    mutation: Mutation
    noticed_by: tuple[str, ...]


def load_mutations() -> list[Mutation]:
    """Raises InputError."""
    return load_toml(MUTATIONS, Mutations).mutation


def broken(mutation: Mutation, text: str) -> str:
    """`text` of the mutation's file with the break in it. Raises ValueError if the place isn't
    there, or not once."""
    count = text.count(mutation.old)
    if count != 1:
        raise ValueError(f"{mutation.file}: {mutation.old!r} is there {count} times; expected once")
    return text.replace(mutation.old, mutation.new)


def try_out(mutation: Mutation) -> Outcome:
    """Raises RuntimeError if the tests could not run at all."""
    with tempfile.TemporaryDirectory(prefix="flowmob-") as name:
        copy = Path(name)
        for item in COPIED:
            source = ROOT / item
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, copy / item, ignore=ignored)
            else:
                shutil.copy(source, copy / item)
        path = copy / mutation.file
        path.write_text(broken(mutation, path.read_text(encoding="utf-8")), encoding="utf-8")
        own = _tests_of(mutation.file)
        command = [sys.executable, "-m", "pytest", "-q", "-m", "not system", "--no-header"]
        command += ["-p", "no:cacheprovider", "-p", "no:xdist", f"--maxfail={MOST_FAILURES}"]
        done = subprocess.run(
            [*command, f"--ignore={NOT_THIS}", *own, *TESTS],
            cwd=copy,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )
    found = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.M)
    if done.returncode != 0 and not found:
        raise RuntimeError(f"{mutation.rule}: the tests did not run\n{done.stdout}{done.stderr}")
    return Outcome(mutation, tuple(found))


def _tests_of(file: str) -> list[str]:
    """The tests of a module lie where the module does; some have several files."""
    module = Path(file)
    folder = ROOT / "tests" / module.parent
    return [str(path.relative_to(ROOT)) for path in sorted(folder.glob(f"test_{module.stem}*.py"))]


def document(outcomes: list[Outcome]) -> str:
    """docs/mutations.md."""
    lines = [
        "# Rules broken on purpose",
        "",
        "`make mutations` breaks each of these rules in a copy of the code and runs the tests. A",
        "rule that can be broken without a failing test isn't tested.",
        "",
        "| rule | broken how | noticed by |",
        "|---|---|---|",
    ]
    for outcome in outcomes:
        noticed = _shown(outcome.noticed_by) if outcome.noticed_by else "**nobody**"
        lines.append(f"| {outcome.mutation.rule} | {outcome.mutation.breaks} | {noticed} |")
    count = sum(bool(outcome.noticed_by) for outcome in outcomes)
    lines += ["", f"{count} of {len(outcomes)} are noticed."]
    return "\n".join(lines) + "\n"


def _shown(tests: tuple[str, ...]) -> str:
    """The first test that failed."""
    return f"`{tests[0].rpartition('::')[2].partition('[')[0]}`"


def main() -> int:
    """Write the document; returns 1 if a broken rule went unnoticed."""
    mutations = load_mutations()
    workers = os.cpu_count() or 1
    print(f"mutations: {len(mutations)}, about {len(mutations) * ABOUT_S // workers} s")
    outcomes = []
    with ThreadPoolExecutor(workers) as pool:
        for outcome in pool.map(try_out, mutations):
            outcomes.append(outcome)
            verdict = "noticed" if outcome.noticed_by else "NOT NOTICED"
            print(f"mutations: {outcome.mutation.rule}: {verdict}", flush=True)
    DOCUMENT.write_text(document(outcomes), encoding="utf-8")
    return int(not all(outcome.noticed_by for outcome in outcomes))


if __name__ == "__main__":
    raise SystemExit(main())
