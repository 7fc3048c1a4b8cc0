"""Orders of all kinds at random, over networks of all kinds: what holds at every FMI, and what the
nodes agree on once all is quiet (RFC 7864 sections 3.4, 4.2 and 5.2)."""

from __future__ import annotations

from ipaddress import IPv6Address

from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.config import MobileNodePolicy
from nodes.flow_mobility_cache import FlowAction, FlowMobilityCacheEntry
from nodes.lma.flow_mobility_initiate import known
from nodes.wire.flow_options import FlowIdentification
from nodes.wire.messages import Message, UpdateNotification, UpdateNotificationReason
from nodes.wire.options import HomeNetworkPrefix
from tests.domain import MAG1, MN, P1, P2, P3, Domain, Network

ACCESSES = ("wlan", "cell")
PREFIXES = (P1, P2, P3, None)


class Watched(Network):
    """Checks every FMI when it is sent and, once a MAG has processed it, what became of it."""

    def _transmit(self, message: Message, source: IPv6Address, destination: IPv6Address) -> None:
        if isinstance(message, UpdateNotification) and not message.retransmit:
            self._check(message, destination)
        super()._transmit(message, source, destination)

    def _check(self, message: UpdateNotification, destination: IPv6Address) -> None:
        assert message.reason == UpdateNotificationReason.FLOW_MOBILITY
        options = message.all_options(HomeNetworkPrefix)
        assert options, "RFC 7864 section 4.2: one or more"
        off_link = {option.prefix for option in options if option.off_link}
        flows = {option.fid for option in message.all_options(FlowIdentification)}
        core = self.lma.core
        (entry,) = [e for e in core.bindings.of(MN) if e.registered and e.proxy_coa == destination]
        if not off_link:
            assert {option.prefix for option in options} == set(entry.prefixes)
        assert not off_link & set(entry.prefixes)
        for key, path in self.lma.forwarding.targets.items():
            installed = self.lma.forwarding.flows[key]
            if destination in path and installed.entry.action is FlowAction.FORWARD:
                there = off_link | set(entry.prefixes)
                assert set(installed.prefixes) <= there, "an FMI is the whole set"
                if core.config.mobile_nodes[MN].granularity == "flow":
                    assert installed.entry.fid in flows, "of flows as well"

    def mag_of(self, proxy_coa: IPv6Address) -> str:
        return "mag1" if proxy_coa == MAG1 else "mag2"


def expected_paths(network: Network, row: FlowMobilityCacheEntry) -> tuple[IPv6Address, ...]:
    bindings = [network.lma.core.bindings.get(bid) for bid in row.bids]
    live = [binding for binding in bindings if binding is not None and binding.registered]
    return tuple(dict.fromkeys(binding.proxy_coa for binding in live))


def check_always(network: Network) -> None:
    """What holds whatever gets lost."""
    for _, row in network.lma.core.flows.cache.all_rows():
        paths = expected_paths(network, row)
        assert row.active is bool(paths), "RFC 7864 section 5.2"
        assert network.paths(row.fid) in ((), paths), "the kernel does what the caches say"
        if network.paths(row.fid) != paths:  # no prefix of its is where it would have to be
            assert not [prefix for prefix in PREFIXES[:3] if common(network, row, prefix)]
    fids = {row.fid for _, row in network.lma.core.flows.cache.all_rows()}
    assert {flow.entry.fid for flow in network.lma.forwarding.flows.values()} <= fids
    for prefix, peer in network.lma.forwarding.routes.items():
        of_session = network.lma.core.bindings.holding(prefix)
        holders = of_session or network.lma.core.bindings.lent(prefix)
        live = [
            entry.proxy_coa
            for entry in holders
            if entry.registered and prefix in entry.prefixes + entry.flow_mobility_prefixes
        ]
        assert peer == next(iter(live), None), "RFC 6089 section 5.3.6: the lowest BID-PRI"


def common(network: Network, row: FlowMobilityCacheEntry, prefix: object) -> bool:
    """Whether all MAGs of a row route a prefix that its packets may be addressed to."""
    if row.action is FlowAction.DROP or PREFIXES[row.fid - 1] not in (prefix, None):
        return False
    entries = [network.lma.core.bindings.get(bid) for bid in row.bids]
    live = [entry for entry in entries if entry is not None and entry.registered]
    return all(prefix in entry.prefixes + entry.flow_mobility_prefixes for entry in live)


def check_agreement(network: Watched) -> None:
    """What holds once all is quiet and nothing had to be given up."""
    core = network.lma.core
    for entry in core.bindings.of(MN):
        if not entry.registered:
            continue
        gateway = network.mags[network.mag_of(entry.proxy_coa)]
        served = gateway.core.bindings[gateway.interface]
        assert set(served.off_link_prefixes) == set(entry.flow_mobility_prefixes)
        assert [row.fid for row in served.flows] == [
            flow.fid for flow in sorted(entry.flow_identifications, key=lambda f: f.priority)
        ]
        assert set(entry.inherited_prefixes) <= set(entry.flow_mobility_prefixes)
        assert not any(map(core.bindings.holding, entry.inherited_prefixes))
        needed = core.flows.needs.of(entry)
        assert set(known(entry).items()) == set(needed.items()), "sets shrink"
        filtered = gateway.forwarding.filters.get(gateway.interface)
        if served.flows and served.off_link_prefixes:
            assert filtered is not None
            assert (filtered.prefixes, filtered.flows) == (served.off_link_prefixes, served.flows)
        else:
            assert filtered is None
    for key, path in network.lma.forwarding.targets.items():
        flow = network.lma.forwarding.flows[key]
        for peer in path if flow.entry.action is FlowAction.FORWARD else ():
            hosted = {p for _, p in network.mags[network.mag_of(peer)].forwarding.hosted}
            assert set(flow.prefixes) <= hosted, "packets go where they are routed on"


