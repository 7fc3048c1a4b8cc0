"""A daemon is killed and started again, as captured packets show it (RFC 5847 section 3.2), and a
binding is revoked (RFC 5846)."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from experiments.engines.kernel_cache import Kernel
from nodes.wire.tool import decode_capture
from tests.system import wire
from tests.system.guest_checks.restart_checks import END_S, KILL_S, MOVE_S, START_S
from tests.system.guests import carry_out_check, make_job, put_job

LMA, MAG1, MAG2 = "2001:db8:10::1", "2001:db8:11::1", "2001:db8:12::1"
FLOW_A, STAY = 1, 2
INTERVAL_S = 0.02
CHECKS = "restart_checks"


def _messages(folder: Path, start_ns: int, from_s: float) -> list[dict[str, Any]]:
    """The signalling at the LMA from an instant of the run on."""
    found = []
    for message in decode_capture(folder / "wire" / "lma-core.pcapng"):
        seconds, _, fraction = message["time"].partition(".")
        at_s = (int(seconds) * 1_000_000_000 + int(fraction) - start_ns) / 1e9
        if at_s >= from_s:
            found.append(message | {"at_s": at_s})
    return found


def _arrivals(folder: Path, access: str, flow: int, start_ns: int) -> list[float]:
    """When packets of a flow arrived over an access, in s of the run."""
    return [
        (datagram.time_ns - start_ns) / 1e9
        for datagram in wire.read(folder / "wire" / f"mn-{access}.pcapng")
        if not datagram.outbound
        and datagram.innermost.mark is not None
        and datagram.innermost.mark[0] == flow
    ]


def _carry_out(
    kernel: Kernel,
    folder: Path,
    check: str,
    document: dict[str, Any] | None = None,
    **arguments: Any,
) -> dict[str, Any]:
    attached = [{"access": "wlan", "at_s": 1.0}, {"access": "cell", "at_s": 2.0}]
    put_job(folder, make_job({"attachments": attached, "moves": []}, document or {}))
    found: dict[str, Any] = carry_out_check(kernel, folder, f"{CHECKS}.{check}", **arguments)
    return found


def _longest_gap(arrivals: list[float]) -> float:
    return max(after - before for before, after in pairwise(arrivals))


def test_a_killed_mag_registers_anew_and_flows_go_on_rfc5847_3_2(
    kernel: Kernel, tmp_path: Path
) -> None:
    found = _carry_out(kernel, tmp_path, "killed", node="mag2")
    start_ns = found["start_ns"]
    messages = _messages(tmp_path, start_ns, KILL_S)
    assert [(m["message"], m["source"]) for m in messages] == [
        ("Heartbeat", MAG2),
        ("ProxyBindingUpdate", MAG2),
        ("ProxyBindingAcknowledgement", LMA),
    ]
    heartbeat, _, answer = messages
    assert heartbeat["unsolicited"]
    assert heartbeat["response"]
    (counter,) = [option["counter"] for option in heartbeat["options"] if "counter" in option]
    assert counter == 2
    off_link = [o for o in answer["options"] if o.get("off_link")]
    assert len(off_link) == 1, "the PBA brings the moved flow's prefix (RFC 7864 section 3.3)"
    arrivals = [at for at in _arrivals(tmp_path, "cell", FLOW_A, start_ns) if at > MOVE_S + 0.5]
    assert any(KILL_S < at < START_S for at in arrivals), "the kernel forwards without a daemon"
    assert arrivals[-1] > START_S + 1.5
    assert _longest_gap(arrivals) < 1.5 * INTERVAL_S, "and its start leaves alone what is in use"
    assert not [at for at in _arrivals(tmp_path, "wlan", FLOW_A, start_ns) if at > MOVE_S + 0.5]
    assert [flow["active"] for flow in found["flows"]] == [True, True]


def test_a_killed_lma_has_its_bindings_again_rfc5847_3_2(kernel: Kernel, tmp_path: Path) -> None:
    """It has lost its sessions on disk, too."""
    found = _carry_out(kernel, tmp_path, "killed", node="lma", forget=True)
    start_ns = found["start_ns"]
    messages = _messages(tmp_path, start_ns, KILL_S)
    assert [m["message"] for m in messages].count("Heartbeat") == 2
    updates = [m for m in messages if m["message"] == "ProxyBindingUpdate"]
    assert sorted(m["source"] for m in updates) == [MAG1, MAG2]
    assert sorted(b["proxy_coa"] for b in found["bindings"]) == [MAG1, MAG2]
    assert found["flows"] == [], "they are ordered again by whoever ordered them"
    stay = _arrivals(tmp_path, "wlan", STAY, start_ns)
    assert stay[-1] > START_S + 1.5
    assert _longest_gap(stay) < 0.3
    back = [at for at in _arrivals(tmp_path, "wlan", FLOW_A, start_ns) if at > START_S]
    assert back, "without its row the flow takes the default path"
    assert back[-1] < END_S


def test_a_killed_lma_goes_on_where_it_was_rfc5847_3_2(kernel: Kernel, tmp_path: Path) -> None:
    """With its sessions on disk nobody notices: no message, no packet lost, the same tunnels,
    routes, rules, maps and elements in the kernel, none of them made anew."""
    found = _carry_out(kernel, tmp_path, "killed", node="lma")
    start_ns = found["start_ns"]
    assert _messages(tmp_path, start_ns, KILL_S) == []
    assert found["before"] == found["after"]
    assert sorted(b["proxy_coa"] for b in found["bindings"]) == [MAG1, MAG2]
    assert [(flow["fid"], flow["access"]) for flow in found["flows"]] == [
        (FLOW_A, ["cell"]),
        (STAY, ["wlan"]),
    ]
    for access, flow in (("cell", FLOW_A), ("wlan", STAY)):
        arrivals = [at for at in _arrivals(tmp_path, access, flow, start_ns) if at > MOVE_S + 0.5]
        assert arrivals[-1] > START_S + 1.5
        assert _longest_gap(arrivals) < 1.5 * INTERVAL_S
    assert not [at for at in _arrivals(tmp_path, "wlan", FLOW_A, start_ns) if at > MOVE_S + 0.5]


def test_a_revoked_binding_rfc5846_3_4_1(kernel: Kernel, tmp_path: Path) -> None:
    found = _carry_out(kernel, tmp_path, "revoked")
    messages = _messages(tmp_path, found["start_ns"], MOVE_S)
    assert [(m["message"], m["source"]) for m in messages] == [
        ("BindingRevocationIndication", LMA),
        ("BindingRevocationAcknowledgement", MAG2),
    ]
    assert messages[1]["status"]["value"] == 0
    assert found["answer"] == {"revoked": 1}
    assert [b["access"] for b in found["bindings"]] == ["wlan"]
    advertised = [
        datagram.payload
        for datagram in wire.read(tmp_path / "wire" / "mn-cell.pcapng")
        if datagram.next_header == wire.ICMPV6 and datagram.payload[0] == wire.ROUTER_ADVERTISEMENT
    ]
    assert advertised[-1][6:8] == b"\0\0", "router lifetime 0: RFC 4861 section 6.2.5"


def test_nodes_with_layer_2_signalling_attach_again_at_a_mag_that_was_killed(
    kernel: Kernel, tmp_path: Path
) -> None:
    """docs/layer-2-signalling.md, rule 6: asked, they register anew, and their flows go on."""
    found = _carry_out(
        kernel, tmp_path, "killed", {"protocol": {"attachment": "layer-2"}}, node="mag2"
    )
    start_ns = found["start_ns"]
    frames = [
        frame["message"]
        for frame in decode_capture(tmp_path / "wire" / "mn-cell.pcapng")
        if int(frame["time"].replace(".", "")) - start_ns > START_S * 1e9
    ]
    assert frames == ["AttachmentAnswer", "AttachmentRequest", "AttachmentAnswer"]
    messages = _messages(tmp_path, start_ns, KILL_S)
    assert ("ProxyBindingUpdate", MAG2) in [(m["message"], m["source"]) for m in messages]
    registered = {b["access"]: b["state"] for b in found["bindings"]}
    assert registered == {"wlan": "registered", "cell": "registered"}
    after = [at for at in _arrivals(tmp_path, "cell", FLOW_A, start_ns) if at > START_S + 0.5]
    assert len(after) > 50
