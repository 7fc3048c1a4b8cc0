"""Not from an RFC: points, instants and jobs of an experiment file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.declaration import experiment
from experiments.declaration.experiment import available, decisions, jobs, load, merge, points
from experiments.declaration.spec import Experiment, Move, RunSpec
from nodes.strict import InputError, convert, to_builtins
from tests.experiments.synthetic import run_spec

BASE: dict[str, Any] = {
    "duration_s": 20.0,
    "flows": {"a": {"kind": "udp", "anchor": "wlan", "start": "wlan", "port": 5001, "until_s": 19}},
    "moves": [{"flow": "a", "to": "cell", "at_s": 12.0}],
}


def level(label: str, value: object = None, **changes: object) -> dict[str, object]:
    return {"label": label, "value": value, "set": changes}


def made(**changes: object) -> Experiment:
    model = [level(name, protocol={"prefix_model": name}) for name in ("shared", "unique")]
    spread = [level(f"{ms}ms", float(ms), decision_spread_ms=ms) for ms in (0, 20)]
    document = {
        "question": "?",
        "why_these_runs": "!",
        "seeds": 3,
        "base": BASE,
        "parts": {
            "one": {
                "factors": [{"name": "model", "levels": model}, {"name": "s", "levels": spread}]
            }
        },
        **changes,
    }
    return convert(document, Experiment, "test")


def test_points_are_the_cross_product_of_levels() -> None:
    found = points("test", made())
    assert [point.name for point in found] == [
        "shared-0ms",
        "shared-20ms",
        "unique-0ms",
        "unique-20ms",
    ]
    assert found[3].levels == {"model": "unique", "s": "20ms"}
    assert found[3].values == {"model": None, "s": 20.0}
    assert found[3].spec.protocol.prefix_model == "unique"
    assert found[2].spec.decision_spread_ms == 0
    assert {point.seeds for point in found} == {3}


@pytest.mark.parametrize(
    ("asked", "own", "expected"),
    [(None, None, 3), (7, None, 7), (7, 2, 2), (1, 2, 1), (None, 2, 2)],
)
def test_the_number_of_seeds(asked: int | None, own: int | None, expected: int) -> None:
    part = {} if own is None else {"seeds": own}
    (point,) = points("test", made(parts={"only": part}), asked)
    assert (point.name, point.seeds, point.levels) == ("only", expected, {})


def test_one_switch_protects_the_signalling_of_all_runs_but_where_levels_are_about_it() -> None:
    protection = [level(name, protocol={"protection": name}) for name in ("none", "keys")]
    parts = {
        "said": {"base": {"protocol": {"protection": "keys"}}},
        "silent": {},
        "compared": {"factors": [{"name": "protection", "levels": protection}]},
    }

    def found(switch: Any) -> list[str]:
        return [
            point.spec.protocol.protection
            for point in points("test", made(parts=parts), protection=switch)
        ]

    assert found(None) == ["keys", "none", "none", "keys"]
    assert found("none") == ["none", "none", "none", "keys"]
    assert found("ikev2") == ["ikev2", "ikev2", "none", "keys"]


def test_a_part_overrides_the_base_and_a_level_the_part() -> None:
    part = {
        "base": {"duration_s": 25.0, "decision_spread_ms": 5.0},
        "factors": [{"name": "f", "levels": [level("x", decision_spread_ms=1.0)]}],
    }
    (point,) = points("test", made(parts={"p": part}))
    assert (point.spec.duration_s, point.spec.decision_spread_ms) == (25.0, 1.0)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"base": {**BASE, "colour": 1}, "parts": {"p": {}}},
            "test.toml (p): colour is 1; is not a known key",
        ),
        (
            {"base": {**BASE, "duration_s": -1}, "parts": {"p": {}}},
            "test.toml (p): duration_s is -1; expected",
        ),
        (
            {"parts": {"p": {"factors": [{"name": "f", "levels": [level("x"), level("x")]}]}}},
            "test.toml: levels is 'x'; names two points",
        ),
        (
            {"parts": {"p": {"factors": [{"name": "f", "levels": [level("a/b")]}]}}},
            "test.toml: levels is 'a/b'; expected letters",
        ),
        (
            {"parts": {"p": {"factors": [{"name": "f", "levels": []}]}}},
            "test.toml: parts.p.factors is 'f'; has no levels",
        ),
        ({"topology": "moon"}, "moon.toml: (file) can't be read"),
    ],
)
def test_what_makes_no_run_is_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError) as caught:
        points("test", made(**changes))
    assert text in str(caught.value)


MN_DECIDES = {"prefix_model": "shared", "decision_maker": "mn"}
DYNAMIC_CELL = [
    {"access": "wlan", "at_s": 1.0},
    {"access": "cell", "at_s": 2.0, "dynamic": True},
]


@pytest.mark.parametrize(
    "protocol",
    [MN_DECIDES, {**MN_DECIDES, "prefix_model": "unique", "prefix_delivery": "at-attach"}],
)
def test_moves_may_be_decisions_of_the_mn(protocol: dict[str, Any]) -> None:
    (point,) = points("test", made(base={**BASE, "protocol": protocol}, parts={"p": {}}))
    assert point.spec.moves


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"protocol": {**MN_DECIDES, "policies": [{"kind": "load-balance"}]}},
            "policies are decisions of the LMA",
        ),
        (
            {"protocol": {**MN_DECIDES, "prefix_model": "unique"}},
            'protocol.prefix_delivery: "on-move"; an MN that decides',
        ),
        (
            {
                "protocol": {**MN_DECIDES, "attachment": "layer-2"},
                "attachments": DYNAMIC_CELL,
                "flows": {"a": BASE["flows"]["a"]},
                "moves": BASE["moves"][:1],
            },
            "dynamic attachment waits for the LMA",
        ),
    ],
)
def test_what_an_mn_that_decides_can_not_have_is_refused(
    changes: dict[str, Any], text: str
) -> None:
    with pytest.raises(InputError) as caught:
        points("test", made(base={**BASE, **changes}, parts={"p": {}}))
    assert text in str(caught.value)


UPLINK = {"flow": "a", "to": "cell", "at_s": 9.0}


def test_decisions_of_the_mn_are_for_one_that_the_lma_does_not_follow_rfc7864_3_1() -> None:
    given = {"protocol": {"prefix_model": "unique", "uplink": "own"}, "uplink_moves": [UPLINK]}
    (point,) = points("test", made(base={**BASE, **given}, parts={"p": {}}))
    assert [move.to for move in point.spec.uplink_moves] == ["cell"]


@pytest.mark.parametrize(
    ("protocol", "move", "text"),
    [
        ({"uplink": "reflective"}, {}, "uplink_moves: 1; expected none"),
        ({"uplink": "own", "decision_maker": "mn"}, {}, "uplink_moves: 1; expected none"),
        ({"uplink": "own"}, {"flow": "z"}, "uplink_moves[0].flow: 'z'; expected one of a"),
        ({"uplink": "own"}, {"to": "dsl"}, "uplink_moves[0].to: 'dsl'; expected one of wlan"),
    ],
)
def test_decisions_of_the_mn_that_make_no_sense_are_refused(
    protocol: dict[str, Any], move: dict[str, Any], text: str
) -> None:
    given = {"protocol": protocol, "uplink_moves": [UPLINK | move]}
    with pytest.raises(InputError) as caught:
        points("test", made(base={**BASE, **given}, parts={"p": {}}))
    assert text in str(caught.value)


def test_every_experiment_of_the_project_makes_runs() -> None:
    assert available()
    for name in available():
        assert points(name, load(name))


def test_an_experiment_that_is_not_there() -> None:
    with pytest.raises(InputError, match=r"EXP is 'nothing'; expected one of .*smoke"):
        load("nothing")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(experiment, "EXPERIMENTS", tmp_path)
    return tmp_path


def test_experiments_are_the_files_of_their_folder(folder: Path) -> None:
    for name in ("b", "a"):
        (folder / f"{name}.toml").write_text('question = "?"\nwhy_these_runs = "!"\nparts = {}\n')
    assert available() == ["a", "b"]
    assert load("a").question == "?"


def test_merging_goes_by_key_and_leaves_its_arguments_alone() -> None:
    first = {"a": {"x": 1, "y": [1, 2]}, "b": 1}
    second = {"a": {"y": [3], "z": 4}, "b": {"c": 2}}
    assert merge(first, second) == {"a": {"x": 1, "y": [3], "z": 4}, "b": {"c": 2}}
    assert first == {"a": {"x": 1, "y": [1, 2]}, "b": 1}
    assert merge() == {}


def with_spread(spread_ms: float) -> RunSpec:
    document = to_builtins(run_spec("unique"))
    document["decision_spread_ms"] = spread_ms
    spec = convert(document, RunSpec, "test")
    assert spec.moves
    return spec


@given(st.integers(1, 10_000), st.sampled_from([0.0, 5.0, 20.0]))
def test_decisions_are_in_the_spread_and_off_the_grid_of_packets(seed: int, spread: float) -> None:
    spec = with_spread(spread)
    for move, instant in zip(spec.moves, decisions(spec, seed), strict=True):
        offset_us = round((instant - move.at_s) * 1e6)
        assert 0 < offset_us <= spread * 1000 + 50
        assert offset_us % 100 == 50


@pytest.mark.parametrize("runs", [5, 10, 20, 40])
def test_seeds_sample_the_packet_interval_evenly(runs: int) -> None:
    """No gap is longer than the golden ratio allows: 1.9 of the mean gap (three-distance)."""
    spec = with_spread(20.0)
    offsets = sorted(decisions(spec, seed)[0] - spec.moves[0].at_s for seed in range(1, runs + 1))
    gaps = [
        after - before
        for before, after in zip(offsets, [*offsets[1:], offsets[0] + 0.02], strict=True)
    ]
    assert max(gaps) < 2.3 * 0.02 / runs


def test_one_job_a_run_with_the_same_instants_for_all_moves() -> None:
    found = points("test", made(base={**BASE, "moves": [*BASE["moves"]] * 2}), 2)
    made_jobs = list(jobs("test", found, "host"))
    assert [(job.point, job.seed) for job in made_jobs[:3]] == [
        ("shared-0ms", 1),
        ("shared-0ms", 2),
        ("shared-20ms", 1),
    ]
    assert len(made_jobs) == 8
    last = made_jobs[-1]
    assert (last.experiment, last.engine, last.values["s"]) == ("test", "host", 20.0)
    assert last.decisions_s == decisions(last.spec, 2)
    assert last.decisions_s[0] == last.decisions_s[1]
    assert isinstance(last.spec.moves[0], Move)