TARGETS = st.lists(st.sampled_from(ACCESSES), min_size=1, max_size=2, unique=True)
FIDS = st.lists(st.integers(1, 4), min_size=1, max_size=4, unique=True)
EVENTS = st.one_of(
    st.tuples(st.sampled_from(["attach", "detach"]), st.sampled_from(["mag1", "mag2"])),
    st.tuples(st.just("add"), st.integers(1, 4), TARGETS, st.sampled_from(FlowAction)),
    st.tuples(st.just("add"), st.integers(1, 4), TARGETS, st.just(FlowAction.FORWARD)),
    st.tuples(st.just("move"), FIDS, TARGETS),
    st.tuples(st.just("move"), FIDS, TARGETS),
    st.tuples(st.just("remove"), st.integers(1, 4)),
    st.tuples(st.just("wait"), st.sampled_from([0.005, 0.015, 0.3, 2.5, 12.0])),
)


@st.composite
def policies(draw: st.DrawFn) -> MobileNodePolicy:
    granularity = draw(st.sampled_from(["prefix", "flow"]))
    delivery = draw(st.sampled_from(["on-move", "at-attach"])) if granularity == "prefix" else None
    return MobileNodePolicy(
        prefix_model=draw(st.sampled_from(["shared", "unique", "hybrid"])),
        switch=draw(st.sampled_from(["on-ack", "on-send"])),
        granularity=granularity,
        prefix_delivery=delivery or "on-move",
        withdrawal_delay_ms=draw(st.sampled_from([0, 10, 1_000, 10_000])),
    )


def play(network: Network, event: tuple[object, ...]) -> None:
    match event:
        case ("attach", str(mag)):
            network.attach(mag)
        case ("detach", str(mag)):
            network.detach(mag)
        case ("wait", float(seconds)):
            network.run(seconds)
        case ("remove", int(fid)):
            network.remove_flow(fid)
        case ("add", int(fid), list(to), FlowAction() as action):
            if all(network.lma.core.resolve(MN, access) is not None for access in to):
                network.add_flow(fid, to, PREFIXES[fid - 1], action=action)
        case ("move", list(fids), list(to)):
            if all(network.lma.core.resolve(MN, access) is not None for access in to):
                network.move(fids, to)


@settings(max_examples=60, deadline=None)
@given(policies(), st.lists(EVENTS, max_size=25))
def test_nodes_agree_where_a_mag_knows_no_update_notifications_rfc7864_3_3(
    rules: MobileNodePolicy, events: list[tuple[object, ...]]
) -> None:
    """Each of its registrations makes up for the FMIs that it had no use for."""
    network = Watched(rules)
    network.mags["mag1"] = Domain.mag("mag1", update_notifications=False)
    for event in (("attach", "mag1"), ("attach", "mag2"), ("wait", 0.3), *events):
        play(network, event)
        check_always(network)
    for _ in range(3):
        for gateway in network.mags.values():
            for entry in gateway.core.bindings.values():
                entry.refresh_at = network.seconds
        network.run(30)
    settle(network)
    check_always(network)
    check_agreement(network)


def settle(network: Network) -> None:
    network.run(90)
    assert all(token in network.replies for token in range(1, next(network._tokens)))


@settings(max_examples=250, deadline=None)
@given(policies(), st.lists(EVENTS, max_size=25), st.booleans())
def test_nodes_agree_when_nothing_is_lost_rfc7864_4_2(
    rules: MobileNodePolicy, events: list[tuple[object, ...]], twice: bool
) -> None:
    network = Watched(rules)
    network.fate = lambda message: (0.01, 0.011) if twice else (0.01,)
    for event in (("attach", "mag1"), ("attach", "mag2"), ("wait", 0.3), *events):
        play(network, event)
        check_always(network)
    settle(network)
    check_always(network)
    check_agreement(network)


@settings(max_examples=250, deadline=None)
@given(policies(), st.lists(EVENTS, max_size=25), st.randoms(use_true_random=False))
def test_what_holds_whatever_is_lost_repeated_or_late_rfc7864_5_2(
    rules: MobileNodePolicy, events: list[tuple[object, ...]], rng: object
) -> None:
    choose = rng.choice  # type: ignore[attr-defined]
    network = Watched(rules)
    network.fate = lambda message: choose(
        [(0.01,), (0.01,), (), (0.05,), (0.3,), (0.01, 0.2), (0.3, 0.01)]
    )
    for event in (("attach", "mag1"), ("attach", "mag2"), ("wait", 0.3), *events):
        play(network, event)
        check_always(network)
    settle(network)
    check_always(network)


def test_a_lost_withdrawal_is_not_believed_rfc7077_5_2() -> None:
    """Neither that the MAG still has it nor that it hasn't: the next move there signals again."""
    network = Watched(MobileNodePolicy(prefix_model="unique", withdrawal_delay_ms=100))
    for event in (("attach", "mag1"), ("attach", "mag2"), ("wait", 0.3)):
        play(network, event)
    network.add_flow(1, "wlan", P1)
    network.move(1, "cell")
    network.run(0.05)
    network.move(1, "wlan")
    network.fate = lambda message: () if isinstance(message, UpdateNotification) else (0.01,)
    network.run(5)
    assert network.off_link("mag2") == {P1}
    network.fate = lambda message: (0.01,)
    network.messages()
    network.move(1, "cell")
    network.run(0.05)
    assert network.messages() == ["FMI lma>mag2", "FMA mag2>lma"]
    check_agreement(network)
