from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from experiments.analysis import floor
from experiments.analysis.moves import plan
from experiments.declaration.spec import RunSpec
from nodes.strict import InputError, convert, to_builtins
from tests.experiments.synthetic import run_spec


def spec_of(model: str, switch: str = "on-ack", **more: Any) -> RunSpec:
    return run_spec(model, switch, **more)


def test_one_way_delay_by_hand() -> None:
    topology = run_spec().topology
    # Payload 172: IPv6 packet 220, frame 234; in the tunnel 40 more: frame 274.
    ip_bytes = floor.packet_bytes(run_spec().flows["a"], 172)
    assert ip_bytes == 220
    assert floor.cn_to_lma_ms(topology, ip_bytes) == pytest.approx(5 + 234 * 8 / 1e6)
    core = 10 + 2 * 274 * 8 / 1e6
    assert floor.lma_to_mn_ms(topology, "wlan", ip_bytes) == pytest.approx(
        core + 2 + 234 * 8 / 50e3
    )
    assert floor.lma_to_mn_ms(topology, "cell", ip_bytes) == pytest.approx(
        core + 25 + 234 * 8 / 20e3
    )
    assert floor.mn_to_lma_ms(topology, "cell", ip_bytes) == pytest.approx(
        core + 25 + 234 * 8 / 10e3
    )
    assert floor.lma_mag_delay_ms(topology, "wlan") == 10.0
    assert floor.access_delay_ms(topology, "cell") == 35.0


# Round trip of 10 ms each way and two frames of 110 octets over two links of 1 Gbit/s each.
ROUND_TRIP = 20 + 4 * 110 * 8 / 1e6


@pytest.mark.parametrize(
    ("model", "switch", "flow", "to", "expected"),
    [
        ("shared", "on-ack", "a", "cell", 0.0),
        ("unique", "on-ack", "a", "cell", ROUND_TRIP),
        ("unique", "on-ack", "b", "wlan", ROUND_TRIP),
        ("unique", "on-send", "a", "cell", 0.0),
        ("unique", "on-ack", "a", "wlan", 0.0),  # back to its default path
        ("hybrid", "on-ack", "a", "cell", 0.0),  # the first attachment's prefix is shared
        ("hybrid", "on-ack", "b", "wlan", ROUND_TRIP),  # the second's own is not
    ],
)
def test_mandatory_signalling(model: str, switch: str, flow: str, to: str, expected: float) -> None:
    spec = spec_of(model, switch)
    found = floor.signalling_ms(spec, spec.flows[flow], to)
    assert found == pytest.approx(expected)


def test_no_signalling_where_prefixes_are_delivered_at_attachment() -> None:
    spec = run_spec("unique", protocol={"prefix_model": "unique", "prefix_delivery": "at-attach"})
    assert floor.signalling_ms(spec, spec.flows["a"], "cell") == 0.0


def test_hybrid_goes_by_the_order_of_attachment() -> None:
    spec = run_spec(
        "hybrid",
        attachments=[{"access": "cell", "at_s": 1.0}, {"access": "wlan", "at_s": 2.0}],
    )
    assert floor.prefix_is_shared(spec, "cell")
    assert not floor.prefix_is_shared(spec, "wlan")


def downlink(decision_s: float, signalling: float, sent: list[float]) -> float:
    spec = run_spec()
    return floor.move_floor_ms(
        spec,
        spec.flows["b"],
        "wlan",
        decision_s,
        sent_s=np.array(sent),
        payload_bytes=172,
        signalling=signalling,
    )


TO_LMA = 5.001872
TO_WLAN = 12.041824


def test_the_first_packet_that_reaches_the_lma_late_enough_counts() -> None:
    sent = [20.0, 20.02, 20.04]
    assert downlink(20.003, 0.0, sent) == pytest.approx(TO_LMA - 3 + TO_WLAN)
    assert downlink(20.006, 0.0, sent) == pytest.approx(20 + TO_LMA - 6 + TO_WLAN)
    assert downlink(20.003, 20.0, sent) == pytest.approx(20 + TO_LMA - 3 + TO_WLAN)
    assert downlink(20.003, 2.5, sent) == pytest.approx(20 + TO_LMA - 3 + TO_WLAN)


def test_a_packet_that_arrives_with_the_decision_counts() -> None:
    assert downlink(20.0 + TO_LMA / 1000, 0.0, [20.0]) == pytest.approx(TO_WLAN)


def test_no_floor_without_a_packet() -> None:
    assert math.isnan(downlink(20.1, 0.0, [20.0]))


