"""Not from an RFC: a run's job and writing it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from experiments.declaration.job import Job, write_atomically
from nodes.strict import InputError, from_json, to_json
from tests.experiments.synthetic import run_spec

JOB = Job(
    experiment="e",
    point="p",
    levels={"model": "unique"},
    values={"model": None, "delay_ms": 2.0},
    seed=3,
    engine="host",
    spec=run_spec("unique"),
    decisions_s=(12.00005,),
)


def test_a_job_is_read_back_as_it_was_written() -> None:
    assert from_json(to_json(JOB), Job, "job.json") == JOB


def test_what_a_job_does_not_know_is_refused() -> None:
    with pytest.raises(InputError, match=r"job\.json: start is 5; is not a known key"):
        from_json(to_json(JOB)[:-1] + b',"start":5}', Job, "job.json")


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "meta.json"
    for content in (b"one", b"another"):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["meta.json"]  # noqa: PTH208


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "meta.json"
    write_atomically(path, b"one")

    def full(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"another")
    assert path.read_bytes() == b"one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["meta.json"]
