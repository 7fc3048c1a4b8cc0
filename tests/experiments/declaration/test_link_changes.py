from pathlib import Path
from typing import Any

import pytest

from experiments.declaration import generate_traces, link_changes
from experiments.declaration.spec import LinkChange, RunSpec
from nodes.strict import InputError
from tests.system.guests import make_job


def _spec(**changes: Any) -> RunSpec:
    return make_job(changes).spec


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(link_changes, "FOLDER", tmp_path)
    return tmp_path


def test_a_table_gives_what_its_rows_say(folder: Path) -> None:
    (folder / "t.csv").write_text("# why\ntime_s,loss,quality\n0,0.1,90\n1.5,,40\n60,0,1\n")
    spec = _spec(traces=[{"link": "wlan", "file": "t.csv", "direction": "down", "from_s": 2.0}])
    assert link_changes.link_changes(spec, 1, "x") == (
        LinkChange(at_s=2.0, link="wlan", direction="down", loss=0.1, quality=90),
        LinkChange(at_s=3.5, link="wlan", direction="down", quality=40),
    )


def test_a_packet_trace_gives_the_rate_of_each_window_until_the_end(folder: Path) -> None:
    (folder / "t.up").write_text("1\n2\n100\n")  # 3 packets of 12,000 bits in each 100 ms
    trace = {"link": "cell", "file": "t.up", "direction": "up", "from_s": 9.0, "window_ms": 500}
    found = link_changes.link_changes(_spec(traces=[trace]), 1, "x")
    assert [change.at_s for change in found] == [9.0, 9.5]
    assert {(change.rate_mbit, change.direction) for change in found} == {(0.36, "up")}


def test_a_shifted_trace_begins_where_the_seed_says(folder: Path) -> None:
    (folder / "t.up").write_text("".join(f"{ms}\n" for ms in (*range(1, 500), 1000)))
    trace = {"link": "cell", "file": "t.up", "shift": True, "from_s": 8.0}
    spec = _spec(traces=[trace])
    by_seed = [link_changes.link_changes(spec, seed, "x") for seed in (1, 2)]
    assert by_seed[0] != by_seed[1]
    assert by_seed[0] == link_changes.link_changes(spec, 1, "x")
    assert {change.rate_mbit for change in by_seed[0]} <= {0.05, 0.12, 11.88, 12.0}


def test_listed_changes_and_traces_are_in_order_of_time(folder: Path) -> None:
    (folder / "t.csv").write_text("time_s,loss\n0,0.1\n4,0.2\n")
    spec = _spec(
        changes=[{"at_s": 3.0, "link": "cell", "delay_ms": 5.0}],
        traces=[{"link": "wlan", "file": "t.csv"}],
    )
    assert [change.at_s for change in link_changes.link_changes(spec, 1, "x")] == [0.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time_s,colour\n0,1\n", r"\(header\) is 'colour'; expected time_s and any of rate_mbit"),
        ("time_s,loss\n0,x\n", r"row 1: loss is 'x'; expected a number"),
        ("time_s,loss\n0,2\n", r"row 1: loss is 2; expected `\w+` <= 1"),
        ("loss\n1\n", r"row 1: time_s is missing"),
    ],
)
def test_bad_tables(folder: Path, text: str, message: str) -> None:
    (folder / "t.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        link_changes.link_changes(_spec(traces=[{"link": "wlan", "file": "t.csv"}]), 1, "x")


@pytest.mark.parametrize("name", ["none.csv", "../spec.py"])
def test_a_file_that_is_not_there(name: str) -> None:
    spec = _spec(traces=[{"link": "wlan", "file": name}])
    message = r"x: traces\[0\].file is '.*'; expected one of lte-8mbit.packets, walk-out"
    with pytest.raises(InputError, match=message):
        link_changes.link_changes(spec, 1, "x")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"changes": [{"at_s": 1.0, "link": "x"}]}, r"changes\[0\].link: 'x'; expected one of"),
        ({"traces": [{"link": "x", "file": "f"}]}, r"traces\[0\].link: 'x'; expected one of"),
        (
            {"changes": [{"at_s": 1.0, "link": "cn-lma", "quality": 5}]},
            r"changes\[0\].quality: 5; cn-lma is no access link",
        ),
    ],
)
def test_bad_entries(document: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _spec(**document)


def test_the_generated_traces_are_those_that_are_here(tmp_path: Path) -> None:
    generate_traces.main(tmp_path)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (link_changes.FOLDER / path.name).read_bytes()
    walk = _spec(duration_s=60.0, traces=[{"link": "wlan", "file": "walk-out.csv"}])
    qualities = [change.quality for change in link_changes.link_changes(walk, 1, "x")]
    assert max(q or 0 for q in qualities) == 100
    assert min(100 if q is None else q for q in qualities) < 5
