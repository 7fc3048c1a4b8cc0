"""The queue in front of an LMA that can't keep up: bounded, and what costs least is dropped."""

from __future__ import annotations

from collections import defaultdict
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.lma.signalling_queue import (
    Dropped,
    SignallingQueue,
    Urgency,
    WaitingMessages,
    subject_of,
    urgency_of,
)
from nodes.wire.messages import Heartbeat
from tests.domain import CELL, LINK_LAYER_2, MAG1, MAG2, MN, OTHER_MN, WLAN, Domain

ANSWER, EXISTING, NEW = Urgency


def drained(queue: SignallingQueue[str]) -> list[str]:
    found = []
    while (work := queue.take()) is not None:
        found.append(work)
    assert len(queue) == 0
    return found


def test_existing_sessions_go_before_new_ones_and_answers_before_both() -> None:
    queue: SignallingQueue[str] = SignallingQueue(100)
    for work, urgency in (("new", NEW), ("renewal", EXISTING), ("fma", ANSWER)):
        queue.put(work, MAG1, urgency)
    assert drained(queue) == ["fma", "renewal", "new"]


def test_mags_take_turns() -> None:
    queue: SignallingQueue[str] = SignallingQueue(100)
    for number in range(4):
        queue.put(f"flood{number}", MAG1, NEW)
    queue.put("other", MAG2, NEW)
    assert drained(queue) == ["flood0", "other", "flood1", "flood2", "flood3"]


def test_the_newest_request_takes_the_place_of_those_before_rfc5213_6_9_1_2() -> None:
    queue: SignallingQueue[str] = SignallingQueue(100)
    queue.put("first", MAG1, NEW, "mn1")
    queue.put("other", MAG1, NEW, "mn2")
    assert queue.put("second", MAG1, NEW, "mn1") == Dropped("first", NEW, True)
    assert queue.put("elsewhere", MAG2, NEW, "mn1") is None
    assert drained(queue) == ["second", "elsewhere", "other"]


def test_messages_without_subject_all_stay() -> None:
    queue: SignallingQueue[str] = SignallingQueue(100)
    assert [queue.put(work, MAG1, ANSWER) for work in ("a", "b")] == [None, None]
    assert drained(queue) == ["a", "b"]


def test_a_full_queue_drops_the_oldest_of_who_has_most_of_the_least_urgent() -> None:
    queue: SignallingQueue[str] = SignallingQueue(most=4)
    queue.put("old", MAG2, NEW)
    for number in range(2):
        queue.put(f"flood{number}", MAG1, NEW)
    queue.put("renewal", MAG1, EXISTING)
    assert queue.put("fma", MAG1, ANSWER) == Dropped("flood0", NEW, False)
    assert queue.put("renewal2", MAG1, EXISTING) == Dropped("old", NEW, False)
    assert queue.put("renewal3", MAG1, EXISTING) == Dropped("flood1", NEW, False)
    assert queue.put("new", MAG2, NEW) == Dropped("new", NEW, False)
    assert queue.put("renewal4", MAG2, EXISTING) == Dropped("renewal", EXISTING, False)
    assert drained(queue) == ["fma", "renewal2", "renewal4", "renewal3"]


@pytest.mark.parametrize(("mn", "urgency"), [(MN, EXISTING), (OTHER_MN, NEW)])
def test_urgency_is_whether_the_mobile_node_has_a_session(
    domain: type[Domain], mn: str, urgency: Urgency
) -> None:
    lma = domain.lma()
    lma.receive(domain.pbu())
    bindings = lma.core.bindings
    assert urgency_of(domain.pbu(mn=mn), bindings) is urgency
    assert urgency_of(Heartbeat(1), bindings) is ANSWER


def test_the_subject_is_the_interface_as_the_request_names_it(domain: type[Domain]) -> None:
    first = subject_of(domain.pbu(1.0))
    assert first == subject_of(domain.pbu(2.0, lifetime=0))
    others = [
        subject_of(domain.pbu(mn=OTHER_MN)),
        subject_of(domain.pbu(technology=CELL)),
        subject_of(domain.pbu(technology=WLAN, link_layer=LINK_LAYER_2)),
    ]
    assert len({first, *others}) == 4
    assert subject_of(Heartbeat(1)) is None


def test_what_is_dropped_is_reported_in_sums(domain: type[Domain]) -> None:
    waiting: WaitingMessages[str] = WaitingMessages(domain.lma().core.bindings, 2)
    assert waiting.report(5.0) is None
    for work in ("a", "b"):
        waiting.put(work, domain.pbu(), MAG1)
    assert waiting.report(5.0) == {"replaced": 1, "dropped": 0, "waiting": 1}
    for number in range(3):
        waiting.put("c", domain.pbu(mn=f"mn{number}@x"), MAG1)
    assert waiting.report(5.9) is None
    waiting.put("d", domain.pbu(), MAG2)
    assert waiting.report(6.0) == {"replaced": 0, "dropped": 3, "waiting": 2}
    assert waiting.report(9.0) is None


WORK = st.tuples(
    st.sampled_from([MAG1, MAG2]),
    st.sampled_from(list(Urgency)),
    st.one_of(st.none(), st.integers(0, 3)),
)


@given(steps=st.lists(st.one_of(st.none(), WORK), max_size=60), most=st.integers(1, 6))
def test_nothing_vanishes_and_the_bound_holds(
    steps: list[tuple[IPv6Address, Urgency, int | None] | None], most: int
) -> None:
    """Each piece of work is taken once or dropped once; in a lane, a MAG's come out in order but
    for what replaces another."""
    queue: SignallingQueue[int] = SignallingQueue(most)
    put, out = set(), []
    taken: defaultdict[tuple[IPv6Address, Urgency], list[int]] = defaultdict(list)
    where = {}
    for number, step in enumerate(steps):
        if step is None:
            work = queue.take()
            assert (work is None) == (len(put) == len(out))
        else:
            source, urgency, subject = step
            where[number] = (source, urgency)
            put.add(number)
            dropped = queue.put(number, source, urgency, subject)
            work = None if dropped is None else dropped.work
            if dropped is not None and dropped.replaced:
                assert where[dropped.work] == (source, urgency)
        if work is not None:
            out.append(work)
            if step is None:
                taken[where[work]].append(work)
        assert len(queue) == len(put) - len(out) <= most
    while (work := queue.take()) is not None:
        out.append(work)
    assert sorted(out) == sorted(put)
