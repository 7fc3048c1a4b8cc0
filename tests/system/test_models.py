"""The reference runs in virtual time, judged by their captures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.declaration.job import Job
from nodes.strict import from_json
from nodes.wire.tool import decode_capture
from tests.system import wire
from tests.system.conftest import MODELS

Run = Callable[[str], tuple[Path, list[dict[str, Any]]]]
# Flow, its number, home access, and the access that it is moved to.
MOVES = (("a", 1, "wlan", "cell"), ("b", 2, "cell", "wlan"))
STAY = 3
MAGS = {"wlan": "2001:db8:11::1", "cell": "2001:db8:12::1"}
LMA = "2001:db8:10::1"
# One way, at the reference values, for the frame of 250 octets that every test packet has: 290 with
# the tunnel's header, but the core has no rate.
CN_LMA_MS, LMA_MAG_MS = 5.0, 10.0
ACCESS_MS = {"wlan": 2.0 + 250 * 8 / 50e3, "cell": 25.0 + 250 * 8 / 20e3}
# Whose moves need signalling before, or with, the switch.
WAITS = {"shared": "", "unique-ack": "ab", "unique-send": "", "hybrid": "b"}
SIGNALS = {"shared": "", "unique-ack": "ab", "unique-send": "ab", "hybrid": "b"}

PBU_OPTIONS = [  # RFC 5213 section 6.9.1.5
    "MobileNodeIdentifier",
    "HomeNetworkPrefix",
    "HandoffIndicator",
    "AccessTechnologyType",
    "Timestamp",
    "MobileNodeLinkLayerIdentifier",
]
MODEL = pytest.mark.parametrize("model", MODELS)


def _job(folder: Path) -> Job:
    return from_json((folder / "job.json").read_bytes(), Job, "job.json")


@MODEL
def test_move_latency_is_its_floor(reference_run: Run, model: str) -> None:
    """From capture alone: the decision is ordered at a planned instant, and no packet of the flow
    can come over the new access earlier than delays and mandatory signalling allow."""
    folder, rows = reference_run(model)
    job = _job(folder)
    packets = wire.read(folder / "captures.pcapng")
    for number, (name, flow, _, target) in enumerate(MOVES):
        decision_ms = job.decisions_s[number] * 1e3
        in_force_ms = decision_ms + (2 * LMA_MAG_MS if name in WAITS[model] else 0.0)
        at_lma = [
            (datagram.time_ns - job.start_ns) / wire.MILLISECOND + CN_LMA_MS
            for datagram in wire.at(packets, "cn-lma", outbound=True)
            if (datagram.mark or (0, 0))[0] == flow
        ]
        first = min(instant for instant in at_lma if instant >= in_force_ms)
        floor_ms = first + LMA_MAG_MS + ACCESS_MS[target] - decision_ms
        arrivals = [
            (datagram.time_ns - job.start_ns) / wire.MILLISECOND
            for datagram in wire.at(packets, f"mn-{target}", outbound=False)
            if (datagram.mark or (0, 0))[0] == flow
        ]
        latency_ms = min(arrivals) - decision_ms
        assert floor_ms - 0.01 <= latency_ms <= floor_ms + 1.0, (name, latency_ms, floor_ms)
        row = rows[number]
        assert row["move_latency_ms"] == pytest.approx(latency_ms, abs=0.03)
        assert row["floor_ms"] == pytest.approx(floor_ms, abs=0.03)
        assert abs(row["excess_ms"]) <= 1.0
    assert {row["direction"] for row in rows} == {"fast-to-slow", "slow-to-fast"}


@MODEL
def test_no_packet_is_lost_or_doubled(reference_run: Run, model: str) -> None:
    folder, rows = reference_run(model)
    packets = wire.read(folder / "captures.pcapng")
    ends = {
        "down": (["cn-lma"], ["mn-wlan", "mn-cell"]),
        "up": (["mn-wlan", "mn-cell"], ["cn-lma"]),
    }
    for senders, receivers in ends.values():
        for flow in (1, 2, STAY):
            sent = wire.marks(
                [d for name in senders for d in wire.at(packets, name, outbound=True)], flow
            )
            received = wire.marks(
                [d for name in receivers for d in wire.at(packets, name, outbound=False)], flow
            )
            assert len(sent) == 1200
            assert set(sent.values()) == {1}
            assert received == sent
    for row in rows:
        counts = [row[f"{way}{what}"] for way in ("", "uplink_") for what in ("lost", "duplicated")]
        assert counts == [0, 0, 0, 0]


@MODEL
def test_flow_that_should_stay_never_leaves_its_access(reference_run: Run, model: str) -> None:
    folder, rows = reference_run(model)
    packets = wire.read(folder / "captures.pcapng")
    for outbound in (False, True):
        assert not wire.marks(wire.at(packets, "mn-cell", outbound=outbound), STAY)
        assert len(wire.marks(wire.at(packets, "mn-wlan", outbound=outbound), STAY)) == 1200
    through_cell = [
        datagram
        for datagram in packets
        if MAGS["cell"] in (str(datagram.source), str(datagram.destination))
    ]
    assert through_cell
    assert not wire.marks(through_cell, STAY)
    assert [row["stay_moved"] for row in rows] == [0, 0]


@MODEL
def test_moved_flows_use_both_accesses(reference_run: Run, model: str) -> None:
    folder, _ = reference_run(model)
    packets = wire.read(folder / "captures.pcapng")
    for _, flow, home, target in MOVES:
        for outbound in (False, True):
            before = wire.marks(wire.at(packets, f"mn-{home}", outbound=outbound), flow)
            after = wire.marks(wire.at(packets, f"mn-{target}", outbound=outbound), flow)
            assert len(before) > 300
            assert len(after) > 300


@MODEL
def test_signalling_is_what_the_model_asks_for(reference_run: Run, model: str) -> None:
    folder, rows = reference_run(model)
    messages = list(decode_capture(folder / "control.pcapng"))
    moves = [MOVES["ab".index(name)] for name in SIGNALS[model]]
    notifications = [message for message in messages if "Update" in message["message"]]
    kinds = [message["message"] for message in messages]
    registrations = ["ProxyBindingUpdate", "ProxyBindingAcknowledgement"] * 2
    notices = ["UpdateNotification", "UpdateNotificationAcknowledgement"] * len(moves)
    assert kinds == registrations + notices
    assert all(message["checksum_valid"] for message in messages)
    prefixes = _home_prefixes(messages)
    indications = [m for m in notifications if m["message"] == "UpdateNotification"]
    answers = [m for m in messages if m["message"] == "UpdateNotificationAcknowledgement"]
    for (_, _, home, target), indication, answer in zip(moves, indications, answers, strict=True):
        assert (indication["source"], indication["destination"]) == (LMA, MAGS[target])
        assert (answer["source"], answer["destination"]) == (MAGS[target], LMA)
        assert indication["acknowledge"] is True
        assert indication["retransmit"] is False
        assert indication["reason"]["value"] == 8
        assert answer["sequence"] == indication["sequence"]
        assert answer["status"]["value"] == 0
        for message in (indication, answer):
            identifier, prefix = message["options"]
            assert identifier["option"] == "MobileNodeIdentifier"
            assert identifier["identifier"] == "mn1@flowmob.example"
            assert prefix["option"] == "HomeNetworkPrefix"
            assert prefix["off_link"] is True
            assert f"{prefix['address']}/{prefix['prefix_length']}" == prefixes[home][-1]
    for row, (name, *_) in zip(rows, MOVES, strict=True):
        assert row["signalling_messages"] == (2 if name in SIGNALS[model] else 0)


def _home_prefixes(messages: list[dict[str, Any]]) -> dict[str, list[str]]:
    """By access: the prefixes that the LMA assigned."""
    access = {mag: name for name, mag in MAGS.items()}
    return {
        access[message["destination"]]: [
            f"{option['address']}/{option['prefix_length']}"
            for option in message["options"]
            if option["option"] == "HomeNetworkPrefix"
        ]
        for message in messages
        if message["message"] == "ProxyBindingAcknowledgement"
    }


@MODEL
def test_prefixes_are_those_of_the_model(reference_run: Run, model: str) -> None:
    folder, _ = reference_run(model)
    found = _home_prefixes(list(decode_capture(folder / "control.pcapng")))
    wlan, cell = found["wlan"], found["cell"]
    assert len(wlan) == 1
    if model == "shared":
        assert cell == wlan
    elif model == "hybrid":
        assert cell[:1] == wlan
        assert len(set(cell)) == 2
    else:
        assert len(cell) == 1
        assert cell != wlan


@MODEL
def test_registrations_are_as_rfc_5213_says(reference_run: Run, model: str) -> None:
    folder, _ = reference_run(model)
    messages = list(decode_capture(folder / "control.pcapng"))
    requests = [m for m in messages if m["message"] == "ProxyBindingUpdate"]
    answers = [m for m in messages if m["message"] == "ProxyBindingAcknowledgement"]
    for request, answer, access in zip(requests, answers, ("wlan", "cell"), strict=True):
        assert (request["source"], request["destination"]) == (MAGS[access], LMA)
        assert (answer["source"], answer["destination"]) == (LMA, MAGS[access])
        assert request["acknowledge"] is True
        assert request["proxy_registration"] is True
        assert request["lifetime"] == 900
        names = [option["option"] for option in request["options"]]
        assert names == PBU_OPTIONS
        (asked,) = [o for o in request["options"] if o["option"] == "HomeNetworkPrefix"]
        assert (asked["address"], asked["prefix_length"]) == ("::", 0)
        # Section 5.3.6: the answer has the request's options, the prefixes that were assigned in
        # the place of the one asked for.
        assert answer["status"]["value"] == 0
        assert answer["proxy_registration"] is True
        assert answer["sequence"] == request["sequence"]
        assert answer["lifetime"] == request["lifetime"]
        granted = [o for o in answer["options"] if o["option"] == "HomeNetworkPrefix"]
        assert all(option["prefix_length"] == 64 for option in granted)
        order = [option["option"] for option in answer["options"]]
        assert list(dict.fromkeys(order)) == PBU_OPTIONS
        assert order.count("HomeNetworkPrefix") == len(granted) == len(order) - 5
        rest = [o for o in answer["options"] if o["option"] != "HomeNetworkPrefix"]
        assert rest == [o for o in request["options"] if o["option"] != "HomeNetworkPrefix"]


@MODEL
def test_tshark_decodes_the_registrations(reference_run: Run, model: str) -> None:
    folder, _ = reference_run(model)
    capture = folder / "control.pcapng"
    assert wire.complaints(capture) == []
    text = "\n".join(wire.tshark(capture, "-V", "-Y", "mip6.mhtype == 5 || mip6.mhtype == 6"))
    assert text.count("Proxy Registration (P) flag: Proxy Registration") == 4
    assert text.count("Option - Mobile Node Identifier: mn1@flowmob.example") == 4
    assert text.count("MIPv6 Option - Handoff Indicator") == 4
    assert text.count("MIPv6 Option - Timestamp: Jan  1, 2026 00:0") == 4
    assert text.count("Link-layer Identifier: 020000000502") == 2
    assert text.count("Status: Binding Update accepted (0)") == 2
    for word in ("Malformed", "Expert Info", "[Unreassembled", "incorrect", "Unknown Option"):
        assert word not in text
