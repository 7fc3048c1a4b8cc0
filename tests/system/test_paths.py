"""Paths made by a controller: what LMA and MAGs do to packets, as their links see it."""

from __future__ import annotations

from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from experiments.engines.kernel_cache import Kernel
from tests.system import wire
from tests.system.guests import carry_out_check, make_job, put_job

A, STAY = 1, 2
LMA, MAG1, MAG2 = (IPv6Address(f"2001:db8:10::{n}") for n in ("1", "11", "12"))
MODES = ("sdn-core", "sdn-assisted")


class Course(NamedTuple):
    folder: Path
    result: dict[str, Any]

    def at(self, interface: str, *, outbound: bool) -> list[wire.Datagram]:
        capture = wire.read(self.folder / "wire" / f"{interface}.pcapng")
        return wire.at(capture, interface, outbound=outbound)

    def sent(self, flow: int) -> set[int]:
        return set(wire.marks(self.at("cn-lma", outbound=True), flow))

    def received(self, flow: int) -> dict[str, set[int]]:
        """By access: what the MN got of a flow; every packet once."""
        found = {}
        for access in ("wlan", "cell"):
            counts = wire.marks(self.at(f"mn-{access}", outbound=False), flow)
            assert all(count == 1 for count in counts.values())
            found[access] = set(counts)
        assert not found["wlan"] & found["cell"]
        return found

    def in_tunnels(self, interface: str, flow: int, *, outbound: bool) -> list[wire.Datagram]:
        """The tunnel packets of a flow."""
        packets = [d for d in self.at(interface, outbound=outbound) if d.inner is not None]
        return [d for d in packets if (d.innermost.mark or (0, 0))[0] == flow]


def course(kernel: Kernel, folder: Path, check: str, **protocol: str) -> Course:
    put_job(folder, make_job({"protocol": protocol}, network="sdn"))
    return Course(folder, carry_out_check(kernel, folder, f"path_checks.{check}"))


@pytest.fixture(scope="module", params=["sdn-core/os-ken", "sdn-assisted/os-ken", "sdn-core/ryu"])
def moved(
    request: pytest.FixtureRequest, kernel: Kernel, tmp_path_factory: pytest.TempPathFactory
) -> Course:
    mode, _, framework = request.param.partition("/")
    folder = tmp_path_factory.mktemp("moved")
    return course(kernel, folder, "move", data_plane=mode, framework=framework)


@pytest.fixture
def assisted(moved: Course) -> Course:
    if not moved.in_tunnels("lma-s1", A, outbound=True):
        pytest.skip("there are no tunnels in this mode")
    return moved


def test_moves_there_and_back_lose_and_double_nothing(moved: Course) -> None:
    assert [answer["ok"] for answer in moved.result["answers"]] == [True, True]
    assert moved.result["controller"]["state"] == "synchronized"
    got = moved.received(A)
    assert got["wlan"] | got["cell"] == moved.sent(A)
    assert len(got["cell"]) > 50
    assert moved.received(STAY) == {"wlan": moved.sent(STAY), "cell": set()}


def test_uplink_arrives_too(moved: Course) -> None:
    arrived = moved.at("cn-lma", outbound=False)
    for flow in (A, STAY):
        left = set()
        for interface in ("mn-wlan", "mn-cell"):
            left |= set(wire.marks(moved.at(interface, outbound=True), flow))
        assert left
        assert set(wire.marks(arrived, flow)) == left


def test_the_label_that_the_sender_gave_arrives_rfc6437_3(moved: Course) -> None:
    sent = {d.mark: d.flow_label for d in moved.at("cn-lma", outbound=True) if d.mark is not None}
    assert all(sent.values())
    for interface in ("mn-wlan", "mn-cell"):
        for datagram in moved.at(interface, outbound=False):
            if datagram.mark is not None:
                assert datagram.flow_label == sent[datagram.mark]


def test_in_the_core_nothing_is_in_a_tunnel(moved: Course) -> None:
    if moved.in_tunnels("lma-s1", STAY, outbound=True):
        pytest.skip("the mode has tunnels")
    for interface in ("lma-s1", "mag1-s3", "mag2-s4"):
        for outbound in (True, False):
            kinds = {d.next_header for d in moved.at(interface, outbound=outbound)}
            assert wire.IPV6_IN_IPV6 not in kinds
            assert wire.UDP in kinds


