"""Random sequences of events for a whole domain, as a hypothesis state machine: nodes start, crash
and do what they are asked; links come and go; signalling is lost, repeated and late; strangers and
damaged octets are about. In `tests.hostile`, peers say anything besides.
"""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from itertools import islice
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from nodes.config import MobileNodePolicy
from nodes.flow_mobility_cache import FlowAction, FlowMobilityCacheEntry
from nodes.lma.awaited_moves import AwaitedMove
from nodes.mn.flow_table import FlowTableEntry
from nodes.wire.traffic_selector import IPv6TrafficSelector
from tests.domain import LMA
from tests.invariants import Ledger, check, check_quiet
from tests.leftovers import check_empty
from tests.packets import down, packet_to, up
from tests.world import QUIET_S, World
from tests.world_plan import MAGS, MOBILE_NODES, POOL, PORTS, Plan

STRANGER = IPv6Address("2001:db8:bad::1")
PREFIXES = tuple(islice(POOL.subnets(new_prefix=64), 5))
SIGNALLING = ("lma", *MAGS)
MN = st.sampled_from(MOBILE_NODES)
MAG = st.sampled_from(tuple(MAGS))
PORT = st.sampled_from(tuple(PORTS))
NODE = st.sampled_from(SIGNALLING)
PREFIX = st.sampled_from(PREFIXES)
FID = st.integers(1, 4)
ACCESS = st.sampled_from(["wlan", "cell"])
PERCENT = st.one_of(st.none(), st.integers(0, 100))
# Which bindings: the first, the second, ... that the mobile node has.
NO_BINDING = 3
CHOICE = st.lists(st.integers(0, NO_BINDING), min_size=1, max_size=2)
FATES = st.sampled_from(
    [(), (), (0.01,), (0.3,), (1.2,), (15.0,), (0.01, 0.02), (0.3, 0.01), (2.5, 0.01), (0.01, 15.0)]
)
PAUSES = (0.0, 0.001, 0.003, 0.011, 0.03, 0.3, 1.1, 2.5, 11.0, 45.0, 130.0)
POLICIES: tuple[tuple[dict[str, Any], ...], ...] = (
    (),
    ({"kind": "link-quality", "access": "wlan"},),
    ({"kind": "load-balance"},),
    ({"kind": "link-quality", "access": "cell"}, {"kind": "load-balance", "settle_s": 0.5}),
)


@st.composite
def policies(draw: st.DrawFn) -> MobileNodePolicy:
    decides = draw(st.sampled_from(["lma", "lma", "mn"]))
    granularity = draw(st.sampled_from(["prefix", "flow"]))
    delivery = draw(st.sampled_from(["on-move", "at-attach"]))
    return MobileNodePolicy(
        prefix_model=draw(st.sampled_from(["shared", "unique", "hybrid"])),
        prefixes_per_session=draw(st.integers(1, 2)),
        prefix_delivery="on-move" if granularity == "flow" else delivery,  # type: ignore[arg-type]
        granularity=granularity,  # type: ignore[arg-type]
        switch=draw(st.sampled_from(["on-ack", "on-send"])),
        withdrawal_delay_ms=draw(st.sampled_from([0, 1_000, 10_000])),
        prefixes=draw(st.sampled_from([(), PREFIXES[3:4]])),
        fallback=draw(st.sampled_from(["registration", "refuse"])),
        decision_maker=decides,  # type: ignore[arg-type]
        policies=draw(st.sampled_from(POLICIES)) if decides == "lma" else (),
    )


