"""Several mobile nodes at the same MAGs, and flows that move together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from experiments.analysis.measure import analyse_run
from experiments.analysis.packets import read_packets
from experiments.engines.guest import GuestEngine
from experiments.engines.kernel_cache import Kernel
from tests.system.guests import LIMIT_S, make_job, put_job

# The resolution of recorded times, twice: of the latency and of its floor.
RESOLUTION_MS = 0.02
MNS, IDLE = 3, 4
FLOW = {"kind": "udp", "anchor": "wlan", "start": "wlan", "until_s": 9.0}
IDLE_FLOWS = {"idle": {"count": IDLE, "anchor": "wlan", "start": "wlan"}}


def run(kernel: Kernel, folder: Path, *changes: dict[str, Any]) -> dict[str, Any]:
    """The row of the only move."""
    put_job(folder, make_job(IDLE_FLOWS, *changes))
    (folder / "logs").mkdir()
    outcome = GuestEngine(kernel, virtual=True).run(folder, LIMIT_S)
    assert outcome.failure is None
    (row,) = analyse_run(folder)
    assert row["status"] == "ok"
    return row


def test_all_flows_of_all_mobile_nodes_at_once(kernel: Kernel, tmp_path: Path) -> None:
    """One FMI and FMA for each mobile node (RFC 7864 section 3.2.2), whatever flows it has, and
    for all of them the time of one."""
    flows = {"a": FLOW | {"port": 5001}, "z": FLOW | {"port": 5002, "mn": MNS}}
    changes: dict[str, Any] = {"topology": {"nodes": {"mn": {"role": "mn", "count": MNS}}}}
    changes["flows"] = {**flows, "stay": FLOW | {"port": 5003, "mn": 2}}
    changes["moves"] = [{"flow": "a", "to": "cell", "at_s": 6.0, "scope": "all"}]
    row = run(kernel, tmp_path, changes)
    assert (row["flows_ordered"], row["flows_switched"]) == (MNS * IDLE + 3, MNS * IDLE + 3)
    assert row["signalling_messages"] == 2 * MNS
    assert abs(row["last_packet_ms"] - row["last_floor_ms"]) <= RESOLUTION_MS
    assert row["switch_latency_ms"] <= row["last_switch_ms"] <= row["switch_latency_ms"] + 0.1
    packets = read_packets(tmp_path / "packets.csv.gz")
    down = packets[(packets.direction == "down")]
    for name in ("a", "z", "stay"):
        mine = down[down.flow == name]
        assert mine.received_s.notna().all()
        assert set(mine[mine.sent_s < row["decision_s"] - 0.1].access) == {"wlan"}
        assert set(mine[mine.sent_s > row["decision_s"] + 0.1].access) == {"cell"}


@pytest.mark.parametrize("scope", ["list", "prefix", "mn"])
def test_several_flows_of_one_mobile_node_take_one_fmi(
    kernel: Kernel, tmp_path: Path, scope: str
) -> None:
    changes = {
        "flows": {"a": FLOW | {"port": 5001}, "stay": FLOW | {"port": 5003}},
        "moves": [{"flow": "a", "to": "cell", "at_s": 6.0, "scope": scope}],
    }
    row = run(kernel, tmp_path, changes)
    assert (row["flows_ordered"], row["flows_switched"]) == (IDLE + 2, IDLE + 2)
    assert row["signalling_messages"] == 2
    assert row["last_switch_ms"] == row["switch_latency_ms"]
