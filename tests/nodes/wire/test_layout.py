from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from nodes.wire.layout import Alignment, Kind, Layout, flag, octets, reserved, uint


@pytest.mark.parametrize(
    ("alignment", "position", "padding"),
    [
        (Alignment(), 13, 0),
        (Alignment(2), 13, 1),
        (Alignment(8, 4), 12, 0),
        (Alignment(8, 4), 13, 7),
        (Alignment(8, 6), 12, 2),
        (Alignment(4, 2), 16, 2),
    ],
)
def test_alignment_is_xn_plus_y_from_the_start_of_the_header_rfc6275_6_2_1(
    alignment: Alignment, position: int, padding: int
) -> None:
    assert alignment.padding(position) == padding


def test_alignment_reads_as_in_the_rfcs() -> None:
    assert str(Alignment(8, 4)) == "8n+4"
    assert str(Alignment(2)) == "2n"


def test_layout_knows_its_octets_and_tail() -> None:
    layout = Layout(99, "", (flag("on", "O"), reserved(7), uint("number", 16), octets("rest")))
    assert layout.fixed_octets == 3
    assert layout.tail is layout.fields[-1]
    assert [field.name for field in layout.named_fields] == ["on", "number", "rest"]


def test_tail_alignment_goes_by_the_length_of_the_tail() -> None:
    layout = Layout(99, "", (octets("x"),), Alignment(2), ((8, Alignment(8, 4)), (4, Alignment(4))))
    expected = {0: "2n", 6: "2n", 7: "2n", 4: "4n", 12: "4n", 8: "8n+4", 16: "8n+4"}
    assert {octets: str(layout.alignment_for(octets)) for octets in expected} == expected


def test_every_layout_can_be_walked(formats: list[type[Any]]) -> None:
    """What a generator of Scapy layers or of a Wireshark dissector needs."""
    assert len(formats) >= 25
    for cls in formats:
        layout = cls.LAYOUT
        assert layout.section.startswith(("RFC ", "docs/")), cls
        assert {f.name for f in layout.named_fields} == {f.name for f in fields(cls)}, cls
        for field in layout.fields:
            assert field.bits or field is layout.tail, (cls, field)
            assert field.letter or field.kind is not Kind.FLAG, (cls, field)
            assert not field.letter or len(field.letter) == 1, (cls, field)
