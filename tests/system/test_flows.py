"""What the kernels do with the packets of flows, as their links see it."""

from __future__ import annotations

import json
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest

from experiments.analysis.event_log import read_events
from experiments.analysis.measure import FLOW_ROWS, analyse_run
from experiments.engines.guest import GuestEngine
from experiments.engines.kernel_cache import Kernel
from nodes.selectors import selector_of
from nodes.wire.tool import decode_capture
from tests.system import wire
from tests.system.guest_checks import flow_cases
from tests.system.guests import LIMIT_S, carry_out_check, make_job, put_job

MAG1, MAG2 = IPv6Address("2001:db8:11::1"), IPv6Address("2001:db8:12::1")
LONGEST_HEADER = 24
ACCESSES = ("mn-wlan", "mn-cell")


def cases(folder: Path, link: str, *, outbound: bool = False) -> list[int]:
    """The numbers of the cases whose packets pass a link."""
    found = []
    for datagram in wire.at(wire.read(folder / "wire" / f"{link}.pcapng"), link, outbound=outbound):
        before, mark, number = datagram.innermost.payload.partition(b"case ")
        if mark and len(before) <= LONGEST_HEADER:  # else an ICMPv6 error is about it
            found.append(int(number))
    return found


@pytest.mark.parametrize("duplicates", ["keep", "remove"])
def test_a_copy_goes_to_each_binding_rfc6089_5_3_6(
    kernel: Kernel, tmp_path: Path, duplicates: str
) -> None:
    protocol = {"prefix_model": "unique", "duplicates": duplicates}
    folder = put_job(tmp_path, make_job({"protocol": protocol}))
    result = carry_out_check(kernel, folder, "flow_checks.copies")
    assert all(answer["ok"] for answer in result["answers"])
    (flow,) = [flow for flow in result["flows"] if flow["fid"] == 10]
    assert flow["access"] == ["cell"]
    one, both, other, left = ([10 * step + number for number in range(5)] for step in range(4))
    assert cases(folder, "mn-wlan") == one + both + left
    assert cases(folder, "mn-cell") == both + other
    # The copies have the hop limit of the packets that they are copies of.
    for link in ACCESSES:
        datagrams = wire.read(folder / "wire" / f"{link}.pcapng")
        assert {d.hop_limit for d in datagrams if d.payload[8:13] == b"case "} == {62}
    names = [[f"case {number}" for number in step] for step in (one, both, other, left)]
    copies = 2 if duplicates == "keep" else 1
    assert sorted(result["received"]["both"]) == sorted(names[1] * copies)
    received = [result["received"][name] for name in ("one", "other", "one left")]
    assert received == [names[0], names[2], names[3]]


@pytest.mark.parametrize("duplicates", ["keep", "remove"])
def test_a_run_counts_the_copies_of_a_flow_rfc6089_5_3_6(
    virtual: GuestEngine, tmp_path: Path, duplicates: str
) -> None:
    """On both accesses for two seconds, and then on the new one alone."""
    moves = [
        {"flow": "a", "to": "cell", "at_s": 5.5, "copies": True},
        {"flow": "a", "to": "cell", "at_s": 7.5},
    ]
    protocol = {"prefix_model": "unique", "duplicates": duplicates}
    folder = put_job(tmp_path, make_job({"moves": moves, "protocol": protocol}))
    outcome = virtual.run(folder, LIMIT_S)
    assert outcome.failure is None, outcome.failure
    there, alone = analyse_run(folder, keep_captures=True)
    captured = wire.read(folder / "captures.pcapng")
    seen = [wire.marks(wire.at(captured, f"mn-{a}", outbound=False), 1) for a in ("wlan", "cell")]
    twice = set(seen[0]) & set(seen[1])
    assert 98 <= len(twice) <= 102
    assert set(seen[0]) | set(seen[1]) == set(range(200)), "none is lost in between"
    assert (there["status"], alone["status"]) == ("ok", "ok")
    assert (there["source"], there["target"], alone["source"]) == ("wlan", "cell", "wlan")
    assert there["move_latency_ms"] == pytest.approx(there["floor_ms"], abs=0.03)
    # The window of a move ends a second before the next.
    assert 48 <= there["duplicated"] <= 52
    assert there["duplicated"] + alone["duplicated"] == len(twice)
    flow, stay = json.loads((folder / FLOW_ROWS).read_bytes())
    assert (flow["duplicated"], flow["lost"]) == (len(twice), 0)
    assert (stay["duplicated"], stay["lost"]) == (0, 0)
    removed = [e for e in read_events(folder / "events", 0) if e.event == "copies-removed"]
    assert [(event.node, event.detail["packets"]) for event in removed] == (
        [("mn", len(twice))] if duplicates == "remove" else []
    )


