"""Both interfaces of a mobile node at one MAG: an FMI names the one that it means (RFC 7864 section
4.2 has the mobile node's name only), and the packets show that the MAG understood."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from experiments.engines.kernel_cache import Kernel
from nodes.wire.tool import decode_capture
from tests.system import wire
from tests.system.guest_checks.two_interfaces_checks import END_S, MOVES
from tests.system.guests import carry_out_check, make_job, put_job

LMA, MAG1 = "2001:db8:10::1", "2001:db8:11::1"
CELL_FLOW = {"kind": "udp", "anchor": "cell", "start": "cell", "until_s": 9.0}
CHANGES: dict[str, Any] = {
    "topology": {"links": {"cell": {"ends": ["mag1", "mn"]}}},
    "protocol": {"prefix_model": "unique", "switch": "on-ack"},
    # `stay` has the prefix of `b`, and goes where that is routed.
    "flows": {"stay": {**CELL_FLOW, "port": 5003}, "b": {**CELL_FLOW, "port": 5002}},
    "moves": [],
}
FLOW_A, STAY, FLOW_B = 1, 2, 3
TECHNOLOGY = {"wlan": 4, "cell": 8}
# From the LMA to the MN, and of that the access alone.
LATENCY_S = {"wlan": 0.012, "cell": 0.035}
ACCESS_S = {"wlan": 0.002, "cell": 0.025}
SPACING_S = 0.020
RTT_S = 0.020


class Course(NamedTuple):
    folder: Path
    start_ns: int
    result: dict[str, Any]

    def downlink(self, flow: int, access: str) -> list[float]:
        """When packets of a flow arrive at the MN over an access, in s of the run."""
        return self._marked(f"mn-{access}", flow, outbound=False)

    def uplink(self, flow: int, access: str) -> list[float]:
        """When the MN sent them; they are seen after the access's delay."""
        seen = self._marked(f"mn-{access}", flow, outbound=True)
        return [at - ACCESS_S[access] for at in seen]

    def _marked(self, interface: str, flow: int, *, outbound: bool) -> list[float]:
        return [
            (packet.time_ns - self.start_ns) / 1e9
            for packet in wire.read(self.folder / "wire" / f"{interface}.pcapng")
            if packet.outbound is outbound and (packet.mark or (0, 0))[0] == flow
        ]


@pytest.fixture(scope="module")
def course(kernel: Kernel, tmp_path_factory: pytest.TempPathFactory) -> Course:
    folder = put_job(tmp_path_factory.mktemp("crossing"), make_job(CHANGES))
    result = carry_out_check(kernel, folder, "two_interfaces_checks.crossing")
    return Course(folder, result["start_ns"], result)


def _between(times: list[float], start: float, end: float) -> list[float]:
    return [at for at in times if start <= at < end]


def test_each_fmi_names_the_interface_that_it_means(course: Course) -> None:
    found = list(decode_capture(course.folder / "wire" / "lma-core.pcapng"))
    updates = [message for message in found if message["message"] == "ProxyBindingUpdate"]
    initiates = [message for message in found if message["message"] == "UpdateNotification"]
    assert {message["source"] for message in updates} == {MAG1}
    identifiers = {
        _option(message, "AccessTechnologyType")["technology"]["value"]: _option(
            message, "MobileNodeLinkLayerIdentifier"
        )["identifier"]
        for message in updates
    }
    assert set(identifiers) == set(TECHNOLOGY.values())
    assert len(set(identifiers.values())) == 2
    # The last one shrinks the set of the interface that the flow leaves: what stays there is on it.
    for message, (access, off_link) in zip(
        initiates, (("cell", True), ("wlan", True), ("cell", False)), strict=True
    ):
        assert (message["source"], message["destination"]) == (LMA, MAG1)
        technology = _option(message, "AccessTechnologyType")["technology"]["value"]
        assert technology == TECHNOLOGY[access]
        identifier = _option(message, "MobileNodeLinkLayerIdentifier")["identifier"]
        assert identifier == identifiers[technology]
        assert _option(message, "HomeNetworkPrefix")["off_link"] is off_link
    answers = [m for m in found if m["message"] == "UpdateNotificationAcknowledgement"]
    assert [answer["status"]["value"] for answer in answers] == [0, 0, 0]
    assert all(answer["ok"] for answer in course.result["answers"])


def _option(message: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [option for option in message["options"] if option["option"] == name]
    return found


@pytest.mark.parametrize("number", range(len(MOVES)), ids=["there", "crossing", "back"])
def test_packets_leave_the_mag_on_the_interface_that_was_named(course: Course, number: int) -> None:
    """Not on its first one, nor on the last that attached: as soon as the MAG has the FMI."""
    name, target, at_s = MOVES[number]
    flow = {"a": FLOW_A, "b": FLOW_B}[name]
    other = "wlan" if target == "cell" else "cell"
    later = [at for flow_name, _, at in MOVES if flow_name == name and at > at_s]
    end = min(later, default=END_S)
    first = _between(course.downlink(flow, target), at_s, end)[0]
    assert at_s + LATENCY_S[target] < first < at_s + LATENCY_S[target] + SPACING_S + 0.001
    # What the MAG had sent before it got the FMI.
    assert not _between(course.downlink(flow, other), at_s + 0.010 + LATENCY_S[other], end)
    # The uplink follows the first packet, or the second if a late one comes over the other
    # interface in between, and the MAG lets it pass there.
    up = _between(course.uplink(flow, target), at_s, end)
    assert first <= up[0] <= first + 2 * SPACING_S + 0.001
    assert not _between(course.uplink(flow, other), up[0], end)
    at_cn = wire.marks(
        wire.at(wire.read(course.folder / "wire" / "cn-lma.pcapng"), "cn-lma", outbound=False), flow
    )
    # Back again: the interface that is left has no use for the prefix any more, and drops what the
    # node still sends there until it knows.
    assert len(at_cn) == (200 if name == "b" else 198)
    assert len(course.downlink(flow, "wlan") + course.downlink(flow, "cell")) == 200


def test_flows_of_a_prefix_stay_together(course: Course) -> None:
    _, _, at_s = MOVES[1]
    assert not _between(course.downlink(STAY, "wlan"), 0, at_s)
    assert not _between(course.downlink(STAY, "cell"), at_s + RTT_S + LATENCY_S["cell"], END_S)
    assert len(course.downlink(STAY, "wlan") + course.downlink(STAY, "cell")) == 200
