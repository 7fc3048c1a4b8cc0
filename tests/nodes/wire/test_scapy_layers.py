from __future__ import annotations

import doctest
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("scapy")
from scapy.config import conf
from scapy.layers import inet6
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw, fuzz

from nodes.wire import messages as m
from nodes.wire import options as o
from nodes.wire import scapy_layers as layers
from nodes.wire.attachment import (
    ATTACHMENT_CLASSES,
    ETHERTYPE,
    FIRST_OCTET,
    decode_attachment,
    encode_attachment,
)
from nodes.wire.codec import decode, encode
from nodes.wire.compiler import MESSAGE_START
from nodes.wire.errors import MalformedMessage
from nodes.wire.mobility_header import checksum
from nodes.wire.tlv import OPTIONS, SUB_OPTIONS, append_elements
from nodes.wire.traffic_selector import IPv6TrafficSelector

REPOSITORY = Path(__file__).parents[3]
MAG, LMA = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")
REGISTERED = [
    *m.CLASSES.values(),
    *ATTACHMENT_CLASSES.values(),
    *OPTIONS.classes.values(),
    *SUB_OPTIONS.classes.values(),
    OPTIONS.unknown,
    SUB_OPTIONS.unknown,
]
PBU = layers.LAYERS["PMIP6ProxyBindingUpdate"]
PBA = layers.LAYERS["PMIP6ProxyBindingAcknowledgement"]
FLOW = layers.LAYERS["PMIP6FlowIdentification"]
SELECTOR = layers.LAYERS["PMIP6IPv6TrafficSelector"]
UNKNOWN = layers.LAYERS["PMIP6UnknownOption"]


def over_ipv6(octets: bytes) -> bytes:
    return bytes(IPv6(src=str(MAG), dst=str(LMA), nh=135) / Raw(octets))


def built(layer: Packet) -> bytes:
    return bytes(IPv6(src=str(MAG), dst=str(LMA)) / layer)[40:]