def test_uplink_waits_for_the_first_downlink_packet() -> None:
    spec = run_spec()
    found = floor.uplink_floor_ms(
        spec,
        spec.flows["b"],
        "wlan",
        20.003,
        downlink_floor_ms=14.04,
        sent_s=np.array([20.0, 20.017, 20.018]),
        payload_bytes=172,
    )
    assert found == pytest.approx(15.0 + TO_WLAN)


@pytest.mark.parametrize("uplink", ["static", "own"])
def test_an_uplink_that_does_not_follow_has_no_floor(uplink: str) -> None:
    spec = run_spec(protocol={"uplink": uplink})
    found = floor.uplink_floor_ms(
        spec,
        spec.flows["b"],
        "wlan",
        20.0,
        downlink_floor_ms=1.0,
        sent_s=np.array([21.0]),
        payload_bytes=172,
    )
    assert math.isnan(found)


def test_an_mn_that_decides_is_followed_by_its_uplink_by_hand() -> None:
    spec = run_spec(protocol={"decision_maker": "mn"})
    flow = spec.flows["a"]
    # The next packet of the MN leaves 4 ms after the decision; 234 octets on the access, then 274.
    uplink = 4 + 25 + 234 * 8 / 10e3 + 10 + 2 * 274 * 8 / 1e6
    found = floor.uplink_floor_ms(
        spec,
        flow,
        "cell",
        12.003,
        downlink_floor_ms=math.nan,
        sent_s=np.array([12.002, 12.007, 12.027]),
        payload_bytes=172,
    )
    assert found == pytest.approx(uplink)
    # That is at the LMA at 12.0421916; the CN's next packet is there at 12.045 and 1.872 us.
    lowest = floor.move_floor_ms(
        spec,
        flow,
        "cell",
        12.003,
        sent_s=np.array([12.0, 12.02, 12.04, 12.06]),
        payload_bytes=172,
        signalling=found,
    )
    down = 10 + 2 * 274 * 8 / 1e6 + 25 + 234 * 8 / 20e3
    assert lowest == pytest.approx(45 - 3 + 234 * 8 / 1e6 + down)


def test_an_mn_that_decides_and_sends_nothing_is_not_followed() -> None:
    spec = run_spec(protocol={"decision_maker": "mn"})
    flow = spec.flows["a"]
    nothing = np.array([11.0])
    where = {"sent_s": nothing, "payload_bytes": 172}
    held = floor.uplink_floor_ms(spec, flow, "cell", 12.0, downlink_floor_ms=0.0, **where)
    assert math.isnan(held)
    where["sent_s"] = np.array([13.0])
    assert math.isnan(floor.move_floor_ms(spec, flow, "cell", 12.0, signalling=held, **where))


def test_no_path_is_an_error() -> None:
    with pytest.raises(ValueError, match="no path from cn to mn"):
        floor.path_between(run_spec().topology, "cn", "mn")


DYNAMIC = {
    "attachments": [
        {"access": "wlan", "at_s": 1.0},
        {"access": "cell", "at_s": 2.0, "dynamic": True},
    ],
    "flows": {"a": {"kind": "udp", "anchor": "wlan", "start": "wlan", "port": 5001}},
    "moves": [{"flow": "a", "to": "cell", "at_s": 12.0}],
}


def test_dynamic_attachment_takes_a_request_and_a_pbu_by_hand() -> None:
    spec = dynamic_spec()
    # 64 octets and the Ethernet header over the access, then a PBU of 136 + 14 over two links.
    expected = 25 + 78 * 8 / 10e3 + 10 + 2 * 150 * 8 / 1e6
    assert floor.attachment_ms(spec, "cell") == pytest.approx(expected)
    assert floor.signalling_ms(spec, spec.flows["a"], "cell") == 0.0


def test_only_the_first_move_to_an_access_attaches() -> None:
    moves = [{"flow": "a", "to": to, "at_s": at_s} for to, at_s in MOVES]
    records = plan(dynamic_spec(moves=moves), [at_s for _, at_s in MOVES])
    assert [record.attaches for record in records] == [True, False, False]


MOVES = (("cell", 10.0), ("wlan", 14.0), ("cell", 18.0))


def dynamic_spec(**changes: Any) -> RunSpec:
    document = to_builtins(run_spec("unique"))
    document |= {**DYNAMIC, **changes}
    document["protocol"]["attachment"] = "layer-2"
    return convert(document, RunSpec, "test")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"protocol": {}}, 'protocol.attachment = "layer-2"'),
        (
            {"attachments": [{"access": "wlan", "at_s": 1.0, "dynamic": True}]},
            "flow a uses wlan from its beginning",
        ),
    ],
)
def test_dynamic_attachments_that_can_not_be_are_refused(
    changes: dict[str, Any], words: str
) -> None:
    document = to_builtins(dynamic_spec()) | changes
    with pytest.raises(InputError, match=words):
        convert(document, RunSpec, "test")
