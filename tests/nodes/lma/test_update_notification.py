from __future__ import annotations

import random
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.actions import Instant, Log, Send
from nodes.lma.update_notification import UpdateNotifier
from nodes.wire.messages import UpdateNotification, UpdateNotificationAcknowledgement

LMA = IPv6Address("2001:db8:10::1")
MAG1, MAG2 = IPv6Address("2001:db8:11::1"), IPv6Address("2001:db8:12::1")
MESSAGE = UpdateNotification(sequence=0, reason=8, acknowledge=True)


class FixedStart(random.Random):
    def __init__(self, first: int) -> None:
        self.first = first

    def randrange(self, *bounds: int) -> int:  # type: ignore[override]
        assert bounds == (0x10000,)
        return self.first


def notifier(first: int = 500, retransmissions: int = 1, delay_s: float = 1.0) -> UpdateNotifier:
    return UpdateNotifier(LMA, delay_s, retransmissions, FixedStart(first))


def at(seconds: float) -> Instant:
    return Instant(seconds, 0)


def answer(sequence: int) -> UpdateNotificationAcknowledgement:
    return UpdateNotificationAcknowledgement(sequence=sequence, status=0)


def test_sequence_numbers_start_at_random_and_wrap_to_0_rfc7077_5_1() -> None:
    sender = notifier(first=0xFFFF)
    sent = [sender.send(MESSAGE, MAG1, None, at(0)) for _ in range(2)]
    assert [sequence for sequence, _ in sent] == [0xFFFF, 0]
    assert [getattr(send.message, "sequence", None) for _, send in sent] == [0xFFFF, 0]
    first = [UpdateNotifier(LMA, 1, 1, random.Random(seed)) for seed in range(5)]
    assert len({sender.send(MESSAGE, MAG1, None, at(0))[0] for sender in first}) == 5


@given(st.integers(0, 0xFFFF), st.lists(st.booleans(), max_size=40))
def test_outstanding_sequence_numbers_do_not_collide_rfc7077_4_1(
    first: int, answered: list[bool]
) -> None:
    sender = notifier(first)
    waiting: set[int] = set()
    for done in answered:
        sequence, _ = sender.send(MESSAGE, MAG1, None, at(0))
        assert sequence not in waiting
        waiting.add(sequence)
        sender._next_sequence = first  # as after 65536 messages
        if done:
            assert sender.acknowledge(answer(sequence), MAG1) is not None
            waiting.remove(sequence)


def test_an_answer_is_taken_once_and_from_the_right_peer_rfc7077_5_2() -> None:
    sender = notifier()
    sequence, send = sender.send(MESSAGE, MAG1, "subject", at(0))
    assert (send.source, send.destination) == (LMA, MAG1)
    assert sender.acknowledge(answer(sequence + 1), MAG1) is None
    assert sender.acknowledge(answer(sequence), MAG2) is None
    outstanding = sender.acknowledge(answer(sequence), MAG1)
    assert outstanding is not None
    assert outstanding.subject == "subject"
    assert sender.acknowledge(answer(sequence), MAG1) is None
    assert sender.deadline() is None


@pytest.mark.parametrize("retransmissions", [0, 1, 5])
def test_retransmissions_then_nothing_rfc7077_5_2(retransmissions: int) -> None:
    """After MIN_DELAY_BETWEEN_UPDATE_NOTIFICATION_REPLAY each, with the D flag, the same number
    and contents; MAX_UPDATE_NOTIFICATION_RETRANSMIT_COUNT times."""
    sender = notifier(retransmissions=retransmissions, delay_s=0.5)
    sequence, first = sender.send(MESSAGE, MAG1, "subject", at(10))
    assert isinstance(first.message, UpdateNotification)
    assert not first.message.retransmit
    for number in range(1, retransmissions + 1):
        due = 10 + number * 0.5
        assert sender.deadline() == due
        assert sender.handle_timer(at(due - 0.001)) == ([], [])
        actions, expired = sender.handle_timer(at(due))
        assert [type(action) for action in actions] == [Log, Send]
        again = actions[1]
        assert isinstance(again, Send)
        assert again.message == UpdateNotification(sequence, 8, acknowledge=True, retransmit=True)
        assert expired == []
    actions, expired = sender.handle_timer(at(10 + (retransmissions + 1) * 0.5))
    assert actions == []
    assert [outstanding.subject for outstanding in expired] == ["subject"]
    assert sender.acknowledge(answer(sequence), MAG1) is None


def test_an_answer_to_the_first_copy_stops_retransmission_rfc7077_5_2() -> None:
    sender = notifier()
    sequence, _ = sender.send(MESSAGE, MAG1, None, at(0))
    sender.handle_timer(at(1))
    assert sender.acknowledge(answer(sequence), MAG1) is not None
    assert sender.handle_timer(at(2)) == ([], [])


def test_what_is_unwanted_is_withdrawn_and_nothing_else_rfc7077_5_2() -> None:
    sender = notifier()
    for peer, subject in ((MAG1, "a"), (MAG2, "b"), (MAG1, "c")):
        sender.send(MESSAGE, peer, subject, at(0))
    withdrawn = sender.withdraw(lambda outstanding: outstanding.peer == MAG1)
    assert [outstanding.subject for outstanding in withdrawn] == ["a", "c"]
    assert [outstanding.subject for outstanding in sender.outstanding()] == ["b"]
