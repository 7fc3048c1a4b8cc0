from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from experiments.analysis.measure import (
    COLUMNS,
    analyse_run,
    missing_rows,
    read_job,
    write_runs,
)
from experiments.declaration.job import run_name
from nodes.strict import InputError
from tests.experiments.synthetic import (
    DEFAULT_FLOWS,
    START_NS,
    Plan,
    Recorder,
    make_run,
    run_spec,
    tcp,
    write_job,
)


def rows_of(folder: Path, **plan: Any) -> list[dict[str, Any]]:
    spec = plan.pop("spec", run_spec())
    return analyse_run(make_run(folder, Plan(spec, **plan)))


def chosen(row: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: row[key] for key in keys}


def test_shared_moves_by_hand(tmp_path: Path) -> None:
    to_slow, to_fast = rows_of(tmp_path)
    # Sent at 12.000, at the LMA at 12.00500 (5.001872 ms later), at the MN 35.102 ms after that.
    assert chosen(to_slow, "flow", "source", "target", "direction", "status", "stay_moved") == {
        "flow": "a",
        "source": "wlan",
        "target": "cell",
        "direction": "fast-to-slow",
        "status": "ok",
        "stay_moved": 0,
    }
    assert to_slow["move_latency_ms"] == to_slow["floor_ms"] == 37.09
    assert to_slow["excess_ms"] == 0.0
    assert to_slow["switch_latency_ms"] == 0.0
    # The first packet over cell takes 23.056 ms longer than the last over wlan.
    assert to_slow["interruption_ms"] == 23.05
    # The MN's next packet leaves at 12.060 (the news came at 12.0401) and takes 35.192 ms.
    assert to_slow["uplink_latency_ms"] == to_slow["uplink_floor_ms"] == 92.19
    assert to_slow["signalling_messages"] == to_slow["signalling_bytes"] == 0
    assert to_slow["reordered"] == 0

    assert to_fast["direction"] == "slow-to-fast"
    assert to_fast["move_latency_ms"] == to_fast["floor_ms"] == 14.04
    # The packet sent at 19.980 is at the LMA at 19.985 and at the MN at 20.0201, after the one
    # sent at 20.000, which arrives at 20.01704.
    assert to_fast["reordered"] == 1
    assert to_fast["uplink_reordered"] == 1
    assert to_fast["lost"] == to_fast["uplink_lost"] == 0


def test_packets_are_counted_from_a_second_before_to_the_end_of_the_flow(tmp_path: Path) -> None:
    to_slow, to_fast = rows_of(tmp_path)
    # From 11.003 s on: 11.02 to 28.98 s. From 19.003 s on: 19.02 to 28.98 s.
    assert (to_slow["sent"], to_fast["sent"]) == (899, 499)
    assert to_slow["received"] == to_slow["uplink_received"] == 899


def test_windows_of_moves_of_one_flow_do_not_overlap(tmp_path: Path) -> None:
    moves = [{"flow": "a", "to": "cell", "at_s": 12}, {"flow": "a", "to": "wlan", "at_s": 20}]
    there, back = rows_of(tmp_path, spec=run_spec(moves=moves))
    assert there["sent"] == 8 * 50  # 11.003 to 19.003 s
    assert (back["source"], back["target"]) == ("cell", "wlan")


def test_unique_on_ack_waits_for_the_round_trip(tmp_path: Path) -> None:
    to_slow, to_fast = rows_of(tmp_path, spec=run_spec("unique"))
    for row, latency in ((to_slow, 57.09), (to_fast, 34.04)):
        assert row["move_latency_ms"] == row["floor_ms"] == latency
        assert row["switch_latency_ms"] == 20.0
        assert row["signalling_messages"] == 2
        assert row["signalling_bytes"] == 2 * (40 + 56)


def test_unique_on_send_has_the_floor_of_shared(tmp_path: Path) -> None:
    to_slow, _ = rows_of(tmp_path, spec=run_spec("unique", "on-send"))
    assert to_slow["move_latency_ms"] == to_slow["floor_ms"] == 37.09
    assert to_slow["switch_latency_ms"] == 0.0
    # The FMA comes after the switch and belongs to the move all the same.
    assert to_slow["signalling_messages"] == 2


def test_hybrid_signals_for_the_exclusive_prefix_only(tmp_path: Path) -> None:
    to_slow, to_fast = rows_of(tmp_path, spec=run_spec("hybrid"))
    assert (to_slow["signalling_messages"], to_fast["signalling_messages"]) == (0, 2)
    assert (to_slow["floor_ms"], to_fast["floor_ms"]) == (37.09, 34.04)


