"""The Wireshark dissector, carried out by tshark. It can't tell what the codec is to say: each
field that tshark shows is held against what the codec decodes from the same octets."""

from __future__ import annotations

import random
import struct
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from experiments.cli import main
from nodes.wire import messages as m
from nodes.wire import options as o
from nodes.wire.attachment import (
    ATTACHMENT_CLASSES,
    AttachmentAnswer,
    AttachmentRequest,
    encode_attachment,
)
from nodes.wire.codec import decode_without_addresses, encode, encode_without_addresses
from nodes.wire.errors import MalformedMessage
from nodes.wire.json_form import message_to_json
from nodes.wire.layout import Kind
from nodes.wire.lua_dissector import REGENERATE, formats, label, lua_dissector, snake_case
from nodes.wire.tlv import OPTIONS, SUB_OPTIONS
from nodes.wire.traffic_selector import (
    IPv4TrafficSelector,
    IPv6TrafficSelector,
    UnknownTrafficSelector,
)
from tests import wireshark

MAG, LMA = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")


def every_range(cls: type[Any]) -> Any:
    """A selector with all its fields, each with a value of its own."""
    values: dict[str, Any] = {}
    for number, field in enumerate(cls.LAYOUT.named_fields, 1):
        kinds = {Kind.IPV6: IPv6Address, Kind.IPV4: IPv4Address}
        values[field.name] = kinds.get(field.kind, int)(number * 8)
    return cls(**values)


def flow(fid: int, *sub_options: Any) -> o.FlowIdentification:
    return o.FlowIdentification(fid, 10 * fid, 131, sub_options)


SELECTORS = (
    every_range(IPv6TrafficSelector),
    every_range(IPv4TrafficSelector),
    UnknownTrafficSelector(9, b"\1\2\3"),
)
FLOWS = (
    *(flow(fid, selector) for fid, selector in enumerate(SELECTORS, 1)),
    flow(7, IPv6TrafficSelector(), o.BindingReference((1, 65535))),
    flow(8, o.FlowBindingActionSubOption(15), o.TargetCareOfAddress(MAG)),
    flow(9, o.TargetCareOfAddress(IPv4Address("192.0.2.1")), o.UnknownSubOption(77, b"x")),
    flow(10),
)
PLAIN_OPTIONS = (
    o.MobileNodeIdentifier.of("mn\u00fc@example"),
    o.MobileNodeIdentifier(b""),
    o.HomeNetworkPrefix(IPv6Address("2001:db8:1::"), 64, True),
    o.HomeNetworkPrefix(IPv6Address("2001:db8:2::1"), 128),
    o.HandoffIndicator(6),
    o.HandoffIndicator(200),
    o.AccessTechnologyType(4),
    o.MobileNodeLinkLayerIdentifier(b"\2\0\0\0\0\1"),
    o.LinkLocalAddress(IPv6Address("fe80::1")),
    o.Timestamp.of_unix_seconds(1_767_225_601.5),
    o.Timestamp((1 << 64) - 1),
    o.RestartCounter(0xFFFFFFFF),
    o.MobileNodeGroupIdentifier(),
    o.MobileNodeGroupIdentifier(0xFFFFFFFF, 7),
    o.AlternateCareOfAddress(MAG),
    o.BindingIdentifier(7, 4, 127, True, MAG),
    o.BindingIdentifier(65535, 0, 3, False, IPv4Address("192.0.2.1")),
    o.BindingIdentifier(1),
    o.FlowSummary((1, 2, 65535)),
    o.VendorSpecific(10415, 200, b"abc"),
    o.AccessLinkReport(77, 55, 12),
    o.UnknownOption(200, b"xyz"),
    o.UnknownOption(201),
)
MESSAGES: list[m.Message] = [
    m.ProxyBindingUpdate(1, 300, PLAIN_OPTIONS),
    m.ProxyBindingUpdate(1, 300, FLOWS, proxy_registration=False, d_flag=True),
    m.ProxyBindingAcknowledgement(156, 65535, 1, PLAIN_OPTIONS),
    m.BindingError(2, MAG, PLAIN_OPTIONS[:3]),
    m.Heartbeat(0xFFFFFFFF, True, True, (o.RestartCounter(5),)),
    m.BindingRevocationIndication(7, 9, PLAIN_OPTIONS, ipv4_only=True),
    m.BindingRevocationAcknowledgement(132, 9, PLAIN_OPTIONS, global_revocation=True),
    *(m.UpdateNotification(reason, reason, FLOWS, True) for reason in range(9)),
    *(m.UpdateNotificationAcknowledgement(3, s, FLOWS) for s in (0, 128, 129, 130, 131, 132)),
]


