"""Not from an RFC: messages in the TCP streams of a controller, and those that a move caused."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from controllers.rules import Cookie, CookieKind
from experiments.analysis.controller_messages import (
    BARRIER_REPLY,
    BARRIER_REQUEST,
    FLOW_MOD,
    Caused,
    ControllerMessages,
    OpenFlowMessage,
    caused_by,
    read_controller_messages,
)
from experiments.analysis.moves import plan
from experiments.captures.pcapng import PcapngWriter
from experiments.declaration.experiment import TOPOLOGIES
from nodes.strict import read_toml
from tests.experiments.synthetic import START_NS, ethernet, ipv6, run_spec

SPEC = run_spec(topology=read_toml(TOPOLOGIES / "sdn.toml"), protocol={"data_plane": "sdn-core"})
INTERFACES = ["controller-lma", "controller-s1", "controller-s4", "mn-wlan"]
ECHO = 2
HOST = bytes(16)


def openflow(kind: int, xid: int, body: bytes = b"") -> bytes:
    return struct.pack("!BBHI", 4, kind, 8 + len(body), xid) + body


def flow_mod(xid: int, key: int, size: int = 80) -> bytes:
    cookie = Cookie(CookieKind.FLOW, key).encode()
    return openflow(FLOW_MOD, xid, cookie.to_bytes(8, "big").ljust(size, b"\0"))


def line(**content: Any) -> bytes:
    return json.dumps(content).encode() + b"\n"


class Wire:
    """`send` makes a segment at an instant in ms, which follows those before."""

    def __init__(self) -> None:
        self.segments: list[tuple[float, str, bool, int, bytes, int]] = []
        self._next: dict[tuple[str, bool], int] = {}

    def send(
        self,
        at_ms: float,
        interface: str,
        outbound: bool,
        octets: bytes,
        *,
        captured: int | None = None,
    ) -> None:
        sequence = self._next.setdefault((interface, outbound), 2**32 - 20)
        self._next[interface, outbound] = (sequence + len(octets)) % 2**32
        whole = len(octets) if captured is None else captured
        self.segments.append((at_ms, interface, outbound, sequence, octets, whole))

    def read(self, folder: Path) -> ControllerMessages:
        path = folder / "control.pcapng"
        with path.open("wb") as file:
            writer = PcapngWriter(file, INTERFACES)
            for at_ms, interface, outbound, sequence, octets, captured in self.segments:
                head = struct.pack("!HHIIBBHHH", 6653, 40000, sequence, 0, 5 << 4, 0x18, 0, 0, 0)
                frame = ethernet(ipv6(6, HOST, HOST, head + octets))
                shown = frame[: len(frame) - len(octets) + captured]
                at = START_NS + round(at_ms * 1e6)
                writer.packet(INTERFACES.index(interface), at, shown, len(frame), outbound)
        return read_controller_messages(path.read_bytes(), SPEC.topology, START_NS)


def test_messages_of_one_segment_and_one_of_two(tmp_path: Path) -> None:
    wire = Wire()
    both = flow_mod(7, 1) + openflow(BARRIER_REQUEST, 7)
    wire.send(10, "controller-s4", True, both[:50])
    wire.send(11, "controller-s4", True, both[50:])
    wire.send(12, "controller-s4", True, b"")  # an acknowledgement
    wire.send(15, "controller-s4", False, openflow(BARRIER_REPLY, 7))
    wire.send(15, "mn-wlan", False, openflow(BARRIER_REPLY, 7))  # another's
    found = wire.read(tmp_path)
    assert found.openflow == [
        OpenFlowMessage(1100, "s4", True, FLOW_MOD, 7, Cookie(CookieKind.FLOW, 1)),
        OpenFlowMessage(1100, "s4", True, BARRIER_REQUEST, 7, None),
        OpenFlowMessage(1500, "s4", False, BARRIER_REPLY, 7, None),
    ]
    assert not found.northbound


def test_a_segment_that_comes_twice_counts_once(tmp_path: Path) -> None:
    wire = Wire()
    wire.send(10, "controller-s1", True, openflow(ECHO, 1))
    wire.segments.append((30, *wire.segments[0][1:]))
    wire.send(20, "controller-s1", True, openflow(ECHO, 2))
    assert [(m.tick, m.xid) for m in wire.read(tmp_path).openflow] == [(1000, 1), (2000, 2)]


def test_a_long_message_needn_t_be_there_whole(tmp_path: Path) -> None:
    wire = Wire()
    statistics = openflow(19, 1, bytes(4000))
    wire.send(10, "controller-s1", False, statistics, captured=1000)
    wire.send(11, "controller-s1", False, openflow(ECHO, 2))
    # Here the second message's head is missing; the next segment has one again.
    wire.send(12, "controller-s1", False, statistics + openflow(ECHO, 3), captured=1000)
    wire.send(13, "controller-s1", False, openflow(ECHO, 4))
    assert [m.xid for m in wire.read(tmp_path).openflow] == [1, 2, 1, 4]
    wire = Wire()
    wire.send(10, "controller-lma", False, line(op="sync", id=1, flows=[]), captured=5)
    wire.send(11, "controller-lma", False, line(op="attach", id=2))
    first, second = wire.read(tmp_path).northbound
    assert (first.tick, first.content, first.outbound) == (1000, {}, False)
    assert (second.tick, second.content["op"]) == (1100, "attach")


def move_on_the_wire(key: int, at_ms: float) -> Wire:
    wire = Wire()
    flows = {"key": 3, "fid": 2}, {"key": key, "fid": 1}
    for number, flow in enumerate(flows, start=1):
        wire.send(number, "controller-lma", False, line(op="add-flow", id=number, flow=flow))
        wire.send(number + 0.5, "controller-lma", True, line(id=number, ok=True))
    wire.send(at_ms, "controller-lma", False, line(op="move-flows", id=9, paths=[{"key": key}]))
    wire.send(at_ms, "controller-s4", True, flow_mod(50, key) + openflow(BARRIER_REQUEST, 50))
    wire.send(at_ms, "controller-s1", True, openflow(BARRIER_REQUEST, 51))  # nothing changes
    wire.send(at_ms + 1, "controller-s1", True, flow_mod(52, 3) + openflow(BARRIER_REQUEST, 52))
    wire.send(at_ms + 1, "controller-s1", False, openflow(ECHO, 7))
    for name, xid in (("s1", 51), ("s1", 52), ("s4", 50)):
        wire.send(at_ms + 2, f"controller-{name}", False, openflow(BARRIER_REPLY, xid))
    wire.send(at_ms + 3, "controller-lma", True, line(id=9, ok=True))
    wire.send(at_ms + 4, "controller-lma", True, line(event="statistics", flows=[]))
    # Another's barrier, when this move is over; and after a time the rule that isn't needed.
    wire.send(at_ms + 500, "controller-s1", True, openflow(BARRIER_REQUEST, 60))
    wire.send(at_ms + 1000, "controller-s1", True, flow_mod(61, key))
    wire.send(at_ms + 1000, "controller-s1", True, openflow(BARRIER_REQUEST, 61))
    return wire


@pytest.mark.parametrize("key", [1, 0xFFFF_FFFF])
def test_what_a_move_caused(tmp_path: Path, key: int) -> None:
    wire = move_on_the_wire(key, 12_010)
    messages = wire.read(tmp_path)
    record, other = plan(SPEC, [12.003, 20.003])
    record.decision = 1_200_300
    assert caused_by(record, SPEC, messages, 2_000_000) == Caused(2, 2, 2 + 2 + 2 + 1)
    assert caused_by(record, SPEC, messages, 1_230_000) == Caused(2, 1, 1 + 2 + 2)
    assert caused_by(other, SPEC, messages, 3_000_000) == Caused(0, 0, 0)


def test_without_a_redirection_there_is_nothing(tmp_path: Path) -> None:
    record, _ = plan(SPEC, [12.003, 20.003])
    assert caused_by(record, SPEC, Wire().read(tmp_path), 2_000_000) == Caused(0, 0, 0)