def test_a_flow_stays_in_its_anchors_tunnel_and_a_switch_changes_its_end(assisted: Course) -> None:
    labels = {}
    for flow in (A, STAY):
        packets = assisted.in_tunnels("lma-s1", flow, outbound=True)
        assert {(d.source, d.destination) for d in packets} == {(LMA, MAG1)}
        (labels[flow],) = {d.flow_label for d in packets}
    assert labels[A] != labels[STAY]
    assert 0 not in labels.values()
    arrived = assisted.in_tunnels("mag2-s4", A, outbound=False)
    assert {(d.source, d.destination) for d in arrived} == {(LMA, MAG2)}
    assert set(wire.marks(arrived, A)) == assisted.received(A)["cell"]


def test_switches_count_the_flows(moved: Course) -> None:
    """With tunnels there is a rule, which counts, only while a flow is not at its anchor."""
    counted = {flow["fid"]: flow for flow in moved.result["statistics"]}
    if moved.in_tunnels("lma-s1", STAY, outbound=True):
        assert counted[STAY]["paths"] == []
        return
    (path,) = counted[STAY]["paths"]
    assert (path["mags"], path["access"]) == ([str(MAG1)], ["wlan"])
    # The last report is up to a second old.
    assert len(moved.sent(STAY)) / 2 < path["packets"] <= len(moved.sent(STAY))
    assert path["octets"] > path["packets"] * 200


@pytest.mark.parametrize("mode", MODES)
def test_without_a_controller_the_lmas_tunnels_carry_what_moves_until_it_is_back(
    kernel: Kernel, tmp_path: Path, mode: str
) -> None:
    found = course(kernel, tmp_path, "away", data_plane=mode, fallback="tunnel")
    assert found.result["first"]["ok"] is True
    assert found.result["during"]["state"] == "unreachable"
    assert found.result["after"]["state"] == "synchronized"
    assert found.result["after"]["in_tunnels"] == 0
    assert found.result["second"]["ok"] is True
    got = found.received(A)
    assert got["wlan"] | got["cell"] == found.sent(A)
    assert len(got["cell"]) > 50
    assert found.received(STAY) == {"wlan": found.sent(STAY), "cell": set()}
    fallen = found.in_tunnels("mag2-s4", A, outbound=False)
    assert 0 in {d.flow_label for d in fallen}, "no rule of the controller's is for these"
    if mode == "sdn-core":
        assert len(fallen) < len(got["cell"]), "the controller is back, and the tunnel is left"
        assert not found.in_tunnels("lma-s1", STAY, outbound=True), "this one never fell back"
    else:
        assert {d.flow_label for d in fallen} != {0}, "the controller is back: it knows the flow"


@pytest.mark.parametrize("mode", MODES)
def test_without_a_controller_moves_are_refused_and_flows_go_on(
    kernel: Kernel, tmp_path: Path, mode: str
) -> None:
    found = course(kernel, tmp_path, "away", data_plane=mode, fallback="refuse")
    assert found.result["first"]["ok"] is False
    assert "the controller is unreachable" in found.result["first"]["error"]
    assert found.result["after"]["state"] == "synchronized"
    assert found.result["second"]["ok"] is True
    got = found.received(A)
    assert got["wlan"] | got["cell"] == found.sent(A)
    assert got["cell"]
    assert found.received(STAY) == {"wlan": found.sent(STAY), "cell": set()}


@pytest.mark.parametrize("mode", MODES)
def test_orders_that_are_overtaken_or_lost_leave_no_packet_behind(
    kernel: Kernel, tmp_path: Path, mode: str
) -> None:
    found = course(kernel, tmp_path, "troubled", data_plane=mode)
    overtaken, newer, lost, removed, removal = found.result["answers"]
    assert "newer move" in overtaken["error"]
    assert "the controller is unreachable" in lost["error"]
    assert "removed" in removed["error"]
    assert newer["ok"]
    assert removal["ok"]
    state = found.result["controller"]
    assert (state["state"], state["waiting"], state["refused"]) == ("synchronized", 0, [])
    assert found.result["flows"] == [[A, ["wlan"]]]
    for flow in (A, STAY):
        got = found.received(flow)
        assert got["wlan"] | got["cell"] == found.sent(flow)
        assert max(found.sent(flow)) in got["wlan"]