def write_capture(path: Path, *messages: bytes) -> Path:
    file = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    for number, data in enumerate(messages):
        ends = LMA.packed + MAG.packed if data[2:3] == b"\x14" else MAG.packed + LMA.packed
        packet = struct.pack(">IHBB", 6 << 28, len(data), 135, 64) + ends + data
        file += struct.pack("<IIII", 1_700_000_000 + number, 0, len(packet), len(packet)) + packet
    path.write_bytes(file)
    return path


def encoded(message: m.Message) -> bytes:
    answers = isinstance(message, m.UpdateNotificationAcknowledgement)
    return encode(message, LMA, MAG) if answers else encode(message, MAG, LMA)


def test_generated_file_is_up_to_date(capsys: Any) -> None:
    text = wireshark.DISSECTOR.read_text(encoding="utf-8")
    assert text == lua_dissector(), f"a format has changed; make it anew: {REGENERATE}"
    assert main(["wireshark"]) == 0
    assert capsys.readouterr().out == text


def test_every_layout_is_in_it() -> None:
    found = formats()
    names = {item.name for items in found.values() for item in items}
    assert names == {*m.CLASSES, *ATTACHMENT_CLASSES, *OPTIONS.classes, *SUB_OPTIONS.classes}
    keys = [item.key for items in found.values() for item in items]
    assert len(keys) == len(set(keys))


def test_every_format_is_in_the_capture_of_these_tests() -> None:
    seen = {type(item) for item in (*MESSAGES, *PLAIN_OPTIONS)}
    seen |= {type(item) for option in FLOWS for item in (option, *option.sub_options)}
    classes = (*m.CLASSES.values(), *OPTIONS.classes.values(), *SUB_OPTIONS.classes.values())
    assert not {cls.__name__ for cls in classes} - {cls.__name__ for cls in seen}


def test_names() -> None:
    assert snake_case("IPv6TrafficSelector") == "ipv6_traffic_selector"
    assert label("start_source_port") == "Start Source Port"
    assert label("care_of_address") == "Care-of Address"
    assert label("bids") == "BIDs"


@wireshark.needed
def test_every_octet_is_in_a_field_and_every_field_is_what_the_codec_decodes(
    tmp_path: Path,
) -> None:
    octets = [encoded(message) for message in MESSAGES]
    shown = wireshark.dissect(write_capture(tmp_path / "all.pcap", *octets))
    assert len(shown) == len(octets)
    for data, tree in zip(octets, shown, strict=True):
        wireshark.compare(data, tree)
        assert wireshark.experts(tree) == []


