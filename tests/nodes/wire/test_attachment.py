"""Attachment messages: the octets of docs/layer-2-signalling.md."""

from __future__ import annotations

import json
import struct
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.wire.attachment import (
    ETHERTYPE,
    MOST_OCTETS,
    AttachmentAnswer,
    AttachmentRequest,
    decode_attachment,
    encode_attachment,
)
from nodes.wire.errors import MalformedMessage
from nodes.wire.options import (
    AccessTechnologyType,
    HandoffIndicator,
    HomeNetworkPrefix,
    MobileNodeIdentifier,
    VendorSpecific,
)
from nodes.wire.tool import decode_capture, decode_lines, encode_lines, main_decode

DOCUMENT = Path(__file__).parents[3] / "docs" / "layer-2-signalling.md"
P1 = IPv6Network("2001:db8:100::/64")
REQUEST = AttachmentRequest(
    0x1234,
    (
        MobileNodeIdentifier.of("mn1@example.org"),
        HandoffIndicator(6),
        AccessTechnologyType(8),
        HomeNetworkPrefix.of(P1),
    ),
)
# Written by hand from the diagrams.
REQUEST_HEX = (
    "a1 06 01 00 0000 1234"  # format, header len (7 units of 8 octets), type, reserved, sequence
    "0000"  # D, reserved
    "08 10 01 6d6e31406578616d706c652e6f7267"  # mobile node identifier
    "17 02 00 06"  # handoff indicator
    "18 02 00 08"  # access technology type
    "16 12 00 40 20010db8010000000000000000000000"  # home network prefix
)
ANSWER_HEX = "a1 01 02 00 0000 1234 00 81 0104 00000000"


def frame(payload: bytes, ethertype: int = ETHERTYPE, vlan: bool = False) -> bytes:
    tag = bytes.fromhex("81000005") if vlan else b""
    head = bytes.fromhex("00005e005213020000000502") + tag + ethertype.to_bytes(2, "big")
    return (head + payload).ljust(60, b"\0")


def write_capture(path: Path, *frames: bytes) -> Path:
    file = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for data in frames:
        file += struct.pack("<IIII", 1_700_000_000, 5, len(data), len(data)) + data
    path.write_bytes(file)
    return path


def test_request_has_the_octets_of_the_diagram() -> None:
    assert encode_attachment(REQUEST) == bytes.fromhex(REQUEST_HEX)
    assert decode_attachment(bytes.fromhex(REQUEST_HEX)) == REQUEST


def test_answer_has_the_octets_of_the_diagram() -> None:
    answer = AttachmentAnswer(0x1234, 129)
    assert encode_attachment(answer) == bytes.fromhex(ANSWER_HEX)
    assert decode_attachment(bytes.fromhex(ANSWER_HEX)) == answer
    assert not answer.accepted
    assert AttachmentAnswer(1, 0).accepted
    assert not AttachmentAnswer(1, 128).accepted


def test_detach_form_is_the_highest_bit() -> None:
    assert encode_attachment(AttachmentRequest(1, detach=True))[8] == 0x80
    assert encode_attachment(AttachmentAnswer(1, 0, detach=True))[8] == 0x80


def test_the_document_shows_what_is_encoded() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert encode_attachment(REQUEST).hex() in text
    assert "0x88B5" in text


@given(st.data())
def test_decoding_gives_back_what_was_encoded(attachments: Any, data: st.DataObject) -> None:
    message = data.draw(attachments)
    octets = encode_attachment(message)
    assert len(octets) % 8 == 0
    assert decode_attachment(octets) == message
    # Behind it is what pads a short frame.
    assert decode_attachment(octets + bytes(46)) == message


