"""Nodes die at every step, links flap and break, signalling is disturbed, clocks are wrong: judged
by captured packets and by what LMA, MAGs and kernels have in the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from experiments.engines.kernel_cache import Kernel
from tests.system import wire
from tests.system.guests import carry_out_check, make_job, put_job

MAG1, MAG2 = "2001:db8:11::1", "2001:db8:12::1"
FLOW_A, STAY = 1, 2
INTERVAL_MS = 60.0
# As in RFC 5213 section 8.9, and the types of messages.
TIMESTAMP_MISMATCH, LOWER_THAN_BEFORE = 156, 157
PBU, PBA = 5, 6
# Until packets flow again: what a MAG waits for its PBUs, and the node for an advertisement.
SETTLED_S, HEALED_S = 2.0, 35.0


class Course:
    """A course of tests.system.guest_checks.fault_checks, and what it left on the wires."""

    def __init__(
        self, kernel: Kernel, folder: Path, check: str, until_s: float, **arguments: Any
    ) -> None:
        flow = {"until_s": until_s, "interval_ms": INTERVAL_MS}
        flows = dict.fromkeys(("a", "stay"), flow)
        attached = [{"access": "wlan", "at_s": 1.0}, {"access": "cell", "at_s": 2.0}]
        document = {
            "attachments": attached,
            "moves": [],
            "duration_s": until_s + 1.0,
            "flows": flows,
            **arguments.pop("document", {}),
        }
        put_job(folder, make_job(document))
        self.folder = folder
        self.found: dict[str, Any] = carry_out_check(
            kernel, folder, f"fault_checks.{check}", **arguments
        )

    def _marks(self, interface: str, flow: int, *, outbound: bool) -> dict[int, float]:
        """The packets of a flow that passed an interface, with their instants in s of the run."""
        return {
            datagram.innermost.mark[1]: (datagram.time_ns - self.found["start_ns"]) / 1e9
            for datagram in wire.read(self.folder / "wire" / f"{interface}.pcapng")
            if datagram.outbound is outbound
            and datagram.innermost.mark is not None
            and datagram.innermost.mark[0] == flow
        }

    def lost(self, flow: int) -> list[float]:
        """When the CN sent what didn't arrive at the MN, but for the last second."""
        sent = self._marks("cn-lma", flow, outbound=True)
        got = {
            number
            for access in ("wlan", "cell")
            for number in self._marks(f"mn-{access}", flow, outbound=False)
        }
        end_s = self.found["end_s"] - 1.0
        return sorted(at for number, at in sent.items() if number not in got and at < end_s)

    def over(self, access: str, flow: int) -> list[float]:
        return sorted(self._marks(f"mn-{access}", flow, outbound=False).values())

    def assert_agreed(self, place: str = "cell") -> None:
        """Both accesses are registered, flow `a` is at `place`, and the kernels say the same."""
        found = self.found
        bindings = {b["access"]: b for b in found["bindings"]}
        assert len(found["bindings"]) == 2
        assert {a: (b["state"], b["proxy_coa"]) for a, b in bindings.items()} == {
            "wlan": ("registered", MAG1),
            "cell": ("registered", MAG2),
        }
        rows = {flow["fid"]: flow for flow in found["flows"]}
        assert [rows[FLOW_A]["access"], rows[STAY]["access"]] == [[place], ["wlan"]]
        assert all(row["active"] for row in rows.values())
        (home,), (other,) = bindings["wlan"]["prefixes"], bindings["cell"]["prefixes"]
        lent = [home] if place == "cell" else []
        assert bindings["cell"]["flow_mobility_prefixes"] == lent
        lma, mag1, mag2 = (found["kernels"][node] for node in ("lma", "mag1", "mag2"))
        assert lma["links"].count("remote 2001:db8:") == 2
        assert sum(line.startswith(("2001:db8:100:", "blackhole")) for line in _lines(lma)) == 2
        assert sum(f"{prefix} dev mag" in lma["routes"] for prefix in (home, other)) == 2
        assert lma["nftables"].count("2001:db8:100:") >= 2
        for mag, prefixes in ((mag1, {home}), (mag2, {other, *lent})):
            routed = {line.split()[0] for line in _lines(mag) if "table 1100" in line}
            assert routed == prefixes
            uplink = [line for line in mag["rules"].splitlines() if "lookup 1000" in line]
            assert len(uplink) == len(prefixes)


