"""What switches have counted: statistics at an interval, and the answer to a request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Any, NamedTuple

from controllers.exchanges import Dump, Exchanges
from controllers.fabric import Fabric
from controllers.intents import DesiredState, SteeredFlow
from controllers.openflow import Output, Rule
from controllers.switch_table import BASE, Owner, Switch, owner_of
from nodes.northbound import FlowCount, Statistics


class CountedRule(NamedTuple):
    rule: Rule
    packets: int
    octets: int


Counted = dict[str, tuple[CountedRule, ...]]
"""By switch."""


@dataclass(slots=True)
class _Reading:
    """What a flow's rule had counted at the last reading, and at the last one of another path."""

    mags: tuple[IPv6Address, ...]
    counted: tuple[int, int] = (0, 0)
    before: tuple[int, int] = (0, 0)


@dataclass(eq=False)
class _Collection:
    report: Callable[[Counted], None]
    waiting: set[Dump] = field(default_factory=set)
    counted: Counted = field(default_factory=dict)


class FlowCounts:
    def __init__(
        self,
        fabric: Fabric,
        desired: DesiredState,
        switches: Mapping[str, Switch],
        exchanges: Exchanges,
    ) -> None:
        self._fabric = fabric
        self._desired = desired
        self._switches = switches
        self._exchanges = exchanges
        self._collections: list[_Collection] = []
        self._readings: dict[Owner, _Reading] = {}

    def collect(self, report: Callable[[Counted], None], now: float) -> None:
        """Ask all switches that are ready; `report` what those that answer have counted."""
        collection = _Collection(report)
        for switch in self._switches.values():
            if switch.ready:
                collection.waiting.add(self._exchanges.dump(switch, now, reading=False))
        self._collections.append(collection)
        self._finish()

    def dumped(self, dump: Dump, rules: Iterable[CountedRule]) -> None:
        for collection in self._collections:
            if dump in collection.waiting:
                collection.counted[dump.switch.name] = tuple(rules)
        self.gone(dump)

    def gone(self, dump: Dump) -> None:
        """There is no answer any more, or there has been one."""
        for collection in self._collections:
            collection.waiting.discard(dump)
        self._finish()

    def _finish(self) -> None:
        finished = [each for each in self._collections if not each.waiting]
        self._collections = [each for each in self._collections if each.waiting]
        for collection in finished:
            collection.report(collection.counted)

    def statistics(self, counted: Counted) -> Statistics:
        """Of each flow with rules that are in force, at the switch nearest to the LMA, where a move
        leaves the counters as they are: so of a path it is what has come since the last reading
        before the flow had it."""
        sums: dict[tuple[str, Owner], tuple[int, int]] = {}
        for name, rules in counted.items():
            for entry in rules:
                owner = owner_of(entry.rule)
                if owner is not None:
                    packets, octets = sums.get((name, owner), (0, 0))
                    sums[name, owner] = packets + entry.packets, octets + entry.octets
        found = []
        for owner, intent in self._desired.agreed.items():
            if not isinstance(intent, SteeredFlow):
                continue
            places = sorted(self._desired.rules(owner), key=self._fabric.depth)
            first = next((name for name in places if (name, owner) in sums), None)
            if first is None:
                continue
            mags = intent.path.mags
            packets, octets = self._since(owner, mags, sums[first, owner])
            found.append(FlowCount(key=intent.flow.key, mags=mags, packets=packets, octets=octets))
        self._readings = {o: r for o, r in self._readings.items() if o in self._desired.agreed}
        return Statistics(flows=tuple(found))

    def _since(
        self, owner: Owner, mags: tuple[IPv6Address, ...], counted: tuple[int, int]
    ) -> tuple[int, int]:
        """What the path to `mags` has had."""
        reading = self._readings.setdefault(owner, _Reading(mags))
        if reading.mags != mags:
            reading.mags, reading.before = mags, reading.counted
        if counted < reading.counted:
            reading.before = (0, 0)  # the rule is a new one
        reading.counted = counted
        return counted[0] - reading.before[0], counted[1] - reading.before[1]

    def listing(self, counted: Counted, moving: Iterable[Owner]) -> dict[str, Any]:
        """The result of `ListFlows`."""
        by_owner: dict[Owner, list[dict[str, Any]]] = {}
        for name in sorted(counted, key=self._fabric.depth):
            for entry in counted[name]:
                owner = owner_of(entry.rule)
                if owner is not None:
                    by_owner.setdefault(owner, []).append(_shown(name, entry))
        under_way = set(moving)
        flows = []
        prefixes = []
        for owner, intent in self._desired.wanted.items():
            shown: dict[str, Any] = {
                "state": "changing" if owner in under_way else "in force",
                "rules": by_owner.pop(owner, []),
            }
            if isinstance(intent, SteeredFlow):
                flow = intent.flow
                mags = [str(mag) for mag in intent.path.mags]
                names = {"key": flow.key, "mn": flow.mn, "fid": flow.fid, "mags": mags}
                flows.append({**names, **shown})
            else:
                mag = None if intent.mag is None else str(intent.mag)
                prefixes.append({"prefix": str(intent.prefix), "mag": mag, **shown})
        base = by_owner.pop(BASE, [])
        old = [rule for rules in by_owner.values() for rule in rules]
        return {
            "flows": flows,
            "prefixes": prefixes,
            "base": len(base),
            "old": old,
            "unknown": sorted(set(self._switches) - set(counted)),
        }


def _shown(name: str, entry: CountedRule) -> dict[str, Any]:
    rule = entry.rule
    return {
        "switch": name,
        "table": rule.table,
        "priority": rule.priority,
        "cookie": rule.cookie,
        "match": rule.match.to_openflow(),
        "actions": [
            f"output:{action.port}"
            if isinstance(action, Output)
            else f"set_field:{action.value}->{action.field}"
            for action in rule.actions
        ],
        "packets": entry.packets,
        "octets": entry.octets,
    }
