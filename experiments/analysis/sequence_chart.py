"""Message sequence charts from captures, as Mermaid text that code hosts draw.

A chart has the mobility signalling as the LMA sends and receives it, neighbour discovery and the
traffic at the mobile node's interfaces. Nothing in it comes from a node's own log.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv6Address
from pathlib import Path
from typing import NamedTuple

from experiments.captures.pcapng import Packet, read_packets
from nodes import neighbour_discovery as nd
from nodes.ipsec.esp import EspKeys
from nodes.wire.attachment import (
    ETHERTYPE,
    AttachmentAnswer,
    AttachmentMessage,
    decode_attachment,
)
from nodes.wire.codec import decode
from nodes.wire.errors import MalformedMessage
from nodes.wire.fragments import Reassembly
from nodes.wire.messages import (
    BindingError,
    BindingRevocationAcknowledgement,
    BindingRevocationIndication,
    HandoffHint,
    Heartbeat,
    Message,
    ProxyBindingAcknowledgement,
    ProxyBindingStatus,
    ProxyBindingUpdate,
    UpdateNotification,
    UpdateNotificationAcknowledgement,
    UpdateNotificationReason,
)
from nodes.wire.mobility_header import NEXT_HEADER as MOBILITY
from nodes.wire.options import FlowIdentification, HandoffIndicator, HomeNetworkPrefix

ETHERNET, IPV6 = 14, 40
TENTH_NS = 100_000
SLACK_NS = 2_000  # by which the beginning of a chart may be late
IPV6_IN_IPV6, UDP, ICMPV6 = 41, 17, 58
HINTS = {
    HandoffHint.NEW_INTERFACE: "new interface",
    HandoffHint.HANDOFF_BETWEEN_INTERFACES: "handoff between interfaces",
    HandoffHint.HANDOFF_BETWEEN_MAGS: "handoff between MAGs",
    HandoffHint.HANDOFF_STATE_UNKNOWN: "unknown",
    HandoffHint.HANDOFF_STATE_NOT_CHANGED: "not changed",
    HandoffHint.NEW_INTERFACE_SHARING_PREFIXES: "new interface, shared prefixes",
}


class Step(NamedTuple):
    """One arrow. `lost`: it was sent, and seen nowhere on its way after that."""

    time_ns: int
    source: str
    destination: str
    text: str
    lost: bool = False


def signalling_steps(
    at_lma: Path,
    beyond: Iterable[Path],
    names: Mapping[IPv6Address, str],
    keys: EspKeys | None = None,
) -> list[Step]:
    """The mobility messages in a capture at the LMA, with those in ESP that `keys` open. `beyond`
    are captures on the way to the MAGs, in which what the LMA sent has to turn up."""
    passed = Counter(
        packet.data[ETHERNET + IPV6 :]
        for path in beyond
        for packet in _revealed(path, keys)
        if packet.outbound and _next_header(packet) == MOBILITY
    )
    steps = []
    initiated: set[int] = set()
    for packet in _revealed(at_lma, keys):
        if _next_header(packet) != MOBILITY:
            continue
        source, destination = _addresses(packet)
        data = packet.data[ETHERNET + IPV6 :]
        lost = bool(packet.outbound) and not passed[data]
        passed[data] -= 1 if packet.outbound and not lost else 0
        try:
            message = decode(data, source, destination)
        except MalformedMessage:
            steps.append(
                Step(packet.timestamp_ns, names[source], names[destination], "malformed", lost)
            )
            continue
        text = _label(message)
        if isinstance(message, UpdateNotification) and text.startswith("FMI"):
            initiated.add(message.sequence)
        if isinstance(message, UpdateNotificationAcknowledgement) and message.sequence in initiated:
            text = "FMA" + text.removeprefix("UPA")  # what an FMI's acknowledgement is called
        steps.append(Step(packet.timestamp_ns, names[source], names[destination], text, lost))
    return steps


def _revealed(path: Path, keys: EspKeys | None) -> Iterator[Packet]:
    reassembly = Reassembly()
    for packet in read_packets(path):
        if _next_header(packet) is None:
            yield packet
        elif whole := reassembly.add(packet.data[ETHERNET:], packet.original_length):
            inner = whole.packet if keys is None else keys.reveal(whole.packet)
            yield packet._replace(data=packet.data[:ETHERNET] + inner)


def access_steps(
    capture: Path,
    mn: str,
    gateway: str,
    flows: Mapping[int, str],
    access: str,
    interface: str | None = None,
) -> list[Step]:
    """Neighbour discovery and layer-2 signalling on an access, and the packets of `flows`, FIDs and
    their names, that arrive there. `interface` is that of the node where the capture has several,
    as a run's control.pcapng."""
    steps = []
    for packet in read_packets(capture):
        if interface is not None and packet.interface != interface:
            continue
        source, destination = (mn, gateway) if packet.outbound else (gateway, mn)
        payload = packet.data[ETHERNET + IPV6 :]
        text = None
        if packet.data[12:ETHERNET] == ETHERTYPE.to_bytes(2, "big"):
            text = _attachment(decode_attachment(packet.data[ETHERNET:]))
        elif _next_header(packet) == ICMPV6:
            text = _discovery(payload, *_addresses(packet))
        elif _next_header(packet) == UDP and payload[8:10] == b"FM" and not packet.outbound:
            (fid,) = struct.unpack_from("!H", payload, 10)
            text = f"{_DATA}{flows[fid]} over {access}" if fid in flows else None
        if text is not None:
            steps.append(Step(packet.timestamp_ns, source, destination, text))
    return steps