def _lines(kernel: dict[str, str]) -> list[str]:
    return kernel["routes"].splitlines()


@pytest.mark.parametrize(("what", "lives"), [("move", 24), ("attach", 30)])
def test_an_lma_that_dies_before_any_of_its_actions_loses_no_packet(
    kernel: Kernel, tmp_path: Path, what: str, lives: int
) -> None:
    """Whether it starts, moves a flow, or a node leaves and comes: the lives go beyond the last of
    its actions, so that each was the one before which it died."""
    course = Course(
        kernel, tmp_path, "dies_at_every_step", 60.0, node="lma", what=what, lives=lives
    )
    died = course.found["died"]
    assert died[:10] == [True] * 10
    assert not all(died)
    course.assert_agreed()
    assert course.lost(STAY) == []
    if what == "move":
        assert course.lost(FLOW_A) == []


@pytest.mark.parametrize(("what", "lives"), [("move", 20), ("attach", 30)])
def test_a_mag_that_dies_before_any_of_its_actions_is_as_it_was_in_the_end(
    kernel: Kernel, tmp_path: Path, what: str, lives: int
) -> None:
    course = Course(
        kernel, tmp_path, "dies_at_every_step", 60.0, node="mag2", what=what, lives=lives
    )
    died = course.found["died"]
    assert died[:8] == [True] * 8
    assert not all(died)
    course.assert_agreed()
    assert course.lost(STAY) == []
    if what == "move":
        assert course.lost(FLOW_A) == []


@pytest.mark.parametrize("accesses", [["wlan"], ["cell"], ["wlan", "cell"]])
def test_an_access_that_flaps_at_10_hz_is_there_when_it_has_calmed_down(
    kernel: Kernel, tmp_path: Path, accesses: list[str]
) -> None:
    """RFC 6275 section 12: requests keep to MAX_UPDATE_RATE, three a second and access."""
    course = Course(kernel, tmp_path, "flaps", 19.0, accesses=accesses)
    course.assert_agreed()
    for mag in ("mag1", "mag2"):
        sent = sorted(
            datagram.time_ns / 1e9
            for datagram in wire.read(tmp_path / "wire" / f"core-{mag}.pcapng")
            if datagram.next_header == wire.MOBILITY and datagram.payload[2] == PBU
        )
        assert all(
            later - first >= 1.0 - 1e-6 for first, later in zip(sent, sent[3:], strict=False)
        )
    for flow in (FLOW_A, STAY):
        assert not [at for at in course.lost(flow) if not 4.9 < at < 8.0 + SETTLED_S]
    if accesses == ["cell"]:
        assert course.lost(STAY) == []


@pytest.mark.parametrize("seconds", [5.0, 20.0, 330.0])
def test_a_partition_of_lma_and_mag_heals(kernel: Kernel, tmp_path: Path, seconds: float) -> None:
    """For seconds nobody notices; after minutes both have given each other up (RFC 5847 section
    3.1), flows are on the other access, and the MAG's repeated PBUs bring the binding back."""
    until_s = 5.0 + seconds + 40.0
    interval = 60.0 if seconds < 100 else 500.0
    flows = {name: {"interval_ms": interval, "until_s": until_s} for name in ("a", "stay")}
    course = Course(
        kernel, tmp_path, "partitioned", until_s, seconds=seconds, document={"flows": flows}
    )
    during = {b["access"]: b["state"] for b in course.found["during"]["bindings"]}
    if seconds < 100:
        assert during == {"wlan": "registered", "cell": "registered"}
        course.assert_agreed()
    else:
        assert during == {"wlan": "registered"}, "deleted MinDelayBeforeBCEDelete after it failed"
    assert course.lost(STAY) == []
    assert not [at for at in course.lost(FLOW_A) if at > 5.0 + seconds + HEALED_S]
    assert {b["access"] for b in course.found["bindings"]} == {"wlan", "cell"}