@given(st.binary(max_size=96), st.sampled_from([b"", b"\xa1\x01\x01", b"\xa1\x03\x02"]))
def test_any_octets_are_a_message_or_named_as_malformed(data: bytes, start: bytes) -> None:
    try:
        message = decode_attachment(start + data)
    except MalformedMessage as error:
        assert error.field
        assert 0 <= error.offset <= len(start + data)
    else:
        assert decode_attachment(encode_attachment(message)) == message


@pytest.mark.parametrize(
    ("octets", "field", "offset"),
    [
        ("", "header", 0),
        ("a1000100", "header", 4),
        ("a102010000000001 0000000000000000", "header_len", 1),
        ("a100010000000001", "header_len", 1),
        ("3b01010000000001 0000000000000000", "format", 0),
        ("a201010000000001 0000000000000000", "format", 0),
        ("a101000000000001 0000000000000000", "type", 2),
        ("a101030000000001 0000000000000000", "type", 2),
        ("a101010000000001 0000080801000000", "option.length", 11),
        ("a101010000000001 0000170100000000", "HandoffIndicator.length", 11),
        ("a103010000000001 00001612008100000000000000000000000000000000", "header_len", 1),
        (
            "a103010000000001 0000000016120081 20010db801000000 0000000000000000",
            "HomeNetworkPrefix.prefix_length",
            15,
        ),
    ],
)
def test_what_is_malformed_is_named_with_its_offset(octets: str, field: str, offset: int) -> None:
    with pytest.raises(MalformedMessage) as caught:
        decode_attachment(bytes.fromhex(octets))
    assert (caught.value.field, caught.value.offset) == (field, offset)


@pytest.mark.parametrize(
    "arguments", [{"sequence": 0x10000}, {"sequence": -1}, {"sequence": 1, "detach": 1}]
)
def test_values_that_do_not_fit_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="AttachmentRequest"):
        AttachmentRequest(**arguments)
    with pytest.raises(ValueError, match=r"AttachmentAnswer\.status"):
        AttachmentAnswer(1, 256)


def test_a_message_fits_an_ethernet_frame() -> None:
    option = VendorSpecific(1, 2, bytes(200))
    with pytest.raises(ValueError, match=f"at most {MOST_OCTETS}"):
        encode_attachment(AttachmentRequest(1, (option,) * 8))


@given(st.data())
def test_decode_then_encode_gives_back_the_octets(attachments: Any, data: st.DataObject) -> None:
    text = encode_attachment(data.draw(attachments)).hex()
    assert list(encode_lines(json.dumps(item) for item in decode_lines([text]))) == [text]


@pytest.mark.parametrize("vlan", [False, True])
def test_captured_messages_are_decoded_with_their_link_addresses(
    tmp_path: Path, vlan: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    other = frame(encode_attachment(REQUEST), ethertype=0x88B6)
    damaged = frame(bytes.fromhex("a1ff01"))
    path = write_capture(
        tmp_path / "c.pcap", other, frame(encode_attachment(REQUEST), vlan=vlan), damaged
    )
    assert main_decode([str(path)]) == 1
    shown, complaint = capsys.readouterr()
    (item,) = [json.loads(line) for line in shown.splitlines()]
    assert (item["frame"], item["message"]) == (2, "AttachmentRequest")
    assert item["link_source"] == "02:00:00:00:05:02"
    assert item["link_destination"] == "00:00:5e:00:52:13"
    assert [option["option"] for option in item["options"]] == [
        "MobileNodeIdentifier",
        "HandoffIndicator",
        "AccessTechnologyType",
        "HomeNetworkPrefix",
    ]
    assert "frame 3: header_len" in complaint
    assert list(encode_lines([json.dumps(item)])) == [encode_attachment(REQUEST).hex()]


def test_cooked_captures_have_no_attachment_messages(tmp_path: Path) -> None:
    path = write_capture(tmp_path / "c.pcap", frame(encode_attachment(REQUEST)))
    data = bytearray(path.read_bytes())
    data[20] = 113
    path.write_bytes(data)
    assert list(decode_capture(path)) == []
