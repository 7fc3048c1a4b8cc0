"""What a switch has, as far as the controller knows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from ipaddress import IPv6Network
from typing import NamedTuple

from controllers.actions import Command, RuleChange
from controllers.openflow import Match, Rule
from controllers.rules import Cookie, CookieKind

Identity = tuple[int, int, Match]

# Prefixes of mobile nodes have 64 bits (RFC 4862 with 64-bit interface identifiers). Neighbouring
# ones may be in one rule, but not more than these.
_PREFIX_BITS = 64
_SHORTEST_PREFIX = 56


class Owner(NamedTuple):
    """Whose rule it is: of the fabric, of a prefix, or of the flow with this key."""

    kind: CookieKind
    name: IPv6Network | int = 0


BASE = Owner(CookieKind.BASE)


def flow_owner(key: int) -> Owner:
    return Owner(CookieKind.FLOW, key)


def prefix_owner(prefix: IPv6Network) -> Owner:
    return Owner(CookieKind.PREFIX, prefix)


def owner_of(rule: Rule) -> Owner | None:
    """None: the rule is not one of ours."""
    cookie = Cookie.decode(rule.cookie)
    if cookie is None:
        return None
    if cookie.kind is not CookieKind.PREFIX:
        return Owner(cookie.kind, cookie.key)
    found = rule.match.get("ipv6_dst")
    if found is None:
        return Owner(cookie.kind, cookie.key)
    value, mask = found
    return prefix_owner(IPv6Network((value, mask.bit_count())))


def overlap(one: Match, other: Match) -> bool:
    """Whether some packet matches both."""
    fields = {name: (value, mask) for name, value, mask in other.fields}
    for name, value, mask in one.fields:
        theirs = fields.get(name)
        if theirs is not None and (value ^ theirs[0]) & mask & theirs[1]:
            return False
    return True


def destinations(match: Match) -> Iterable[int]:
    """The 64-bit prefixes that packets of a match may be for, as numbers; none: too many."""
    found = match.get("ipv6_dst")
    if found is None:
        return ()
    value, mask = found
    first, bits = value >> _PREFIX_BITS, mask.bit_count()
    if bits >= _PREFIX_BITS:
        return (first,)
    return range(first, first + (1 << _PREFIX_BITS - bits)) if bits >= _SHORTEST_PREFIX else ()


class Table:
    """The rules of all tables of a switch."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._rules: dict[Identity, Rule] = {}
        self._by_owner: dict[Owner, dict[Identity, Rule]] = {}
        self._by_destination: dict[int, dict[Identity, Rule]] = {}
        for rule in rules:
            self.put(rule)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._rules.values())

    def __len__(self) -> int:
        return len(self._rules)

    def get(self, identity: Identity) -> Rule | None:
        return self._rules.get(identity)

    def put(self, rule: Rule) -> None:
        self.remove(rule.identity)
        owner = owner_of(rule)
        if owner is None:
            return
        self._rules[rule.identity] = rule
        self._by_owner.setdefault(owner, {})[rule.identity] = rule
        for destination in destinations(rule.match):
            self._by_destination.setdefault(destination, {})[rule.identity] = rule

    def remove(self, identity: Identity) -> None:
        rule = self._rules.pop(identity, None)
        owner = None if rule is None else owner_of(rule)
        if rule is None or owner is None:
            return
        del self._by_owner[owner][identity]
        if not self._by_owner[owner]:
            del self._by_owner[owner]
        for destination in destinations(rule.match):
            del self._by_destination[destination][identity]
            if not self._by_destination[destination]:
                del self._by_destination[destination]

    def apply(self, changes: Iterable[RuleChange]) -> None:
        for change in changes:
            if change.command is Command.DELETE:
                self.remove(change.rule.identity)
            else:
                self.put(change.rule)

    @property
    def owners(self) -> Iterable[Owner]:
        return self._by_owner.keys()

    def of(self, owner: Owner) -> dict[Identity, Rule]:
        return self._by_owner.get(owner, {})

    def overlapping(self, match: Match) -> Iterator[Rule]:
        """Rules for the same prefixes that have packets in common with `match`."""
        for destination in destinations(match):
            for rule in self._by_destination.get(destination, {}).values():
                if overlap(match, rule.match):
                    yield rule


class Status(StrEnum):
    """AWAITED until the controller has run for a while; READING its rules after it has connected;
    READY for changes."""

    AWAITED = "awaited"
    LOST = "lost"
    READING = "reading"
    READY = "ready"


class Switch:
    """`table` is what it has when it has done all that it was told; of the owners in `uncertain`
    that isn't known, because it was lost before it had confirmed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.status = Status.AWAITED
        self.table = Table()
        self.uncertain: set[Owner] = set()

    @property
    def ready(self) -> bool:
        return self.status is Status.READY
