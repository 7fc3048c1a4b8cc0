"""Northbound connections and repeated requests (docs/northbound.md)."""

from __future__ import annotations

from controllers.actions import Action, Announce, Answer, HangUp
from controllers.sessions import KEPT_ANSWERS, Sessions, Ticket
from nodes.northbound import Detach, Reply, Switches, Sync
from tests.controllers.fabrics import HOME, OTHER_HOME


class Recorder(Sessions):
    def __init__(self) -> None:
        self.put: list[Action] = []
        super().__init__(self.put.append)

    def answers(self) -> list[tuple[int, int, bool]]:
        found = [
            (action.connection, action.reply.id, action.reply.ok)
            for action in self.put
            if isinstance(action, Answer)
        ]
        self.put.clear()
        return found


def sync(identity: int, epoch: int = 1) -> Sync:
    return Sync(id=identity, epoch=epoch, mode="sdn-core")


def admitted(sessions: Sessions, connection: int, request: Sync | Detach) -> Ticket:
    ticket = sessions.admit(connection, request)
    assert isinstance(ticket, Ticket)
    return ticket


def refusal(found: Ticket | Reply | None) -> str:
    assert isinstance(found, Reply)
    assert found.error is not None
    return found.error


def connected(*connections: int) -> Recorder:
    sessions = Recorder()
    for connection in connections:
        sessions.up(connection)
    return sessions


def test_a_request_under_way_is_answered_on_each_connection_that_asked() -> None:
    sessions = connected(1, 2)
    admitted(sessions, 1, sync(1))
    ticket = admitted(sessions, 1, Detach(id=2, prefix=HOME))
    admitted(sessions, 2, sync(3))
    assert sessions.admit(2, Detach(id=2, prefix=HOME)) is None
    sessions.answer(ticket)
    assert sessions.answers() == [(1, 2, True), (2, 2, True)]


def test_a_newer_connection_ends_the_one_before() -> None:
    """The LMA's: of one that it has lost, the controller may not have heard."""
    sessions = connected(1, 2)
    admitted(sessions, 1, sync(1))
    admitted(sessions, 2, sync(2))
    assert HangUp(1) in sessions.put
    assert sessions.current == 2
    admitted(sessions, 2, sync(3))
    assert HangUp(2) not in sessions.put


def test_of_two_lmas_the_one_that_started_later_is_served() -> None:
    sessions = connected(1, 2, 3)
    admitted(sessions, 1, sync(1, epoch=5))
    found = sessions.admit(2, sync(1, epoch=4))
    assert refusal(found) == (
        "epoch is 4; expected at least 5, that of an LMA that started later and is connected"
    )
    assert (sessions.current, sessions.answers()) == (1, [])
    admitted(sessions, 3, sync(1, epoch=6))
    assert sessions.current == 3


def test_an_lma_whose_clock_was_set_back_is_served_when_the_old_connection_has_ended() -> None:
    sessions = connected(1, 2)
    admitted(sessions, 1, sync(7, epoch=5))
    sessions.down(1)
    admitted(sessions, 2, sync(1, epoch=4))
    assert sessions.current == 2


def test_an_answer_is_kept_for_later() -> None:
    sessions = connected(1, 2)
    admitted(sessions, 1, sync(1))
    ticket = admitted(sessions, 1, Detach(id=2, prefix=HOME))
    sessions.down(1)
    sessions.answer(ticket, "why not")
    assert sessions.answers() == []
    admitted(sessions, 2, sync(3))
    assert refusal(sessions.admit(2, Detach(id=2, prefix=HOME))) == "why not"


def test_only_the_connection_with_the_latest_sync_is_served() -> None:
    sessions = connected(1, 2)
    admitted(sessions, 1, sync(1))
    admitted(sessions, 2, sync(2))
    assert "another connection" in refusal(sessions.admit(1, Detach(id=3, prefix=HOME)))
    sessions.down(2)
    assert "expected as the first" in refusal(sessions.admit(1, Detach(id=3, prefix=HOME)))


def test_answers_of_an_epoch_that_is_over_are_not_sent() -> None:
    sessions = connected(1)
    old = admitted(sessions, 1, sync(1))
    new = admitted(sessions, 1, sync(1, epoch=2))
    sessions.answer(old)
    assert sessions.answers() == []
    sessions.answer(new)
    assert sessions.answers() == [(1, 1, True)]


def test_the_same_number_for_another_request_is_refused() -> None:
    sessions = connected(1)
    admitted(sessions, 1, sync(1))
    admitted(sessions, 1, Detach(id=2, prefix=HOME))
    assert "another request had" in refusal(sessions.admit(1, Detach(id=2, prefix=OTHER_HOME)))


def test_old_answers_are_forgotten_and_their_numbers_refused() -> None:
    sessions = connected(1)
    for number in range(1, KEPT_ANSWERS + 2):
        sessions.answer(admitted(sessions, 1, sync(number)))
    assert refusal(sessions.admit(1, sync(1))) == f"id is 1; expected one above {KEPT_ANSWERS + 1}"
    assert isinstance(sessions.admit(1, sync(2)), Reply)


def test_switches_are_announced_when_they_change_and_after_each_sync() -> None:
    sessions = connected(1)
    sessions.announce_switches(["s1"], [])
    assert sessions.put == []
    admitted(sessions, 1, sync(1))
    sessions.put.clear()
    for _ in range(2):
        sessions.announce_switches(["s2", "s1"], [])
    assert sessions.put == [Announce(1, Switches(ready=("s1", "s2"), lost=()))]
    assert sessions.ready == {"s1", "s2"}
    admitted(sessions, 1, sync(2))
    sessions.put.clear()
    sessions.announce_switches(["s1", "s2"], [])
    assert len(sessions.put) == 1