@pytest.mark.parametrize("how", ["delayed", "duplicated", "reordered", "corrupted", "lost"])
def test_signalling_that_is_disturbed_ends_in_agreement(
    kernel: Kernel, tmp_path: Path, how: str
) -> None:
    """Each order is answered, once; when the paths are as they were, all agree."""
    course = Course(kernel, tmp_path, "disturbed", 90.0, how=how)
    answers = course.found["answers"]
    assert len(answers) == 11
    assert answers[-1]["ok"]
    if how in ("delayed", "duplicated", "reordered"):
        assert all(answer["ok"] for answer in answers)
    course.assert_agreed()
    end_s = course.found["end_s"]
    assert not [at for at in course.lost(FLOW_A) + course.lost(STAY) if at > end_s - 15.0]


@pytest.mark.parametrize(("hours", "status"), [(-5, LOWER_THAN_BEFORE), (5, TIMESTAMP_MISMATCH)])
def test_a_mag_whose_clock_is_wrong_by_hours_is_refused_until_it_is_right_rfc5213_5_5(
    kernel: Kernel, tmp_path: Path, hours: int, status: int
) -> None:
    """The other access has all flows meanwhile. The MAG isn't trusted about when it is: its binding
    ends, and the right time brings it back."""
    course = Course(kernel, tmp_path, "wrong_clock", 40.0, seconds=hours * 3600)
    statuses = {
        datagram.payload[6]
        for datagram in wire.read(tmp_path / "wire" / "core-mag2.pcapng")
        if datagram.next_header == wire.MOBILITY
        and datagram.payload[2] == PBA
        and 5.0 < (datagram.time_ns - course.found["start_ns"]) / 1e9 < 20.0
    }
    assert statuses == {status}
    during = {b["access"]: b["state"] for b in course.found["during"]["bindings"]}
    assert during == {"wlan": "registered"}
    assert {b["access"] for b in course.found["bindings"]} == {"wlan", "cell"}
    assert course.lost(STAY) == []
    assert not [at for at in course.lost(FLOW_A) if at > 20.0]


@pytest.mark.parametrize("seconds", [1.0, 4.0])
def test_both_accesses_are_lost_and_come_back(
    kernel: Kernel, tmp_path: Path, seconds: float
) -> None:
    """Within MinDelayBeforeBCEDelete sessions, prefixes and flows are kept (RFC 5213 5.3.5)."""
    course = Course(kernel, tmp_path, "both_lost", 19.0, seconds=seconds)
    course.assert_agreed()
    for flow in (FLOW_A, STAY):
        lost = course.lost(flow)
        assert lost
        assert max(lost) < 5.0 + seconds + SETTLED_S


def test_moves_to_an_access_that_is_just_being_lost(kernel: Kernel, tmp_path: Path) -> None:
    """From the same instant to 36 ms later, the signalling of a move being over after 40: each
    order is answered, and the flow is never without a path for longer than that."""
    course = Course(kernel, tmp_path, "target_detaches", 50.0)
    assert len(course.found["answers"]) == 10
    course.assert_agreed("wlan")
    assert course.lost(STAY) == []
    for number in range(10):
        start_s = 4.0 + 3.0 * number
        lost = [at for at in course.lost(FLOW_A) if start_s - 0.5 <= at < start_s + 2.5]
        assert not lost or max(lost) - min(lost) < 0.2
