from __future__ import annotations

import contextlib
import json
import random
import shutil
import struct
import subprocess
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.wire import messages as m
from nodes.wire import options as o
from nodes.wire.codec import (
    decode,
    decode_without_addresses,
    encode,
    encode_without_addresses,
)
from nodes.wire.errors import (
    BadChecksum,
    BadPayloadProto,
    HeaderTooShort,
    MalformedMessage,
    UnknownType,
)
from nodes.wire.mobility_header import checksum
from nodes.wire.tlv import append_elements

MAG, LMA = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")
HNP = IPv6Network("2001:db8:1::/64")
NAME = o.MobileNodeIdentifier.of("mn1@example")
OPTIONS = (
    NAME,
    o.HomeNetworkPrefix.of(HNP),
    o.HandoffIndicator(m.HandoffHint.NEW_INTERFACE),
    o.AccessTechnologyType(m.AccessTechnology.IEEE_802_11),
    o.Timestamp(0x6553F1008000),
    o.MobileNodeLinkLayerIdentifier(bytes.fromhex("020000000001")),
    o.LinkLocalAddress(IPv6Address("fe80::200:5eff:fe00:5213")),
)
# By hand from the figures of RFC 5213 section 8; the offset of each option is in front of it.
OPTIONS_HEX = (
    "080c016d6e31406578616d706c65"  # 12: MN-ID, subtype 1, "mn1@example"
    "0100"  # 26: PadN to 8n+4
    "1612004020010db8000100000000000000000000"  # 28: HNP 2001:db8:1::/64
    "17020001"  # 48: HI
    "18020004"  # 52: ATT
    "0100"  # 56: PadN to 8n+2
    "1b0800006553f1008000"  # 58: Timestamp
    "19080000020000000001"  # 68: MN-LL-ID, 2n for 6 octets
    "1a10fe8000000000000002005efffe005213"  # 78: Link-local Address, 8n+6; ends at 96
)
FLOW_HEX = (
    "080c016d6e31406578616d706c65"  # 12: MN-ID
    "0100"  # 26: PadN to 8n+4
    "1612804020010db8000100000000000000000000"  # 28: HNP with the L bit; ends at 48
)
FLOW_OPTIONS = (NAME, o.HomeNetworkPrefix.of(HNP, off_link=True))
# The checksums are added up again word by word in a test below.
GOLDEN = [
    (
        m.ProxyBindingUpdate(0x1234, 300, OPTIONS),
        "3b0b050078d012348200012c" + OPTIONS_HEX,
    ),
    (
        m.ProxyBindingAcknowledgement(0, 0x1234, 300, OPTIONS),
        "3b0b0600f9b000201234012c" + OPTIONS_HEX,
    ),
    (
        m.UpdateNotification(7, m.UpdateNotificationReason.FLOW_MOBILITY, FLOW_OPTIONS, True),
        "3b051300066b000700088000" + FLOW_HEX,
    ),
    (
        m.UpdateNotificationAcknowledgement(7, m.UpdateNotificationStatus.SUCCESS, FLOW_OPTIONS),
        "3b0514008573000700000000" + FLOW_HEX,
    ),
]


@pytest.mark.parametrize(("message", "text"), GOLDEN, ids=["PBU", "PBA", "FMI", "FMA"])
def test_golden_messages(message: m.Message, text: str) -> None:
    """RFC 5213 sections 8.1 and 8.2, RFC 7077 section 4, RFC 7864 sections 4.1 to 4.3."""
    assert encode(message, MAG, LMA).hex() == text
    assert decode(bytes.fromhex(text), MAG, LMA) == message


@pytest.mark.parametrize(("message", "text"), GOLDEN, ids=["PBU", "PBA", "FMI", "FMA"])
def test_golden_checksums_word_by_word_rfc6275_6_1_1(message: m.Message, text: str) -> None:
    words = MAG.packed.hex() + LMA.packed.hex() + f"{len(text) // 2:08x}" + "00000087" + text
    total = sum(int(words[index : index + 4], 16) for index in range(0, len(words), 4))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF


