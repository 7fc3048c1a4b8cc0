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
