"""Up- and downlink over different accesses, in packets with known timing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.analysis.event_log import Event
from experiments.analysis.measure import read_job
from experiments.analysis.packets import COLUMNS
from experiments.analysis.traces import Trace
from experiments.analysis.uplink_consistency import consistency_columns
from experiments.captures.frames import TICKS_PER_S
from tests.experiments.synthetic import TOPOLOGY, UDP, run_spec, write_job

MOVE_S = 12.0
FLOW = UDP | {"anchor": "wlan", "start": "wlan", "port": 5001, "from_s": 11.0, "until_s": 13.0}
# Packet, direction, when it was at the sender, the LMA and the receiver (None: never) and by what.
Seen = tuple[int, str, float, float | None, float | None, str]


def columns(
    folder: Path,
    seen: list[Seen],
    log: list[Event] | None = None,
    protocol: dict[str, Any] | None = None,
    flow: dict[str, Any] | None = None,
    job: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    settings = {"prefix_model": "shared"} | (protocol or {})
    moves = more.pop("moves", [{"flow": "a", "to": "cell", "at_s": MOVE_S}])
    spec = run_spec(flows={"a": FLOW | (flow or {})}, moves=moves, protocol=settings, **more)
    write_job(folder, spec, tuple(MOVE_S * 1000 for _ in moves), **(job or {}))
    rows = [
        dict(zip(COLUMNS, ("a", way, number, 188, sent, lma, access, got, access, 40), strict=True))
        for number, way, sent, lma, got, access in seen
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    for column in ("sent_s", "lma_s", "received_s"):
        table[column] = table[column].astype(np.float64)
    return consistency_columns(read_job(folder), "a", Trace(table, "a"), log or [])


def down(number: int, at_lma: float, at_mn: float | None, access: str) -> Seen:
    return number, "down", at_lma - 0.005, at_lma, at_mn, access


def up(number: int, at_mn: float, at_lma: float | None, access: str) -> Seen:
    return number, "up", at_mn, at_lma, None if at_lma is None else at_lma + 0.005, access


BEFORE = [down(0, 11.9, 11.912, "wlan"), up(0, 11.91, 11.922, "wlan")]


def test_a_node_that_follows_the_downlink_disagrees_until_it_sends_rfc7847_3_2(
    tmp_path: Path,
) -> None:
    seen = [
        *BEFORE,
        down(1, 12.0, 12.035, "cell"),
        up(1, 12.03, 12.042, "wlan"),
        up(2, 12.05, 12.085, "cell"),
    ]
    assert columns(tmp_path, seen) == {
        "uplink_lag_ms": 15.0,
        "disagreed_ms": 15.0,
        "disagreed_lma_ms": 85.0,
        "uplink_changes": 1,
        "ingress_dropped": 0,
    }


def test_an_uplink_that_goes_first_has_a_negative_lag(tmp_path: Path) -> None:
    seen = [*BEFORE, up(1, 11.97, 12.005, "cell"), down(1, 12.0, 12.035, "cell")]
    found = columns(tmp_path, seen)
    assert (found["uplink_lag_ms"], found["disagreed_ms"]) == (-65.0, 65.0)
    assert found["disagreed_lma_ms"] == 5.0


def test_disagreement_is_the_sum_of_all_times_of_it(tmp_path: Path) -> None:
    """A late packet over the old access takes the uplink back once more."""
    seen = [
        *BEFORE,
        down(2, 12.0, 12.012, "cell"),
        up(1, 12.02, 12.032, "cell"),
        down(1, 11.99, 12.025, "wlan"),
        up(2, 12.03, 12.065, "wlan"),
        down(3, 12.02, 12.032, "cell"),
        up(3, 12.04, 12.052, "cell"),
    ]
    found = columns(tmp_path, seen)
    assert found["disagreed_ms"] == 8.0 + 5.0 + 8.0
    assert found["uplink_changes"] == 3


def test_an_uplink_that_stays_disagrees_until_the_flows_end(tmp_path: Path) -> None:
    seen = [*BEFORE, down(1, 12.0, 12.035, "cell"), up(1, 12.5, 12.512, "wlan")]
    found = columns(tmp_path, seen)
    assert found["uplink_lag_ms"] is None
    assert (found["disagreed_ms"], found["disagreed_lma_ms"]) == (965.0, 1000.0)


def test_what_was_before_the_move_is_none_of_it(tmp_path: Path) -> None:
    early = [up(9, 11.0, 11.035, "cell"), down(9, 11.0, 11.012, "wlan")]
    seen = [*early, *BEFORE, down(1, 12.0, 12.035, "cell"), up(1, 12.04, 12.075, "cell")]
    found = columns(tmp_path, seen)
    assert (found["uplink_lag_ms"], found["disagreed_ms"], found["uplink_changes"]) == (5.0, 5.0, 1)


def test_packets_that_no_tunnel_brought_were_dropped_at_a_mag_rfc5213_6_10_5(
    tmp_path: Path,
) -> None:
    lost = [up(number, 12.0 + number / 100, None, "cell") for number in range(1, 4)]
    beyond: Seen = (4, "up", 11.95, 11.962, None, "wlan")
    found = columns(tmp_path, [*BEFORE, beyond, *lost])
    assert found["ingress_dropped"] == 3, "what is lost behind the LMA isn't"
    assert (found["disagreed_ms"], found["disagreed_lma_ms"]) == (990.0, 0.0)


LOSSY = TOPOLOGY["links"]["cell"] | {"up": {"rate_mbit": 10.0, "loss": 0.1}}


@pytest.mark.parametrize(
    "more",
    [
        {"topology": TOPOLOGY | {"links": TOPOLOGY["links"] | {"cell": LOSSY}}},
        {"job": {"changes": [{"at_s": 12.0, "link": "cell", "loss": 1.0}]}},
        {"events": {"x": {"do": "link-down", "access": "wlan", "at_s": 12.0}}},
    ],
    ids=["loss", "change", "event"],
)
def test_where_links_lose_packets_nobody_knows_what_a_mag_dropped(
    tmp_path: Path, more: dict[str, Any]
) -> None:
    assert (
        columns(tmp_path, [*BEFORE, up(1, 12.01, None, "cell")], **more)["ingress_dropped"] is None
    )


def switched(at_s: float, to: str, node: str = "lma", event: str = "switched") -> Event:
    return Event(round(at_s * TICKS_PER_S), node, event, {"fid": 1, "to": to})


def test_without_a_downlink_what_the_lma_decided_stands_for_it_rfc7864_3_2(tmp_path: Path) -> None:
    seen = [up(0, 11.9, 11.912, "wlan"), up(1, 12.2, 12.212, "wlan"), up(2, 12.3, 12.335, "cell")]
    found = columns(tmp_path, seen, [switched(12.0, "cell")], flow={"directions": "up"})
    assert (found["uplink_lag_ms"], found["disagreed_ms"]) == (None, None)
    assert found["disagreed_lma_ms"] == 335.0


def test_without_an_uplink_what_a_deciding_node_decided_stands_for_it_rfc7864_3_1(
    tmp_path: Path,
) -> None:
    seen = [down(0, 11.9, 11.912, "wlan"), down(1, 12.5, 12.512, "wlan")]
    decided = [switched(12.0, "mn-cell", "mn", "decision"), switched(12.1, "cell")]
    mn = {"decision_maker": "mn"}
    found = columns(tmp_path, seen, decided, mn, {"directions": "down"})
    assert (found["disagreed_ms"], found["disagreed_lma_ms"]) == (1000.0, None)
    assert found["uplink_changes"] is None
    # An MN that doesn't decide has nothing to disagree with.
    assert columns(tmp_path, seen, decided, {}, {"directions": "down"})["disagreed_ms"] is None


def test_the_decisions_of_the_mn_count_from_before_them(tmp_path: Path) -> None:
    """The window begins with whoever is the first to decide."""
    early = {"uplink_moves": [{"flow": "a", "to": "cell", "at_s": 11.3}]}
    seen = [
        down(0, 11.2, 11.212, "wlan"),
        up(0, 11.21, 11.222, "wlan"),
        up(1, 11.31, 11.345, "cell"),
        down(1, 12.0, 12.035, "cell"),
    ]
    found = columns(tmp_path, seen, protocol={"uplink": "own"}, **early)
    assert (found["disagreed_ms"], found["uplink_lag_ms"]) == (725.0, -725.0)


def test_copies_over_both_accesses_have_no_agreement(tmp_path: Path) -> None:
    moves = [{"flow": "a", "to": "cell", "at_s": MOVE_S, "copies": True}]
    assert columns(tmp_path, BEFORE, moves=moves) == {}
