"""What a controller said to switches and LMA, from the capture of its links, and what of it belongs
to a move.

Both sides write whole messages, but TCP may cut and join them in any way, and a long segment isn't
captured whole. So octets are put where their sequence numbers say, and a message is read if its
head is there.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from controllers.rules import Cookie, CookieKind
from experiments.analysis.moves import MoveRecord
from experiments.captures import pcapng
from experiments.captures.frames import ETHERNET_BYTES, IPV6_BYTES, NEXT_HEADER_TCP, ticks
from experiments.declaration.spec import RunSpec
from experiments.emulation.traffic import flow_ids
from topologies.model import Role, Topology
from topologies.plan import other_end

VERSION = 4  # OpenFlow 1.3
HEADER_BYTES = 8
ERROR, FLOW_MOD, BARRIER_REQUEST, BARRIER_REPLY = 1, 14, 20, 21
TCP_SYN = 0x02
MODULUS = 1 << 32
WINDOW = 1 << 22  # a receiver that runs here offers less


class OpenFlowMessage(NamedTuple):
    """`cookie` is that of a FlowMod; None for other messages."""

    tick: int
    switch: str
    outbound: bool
    type: int
    xid: int
    cookie: Cookie | None


class NorthboundMessage(NamedTuple):
    """`content` is empty where the message wasn't captured whole."""

    tick: int
    outbound: bool
    content: dict[str, Any]


class ControllerMessages(NamedTuple):
    """In order of time."""

    openflow: list[OpenFlowMessage]
    northbound: list[NorthboundMessage]


class _Segment(NamedTuple):
    tick: int
    sequence: int
    octets: bytes
    length: int


class _Stream:
    """One direction of a connection: octets by their place, and when each came by first."""

    def __init__(self, segments: list[_Segment]) -> None:
        base = segments[0].sequence
        self._pieces: list[tuple[int, int, int]] = []  # start, end, tick
        size = 0
        places = []
        for segment in segments:
            start = (segment.sequence - base) % MODULUS
            # What is farther ahead is not of this stream; and memory is taken for what is between.
            if start <= size + WINDOW:
                places.append((start, segment.octets))
                self._pieces.append((start, start + segment.length, segment.tick))
                size = max(size, start + segment.length)
        self.data, self._known = bytearray(size), bytearray(size)
        for start, octets in places:
            end = start + len(octets)
            self.data[start:end] = octets
            self._known[start:end] = b"\1" * len(octets)

    def has(self, start: int, end: int) -> bool:
        return end <= len(self.data) and all(self._known[start:end])

    def with_line_ends(self) -> bytes:
        """With a line's end where the end of a segment is missing, as one is there if the segment
        is long because of a long line."""
        data = bytearray(self.data)
        for _, end, _ in self._pieces:
            if not self._known[end - 1]:
                data[end - 1 : end] = b"\n"
        return bytes(data)

    def tick(self, position: int) -> int:
        """When the octet there came by."""
        return min(tick for start, end, tick in self._pieces if start <= position < end)

    def next_segment(self, position: int) -> int:
        """Where the first segment behind `position` begins; the stream's end if there is none."""
        later = [start for start, _, _ in self._pieces if start > position]
        return min(later, default=len(self.data))


def read_controller_messages(
    data: bytes, topology: Topology, start_ns: int, source: str = "control"
) -> ControllerMessages:
    """What `control.pcapng` has. Raises PcapngError."""
    peers = _peers(topology)
    streams: dict[tuple[str, bool, bytes], list[_Segment]] = defaultdict(list)
    for packet in pcapng.packets_of(data, source):
        head = ETHERNET_BYTES + IPV6_BYTES
        if packet.interface not in peers or len(packet.data) < head + 20:
            continue
        if packet.data[ETHERNET_BYTES + 6] != NEXT_HEADER_TCP or packet.data[head + 13] & TCP_SYN:
            continue
        begin = head + (packet.data[head + 12] >> 4) * 4
        # That of the packet: a short frame is padded.
        length = int.from_bytes(packet.data[ETHERNET_BYTES + 4 : ETHERNET_BYTES + 6], "big")
        length += head - begin
        if length <= 0:
            continue
        octets = packet.data[begin : begin + length]
        sequence = int.from_bytes(packet.data[head + 4 : head + 8], "big")
        connection = packet.interface, bool(packet.outbound), packet.data[head : head + 4]
        tick = int(ticks(packet.timestamp_ns, start_ns))
        streams[connection].append(_Segment(tick, sequence, octets, length))
    found = ControllerMessages([], [])
    for (interface, outbound, _), segments in streams.items():
        peer, stream = peers[interface], _Stream(segments)
        if topology.has_role(peer, Role.SWITCH):
            found.openflow.extend(_openflow(stream, peer, outbound))
        else:
            found.northbound.extend(_northbound(stream, outbound))
    found.openflow.sort(key=lambda message: message.tick)
    found.northbound.sort(key=lambda message: message.tick)
    return found


