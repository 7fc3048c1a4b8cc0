"""In which order the rules of an owner change, so that its packets never lose their way.

A strand is what the rules of an owner with the same path have in common. For each of its packets a
switch is on the path of now or of then. New rules where no packet of the strand passes come first,
in any order. Where packets pass, switches change one after the other, the farthest from the LMA
first: then a packet goes by old rules until it meets a changed switch, and from there on by new
ones only, which all are there. Rules of a strand that is to have none go from the nearest on: for
some of its packets there may be no other rule at the farther ones. Rules that only an old path has
go last, when it has drained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from itertools import takewhile
from typing import NamedTuple

from controllers.actions import Command, RuleChange
from controllers.fabric import Fabric, FabricError, FabricNode
from controllers.openflow import Action, Rule, SetField, output_ports
from controllers.rules import FLOWS, PREFIXES, CookieKind, Rules
from controllers.switch_table import BASE, Identity, Owner, Switch, overlap, owner_of

Changes = dict[str, dict[Identity, RuleChange]]
"""By switch, one for each rule."""


@dataclass(slots=True)
class Plan:
    """What is left to do for some owners. By depth: `ordered`, the farthest first, and after
    everything else `removals`, the nearest first. `stale` is for when packets have drained;
    `waiting` are the switches that aren't ready and that something has to be changed at first."""

    together: Changes = field(default_factory=dict)
    ordered: dict[int, Changes] = field(default_factory=dict)
    removals: dict[int, Changes] = field(default_factory=dict)
    stale: Changes = field(default_factory=dict)
    held: bool = False
    waiting: set[str] = field(default_factory=set)

    def step(self) -> Changes:
        """What can be done at once; nothing: the new paths are in force, or a switch is missing."""
        if self.together:
            return self.together
        if self.ordered:
            return self.ordered[max(self.ordered)]
        return self.removals[min(self.removals)] if self.removals else {}

    @property
    def done(self) -> bool:
        return not (self.step() or self.waiting or self.stale or self.held)


@dataclass(slots=True)
class Strand:
    identities: list[Identity]
    now: dict[str, tuple[Rule, ...]]
    then: dict[str, tuple[Rule, ...]]


class Leaving(NamedTuple):
    """A strand that is to go, and the switches that its packets may pass."""

    strand: Strand
    carrying: Mapping[str, set[int]]


