"""An nftables table of a node that starts while the one of an earlier start is in force.

What is to be in it is collected first. Then one transaction makes the difference: elements of maps
and sets that are there and right stay untouched. Rules that were added, which can't be compared,
take the place of those that are there, in the same transaction.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Sequence
from ipaddress import IPv6Network
from typing import Any, NamedTuple

from nftables import Nftables

from nodes.kernel.nftables import Command, Transactions

# What an element is or maps to: numbers, and all else as text.
_Part = int | str
_Key = tuple[_Part, ...]


class _Element(NamedTuple):
    """`written` is how a command writes it."""

    value: _Part | None
    written: Command


class AdoptedTable(Transactions):
    """`skeleton` is what makes the table, with empty maps; `adopt`: begin with the one that is
    there, if it was made by the same skeleton. Until `end_adoption`, nothing is carried out."""

    def __init__(self, table: str, skeleton: Sequence[str], *, adopt: bool) -> None:
        super().__init__(table)
        self._name = table
        # An empty chain: listings in JSON don't have the comment, which would be the place.
        version = f"made_by_{zlib.crc32(''.join(skeleton).encode()):08x}"
        self._anew = (
            f"add table {table}",
            f"delete table {table}",
            f"table {table} {{\n  chain {version} {{\n  }}\n}}",
            *skeleton,
        )
        self._found = _list(table) if adopt else None
        if self._found is not None and version not in self._found.chains:
            self._found = None
        self._collected: list[Command] | None = [] if adopt else None
        if not adopt:
            super().run(*self._anew)

    def holds(self, name: str, prefix: IPv6Network) -> bool:
        """Whether a set of the table that was found has this prefix, by its first address."""
        elements = {} if self._found is None else self._found.elements.get(name, {})
        return (str(prefix.network_address),) in elements

    def run(self, *commands: Command) -> None:
        if self._collected is None:
            super().run(*commands)
        else:
            self._collected += commands

    def end_adoption(self) -> None:
        """What was collected is in force from now on, and nothing else of the table is."""
        collected, self._collected = self._collected or [], None
        if self._found is None:
            super().run(*self._anew, *collected)
            return
        commands = self._difference(self._found, collected)
        self._found = None
        if commands:
            super().run(*commands)

    def _difference(self, found: _Found, collected: list[Command]) -> list[Command]:
        wanted: dict[str, dict[_Key, _Element]] = {}
        rules: list[str] = []
        pattern = re.compile(rf"(add|delete) element {self._name} (\w+) {{ (.+?)(?: : (.+))? }}")
        for command in collected:
            words = command if isinstance(command, str) else command.command(self._name)
            match = pattern.fullmatch(words)
            if match is None:
                rules.append(words)
                continue
            verb, name, key, value = match.groups()
            elements = wanted.setdefault(name, {})
            parts = tuple(_part(part) for part in key.split(" . "))
            if verb == "add":
                elements[parts] = _Element(None if value is None else _part(value), command)
            else:
                elements.pop(parts, None)
        gone: list[Command] = []
        come: list[Command] = []
        made_with = {match[1] for part in self._anew for match in _WITH_ELEMENTS.finditer(part)}
        for name in (found.elements.keys() | wanted.keys()) - made_with:
            there, needed = found.elements.get(name, {}), wanted.get(name, {})
            for parts, value in there.items():
                if parts not in needed or needed[parts].value != value:
                    key = " . ".join(str(part) for part in parts)
                    gone.append(f"delete element {self._name} {name} {{ {key} }}")
            for parts, element in needed.items():
                if parts not in there or there[parts] != element.value:
                    come.append(element.written)
        return [*gone, *self._rules(found, rules), *come]

    def _rules(self, found: _Found, rules: list[str]) -> list[str]:
        """The chains that rules are added to and taken from, as they are to be."""
        made = {match[1] for rule in rules if (match := _ADD_CHAIN.match(rule)) is not None}
        own = {match[1] for part in self._anew for match in _CHAIN.finditer(part)}
        unused = [chain for chain in found.chains if chain not in made | own]
        return [
            *(f"flush chain {self._name} {chain}" for chain in found.filled),
            *(f"delete chain {self._name} {chain}" for chain in unused),
            *rules,
        ]


_ADD_CHAIN = re.compile(r"add chain \S+ \S+ (\w+)")
_CHAIN = re.compile(r"^ *chain (\w+) {", re.MULTILINE)
_WITH_ELEMENTS = re.compile(
    r"^ *(?:set|map) (\w+) {(?:(?!^ *}).)*elements", re.MULTILINE | re.DOTALL
)


class _Found(NamedTuple):
    """A table as the kernel has it. `chains` are those without a hook, and `filled` those of them
    that have rules."""

    elements: dict[str, dict[_Key, _Part | None]]
    chains: list[str]
    filled: list[str]


def _list(table: str) -> _Found | None:
    """None if there is no such table."""
    library = Nftables()
    library.set_json_output(True)
    library.set_numeric_proto_output(True)
    status, output, _ = library.cmd(f"list table {table}")
    if status != 0:
        return None
    items = [(kind, what) for item in json.loads(output)["nftables"] for kind, what in item.items()]
    elements: dict[str, dict[_Key, _Part | None]] = {}
    for kind, what in items:
        if kind == "map":
            pairs = what.get("elem", ())
            elements[what["name"]] = {_listed_key(key): _listed(value) for key, value in pairs}
        elif kind == "set":
            elements[what["name"]] = {_listed_key(key): None for key in what.get("elem", ())}
    chains = [what["name"] for kind, what in items if kind == "chain" and "hook" not in what]
    with_rules = {what["chain"] for kind, what in items if kind == "rule"}
    filled = [chain for chain in chains if chain in with_rules]
    return _Found(elements, chains, filled)


def _listed_key(key: Any) -> _Key:
    parts = key["concat"] if isinstance(key, dict) and "concat" in key else [key]
    return tuple(_listed(part) for part in parts)


def _listed(part: Any) -> _Part:
    """A part of an element as JSON has it, in the form that `_part` gives one of a command."""
    match part:
        case {"jump": {"target": chain}}:
            return f"jump {chain}"
        case int() | str():
            return _part(str(part))
    return json.dumps(part)


def _part(text: str) -> _Part:
    try:
        return int(text, 0)
    except ValueError:
        return text.strip('"')
