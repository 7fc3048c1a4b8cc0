"""Who decides: the mobile node, or a policy of the LMA (RFC 7864 section 3.1)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from experiments.engines.kernel_cache import Kernel
from nodes.wire.capture import read_headers
from nodes.wire.codec import decode
from nodes.wire.options import AccessLinkReport
from tests.system import wire
from tests.system.guest_checks.decision_checks import DECISION_S
from tests.system.guests import carry_out_check, make_job, put_job

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