class Steering:
    """`gone` tells owners that are to have no rules any more."""

    def __init__(
        self, fabric: Fabric, switches: Mapping[str, Switch], gone: Callable[[Owner], bool]
    ) -> None:
        self._fabric = fabric
        self._switches = switches
        self._gone = gone

    def plan(self, owner: Owner, wanted: Rules, plan: Plan) -> None:
        """Add to `plan` what lies between the tables and `wanted`."""
        if owner == BASE:
            return self._plan_base(wanted, plan)
        strands = self._strands(owner, wanted)
        leaving = self._leaving(strands)
        for strand in strands:
            self._plan_strand(owner, strand, leaving, plan)
        return None

    def met(self, owner: Owner, wanted: Rules) -> set[str]:
        """Switches beyond those in `wanted` whose rules of the owner its packets would meet."""
        found: set[str] = set()
        for strand in self._strands(owner, wanted):
            found.update(self._met(owner, strand, self._walk(strand, strand.then)))
        return found

    def _met(self, owner: Owner, strand: Strand, after: Iterable[str]) -> set[str]:
        """On the new path, if there is one, they have old rules of the strand, or may have."""
        return {
            name
            for name in after
            if strand.then
            and name not in strand.then
            and (name in strand.now or owner in self._switches[name].uncertain)
        }

    def _plan_base(self, wanted: Rules, plan: Plan) -> None:
        for name, switch in self._switches.items():
            if not switch.ready:
                continue
            rules = {rule.identity: rule for rule in wanted.get(name, ())}
            for rule in rules.values():
                _put(plan.together, switch, rule)
            for identity, rule in switch.table.of(BASE).items():
                if identity not in rules:
                    _delete(plan.stale, name, rule)

    def _strands(self, owner: Owner, wanted: Rules) -> list[Strand]:
        then: dict[Identity, dict[str, Rule]] = {}
        now: dict[Identity, dict[str, Rule]] = {}
        for name, rules in wanted.items():
            for rule in rules:
                then.setdefault(rule.identity, {})[name] = rule
        for name, switch in self._switches.items():
            for identity, rule in switch.table.of(owner).items():
                now.setdefault(identity, {})[name] = rule
            for identity in then:
                found = switch.table.get(identity)
                if found is not None:
                    now.setdefault(identity, {})[name] = found
        strands: dict[object, Strand] = {}
        for identity in then.keys() | now.keys():
            before, after = now.get(identity, {}), then.get(identity, {})
            key = _outline(before), _outline(after)
            strand = strands.setdefault(key, Strand([], {}, {}))
            strand.identities.append(identity)
            for name, rule in before.items():
                strand.now[name] = (*strand.now.get(name, ()), rule)
            for name, rule in after.items():
                strand.then[name] = (*strand.then.get(name, ()), rule)
        return list(strands.values())

    def _leaving(self, strands: Sequence[Strand]) -> list[Leaving]:
        """What an owner that gets other matches has under its old ones."""
        going = [strand for strand in strands if not strand.then]
        if len(going) == len(strands):
            return []
        return [Leaving(strand, self._walk(strand, strand.now)) for strand in going]

    def _plan_strand(
        self, owner: Owner, strand: Strand, leaving: Iterable[Leaving], plan: Plan
    ) -> None:
        differs = {
            name: _as_set(strand.now.get(name, ())) != _as_set(strand.then.get(name, ()))
            for name in strand.now.keys() | strand.then.keys()
        }
        if not any(differs.values()) and not any(
            owner in switch.uncertain for switch in self._switches.values()
        ):
            return
        carrying = self._walk(strand, strand.now)
        after = self._walk(strand, strand.then)
        self._make_way(strand, after, plan)
        met = self._met(owner, strand, after)
        barred = {name for name in met if not self._switches[name].ready}
        plan.waiting |= barred
        self._plan_new(owner, strand, carrying, differs, leaving, barred, plan)
        self._plan_old(owner, strand, carrying, after, barred, plan)

    def _make_way(self, strand: Strand, after: Iterable[str], plan: Plan) -> None:
        """What a flow that is gone has left for packets under way is not for those that come
        later on another path."""
        for name in after:
            switch = self._switches[name]
            if not switch.ready:
                continue
            for identity in strand.identities:
                for rule in tuple(switch.table.overlapping(identity[2])):
                    other = owner_of(rule)
                    if other is None or other.kind is not CookieKind.FLOW:
                        continue
                    if rule.identity in strand.identities or not self._gone(other):
                        continue
                    if name not in self._carried(rule.identity):
                        _delete(plan.together, name, rule)

    def _carried(self, identity: Identity) -> Iterable[str]:
        """The switches that packets of a rule may pass, where one of them still has it."""
        now: dict[str, tuple[Rule, ...]] = {}
        for name, switch in self._switches.items():
            rule = switch.table.get(identity)
            if rule is not None:
                now[name] = (rule,)
        return self._walk(Strand([identity], now, {}), now)

    def _plan_new(
        self,
        owner: Owner,
        strand: Strand,
        carrying: dict[str, set[int]],
        differs: dict[str, bool],
        leaving: Iterable[Leaving],
        barred: Iterable[str],
        plan: Plan,
    ) -> None:
        blocked = max(map(self._fabric.depth, barred), default=-1)
        obstructed = set()
        for name in strand.then:
            switch = self._switches[name]
            if not switch.ready and (differs[name] or owner in switch.uncertain):
                plan.waiting.add(name)
                blocked = max(blocked, self._fabric.depth(name))
            elif differs[name] and self._is_obstructed(strand, name, leaving, plan):
                obstructed.add(name)
                blocked = max(blocked, self._fabric.depth(name))
        for name, rules in strand.then.items():
            switch = self._switches[name]
            if not differs[name] or not switch.ready or name in obstructed:
                continue
            depth = self._fabric.depth(name)
            if name in carrying:
                harmless = _same_way(carrying[name], rules, strand.now.get(name))
            else:
                harmless = name not in strand.now
            if harmless:
                changes = plan.together
            elif depth > blocked:
                changes = plan.ordered.setdefault(depth, {})
            else:
                continue
            for rule in rules:
                _put(changes, switch, rule)

    @staticmethod
    def _is_obstructed(strand: Strand, name: str, leaving: Iterable[Leaving], plan: Plan) -> bool:
        """Whether packets may come that match an old rule of the owner as well as the new ones,
        with no precedence between them and another way to go: that rule has to be gone first."""
        wanted = strand.then[name][0]
        found = False
        for old in leaving:
            for rule in old.strand.now.get(name, ()):
                if rule.priority != wanted.priority or rule.actions == wanted.actions:
                    continue
                if not any(overlap(rule.match, match) for _, _, match in strand.identities):
                    continue
                if name in old.carrying:
                    found = True
                else:
                    _delete(plan.together, name, rule)
        return found

    def _plan_old(
        self,
        owner: Owner,
        strand: Strand,
        carrying: Mapping[str, set[int]],
        after: Mapping[str, set[int]],
        barred: Iterable[str],
        plan: Plan,
    ) -> None:
        for name, rules in strand.now.items():
            if name in strand.then:
                continue
            switch = self._switches[name]
            own = [rule for rule in rules if switch.table.of(owner).get(rule.identity) is rule]
            if not own or not switch.ready:
                continue
            depth = self._fabric.depth(name)
            in_reach = all(self._switches[there].ready for there in {*strand.then, *barred})
            if name in after and name not in carrying:
                # It must be gone before packets come this way.
                changes = plan.together
            elif name in after and not strand.then and not self._may_be_sent(owner, strand, name):
                changes = plan.removals.setdefault(depth, {})
            elif name in after and strand.then and in_reach:
                # A copy for the anchor must not be made several at the next switch: the anchor
                # alone has the packets for a moment.
                changes = plan.ordered.setdefault(depth, {})
                if any(_with_own_address(rule.actions) for rule in rules):
                    changes = plan.together
            elif name in after or name in carrying or self._unknown(owner):
                # Packets may still come: a switch nearer to the LMA has not changed yet.
                plan.held = True
                continue
            else:
                changes = plan.stale
            for rule in own:
                _delete(changes, name, rule)

    def _may_be_sent(self, owner: Owner, strand: Strand, name: str) -> bool:
        """Whether packets may come to a switch by a rule that is out of reach. Without one of its
        own, some might find no way from there."""
        depth = self._fabric.depth(name)
        return any(
            not switch.ready and (nearer in strand.now or owner in switch.uncertain)
            for nearer, switch in self._switches.items()
            if self._fabric.depth(nearer) < depth
        )

    def _unknown(self, owner: Owner) -> bool:
        return any(owner in switch.uncertain for switch in self._switches.values())

    def _walk(self, strand: Strand, rules: Mapping[str, tuple[Rule, ...]]) -> dict[str, set[int]]:
        """The switches that packets of the strand may pass, with the ports that they may leave by,
        if the strand has these rules and everything else is as it is."""
        target = self._node(strand)
        passed: dict[str, set[int]] = {}
        waiting = [self._fabric.ingress]
        while waiting:
            name = waiting.pop()
            if name in passed:
                continue
            here = rules.get(name)
            ports: set[int] = set()
            if here is not None:
                for rule in here:
                    ports.update(output_ports(rule.actions))
            if here is None or len(here) < len(strand.identities):
                ports |= self._without(strand, name, target)
            passed[name] = ports
            if here is not None and any(_readdresses(rule.actions) for rule in here):
                ports = {port for rule in here for port in _with_own_address(rule.actions)}
            for port in ports:
                peer = self._fabric.neighbour(name, port)
                if peer is not None and port != self._fabric.upstream_port(name):
                    waiting.append(peer)
        return passed

    def _without(self, strand: Strand, name: str, target: FabricNode | None) -> set[int]:
        """The ways that packets may go at a switch if the strand has no rule there."""
        if target is not None:
            return {self._fabric.next_hop(name, target)}
        ports: set[int] = set()
        own = set(strand.identities)
        first = strand.identities[0][0]
        for identity in strand.identities:
            for rule in self._switches[name].table.overlapping(identity[2]):
                if rule.identity not in own and first <= rule.table <= PREFIXES:
                    ports.update(output_ports(rule.actions))
        return ports

    def _node(self, strand: Strand) -> FabricNode | None:
        """The node that the strand's packets are for, if they are in a tunnel."""
        table, _, match = strand.identities[0]
        found = match.get("ipv6_dst")
        if table != FLOWS or found is None:
            return None
        try:
            return self._fabric.node(IPv6Address(found[0]))
        except FabricError:
            return None


