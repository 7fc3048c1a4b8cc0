"""What the LMA wants: the paths of prefixes and flows, and the rules that they come to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Network

from controllers.fabric import Fabric
from controllers.rules import FLOWS, Rules, base_rules, flow_rules, prefix_rules, redirect_rules
from controllers.selector_matches import flow_matches
from controllers.switch_table import (
    BASE,
    Identity,
    Owner,
    Switch,
    Table,
    destinations,
    flow_owner,
    prefix_owner,
)
from nodes.northbound import (
    AddFlow,
    Attach,
    Detach,
    Flow,
    FlowPath,
    Mode,
    MoveFlows,
    PrefixPath,
    RemoveFlow,
    Sync,
)


class Refused(ValueError):
    """A request that can't be carried out; the message says why."""


@dataclass(frozen=True, slots=True)
class SteeredFlow:
    flow: Flow
    path: FlowPath


Intent = PrefixPath | SteeredFlow
Intents = dict[Owner, Intent | None]
"""None: the owner is to have no rules."""

StateRequest = Attach | Detach | AddFlow | MoveFlows | RemoveFlow


def _refused(flow: Flow, error: ValueError) -> Refused:
    return Refused(f"flow {flow.key}: {error}")


def prefixes_of(intent: Intent) -> tuple[IPv6Network, ...]:
    return (intent.prefix,) if isinstance(intent, PrefixPath) else intent.flow.prefixes


class DesiredState:
    """`wanted` is what the controller works towards, `agreed` what it has told the LMA that it
    holds; a request that fails goes back to that. `mode` is None until the LMA has said all."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self.mode: Mode | None = None
        self.wanted: dict[Owner, Intent] = {}
        self.agreed: dict[Owner, Intent] = {}
        self._rules: dict[Owner, Rules] = {BASE: base_rules(fabric)}
        self._identities: dict[Identity, Owner] = {}

    def rules(self, owner: Owner) -> Rules:
        """Those that are wanted."""
        return self._rules.get(owner, {})

    def gone(self, owner: Owner) -> bool:
        return not self._rules.get(owner)

    @property
    def owners(self) -> Iterable[Owner]:
        return self._rules.keys()

    def rules_for(self, intent: Intent) -> Rules:
        """Raises Refused for a selector or an address that there can't be rules for."""
        try:
            return self._rules_for(intent)
        except ValueError as error:
            if isinstance(intent, SteeredFlow):
                raise _refused(intent.flow, error) from None
            raise Refused(f"prefix {intent.prefix}: {error}") from None

    def _rules_for(self, intent: Intent) -> Rules:
        if isinstance(intent, PrefixPath):
            return prefix_rules(self._fabric, intent) if self.mode == "sdn-core" else {}
        if self.mode == "sdn-core":
            return flow_rules(self._fabric, intent.flow, intent.path.mags)
        if self.mode == "sdn-assisted":
            return redirect_rules(self._fabric, intent.flow, intent.path)
        return {}

    def intents_of(self, request: StateRequest) -> Intents:
        """What a request asks for, by owner. Raises Refused."""
        match request:
            case Attach(path=path):
                return {prefix_owner(path.prefix): path}
            case Detach(prefix=prefix):
                return {prefix_owner(prefix): None}
            case AddFlow(flow=flow, path=path):
                if path.key != flow.key:
                    raise Refused(f"path.key is {path.key}; expected {flow.key}, that of flow.key")
                self._check_selector(flow)
                return {flow_owner(flow.key): SteeredFlow(flow, path)}
            case RemoveFlow(key=key):
                return {flow_owner(key): None}
            case MoveFlows(paths=paths):
                found: Intents = {}
                for path in paths:
                    owner = flow_owner(path.key)
                    if owner in found:
                        raise Refused(f"paths has flow {path.key} twice; expected one path of each")
                    if owner not in self.wanted:
                        raise Refused(f"paths has flow {path.key}, which has not been added")
                    # A new selector that the LMA hasn't been told to hold yet is overtaken.
                    known = self.agreed.get(owner, self.wanted[owner])
                    assert isinstance(known, SteeredFlow)  # a flow's key is that of no prefix
                    found[owner] = SteeredFlow(known.flow, path)
                return found

    def _check_selector(self, flow: Flow) -> None:
        """A flow whose packets switches can't tell is refused when it comes, and not when it has
        its first path. Raises Refused."""
        if self.mode == "sdn-core":
            try:
                flow_matches(flow)
            except ValueError as error:
                raise _refused(flow, error) from None

    def first_part(self, request: StateRequest) -> Intents:
        """A flow that changes its packets and its way does one after the other: of packets that
        match before and after, a switch would have rules for two ways."""
        if not isinstance(request, AddFlow):
            return {}
        owner = flow_owner(request.flow.key)
        known = self.wanted.get(owner)
        if not isinstance(known, SteeredFlow) or known.flow == request.flow:
            return {}
        return {owner: SteeredFlow(known.flow, request.path)}

    def check(self, intents: Mapping[Owner, Intent | None]) -> dict[Owner, Rules]:
        """The rules for `intents`. Raises Refused for what has none, and for a flow that nothing
        tells from another one."""
        found: dict[Owner, Rules] = {}
        for owner, intent in intents.items():
            found[owner] = {} if intent is None else self.rules_for(intent)
            for identity in _identities(found[owner]):
                other = self._identities.get(identity, owner)
                if other != owner and other not in intents:
                    raise Refused(
                        f"flow {owner.name} has priority and selector of flow {other.name}; "
                        "expected another priority or selector"
                    )
        return found

    def want(self, intents: Mapping[Owner, Intent | None]) -> None:
        """From now on these are worked towards. Raises Refused, and changes nothing then."""
        rules = self.check(intents)
        for owner, intent in intents.items():
            self._forget(owner)
            if intent is not None:
                self.wanted[owner] = intent
                self._rules[owner] = rules[owner]
                self._identities.update(dict.fromkeys(_identities(rules[owner]), owner))

    def _forget(self, owner: Owner) -> None:
        self.wanted.pop(owner, None)
        for identity in _identities(self._rules.pop(owner, {})):
            if self._identities.get(identity) == owner:
                del self._identities[identity]

    def agree(self, owners: Iterable[Owner]) -> None:
        """What is wanted for these is in force."""
        for owner in owners:
            intent = self.wanted.get(owner)
            if intent is None:
                self.agreed.pop(owner, None)
            else:
                self.agreed[owner] = intent

    def withdraw(self, owners: Iterable[Owner]) -> None:
        """Back to what had been agreed for these."""
        for owner in owners:
            try:
                self.want({owner: self.agreed.get(owner)})
            except Refused:  # another flow has its priority and selector by now
                self.want({owner: None})

    def start_anew(self, sync: Sync) -> dict[str, str]:
        """All that holds from now on; what is left out because it can't be done, with reasons.
        Raises Refused for what contradicts itself, and changes nothing then."""
        intents = _intents_of_sync(sync)
        self.mode = sync.mode
        for owner in [owner for owner in self._rules if owner != BASE]:
            self._forget(owner)
        self.agreed.clear()
        left_out = {}
        for owner, intent in intents.items():
            try:
                self.want({owner: intent})
            except Refused as error:
                left_out[str(owner.name)] = str(error)
            if isinstance(intent, SteeredFlow) and owner not in self.wanted:
                # It stays known, without a path of its own, so that it can be moved or removed.
                rest = FlowPath(key=intent.path.key, mags=(), anchor=intent.path.anchor)
                self.want({owner: SteeredFlow(intent.flow, rest)})
        self.agree(list(self.wanted))
        return left_out

    def destinations(
        self, owners: Mapping[Owner, Intent | None] | Iterable[Owner], tables: Iterable[Table]
    ) -> set[int]:
        """The 64-bit prefixes that packets of `owners` are for, as numbers; none with tunnels,
        where no flow's packets are another's."""
        if self.mode != "sdn-core":
            return set()
        asked = owners if isinstance(owners, Mapping) else {}
        found: set[int] = set()
        tables = tuple(tables)
        for owner in owners:
            for intent in (asked.get(owner), self.wanted.get(owner), self.agreed.get(owner)):
                for prefix in () if intent is None else prefixes_of(intent):
                    found.add(int(prefix.network_address) >> 64)
            for table in tables:
                for rule in table.of(owner).values():
                    found.update(destinations(rule.match))
        return found