def _peers(topology: Topology) -> dict[str, str]:
    """Who is at the other end of each of the controller's interfaces."""
    return {
        link.interface(end): other_end(link, end)
        for link in topology.links.values()
        for end in link.ends
        if topology.has_role(end, Role.CONTROLLER)
    }


def _openflow(stream: _Stream, switch: str, outbound: bool) -> Iterator[OpenFlowMessage]:
    position = 0
    while position < len(stream.data):
        head = stream.data[position : position + HEADER_BYTES]
        length = int.from_bytes(head[2:4], "big")
        whole = stream.has(position, position + HEADER_BYTES)
        if not whole or head[0] != VERSION or length < HEADER_BYTES:
            position = stream.next_segment(position)
            continue
        cookie = None
        body = position + HEADER_BYTES
        if head[1] == FLOW_MOD and stream.has(body, body + 8):
            cookie = Cookie.decode(int.from_bytes(stream.data[body : body + 8], "big"))
        last = min(position + length, len(stream.data)) - 1
        xid = int.from_bytes(head[4:8], "big")
        yield OpenFlowMessage(stream.tick(last), switch, outbound, head[1], xid, cookie)
        position += length


def _northbound(stream: _Stream, outbound: bool) -> Iterator[NorthboundMessage]:
    position = 0
    for line in stream.with_line_ends().split(b"\n")[:-1]:
        end = position + len(line)
        content = _content(line) if stream.has(position, end) else {}
        yield NorthboundMessage(stream.tick(end), outbound, content)
        position = end + 1


def _content(line: bytes) -> dict[str, Any]:
    """Empty for what isn't a message: two lines that were cut and joined may look like one."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


class Caused(NamedTuple):
    """What a move caused: requests and their answers, rules that came, changed or went, and those
    with the barriers after them. Statistics and echoes aren't in it."""

    northbound: int
    rules: int
    openflow: int

    def columns(self) -> dict[str, int]:
        return {
            "northbound_messages": self.northbound,
            "openflow_messages": self.openflow,
            "rules_changed": self.rules,
        }


def caused_by(record: MoveRecord, spec: RunSpec, messages: ControllerMessages, end: int) -> Caused:
    """For the flow of `record`, from its decision until `end` (a tick)."""
    decision = record.planned if record.decision is None else record.decision
    key = _key(flow_ids(spec)[record.move.flow], messages.northbound)
    requests = {
        message.content["id"]: message.tick
        for message in messages.northbound
        if decision <= message.tick < end and key in _keys(message.content)
    }
    answers = [
        message.tick
        for message in messages.northbound
        if message.outbound and message.content.get("id") in requests
    ]
    during = [message for message in messages.openflow if decision <= message.tick < end]
    rules = [
        message
        for message in during
        if message.cookie is not None
        and (message.cookie.kind, message.cookie.key) == (CookieKind.FLOW, key)
    ]
    batches = {(message.switch, message.xid) for message in rules}
    others = {(m.switch, m.xid) for m in during if m.type == FLOW_MOD} - batches
    # A switch whose rules stay as they are has to answer a barrier as well.
    asking = range(min(requests.values(), default=end), max(answers, default=end) + 1)
    closing = [
        message
        for message in during
        if message.type in (BARRIER_REQUEST, BARRIER_REPLY, ERROR)
        and (message.switch, message.xid) not in others
        and ((message.switch, message.xid) in batches or message.tick in asking)
    ]
    return Caused(len(requests) + len(answers), len(rules), len(rules) + len(closing))


def _key(fid: int, messages: Iterable[NorthboundMessage]) -> int:
    """That of the flow with this number, as the LMA told it; -1 if it never did."""
    for message in messages:
        content = message.content
        for flow in (*content.get("flows", ()), content.get("flow")):
            if isinstance(flow, dict) and flow.get("fid") == fid and "op" in content:
                return int(flow["key"])
    return -1


def _keys(content: dict[str, Any]) -> set[int]:
    """The flows that a request is about."""
    match content.get("op"):
        case "move-flows":
            return {path["key"] for path in content["paths"]}
        case "add-flow":
            return {content["flow"]["key"]}
        case "remove-flow":
            return {content["key"]}
    return set()
