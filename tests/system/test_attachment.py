"""Layer-2 signalling: dynamic attachment, and a handover of everything, on the wire."""

from __future__ import annotations

import json
from collections import Counter
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from experiments.analysis.measure import analyse_run
from experiments.analysis.sequence_chart import access_steps, signalling_steps
from experiments.captures.pcapng import read_packets
from experiments.declaration.experiment import load, points
from experiments.declaration.job import Job
from experiments.engines.guest import GuestEngine
from experiments.engines.kernel_cache import Kernel
from nodes.wire.tool import decode_capture
from tests import wireshark
from tests.system import wire
from tests.system.guest_checks.attachment_checks import LEAVES_S
from tests.system.guests import LIMIT_S, carry_out_check, job_of, make_job, put_job

FLOW_A, STAY = 1, 2
MAG1, MAG2, LMA = "2001:db8:11::1", "2001:db8:12::1", "2001:db8:10::1"
MAG_MAC = "00:00:5e:00:52:13"
# One way to the MAG and the LMA: access 25 ms and a request of 78 octets at 10 Mbit/s, core 10 ms.
DYNAMIC: dict[str, Any] = {
    "protocol": {"prefix_model": "unique", "attachment": "layer-2"},
    "attachments": [
        {"access": "wlan", "at_s": 1.0},
        {"access": "cell", "at_s": 2.0, "dynamic": True},
    ],
}


def messages(folder: Path, interface: str, start_ns: int) -> list[dict[str, Any]]:
    """What an interface saw, with `at_s` of the run."""
    found = list(decode_capture(folder / "wire" / f"{interface}.pcapng"))
    for message in found:
        message["at_s"] = (int(message["time"].replace(".", "")) - start_ns) / 1e9
    return found


