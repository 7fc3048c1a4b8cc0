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
        for interface in ("mn-wlan", "mn-cell"):
            counts = wire.marks(self.at(interface, outbound=False), flow)
            assert all(count == 1 for count in counts.values())
            found[interface] = set(counts)
        return found


def course(kernel: Kernel, folder: Path, check: str, **arguments: Any) -> Course:
    put_job(folder, make_job(network="switched"))
    return Course(folder, carry_out_check(kernel, folder, f"path_checks.{check}", **arguments))


@pytest.fixture(scope="module")
def native(kernel: Kernel, tmp_path_factory: pytest.TempPathFactory) -> Course:
    return course(kernel, tmp_path_factory.mktemp("native"), "move", mode="sdn-core")


@pytest.fixture(scope="module")
def assisted(kernel: Kernel, tmp_path_factory: pytest.TempPathFactory) -> Course:
    return course(kernel, tmp_path_factory.mktemp("assisted"), "move", mode="sdn-assisted")


@pytest.fixture(params=["native", "assisted"])
def moved(request: pytest.FixtureRequest) -> Course:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Course)
    return found


def test_moves_there_and_back_lose_and_double_nothing(moved: Course) -> None:
    assert [answer["ok"] for answer in moved.result["answers"]] == [True, True]
    assert moved.result["controller"]["state"] == "synchronized"
    got = moved.received(A)
    assert got["mn-wlan"] | got["mn-cell"] == moved.sent(A)
    assert not got["mn-wlan"] & got["mn-cell"]
    assert len(got["mn-cell"]) > 50
    stays = moved.received(STAY)
    assert (stays["mn-wlan"], stays["mn-cell"]) == (moved.sent(STAY), set())


def test_uplink_arrives_too(moved: Course) -> None:
    arrived = moved.at("cn-lma", outbound=False)
    for flow in (A, STAY):
        left = set()
        for interface in ("mn-wlan", "mn-cell"):
            left |= set(wire.marks(moved.at(interface, outbound=True), flow))
        assert set(wire.marks(arrived, flow)) == left


def test_the_label_that_the_sender_gave_arrives_rfc6437_3(moved: Course) -> None:
    sent = {d.mark: d.flow_label for d in moved.at("cn-lma", outbound=True) if d.mark is not None}
    assert all(sent.values())
    for interface in ("mn-wlan", "mn-cell"):
        for datagram in moved.at(interface, outbound=False):
            if datagram.mark is not None:
                assert datagram.flow_label == sent[datagram.mark]


def test_in_the_core_nothing_is_in_a_tunnel(native: Course) -> None:
    for interface in ("lma-s1", "mag1-s2", "mag2-s3"):
        for outbound in (True, False):
            kinds = {d.next_header for d in native.at(interface, outbound=outbound)}
            assert wire.IPV6_IN_IPV6 not in kinds
            assert wire.UDP in kinds


def test_a_flow_stays_in_its_anchors_tunnel_and_a_switch_changes_its_end(assisted: Course) -> None:
    tunnels = [d for d in assisted.at("lma-s1", outbound=True) if d.inner is not None]
    labels: dict[int, set[int]] = {A: set(), STAY: set()}
    for datagram in tunnels:
        mark = datagram.innermost.mark
        if mark is not None:
            assert (datagram.source, datagram.destination) == (LMA, MAG1)
            labels[mark[0]].add(datagram.flow_label)
    assert all(len(found) == 1 for found in labels.values())
    assert labels[A] != labels[STAY]
    assert 0 not in labels[A] | labels[STAY]
    arrived = [d for d in assisted.at("mag2-s3", outbound=False) if d.inner is not None]
    assert {(d.source, d.destination) for d in arrived} == {(LMA, MAG2)}
    assert set(wire.marks(arrived, A)) == assisted.received(A)["mn-cell"]


@pytest.mark.parametrize("mode", ["sdn-core", "sdn-assisted"])
def test_without_a_controller_the_lmas_tunnels_carry_what_moves(
    kernel: Kernel, tmp_path: Path, mode: str
) -> None:
    found = course(kernel, tmp_path, "away", mode=mode)
    assert found.result["answers"][0]["ok"] is True
    assert found.result["controller"]["state"] == "unreachable"
    got = found.received(A)
    assert got["mn-wlan"] | got["mn-cell"] == found.sent(A)
    assert not got["mn-wlan"] & got["mn-cell"]
    fallen = [d for d in found.at("mag2-s3", outbound=False) if d.inner is not None]
    assert set(wire.marks(fallen, A)) == got["mn-cell"]
    assert {d.flow_label for d in fallen if d.innermost.mark is not None} == {0}
    # What hasn't moved goes on as it did.
    stays = [d for d in found.at("mag1-s2", outbound=False) if d.innermost.mark is not None]
    late = [d for d in stays if d.innermost.mark is not None and d.innermost.mark[0] == STAY]
    native = {d.inner is None for d in late}
    assert native == {mode == "sdn-core"}
    assert found.received(STAY)["mn-wlan"] == found.sent(STAY)