def test_a_late_switch_shows_as_excess(tmp_path: Path) -> None:
    to_slow, _ = rows_of(tmp_path, late_ms=2.5)
    assert (to_slow["switch_latency_ms"], to_slow["excess_ms"]) == (2.5, 20.0)


def test_losses_and_copies_are_counted_in_their_window(tmp_path: Path) -> None:
    # Sequence 351 is sent at 12.02 s; 299 at 10.98 s, before the window.
    to_slow, to_fast = rows_of(
        tmp_path,
        lose=lambda flow, way, n: (
            flow == "a" and (way, n) in {("down", 351), ("down", 299), ("up", 400), ("up", 401)}
        ),
        copies=lambda flow, way, n: 3 if flow == "b" and n == 760 else 1,
    )
    assert chosen(to_slow, "lost", "received", "uplink_lost", "duplicated") == {
        "lost": 1,
        "received": 898,
        "uplink_lost": 2,
        "duplicated": 0,
    }
    assert to_slow["interruption_ms"] == 23.05  # the second gap, 20 ms, is shorter
    assert (to_fast["lost"], to_fast["duplicated"], to_fast["received"]) == (0, 2, 499)


def test_a_flow_that_should_stay_and_does_not_is_noticed(tmp_path: Path) -> None:
    moves = [{"flow": "a", "to": "cell", "at_s": 12}]
    run = make_run(
        tmp_path, Plan(run_spec(moves=[*moves, {"flow": "stay", "to": "cell", "at_s": 20}]))
    )
    # The same packets, as if nobody had ordered `stay` to move.
    write_job(run, run_spec(moves=moves), (12_003.0,))
    (row,) = analyse_run(run)
    # Sent from 20 s to 28.98 s down; up from 20.06 s, after the first packet over cell.
    assert row["stay_moved"] == 450 + 447


def test_what_went_wrong_is_the_status(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", Plan(run_spec("unique")))
    log = run / "events" / "lma.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    second = [line for line in lines if line.get("fid") == 2 or line.get("sequence") == 1001]
    failed = [line for line in lines if line not in second and line["event"] == "decision"]
    failed.append(failed[0] | {"event": "move-failed", "reason": "status 132"})
    log.write_text("".join(json.dumps(line) + "\n" for line in [*failed, *second[:-1]]))
    assert [row["status"] for row in analyse_run(run)] == [
        "move failed: status 132",
        "not switched",
    ]

    run = make_run(tmp_path / "b", Plan(run_spec(), lose=lambda flow, *_: flow == "a"))
    to_slow, to_fast = analyse_run(run)
    assert to_slow["status"] == "no packet over the new access"
    assert to_slow["move_latency_ms"] is None
    assert to_fast["status"] == "ok"

    up_only = {name: flow | {"directions": "up"} for name, flow in DEFAULT_FLOWS.items()}
    run = make_run(
        tmp_path / "d", Plan(run_spec(flows=up_only), lose=lambda _, way, n: way == "down")
    )
    for row in analyse_run(run):
        assert (row["status"], row["move_latency_ms"]) == ("ok", None), "nothing is to arrive"

    run = make_run(tmp_path / "c", Plan(run_spec()))
    (run / "events" / "lma.jsonl").write_text("")
    assert {row["status"] for row in analyse_run(run)} == {"no decision"}


def test_files_of_a_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "one", Plan(run_spec("unique")))
    copy = Path(shutil.copytree(run, tmp_path / "two"))
    analyse_run(run)
    analyse_run(copy, keep_captures=True)
    assert sorted(path.name for path in run.iterdir()) == [
        "control.pcapng",
        "events.csv",
        "flows.json",
        "job.json",
        "moves.json",
        "packets.csv.gz",
        "view.js",
    ]
    assert (copy / "captures.pcapng").exists()
    assert (copy / "events").is_dir()
    for name in ("packets.csv.gz", "events.csv", "moves.json"):
        assert (run / name).read_bytes() == (copy / name).read_bytes()
    first, _ = json.loads((run / "moves.json").read_bytes())
    assert first["decision_s"] == first["fmi_sent_s"][0] == 12.003
    assert first["fma_received_s"] == [12.023]
    assert first["switched_s"] == 12.023
    assert first["first_packet_s"] == 12.06009