def _put(changes: Changes, switch: Switch, rule: Rule) -> None:
    found = switch.table.get(rule.identity)
    if found == rule:
        return
    same = found is not None and (found.cookie, found.goto) == (rule.cookie, rule.goto)
    command = Command.MODIFY if same else Command.ADD
    changes.setdefault(switch.name, {})[rule.identity] = RuleChange(command, rule)


def _delete(changes: Changes, name: str, rule: Rule) -> None:
    """Unless the change puts something in its place."""
    changes.setdefault(name, {}).setdefault(rule.identity, RuleChange(Command.DELETE, rule))


def _outline(rules: Mapping[str, Rule]) -> frozenset[tuple[str, tuple[Action, ...], int]]:
    return frozenset((name, rule.actions, rule.cookie) for name, rule in rules.items())


def _as_set(rules: tuple[Rule, ...]) -> frozenset[Rule]:
    return frozenset(rules)


def _same_way(ports: set[int], rules: tuple[Rule, ...], now: tuple[Rule, ...] | None) -> bool:
    """Whether no packet leaves by another way than before, with the rules that it meets then. With
    several ways without a rule, which packet takes which isn't known."""
    wanted = set(output_ports(rules[0].actions))
    if any(_readdresses(rule.actions) for rule in rules):
        return False
    if now is not None and any(_readdresses(rule.actions) for rule in now):
        return False
    return ports == wanted and (len(ports) <= 1 or now is not None)


def _with_own_address(actions: tuple[Action, ...]) -> tuple[int, ...]:
    """The ports of copies that still are for the flow's anchor; the rest is no longer the flow's
    for the switches behind."""
    own = takewhile(lambda a: not (isinstance(a, SetField) and a.field == "ipv6_dst"), actions)
    return output_ports(own)


def _readdresses(actions: tuple[Action, ...]) -> bool:
    return any(isinstance(a, SetField) and a.field == "ipv6_dst" for a in actions)
