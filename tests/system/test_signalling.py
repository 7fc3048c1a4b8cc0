"""Lost signalling and detachment, as the LMA's link to the core sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from experiments.engines.kernel_cache import Kernel
from nodes.wire.tool import decode_capture
from tests.system import wire
from tests.system.guest_checks.signalling_checks import ADDRESS_S, DETACH_S, MOVE_S
from tests.system.guests import carry_out_check, make_job, put_job

LMA, MAG2 = "2001:db8:10::1", "2001:db8:12::1"
FLOW_A, STAY, FLOW_B = 1, 2, 3
RTT_S = 0.020


def _messages(folder: Path, start_ns: int) -> list[dict[str, Any]]:
    """The signalling at the LMA, each message with its instant in s of the run."""
    messages = []
    for message in decode_capture(folder / "wire" / "lma-core.pcapng"):
        assert message["checksum_valid"]
        seconds, _, fraction = message["time"].partition(".")
        instant_ns = int(seconds) * 1_000_000_000 + int(fraction)
        messages.append(message | {"at_s": (instant_ns - start_ns) / 1e9})
    return messages


def _named(messages: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [message for message in messages if message["message"] == name]


def _losses(folder: Path, flow: int) -> dict[str, tuple[int, int]]:
    """Per direction how many packets of a flow were sent and how many came, each once."""
    cn = wire.read(folder / "wire" / "cn-lma.pcapng")
    mn = [d for a in ("wlan", "cell") for d in wire.read(folder / "wire" / f"mn-{a}.pcapng")]
    found = {}
    for way, source, sink in (("down", cn, mn), ("up", mn, cn)):
        sent = wire.marks([d for d in source if d.outbound], flow)
        received = wire.marks([d for d in sink if not d.outbound], flow)
        assert set(received.values()) <= {1}
        assert received.keys() <= sent.keys()
        found[way] = (len(sent), len(received))
    return found


@pytest.mark.parametrize(("direction", "answers"), [("down", 1), ("up", 2)])
def test_lost_message_is_repeated_after_a_second(
    kernel: Kernel, tmp_path: Path, direction: str, answers: int
) -> None:
    """The FMI is lost, or its FMA: RFC 7077 section 6.1, one more after a second with D set."""
    folder = put_job(tmp_path, make_job())
    result = carry_out_check(
        kernel,
        folder,
        "signalling_checks.lost_signalling",
        link="core-mag2",
        direction=direction,
        lost_for_s=0.5,
        end_s=9.5,
    )
    assert result["answers"][0]["ok"] is True
    messages = _messages(folder, result["start_ns"])
    first, second = _named(messages, "UpdateNotification")
    assert first["at_s"] == pytest.approx(MOVE_S, abs=1e-4)
    # select(2) may wake up late by a thousandth of what it waits, and never early.
    assert -1e-5 <= second["at_s"] - first["at_s"] - 1.0 <= 1.1e-3
    assert (first["retransmit"], second["retransmit"]) == (False, True)
    changed = {"time", "frame", "at_s", "retransmit", "checksum"}
    assert {k: v for k, v in second.items() if k not in changed} == {
        k: v for k, v in first.items() if k not in changed
    }
    (answer,) = _named(messages, "UpdateNotificationAcknowledgement")
    assert answer["sequence"] == first["sequence"]
    assert answer["at_s"] - second["at_s"] == pytest.approx(RTT_S, abs=1e-4)
    sent = [
        datagram
        for datagram in wire.read(folder / "wire" / "core-mag2.pcapng")
        if datagram.next_header == wire.MOBILITY and datagram.payload[2] == 19
    ]
    # The MAG's answers are lost on the way to the core, if that is what is lost.
    assert len(sent) == answers
    cell = wire.read(folder / "wire" / "mn-cell.pcapng")
    arrived = [d for d in cell if not d.outbound and (d.mark or (0, 0))[0] == FLOW_A]
    # On-ack: nothing of the flow takes the new way before the answer.
    assert arrived[0].time_ns / 1e9 - result["start_ns"] / 1e9 > answer["at_s"] + 0.035
    for flow in (FLOW_A, STAY):
        assert _losses(folder, flow) == {"down": (200, 200), "up": (200, 200)}


def test_move_fails_when_no_answer_comes(kernel: Kernel, tmp_path: Path) -> None:
    folder = put_job(tmp_path, make_job())
    result = carry_out_check(
        kernel,
        folder,
        "signalling_checks.lost_signalling",
        link="core-mag2",
        direction="down",
        lost_for_s=3.5,
        end_s=9.9,
    )
    (answer,) = result["answers"]
    assert answer["ok"] is False
    assert "didn't answer" in answer["error"]
    # That was known by the end of the course, for which the guest asks only then.
    assert result["answered_by_s"] == pytest.approx(9.9, abs=0.01)
    (flow,) = [flow for flow in result["flows"] if flow["fid"] == FLOW_A]
    assert (flow["access"], flow["active"]) == (["wlan"], True)
    assert [entry["flow_mobility_prefixes"] for entry in result["bindings"]] == [[], []]
    messages = _messages(folder, result["start_ns"])
    sent = _named(messages, "UpdateNotification")
    assert [message["retransmit"] for message in sent] == [False, True]
    assert not _named(messages, "UpdateNotificationAcknowledgement")
    cell = wire.read(folder / "wire" / "mn-cell.pcapng")
    assert not wire.marks(cell, FLOW_A)
    for flow in (FLOW_A, STAY):
        assert _losses(folder, flow) == {"down": (200, 200), "up": (200, 200)}


def test_detached_access_is_deregistered(kernel: Kernel, tmp_path: Path) -> None:
    """RFC 5213 sections 6.9.1.4 and 5.3.5, and a new registration when the MN comes back."""
    flow = {"kind": "udp", "anchor": "cell", "start": "cell", "port": 5002, "until_s": 9.0}
    folder = put_job(tmp_path, make_job({"flows": {"b": flow}, "duration_s": 20.0}))
    result = carry_out_check(kernel, folder, "signalling_checks.detachment")
    messages = _messages(folder, result["start_ns"])
    (own,) = [entry for entry in result["before"] if entry["access"] == "cell"]
    requests = [m for m in _named(messages, "ProxyBindingUpdate") if m["source"] == MAG2]
    answers = [
        m for m in _named(messages, "ProxyBindingAcknowledgement") if m["destination"] == MAG2
    ]
    assert len(requests) == len(answers) == 3
    request, answer = requests[1], answers[1]
    assert request["at_s"] == pytest.approx(DETACH_S + RTT_S / 2, abs=1e-3)
    assert request["lifetime"] == 0
    assert request["sequence"] == requests[0]["sequence"] + 1
    assert answer["status"]["value"] == 0
    assert answer["lifetime"] == 0
    assert answer["sequence"] == request["sequence"]
    for message in (request, answer):
        (hint,) = [o for o in message["options"] if o["option"] == "HandoffIndicator"]
        assert hint["hint"]["value"] == 4
        prefixes = [o for o in message["options"] if o["option"] == "HomeNetworkPrefix"]
        assert [f"{o['address']}/{o['prefix_length']}" for o in prefixes] == own["prefixes"]
    states = {
        name: {entry["access"]: entry["state"] for entry in result[name]}
        for name in ("before", "detached", "last", "gone", "again")
    }
    assert states == {
        "before": {"wlan": "registered", "cell": "registered"},
        "detached": {"wlan": "registered", "cell": "deregistered"},
        "last": {"wlan": "registered", "cell": "deregistered"},
        "gone": {"wlan": "registered"},
        "again": {"wlan": "registered", "cell": "registered"},
    }
    assert [f["active"] for f in result["flows"] if f["fid"] == FLOW_B] == [False]
    # Nothing of the flow leaves the LMA once it knows, and the other access has nothing of it.
    late = [
        datagram
        for datagram in wire.read(folder / "wire" / "lma-core.pcapng")
        if datagram.outbound
        and (datagram.innermost.mark or (0, 0))[0] == FLOW_B
        and datagram.time_ns / 1e9 > result["start_ns"] / 1e9 + answer["at_s"] + 1e-3
    ]
    assert not late
    assert not wire.marks(wire.read(folder / "wire" / "mn-wlan.pcapng"), FLOW_B)
    assert _losses(folder, STAY) == {"down": (200, 200), "up": (200, 200)}
    assert requests[2]["lifetime"] == 900
    assert requests[2]["at_s"] > DETACH_S + 11.0


def test_mn_waits_for_an_address_to_solicit_from(kernel: Kernel, tmp_path: Path) -> None:
    folder = put_job(tmp_path, make_job())
    result = carry_out_check(kernel, folder, "signalling_checks.late_address")
    assert result["ended"] == []
    assert [entry["state"] for entry in result["bindings"]] == ["registered"]
    wlan = wire.read(folder / "wire" / "mn-wlan.pcapng")
    discovery = [
        (d.payload[0], (d.time_ns - result["start_ns"]) / 1e9)
        for d in wlan
        if d.next_header == wire.ICMPV6
    ]
    solicited = [instant for kind, instant in discovery if kind == wire.ROUTER_SOLICITATION]
    answered = [instant for kind, instant in discovery if kind == wire.ROUTER_ADVERTISEMENT]
    assert len(solicited) == 1
    assert solicited[0] == pytest.approx(ADDRESS_S, abs=0.01)
    # One that nobody heard, after the registration, and one that was asked for.
    assert [instant > solicited[0] for instant in answered] == [False, True]
