"""The LMA's connection to the controller: when to connect, numbers, and requests without answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodes.actions import Action, CloseNorthbound, ConnectNorthbound, SendNorthbound
from nodes.controller_config import ControllerConfig
from nodes.lma.northbound_session import NorthboundSession
from nodes.northbound import RemoveFlow, Reply

if TYPE_CHECKING:
    from tests.domain import Domain


def session(domain: type[Domain]) -> tuple[NorthboundSession, list[Action]]:
    """Timeout 2 s, reconnects after 1 s."""
    done: list[Action] = []
    config = ControllerConfig(
        address=domain.LMA, request_timeout_ms=2_000, reconnect_delay_ms=1_000
    )
    return NorthboundSession(config, lambda *actions: done.extend(actions)), done


def remove(number: int) -> RemoveFlow:
    return RemoveFlow(id=number, key=1)


def test_it_connects_at_once_and_again_a_while_after_a_loss(domain: type[Domain]) -> None:
    found, done = session(domain)
    assert found.deadline() == 0.0
    assert found.handle_timer(domain.at(5)) is None
    assert domain.of(ConnectNorthbound, done) == [ConnectNorthbound()]
    assert found.deadline() == 7
    found.opened()
    assert found.deadline() is None
    found.ended(domain.at(10))
    assert found.deadline() == 11
    found.handle_timer(domain.at(11))
    assert len(domain.of(ConnectNorthbound, done)) == 2


def test_a_connection_that_takes_too_long_is_given_up(domain: type[Domain]) -> None:
    found, done = session(domain)
    found.handle_timer(domain.at(0))
    assert found.handle_timer(domain.at(2)) == "no connection could be made"
    assert domain.of(CloseNorthbound, done)


def test_numbers_go_on_over_connections(domain: type[Domain]) -> None:
    found, done = session(domain)
    found.opened()
    assert [found.send(remove), found.send(remove)] == [1, 2]
    found.ended(domain.at(0))
    found.opened()
    assert found.send(remove) == 3
    assert [action.request.id for action in domain.of(SendNorthbound, done)] == [1, 2, 3]


def test_time_runs_from_the_input_that_sent_a_request(domain: type[Domain]) -> None:
    found, done = session(domain)
    found.opened()
    found.send(remove)
    found.settle(domain.at(3))
    found.settle(domain.at(4))
    assert found.deadline() == 5
    assert found.handle_timer(domain.at(4.9)) is None
    assert found.handle_timer(domain.at(5)) == "the controller did not answer within 2000 ms"
    assert domain.of(CloseNorthbound, done)


def test_an_answer_is_taken_once(domain: type[Domain]) -> None:
    found, _ = session(domain)
    found.opened()
    reply = Reply(id=found.send(remove), ok=True)
    found.settle(domain.at(0))
    assert found.answered(reply)
    assert found.deadline() is None
    assert not found.answered(reply)
    found.send(remove)
    found.ended(domain.at(1))
    assert not found.answered(Reply(id=2, ok=True))  # it was for a connection that is gone
