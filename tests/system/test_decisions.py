"""Who decides: the mobile node, or a policy of the LMA (RFC 7864 section 3.1)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from experiments.analysis.measure import analyse_run
from experiments.declaration.job import Job
from experiments.engines.guest import GuestEngine
from experiments.engines.kernel_cache import Kernel
from nodes.strict import from_json
from nodes.wire.capture import read_headers
from nodes.wire.codec import decode
from nodes.wire.options import AccessLinkReport
from nodes.wire.tool import decode_capture
from tests.system import wire
from tests.system.guest_checks.decision_checks import DECISION_S
from tests.system.guests import LIMIT_S, carry_out_check, make_job, put_job

FLOW_A, STAY = 1, 2
MAG1, MAG2 = "2001:db8:11::1", "2001:db8:12::1"


def arrivals(folder: Path, access: str, flow: int, start_ns: int) -> list[float]:
    """When the packets of a flow arrive at the MN over an access, in s of the run."""
    return [
        (datagram.time_ns - start_ns) / 1e9
        for datagram in wire.read(folder / "wire" / f"mn-{access}.pcapng")
        if not datagram.outbound and (datagram.mark or (0, 0))[0] == flow
    ]


def uplink(folder: Path, flow: int, mag: str, start_ns: int) -> list[float]:
    """When the uplink packets of a flow come out of a MAG's tunnel at the LMA."""
    return [
        (datagram.time_ns - start_ns) / 1e9
        for datagram in wire.read(folder / "wire" / "lma-core.pcapng")
        if not datagram.outbound
        and str(datagram.source) == mag
        and (datagram.innermost.mark or (0, 0))[0] == flow
    ]


@pytest.mark.parametrize(
    "protocol",
    [
        {"prefix_model": "shared"},
        {"prefix_model": "unique", "prefix_delivery": "at-attach"},
    ],
    ids=lambda protocol: protocol["prefix_model"],
)
def test_the_lma_follows_a_node_that_decides(
    kernel: Kernel, tmp_path: Path, protocol: dict[str, Any]
) -> None:
    changes = {"moves": [], "protocol": {**protocol, "decision_maker": "mn"}}
    folder = put_job(tmp_path, make_job(changes))
    result = carry_out_check(kernel, folder, "decision_checks.mobile_node")
    start_ns = result["start_ns"]
    assert result["bound"]["ok"]
    assert "decides for itself" in result["refused"][0]["error"]
    assert [row["to"] for row in result["listed"]] == ["mn-cell", "mn-wlan"]
    (flow,) = [flow for flow in result["flows"] if flow["fid"] == FLOW_A]
    assert flow["access"] == ["cell"]
    # The uplink changes with the first packet after the decision, the downlink once that is seen.
    first_up = uplink(folder, FLOW_A, MAG2, start_ns)[0]
    assert DECISION_S < first_up - 0.035 < DECISION_S + 0.021
    assert not [at for at in uplink(folder, FLOW_A, MAG1, start_ns) if at > first_up]
    first_down = arrivals(folder, "cell", FLOW_A, start_ns)[0]
    # The next packet of the CN, at the LMA at most 20 ms later, and 35 ms to the MN.
    assert 0.035 < first_down - first_up < 0.0562
    total = sum(len(arrivals(folder, access, FLOW_A, start_ns)) for access in ("wlan", "cell"))
    assert total == 200
    assert not arrivals(folder, "cell", STAY, start_ns)


CORE_MS, ACCESS_MS, UPLINK_MS = 10.0, 25.0 + 250 * 8 / 20e3, 25.0 + 250 * 8 / 10e3