_DATA = "first packet of flow "


def first_packets(steps: Iterable[Step]) -> list[Step]:
    """All steps in order of time, but of the packets of each flow only those that come another way
    than the one before."""
    kept, last = [], dict[str, str]()
    for step in sorted(steps):
        if step.text.startswith(_DATA):
            flow, _, way = step.text.partition(" over ")
            if last.get(flow) == way:
                continue
            last[flow] = way
        kept.append(step)
    return kept


def mermaid(steps: Sequence[Step], participants: Sequence[str], start_ns: int) -> str:
    """A Mermaid sequence diagram; times are in ms from `start_ns`, to a tenth."""
    lines = ["sequenceDiagram", *(f"    participant {name}" for name in participants)]
    for step in steps:
        arrow = "-x" if step.lost else "-->>" if step.text.startswith(_DATA) else "->>"
        # Rounded down: events come some clock readings after their instant, and never before.
        time_ms = (step.time_ns - start_ns + SLACK_NS) // TENTH_NS / 10
        lost = " (lost)" if step.lost else ""
        line = f"    {step.source}{arrow}{step.destination}: {time_ms:.1f} ms: {step.text}{lost}"
        lines.append(line.replace(";", ","))
    return "\n".join(lines) + "\n"


def _next_header(packet: Packet) -> int | None:
    return packet.data[ETHERNET + 6] if packet.data[12:14] == b"\x86\xdd" else None


def _addresses(packet: Packet) -> tuple[IPv6Address, IPv6Address]:
    header = packet.data[ETHERNET : ETHERNET + IPV6]
    return IPv6Address(header[8:24]), IPv6Address(header[24:40])


def _discovery(data: bytes, source: IPv6Address, destination: IPv6Address) -> str | None:
    try:
        message = nd.decode(data, source, destination)
    except MalformedMessage:
        return None  # another ICMPv6 message
    if isinstance(message, nd.RouterSolicitation):
        return "Router Solicitation"
    if not isinstance(message, nd.RouterAdvertisement):
        return None
    prefixes = " ".join(str(information.prefix) for information in message.prefixes)
    ends = ", no default router" if message.router_lifetime_s == 0 else ""
    return f"Router Advertisement [{prefixes}]{ends}"


def _attachment(message: AttachmentMessage) -> str:
    if not isinstance(message, AttachmentAnswer):
        handoff = message.option(HandoffIndicator)
        return "attachment request" + ("" if handoff is None else f" HI {int(handoff.hint)}")
    return f"attachment answer status {int(message.status)}"


def _label(message: Message) -> str:
    parts = [_name(message), *_details(message)]
    prefixes = [
        "any" if option.all_zero else f"{option.prefix}{' L' if option.off_link else ''}"
        for option in message.all_options(HomeNetworkPrefix)
    ]
    if prefixes:
        parts.append(f"[{', '.join(prefixes)}]")
    flows = [str(option.fid) for option in message.all_options(FlowIdentification)]
    if flows:
        parts.append(f"flows {' '.join(flows)}")
    return " ".join(parts)


def _name(message: Message) -> str:
    match message:
        case ProxyBindingUpdate(lifetime=0):
            return "PBU, deregistration"
        case ProxyBindingUpdate():
            return "PBU"
        case ProxyBindingAcknowledgement():
            return "PBA"
        case UpdateNotification(reason=UpdateNotificationReason.FLOW_MOBILITY):
            return "FMI"
        case UpdateNotification():
            return "UPN"
        case UpdateNotificationAcknowledgement():
            return "UPA"
        case BindingRevocationIndication():
            return "BRI"
        case BindingRevocationAcknowledgement():
            return "BRA"
        case Heartbeat(response=True, unsolicited=True):
            return "Heartbeat, unsolicited response"
        case Heartbeat(response=True):
            return "Heartbeat response"
        case Heartbeat():
            return "Heartbeat request"
        case BindingError():
            return "Binding Error"
    return type(message).__name__


def _details(message: Message) -> list[str]:
    match message:
        case ProxyBindingUpdate():
            handoff = message.option(HandoffIndicator)
            hint = None if handoff is None else HINTS.get(HandoffHint(handoff.hint))
            return [] if hint is None else [f"HI {int(handoff.hint)} ({hint})"] if handoff else []
        case ProxyBindingAcknowledgement(status=status):
            name = ProxyBindingStatus(status).name if status in set(ProxyBindingStatus) else ""
            return [f"status {status}"] if status == 0 else [f"status {status} {name}"]
        case UpdateNotification():
            return [f"seq {message.sequence}", *(["D"] if message.retransmit else [])]
        case UpdateNotificationAcknowledgement():
            return [f"seq {message.sequence} status {message.status}"]
        case BindingRevocationIndication():
            return [f"seq {message.sequence} trigger {message.trigger}"]
        case BindingRevocationAcknowledgement():
            return [f"seq {message.sequence} status {message.status}"]
        case BindingError():
            return [f"status {message.status}"]
    return []
