from __future__ import annotations

from pathlib import Path

import pytest

from nodes.heartbeat import Incarnation
from nodes.restart_counter import MODULUS, count_start
from nodes.strict import InputError


def test_each_start_is_counted_rfc5847_3_2(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert count_start(path) == Incarnation(1, restarted=False)
    assert count_start(path) == Incarnation(2, restarted=True)
    assert count_start(path) == Incarnation(3, restarted=True)
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]


def test_a_crash_while_writing_leaves_the_old_count_rfc5847_3_2(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    count_start(path)
    path.with_name("state.json.new").write_text('{"restart_cou', encoding="ascii")
    assert count_start(path).restart_counter == 2


def test_after_the_greatest_count_it_wraps(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text(f'{{"restart_counter": {MODULUS - 1}}}', encoding="ascii")
    assert count_start(path) == Incarnation(0, restarted=True)


def test_a_broken_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text("{}", encoding="ascii")
    with pytest.raises(InputError, match=r"state\.json"):
        count_start(path)


def test_without_a_file_the_clock_counts_rfc5847_3_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.9)
    assert count_start(None) == Incarnation(1_700_000_000, restarted=False)