def test_single_microseconds_do_not_change_the_rows(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", Plan(run_spec("unique"), decisions_ms=(12_003.0, 20_003.0)))
    two = make_run(tmp_path / "two", Plan(run_spec("unique"), decisions_ms=(12_003.001, 20_003.0)))
    shutil.copy(one / "job.json", two / "job.json")
    first, second = analyse_run(one), analyse_run(two)
    for key in ("move_latency_ms", "floor_ms", "decision_s"):
        assert first[0][key] == pytest.approx(second[0][key], abs=0.011)
    assert first[1] == second[1]


def test_factors_become_columns(tmp_path: Path) -> None:
    run = make_run(
        tmp_path,
        Plan(run_spec()),
        point="p",
        seed=4,
        levels={"model": "shared", "backhaul": "fast", "lma_mag_delay_ms": "10"},
        values={"model": None, "backhaul": 2.5, "lma_mag_delay_ms": 99.0},
    )
    row = analyse_run(run)[0]
    assert (row["run"], row["model"], row["backhaul"]) == ("p-s4", "shared", 2.5)
    # Computed from the topology, whatever the factor's label claims.
    assert row["lma_mag_delay_ms"] == 10.0


def test_runs_csv_is_complete_and_in_order(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", Plan(run_spec()), levels={"zeta": "1", "alpha": "2"})
    rows = [*analyse_run(run), *missing_rows(read_job(run), "guest ended after 60 s")]
    write_runs(rows, tmp_path)
    lines = (tmp_path / "runs.csv").read_text().splitlines()
    assert lines[0].split(",") == [*COLUMNS, "alpha", "zeta"]
    assert len(lines) == 5
    assert "guest ended after 60 s" in lines[3]
    assert not list(tmp_path.glob("*.part"))
    assert run_name("p", 3) == "p-s3"


def test_tcp_rows_are_kept_apart_from_those_that_repeat_exactly(tmp_path: Path) -> None:
    write_runs([{"run": "u", "traffic": "udp"}, {"run": "t", "traffic": "tcp"}], tmp_path)
    assert ",u," in (tmp_path / "runs.csv").read_text()
    assert ",t," not in (tmp_path / "runs.csv").read_text()
    assert ",t," in (tmp_path / "downloads.csv").read_text()
    write_runs([{"run": "u", "traffic": "udp"}], tmp_path)
    assert not (tmp_path / "downloads.csv").exists()


def test_a_tcp_move(tmp_path: Path) -> None:
    flows = {"d": {"kind": "tcp", "anchor": "wlan", "start": "wlan", "port": 5201}}
    spec = run_spec(flows=flows, moves=[{"flow": "d", "to": "cell", "at_s": 12}])
    net = Recorder()
    for number in range(200):
        sent = 11_000 + 10 * number
        access = "cell" if sent + 5 >= 12_003 else "wlan"
        segment = tcp(5201, True, 1 + 1000 * number, 1000, sent)
        net.seen("cn", "down", sent, segment)
        net.seen("lma", "down", sent + 5.009, segment, access)
        net.seen("mn", "down", sent + (40 if access == "cell" else 17), segment, access)
    net.write(tmp_path / "captures.pcapng")
    Recorder().write(tmp_path / "control.pcapng")
    (tmp_path / "events").mkdir()
    entries = [
        {"t": START_NS + 12_003_000_000, "node": "lma", "event": name, "fid": 1, "to": "cell"}
        for name in ("decision", "switched")
    ]
    log = "".join(json.dumps(entry) + "\n" for entry in entries)
    (tmp_path / "events" / "lma.jsonl").write_text(log)
    write_job(tmp_path, spec, (12_003.0,))
    (row,) = analyse_run(tmp_path)
    assert chosen(row, "traffic", "status", "move_latency_ms", "stay_moved") == {
        "traffic": "tcp",
        "status": "ok",
        "move_latency_ms": 37.0,
        "stay_moved": None,
    }
    assert row["uplink_latency_ms"] is None


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda run: (run / "job.json").unlink(), "job.json.*can't be read"),
        (lambda run: (run / "job.json").write_text("{"), "is not JSON"),
        (lambda run: write_job(run, run_spec(), (1.0,)), "decisions_s.*expected 2 values"),
        (lambda run: (run / "captures.pcapng").write_bytes(b"junk"), "is not a pcapng file"),
    ],
)
def test_a_bad_run_folder_says_so_and_stays(tmp_path: Path, break_it, message: str) -> None:
    run = make_run(tmp_path, Plan(run_spec()))
    break_it(run)
    with pytest.raises(ValueError, match=message):
        analyse_run(run)
    assert (run / "events").is_dir()
    assert not (run / "packets.csv.gz").exists()


def test_a_job_of_another_kind_is_an_input_error(tmp_path: Path) -> None:
    write_job(tmp_path, run_spec(), (1.0, 2.0), seed="one")
    with pytest.raises(InputError, match="seed is 'one'"):
        read_job(tmp_path)


def test_analysis_is_fast(tmp_path: Path) -> None:
    run = make_run(tmp_path, Plan(run_spec()))
    started = time.process_time()
    analyse_run(run)
    # About 0.1 s on an idle core; the limit leaves room for a busy machine.
    assert time.process_time() - started < 1.0
