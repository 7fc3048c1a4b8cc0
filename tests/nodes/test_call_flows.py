"""The LMA and both MAGs together, message by message, and whatever may happen to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.config import MobileNodePolicy
from nodes.wire.messages import Message, ProxyBindingUpdate, UpdateNotification

if TYPE_CHECKING:
    from tests.domain import Domain, Network

REGISTRATION_1 = ["PBU mag1>lma", "PBA lma>mag1"]
REGISTRATION_2 = ["PBU mag2>lma", "PBA lma>mag2"]
MOVE_TO_1 = ["FMI lma>mag1", "FMA mag1>lma"]


def policy(model: str, switch: str = "on-ack", delivery: str = "on-move") -> MobileNodePolicy:
    return MobileNodePolicy(
        prefix_model=model,  # type: ignore[arg-type]
        switch=switch,  # type: ignore[arg-type]
        prefix_delivery=delivery,  # type: ignore[arg-type]
    )


def test_attachment_takes_one_round_trip_rfc5213_figure_2(domain: type[Domain]) -> None:
    network = domain.unattached(policy("unique"))
    network.attach("mag1")
    network.run(0.0199)
    assert network.advertised == []
    network.run(0.0002)
    assert network.messages() == REGISTRATION_1
    ((when, mag, advertisement),) = network.advertised
    assert when == pytest.approx(0.02)
    assert (mag, advertisement.prefixes) == ("mag1", (domain.P1,))
    assert network.lma.forwarding.routes == {domain.P1: domain.MAG1}


@pytest.mark.parametrize("switch", ["on-ack", "on-send"])
@pytest.mark.parametrize(
    ("model", "second", "there", "back"),
    [
        ("shared", [], [], []),
        ("unique", [], MOVE_TO_1, []),
        ("hybrid", [], MOVE_TO_1, []),
    ],
)
def test_a_life_in_each_model_rfc7864_3_2(
    domain: type[Domain],
    model: str,
    switch: str,
    second: list[str],
    there: list[str],
    back: list[str],
) -> None:
    """Attach, attach again, move, return, detach. The flow is to what the second access added."""
    network = domain.unattached(policy(model, switch))
    network.attach("mag1")
    network.run(0.1)
    assert network.messages() == REGISTRATION_1
    network.attach("mag2")
    network.run(0.1)
    assert network.messages() == REGISTRATION_2 + second
    prefix = domain.P1 if model == "shared" else domain.P2
    network.add_flow(1, "cell", prefix)
    network.move(1, "wlan")
    network.run(0.1)
    assert network.messages() == there
    assert network.path(1) == domain.MAG1
    network.move(1, "cell")
    network.run(0.1)
    assert network.messages() == back
    assert network.path(1) == domain.MAG2
    network.detach("mag2")
    network.run(0.1)
    assert network.messages() == REGISTRATION_2
    assert network.path(1) is None
    network.run(11)
    assert network.messages() == there, "what no flow needs any more is withdrawn in the same way"
    network.detach("mag1")
    network.run(11)
    assert network.messages() == REGISTRATION_1
    assert list(network.lma.core.bindings) == []
    assert (network.lma.forwarding.tunnels, network.lma.forwarding.routes) == (set(), {})
    for mag in network.mags.values():
        assert (mag.forwarding.tunnels, mag.forwarding.hosted) == (set(), set())


def test_a_lost_request_is_sent_again_after_a_second_rfc5213_6_9_4(domain: type[Domain]) -> None:
    network = domain.unattached(policy("unique"))
    lost: list[Message] = []

    def fate(message: Message) -> tuple[float, ...]:
        if isinstance(message, ProxyBindingUpdate) and not lost:
            lost.append(message)
            return ()
        return (0.01,)

    network.fate = fate
    network.attach("mag1")
    network.run(1.03)
    assert network.messages() == ["PBU mag1>lma", *REGISTRATION_1]
    assert [round(when, 2) for when, _, _ in network.advertised] == [1.02]


def test_registrations_are_renewed_for_as_long_as_it_takes_rfc5213_6_9_1_3(
    domain: type[Domain],
) -> None:
    network = domain.network("unique")
    network.add_flow(1, "cell", domain.P2)
    network.move(1, "wlan")
    network.run(20_000)
    assert network.path(1) == domain.MAG1
    assert network.off_link("mag1") == {domain.P2}
    assert len(list(network.lma.core.bindings)) == 2
    assert network.messages().count("FMI lma>mag1") == 1


def test_duplicates_of_everything_change_nothing_rfc7077_6_1_rfc5213_5_5(
    domain: type[Domain],
) -> None:
    network = domain.unattached(policy("unique"))
    network.fate = lambda message: (0.01, 0.012)
    for mag in ("mag1", "mag2"):
        network.attach(mag)
        network.run(0.1)
    network.add_flow(1, "cell", domain.P2)
    network.move(1, "wlan")
    network.run(1)
    assert network.path(1) == domain.MAG1
    assert [entry.registered for entry in network.lma.core.bindings] == [True, True]
    assert network.events().count("switched") == 1
    assert network.events("mag1").count("flow-mobility") == 1


def check_safety(network: Network, domain: type[Domain]) -> None:
    """What holds at any time, whatever gets lost."""
    core = network.lma.core
    owners: dict[object, set[str]] = {}
    for entry in core.bindings:
        for prefix in (*entry.prefixes, *entry.flow_mobility_prefixes):
            owners.setdefault(prefix, set()).add(entry.mn_id)
    assert all(len(nodes) == 1 for nodes in owners.values()), "RFC 5213 section 5.3.2"
    for mn_id, row in core.flows.cache.all_rows():
        bindings = [core.bindings.get(bid) for bid in row.bids]
        registered = [b for b in bindings if b is not None and b.registered]
        assert row.active is bool(registered), "RFC 7864 section 5.2"
        assert all(binding.mn_id == mn_id for binding in registered)
    for name, mag in network.mags.items():
        served = mag.core.bindings.get(mag.interface)
        if served is not None:
            hosted = {prefix for _, prefix in mag.forwarding.hosted}
            assert hosted == set(served.hosted)
            assert not set(served.prefixes) & set(served.off_link_prefixes), name
        else:
            assert mag.forwarding.hosted == set()


def check_advertisements(network: Network) -> None:
    """RFC 7864 section 4.1: what came with the L bit and nothing else isn't advertised."""
    on_link: dict[str, set[object]] = {"mag1": set(), "mag2": set()}
    for sent in network.sent:
        if sent.destination in on_link and not isinstance(sent.message, UpdateNotification):
            for option in sent.message.options:
                if getattr(option, "off_link", None) is False:
                    on_link[sent.destination].add(option.prefix)  # type: ignore[attr-defined]
    for _, mag, advertisement in network.advertised:
        assert set(advertisement.prefixes) <= on_link[mag]


