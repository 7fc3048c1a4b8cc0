"""The daemon's loop: what the tests over real sockets can't tell from a later turn of it."""

from __future__ import annotations

from pathlib import Path

from nodes.actions import Action, CloseNorthbound, Instant, Log
from nodes.daemon import Daemon
from nodes.event_log import EventWriter


class Asking:
    """A core that wants something more once `asked`."""

    def __init__(self) -> None:
        self.actions: list[Action] = [Log("first"), CloseNorthbound()]

    def take_actions(self) -> list[Action]:
        actions, self.actions = self.actions, []
        return actions

    def timer(self) -> float | None:
        return None

    def handle_timer(self, now: Instant) -> None:
        pass


def test_what_carrying_out_an_action_asks_for_is_done_as_well(tmp_path: Path) -> None:
    """An order whose request can't be sent would else wait for the next input."""
    core = Asking()
    with EventWriter(tmp_path / "events.jsonl", "node") as events:
        Daemon(core, events, lambda _: core.actions.append(Log("second"))).carry_out()
    text = (tmp_path / "events.jsonl").read_text()
    assert text.index("first") < text.index("second")
    assert core.take_actions() == []