def with_header(mh_type: int, data: bytes) -> bytes:
    data += bytes(-(MESSAGE_START + len(data)) % 8)
    octets = bytes((59, (MESSAGE_START + len(data)) // 8 - 1, mh_type, 0, 0, 0)) + data
    sums = checksum(octets, MAG, LMA)
    return octets[:4] + sums.to_bytes(2, "big") + octets[6:]


def same(ours: Any, theirs: Any) -> bool:
    """A value of the codec's and one of a layer's."""
    if isinstance(ours, tuple):
        pairs = zip(ours, theirs, strict=True)
        return isinstance(theirs, list) and all(same(*pair) for pair in pairs)
    if type(ours).__name__ in {cls.__name__ for cls in REGISTERED}:
        assert type(theirs).__name__ == f"PMIP6{type(ours).__name__}"
        return all(
            same(getattr(ours, field.name), getattr(theirs, field.name)) for field in fields(ours)
        )
    if ours is not None and type(ours).__name__.startswith("IPv"):
        return bool(ours == ip_address(theirs))
    return bool(ours == theirs)


def in_frame(octets: bytes, tagged: bool = False) -> bytes:
    """As on a link: EtherType 0x88B5, and no less than 60 octets."""
    tag = bytes.fromhex("81000005") if tagged else b""
    frame = bytes.fromhex("00005e005213020000000502") + tag + ETHERTYPE.to_bytes(2, "big") + octets
    return frame.ljust(60, b"\0")


def all_layers(packet: Packet) -> Iterator[Packet]:
    while packet:
        yield packet
        for field in packet.packetfields:
            for item in packet.getfieldval(field.name):
                yield from all_layers(item)
        packet = packet.payload


@pytest.mark.parametrize("cls", REGISTERED, ids=lambda cls: cls.__name__)
def test_every_registered_class_has_a_layer_with_its_fields(cls: type[Any]) -> None:
    layer = layers.LAYERS[f"PMIP6{cls.__name__}"]
    names = {field.name for field in layer.fields_desc}
    assert {field.name for field in fields(cls)} <= names
    assert getattr(layers, layer.__name__) is layer
    assert layer.__name__ in layers.__all__
    assert not hasattr(inet6, layer.__name__)


@pytest.mark.parametrize("cls", REGISTERED, ids=lambda cls: cls.__name__)
def test_layer_without_arguments_is_legal(cls: type[Any]) -> None:
    layer = layers.LAYERS[f"PMIP6{cls.__name__}"]()
    if cls in SUB_OPTIONS.classes.values() or cls is SUB_OPTIONS.unknown:
        layer = FLOW(sub_options=[layer])
    if isinstance(layer, layers.PMIP6Attachment):
        decode_attachment(bytes(layer))
        return
    if not isinstance(layer, layers.PMIP6Message):
        layer = PBU(options=[layer])
    decode(built(layer), MAG, LMA)


@given(st.data())
def test_octets_are_those_of_the_codec(messages: Any, data: st.DataObject) -> None:
    message = data.draw(messages)
    assert built(layers.to_scapy(message)) == encode(message, MAG, LMA)


@given(st.data())
def test_dissected_values_are_those_of_the_codec(messages: Any, data: st.DataObject) -> None:
    message = data.draw(messages)
    octets = encode(message, MAG, LMA)
    packet = IPv6(over_ipv6(octets))
    assert same(message, packet.payload)
    assert bytes(packet)[40:] == octets
    packet.show(dump=True)


@given(st.data())
def test_dissected_message_is_built_anew_with_the_same_octets(
    messages: Any, data: st.DataObject
) -> None:
    octets = encode(data.draw(messages), MAG, LMA)
    packet = IPv6(over_ipv6(octets))
    packet.clear_cache()
    del packet.payload.len, packet.payload.cksum
    assert bytes(packet)[40:] == octets


@given(st.data(), st.randoms(use_true_random=False))
def test_any_padding_is_accepted_and_sent_on_unchanged_rfc6275_6_2(
    options: Any, data: st.DataObject, random: Any
) -> None:
    drawn = data.draw(st.lists(options, max_size=5))
    out = bytearray(12)
    for option in drawn:
        out += random.choice((b"", b"\0", b"\0\0", b"\1\0", b"\1\3\0\0\0"))
        append_elements(out, (option,))
    octets = with_header(5, bytes(out[MESSAGE_START:]))
    packet = IPv6(over_ipv6(octets))
    assert same(tuple(drawn), packet.options)
    assert bytes(packet)[40:] == octets


@given(st.data(), st.booleans())
def test_attachment_messages_have_the_octets_and_values_of_the_codec(
    attachments: Any, data: st.DataObject, tagged: bool
) -> None:
    message = data.draw(attachments)
    octets = encode_attachment(message)
    frame = Ether(in_frame(octets, tagged))
    packet = frame[Dot1Q].payload if tagged else frame.payload
    assert same(message, packet)
    assert bytes(frame) == in_frame(octets, tagged)
    packet.show(dump=True)
    below = Ether(dst="00:00:5e:00:52:13", src="02:00:00:00:05:02")
    below = below / Dot1Q(vlan=5) if tagged else below
    built = bytes(below / layers.to_scapy(message))
    assert built == in_frame(octets, tagged)[: len(built)]
    assert built.endswith(octets)
    packet.clear_cache()
    del packet.len
    assert bytes(packet)[: len(octets)] == octets


@settings(max_examples=500)
@given(st.sampled_from([0, 1, 2, 3]), st.binary(max_size=80))
def test_any_octets_in_an_attachment_frame_are_dissected(code: int, data: bytes) -> None:
    for head in (bytes((FIRST_OCTET, (6 + len(data)) // 8, code, 0, 0, 0)), b""):
        frame = in_frame(head + data)
        packet = Ether(frame)
        assert bytes(packet) == frame
        packet.show(dump=True)
        known = packet.payload.name.startswith("PMIP6")
        try:
            message = decode_attachment(frame[14:])
        except MalformedMessage:
            assert not known or isinstance(packet.payload, layers.PMIP6Attachment)
        else:
            assert same(message, packet.payload)


def test_frame_of_another_format_or_type_is_raw() -> None:
    request = bytes((FIRST_OCTET, 1, 1)) + bytes(13)
    for octets in (
        bytes(8),
        bytes((FIRST_OCTET, 0, 3, 0, 0, 0, 0, 0)),
        bytes((FIRST_OCTET,)),
        b"\x3b" + request[1:],
    ):
        assert type(Ether(in_frame(octets)).payload) is Raw
    assert type(layers.PMIP6Attachment(request)).__name__ == "PMIP6AttachmentRequest"
    assert type(layers.PMIP6Attachment(bytes(16))) is Raw


def test_attachment_answers_go_by_sequence_number_and_d_flag() -> None:
    request = layers.LAYERS["PMIP6AttachmentRequest"]
    answer = layers.LAYERS["PMIP6AttachmentAnswer"]
    assert answer(sequence=7).answers(request(sequence=7))
    assert not answer(sequence=8).answers(request(sequence=7))
    assert not answer(sequence=7, detach=1).answers(request(sequence=7))
    assert not request(sequence=7).answers(answer(sequence=7))
    assert not answer(sequence=7).answers(answer(sequence=7))
    assert not answer(sequence=7).answers(PBU(sequence=7))
    assert not PBA(sequence=7).answers(request(sequence=7))


@settings(max_examples=500)
@given(st.binary(max_size=80))
def test_any_octets_are_dissected(octets: bytes) -> None:
    packet = IPv6(over_ipv6(octets))
    assert bytes(packet)[40:] == octets
    packet.show(dump=True)
    for layer in layers.LAYERS.values():
        assert bytes(layer(octets)) == octets or not octets


@settings(max_examples=500)
@given(st.sampled_from([5, 6, 7, 13, 16, 19, 20]), st.binary(max_size=80))
def test_any_message_data_is_dissected(mh_type: int, data: bytes) -> None:
    octets = with_header(mh_type, data)
    packet = IPv6(over_ipv6(octets))
    assert bytes(packet)[40:] == octets
    packet.show(dump=True)
    try:
        message = decode(octets, MAG, LMA)
    except MalformedMessage:
        return
    assert same(message, packet.payload)


@given(st.data())
def test_message_with_an_octet_changed_is_dissected_or_raw(
    messages: Any, data: st.DataObject
) -> None:
    octets = bytearray(encode(data.draw(messages), MAG, LMA))
    octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(octets)))
    for some in (bytes(octets), bytes(octets[:cut])):
        packet = IPv6(over_ipv6(some))
        assert bytes(packet)[40:] == some
        packet.show(dump=True)


def test_dissecting_raises_nothing_even_where_scapy_would_show_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Scapy hides the exceptions of layers unless it is told to debug them."""
    monkeypatch.setattr(conf, "debug_dissector", True)
    for mh_type in range(4, 24):
        for length in range(8, 64):
            octets = with_header(mh_type, bytes((code * 7) % 48 for code in range(length)))
            if mh_type in {5, 6, 7, 13, 16, 19, 20}:
                IPv6(over_ipv6(octets))


@pytest.mark.parametrize("mh_type", [5, 6, 7, 13, 16, 19, 20])
def test_message_too_short_for_its_type_is_raw_rfc6275_9_2(mh_type: int) -> None:
    octets = with_header(mh_type, b"\1\0")
    assert type(IPv6(over_ipv6(octets)).payload) is Raw


@pytest.mark.parametrize("code", [0, 1, 2, 3, 4])
def test_other_types_stay_with_scapy(code: int) -> None:
    assert inet6._mip6_mhtype2cls[code].__module__ == "scapy.layers.inet6"
    octets = with_header(code, bytes(18))
    assert type(IPv6(over_ipv6(octets)).payload) is inet6._mip6_mhtype2cls[code]
    assert type(layers.PMIP6Message(octets)) is inet6._mip6_mhtype2cls[code]


def test_unknown_type_stays_with_scapy() -> None:
    octets = with_header(22, bytes(18))
    assert type(IPv6(over_ipv6(octets)).payload) is inet6.MIP6MH_Generic


def test_revocation_type_tells_indication_from_acknowledgement_rfc5846_5() -> None:
    for kind, name in ((1, "Indication"), (2, "Acknowledgement")):
        packet = IPv6(over_ipv6(with_header(16, bytes((kind, 0, 0, 9, 0, 0)))))
        assert type(packet.payload).__name__ == f"PMIP6BindingRevocation{name}"
    assert type(IPv6(over_ipv6(with_header(16, bytes((3, 0, 0, 9, 0, 0))))).payload) is Raw


def test_message_behind_an_extension_header_is_found_and_summed_rfc6275_6_1_1() -> None:
    home = "2001:db8::77"
    option = inet6.IPv6ExtHdrDestOpt(options=[inet6.HAO(hoa=home)])
    packet = IPv6(bytes(IPv6(src=str(MAG), dst=str(LMA)) / option / PBU(sequence=3)))
    assert packet[PBU].sequence == 3
    assert decode(bytes(packet[PBU]), IPv6Address(home), LMA) == m.ProxyBindingUpdate(3, 0)


def test_enumerated_values_flags_and_times_are_shown_with_their_names() -> None:
    options = [
        layers.LAYERS["PMIP6HandoffIndicator"](hint="NEW_INTERFACE_SHARING_PREFIXES"),
        layers.LAYERS["PMIP6HomeNetworkPrefix"](off_link=True),
        layers.LAYERS["PMIP6Timestamp"](value=1_767_225_600 << 16),
        FLOW(sub_options=[SELECTOR(start_source_port=80)]),
    ]
    shown = PBA(status="TIMESTAMP_MISMATCH", options=options).show(dump=True)
    for line in (
        "mhtype    = BINDING_ACKNOWLEDGEMENT",
        "status    = TIMESTAMP_MISMATCH",
        "proxy_registration= 1 (P)",
        "hint      = NEW_INTERFACE_SHARING_PREFIXES",
        "off_link  = 1 (L)",
        "2026-01-01 00:00:00.000000 UTC",
        "flags     = 0x00800000 (I)",
    ):
        assert line in shown
    assert "start_spi" not in shown


def test_setting_a_field_of_a_selector_sets_its_flag_rfc6088_3_2() -> None:
    selector = SELECTOR(start_source_port=80)
    assert selector.flags == 1 << 23
    selector.start_spi = 7
    assert selector.flags == 1 << 27 | 1 << 23
    del selector.start_source_port
    assert selector.flags == 1 << 27
    assert bytes(SELECTOR(bytes(selector))) == bytes(selector)
    assert SELECTOR(flags=1 << 27).flags == 1 << 27


def test_change_of_a_dissected_sub_option_reaches_the_wire() -> None:
    before = m.ProxyBindingUpdate(
        1, 2, (o.FlowIdentification(1, 1, 0, (IPv6TrafficSelector(start_source_port=80),)),)
    )
    packet = IPv6(over_ipv6(encode(before, MAG, LMA)))
    packet[SELECTOR].start_spi = 7
    packet[SELECTOR].start_source_port = 81
    del packet.plen, packet[PBU].len, packet[PBU].cksum
    changed = decode(bytes(packet)[40:], MAG, LMA)
    flow = changed.option(o.FlowIdentification)
    assert flow is not None
    assert flow.selector == IPv6TrafficSelector(start_source_port=81, start_spi=7)


def test_change_of_a_dissected_sub_option_needs_nothing_else_to_be_sent() -> None:
    """Scapy remembers the octets of what it dissected, and looks for changes one level down."""
    before = m.ProxyBindingUpdate(
        1, 2, (o.FlowIdentification(1, 1, 0, (o.BindingReference((1, 2)),)),)
    )
    octets = encode(before, MAG, LMA)
    packet = IPv6(over_ipv6(octets))
    assert bytes(packet)[40:] == octets
    packet[FLOW].sub_options[0].bids = [1, 3]
    assert bytes(packet)[40:] == octets.replace(b"\0\1\0\2", b"\0\1\0\3")
    packet = IPv6(over_ipv6(octets))
    packet[FLOW].sub_options[0].bids[1] = 3
    assert bytes(packet)[40:] == octets.replace(b"\0\1\0\2", b"\0\1\0\3")


@pytest.mark.parametrize("code", [2, 4, 5, 36, 58, 99])
def test_option_of_unknown_type_is_aligned_as_by_the_codec(code: int) -> None:
    known, raw = o.HandoffIndicator(1), o.UnknownOption(code, b"abc")
    message = m.ProxyBindingUpdate(1, 2, (o.MobileNodeIdentifier(b"ab"), raw, known, raw))
    assert built(layers.to_scapy(message)) == encode(message, MAG, LMA)


def test_reserved_bits_and_lengths_that_are_wrong_can_be_sent() -> None:
    option = layers.LAYERS["PMIP6HomeNetworkPrefix"](reserved=0x7F, prefix_length=200, length=3)
    octets = built(PBU(options=[option], len=9, cksum=0x1234, res=5))
    assert (octets[1], octets[3]) == (9, 5)
    assert octets[4:6] == b"\x12\x34"
    assert bytes(option)[:4] == bytes((22, 3, 0x7F, 200))


def test_option_that_breaks_its_format_is_raw_and_the_next_is_read() -> None:
    options = bytes((23, 3, 0, 1, 0)) + bytes((24, 2, 0, 4)) + bytes((8, 99))
    packet = IPv6(over_ipv6(with_header(5, bytes(6) + options)))
    broken, technology, rest = packet.options
    assert (broken.load, technology.technology) == (options[:5], 4)
    assert rest.load[:2] == bytes((8, 99))


@pytest.mark.parametrize(
    "octets",
    [
        "2303000100",  # binding identifier, 4 octets before the address
        "230700010001010203",  # and an address of 3
        "2c00",  # flow summary without a FID
        "2c03000100",  # and with one and a half
        "1303000000",  # vendor-specific without its sub-type
        "130600007ed90100",  # access link report, cut short
    ],
)
def test_option_whose_length_does_not_fit_is_raw(octets: str) -> None:
    data = bytes.fromhex(octets)
    packet = IPv6(over_ipv6(with_header(5, bytes(6) + data)))
    assert [(type(item), item.load) for item in packet.options] == [(Raw, data)]
    assert type(PBU(with_header(5, bytes(6) + data)).options[0]) is Raw
    with pytest.raises(MalformedMessage):
        decode(with_header(5, bytes(6) + data), MAG, LMA)


@pytest.mark.parametrize(
    "octets",
    [
        "030100",  # no room for the format
        "0306020000800000",  # a flag without its port
        "030a0200008000000050ffff",  # octets that no flag speaks for
        "02030001ff",  # one and a half BIDs
        "05050000010203",  # an address of 3 octets
    ],
)
def test_sub_option_whose_length_does_not_fit_is_raw(octets: str) -> None:
    data = bytes.fromhex(octets)
    flow = bytes((45, 6 + len(data), 0, 1, 0, 1, 0, 0)) + data
    message = with_header(5, bytes(6) + flow)
    packet = IPv6(over_ipv6(message))
    assert [(type(item), item.load) for item in packet[FLOW].sub_options] == [(Raw, data)]
    with pytest.raises(MalformedMessage):
        decode(message, MAG, LMA)


def test_padding_of_ones_own_is_sent() -> None:
    octets = built(PBU(options=[inet6.PadN(optdata=bytes(2)), UNKNOWN(type=99, data=b"ab")]))
    assert octets[12:20] == bytes((1, 2, 0, 0, 99, 2)) + b"ab"


def test_octets_after_the_message_are_padding_rfc8200_4_7() -> None:
    octets = built(PBU(sequence=7))
    packet = IPv6(over_ipv6(octets + b"later"))
    assert packet[PBU].sequence == 7
    assert packet[conf.padding_layer].load == b"later"


def test_answers_go_by_the_sequence_number() -> None:
    names = {
        "ProxyBindingUpdate": "ProxyBindingAcknowledgement",
        "BindingRevocationIndication": "BindingRevocationAcknowledgement",
        "UpdateNotification": "UpdateNotificationAcknowledgement",
    }
    error = layers.LAYERS["PMIP6BindingError"]()
    for request, answer in names.items():
        asked = layers.LAYERS[f"PMIP6{request}"](sequence=7)
        layer = layers.LAYERS[f"PMIP6{answer}"]
        assert layer(sequence=7).answers(asked)
        assert not layer(sequence=8).answers(asked)
        assert not asked.answers(layer(sequence=7))
        assert error.answers(asked)
    beat = layers.LAYERS["PMIP6Heartbeat"]
    assert beat(sequence=7, response=True).answers(beat(sequence=7))
    assert not beat(sequence=7).answers(beat(sequence=7))
    assert not error.answers(error)


def test_too_many_octets_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="expected at most 255"):
        bytes(UNKNOWN(data=bytes(256)))
    with pytest.raises(ValueError, match="expected at most 2048"):
        bytes(PBU(options=[UNKNOWN(data=bytes(255))] * 9))


def test_fuzzed_messages_are_built() -> None:
    for name in m.CLASSES:
        packet = fuzz(layers.LAYERS[f"PMIP6{name}"](options=[FLOW(sub_options=[SELECTOR()])]))
        packet.show(dump=True)
        assert [type(layer) for layer in all_layers(packet)][1:] == [FLOW, SELECTOR]
        assert len(built(packet)) % 8 == 0


def test_nothing_else_under_nodes_imports_scapy() -> None:
    code = (
        "import pkgutil, sys, importlib, nodes.wire\n"
        "for found in pkgutil.iter_modules(nodes.wire.__path__):\n"
        "    if not found.name.startswith('scapy'):\n"
        "        importlib.import_module('nodes.wire.' + found.name)\n"
        "assert 'scapy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)
    for path in (REPOSITORY / "nodes").rglob("*.py"):
        if not path.name.startswith("scapy_"):
            assert "import scapy" not in path.read_text(), path
            assert "from scapy" not in path.read_text(), path


def test_session_of_the_documentation() -> None:
    """docs/decoders.md can't go stale."""
    result = doctest.testfile(
        str(REPOSITORY / "docs" / "decoders.md"),
        module_relative=False,
        optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS,
    )
    assert result.failed == 0
    assert result.attempted >= 8
