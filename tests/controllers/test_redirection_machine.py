"""Whatever happens, in any order: packets don't loop, don't have two ways at a switch, don't get
lost where no switch has lost its table, and in the end the switches have just what is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv6Address, IPv6Network
from typing import Any, TypeVar

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from controllers.config import Timers
from controllers.openflow import Rule
from controllers.rules import Rules, base_rules, flow_rules, prefix_rules, redirect_rules
from nodes.northbound import (
    AddFlow,
    Attach,
    Detach,
    Flow,
    FlowPath,
    Mode,
    MoveFlows,
    RemoveFlow,
    Reply,
    Request,
    Sync,
)
from tests.controllers.fabrics import HOME, OTHER_HOME, descriptions
from tests.controllers.model import World, default, flow, packet, path, tunnelled

PREFIXES = (HOME, OTHER_HOME)
# Key, first and last port: two that have packets in common, in both orders of precedence.
SHAPES = {1: (80, 95), 2: (80, None), 3: (88, None), 4: (64, 127), 5: (90, None)}
PORTS = (80, 88, 90, 100)
TIMERS = Timers(
    drain_ms=500,
    barrier_timeout_ms=400,
    barrier_retries=1,
    connect_timeout_ms=2_000,
    retry_ms=1_000,
    statistics_interval_ms=0,
)
MODES: tuple[Mode, ...] = ("sdn-core", "sdn-assisted")
Mags = tuple[IPv6Address, ...]
State = tuple[Flow, FlowPath]
T = TypeVar("T")
switches = st.integers(0, 7)
mags = st.lists(st.integers(0, 5), max_size=3)
one_mag = st.lists(st.integers(0, 5), min_size=1, max_size=1)


class ModelLma:
    """What it has been told that holds, what it has asked for, and what may have been in force
    since the last time at which all was quiet."""

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.defaults: dict[IPv6Network, IPv6Address | None] = {}
        self.flows: dict[int, State] = {}
        self.asked: dict[int, Request] = {}
        self.epoch = 1
        self.next_id = 1
        self.possible_defaults: dict[IPv6Network, set[Mags]] = {}
        self.possible_flows: dict[int, list[State]] = {}
        self.settled = 0
        self.settle()

    def settle(self) -> None:
        self.settled += 1
        self.possible_defaults = {p: set() for p in PREFIXES}
        for prefix in PREFIXES:
            mag = self.defaults.get(prefix)
            self.possible_defaults[prefix].add(() if mag is None else (mag,))
        self.possible_flows = {key: [entry] for key, entry in self.flows.items()}

    def identity(self) -> int:
        self.next_id += 1
        return self.next_id - 1

    def consider(self, request: Request) -> None:
        """From now on, what it asks for may be in force."""
        match request:
            case Attach(path=way):
                mag = way.mag
                self.possible_defaults[way.prefix].add(() if mag is None else (mag,))
            case Detach(prefix=prefix):
                self.possible_defaults[prefix].add(())
            case AddFlow(flow=added, path=way):
                states = self.possible_flows.setdefault(added.key, [(added, path(added.key))])
                extend(states, way)
                extend(states, way, [added])
                if any(known != added for known, _ in states):
                    # Where their packets differ there is a moment without a rule.
                    extend(states, path(added.key))
            case MoveFlows(paths=ways):
                for way in ways:
                    extend(self.possible_flows[way.key], way)
            case RemoveFlow(key=key):
                extend(self.possible_flows.setdefault(key, []), path(key))

    def take(self, reply: Reply) -> Request | None:
        request = self.asked.pop(reply.id, None)
        if request is None or not reply.ok:
            return None
        superseded = (reply.result or {}).get("superseded", {})
        match request:
            case Attach(path=way):
                self.defaults[way.prefix] = way.mag
            case Detach(prefix=prefix):
                self.defaults.pop(prefix, None)
            case AddFlow(flow=added, path=way):
                self.flows[added.key] = (added, way)
            case MoveFlows(paths=ways):
                for way in ways:
                    if str(way.key) not in superseded:
                        self.flows[way.key] = (self.flows[way.key][0], way)
            case RemoveFlow(key=key):
                self.flows.pop(key, None)
        return request

    def sync(self) -> Sync:
        return Sync(
            id=self.identity(),
            epoch=self.epoch,
            mode=self.mode,
            prefixes=tuple(default(p, mag) for p, mag in self.defaults.items()),
            flows=tuple(known for known, _ in self.flows.values()),
            paths=tuple(way for _, way in self.flows.values()),
        )

    def allowed(self, prefix: IPv6Network, port: int) -> list[Mags]:
        """The sets of MAGs of which one, or a mixture of some, may get a packet."""
        found: list[Mags] = []
        candidates = sorted(
            (states for states in self.possible_flows.values() if states),
            key=lambda states: states[0][0].priority,
        )
        for states in candidates:
            here = [way.mags for known, way in states if applies(known, prefix, port)]
            found += [way for way in here if way]
            if len(here) == len(states) and all(here):
                return found
        return found + list(self.possible_defaults[prefix])

    def allowed_from(self, anchor: IPv6Address, key: int) -> list[Mags]:
        """The same for packets that the LMA sends to `anchor` with a flow's label."""
        states = self.possible_flows.get(key, [])
        ways = [redirected(way, anchor) for _, way in states]
        if self.changes_anchor(key):
            # What one redirect sends to another's anchor meets that one, too.
            ways += [way.mags for _, way in states]
        return ways or [(anchor,)]

    def changes_anchor(self, key: int) -> bool:
        return len({way.anchor for _, way in self.possible_flows.get(key, [])} - {None}) > 1


