"""Which runs are carried out, where, and beside what; the engines are models."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest

from experiments import sweep as sweep_module
from experiments.declaration.job import Job
from experiments.engines.base import SKIPPED, EngineUnavailable, Outcome
from experiments.runner import _add_costs, _engines
from experiments.sweep import Study, sweep
from tests.system.guests import make_job


class ModelEngine:
    versions: ClassVar[dict[str, str]] = {}

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, folder: Path, limit_s: float) -> Outcome:
        raise NotImplementedError


def job(engine: str, seed: int, host_load: int = 0) -> Job:
    made = make_job({"host_load": host_load})
    return msgspec.structs.replace(made, engine=engine, seed=seed, point=f"{engine}-{host_load}")


def record(folder: Path, job: Job, key: str, engine: ModelEngine) -> str | None:
    begun = time.monotonic()
    time.sleep(0.15)
    entry = {"run": job.run, "begun": begun, "ended": time.monotonic()}
    (folder / f"{job.run}.json").write_text(json.dumps(entry))
    return None


def test_what_the_machine_does_to_is_carried_out_alone_and_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_module, "work", record)
    jobs = [job("realtime", 1), job("virtual", 1, host_load=2), job("realtime", 2, host_load=2)]
    jobs += [job("virtual", seed) for seed in (1, 2)]
    engines = {name: ModelEngine(name) for name in ("virtual", "realtime")}
    study = Study("name", tmp_path, jobs)
    sweep("name", [study], engines, workers=2)
    assert set(study.outcomes) == {entry.run for entry in jobs}
    entries = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    entries.sort(key=lambda entry: float(entry["begun"]))
    assert {entry["run"] for entry in entries[:2]} == {"virtual-0-s1", "virtual-0-s2"}
    for before, after in itertools.pairwise(entries[1:]):
        assert after["begun"] >= before["ended"]


def test_runs_on_an_engine_that_is_not_there_are_skipped_with_the_reason(tmp_path: Path) -> None:
    study = Study("name", tmp_path, [job("host", 1)])
    sweep("name", [study], {}, workers=1, unavailable={"host": "engine host: needs root"})
    assert study.outcomes == {"host-0-s1": f"{SKIPPED}engine host: needs root"}


def test_runs_that_need_a_program_that_is_not_there_are_skipped_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_module, "work", record)
    monkeypatch.setattr(sweep_module, "lacking_programs", lambda: "charon is missing")
    spec = make_job({"protocol": {"protection": "ikev2"}}).spec
    exchanging = msgspec.structs.replace(job("virtual", 1), spec=spec)
    study = Study("name", tmp_path, [exchanging, job("virtual", 2)])
    sweep("name", [study], {"virtual": ModelEngine("virtual")}, workers=1)
    assert study.outcomes == {"virtual-0-s1": f"{SKIPPED}charon is missing", "virtual-0-s2": None}


def test_an_engine_that_was_asked_for_has_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> ModelEngine:
        if name == "host":
            raise EngineUnavailable("engine host: needs root")
        return ModelEngine(name)

    monkeypatch.setattr("experiments.runner.make_engine", refuse)
    engines, unavailable = _engines(["host", "virtual"], asked="virtual")
    assert (list(engines), unavailable) == (["virtual"], {"host": "engine host: needs root"})
    with pytest.raises(EngineUnavailable):
        _engines(["host", "virtual"], asked="host")


def test_costs_are_those_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "runs" / "a-s1").mkdir(parents=True)
    (tmp_path / "runs" / "a-s1" / "meta.json").write_text('{"wall_s": 1.25}')
    rows = [{"run": "a-s1", "status": "ok"}, {"run": "b-s1", "status": f"{SKIPPED}why"}]
    _add_costs(rows, tmp_path)
    assert [row["wall_s"] for row in rows] == [1.25, None]
