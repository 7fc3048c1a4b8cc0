"""What switches have not answered yet."""

from __future__ import annotations

from controllers.actions import Action, Command, RequestDump, RuleChange, SendRules
from controllers.config import Timers
from controllers.exchanges import Batch, Exchanges
from controllers.rules import flow_rules
from controllers.switch_table import Switch, flow_owner
from tests.controllers.fabrics import HOME, MAG1, reference_fabric
from tests.controllers.model import flow

RULE = flow_rules(reference_fabric(), flow(7, HOME, 80), (MAG1,))["s1"][0]
TIMERS = Timers(barrier_timeout_ms=1_000, barrier_retries=2)


def made() -> tuple[Exchanges, list[Action]]:
    put: list[Action] = []
    return Exchanges(TIMERS, put.append), put


def send(exchanges: Exchanges, switch: Switch) -> Batch:
    return exchanges.send(switch, [RuleChange(Command.ADD, RULE)], 0.0)


def test_rules_are_in_the_table_at_once_and_their_owner_is_busy_until_the_answer() -> None:
    exchanges, put = made()
    switch = Switch("s1")
    batch = send(exchanges, switch)
    (message,) = put
    assert isinstance(message, SendRules)
    assert list(switch.table) == [RULE]
    assert exchanges.busy([flow_owner(7)])
    assert exchanges.get("s1", message.xid) is batch
    assert exchanges.get("s2", message.xid) is None
    exchanges.close(batch)
    assert not exchanges.busy([flow_owner(7)])
    assert exchanges.get("s1", message.xid) is None
    assert exchanges.deadline() is None


def test_a_late_answer_is_asked_for_again_without_the_rules() -> None:
    exchanges, put = made()
    batch = send(exchanges, Switch("s1"))
    assert exchanges.deadline() == 1.0
    assert exchanges.repeat(0.999) == []
    assert exchanges.repeat(1.0) == []
    again = put[-1]
    assert isinstance(again, SendRules)
    assert again.changes == ()
    assert len(batch.xids) == 2
    assert all(exchanges.get("s1", xid) is batch for xid in batch.xids)


def test_after_all_repetitions_it_is_given_up() -> None:
    exchanges, put = made()
    batch = send(exchanges, Switch("s1"))
    assert exchanges.repeat(1.0) == exchanges.repeat(2.0) == []
    assert exchanges.repeat(3.0) == [batch]
    assert len(put) == 3
    assert exchanges.of("s1") == [batch]


def test_dumps_are_repeated_as_well() -> None:
    exchanges, put = made()
    exchanges.dump(Switch("s1"), 0.0, reading=True)
    exchanges.repeat(1.0)
    assert [type(action) for action in put] == [RequestDump, RequestDump]


def test_two_batches_of_an_owner_keep_it_busy_until_both_are_answered() -> None:
    exchanges, _ = made()
    first, second = send(exchanges, Switch("s1")), send(exchanges, Switch("s2"))
    exchanges.close(first)
    assert exchanges.busy([flow_owner(7)])
    exchanges.close(second)
    assert not exchanges.busy([flow_owner(7)])