@wireshark.needed
# Starting tshark takes half a second: many messages at once, and no search for the least ones.
@settings(max_examples=4, derandomize=True, deadline=None, phases=[Phase.generate])
@given(st.data())
def test_any_message(
    messages: Any, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    drawn = data.draw(st.lists(messages, min_size=25, max_size=25))
    octets = [encoded(message) for message in drawn]
    path = write_capture(tmp_path_factory.getbasetemp() / "any.pcap", *octets)
    for item, tree in zip(octets, wireshark.dissect(path), strict=True):
        wireshark.compare(item, tree)


@wireshark.needed
@pytest.mark.parametrize(
    ("display_filter", "frames"),
    [
        ("flowmob.home_network_prefix.off_link == 1", 5),
        ("flowmob.update_notification.reason == 8", 1),
        ('flowmob.message == "Flow Mobility Initiate"', 1),
        ("flowmob.update_notification_acknowledgement.status == 132", 1),
        ("flowmob.handoff_indicator.hint == 6", 4),
        ("flowmob.ipv6_traffic_selector.start_source_port == 72", 16),
        ("flowmob.ipv4_traffic_selector.present.start_ds", 16),
        ("flowmob.binding_reference.bids == 65535", 16),
        ("flowmob.flow_binding_action_sub_option.action == 15", 16),
        ("flowmob.target_care_of_address.address.ipv4 == 192.0.2.1", 16),
        ("flowmob.flow_summary", 4),
        ('flowmob.timestamp.value < "2026-01-02"', 4),
        ("mip6.mhtype == 5", 2),  # Wireshark's own fields are there, too
        ("mip6.hi == 6", 4),
    ],
)
def test_display_filters(tmp_path: Path, display_filter: str, frames: int) -> None:
    path = write_capture(tmp_path / "all.pcap", *map(encoded, MESSAGES))
    assert len(wireshark.tshark(path, "-Y", display_filter)) == frames


@wireshark.needed
def test_info_column_names_the_messages_of_rfc_7864(tmp_path: Path) -> None:
    """An acknowledgement doesn't say whether it is a Flow Mobility Acknowledgement: what it answers
    does."""
    chosen = [
        m.UpdateNotification(1, 8, acknowledge=True),
        m.UpdateNotificationAcknowledgement(1, 0),
        m.UpdateNotification(2, 1, acknowledge=True),
        m.UpdateNotificationAcknowledgement(2, 128),
    ]
    path = write_capture(tmp_path / "names.pcap", *map(encoded, chosen))
    assert wireshark.tshark(path, "-T", "fields", "-e", "_ws.col.Info") == [
        "Flow Mobility Initiate, Sequence 1, FLOW_MOBILITY, Acknowledge (A)",
        "Flow Mobility Acknowledgement, Sequence 1, SUCCESS",
        "Update Notification, Sequence 2, FORCE_REREGISTRATION, Acknowledge (A)",
        "Update Notification Acknowledgement, Sequence 2, FAILED_TO_UPDATE_SESSION_PARAMETERS",
    ]
    text = "\n".join(wireshark.tshark(path, "-V"))
    assert "Unknown" not in text
    assert "ndecoded" not in text


@wireshark.needed
def test_wrong_checksum_is_shown_rfc6275_6_1_1(tmp_path: Path) -> None:
    good = encode(m.Heartbeat(1), MAG, LMA)
    bad = good[:4] + bytes((good[4] ^ 1,)) + good[5:]
    path = write_capture(tmp_path / "checksum.pcap", good, bad)
    assert wireshark.tshark(
        path, "-Y", "flowmob.bad_checksum", "-T", "fields", "-e", "frame.number"
    ) == ["2"]


@wireshark.needed
def test_message_in_udp_over_ipv4_has_no_checksum_rfc5844_4_2_2_1(tmp_path: Path) -> None:
    data = encode_without_addresses(m.UpdateNotification(7, 8, FLOWS))
    udp = struct.pack(">HHHH", 5436, 5436, 8 + len(data), 0) + data
    ends = IPv4Address("192.0.2.1").packed + IPv4Address("192.0.2.2").packed
    packet = struct.pack(">BBHIBBH", 0x45, 0, 20 + len(udp), 0, 64, 17, 0) + ends + udp
    file = struct.pack("<IHHiIIIIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101, 1, 0, *[len(packet)] * 2)
    path = tmp_path / "udp.pcap"
    path.write_bytes(file + packet)
    (tree,) = wireshark.dissect(path)
    wireshark.compare(data, tree)
    assert wireshark.tshark(path, "-Y", "flowmob.bad_checksum || flowmob.checksum_valid") == []


@wireshark.needed
def test_attachment_messages(tmp_path: Path) -> None:
    sent = [
        encode_attachment(AttachmentRequest(1, PLAIN_OPTIONS[:5], detach=True)),
        encode_attachment(AttachmentRequest(0x1234)),
        encode_attachment(AttachmentAnswer(0x1234, 129, PLAIN_OPTIONS[:3])),
    ]
    wrong = b"\xa0" + sent[1][1:], sent[1][:1] + b"\x1f" + sent[1][2:], b"\xa1"
    file = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for data in (*sent, *wrong):
        frame = bytes.fromhex("00005e00521302000000050288b5") + data
        if len(data) > 1:
            frame = frame.ljust(60, b"\0")
        file += struct.pack("<IIII", 1_700_000_000, 0, len(frame), len(frame)) + frame
    path = tmp_path / "attachments.pcap"
    path.write_bytes(file)
    trees = wireshark.dissect(path)
    for data, tree in zip(sent, trees, strict=False):
        wireshark.compare(data, tree)
        assert wireshark.experts(tree) == []
    for tree in trees[3:]:
        assert wireshark.experts(tree)
    shown = wireshark.tshark(path, "-Y", "flowmob.attachment_answer.status == 129")
    assert ["Attachment Answer, Sequence 4660" in line for line in shown] == [True]
    # 46 octets is the least that a frame carries (IEEE 802.3).
    (padding,) = wireshark.tshark(
        path, "-Y", "frame.number == 2", "-T", "fields", "-e", "flowmob.frame_padding"
    )
    assert padding == "00" * (46 - len(sent[1]))


@wireshark.needed
def test_mutated_attachment_messages_give_no_lua_error(tmp_path: Path) -> None:
    file = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    octets = [
        b"\xa1" + data[1:2] + bytes((index % 4,)) + data[3:]
        for index, data in enumerate(mutated(400))
        if len(data) > 2
    ]
    for data in octets:
        frame = bytes.fromhex("00005e00521302000000050288b5") + data
        file += struct.pack("<IIII", 1_700_000_000, 0, len(frame), len(frame)) + frame
    path = tmp_path / "attachments.pcap"
    path.write_bytes(file)
    for data, tree in zip(octets, wireshark.dissect(path), strict=True):
        wireshark.require_coverage(tree, min(len(data), (data[1] + 1) * 8))


@wireshark.needed
def test_capture_that_is_cut_short_is_no_fault_of_the_message(tmp_path: Path) -> None:
    data = encode(m.UpdateNotification(7, 8, FLOWS[:1]), MAG, LMA)
    path = write_capture(tmp_path / "short.pcap", data)
    whole = path.read_bytes()
    kept = 40 + 30
    path.write_bytes(whole[:32] + struct.pack("<I", kept) + whole[36 : 40 + kept])
    (tree,) = wireshark.dissect(path)
    wireshark.require_coverage(tree, 30)
    assert "flowmob.cut_short" in wireshark.experts(tree)
    assert "flowmob.bad_length" not in wireshark.experts(tree)


def with_flow(*sub_option: int) -> bytes:
    """A Flow Mobility Initiate about a flow, with these octets as sub-option."""
    return encode(
        m.UpdateNotification(1, 8, (o.UnknownOption(200, bytes((0, 1, 0, 1, 0, 0, *sub_option))),)),
        MAG,
        LMA,
    ).replace(b"\xc8", b"\x2d", 1)


@wireshark.needed
@pytest.mark.parametrize(
    ("sub_option", "complaint"),
    [
        ((5, 2, 0, 0), "Expected an address of 4 or 16 octets"),
        ((5, 3, 0, 0, 1), "Expected an address of 4 or 16 octets"),
        ((2, 0), "Expected one or more pairs of octets"),
        ((2, 3, 0, 1, 2), "Expected one or more pairs of octets"),
        ((4, 3, 0, 15, 1), "Expected 2 octets, found 3"),
        ((3, 7, 2, 0, 0, 4, 0, 0, 6), "end_traffic_class without start_traffic_class"),
        ((3, 6, 2, 0, 0, 0x80, 0, 0), "Start Source Port (I): expected 2 octets, found 0"),
        ((4,), "Expected a length octet"),
        ((4, 9, 0, 15), "Expected at most 2 octets, found 9"),
    ],
)
def test_complaints_say_what_is_expected(
    tmp_path: Path, sub_option: tuple[int, ...], complaint: str
) -> None:
    octets = with_flow(*sub_option)
    with pytest.raises(MalformedMessage):
        decode_without_addresses(octets)
    path = write_capture(tmp_path / "bad.pcap", octets)
    (shown,) = wireshark.tshark(path, "-T", "fields", "-e", "_ws.expert.message")
    assert complaint in shown


@wireshark.needed
def test_first_12_bits_of_a_flow_label_are_ignored_rfc6088_3_2(tmp_path: Path) -> None:
    octets = with_flow(3, 10, 2, 0, 2, 0, 0, 0, 0xFF, 0xF1, 0x23, 0x45)
    path = write_capture(tmp_path / "label.pcap", octets)
    field = "flowmob.ipv6_traffic_selector.start_flow_label"
    assert wireshark.tshark(path, "-T", "fields", "-e", field) == [str(0x12345)]


@wireshark.needed
def test_text_is_utf_8(tmp_path: Path) -> None:
    octets = encoded(m.Heartbeat(1, options=(o.MobileNodeIdentifier.of("mn\u00fc"),)))
    path = write_capture(tmp_path / "text.pcap", octets)
    field = "flowmob.mobile_node_identifier.identifier"
    assert wireshark.tshark(path, "-T", "fields", "-e", field) == ["mn\u00fc"]


def mutated(count: int) -> list[bytes]:
    """Messages with some octets changed, cut or put in, and ones that are noise, seldom short."""
    chance = random.Random(7864)
    originals = [encoded(message) for message in MESSAGES]
    result = []
    for _ in range(count):
        data = bytearray(chance.choice(originals))
        if chance.random() < 0.1:
            data[6:] = chance.randbytes(len(data) - 6)
        for _ in range(chance.randint(0, 3)):
            data[chance.randrange(len(data))] = chance.choice((0, 1, 2, 3, 45, 255))
            data[chance.randrange(len(data))] = chance.randrange(256)
        if chance.random() < 0.3:
            del data[chance.randrange(1, len(data)) :]
        result.append(bytes(data))
    return result


@wireshark.needed
def test_mutated_messages_give_complaints_and_never_a_lua_error(tmp_path: Path) -> None:
    """It complains where the codec does, and every octet is in a field all the same."""
    octets = mutated(1500)
    path = write_capture(tmp_path / "mutated.pcap", *octets)
    agreed = 0
    for data, tree in zip(octets, wireshark.dissect(path, complete=False), strict=True):
        if tree is None:
            continue
        wireshark.require_coverage(tree, min(len(data), (data[1] + 1) * 8 if data[1:] else 8))
        found = {name.removeprefix("flowmob.") for name in wireshark.experts(tree)}
        try:
            message_to_json(decode_without_addresses(data))
        except MalformedMessage as error:
            # An end below its start, and the payload protocol, aren't looked at.
            if "at least start_" in str(error) or error.field == "payload_proto":
                continue
            assert found & {"bad_length", "bad_value"}, (data.hex(), str(error))
        else:
            assert not found & {"bad_length", "bad_value"}, data.hex()
        agreed += 1
    assert agreed > 800
