"""The formats that LMA, MAG and mobile node speak, and the packets that are classified."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network

from hypothesis import strategies as st

from nodes.classifier import ClassifiedRow, classify, five_tuple
from nodes.flow_mobility_cache import FlowMobilityCacheEntry
from nodes.kernel.selector_rules import SelectorNotSupported, match_expressions
from nodes.neighbour_discovery import (
    ALL_NODES,
    NeighbourAdvertisement,
    NeighbourSolicitation,
    PrefixInformation,
    RouterAdvertisement,
    RouterSolicitation,
)
from nodes.neighbour_discovery import decode as decode_discovery
from nodes.neighbour_discovery import encode as encode_discovery
from nodes.packet_fields import packet_fields
from nodes.selectors import selector_fields, selector_of
from nodes.wire.attachment import MOST_OCTETS, decode_attachment, encode_attachment
from nodes.wire.codec import decode, decode_without_addresses, encode, encode_without_addresses
from nodes.wire.errors import BadChecksum, MalformedMessage
from nodes.wire.json_form import InvalidJson, message_from_json, message_to_json
from nodes.wire.messages import Message
from nodes.wire.mobility_header import checksum, header_octets
from nodes.wire.tlv import OPTIONS, SUB_OPTIONS, append_elements, decode_elements
from nodes.wire.tool import decode_lines, encode_lines
from nodes.wire.traffic_selector import IPv4TrafficSelector, IPv6TrafficSelector, PacketFields
from tests.fuzz.seeds import examples
from tests.fuzz.target import Target, some
from tests.messages import attachment_strategy, message_strategy, option_strategy, selectors

MAG, LMA = IPv6Address("2001:db8:11::1"), IPv6Address("2001:db8:10::1")
LINK_LOCAL = IPv6Address("fe80::ff:fe00:101")
HOME = IPv6Network("2001:db8:100::/64")
OWN_MAC = bytes.fromhex("020000000101")
NEIGHBOUR_CHECKSUM, MOBILITY_CHECKSUM = slice(2, 4), slice(4, 6)


def _same_in_json(message: Message) -> None:
    shown = json.loads(json.dumps(message_to_json(message)))
    try:
        assert message_from_json(shown) == message
    except InvalidJson:
        # What MUST NOT be sent twice in a flow identification can be decoded, and not made.
        assert "at most one" in str(json.dumps(shown)) or "FlowIdentification" in json.dumps(shown)


def mobility_header(data: bytes) -> None:
    """What is received, whatever its checksum; what can be decoded can be encoded, unless the
    padding that its sender left out makes it too long."""
    message = decode_without_addresses(data)
    _same_in_json(message)
    try:
        again = encode(message, MAG, LMA)
    except ValueError as error:
        assert "expected at most" in str(error)
        return
    assert decode(again, MAG, LMA) == message
    assert encode(decode(again, MAG, LMA), MAG, LMA) == again


def received(data: bytes) -> None:
    """What a daemon's socket gets: a message is taken if and only if its checksum is right."""
    try:
        decode(data, MAG, LMA)
    except BadChecksum:
        assert checksum(data[: header_octets(data)], MAG, LMA) != 0
        raise
    assert checksum(data[: header_octets(data)], MAG, LMA) == 0


def options(data: bytes) -> None:
    found = decode_elements(OPTIONS, data, 0, len(data))
    out = bytearray(data[:0])
    try:
        append_elements(out, found)
    except ValueError as error:
        assert "expected at most" in str(error)
        return
    assert decode_elements(OPTIONS, bytes(out), 0, len(out)) == found


def flow_options(data: bytes) -> None:
    """The sub-options of a flow identification, and what is done with its traffic selectors: a
    packet, then the elements."""
    packet, rest = some(data, 48)
    found = decode_elements(SUB_OPTIONS, rest, 0, len(rest))
    fields = packet_fields(packet) or PacketFields(LINK_LOCAL, HOME[1], 17, 1, 2)
    rows = []
    for number, selector in enumerate(found, 1):
        if not isinstance(selector, IPv6TrafficSelector | IPv4TrafficSelector):
            continue
        selector.matches(fields)
        selector.matches(fields.reversed())
        if isinstance(selector, IPv6TrafficSelector):
            assert selector_of(selector_fields(selector)) == selector
        try:
            match_expressions(selector)
        except SelectorNotSupported:
            continue
        row = FlowMobilityCacheEntry(number, number, selector, (1,))
        rows.append(ClassifiedRow(number, row, (HOME,)))
    divided = classify(rows)
    first = next((row for row in rows if row.entry.selector.matches(fields)), None)
    assert _chosen(rows, divided.exact, divided.ordered, fields) == (first and first.key)


