from __future__ import annotations

from pathlib import Path

import pytest

from experiments.analysis.event_log import events_csv, read_events
from nodes.strict import InputError

START_NS = 1_700_000_000_000_000_000


def write(folder: Path, node: str, *lines: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{node}.jsonl").write_text("".join(line + "\n" for line in lines))


def event(at_us: int, node: str, name: str, more: str = "") -> str:
    return f'{{"t":{START_NS + at_us * 1000},"node":"{node}","event":"{name}"{more}}}'


def test_order_does_not_depend_on_single_microseconds(tmp_path: Path) -> None:
    write(tmp_path / "one", "mag1", event(100_002, "mag1", "fmi"), event(100_003, "mag1", "fma"))
    write(tmp_path / "one", "lma", event(100_003, "lma", "sent"), event(5, "lma", "start"))
    write(tmp_path / "two", "mag1", event(100_003, "mag1", "fmi"), event(100_004, "mag1", "fma"))
    write(tmp_path / "two", "lma", event(100_002, "lma", "sent"), event(5, "lma", "start"))
    first = events_csv(read_events(tmp_path / "one", START_NS))
    assert first == events_csv(read_events(tmp_path / "two", START_NS))
    names = [line.split(",")[2] for line in first.decode().splitlines()[1:]]
    assert names == ["start", "sent", "fmi", "fma"]


def test_detail_has_sorted_keys_and_time_ten_microseconds(tmp_path: Path) -> None:
    write(tmp_path, "lma", event(12_345_678, "lma", "decision", ',"to":"cell","fid":1'))
    assert events_csv(read_events(tmp_path, START_NS)).decode() == (
        'time_s,node,event,detail\n12.34567,lma,decision,"{""fid"":1,""to"":""cell""}"\n'
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"t":1,', "line 2: is not JSON|line 2 is not JSON"),
        ("[1]", "expected an object"),
        ('{"t":"x","node":"lma","event":"e"}', "line 2: t is 'x'; expected int"),
        ('{"t":1,"node":"lma"}', "line 2: event"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: str, message: str) -> None:
    write(tmp_path, "lma", event(1, "lma", "start"), line)
    with pytest.raises(InputError, match=message):
        read_events(tmp_path, START_NS)


def test_no_folder_is_no_events(tmp_path: Path) -> None:
    assert read_events(tmp_path / "events", START_NS) == []
