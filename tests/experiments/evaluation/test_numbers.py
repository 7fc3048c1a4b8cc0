from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from experiments.declaration.declarations import Number, Table
from experiments.evaluation.numbers import (
    escaped,
    filled,
    latex_rows,
    macro,
    shown,
    value,
    verdict,
)
from experiments.evaluation.results import Results
from experiments.evaluation.statistics import bootstrap_interval
from nodes.strict import InputError, convert
from tests.experiments.synthetic import make_results

FAST_UDP = {"direction": "fast-to-slow", "traffic": "udp", "lma_mag_delay_ms": 10}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return Results(make_results(tmp_path_factory.mktemp("results"), (10.0,), 3))


def _number(**fields: Any) -> Number:
    return convert({"y": "move_latency_ms", **fields}, Number, "test")


def test_a_number_is_a_statistic_of_some_rows(results: Results) -> None:
    found = value(_number(where={"model": "shared", **FAST_UDP}), results)
    moves = results.moves("udp")
    of_model = moves[(moves["model"] == "shared") & (moves["direction"] == "fast-to-slow")]
    assert found.estimate == pytest.approx(of_model["move_latency_ms"].mean())
    assert found.n == 3


def test_the_largest_value_has_no_interval(results: Results) -> None:
    number = _number(statistic="max", where={"model": "shared", **FAST_UDP})
    moves = results.moves("udp")
    of_model = moves[(moves["model"] == "shared") & (moves["direction"] == "fast-to-slow")]
    assert value(number, results).estimate == of_model["move_latency_ms"].max()
    assert "[" not in shown({"most": number}, results)["most"]


def test_a_difference_is_of_pairs_of_the_same_seed(results: Results) -> None:
    number = _number(where={"model": "unique/on-ack", **FAST_UDP}, minus={"model": "shared"})
    # What signalling costs: a round trip, or up to a packet interval more or less.
    assert value(number, results).estimate == pytest.approx(20, abs=20)
    assert value(number, results).n == 3
    same = _number(where={"model": "shared", **FAST_UDP}, minus={"model": "shared"})
    assert value(same, results).estimate == 0


def test_rows_that_do_not_pair_are_an_error(results: Results) -> None:
    number = _number(where={"traffic": "udp"}, minus={"model": "hybrid"})
    with pytest.raises(InputError, match=r"minus is .*several rows have the same seed, flow, move"):
        value(number, results)


def test_a_share_can_be_a_percentage(results: Results) -> None:
    number = _number(y="", statistic="failed", where={"model": "shared"}, scale=100, digits=0)
    assert shown({"failed": number}, results)["failed"].startswith("0 [0, ")


def test_a_number_of_runs_that_all_failed_is_said_to_be_none(results: Results) -> None:
    number = _number(y="stay_moved", where={"model": "shared", "traffic": "tcp"})
    assert shown({"n": number}, results) == {"n": "(no value)"}


def test_minus_of_failures_is_refused() -> None:
    with pytest.raises(InputError, match='statistic is "failed"; expected one of values'):
        _number(statistic="failed", minus={"model": "shared"})


def test_an_answer_has_its_numbers() -> None:
    assert filled("{a} and {b-2}", {"a": "1", "b-2": "2"}, "x") == "1 and 2"
    with pytest.raises(InputError, match=r"x: answer is '\{c\}'; is no number; expected one of a"):
        filled("{c}", {"a": "1"}, "x")


def test_a_table_has_a_row_for_each_combination_that_there_is(results: Results) -> None:
    table = convert(
        {
            "by": {"model": "Model", "direction": "Direction"},
            "columns": [
                {"head": "Latency (ms)", "y": "move_latency_ms"},
                {"head": "Failed (%)", "y": "failed", "statistic": "failed", "digits": 2},
            ],
            "where": {"traffic": "udp", "direction": "fast-to-slow"},
            "names": {"shared": "one & all"},
        },
        Table,
        "test",
    )
    lines = latex_rows(table, results).splitlines()
    assert lines[0] == r"\begin{tabular}{llrr}"
    heads = r"\shortstack[r]{Latency\\(ms)} & \shortstack[r]{Failed\\(\%)}"
    assert lines[2] == rf"Model & Direction & {heads} \\"
    assert lines[4].startswith(r"one \& all & fast-to-slow & ")
    assert len(lines) == 4 + 4 + 2


def test_macros_have_letters_only() -> None:
    assert macro("prefix-models", "shared-10ms") == r"\PrefixModelsSharedOneZeroms"
    assert escaped("50 % of a_b\\") == r"50 \% of a\_b\textbackslash{}"


@pytest.mark.parametrize(
    ("within", "said"),
    [
        ([-1.0, 1.0], "within -1 to 1"),
        ([0.5, 9.0], "OUTSIDE 0.5 to 9"),
        ([0.0, 0.0], "within 0 to 0"),
    ],
)
def test_a_number_with_bounds_says_whether_it_keeps_them(
    results: Results, within: list[float], said: str
) -> None:
    same = _number(where={"model": "shared", **FAST_UDP}, minus={"model": "shared"}, within=within)
    assert shown({"same": same}, results)["same-verdict"] == said


def test_without_runs_there_is_no_verdict() -> None:
    nothing = bootstrap_interval(np.array([]))
    assert verdict((0.0, 1.0), nothing) == "no runs to compare with 0 to 1"


def test_bounds_are_in_order() -> None:
    with pytest.raises(InputError, match="lower bound first"):
        _number(within=[2.0, 1.0])
