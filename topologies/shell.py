"""Mininet's prompt with commands for flow mobility."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import msgspec

from nodes.control_client import ControlError, request
from topologies.model import Direction
from topologies.network import DIRECTIONS, DirectionName, Network
from topologies.openvswitch import SwitchError, Switches

# After topologies.network, which makes Mininet's imports cheap.
from mininet.cli import CLI  # isort: skip

# What can be set on a link: the field of a direction, and how its text is read.
SETTINGS = {"delay": "delay_ms", "rate": "rate_mbit", "loss": "loss", "queue": "queue_packets"}
UNLIMITED = "none"


class CommandError(ValueError):
    """What was typed is wrong; the message says what was expected."""


def parse_changes(words: Sequence[str]) -> dict[str, float | int | None]:
    """`delay=20 rate=none` as fields of a Direction. Raises CommandError."""
    changes: dict[str, float | int | None] = {}
    for word in words:
        key, _, text = word.partition("=")
        if key not in SETTINGS:
            raise CommandError(f"{word!r}: expected one of {', '.join(SETTINGS)}, as in delay=20")
        changes[SETTINGS[key]] = _value(key, text)
    return changes


def _value(key: str, text: str) -> float | int | None:
    if key == "rate" and text == UNLIMITED:
        return None
    try:
        value = int(text) if key == "queue" else float(text)
    except ValueError:
        raise CommandError(f"{key}={text}: expected a number") from None
    too_small = value <= 0 if key in ("rate", "queue") else value < 0
    # `not <=` refuses NaN as well.
    if too_small or not value <= (1 if key == "loss" else 1e6):
        raise CommandError(f"{key}={text}: out of range")
    return value


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as text, one column per key, in the order in which keys come up."""
    if not rows:
        return "(none)\n"
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([_cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        + "\n"
        for line in cells
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ",".join(_cell(item) for item in value) or "-"
    if isinstance(value, Mapping):
        return ",".join(f"{key}={_cell(item)}" for key, item in value.items()) or "-"
    return str(value)


def _rows(result: Any) -> list[Mapping[str, Any]]:
    if isinstance(result, Mapping):
        return [result]
    return [row if isinstance(row, Mapping) else {"value": row} for row in result or []]


class FlowShell(CLI):  # type: ignore[misc]
    """The prompt. `control` is the path of the LMA's control socket, `mn` the MN's identifier.

    The constructor runs the prompt and returns when the user leaves it. `script`: the name of a
    file with commands to run instead. `rules` gives what is shown of the rules of a switch, or of
    all; it raises OSError or ValueError.
    """

    prompt = "flowmob> "

    def __init__(
        self,
        network: Network,
        control: Path,
        mn: str,
        stdin: TextIO = sys.stdin,
        script: str | None = None,
        switches: Switches | None = None,
        rules: Callable[[str | None], str] | None = None,
    ) -> None:
        self.network, self.control, self.mobile = network, control, mn
        self.openflow_switches, self.rules = switches, rules
        super().__init__(network.mininet, stdin=stdin, script=script)

    def do_bindings(self, _line: str) -> None:
        """bindings: the LMA's binding cache, one line per attached interface."""
        self._show({"op": "bindings"})

    def do_flows(self, _line: str) -> None:
        """flows: the LMA's flow bindings."""
        self._show({"op": "flows"})

    def do_move(self, line: str) -> None:
        """move FLOW ACCESS: move flow number FLOW to ACCESS, as in "move 1 cell"."""
        words = line.split()
        accesses = ", ".join(self.network.topology.accesses)
        if len(words) != 2 or not words[0].isdecimal():
            self._complain(
                f"expected a flow's number and an access ({accesses}), as in: move 1 cell"
            )
        elif words[1] not in self.network.topology.accesses:
            self._complain(f"{words[1]!r}: expected one of {accesses}")
        else:
            message = {"op": "move-flow", "mn": self.mobile, "fid": int(words[0]), "to": words[1]}
            self._show(message)

    def do_link(self, line: str) -> None:
        """link NAME [down|up] [delay=MS] [rate=MBIT|none] [loss=0..1] [queue=PACKETS]

        Change a link in place, in one direction or in both (down is towards the MN); without a
        change, show it. "links" lists Mininet's view of all."""
        words = line.split()
        try:
            if not words:
                raise CommandError("expected a link: " + ", ".join(self.network.topology.links))
            name, rest = words[0], words[1:]
            wanted: Sequence[DirectionName] = DIRECTIONS
            if rest and rest[0] in DIRECTIONS:
                wanted = [direction for direction in DIRECTIONS if direction == rest[0]]
                rest = rest[1:]
            changes = parse_changes(rest) if rest else {}
            for direction in wanted:
                present = self.network.direction(name, direction)
                to: Direction = msgspec.structs.replace(present, **changes)
                if changes:
                    self.network.change_link(name, direction, to)
            self._print(
                table(
                    [
                        {"link": name, "direction": d}
                        | msgspec.structs.asdict(self.network.direction(name, d))
                        for d in DIRECTIONS
                    ]
                )
            )
        except (ValueError, OSError) as error:
            self._complain(str(error))

    def do_rules(self, line: str) -> None:
        """rules [SWITCH [raw]]: what the switches do with the packets of flows and prefixes, as the
        controller has it from them; raw: all rules of one, as Open vSwitch has them."""
        words = line.split()
        names = self.network.topology.switches
        if self.openflow_switches is None or self.rules is None:
            self._complain("no switches with a controller here; try: flowmob shell sdn")
        elif (words and words[0] not in names) or words[1:] not in ([], ["raw"]):
            self._complain(f"expected a switch ({', '.join(names)}), as in: rules s2, rules s2 raw")
        else:
            try:
                if words[1:]:
                    self._print(self.openflow_switches.ofctl("dump-flows", words[0]))
                else:
                    self._print(self.rules(words[0] if words else None) + "\n")
            except (OSError, ValueError, SwitchError) as error:
                self._complain(str(error))

    def _show(self, message: dict[str, Any]) -> None:
        try:
            reply = request(self.control, message)
        except ControlError as error:
            self._complain(str(error))
        else:
            self._print(table(_rows(reply.get("result"))))

    def _print(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()

    def _complain(self, text: str) -> None:
        self._print(f"*** {text}\n")