def extend(states: list[State], way: FlowPath, flows: Iterable[Flow] | None = None) -> None:
    """`way` may be that of `flows`, by default of all that there are; each state is there once, or
    they would double with each request."""
    for known in [known for known, _ in states] if flows is None else flows:
        if (known, way) not in states:
            states.append((known, way))


def applies(known: Flow, prefix: IPv6Network, port: int) -> bool:
    first = known.selector["start_destination_port"]
    last = known.selector.get("end_destination_port", first)
    return prefix in known.prefixes and first <= port <= last


def redirected(way: FlowPath, anchor: IPv6Address) -> Mags:
    """Who gets the packets that the LMA sends to `anchor`."""
    return way.mags if way.anchor == anchor and way.mags else (anchor,)


class AnyOrder(RuleBasedStateMachine):
    @initialize(
        description=descriptions(),
        mode=st.sampled_from(MODES),
        placed=st.lists(one_mag, min_size=3, max_size=3),
    )
    def begin(self, description: Any, mode: Mode, placed: list[list[int]]) -> None:
        self.world = World(description, TIMERS)
        self.names = list(self.world.switches)
        self.lma = ModelLma(mode)
        self.connection = 0
        self.damaged = set(self.names)
        self.old_tables: dict[str, set[Rule]] = {}
        self.read = 0
        self.checked = (-1, -1)
        self.connect_lma()
        self.world.connect()
        self.attach(HOME, placed[0])
        self.attach(OTHER_HOME, placed[-1])
        for key, numbers in enumerate(placed, 1):
            self.add_flow(key, key, numbers, key)
        self.quiet()

    # The LMA

    def connect_lma(self) -> None:
        self.lma.asked.clear()
        self.connection += 1
        self.world.core.connected(self.connection)
        # What it had asked for and not heard of is not what it wants any more.
        self.world.request(self.lma.sync(), self.connection)

    def ask(self, request: Request) -> None:
        self.lma.consider(request)
        self.lma.asked[request.id] = request
        self.world.request(request, self.connection)
        self.hear()

    def hear(self) -> None:
        new = self.world.replies[self.read :]
        self.read = len(self.world.replies)
        for connection, reply in new:
            if connection == self.connection:
                self.check_done(self.lma.take(reply))

    def check_done(self, request: Request | None) -> None:
        """What has been acknowledged is in force, if nothing else is under way. What a switch that
        was away has to remove, it removes when it is back."""
        if self.world.cuts or self.damaged or self.lma.asked or request is None:
            return
        for reached, ways in self.walks(self.expected, self.expected_from):
            assert reached == sorted(self.names_of(ways))

    def walks(
        self,
        of_packet: Callable[[IPv6Network, int], T],
        of_tunnel: Callable[[IPv6Address, int], T],
    ) -> Iterator[tuple[list[str], T]]:
        """Packets of each kind: who gets them, and what a function says about it."""
        if self.lma.mode == "sdn-core":
            for prefix in PREFIXES:
                for port in PORTS:
                    reached = self.world.walk(packet(prefix[1], port))
                    yield reached, of_packet(prefix, port)
        else:
            for mag in self.world.fabric.mags:
                for key in SHAPES:
                    (address,) = mag.addresses
                    reached = self.world.walk(tunnelled(address, key))
                    yield reached, of_tunnel(address, key)

    def expected_from(self, anchor: IPv6Address, key: int) -> Mags:
        if key not in self.lma.flows:
            return (anchor,)
        return redirected(self.lma.flows[key][1], anchor)

    def expected(self, prefix: IPv6Network, port: int) -> Mags:
        for known, way in sorted(self.lma.flows.values(), key=lambda entry: entry[0].priority):
            if applies(known, prefix, port) and way.mags:
                return way.mags
        mag = self.lma.defaults.get(prefix)
        return () if mag is None else (mag,)

    def names_of(self, addresses: Mags) -> list[str]:
        return [self.world.fabric.mag(address).name for address in addresses]

    def some(self, numbers: list[int]) -> Mags:
        available = self.world.fabric.mags
        chosen = dict.fromkeys(available[n % len(available)].addresses[0] for n in numbers)
        return tuple(chosen)

    @rule(prefix=st.sampled_from(PREFIXES), numbers=mags)
    def attach(self, prefix: IPv6Network, numbers: list[int]) -> None:
        mag = next(iter(self.some(numbers)), None)
        self.ask(Attach(id=self.lma.identity(), path=default(prefix, mag)))

    @rule(prefix=st.sampled_from(PREFIXES))
    def detach(self, prefix: IPv6Network) -> None:
        self.ask(Detach(id=self.lma.identity(), prefix=prefix))

    @rule(
        key=st.sampled_from(sorted(SHAPES)),
        shape=st.sampled_from(sorted(SHAPES)),
        numbers=mags,
        anchor=st.integers(0, 5),
    )
    def add_flow(self, key: int, shape: int, numbers: list[int], anchor: int) -> None:
        first, last = SHAPES[shape]
        added = flow(key, PREFIXES[key % 2], first, last)
        way = path(key, *self.some(numbers), anchor=self.some([anchor])[0])
        self.ask(AddFlow(id=self.lma.identity(), flow=added, path=way))

    def known(self) -> list[int]:
        """Those whose addition has been acknowledged, and whose removal hasn't been asked for."""
        going = {r.key for r in self.lma.asked.values() if isinstance(r, RemoveFlow)}
        return [key for key in self.lma.flows if key not in going]

    @precondition(lambda self: self.known())
    @rule(data=st.data(), numbers=mags)
    def move_flows(self, data: st.DataObject, numbers: list[int]) -> None:
        keys = data.draw(st.lists(st.sampled_from(self.known()), min_size=1, unique=True))
        ways = tuple(
            path(key, *self.some(numbers), anchor=self.lma.flows[key][1].anchor) for key in keys
        )
        self.ask(MoveFlows(id=self.lma.identity(), paths=ways))

    @precondition(lambda self: self.known())
    @rule(data=st.data(), number=one_mag)
    def move_one(self, data: st.DataObject, number: list[int]) -> None:
        key = data.draw(st.sampled_from(self.known()))
        way = path(key, *self.some(number), anchor=self.lma.flows[key][1].anchor)
        self.ask(MoveFlows(id=self.lma.identity(), paths=(way,)))

    @precondition(lambda self: self.lma.flows)
    @rule(data=st.data())
    def remove_flow(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.lma.flows)))
        self.ask(RemoveFlow(id=self.lma.identity(), key=key))

    @precondition(lambda self: self.lma.asked)
    @rule()
    def repeat(self) -> None:
        for request in tuple(self.lma.asked.values()):
            self.world.request(request, self.connection)
        self.hear()

    @rule(anew=st.booleans())
    def lma_connects_again(self, anew: bool) -> None:
        self.world.core.disconnected(self.connection)
        if anew:
            self.lma.epoch += 1
            self.lma.next_id = 1
        self.connect_lma()
        self.hear()

    # Switches and time

    def switch(self, number: int) -> str:
        return self.names[number % len(self.names)]

    @rule(number=switches, count=st.integers(1, 4))
    def process(self, number: int, count: int) -> None:
        switch = self.world.switches[self.switch(number)]
        for _ in range(min(count, len(switch.inbox))):
            switch.process()
            self.check_packets()

    @rule(number=switches, count=st.integers(1, 4))
    def answer(self, number: int, count: int) -> None:
        name = self.switch(number)
        for _ in range(count):
            if self.world.switches[name].outbox:
                self.world.answer(name)
                self.hear()

    @rule(number=switches)
    def lose_connection(self, number: int) -> None:
        name = self.switch(number)
        if self.world.switches[name].connected:
            self.world.disconnect(name)
            self.hear()

    @rule(number=switches)
    def connect_again(self, number: int) -> None:
        name = self.switch(number)
        if not self.world.switches[name].connected:
            self.world.connect(name)

    @rule(number=switches, mute=st.booleans())
    def fall_silent(self, number: int, mute: bool) -> None:
        self.world.switches[self.switch(number)].mute = mute

    @rule(number=switches, full=st.booleans())
    def fill(self, number: int, full: bool) -> None:
        self.world.switches[self.switch(number)].full = full

    @rule(milliseconds=st.sampled_from((1, 100, 450, 600, 2_500)))
    def time_passes(self, milliseconds: int) -> None:
        """Timers run, and what is under way stays under way."""
        end = self.world.now + milliseconds / 1000
        while (due := self.world.core.deadline()) is not None and due <= end:
            self.world.now = max(self.world.now, due)
            self.world.core.handle_timer(self.world.now)
            self.world.carry_out()
            self.hear()
            self.check_packets()
        self.world.now = end

    @rule()
    def controller_restarts(self) -> None:
        self.world.restart()
        self.connect_lma()
        self.hear()

    @rule(order=st.permutations(range(8)))
    def everything_arrives(self, order: list[int]) -> None:
        first = [self.switch(number) for number in order]
        self.world.deliver(first=first, watch=self.check_packets)
        self.hear()

    @rule()
    def quiet(self) -> None:
        """All is well again, and everything runs to its end: then the tables are as wanted."""
        for switch in self.world.switches.values():
            switch.mute = switch.full = False
        self.run_to_the_end()
        # Those whose answers had been held back for too long have been cut off meanwhile.
        self.run_to_the_end()
        assert not self.lma.asked
        assert self.world.core.deadline() is None
        wanted = {name: set(rules) for name, rules in base_rules(self.world.fabric).items()}
        for rules in self.wanted():
            for name, here in rules.items():
                wanted[name] |= set(here)
        found = self.world.tables()
        assert {n: found[n] - wanted[n] for n in found} == {n: set() for n in found}
        assert {n: wanted[n] - found[n] for n in found} == {n: set() for n in found}
        self.damaged.clear()
        self.world.cuts = 0
        self.lma.settle()

    def run_to_the_end(self) -> None:
        for name, switch in self.world.switches.items():
            if not switch.connected:
                self.world.connect(name)
        self.world.deliver(watch=self.check_packets)
        self.hear()
        self.world.wait(30)
        self.hear()

    def wanted(self) -> Iterator[Rules]:
        defaults = self.lma.defaults if self.lma.mode == "sdn-core" else {}
        for prefix, mag in defaults.items():
            yield prefix_rules(self.world.fabric, default(prefix, mag))
        for known, way in self.lma.flows.values():
            if self.lma.mode == "sdn-core":
                yield flow_rules(self.world.fabric, known, way.mags)
            else:
                yield redirect_rules(self.world.fabric, known, way)

    @invariant()
    def check_packets(self) -> None:
        if not hasattr(self, "world") or self.checked == self.version():
            return
        self.checked = self.version()
        for reached, (ways, once) in self.walks(self.expect, self.expect_from):
            assert not once or len(set(reached)) == len(reached)
            if self.damaged:
                continue
            allowed = [self.names_of(way) for way in ways]
            assert set(reached) <= {name for names in allowed for name in names}
            assert reached or [] in allowed

    def expect(self, prefix: IPv6Network, port: int) -> tuple[list[Mags], bool]:
        """Who may get a packet, and whether nobody may get it twice."""
        return self.lma.allowed(prefix, port), True

    def expect_from(self, anchor: IPv6Address, key: int) -> tuple[list[Mags], bool]:
        """A copy for the anchor, or one that has another's address by now, may meet an old redirect
        in a table that has come back, or of the anchor that the flow is changing."""
        once = not self.damaged and not self.lma.changes_anchor(key)
        return self.lma.allowed_from(anchor, key), once

    def version(self) -> tuple[int, int]:
        """Packets go as they did, and may, as long as it is the same."""
        return sum(s.version for s in self.world.switches.values()), self.lma.settled

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.quiet()


class LostTables(AnyOrder):
    """Switches start anew, too, with an empty table or an old one."""

    @rule(number=switches, stale=st.booleans())
    def lose_table(self, number: int, stale: bool) -> None:
        name = self.switch(number)
        self.lose_connection(number)
        switch = self.world.switches[name]
        switch.reset(self.old_tables.get(name, ()) if stale else ())
        self.damaged.add(name)

    @rule(number=switches)
    def remember_table(self, number: int) -> None:
        name = self.switch(number)
        self.old_tables[name] = self.world.switches[name].table


TestAnyOrder = AnyOrder.TestCase
TestLostTables = LostTables.TestCase
# Not made smaller: that takes minutes, and the steps of a failure are readable as they are.
TestAnyOrder.settings = TestLostTables.settings = settings(
    phases=(Phase.explicit, Phase.reuse, Phase.generate)
)
