from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from nodes.wire.errors import MalformedMessage
from nodes.wire.flow_options import (
    BindingReference,
    FlowBindingActionSubOption,
    FlowIdentification,
    FlowSummary,
    TargetCareOfAddress,
)
from nodes.wire.tlv import OPTIONS, UnknownSubOption, append_elements, decode_elements
from nodes.wire.traffic_selector import IPv6TrafficSelector, UnknownTrafficSelector
from nodes.wire.values import FlowBindingAction


def encoded(option: FlowIdentification | FlowSummary, position: int = 0) -> str:
    out = bytearray(position)
    append_elements(out, (option,))
    return out[position:].hex()


def decoded(text: str) -> FlowIdentification:
    data = bytes.fromhex(text)
    (option,) = decode_elements(OPTIONS, data, 0, len(data))
    assert isinstance(option, FlowIdentification)
    return option


def test_flow_summary_rfc6089_4_2_2() -> None:
    assert encoded(FlowSummary((1, 0x203))) == "2c0400010203"


def test_flow_identification_without_sub_options_rfc6089_4_2() -> None:
    option = FlowIdentification(1, 10, 131)
    assert encoded(option) == "2d060001000a0083"
    assert decoded("2d060001000a0083") == option


# By hand: FID 1, FID-PRI 10; binding reference (2) to BIDs 1 and 2; traffic selector (3) of format
# 2 with K (0x0020 of the flags) for destination port 5001, aligned to 2n; action (4) move; target
# care-of address (5), aligned to 4n, which octet 28 is.
SUB_OPTIONS = "020400010002" + "0308020000200000" + "1389" + "0402000f" + "05060000c0000201"


def test_flow_identification_rfc6089_4_2_1_and_rfc7109_6_2() -> None:
    option = FlowIdentification(
        1,
        10,
        sub_options=(
            BindingReference((1, 2)),
            IPv6TrafficSelector(start_destination_port=5001),
            FlowBindingActionSubOption(FlowBindingAction.MOVE),
            TargetCareOfAddress(IPv4Address("192.0.2.1")),
        ),
    )
    text = encoded(option)
    assert text == f"2d220001000a0000{SUB_OPTIONS}"
    assert decoded(text) == option


def test_alignment_of_sub_options_counts_from_the_mobility_header() -> None:
    """RFC 6088 section 3.2: 8n if an address is there; RFC 6275 section 6.2.1 says from where."""
    selector = IPv6TrafficSelector(start_source_address=IPv6Address("2001:db8::1"))
    for position in range(12, 28, 2):
        out = bytearray(position)
        append_elements(out, (FlowIdentification(1, 1, sub_options=(selector,)),))
        assert out.index(bytes.fromhex("031602")) % 8 == 0


def test_selector_bids_action_and_target_are_at_hand() -> None:
    selector = IPv6TrafficSelector(start_next_header=17)
    target = TargetCareOfAddress(IPv6Address("2001:db8::1"))
    sub_options = (selector, BindingReference((7,)), FlowBindingActionSubOption(12), target)
    option = FlowIdentification(1, 1, sub_options=sub_options)
    assert option.selector is selector
    assert option.bids == (7,)
    assert option.action == FlowBindingAction.DELETE
    assert option.target_care_of_address == target.address
    empty = FlowIdentification(1, 1)
    assert (empty.selector, empty.bids, empty.action, empty.target_care_of_address) == (
        None,
        (),
        None,
        None,
    )


def test_selector_of_unknown_format_is_kept_and_is_no_selector() -> None:
    """RFC 6089 section 5.3.2.1 has it answered with status 133."""
    option = decoded("2d0c0001000a0000" + "030409001234")
    assert option.sub_options == (UnknownTrafficSelector(9, b"\x12\x34"),)
    assert option.selector is None


def test_unknown_sub_option_is_skipped_and_the_rest_handled_rfc6089_4_2_1() -> None:
    option = decoded("2d0f0001000a0000" + "c803aabbcc" + "02020007")
    assert option.sub_options == (UnknownSubOption(200, b"\xaa\xbb\xcc"), BindingReference((7,)))
    assert option.bids == (7,)


def test_padn_sub_option_has_n_minus_2_octets_of_data_rfc6089_4_2_1_2() -> None:
    """The text says both that its length field has the value N and that it leaves out type and
    length, as all lengths do; the latter fits the data of N-2 octets."""
    option = decoded("2d0e0001000a0000" + "01020000" + "02020007")
    assert option.bids == (7,)


@pytest.mark.parametrize(
    ("text", "field", "offset"),
    [
        ("2d0400010001", "FlowIdentification.length", 1),
        ("2d06000000010000", "FlowIdentification.fid", 2),
        ("2d06000100000000", "FlowIdentification.priority", 4),
        ("2d08000100010000" + "0204", "sub_option.length", 9),
        ("2d0b000100010000" + "0203000100", "BindingReference.bids", 10),
        ("2d08000100010000" + "0200", "BindingReference.bids", 10),
        ("2d09000100010000" + "04010b", "FlowBindingActionSubOption.length", 9),
        ("2d0b000100010000" + "0503000001", "TargetCareOfAddress.length", 9),
    ],
)
def test_malformed_flow_identification(text: str, field: str, offset: int) -> None:
    """FID 0 and FID-PRI 0 MUST NOT be used (RFC 6089 section 4.2)."""
    with pytest.raises(MalformedMessage) as caught:
        decoded(text)
    assert (caught.value.field, caught.value.offset) == (field, offset)


@pytest.mark.parametrize(
    "sub_options",
    [
        (BindingReference((1,)), BindingReference((2,))),
        (IPv6TrafficSelector(), UnknownTrafficSelector(9)),
    ],
)
def test_second_of_a_kind_must_not_be_sent_rfc6089_4_2_1_3_and_4_2_1_4(
    sub_options: tuple[BindingReference | IPv6TrafficSelector | UnknownTrafficSelector, ...],
) -> None:
    with pytest.raises(ValueError, match=r"FlowIdentification\.sub_options .*at most one"):
        FlowIdentification(1, 1, sub_options=sub_options)


def test_first_of_a_kind_counts_on_receipt() -> None:
    assert decoded("2d0e0001000a0000" + "02020001" + "02020002").bids == (1,)


def test_option_that_outgrows_its_length_octet_is_refused() -> None:
    sub_options = tuple(UnknownSubOption(200, bytes(100)) for _ in range(3))
    with pytest.raises(ValueError, match="expected at most 255"):
        encoded(FlowIdentification(1, 1, sub_options=sub_options))


@pytest.mark.parametrize(("fid", "priority"), [(0, 1), (1, 0), (65536, 1)])
def test_reserved_identifiers_are_refused_rfc6089_4_2(fid: int, priority: int) -> None:
    with pytest.raises(ValueError, match="expected an integer from 1 to 65535"):
        FlowIdentification(fid, priority)
