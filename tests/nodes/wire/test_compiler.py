from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import pytest

from nodes.wire.compiler import compile_format, ip_address, ipv6_address, source_of
from nodes.wire.layout import Layout, flag, reserved, uint
from nodes.wire.options import HomeNetworkPrefix
from nodes.wire.tlv import ENCODERS, Option


@dataclass(frozen=True, slots=True)
class Sample(Option):
    high: int
    low: int
    on: bool = False


LAYOUT = Layout(200, "RFC 0", (uint("high", 3, minimum=1), flag("on", "O"), uint("low", 12)))


def test_fields_that_share_octets_are_packed_from_the_most_significant_bit() -> None:
    decode = compile_format(Sample, LAYOUT)
    out = bytearray()
    ENCODERS[Sample](Sample(5, 0xABC, True), out)
    assert out.hex() == "c802babc"
    assert decode(bytes(out), 2, 4) == Sample(5, 0xABC, True)


def test_minimum_is_checked_on_decoding_and_on_construction() -> None:
    decode = compile_format(Sample, LAYOUT)
    with pytest.raises(ValueError, match=r"Sample\.high at offset 0: expected 1 to 7, found 0"):
        decode(b"\x00\x00", 0, 2)
    with pytest.raises(ValueError, match=r"Sample\.high is 0; expected an integer from 1 to 7"):
        Sample(0, 0)


def test_layout_that_disagrees_with_the_attributes_is_refused() -> None:
    with pytest.raises(TypeError, match="attributes and layout differ"):
        compile_format(Sample, Layout(200, "", (uint("high", 8),)))


def test_layout_that_does_not_fill_octets_is_refused() -> None:
    with pytest.raises(TypeError, match="don't fill whole octets"):
        source_of(Layout(200, "", (uint("a", 3), reserved(2))))


def test_source_can_be_read() -> None:
    source = source_of(HomeNetworkPrefix.LAYOUT)
    assert source.startswith("def decode(data, start, end):")
    assert "set_off_link(self, word0 & 128 != 0)" in source


def test_decoded_objects_are_as_constructed_ones(formats: list[type[Any]]) -> None:
    """Decoding fills the slots without the constructor, so none may be forgotten."""
    for cls in formats:
        assert {f.name for f in fields(cls)} == set(cls.__slots__), cls
        assert not hasattr(cls, "__dict__") or "__dict__" not in cls.__slots__


def test_addresses() -> None:
    assert ip_address(b"") is None
    assert str(ip_address(bytes((192, 0, 2, 1)))) == "192.0.2.1"
    assert ip_address(bytes(16)) is ipv6_address(bytes(16))