@pytest.mark.parametrize(
    "protocol",
    [
        {"prefix_model": "shared"},
        {"prefix_model": "unique", "prefix_delivery": "at-attach"},
    ],
    ids=lambda protocol: protocol["prefix_model"],
)
def test_a_move_that_the_node_decides_takes_its_floor(
    virtual: GuestEngine, tmp_path: Path, protocol: dict[str, Any]
) -> None:
    """Ordered at the node: its next packet takes the new access to the LMA, and the next one of the
    CN that is there then comes back that way."""
    # `b` stays on the cell, which isn't the default path of a shared prefix: it is bound there.
    cell = {"kind": "udp", "anchor": "cell", "start": "cell", "port": 5002, "until_s": 9.0}
    changes = {"protocol": {**protocol, "decision_maker": "mn"}, "flows": {"b": cell}}
    job = make_job(changes)
    folder = put_job(tmp_path, job)
    outcome = virtual.run(folder, LIMIT_S)
    assert outcome.failure is None, outcome.failure
    (row,) = analyse_run(folder, keep_captures=True)
    assert (row["status"], row["decision_maker"]) == ("ok", "mn")
    start_ns = from_json((folder / "job.json").read_bytes(), Job, "job.json").start_ns
    packets = wire.read(folder / "captures.pcapng")

    def times_ms(interface: str, *, outbound: bool) -> list[float]:
        return [
            (datagram.time_ns - start_ns) / wire.MILLISECOND
            for datagram in wire.at(packets, interface, outbound=outbound)
            if (datagram.innermost.mark or (0, 0))[0] == FLOW_A
        ]

    decision_ms = job.decisions_s[0] * 1e3
    # The first packet that the node sends from its decision on takes the new access.
    sent = sorted(times_ms("mn-wlan", outbound=True) + times_ms("mn-cell", outbound=True))
    first_up = min(instant for instant in sent if instant >= decision_ms)
    assert times_ms("mn-cell", outbound=True)[0] == first_up
    assert max(times_ms("mn-wlan", outbound=True)) < decision_ms
    switched_ms = first_up + UPLINK_MS + CORE_MS
    at_lma = [instant + 5.0 for instant in times_ms("cn-lma", outbound=True)]
    first_down = min(instant for instant in at_lma if instant >= switched_ms)
    floor_ms = first_down + CORE_MS + ACCESS_MS - decision_ms
    assert times_ms("mn-cell", outbound=False)[0] - decision_ms == pytest.approx(floor_ms, abs=0.03)
    expected = {
        "decision_s": job.decisions_s[0],
        "move_latency_ms": floor_ms,
        "floor_ms": floor_ms,
        "excess_ms": 0.0,
        "switch_latency_ms": switched_ms - decision_ms,
        "uplink_latency_ms": switched_ms - decision_ms,
        "uplink_floor_ms": switched_ms - decision_ms,
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected, abs=0.03)
    counts = ("lost", "uplink_lost", "duplicated", "signalling_messages", "stay_moved")
    assert [row[name] for name in counts] == [0] * len(counts)
    kinds = {message["message"] for message in decode_capture(folder / "control.pcapng")}
    assert "ProxyBindingUpdate" in kinds
    # What put the prefix in place, at attachment; nothing of the move.
    signalled = {"UpdateNotification", "UpdateNotificationAcknowledgement"} & kinds
    assert bool(signalled) is (protocol["prefix_model"] == "unique")


def test_a_bad_link_moves_its_flows_and_a_good_one_gets_them_back(
    kernel: Kernel, tmp_path: Path
) -> None:
    quality = {"kind": "link-quality", "access": "wlan", "return_after_s": 1.0}
    changes = {"moves": [], "protocol": {"prefix_model": "shared", "policies": [quality]}}
    folder = put_job(tmp_path, make_job(changes))
    result = carry_out_check(kernel, folder, "decision_checks.link_quality")
    start_ns = result["start_ns"]
    assert [flow["access"] for flow in result["flows"]] == [["wlan"], ["wlan"]]
    headers = list(read_headers(folder / "wire" / "lma-core.pcapng"))
    messages = [decode(header.data, header.source, header.destination) for header in headers]
    reports = [m.option(AccessLinkReport) for m in messages if m.option(AccessLinkReport)]
    assert [report.quality for report in reports if report is not None] == [80, 20, 90]
    on_cell = arrivals(folder, "cell", FLOW_A, start_ns)
    # Report to the LMA 10 ms, then 35 ms and at most one packet interval; back 1 s after the next.
    assert DECISION_S + 0.045 < on_cell[0] < DECISION_S + 0.0662
    assert on_cell[-1] == pytest.approx(DECISION_S + 2.03, abs=0.03)
    total = sum(len(arrivals(folder, access, FLOW_A, start_ns)) for access in ("wlan", "cell"))
    assert total == 200