def option(message: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [item for item in message["options"] if item["option"] == name]


def hint(message: dict[str, Any]) -> int:
    value: int = option(message, "HandoffIndicator")[0]["hint"]["value"]
    return value


def prefixes(message: dict[str, Any]) -> list[str]:
    return [f"{o['address']}/{o['prefix_length']}" for o in option(message, "HomeNetworkPrefix")]


def arrivals(folder: Path, access: str, flow: int, start_ns: int) -> list[float]:
    return [
        (datagram.time_ns - start_ns) / 1e9
        for datagram in wire.read(folder / "wire" / f"mn-{access}.pcapng")
        if not datagram.outbound and (datagram.mark or (0, 0))[0] == flow
    ]


def test_dynamic_attachment_on_the_wire(kernel: Kernel, tmp_path: Path) -> None:
    """RFC 7864 section 3.2.1: request, PBU with HI 6 and the prefixes, PBA, flow."""
    folder = put_job(tmp_path, make_job(DYNAMIC))
    result = carry_out_check(kernel, folder, "attachment_checks.dynamic")
    start_ns = result["start_ns"]
    home, second = result["bindings"]
    assert (home["access"], second["access"]) == ("wlan", "cell")
    assert second["prefixes"] == home["prefixes"]
    assert result["moved"][0]["ok"]
    assert result["attached"]["result"]["attachment"] == "attached"

    request, answer = messages(folder, "mn-cell", start_ns)
    assert [request["message"], answer["message"]] == ["AttachmentRequest", "AttachmentAnswer"]
    assert (hint(request), prefixes(request)) == (6, home["prefixes"])
    assert request["link_destination"] == answer["link_source"] == MAG_MAC
    assert (answer["sequence"], answer["status"]["value"]) == (request["sequence"], 0)
    assert prefixes(answer) == home["prefixes"]

    update, acknowledgement = [
        message
        for message in messages(folder, "core-mag2", start_ns)
        if message["message"].startswith("ProxyBinding")
    ]
    assert (update["source"], update["destination"]) == (MAG2, LMA)
    assert (hint(update), prefixes(update)) == (6, home["prefixes"])
    (technology,) = option(update, "AccessTechnologyType")
    assert technology["technology"]["value"] == 8
    (identifier,) = option(update, "MobileNodeLinkLayerIdentifier")
    assert identifier["identifier"] == request["link_source"].replace(":", "")
    assert acknowledgement["status"]["value"] == 0
    assert prefixes(acknowledgement) == home["prefixes"]

    first = arrivals(folder, "cell", FLOW_A, start_ns)[0]
    assert LEAVES_S <= request["at_s"] < update["at_s"] < acknowledgement["at_s"] < first
    total = sum(len(arrivals(folder, access, FLOW_A, start_ns)) for access in ("wlan", "cell"))
    assert total == 200
    assert not arrivals(folder, "cell", STAY, start_ns)


class Run(NamedTuple):
    """A run of an experiment, its captures kept, and the row of its move."""

    job: Job
    folder: Path
    start_ns: int
    row: dict[str, Any]


@pytest.fixture(scope="module")
def dynamic_run(virtual: GuestEngine, tmp_path_factory: pytest.TempPathFactory) -> Run:
    job = make_job(DYNAMIC)
    folder = put_job(tmp_path_factory.mktemp("dynamic"), job)
    outcome = virtual.run(folder, LIMIT_S)
    assert outcome.failure is None, outcome.failure
    (row,) = analyse_run(folder, keep_captures=True)
    assert row["status"] == "ok"
    return Run(job, folder, json.loads((folder / "job.json").read_text())["start_ns"], row)


def test_dynamic_attachment_takes_its_floor(dynamic_run: Run) -> None:
    """Decision to first packet: request to the MAG, PBU to the LMA, then the next packet."""
    job, folder, start_ns, row = dynamic_run
    packets = wire.read(folder / "captures.pcapng")
    decision_ms = job.decisions_s[0] * 1e3
    held_ms = 25.0 + 78 * 8 / 10e3 + 10.0
    at_lma = [
        (d.time_ns - start_ns) / wire.MILLISECOND + 5.0
        for d in wire.at(packets, "cn-lma", outbound=True)
        if (d.mark or (0, 0))[0] == FLOW_A
    ]
    first = min(instant for instant in at_lma if instant >= decision_ms + held_ms)
    floor_ms = first + 10.0 + 25.0 + 250 * 8 / 20e3 - decision_ms
    assert row["floor_ms"] == pytest.approx(floor_ms, abs=0.03)
    assert row["move_latency_ms"] == pytest.approx(floor_ms, abs=0.03)
    assert (row["lost"], row["duplicated"], row["uplink_lost"], row["stay_moved"]) == (0, 0, 0, 0)


def test_a_run_records_and_counts_its_attachments(dynamic_run: Run) -> None:
    """control.pcapng has both sides: between LMA and MAG, and on the access links."""
    capture = dynamic_run.folder / "control.pcapng"
    packets = list(read_packets(capture))
    places = Counter((packet.interface, packet.outbound) for packet in packets)
    assert places == {
        ("lma-core", False): 2,
        ("lma-core", True): 2,
        **{(f"mn-{access}", way): 1 for access in ("wlan", "cell") for way in (False, True)},
    }
    recorded = sorted(
        zip(decode_capture(capture), packets, strict=True), key=lambda pair: pair[0]["time"]
    )
    kinds = [
        "AttachmentRequest",
        "ProxyBindingUpdate",
        "ProxyBindingAcknowledgement",
        "AttachmentAnswer",
    ]
    assert [message["message"] for message, _ in recorded] == kinds * 2
    request, update, _, answer = [message for message, _ in recorded[4:]]
    assert (hint(request), hint(update)) == (6, 6)
    assert prefixes(request) == prefixes(update) == prefixes(answer)
    sizes = [packet.original_length - 14 for _, packet in recorded[4:]]
    row = dynamic_run.row
    assert (row["signalling_messages"], row["signalling_bytes"]) == (2, sizes[1] + sizes[2])
    assert row["access_signalling_messages"] == 2
    assert row["access_signalling_bytes"] == sizes[0] + sizes[3]
    assert row["attachment"] == "dynamic"


@wireshark.needed
def test_tshark_reads_the_attachments_of_a_run(dynamic_run: Run) -> None:
    capture = dynamic_run.folder / "control.pcapng"
    shown = ("-Y", "flowmob.attachment.type", "-T", "fields", "-e", "flowmob.message")
    names = wireshark.tshark(capture, *shown)
    assert sorted(names) == ["Attachment Answer"] * 2 + ["Attachment Request"] * 2
    for packet, tree in zip(read_packets(capture), wireshark.dissect(capture), strict=True):
        attachment = packet.interface != "lma-core"
        wireshark.compare(packet.data[14 if attachment else 54 :], tree)
        assert wireshark.experts(tree) == []


def test_the_control_capture_of_a_run_makes_a_chart(dynamic_run: Run) -> None:
    capture = dynamic_run.folder / "control.pcapng"
    names = {IPv6Address(LMA): "LMA", IPv6Address(MAG1): "MAG1", IPv6Address(MAG2): "MAG2"}
    steps = signalling_steps(capture, [capture], names)
    for access, mag in (("wlan", "MAG1"), ("cell", "MAG2")):
        steps += access_steps(capture, "MN", mag, {}, access, f"mn-{access}")
    assert [(s.source, s.destination, s.text[:21]) for s in sorted(steps)[4:]] == [
        ("MN", "MAG2", "attachment request HI"),
        ("MAG2", "LMA", "PBU HI 6 (new interfa"),
        ("LMA", "MAG2", "PBA status 0 [2001:db"),
        ("MAG2", "MN", "attachment answer sta"),
    ]


@pytest.mark.parametrize(
    ("point", "messages_and_octets"),
    [
        ("to-wlan-dynamic-10ms", (2, 256, 2, 120)),
        ("to-wlan-unique-ack-10ms", (2, 192, 0, 0)),
        ("to-cell-shared-10ms", (0, 0, 0, 0)),
    ],
)
def test_runs_of_the_experiment_take_their_floors(
    virtual: GuestEngine, tmp_path: Path, point: str, messages_and_octets: tuple[int, ...]
) -> None:
    found = points("dynamic-attachment", load("dynamic-attachment"), 1)
    (chosen,) = [entry for entry in found if entry.name == point]
    folder = put_job(tmp_path, job_of(chosen, "virtual", 1))
    outcome = virtual.run(folder, LIMIT_S)
    assert outcome.failure is None, outcome.failure
    (row,) = analyse_run(folder)
    assert (row["status"], row["lost"], row["uplink_lost"]) == ("ok", 0, 0)
    assert row["excess_ms"] == pytest.approx(0.0, abs=0.02)
    kinds = ("messages", "bytes")
    counted = [row[f"{where}signalling_{kind}"] for where in ("", "access_") for kind in kinds]
    assert tuple(counted) == messages_and_octets


def test_handover_of_everything(kernel: Kernel, tmp_path: Path) -> None:
    """RFC 5213 section 5.4.1.2: HI 2 and no prefixes, the one session moves to the new MAG."""
    changes = {
        **DYNAMIC,
        "moves": [],
    }
    folder = put_job(tmp_path, make_job(changes))
    result = carry_out_check(kernel, folder, "attachment_checks.handover")
    start_ns = result["start_ns"]
    (before,), (after,) = result["before"], result["after"]
    assert (before["proxy_coa"], after["proxy_coa"]) == (MAG1, MAG2)
    assert (after["bid"], after["prefixes"]) == (before["bid"], before["prefixes"])
    assert after["state"] == "registered"
    (update, acknowledgement) = [
        message
        for message in messages(folder, "core-mag2", start_ns)
        if message["message"].startswith("ProxyBinding")
    ]
    assert (hint(update), prefixes(update)) == (2, ["::/0"])
    assert prefixes(acknowledgement) == before["prefixes"]
    # Both flows go on over the cell, and nothing arrives over the WLAN any more.
    for flow in (FLOW_A, STAY):
        cell, wlan = (arrivals(folder, access, flow, start_ns) for access in ("cell", "wlan"))
        assert LEAVES_S + 0.070 < cell[0] < LEAVES_S + 0.110
        assert max(wlan) <= LEAVES_S
        assert len(cell) > 140
        # The uplink, too, once the MN has the router.
        sent = wire.marks(wire.read(folder / "wire" / "cn-lma.pcapng"), flow)
        after_it = [number for number in sent if number >= 150]
        assert len(after_it) > 40
    assert [entry["state"] for entry in result["served"]] == ["registered"]
    states = {entry["interface"]: entry["attachment"] for entry in result["status"]}
    assert states == {"mn-wlan": "detached", "mn-cell": "attached"}


@pytest.mark.parametrize(("handoff", "trigger"), [(2, 3), (4, 4)])
def test_a_mag_that_was_left_unnoticed_is_told(
    kernel: Kernel, tmp_path: Path, handoff: int, trigger: int
) -> None:
    """RFC 5846 section 8.1. With handoff state unknown its answer takes the place of its
    deregistration, which was lost."""
    changes = {
        "protocol": {"prefix_model": "unique", "attachment": "layer-2"},
        "attachments": [
            {"access": "wlan", "at_s": 1.0},
            {"access": "cell", "at_s": 2.0, "dynamic": True},
        ],
        "variables": {"lma": {"revoke_on_handover": True}},
    }
    folder = put_job(tmp_path, make_job(changes))
    result = carry_out_check(kernel, folder, "attachment_checks.left_unnoticed", handoff=handoff)
    (before,), (after,) = result["before"], result["after"]
    assert (before["access"], after["access"]) == ("wlan", "cell")
    assert (after["bid"], after["prefixes"]) == (before["bid"], before["prefixes"])
    assert result["attached"]["result"]["attachment"] == "attached"
    signalling = [
        message for message in messages(folder, "lma-core", 0) if message["message"] != "Heartbeat"
    ]
    last = [(message["message"], message["source"]) for message in signalling[-4:]]
    update, answer = ("ProxyBindingUpdate", MAG2), ("ProxyBindingAcknowledgement", LMA)
    told = ("BindingRevocationIndication", LMA)
    agreed = ("BindingRevocationAcknowledgement", MAG1)
    if handoff == 4:
        assert last == [update, told, agreed, answer]
    else:  # the two in between go out at the same instant of virtual time
        assert (last[0], set(last[1:3]), last[3]) == (update, {answer, told}, agreed)
    (indication,) = [m for m in signalling if m["message"] == told[0]]
    assert indication["trigger"]["value"] == trigger
    assert prefixes(indication) == before["prefixes"]
    (agreement,) = [m for m in signalling if m["message"] == agreed[0]]
    assert agreement["status"]["value"] == 0