PLANS = st.builds(
    Plan,
    policies=st.tuples(policies(), policies(), policies()),
    layer_2=st.booleans(),
    state=st.booleans(),
    sessions=st.booleans(),
    deaf=st.sampled_from([(), (), ("mag2",)]),
    detection=st.sampled_from(["link", "link", "neighbour"]),
    handoffs=st.tuples(*[st.sampled_from([1, 1, 2, 3, 4, 6]) for _ in PORTS]),
    lma=st.fixed_dictionaries(
        {
            "max_delay_before_new_bce_assign_ms": st.sampled_from([1_500, 0]),
            "revoke_on_handover": st.booleans(),
            "prefix_pool": st.sampled_from([POOL, IPv6Network("2001:db8:100::/62")]),
        }
    ),
    domain=st.sampled_from(
        [
            {},
            {"timestamp_based_approach_in_use": False},
            {"fixed_mag_link_local_address_on_all_access_links": IPv6Address("::")},
        ]
    ),
)


class Honest(RuleBasedStateMachine):
    """All nodes keep to the protocol."""

    world: World

    @initialize(
        plan=PLANS,
        links=st.tuples(*[st.sampled_from((*MAGS, None)) for _ in PORTS]),
        flows=st.integers(0, 3),
    )
    def begin(self, plan: Plan, links: tuple[str | None, ...], flows: int) -> None:
        """Interfaces are linked, and each mobile node has flows to what it has then."""
        self.world = World(plan)
        self.world.watchers.append(Ledger(self.world).watch)
        for port, mag in zip(PORTS, links, strict=True):
            if mag is not None:
                self.world.connect(port, mag)
                self.world.run(0.1)
        for fid in range(1, flows + 1):
            for mn_id in MOBILE_NODES:
                self._add(mn_id, fid, [fid - 1], None, FlowAction.FORWARD, wide=fid == 3)
        self.world.run(2)
        self.done()

    def done(self) -> None:
        check(self.world)

    @rule(seconds=st.sampled_from(PAUSES))
    def wait(self, seconds: float) -> None:
        self.world.run(seconds)
        self.done()

    @rule(fates=st.lists(FATES, min_size=1, max_size=6))
    def disturb(self, fates: list[tuple[float, ...]]) -> None:
        """What becomes of the messages that are sent next."""
        self.world.fates.extend(fates)

    @rule(port=PORT, mag=MAG)
    def connect(self, port: str, mag: str) -> None:
        """An interface attaches, or is handed over."""
        self.world.connect(port, mag)
        self.done()

    @rule(port=PORT)
    def disconnect(self, port: str) -> None:
        self.world.disconnect(port)
        self.done()

    @rule(
        port=PORT,
        handoff=st.one_of(st.none(), st.integers(1, 6)),
        prefixes=st.lists(PREFIX, max_size=2, unique=True),
    )
    @precondition(lambda self: self.world.plan.layer_2)
    def attach(self, port: str, handoff: int | None, prefixes: list[IPv6Network]) -> None:
        """Layer-2 signalling on order; with prefixes, attachment to a session that there is."""
        self.world.attach(port, handoff, tuple(prefixes))
        self.done()

    @rule(port=PORT)
    @precondition(lambda self: self.world.plan.layer_2)
    def detach(self, port: str) -> None:
        self.world.ask(
            PORTS[port].mn_id, lambda core, now, token: core.attachments.detach(port, token, now)
        )
        self.done()

    @rule(name=NODE, seconds=st.sampled_from([0.0, 0.5, 15.0, 70.0]))
    def restart(self, name: str, seconds: float) -> None:
        if name in self.world.nodes:
            self.world.crash(name)
        self.world.run(seconds)
        self.done()
        if name not in self.world.nodes:
            self.world.start(name)
        self.done()

    @rule(actions=st.integers(0, 12))
    @precondition(lambda self: self.world.plan.sessions)
    def doom(self, actions: int) -> None:
        """The LMA dies in the middle of what it does."""
        self.world.doomed = actions

    @rule(name=NODE)
    def crash(self, name: str) -> None:
        if name in self.world.nodes:
            self.world.crash(name)
        self.done()

    @rule(port=PORT, mag=MAG, what=st.sampled_from(["terminate", "retry", "path MTU"]))
    def administer(self, port: str, mag: str, what: str) -> None:
        """What an administrator, or the path to the LMA, does to a MAG."""
        match what:
            case "terminate":
                self.world.act(mag, lambda core, now: core.terminate(port, now))
            case "retry":
                self.world.act(mag, lambda core, now: core.retry(now))
            case _:
                self.world.act(mag, lambda core, now: core.tunnel_mtu_changed(LMA, now))
        self.done()

    @rule(port=PORT, quality=PERCENT, load=PERCENT)
    def measure(self, port: str, quality: int | None, load: int | None) -> None:
        self.world.act(
            self.world.links.get(port, "mag1"),
            lambda core, now: core.link_measured(port, now, quality=quality, load=load),
        )
        self.done()

    # Orders to the LMA

    def _bids(self, mn_id: str, choice: list[int]) -> tuple[int, ...]:
        """Those of a mobile node's bindings, and for NO_BINDING one that nobody has."""
        lma = self.world.lma
        known = [] if lma is None else [entry.bid for entry in lma.core.bindings.of(mn_id)]
        return tuple(
            known[index % len(known)] if known and index < NO_BINDING else 0xFFFF
            for index in choice
        )

    @rule(
        mn_id=MN,
        fid=FID,
        choice=CHOICE,
        prefix=st.one_of(st.none(), PREFIX),
        action=st.sampled_from(list(FlowAction)),
        wide=st.booleans(),
    )
    def add_flow(
        self,
        mn_id: str,
        fid: int,
        choice: list[int],
        prefix: IPv6Network | None,
        action: FlowAction,
        wide: bool,
    ) -> None:
        self._add(mn_id, fid, choice, prefix, action, wide=wide)

    def _add(
        self,
        mn_id: str,
        fid: int,
        choice: list[int],
        prefix: IPv6Network | None,
        action: FlowAction,
        *,
        wide: bool,
    ) -> None:
        selector = IPv6TrafficSelector.of(
            destination=prefix, protocol=17, destination_port=None if wide else 1000 + fid
        )
        row = FlowMobilityCacheEntry(
            fid, fid, selector, tuple(dict.fromkeys(self._bids(mn_id, choice))), action
        )
        self.world.ask("lma", lambda core, now, token: core.add_flow(mn_id, row, token, now))
        self.done()

    @rule(mn_id=MN, fid=FID, choice=st.integers(0, 2))
    def move_flow(self, mn_id: str, fid: int, choice: int) -> None:
        bid = self._bids(mn_id, [choice])[0]
        self.world.ask("lma", lambda core, now, token: core.move_flow(mn_id, fid, bid, token, now))
        self.done()

    @rule(mn_id=MN, fids=st.lists(FID, min_size=1, max_size=3, unique=True), choice=CHOICE)
    def move_flows(self, mn_id: str, fids: list[int], choice: list[int]) -> None:
        bids = self._bids(mn_id, choice)
        self.world.ask(
            "lma", lambda core, now, token: core.move_flows(mn_id, fids, bids, token, now)
        )
        self.done()

    @rule(mn_id=MN, fid=FID, to=ACCESS, await_s=st.sampled_from([0.0, 0.5, 20.0]))
    def await_move(self, mn_id: str, fid: int, to: str, await_s: float) -> None:
        """The network's half of dynamic attachment."""
        self.world.ask(
            "lma",
            lambda core, now, token: core.await_move(
                AwaitedMove(mn_id, fid, to, token, now.monotonic + await_s), now
            ),
        )
        self.done()

    @rule(mn_id=MN, fid=FID)
    def remove_flow(self, mn_id: str, fid: int) -> None:
        self.world.ask("lma", lambda core, now, token: core.remove_flow(mn_id, fid, token, now))
        self.done()

    @rule(mn_id=MN, choice=st.one_of(st.none(), st.integers(0, 2)))
    def revoke(self, mn_id: str, choice: int | None) -> None:
        """A binding of a mobile node, or all."""
        bid = None if choice is None else self._bids(mn_id, [choice])[0]
        self.world.ask("lma", lambda core, now, token: core.revoke(mn_id, bid, token, now))
        self.done()

    @rule(mag=st.one_of(st.none(), MAG), realm=st.booleans())
    def revoke_all(self, mag: str | None, realm: bool) -> None:
        """All bindings of a MAG, or all of a realm."""
        peer = None if mag is None else MAGS[mag]
        self.world.ask(
            "lma",
            lambda core, now, token: (
                core.revoke_realm("example.org", peer, token, now)
                if realm or peer is None
                else core.revoke_mag(peer, token, now)
            ),
        )
        self.done()

    @rule(who=st.one_of(MN, MAG), worn_out=st.booleans())
    def force_registration(self, who: str, worn_out: bool) -> None:
        """`worn_out`: so many sessions came and went meanwhile that BIDs begin anew."""
        if worn_out:
            self.world.act("lma", lambda core, now: setattr(core.bindings, "next_bid", 1))
        self.world.ask(
            "lma",
            lambda core, now, token: (
                core.force_registrations(MAGS[who], token, now)
                if who in MAGS
                else core.force_registration(who, token, now)
            ),
        )
        self.done()

    # Packets, and the mobile node's decisions

    @rule(mn_id=MN, number=st.integers(0, 3), fid=FID)
    def traffic(self, mn_id: str, number: int, fid: int) -> None:
        """A packet to a mobile node and its answer, which the LMA may follow."""
        prefixes = sorted(self.world.nodes[mn_id].kernel.prefixes)
        if number < len(prefixes) and self.world.lma is not None:
            packet = packet_to(prefixes[number], 1000 + fid)
            down(self.world, packet)
            up(self.world, mn_id, packet)
            self.done()

    @rule(port=PORT, fid=FID, narrow=st.booleans(), take_back=st.booleans())
    def decide(self, port: str, fid: int, narrow: bool, take_back: bool) -> None:
        selector = IPv6TrafficSelector.of(
            protocol=17, destination_port=1000 + fid if narrow else None
        )
        self.world.ask(
            PORTS[port].mn_id,
            lambda core, now, token: (
                core.unbind_flow(fid)
                if take_back
                else core.bind_flow(FlowTableEntry(fid, fid, selector, port)),
                core.answer(token),
            ),
        )
        self.done()

    # What nobody has to take seriously

    @rule(
        name=st.sampled_from((*SIGNALLING, *PORTS)),
        data=st.binary(max_size=64),
        peer=st.booleans(),
    )
    def noise(self, name: str, data: bytes, peer: bool) -> None:
        """Arbitrary octets; few have a checksum that is right. On links, frames have none."""
        if name in PORTS:
            sender = PORTS[name].mn_id if peer else self.world.links.get(name, "")
            self.world.frame(sender, name, bytes((0xA1, len(data) // 8, 2 - peer, 0)) + data)
        else:
            source = MAGS["mag1"] if name == "lma" else LMA
            self.world.octets(name, data, source if peer else STRANGER)
        self.done()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.settle()
        self.when_quiet()
        self.leave()
        check_empty(self.world)

    def settle(self) -> None:
        """Nothing is lost any more, and nobody does anything."""
        self.world.fates.clear()
        self.world.doomed = None
        for name in SIGNALLING:
            if name not in self.world.nodes:
                self.world.start(name)
        self.world.run(QUIET_S)
        self.world.finish()
        check(self.world)

    def when_quiet(self) -> None:
        check_quiet(self.world)

    def leave(self) -> None:
        """All mobile nodes go, and whoever ordered flows takes them back."""
        for port in PORTS:
            self.world.disconnect(port)
        assert self.world.lma is not None
        for mn_id, row in self.world.lma.core.flows.cache.all_rows():
            self.world.ask(
                "lma",
                lambda core, now, token, m=mn_id, f=row.fid: core.remove_flow(m, f, token, now),
            )
        self.world.run(QUIET_S)
        check(self.world)