@given(st.data())
def test_decode_inverts_encode(messages: Any, data: st.DataObject) -> None:
    message = data.draw(messages)
    encoded = encode(message, MAG, LMA)
    assert len(encoded) % 8 == 0
    assert decode(encoded, MAG, LMA) == message
    assert encode(decode(encoded, MAG, LMA), MAG, LMA) == encoded
    assert decode_without_addresses(encode_without_addresses(message)) == message


@settings(max_examples=500)
@given(st.binary(max_size=120))
def test_any_octets_give_a_message_or_malformed_message(data: bytes) -> None:
    try:
        decode(data, MAG, LMA, verify_checksum=False)
    except MalformedMessage as error:
        assert 0 <= error.offset <= len(data)
        assert error.field


@settings(max_examples=500)
@given(st.sampled_from([5, 6, 7, 13, 16, 19, 20]), st.binary(max_size=80))
def test_any_message_data_gives_a_message_or_malformed_message(mh_type: int, rest: bytes) -> None:
    data = bytes((59, 0, mh_type, 0, 0, 0)) + rest + bytes(-(len(rest) + 6) % 8)
    data = data[:1] + bytes((len(data) // 8 - 1,)) + data[2:]
    try:
        message = decode_without_addresses(data)
    except MalformedMessage as error:
        assert 0 <= error.offset <= len(data)
    else:
        assert decode_without_addresses(encode_without_addresses(message)) == message


@given(st.data())
def test_message_with_an_octet_changed_never_crashes(messages: Any, data: st.DataObject) -> None:
    encoded = bytearray(encode(data.draw(messages), MAG, LMA))
    index = data.draw(st.integers(0, len(encoded) - 1))
    encoded[index] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MalformedMessage):
        decode(bytes(encoded), MAG, LMA, verify_checksum=False)


@given(st.permutations(OPTIONS), st.randoms(use_true_random=False))
def test_options_in_any_order_with_any_padding_rfc5213_8_1_and_rfc6275_6_2(
    order: list[o.Option], chance: random.Random
) -> None:
    out = bytearray(bytes.fromhex("3b000500000012348200012c"))
    for option in order:
        for _ in range(chance.randrange(3)):
            count = chance.randrange(6)
            out += chance.choice([b"\0" * count, bytes((1, count)) + bytes(count)])
        append_elements(out, (option,))
    out += b"\0" * (-len(out) % 8)
    out[1] = len(out) // 8 - 1
    out[4:6] = checksum(out, MAG, LMA).to_bytes(2, "big")
    assert decode(bytes(out), MAG, LMA) == m.ProxyBindingUpdate(0x1234, 300, tuple(order))


def changed(offset: int, value: int, text: str = GOLDEN[0][1]) -> bytes:
    data = bytearray(bytes.fromhex(text))
    data[offset] = value
    data[4:6] = b"\0\0"
    data[4:6] = checksum(data[: (data[1] + 1) * 8], MAG, LMA).to_bytes(2, "big")
    return bytes(data)


def test_bad_checksum_is_for_silent_discard_rfc6275_9_2() -> None:
    data = bytes.fromhex(GOLDEN[0][1])
    with pytest.raises(BadChecksum):
        decode(data, MAG, MAG)
    with pytest.raises(BadChecksum):
        decode(data[:6] + b"\xff" + data[7:], MAG, LMA)
    assert decode(data, MAG, MAG, verify_checksum=False) == GOLDEN[0][0]


@pytest.mark.parametrize("mh_type", [0, 1, 4, 8, 11, 21, 255])
def test_unknown_type_is_for_a_binding_error_rfc6275_9_2(mh_type: int) -> None:
    with pytest.raises(UnknownType) as caught:
        decode(changed(2, mh_type), MAG, LMA)
    assert caught.value.mh_type == mh_type


@pytest.mark.parametrize("mh_type", [5, 16])
def test_other_payload_proto_is_for_parameter_problem_rfc6275_9_2(mh_type: int) -> None:
    data = changed(0, 58, changed(2, mh_type).hex())
    with pytest.raises(BadPayloadProto) as caught:
        decode(data, MAG, LMA)
    assert caught.value.offset == 0


@pytest.mark.parametrize(
    ("mh_type", "message"),
    [(5, "ProxyBindingUpdate"), (7, "BindingError"), (13, "Heartbeat"), (20, "UpdateNotification")],
)
def test_header_len_below_the_type_s_is_for_parameter_problem_rfc6275_9_2(
    mh_type: int, message: str
) -> None:
    data = bytearray(bytes((59, 0, mh_type, 0, 0, 0, 0, 0)))
    data[4:6] = checksum(data, MAG, LMA).to_bytes(2, "big")
    with pytest.raises(HeaderTooShort, match=message) as caught:
        decode(bytes(data), MAG, LMA)
    assert caught.value.offset == 1


def test_checks_come_in_the_order_of_rfc6275_9_2() -> None:
    """Checksum, MH Type, Payload Proto, Header Len."""
    data = bytearray(bytes((58, 0, 99, 0, 0, 0, 0, 0)))
    with pytest.raises(BadChecksum):
        decode(bytes(data), MAG, LMA)
    data[4:6] = checksum(data, MAG, LMA).to_bytes(2, "big")
    with pytest.raises(UnknownType):
        decode(bytes(data), MAG, LMA)
    data[2:6] = b"\x05\0\0\0"
    with pytest.raises(BadPayloadProto):
        decode(bytes(data), MAG, LMA, verify_checksum=False)


def test_octets_after_the_message_are_ignored_rfc8200_4_7() -> None:
    data = bytes.fromhex(GOLDEN[0][1])
    assert decode(data + b"\xff\xff\xff", MAG, LMA) == GOLDEN[0][0]
    assert decode_without_addresses(data + b"\xff") == GOLDEN[0][0]


def test_header_reserved_octet_is_ignored_rfc6275_6_1_1() -> None:
    assert decode(changed(3, 0xFF), MAG, LMA) == GOLDEN[0][0]


def test_unknown_revocation_type_is_malformed_rfc5846_5() -> None:
    data = bytearray(encode_without_addresses(m.BindingRevocationIndication(1, 1)))
    data[6] = 3
    with pytest.raises(MalformedMessage, match="revocation_type at offset 6: expected 1 or 2"):
        decode_without_addresses(bytes(data))


def test_offset_of_an_option_counts_from_the_mobility_header() -> None:
    with pytest.raises(MalformedMessage) as caught:
        decode(changed(31, 129), MAG, LMA)
    assert (caught.value.field, caught.value.offset) == ("HomeNetworkPrefix.prefix_length", 31)


def test_checksum_is_zero_over_udp_rfc5844_4_2_2_1() -> None:
    encoded = encode_without_addresses(GOLDEN[0][0])
    assert encoded[4:6] == b"\0\0"
    assert encode_without_addresses(GOLDEN[0][0], 0x78D0).hex() == GOLDEN[0][1]


def test_binding_update_without_p_is_decoded_for_the_receiver_to_judge_rfc5213_8_1() -> None:
    message = decode(changed(8, 0x80), MAG, LMA)
    assert isinstance(message, m.ProxyBindingUpdate)
    assert not message.proxy_registration


def write_capture(path: Path, messages: list[m.Message]) -> None:
    file = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    for message in messages:
        data = encode(message, MAG, LMA)
        packet = struct.pack(">IHBB", 6 << 28, len(data), 135, 64) + MAG.packed + LMA.packed + data
        file += struct.pack("<IIII", 1_700_000_000, 0, len(packet), len(packet)) + packet
    path.write_bytes(file)


def run_tshark(path: Path, *arguments: str) -> str:
    if shutil.which("tshark") is None:
        pytest.skip("tshark isn't installed")
    command = ["tshark", "-r", str(path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


DISSECTED: list[tuple[m.Message, dict[str, str]]] = [
    (
        m.ProxyBindingUpdate(0x1234, 300, OPTIONS),
        {
            "mip6.mhtype": "5",
            "mip6.hlen": "11",
            "mip6.csum": "0x78d0",
            "mip6.bu.seqnr": "4660",
            "mip6.bu.a_flag": "1",
            "mip6.bu.p_flag": "1",
            "mip6.bu.h_flag": "0",
            "mip6.bu.lifetime": "300",
            "mip6.mnid.subtype": "1",
            "mip6.mnid.identifier": "mn1@example",
            "mip6.nemo.mnp.pfl": "64",
            "mip6.nemo.mnp.mnp": "2001:db8:1::",
            "mip6.hi": "1",
            "mip6.att": "4",
            "mip6.mnlli.lli": "02:00:00:00:00:01",
            "mip6.lila_lla": "fe80::200:5eff:fe00:5213",
            "mip6.options.ts": "1b:08:00:00:65:53:f1:00:80:00",
        },
    ),
    (
        m.ProxyBindingAcknowledgement(156, 0x1234, 300, OPTIONS),
        {
            "mip6.mhtype": "6",
            "mip6.ba.status": "156",
            "mip6.ba.p_flag": "1",
            "mip6.ba.k_flag": "0",
            "mip6.ba.seqnr": "4660",
            "mip6.ba.lifetime": "300",
            "mip6.hi": "1",
        },
    ),
    (
        m.Heartbeat(77, True, options=(o.RestartCounter(5),)),
        {"mip6.hb.r_flag": "1", "mip6.hb.u_flag": "0", "mip6.hb.seqnr": "77", "mip6.rc": "5"},
    ),
    (
        m.BindingRevocationIndication(1, 99, FLOW_OPTIONS),
        {
            "mip6.bri_br.type": "1",
            "mip6.bri_r.trigger": "1",
            "mip6.bri_seqnr": "99",
            "mip6.bri_ip": "1",
            "mip6.bri_ig": "0",
            "mip6.mnid.identifier": "mn1@example",
        },
    ),
    (
        m.BindingRevocationAcknowledgement(132, 99, FLOW_OPTIONS),
        {"mip6.bri_br.type": "2", "mip6.bri_status": "132", "mip6.bri_ap": "1"},
    ),
    (m.BindingError(2), {"mip6.be.status": "2", "mip6.be.haddr": "::"}),
]


def _collect(tree: Any, found: dict[str, set[str]]) -> None:
    if isinstance(tree, list):
        for item in tree:
            _collect(item, found)
    elif isinstance(tree, dict):
        for key, value in tree.items():
            if isinstance(value, str):
                found.setdefault(key, set()).add(value)
            else:
                found.setdefault(key, set())
                _collect(value, found)


def test_tshark_reads_the_same_fields_and_has_no_complaint(tmp_path: Path) -> None:
    path = tmp_path / "messages.pcap"
    write_capture(path, [message for message, _ in DISSECTED])
    packets = json.loads(run_tshark(path, "-T", "json", "--no-duplicate-keys"))
    assert len(packets) == len(DISSECTED)
    for packet, (message, expected) in zip(packets, DISSECTED, strict=True):
        found: dict[str, set[str]] = {}
        _collect(packet["_source"]["layers"], found)
        assert not [key for key in found if "expert" in key or "malformed" in key], message
        assert {key: found.get(key) for key in expected} == {
            key: {value} for key, value in expected.items()
        }
    verbose = run_tshark(path, "-V")
    assert "Malformed" not in verbose
    assert "Expert Info" not in verbose


def test_scapy_finds_the_checksums_right() -> None:
    """tshark shows the checksum of a Mobility Header, but doesn't verify it."""
    inet6 = pytest.importorskip("scapy.layers.inet6")
    header = inet6.IPv6(src=str(MAG), dst=str(LMA))
    for message, _ in DISSECTED:
        data = encode(message, MAG, LMA)
        zeroed = data[:4] + b"\0\0" + data[6:]
        assert inet6.in6_chksum(135, header, zeroed) == int.from_bytes(data[4:6], "big")
