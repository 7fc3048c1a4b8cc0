"""Signalling as the captures of a run have it, and what of it belongs to a move.

Between LMA and MAGs: Mobility Headers, at the LMA. On an access link: the attachment messages of
layer-2 signalling, at the MN. What an attachment cost that was there before the move isn't counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv6Address
from typing import NamedTuple

from experiments.analysis.floor import mag_of
from experiments.analysis.moves import MoveRecord
from experiments.captures import pcapng
from experiments.captures.frames import ETHERNET_BYTES, IPV6_BYTES, NEXT_HEADER_MOBILITY, ticks
from experiments.declaration.spec import RunSpec
from nodes.ipsec.esp import EspKeys
from nodes.wire.attachment import ETHERTYPE, FIRST_OCTET, AttachmentType
from nodes.wire.fragments import Reassembly
from nodes.wire.values import MobilityHeaderType
from topologies.model import Role

ETHERTYPE_IPV6 = 0x86DD
UPDATE_NOTIFICATION = int(MobilityHeaderType.UPDATE_NOTIFICATION)
UPDATE_NOTIFICATION_ACK = int(MobilityHeaderType.UPDATE_NOTIFICATION_ACKNOWLEDGEMENT)
BINDING_UPDATE = int(MobilityHeaderType.BINDING_UPDATE)
BINDING_ACK = int(MobilityHeaderType.BINDING_ACKNOWLEDGEMENT)
LEAST_OCTETS = 8


class ControlMessage(NamedTuple):
    """A Mobility Header message at the LMA: `bytes` is the IPv6 packet, or all its fragments, with
    ESP if it is in ESP; `peer` the other end, `sequence` that of a UPN or UPA (RFC 7077 section 4),
    -1 for other types."""

    tick: int
    type: int
    sequence: int
    bytes: int
    outbound: bool
    peer: IPv6Address


class AttachmentFrame(NamedTuple):
    """An attachment message at the MN: `bytes` is what is in the Ethernet frame."""

    tick: int
    type: int
    bytes: int
    interface: str


class Signalling(NamedTuple):
    """In order of time."""

    control: list[ControlMessage]
    attachments: list[AttachmentFrame]


def read_signalling(
    data: bytes, start_ns: int, source: str = "control", keys: EspKeys | None = None
) -> Signalling:
    """What `control.pcapng` has; of what is in ESP, that which `keys` open. Raises PcapngError."""
    found, reassembly = Signalling([], []), Reassembly()
    for packet in pcapng.packets_of(data, source):
        ethertype = int.from_bytes(packet.data[12:ETHERNET_BYTES], "big")
        payload = packet.data[ETHERNET_BYTES:]
        tick = int(ticks(packet.timestamp_ns, start_ns))
        size = packet.original_length - ETHERNET_BYTES
        if ethertype == ETHERTYPE and len(payload) >= LEAST_OCTETS and payload[0] == FIRST_OCTET:
            found.attachments.append(AttachmentFrame(tick, payload[2], size, packet.interface))
        elif ethertype == ETHERTYPE_IPV6:
            whole = reassembly.add(payload, size)
            if whole is None:
                continue
            inner = whole.packet if keys is None else keys.reveal(whole.packet)
            if len(inner) >= IPV6_BYTES + LEAST_OCTETS and inner[6] == NEXT_HEADER_MOBILITY:
                found.control.append(_control(tick, inner, whole.octets, bool(packet.outbound)))
    found.control.sort(key=lambda message: message.tick)
    found.attachments.sort(key=lambda message: message.tick)
    return found


def _control(tick: int, packet: bytes, size: int, outbound: bool) -> ControlMessage:
    kind = packet[IPV6_BYTES + 2]
    numbered = kind in (UPDATE_NOTIFICATION, UPDATE_NOTIFICATION_ACK)
    sequence = int.from_bytes(packet[IPV6_BYTES + 6 : IPV6_BYTES + 8], "big") if numbered else -1
    peer = IPv6Address(packet[24:40] if outbound else packet[8:24])
    return ControlMessage(tick, kind, sequence, size, outbound, peer)


class MoveSignalling(NamedTuple):
    """What a move caused between LMA and MAG, and on the access link that the flow moves to."""

    control: list[ControlMessage]
    attachments: list[AttachmentFrame]

    def columns(self) -> dict[str, int]:
        return {
            "signalling_messages": len(self.control),
            "signalling_bytes": _octets(self.control),
            "access_signalling_messages": len(self.attachments),
            "access_signalling_bytes": _octets(self.attachments),
        }

    def control_bytes(self, kind: int, absent: int) -> int:
        """Length of the last IPv6 packet with a message of this type; `absent` if there is none."""
        return {message.type: message.bytes for message in self.control}.get(kind, absent)

    def request_bytes(self, absent: int) -> int:
        sizes = {frame.type: frame.bytes for frame in self.attachments}
        return sizes.get(AttachmentType.ATTACHMENT_REQUEST, absent)


def _octets(messages: Sequence[ControlMessage | AttachmentFrame]) -> int:
    return sum(message.bytes for message in messages)


def signalling_of(
    record: MoveRecord, spec: RunSpec, signalling: Signalling, end: int
) -> MoveSignalling:
    """For a move that attaches the MN to its target: the attachment, from the order (which MN and
    LMA get at one instant) to the answer that the MN gets, with what LMA and MAG say to one another
    for it, `end` (a tick) at the latest. For others: Update Notifications of the move, and their
    acknowledgements."""
    if not record.attaches:
        decision = record.planned if record.decision is None else record.decision
        notifications = [
            message
            for message in signalling.control
            if message.sequence in record.sequences
            and message.type in (UPDATE_NOTIFICATION, UPDATE_NOTIFICATION_ACK)
            and message.tick >= decision
        ]
        return MoveSignalling(notifications, [])
    interface = spec.topology.access_link(record.move.to).interface(
        spec.topology.node_with_role(Role.MN)
    )
    frames = [
        frame
        for frame in signalling.attachments
        if frame.interface == interface and record.planned <= frame.tick <= end
    ]
    answers = [f.tick for f in frames if f.type == AttachmentType.ATTACHMENT_ANSWER]
    until = min(answers, default=end)
    mag = spec.topology.nodes[mag_of(spec.topology, record.move.to)].address
    registration = [
        message
        for message in signalling.control
        if message.type in (BINDING_UPDATE, BINDING_ACK)
        and message.peer == mag
        and record.planned <= message.tick <= until
    ]
    return MoveSignalling(registration, [frame for frame in frames if frame.tick <= until])
