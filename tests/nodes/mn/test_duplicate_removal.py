"""Copies of packets at the mobile node."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nodes.mn.duplicate_removal import DuplicateRemoval

WLAN, CELL, THIRD = 1, 2, 3


def packet(payload: bytes, hop_limit: int = 62, traffic_class: int = 0) -> bytes:
    word = (6 << 28 | traffic_class << 20).to_bytes(4, "big")
    head = word + len(payload).to_bytes(2, "big") + bytes((17, hop_limit))
    return head + bytes(16) + bytes(15) + b"\1" + payload


def test_the_second_copy_is_removed_whichever_access_is_first_rfc6089_5_3_6() -> None:
    removal = DuplicateRemoval()
    assert not removal.is_copy(packet(b"1"), WLAN, 0.0)
    assert removal.is_copy(packet(b"1"), CELL, 0.03)
    assert not removal.is_copy(packet(b"2"), CELL, 0.04)
    assert removal.is_copy(packet(b"2"), WLAN, 0.05)
    assert removal.removed == 2


def test_what_the_paths_change_makes_no_difference_rfc8200_3() -> None:
    removal = DuplicateRemoval()
    assert not removal.is_copy(packet(b"1", 62, 2), WLAN, 0.0)
    assert removal.is_copy(packet(b"1", 60, 3), CELL, 0.0)


def test_a_sender_may_repeat_itself() -> None:
    removal = DuplicateRemoval()
    arrivals = [removal.is_copy(packet(b"again"), WLAN, 0.0) for _ in range(3)]
    arrivals += [removal.is_copy(packet(b"again"), CELL, 0.0) for _ in range(4)]
    assert arrivals == [False] * 3 + [True] * 3 + [False]


def test_a_third_copy_is_one_as_well() -> None:
    removal = DuplicateRemoval()
    assert [removal.is_copy(packet(b"x"), access, 0.0) for access in (WLAN, CELL, THIRD)] == [
        False,
        True,
        True,
    ]


def test_memory_ends_with_the_window_and_with_its_size() -> None:
    removal = DuplicateRemoval(window_s=1.0, most=2)
    removal.is_copy(packet(b"1"), WLAN, 0.0)
    assert not removal.is_copy(packet(b"1"), CELL, 1.0)
    removal.is_copy(packet(b"2"), WLAN, 2.5)
    removal.is_copy(packet(b"3"), WLAN, 2.5)
    removal.is_copy(packet(b"4"), WLAN, 2.5)
    assert not removal.is_copy(packet(b"2"), CELL, 2.5)
    assert removal.is_copy(packet(b"4"), CELL, 2.5)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from([(WLAN,), (CELL,), (WLAN, CELL)]))),
    st.booleans(),
)
def test_each_packet_is_delivered_once_if_a_copy_arrives_in_order(
    sent: list[tuple[int, tuple[int, ...]]], cell_first: bool
) -> None:
    """Of each payload, those that come are delivered as often as the access that had most."""
    removal = DuplicateRemoval()
    delivered = [0, 0, 0]
    arrived = [{WLAN: 0, CELL: 0} for _ in range(3)]
    for number, accesses in sent:
        for access in reversed(accesses) if cell_first else accesses:
            arrived[number][access] += 1
            delivered[number] += not removal.is_copy(packet(bytes([number])), access, 0.0)
    assert delivered == [max(counts.values()) for counts in arrived]