def test_every_field_range_and_precedence_rfc6088_3_2_rfc6089_5_3_6(
    kernel: Kernel, tmp_path: Path
) -> None:
    folder = put_job(tmp_path, make_job({"protocol": {"prefix_model": "unique"}}))
    result = carry_out_check(kernel, folder, "flow_checks.classified")
    assert all(answer["ok"] for answer in result["answers"])
    cn, mn = IPv6Address(result["cn"]), IPv6Address(result["mn"])
    rows = flow_cases.rows(cn, mn)
    expected: dict[str, list[int]] = {"wlan": [], "cell": [], "drop": []}
    for number, packet in enumerate(flow_cases.packets(cn, mn)):
        matching = [row for row in rows if selector_of(row.selector).matches(packet)]
        row = min(matching, key=lambda row: row.priority, default=None)
        to = "wlan" if row is None else row.to if row.action == "forward" else "drop"
        expected[to].append(number)
    assert all(len(numbers) > 1 for numbers in expected.values())
    found = {access: cases(folder, f"mn-{access}") for access in ("wlan", "cell")}
    assert found == {access: expected[access] for access in found}


def test_drop_and_what_no_flow_rule_may_touch_rfc7864_5_2_rfc6089_4_3(
    kernel: Kernel, tmp_path: Path
) -> None:
    folder = put_job(tmp_path, make_job())
    result = carry_out_check(kernel, folder, "flow_checks.dropped")
    # Dropped: the flow; a port that is a port in ICMPv6 is none (RFC 6088 section 3.2); then all
    # but mobility signalling.
    assert cases(folder, "cn-lma", outbound=True) == [0, 1, 2, 3, 4]
    assert cases(folder, "lma-core", outbound=True) == [1, 2, 4]
    assert cases(folder, "mn-wlan") == [1, 2, 4]
    assert result["received"] == {"7001": [], "7002": ["case 1"]}


def test_a_deciding_nodes_signalling_is_of_no_flow_rfc6089_4_3(
    kernel: Kernel, tmp_path: Path
) -> None:
    protocol = {"prefix_model": "shared", "decision_maker": "mn"}
    folder = put_job(tmp_path, make_job({"moves": [], "protocol": protocol}))
    result = carry_out_check(kernel, folder, "flow_checks.own_signalling")
    assert result["bound"]["ok"]
    assert cases(folder, "mn-cell", outbound=True) == [0]
    assert cases(folder, "mn-wlan", outbound=True) == [1, 2]
    assert sorted(cases(folder, "cn-lma")) == [0, 1, 2]


def test_what_no_active_flow_claims_takes_the_default_path_rfc7864_5_2_rfc6089_5_3_6(
    kernel: Kernel, tmp_path: Path
) -> None:
    job = make_job({"protocol": {"prefix_model": "shared"}, "moves": [], "duration_s": 25.0})
    folder = put_job(tmp_path, job)
    active = carry_out_check(kernel, folder, "flow_checks.default_path")
    assert active == [True, False, True, True, True]
    # The lowest BID-PRI of those that are there: the WLAN's, if it is.
    assert cases(folder, "mn-wlan") == [1, 2, 3, 5, 9]
    assert cases(folder, "mn-cell") == [0, 4, 6, 7, 8]


def test_fragments_follow_the_first_rfc6089_5_3_6(kernel: Kernel, tmp_path: Path) -> None:
    folder = put_job(tmp_path, make_job())
    result = carry_out_check(kernel, folder, "flow_checks.fragments")
    assert result["added"]["ok"]
    assert set(map(tuple, result["received"].values())) == {("3000 octets",)}
    fragments = {
        link: [
            d.innermost
            for d in wire.read(folder / "wire" / f"{link}.pcapng")
            if d.innermost.next_header == wire.FRAGMENT
        ]
        for link in (*ACCESSES, "core-mag1", "core-mag2", "cn-lma")
    }
    # Three of each packet on each link of its way, and of the size that the sender gave them.
    counts = {
        link: [sum(d.outbound is way for d in found) for way in (False, True)]
        for link, found in fragments.items()
    }
    assert counts["mn-cell"] == counts["mn-wlan"] == [3, 3]
    assert counts["cn-lma"] == [6, 6]
    assert counts["core-mag1"] == counts["core-mag2"] == [3, 3]
    assert max(d.length for found in fragments.values() for d in found) <= 1280


