"""What was run is kept, a line per scenario."""

from __future__ import annotations

from pathlib import Path

from experiments.chaos.ledger import LEDGER, Entry, append, entries, summary


def entry(seed: int, **values: object) -> Entry:
    fixed: dict[str, object] = {
        "seed": seed,
        "code": "c",
        "commit": "0123456789abcdef",
        "dirty": False,
        "emulated_s": 7200.0,
        "wall_s": 60.0,
        "mags": 2,
        "mobiles": 3,
        "faults": 10,
        "looks": 20,
        "packets": 30,
    }
    return Entry(**(fixed | values))  # type: ignore[arg-type]


def test_entries_come_back_and_a_line_that_was_cut_off_is_none(tmp_path: Path) -> None:
    first, second = entry(1), entry(2, rules={"twice": 3})
    append(tmp_path, first)
    append(tmp_path, second)
    with (tmp_path / LEDGER).open("ab") as file:
        file.write(b'{"seed": 3, "co')
    assert list(entries(tmp_path)) == [first, second]
    assert list(entries(tmp_path / "none")) == []


def test_hours_faults_and_failures_are_summed_by_commit() -> None:
    text = summary([entry(1), entry(2, rules={"twice": 3}), entry(3, commit="f" * 40, dirty=True)])
    lines = [line.split() for line in text.splitlines()]
    assert lines[1] == ["012345678", "2", "4.0", "20", "60", "1", "2.00"]
    assert lines[2] == ["fffffffff+", "1", "2.0", "10", "30", "0", "2.00"]
    assert lines[3][:3] == ["all", "3", "6.0"]
    assert "twice: 1 scenarios, seeds 2" in text