def _chosen(
    rows: list[ClassifiedRow],
    exact: dict[object, int] | object,
    ordered: tuple[ClassifiedRow, ...],
    fields: PacketFields,
) -> int | None:
    """As the kernel looks a packet up: the map first, then the list."""
    assert isinstance(exact, dict)
    by_key = {row.key: row for row in rows}
    for found, key in exact.items():
        assert five_tuple(by_key[key].entry) == found
        if by_key[key].entry.selector.matches(fields):
            return key
    return next((row.key for row in ordered if row.entry.selector.matches(fields)), None)


def attachment(data: bytes) -> None:
    message = decode_attachment(data)
    _same_in_json(message)
    try:
        again = encode_attachment(message)
    except ValueError as error:
        assert str(MOST_OCTETS) in str(error) or "expected at most" in str(error)
        return
    assert decode_attachment(again) == message


def neighbour_discovery(data: bytes) -> None:
    """The source and destination, by an octet, and a message; what follows from a frame's checksum
    is another input."""
    which, data = some(data, 1)
    source = (LINK_LOCAL, IPv6Address(0), MAG)[which[0] % 3]
    destination = (ALL_NODES, LINK_LOCAL)[which[0] >> 7]
    message = decode_discovery(data, source, destination, verify_checksum=which[0] & 0x40 != 0)
    again = encode_discovery(message, source, destination)
    found = decode_discovery(again, source, destination)
    if isinstance(message, RouterAdvertisement):
        assert isinstance(found, RouterAdvertisement)
        assert set(found.prefixes) == set(message.prefixes)
    assert found == message


def packet(data: bytes) -> None:
    found = packet_fields(data)
    assert (found is not None) == (len(data) >= 40 and data[0] >> 4 == 6)
    if found is not None:
        hash(found), found.reversed()


# Messages with many options have longer ones, which only make fuzzing slow.
LINE_OCTETS = 1024


def lines(data: bytes) -> None:
    """`flowmob decode` and `encode`: what is wrong with a line is said, and nothing else."""
    text = data.decode(errors="surrogateescape").splitlines()

    def complain(_where: str, error: ValueError) -> None:
        str(error).encode(errors="backslashreplace")

    for value in decode_lines(text, on_error=complain):
        json.dumps(value)
    for octets in encode_lines(text, on_error=complain):
        bytes.fromhex(octets)


def _messages() -> Iterator[bytes]:
    for message in examples(message_strategy(), 150):
        yield encode(message, MAG, LMA)


def _options() -> Iterator[bytes]:
    for option in examples(option_strategy(), 150):
        out = bytearray()
        append_elements(out, [option])
        yield bytes(out)


def _selectors() -> Iterator[bytes]:
    packet = bytes.fromhex("60000000000811") + bytes(41)
    for cls in (IPv6TrafficSelector, IPv4TrafficSelector):
        for some_of in examples(st.lists(selectors(cls), max_size=3)):
            out = bytearray()
            append_elements(out, some_of)
            yield packet + out


def _attachments() -> Iterator[bytes]:
    return (encode_attachment(message) for message in examples(attachment_strategy()))


def _discovery() -> Iterator[bytes]:
    for message in (
        RouterSolicitation(),
        RouterSolicitation(OWN_MAC),
        RouterAdvertisement(1800, (PrefixInformation(HOME),), 1460, OWN_MAC),
        NeighbourSolicitation(LINK_LOCAL, OWN_MAC),
        NeighbourAdvertisement(LINK_LOCAL, solicited=True),
    ):
        yield b"\xc0" + encode_discovery(message, LINK_LOCAL, LINK_LOCAL)


def _packets() -> Iterator[bytes]:
    addresses = MAG.packed + LMA.packed
    for header in (6, 17, 33, 50, 51, 132):
        yield b"\x60\0\0\0\0\x08" + bytes((header, 64)) + addresses + bytes(range(8))
    chain = bytes((43, 0)) + bytes(6) + bytes((44, 0)) + bytes(6) + bytes((60, 0)) + bytes(6)
    chain += bytes((17, 1)) + bytes(14) + bytes(range(8))
    yield b"\x60\0\0\0\0\x40\0\x40" + addresses + chain


def _lines() -> Iterator[bytes]:
    shown = [encode_without_addresses(message).hex() for message in examples(message_strategy())]
    lines = [*shown, *(json.dumps(value) for value in decode_lines(shown))]
    yield from (line.encode() for line in lines if len(line) <= LINE_OCTETS)


TARGETS = {
    "mobility-header": Target(mobility_header, (MalformedMessage,), 2048, _messages),
    "received-message": Target(received, (MalformedMessage,), 256, _messages),
    "mobility-options": Target(options, (MalformedMessage,), 512, _options),
    "flow-sub-options": Target(flow_options, (MalformedMessage,), 512, _selectors),
    "attachment-frame": Target(attachment, (MalformedMessage,), 1504, _attachments),
    "neighbour-discovery": Target(neighbour_discovery, (MalformedMessage,), 512, _discovery),
    "packet-fields": Target(packet, (), 256, _packets),
    "decoder-lines": Target(lines, (), LINE_OCTETS, _lines),
}