def needed_switches(
    request: StateRequest, rules: Mapping[Owner, Rules], switches: Mapping[str, Switch]
) -> set[str]:
    """Those that have to confirm a request that comes to `rules`. What goes for good needs none: a
    switch that is away loses its rules when it is back."""
    if isinstance(request, RemoveFlow | Detach):
        return set()
    needed: set[str] = set()
    for owner, here in rules.items():
        needed.update(here)
        if not here:
            needed.update(name for name, switch in switches.items() if switch.table.of(owner))
    return needed


def _identities(rules: Rules) -> set[Identity]:
    """Those of flows: the rules of a flow are the same at all switches but for the actions."""
    for here in rules.values():
        return {rule.identity for rule in here if rule.table == FLOWS}
    return set()


def _intents_of_sync(sync: Sync) -> dict[Owner, Intent]:
    found: dict[Owner, Intent] = {}
    for default in sync.prefixes:
        owner = prefix_owner(default.prefix)
        if owner in found:
            raise Refused(f"prefixes has {default.prefix} twice; expected one path of each")
        found[owner] = default
    paths = {path.key: path for path in sync.paths}
    if len(paths) != len(sync.paths):
        raise Refused("paths has a flow twice; expected one path of each")
    for flow in sync.flows:
        owner = flow_owner(flow.key)
        if owner in found:
            raise Refused(f"flows has key {flow.key} twice; expected one flow of each")
        path = paths.pop(flow.key, FlowPath(key=flow.key, mags=()))
        found[owner] = SteeredFlow(flow, path)
    if paths:
        raise Refused(f"paths has flow {min(paths)}, which flows doesn't have")
    return found
