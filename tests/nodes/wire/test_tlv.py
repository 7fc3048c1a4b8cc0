from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from nodes.wire.errors import MalformedMessage
from nodes.wire.options import HandoffIndicator, HomeNetworkPrefix, Timestamp
from nodes.wire.tlv import (
    OPTIONS,
    UnknownOption,
    UnknownSubOption,
    append_elements,
    decode_elements,
)

ZERO = IPv6Address(0)
HINT = bytes.fromhex("17020001")


def decoded(data: bytes) -> tuple[object, ...]:
    return decode_elements(OPTIONS, data, 0, len(data))


@pytest.mark.parametrize("padding", ["00", "0000", "0100", "010100", "01020000", "0103000000"])
def test_padding_is_dropped_wherever_it_is_rfc6275_6_2_2_and_6_2_3(padding: str) -> None:
    pad = bytes.fromhex(padding)
    assert decoded(pad + HINT + pad + HINT + pad) == (HandoffIndicator(1), HandoffIndicator(1))


def test_padn_data_must_be_ignored_rfc6275_6_2_3() -> None:
    assert decoded(bytes.fromhex("0103ffffff") + HINT) == (HandoffIndicator(1),)


def test_unknown_option_is_skipped_and_the_rest_handled_rfc6275_6_2_1() -> None:
    assert decoded(bytes.fromhex("fa03aabbcc") + HINT) == (
        UnknownOption(0xFA, b"\xaa\xbb\xcc"),
        HandoffIndicator(1),
    )


def test_option_that_leaves_the_message_is_malformed() -> None:
    with pytest.raises(MalformedMessage) as caught:
        decoded(HINT + bytes.fromhex("1703000a"))
    assert (caught.value.field, caught.value.offset) == ("option.length", 5)
    assert "expected at most 2 for type 23, found 3" in str(caught.value)


def test_option_without_a_length_is_malformed() -> None:
    with pytest.raises(MalformedMessage) as caught:
        decoded(b"\x17")
    assert (caught.value.field, caught.value.offset) == ("option.length", 1)


def test_padding_before_an_option_is_the_least_that_aligns_it_rfc6275_6_2_1() -> None:
    for position in range(8, 17):
        out = bytearray(position)
        append_elements(out, (Timestamp(1),))
        start = out.index(b"\x1b\x08", position)
        assert start % 8 == 2
        assert start - position < 8


def test_one_octet_of_padding_is_pad1_more_is_padn_rfc6275_6_2_2() -> None:
    out = bytearray(11)
    append_elements(out, (HomeNetworkPrefix(ZERO, 0),))
    assert out[11:13] == b"\x00\x16"
    out = bytearray(9)
    append_elements(out, (HomeNetworkPrefix(ZERO, 0),))
    assert out[9:13] == b"\x01\x01\x00\x16"


def test_raw_options_keep_the_alignment_of_their_rfc() -> None:
    """RFC 5844 section 3.3.1: the IPv4 Home Address Request option (36) is aligned to 4n."""
    out = bytearray(14)
    append_elements(out, (UnknownOption(36, bytes(6)),))
    assert out[14:].hex() == "01002406000000000000"


@pytest.mark.parametrize("code", [0, 1, 22, 45, 256, -1])
def test_unknown_option_of_a_type_that_is_known_or_out_of_range_is_refused(code: int) -> None:
    with pytest.raises(ValueError, match=rf"UnknownOption\.type is {code}; expected"):
        UnknownOption(code)


def test_unknown_option_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match=r"UnknownOption\.data"):
        UnknownOption(250, bytes(256))
    with pytest.raises(ValueError, match=r"UnknownSubOption\.type is 3"):
        UnknownSubOption(3)
