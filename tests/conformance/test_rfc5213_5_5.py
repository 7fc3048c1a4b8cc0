"""RFC 5213 section 5.5, message ordering, as the LMA sees it: one test a rule, named after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nodes.wire.messages import ProxyBindingAcknowledgement
from nodes.wire.options import Timestamp

if TYPE_CHECKING:
    from tests.domain import Domain

GENERATED = {"mobile_node_generated_timestamp_in_use": True}


def stamp(domain: type[Domain], seconds: float) -> Timestamp:
    return Timestamp.of_unix_ns(domain.at(seconds).unix_ns)


def second(
    domain: type[Domain], stamped: float, now: float = 10.2, **changes: Any
) -> ProxyBindingAcknowledgement:
    """The answer to a second request of a session whose first was stamped 10.0."""
    anchor = domain.lma(**changes)
    assert anchor.acknowledged(domain.pbu(10.0), 10.0).status == 0
    return anchor.acknowledged(domain.pbu(stamped), now)


def test_rfc5213_5_5_02_sequence_number_is_kept_for_each_session(domain: type[Domain]) -> None:
    """And the LMA tells it to a MAG that doesn't have it."""
    anchor = domain.lma()
    other = {"technology": domain.CELL, "link_layer": domain.LINK_LAYER_2}
    anchor.acknowledged(domain.pbu(timestamp=False, sequence=100))
    reply = anchor.acknowledged(domain.pbu(timestamp=False, sequence=7, **other))  # type: ignore[arg-type]
    assert reply.status == 0
    assert [entry.sequence for entry in anchor.core.bindings] == [100, 7]
    stale = anchor.acknowledged(domain.pbu(timestamp=False, sequence=99))
    assert (stale.status, stale.sequence) == (135, 100)


def test_rfc5213_5_5_03_timestamp_option_is_supported(domain: type[Domain]) -> None:
    assert second(domain, 10.1).status == 0
    assert second(domain, 9.9).status == 157


@pytest.mark.parametrize("stamped", [10.1, 9.9, 99.0])
def test_rfc5213_5_5_04_timestamp_answers_a_timestamp(domain: type[Domain], stamped: float) -> None:
    assert second(domain, stamped).option(Timestamp) is not None


def test_rfc5213_5_5_06_epoch_is_1970(domain: type[Domain]) -> None:
    """Section 8.8: seconds since 1 January 1970 in 48 bits, and 1/65536 s in 16."""
    assert Timestamp.of_unix_ns(2_500_000_000).value == (2 << 16) + 0x8000
    told = second(domain, 99.0).option(Timestamp)
    assert told is not None
    assert told.value >> 16 == domain.at(10.2).unix_ns // 1_000_000_000


def test_rfc5213_5_5_07_sequence_number_is_ignored(domain: type[Domain]) -> None:
    anchor = domain.lma()
    anchor.acknowledged(domain.pbu(sequence=100))
    for number, sequence in enumerate((100, 3, 40_000), start=1):
        assert anchor.acknowledged(domain.pbu(number, sequence=sequence), number).status == 0


@pytest.mark.parametrize("sequence", [0, 3, 0xFFFF])
def test_rfc5213_5_5_08_sequence_number_is_copied(domain: type[Domain], sequence: int) -> None:
    for stamped in (0.0, 99.0):
        reply = domain.lma().acknowledged(domain.pbu(stamped, sequence=sequence))
        assert reply.sequence == sequence


def test_rfc5213_5_5_09_timestamp_is_checked(domain: type[Domain]) -> None:
    statuses = [second(domain, stamped).status for stamped in (10.1, 10.0, 9.9, 11.0)]
    assert statuses == [0, 156, 157, 156]


def test_rfc5213_5_5_10_both_conditions_have_to_hold(domain: type[Domain]) -> None:
    assert second(domain, 10.1, now=10.2).status == 0
    assert second(domain, 10.1, now=10.5).status == 156  # newer, but too old
    assert second(domain, 9.95, now=10.2).status == 157  # close, but not newer