def test_the_mag_lets_the_flows_pass_that_it_was_told_of_rfc7864_3_4(
    kernel: Kernel, tmp_path: Path
) -> None:
    protocol = {"prefix_model": "unique", "granularity": "flow", "withdrawal_delay_s": 1.0}
    folder = put_job(tmp_path, make_job({"protocol": protocol}))
    result = carry_out_check(kernel, folder, "flow_checks.flow_level")
    assert all(answer["ok"] for answer in result["answers"])
    assert cases(folder, "core-mag2", outbound=True) == [0, 1, 5, 6, 7], "what the LMA sent"
    # Of the flow, or nothing that flows are about: signalling (RFC 6089 section 4.3) and errors.
    assert cases(folder, "mn-cell") == [0, 5, 6]
    assert cases(folder, "mn-cell", outbound=True) == [2, 3, 8, 9, 10, 4]
    assert cases(folder, "core-mag2") == [2, 8, 9], "the flow while it was there, and no other"
    # Case 5 and 8 are none that can be decoded.
    errors: list[str] = []
    capture = folder / "wire" / "lma-core.pcapng"
    messages = list(decode_capture(capture, on_error=lambda where, _: errors.append(where)))
    assert len(errors) == 2
    to_mag2 = [
        message
        for message in messages
        if message["message"] == "UpdateNotification" and message["destination"] == str(MAG2)
    ]
    there, away = (_contents(message) for message in to_mag2)
    (wlan,) = [entry for entry in result["bindings"] if entry["access"] == "wlan"]
    (cell,) = [entry for entry in result["bindings"] if entry["access"] == "cell"]
    assert there == {"prefixes": [(wlan["prefixes"][0], True)], "fids": [1]}
    assert away == {"prefixes": [(cell["prefixes"][0], False)], "fids": []}
    (served,), (after,) = result["served"], result["after"]
    assert (served["off_link_prefixes"], after["off_link_prefixes"]) == (wlan["prefixes"], [])
    (answer, _) = [
        _contents(message)
        for message in messages
        if message["message"] == "UpdateNotificationAcknowledgement"
        and message["source"] == str(MAG2)
    ]
    assert answer == there


def _contents(message: dict[str, Any]) -> dict[str, Any]:
    options = message["options"]
    return {
        "prefixes": [
            (f"{o['address']}/{o['prefix_length']}", o["off_link"])
            for o in options
            if o["option"] == "HomeNetworkPrefix"
        ],
        "fids": [o["fid"] for o in options if o["option"] == "FlowIdentification"],
    }


def test_flows_survive_the_session_of_their_prefix_rfc7864_figure_5(
    kernel: Kernel, tmp_path: Path
) -> None:
    protocol = {"prefix_model": "unique"}
    folder = put_job(tmp_path, make_job({"protocol": protocol, "duration_s": 25.0}))
    result = carry_out_check(kernel, folder, "flow_checks.survival")
    assert [flow["fid"] for flow in result["moved"]["result"]["flows"]] == [1, 2, 10]
    (cell,) = result["bindings"]
    assert (cell["access"], len(cell["flow_mobility_prefixes"])) == ("cell", 1)
    assert result["received"] == {
        name: [name, name] for name in ("attached", "deregistered", "gone")
    }
    # The rest of the prefix: its own access, then none (RFC 5213 section 5.3.5), then the other.
    assert cases(folder, "cn-lma", outbound=True) == [0, 1, 2]
    assert (cases(folder, "mn-wlan"), cases(folder, "mn-cell")) == ([0], [2])
    assert cases(folder, "core-mag1", outbound=True) == [0]
    assert cases(folder, "core-mag2", outbound=True) == [2]
    assert cases(folder, "cn-lma") == [10, 12]
    messages = list(decode_capture(folder / "wire" / "lma-core.pcapng"))
    sent = [message for message in messages if message["message"] == "UpdateNotification"]
    assert len(sent) == 1, "one FMI for all flows"
