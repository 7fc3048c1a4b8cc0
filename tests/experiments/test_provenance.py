"""Not from an RFC: what a result depends on."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from experiments import provenance
from experiments.declaration.job import Job
from experiments.provenance import code_digest, commit, describe_run, run_key, versions
from tests.experiments.synthetic import run_spec


def job(seed: int = 1, engine: str = "host") -> Job:
    return Job(
        experiment="e",
        point="p",
        levels={},
        values={},
        seed=seed,
        engine=engine,
        spec=run_spec("unique"),
        decisions_s=(12.00005,),
    )


def forget() -> None:
    for function in (code_digest, versions, commit):
        function.cache_clear()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "nodes" / "deep").mkdir(parents=True)
    (tmp_path / "nodes" / "deep" / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    forget()
    yield tmp_path
    forget()


def digest(*, switched: bool = False) -> str:
    code_digest.cache_clear()
    return code_digest(switched=switched)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_digest_follows_the_code_and_nothing_else(checkout: Path) -> None:
    first = digest()
    (checkout / "nodes" / "notes.md").write_text("nothing that runs")
    (checkout / "results.py").write_text("outside")
    assert digest() == first
    (checkout / "nodes" / "deep" / "a.py").write_text("x = 2\n")
    second = digest()
    (checkout / "nodes" / "deep" / "a.py").rename(checkout / "nodes" / "deep" / "b.py")
    third = digest()
    (checkout / "nodes" / "init.sh").write_text("true\n")
    assert len({first, second, third, digest()}) == 4


@pytest.mark.parametrize(
    "name",
    [
        *("experiments/figures/style.py", "experiments/report/__init__.py"),
        *("experiments/evaluation/statistics.py", "experiments/runner.py", "docs/x.py"),
        *("experiments/declaration/declarations.py", "experiments/engines/kernel_build.py"),
        *("experiments/prefix-models.toml", "tests/a.py", "setup/a.sh"),
    ],
)
def test_what_only_shows_results_is_no_input_of_a_run(checkout: Path, name: str) -> None:
    before = digest(switched=True)
    write(checkout / name, "x = 1\n")
    assert digest(switched=True) == before


@pytest.mark.parametrize(
    "name",
    [
        *("experiments/analysis/measure.py", "experiments/emulation/inside.py"),
        *("experiments/captures/frames.py", "experiments/declaration/spec.py"),
        *("experiments/engines/guest-init.sh", "experiments/execution.py", "topologies/model.py"),
    ],
)
def test_what_carries_out_or_analyses_a_run_is_its_input(checkout: Path, name: str) -> None:
    before = digest()
    write(checkout / name, "x = 1\n")
    assert digest() != before


def test_controllers_are_inputs_of_runs_on_switches_only(checkout: Path) -> None:
    tunnel, switched = digest(), digest(switched=True)
    write(checkout / "controllers/redirection.py", "x = 1\n")
    assert digest() == tunnel
    assert digest(switched=True) != switched


def test_all_that_a_run_loads_is_its_input() -> None:
    entries = "experiments.emulation.inside, experiments.analysis.measure, experiments.execution"
    entries += ", experiments.engines.guest, experiments.engines.host, nodes.daemons"
    program = f"import sys, {entries}; print(*(m.__file__ for m in sys.modules.values() if "
    program += "getattr(m, '__file__', None)), sep=chr(10))"
    shown = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    loaded = {Path(line) for line in shown.stdout.splitlines()}
    own = {p.relative_to(provenance.ROOT) for p in loaded if p.is_relative_to(provenance.ROOT)}
    own = {path for path in own if path.parts[0] != ".venv"}
    assert len(own) > 60
    known = set(provenance.code_files(switched=True))
    # What describes a run does not change it; declarations are in its job, features in its kernel.
    harmless = {"experiments/__init__.py", "experiments/provenance.py"}
    made = {p for p in own if any(fnmatch(str(p), pattern) for pattern in provenance.MAKERS)}
    assert {str(path) for path in own - known - made} <= harmless


def test_a_key_stands_for_all_inputs(checkout: Path) -> None:
    keys = {
        run_key(job(), {"kernel": "6.1"}),
        run_key(job(), {"kernel": "6.2"}),
        run_key(job(seed=2), {"kernel": "6.1"}),
        run_key(job(engine="guest"), {"kernel": "6.1"}),
    }
    assert len(keys) == 4
    assert run_key(job(), {"kernel": "6.1"}) in keys
    (checkout / "nodes" / "deep" / "a.py").write_text("x = 3\n")
    code_digest.cache_clear()
    assert run_key(job(), {"kernel": "6.1"}) not in keys


def test_outside_a_checkout_there_is_no_commit(checkout: Path) -> None:
    assert commit() == {}


def test_a_checkout_has_a_commit_and_may_have_changes(checkout: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        done = subprocess.run(
            ["git", "-C", str(checkout), *identity, *arguments],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "one")
    assert commit() == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    commit.cache_clear()
    (checkout / "new.txt").write_text("x")
    assert commit()["dirty"] is True


def test_tools_that_are_missing_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = {"gone": ["no-such-tool"], "fails": ["false"], "echo": ["echo", "echo 1.0"]}
    monkeypatch.setattr(provenance, "TOOLS", tools)
    monkeypatch.setattr(provenance, "PACKAGES", ("msgspec", "no-such-package"))
    versions.cache_clear()
    found = versions()
    versions.cache_clear()
    assert sorted(found) == ["echo", "msgspec", "python"]
    assert found["echo"] == "echo 1.0"


def test_the_libraries_of_a_run_are_named_and_no_part_of_its_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    versions.cache_clear()
    assert {"aioquic", "msgspec", "os-ken"} <= versions().keys()
    before = run_key(job(1), {"kernel": "6.1"})
    monkeypatch.setattr(provenance, "PACKAGES", ())
    versions.cache_clear()
    assert run_key(job(1), {"kernel": "6.1"}) == before
    versions.cache_clear()


def test_a_description_names_every_file_but_itself(checkout: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "events").mkdir(parents=True)
    (folder / "events" / "lma.jsonl").write_bytes(b"{}\n")
    (folder / "meta.json").write_bytes(b"old")
    described: dict[str, Any] = describe_run(folder, job(2), "abc", {"kernel": "6.1"}, 1.23456)
    assert described["files"] == {"events/lma.jsonl": hashlib.sha256(b"{}\n").hexdigest()}
    assert described["run"] == "p-s2"
    assert described["engine"] == {"name": "host", "kernel": "6.1"}
    assert (described["key"], described["wall_s"], described["seed"]) == ("abc", 1.235, 2)
    assert described["parameters"]["decisions_s"] == (12.00005,)