@pytest.mark.parametrize("window_ms", [300, 50])
def test_rfc5213_5_5_11_timestamp_is_close_to_the_clock(
    domain: type[Domain], window_ms: int
) -> None:
    """TimestampValidityWindow."""
    for offset_ms, status in ((-1, 0), (1, 156)):
        for sign in (-1, 1):
            seconds = 10 + sign * (window_ms + offset_ms) / 1000
            anchor = domain.lma(timestamp_validity_window_ms=window_ms)
            assert anchor.acknowledged(domain.pbu(seconds), 10.0).status == status


def test_rfc5213_5_5_12_mobile_nodes_timestamps_need_not_be_close(domain: type[Domain]) -> None:
    assert second(domain, 5000.0, **GENERATED).status == 0
    assert second(domain, 9.9, **GENERATED).status == 157


def test_rfc5213_5_5_13_timestamp_is_greater_than_all_accepted(domain: type[Domain]) -> None:
    assert second(domain, 10.0).status == 156
    anchor = domain.lma()
    for seconds, status in ((10.0, 0), (10.2, 0), (10.1, 157), (10.2, 156), (10.25, 0)):
        assert anchor.acknowledged(domain.pbu(seconds), 10.2).status == status


@pytest.mark.parametrize("changes", [{}, GENERATED])
def test_rfc5213_5_5_14_timestamp_is_returned(
    domain: type[Domain], changes: dict[str, Any]
) -> None:
    assert second(domain, 10.1, **changes).option(Timestamp) == stamp(domain, 10.1)
    if changes:
        assert second(domain, 9.0, **changes).option(Timestamp) == stamp(domain, 9.0)


def test_rfc5213_5_5_15_timestamp_is_lower(domain: type[Domain]) -> None:
    assert second(domain, 9.99).status == 157
    assert second(domain, 1.0).status == 157  # too far away as well


def test_rfc5213_5_5_16_lower_timestamp_is_told_the_time(domain: type[Domain]) -> None:
    assert second(domain, 9.99).option(Timestamp) == stamp(domain, 10.2)


def test_rfc5213_5_5_17_timestamp_does_not_match(domain: type[Domain]) -> None:
    assert domain.lma().acknowledged(domain.pbu(1.0), 10.0).status == 156
    assert second(domain, 12.0).status == 156


def test_rfc5213_5_5_18_mismatch_is_told_the_time(domain: type[Domain]) -> None:
    assert second(domain, 12.0).option(Timestamp) == stamp(domain, 10.2)


def test_rfc5213_5_5_19_without_timestamp_sequence_numbers_order(domain: type[Domain]) -> None:
    anchor = domain.lma()
    anchor.acknowledged(domain.pbu(sequence=10))
    assert anchor.acknowledged(domain.pbu(timestamp=False, sequence=10)).status == 135
    assert anchor.acknowledged(domain.pbu(timestamp=False, sequence=11)).status == 0


@pytest.mark.parametrize(
    ("sequence", "status"),
    [(15, 135), (0, 135), (32_783, 135), (65_535, 135), (16, 0), (32_782, 0)],
)
def test_rfc5213_5_5_20_sequence_numbers_are_compared_modulo_65536(
    domain: type[Domain], sequence: int, status: int
) -> None:
    """RFC 6275 section 9.5.1, with its example; a refusal has the last accepted number."""
    anchor = domain.lma()
    anchor.acknowledged(domain.pbu(timestamp=False, sequence=15))
    reply = anchor.acknowledged(domain.pbu(timestamp=False, sequence=sequence))
    assert (reply.status, reply.sequence) == (status, 15 if status else sequence)


def test_rfc5213_5_5_21_no_timestamp_without_one(domain: type[Domain]) -> None:
    anchor = domain.lma()
    for sequence in (1, 1):  # accepted, then refused
        reply = anchor.acknowledged(domain.pbu(timestamp=False, sequence=sequence))
        assert reply.option(Timestamp) is None


def test_rfc5213_5_5_22_sequence_numbers_are_supported(domain: type[Domain]) -> None:
    """Also where the domain's variable TimestampBasedApproachInUse says so."""
    anchor = domain.lma(timestamp_based_approach_in_use=False)
    for sequence, status in ((65_535, 0), (0, 0), (0, 135)):
        reply = anchor.acknowledged(domain.pbu(timestamp=False, sequence=sequence))
        assert reply.status == status
