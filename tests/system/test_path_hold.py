"""The first packets of a move wait at the LMA's tunnel: in order, none lost, others unaffected."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from experiments.analysis.measure import analyse_run
from experiments.declaration.job import Job
from experiments.engines.guest import GuestEngine
from experiments.engines.kernel_cache import Kernel
from nodes.strict import from_json
from tests.system import wire
from tests.system.guests import LIMIT_S, make_job, put_job

A, STAY = 1, 2
# 23 ms of delay, and less than 1 ms of serialisation.
DIFFERENCE_MS = 24
INTERVAL_MS = 4.0


def flow(port: int, start: str) -> dict[str, Any]:
    return {"anchor": "wlan", "start": start, "port": port, "interval_ms": INTERVAL_MS}


class Run:
    def __init__(
        self, engine: GuestEngine, folder: Path, hold_ms: int, *moves: tuple[str, float]
    ) -> None:
        job = make_job(
            {
                "protocol": {"prefix_model": "shared"},
                "variables": {"mobile_node": {"hold_ms": hold_ms}},
                "flows": {"a": flow(5001, "cell"), "stay": flow(5003, "wlan")},
                "moves": [{"flow": "a", "to": to, "at_s": at_s} for to, at_s in moves],
            },
            engine=engine.name,
        )
        put_job(folder, job)
        outcome = engine.run(folder, LIMIT_S)
        assert outcome.failure is None, outcome.failure
        self.rows = analyse_run(folder, keep_captures=True)
        self.decisions_s = [float(row["decision_s"]) for row in self.rows]
        self.start_ns = from_json((folder / "job.json").read_bytes(), Job, "job.json").start_ns
        self._packets = wire.read(folder / "captures.pcapng")

    def seen(self, interface: str, flow: int, *, outbound: bool) -> list[tuple[float, int]]:
        """Time (s of the run) and number of each packet of a flow."""
        return [
            ((datagram.time_ns - self.start_ns) / 1e9, datagram.innermost.mark[1])
            for datagram in wire.at(self._packets, interface, outbound=outbound)
            if datagram.innermost.mark is not None and datagram.innermost.mark[0] == flow
        ]

    def lost(self, flow: int) -> set[int]:
        sent = {number for _, number in self.seen("cn-lma", flow, outbound=True)}
        return sent - {number for _, number in self.arrivals(flow)}

    def arrivals(self, flow: int) -> list[tuple[float, int]]:
        accesses = ("mn-wlan", "mn-cell")
        return sorted(p for name in accesses for p in self.seen(name, flow, outbound=False))

    def overtaken(self, flow: int) -> list[int]:
        arrived = self.arrivals(flow)
        return [after for (_, before), (_, after) in pairwise(arrived) if after < before]


def test_a_hold_of_the_difference_of_the_paths_keeps_the_order(
    virtual: GuestEngine, tmp_path: Path
) -> None:
    free = Run(virtual, tmp_path / "free", 0, ("wlan", 6.0))
    assert free.overtaken(A), "without a hold there is something to prevent"
    held = Run(virtual, tmp_path / "held", DIFFERENCE_MS, ("wlan", 6.0))
    assert held.overtaken(A) == []
    assert held.lost(A) == set()
    # The first waits for all of it; the last of those that wait leaves behind it, and they all
    # follow each other as the access has them, 40 us a packet.
    over_wlan = held.seen("mn-wlan", A, outbound=False)
    burst = [at for at, _ in over_wlan if at < over_wlan[0][0] + 0.001]
    assert len(burst) in (DIFFERENCE_MS // INTERVAL_MS, DIFFERENCE_MS // INTERVAL_MS + 1)
    first_free = free.seen("mn-wlan", A, outbound=False)[0][0]
    assert abs(over_wlan[0][0] - first_free - DIFFERENCE_MS / 1000) < 2e-5
    # From then on, nothing waits.
    rest = [at for at, _ in over_wlan[len(burst) :]]
    assert {round((b - a) * 1000, 1) for a, b in pairwise(rest)} == {INTERVAL_MS}


def test_other_flows_of_the_tunnel_do_not_notice(virtual: GuestEngine, tmp_path: Path) -> None:
    held = Run(virtual, tmp_path, DIFFERENCE_MS, ("wlan", 6.0))
    assert held.lost(STAY) == set()
    arrivals = [at for at, _ in held.arrivals(STAY)]
    # But for what the burst occupies the access: 40 us for each packet of it.
    most = 0.04 * (DIFFERENCE_MS / INTERVAL_MS + 2)
    assert {abs((b - a) * 1000 - INTERVAL_MS) <= most for a, b in pairwise(arrivals)} == {True}


def test_moves_during_a_hold_lose_nothing(virtual: GuestEngine, tmp_path: Path) -> None:
    moves = [("wlan", 6.0), ("cell", 6.01), ("wlan", 6.03), ("cell", 6.2), ("wlan", 6.24)]
    held = Run(virtual, tmp_path, 30, *moves)
    assert [row["status"] for row in held.rows] == ["ok"] * len(moves)
    assert held.lost(A) == held.lost(STAY) == set()
    for interface in ("mn-wlan", "mn-cell"):
        numbers = [number for _, number in held.seen(interface, A, outbound=False)]
        assert numbers == sorted(numbers), "each path keeps its order"
    assert len(held.arrivals(A)) == len({number for _, number in held.arrivals(A)})


def test_in_real_time(kernel: Kernel, tmp_path: Path) -> None:
    """With room for a machine that does other things besides."""
    held = Run(GuestEngine(kernel, virtual=False), tmp_path, 3 * DIFFERENCE_MS, ("wlan", 6.0))
    assert held.overtaken(A) == []
    assert held.lost(A) == set()
    over_wlan = held.seen("mn-wlan", A, outbound=False)
    # 12 ms from the LMA to the MN; the clocks of events and of packets are apart by up to 1 ms.
    assert over_wlan[0][0] > held.decisions_s[0] + 3 * DIFFERENCE_MS / 1000 + 0.012 - 0.005