def check_agreement(network: Network, domain: type[Domain]) -> None:
    """What holds once all is quiet and nothing had to be given up."""
    for entry in network.lma.core.bindings:
        mag = "mag1" if entry.proxy_coa == domain.MAG1 else "mag2"
        if entry.mn_id == domain.MN and entry.registered:
            assert network.off_link(mag) == set(entry.flow_mobility_prefixes)
    for key, flow in network.lma.forwarding.flows.items():
        targets = network.lma.forwarding.targets.get(key, ())
        for peer in targets:
            gateway = network.mags["mag1" if peer == domain.MAG1 else "mag2"]
            hosted = {prefix for _, prefix in gateway.forwarding.hosted}
            assert set(flow.prefixes) <= hosted, "packets go where they are routed on"


EVENTS = st.one_of(
    st.tuples(st.sampled_from(["attach", "detach"]), st.sampled_from(["mag1", "mag2"])),
    st.tuples(st.just("move"), st.integers(1, 4), st.sampled_from(["wlan", "cell"])),
    st.tuples(st.just("move"), st.integers(1, 4), st.sampled_from(["wlan", "cell"])),
    st.tuples(st.just("add"), st.integers(1, 4), st.sampled_from(["wlan", "cell"])),
    st.tuples(st.just("remove"), st.integers(1, 4)),
    st.tuples(st.just("other"), st.sampled_from(["come", "go"])),
    st.tuples(st.just("wait"), st.sampled_from([0.005, 0.03, 0.5, 2.5, 12.0])),
)
POLICIES = st.builds(
    policy,
    st.sampled_from(["shared", "unique", "hybrid"]),
    st.sampled_from(["on-ack", "on-send"]),
    st.sampled_from(["on-move", "at-attach"]),
)


def play(network: Network, domain: type[Domain], event: tuple[object, ...]) -> None:
    """One event. Orders that the core would refuse are given all the same."""
    match event:
        case ("attach", str(mag)):
            network.attach(mag)
        case ("detach", str(mag)):
            network.detach(mag)
        case ("wait", float(seconds)):
            network.run(seconds)
        case ("other", what):
            technology = 5
            message = domain.pbu(
                network.seconds,
                mn=domain.OTHER_MN,
                technology=technology,
                link_layer=b"\2\0\0\0\5\1",
                handoff=1 if what == "come" else 4,
                lifetime=900 if what == "come" else 0,
            )
            network.inject(message, domain.MAG2)
        case ("remove", int(fid)):
            network.remove_flow(fid)
        case (order, int(fid), str(to)):
            if network.lma.core.resolve(domain.MN, to) is None:
                return
            if order == "move":
                network.move(fid, to)
            else:
                prefix = (None, domain.P1, domain.P2, domain.P3)[fid - 1]
                network.add_flow(fid, to, prefix)


def settle(network: Network) -> None:
    """Until nothing is under way."""
    network.delay_s = 0.01
    network.run(60)
    assert all(token in network.replies for token in range(1, next(network._tokens)))


@settings(max_examples=150)
@given(POLICIES, st.lists(EVENTS, max_size=25), st.booleans())
def test_a_network_that_loses_nothing_rfc7864_4_2(
    domain: type[Domain],
    rules: MobileNodePolicy,
    events: list[tuple[object, ...]],
    twice: bool,
) -> None:
    network = domain.unattached(rules)
    network.fate = lambda message: (0.01, 0.011) if twice else (0.01,)
    for event in events:
        play(network, domain, event)
        check_safety(network, domain)
    settle(network)
    check_safety(network, domain)
    check_advertisements(network)
    check_agreement(network, domain)


@settings(max_examples=150)
@given(POLICIES, st.lists(EVENTS, max_size=25), st.randoms(use_true_random=False))
def test_a_network_that_loses_repeats_and_reorders_rfc7077_5_2_rfc5213_5_5(
    domain: type[Domain], rules: MobileNodePolicy, events: list[tuple[object, ...]], rng: object
) -> None:
    choose = rng.choice  # type: ignore[attr-defined]
    network = domain.unattached(rules)
    network.fate = lambda message: choose(
        [(0.01,), (0.01,), (), (0.05,), (0.3,), (0.01, 0.2), (0.3, 0.01)]
    )
    for event in events:
        play(network, domain, event)
        check_safety(network, domain)
    settle(network)
    check_safety(network, domain)
    check_advertisements(network)
