"""What the controller's core puts out, for the shell to carry out in order."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controllers.openflow import Rule
from nodes.actions import Log
from nodes.northbound import Event, Reply


class Command(StrEnum):
    """OFPFC_ADD, which replaces a rule of the same identity; OFPFC_MODIFY_STRICT, which leaves its
    counters as they are, but can't change the cookie; OFPFC_DELETE_STRICT."""

    ADD = "add"
    MODIFY = "modify"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class RuleChange:
    command: Command
    rule: Rule


@dataclass(frozen=True, slots=True)
class SendRules:
    """Changes, of which no two have the same rule, and after them a barrier request. All of these
    messages have the transaction identifier `xid`, so that an error names the batch."""

    switch: str
    changes: tuple[RuleChange, ...]
    xid: int


@dataclass(frozen=True, slots=True)
class RequestDump:
    """Ask for the rules with our cookies and their counters."""

    switch: str
    xid: int


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the channel of a switch that doesn't answer: it has to begin anew."""

    switch: str


@dataclass(frozen=True, slots=True)
class Answer:
    connection: int
    reply: Reply


@dataclass(frozen=True, slots=True)
class Announce:
    connection: int
    event: Event


@dataclass(frozen=True, slots=True)
class HangUp:
    """End a northbound connection: another one counts."""

    connection: int


Action = SendRules | RequestDump | Disconnect | Answer | Announce | HangUp | Log
