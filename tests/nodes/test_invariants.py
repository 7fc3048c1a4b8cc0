"""The invariants of docs/invariants.md that no message may break, legal or not."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.config import MobileNodePolicy
from nodes.wire.codec import decode, encode
from nodes.wire.errors import MalformedMessage
from nodes.wire.messages import (
    BindingError,
    Heartbeat,
    Message,
    ProxyBindingAcknowledgement,
    ProxyBindingUpdate,
    UpdateNotification,
    UpdateNotificationAcknowledgement,
)
from nodes.wire.options import (
    AccessTechnologyType,
    AlternateCareOfAddress,
    HandoffIndicator,
    HomeNetworkPrefix,
    MobileNodeIdentifier,
    MobileNodeLinkLayerIdentifier,
    Option,
    Timestamp,
)
from tests.domain import (
    BOOT_UNIX_NS,
    LINK_LAYER_1,
    LINK_LAYER_2,
    LMA,
    MAG1,
    MAG2,
    MN,
    OTHER_MN,
    P1,
    P2,
    P3,
    Domain,
    Network,
)
from tests.messages import message_strategy

STRANGER = IPv6Address("2001:db8:bad::1")


def _some(strategy: st.SearchStrategy[Any], most: int = 1) -> st.SearchStrategy[list[Any]]:
    return st.lists(strategy, max_size=most)


def _options() -> st.SearchStrategy[tuple[Option, ...]]:
    """Options with the names and numbers of the domain, so that they get past the first check."""
    stamps = st.floats(-1, 1).map(lambda off: BOOT_UNIX_NS + round((30 + off) * 1e9))
    groups = st.tuples(
        _some(st.sampled_from([MN, OTHER_MN, "nobody"]).map(MobileNodeIdentifier.of)),
        _some(st.builds(HomeNetworkPrefix.of, st.sampled_from([P1, P2, P3]), st.booleans()), 3),
        _some(st.just(HomeNetworkPrefix(IPv6Address(0), 0))),
        _some(st.integers(0, 7).map(HandoffIndicator)),
        _some(st.sampled_from([0, 4, 5, 8]).map(AccessTechnologyType)),
        _some(
            st.sampled_from([LINK_LAYER_1, LINK_LAYER_2, b"", bytes(6)]).map(
                MobileNodeLinkLayerIdentifier
            )
        ),
        _some(stamps.map(Timestamp.of_unix_ns)),
        _some(st.sampled_from([MAG1, MAG2, STRANGER]).map(AlternateCareOfAddress)),
    )
    return groups.map(lambda found: tuple(option for group in found for option in group))


SEQUENCES = st.integers(0, 0xFFFF)
PLAUSIBLE: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        ProxyBindingUpdate,
        SEQUENCES,
        st.sampled_from([0, 1, 900]),
        _options(),
        proxy_registration=st.booleans(),
    ),
    st.builds(
        ProxyBindingAcknowledgement,
        st.sampled_from([0, 1, 128, 155, 156, 157, 160]),
        SEQUENCES,
        st.sampled_from([0, 1, 900]),
        _options(),
    ),
    st.builds(
        UpdateNotification, SEQUENCES, st.integers(0, 9), _options(), st.booleans(), st.booleans()
    ),
    st.builds(
        UpdateNotificationAcknowledgement, SEQUENCES, st.sampled_from([0, 131, 132]), _options()
    ),
    st.builds(Heartbeat, SEQUENCES, st.booleans(), st.booleans()),
    st.builds(BindingError, st.integers(0, 3)),
    message_strategy(),
)
# All mandatory options, in time: most are accepted if they come from a MAG.
REQUESTS = st.builds(
    Domain.pbu,
    st.floats(29.8, 30.2),
    mn=st.sampled_from([MN, OTHER_MN]),
    prefixes=st.sampled_from([(IPv6Network("::/0"),), (P1,), (P2,), (P3,), (P1, P2)]),
    handoff=st.integers(1, 6),
    technology=st.sampled_from([4, 5, 8]),
    link_layer=st.sampled_from([LINK_LAYER_1, LINK_LAYER_2, None]),
    lifetime=st.sampled_from([0, 900]),
)
MESSAGES = st.one_of(REQUESTS, PLAUSIBLE)
MODELS = st.sampled_from(["shared", "unique", "hybrid"])
DELIVERIES = st.sampled_from(["on-move", "at-attach"])


def network_of(model: str, delivery: str = "on-move") -> Network:
    """Both accesses attached, a flow on each, and one of them moved; it is second 30."""
    rules = MobileNodePolicy(prefix_model=model, prefix_delivery=delivery)  # type: ignore[arg-type]
    network = Domain.unattached(rules)
    for mag in ("mag1", "mag2"):
        network.attach(mag)
        network.run(0.1)
    network.add_flow(1, "wlan", P1)
    network.add_flow(2, "cell", None)
    network.move(1, "cell")
    network.run(30 - network.seconds)
    return network


def state(network: Network) -> tuple[object, ...]:
    """All that the nodes know and all that their kernels do, as text to compare."""
    lma, mags = network.lma, network.mags
    return (
        repr(list(lma.core.bindings)),
        repr(lma.core.flows.cache.all_rows()),
        repr(lma.forwarding),
        *(repr(mag.core.bindings) for mag in mags.values()),
        *(repr(mag.forwarding) for mag in mags.values()),
    )


def check(network: Network) -> None:
    """What holds at any time."""
    core = network.lma.core
    owners: dict[object, set[str]] = {}
    for entry in core.bindings:
        for prefix in entry.all_prefixes():
            owners.setdefault(prefix, set()).add(entry.mn_id)
    assert all(len(nodes) == 1 for nodes in owners.values()), "one mobile node per prefix"
    for mn_id, row in core.flows.cache.all_rows():
        bindings = [core.bindings.get(bid) for bid in row.bids]
        live = [b for b in bindings if b is not None and b.registered]
        assert row.active is bool(live), "an active flow has a live binding"
        assert all(binding.mn_id == mn_id for binding in live)
    for prefix, peer in network.lma.forwarding.routes.items():
        holders = {
            entry.proxy_coa
            for entry in core.bindings
            if prefix in entry.prefixes + entry.flow_mobility_prefixes
        }
        assert peer is None or peer in holders, "a route leads to a MAG that has the prefix"
    for mag in network.mags.values():
        hosted: set[object] = set()
        for served in mag.core.bindings.values():
            hosted |= set(served.hosted)
        assert {prefix for _, prefix in mag.forwarding.hosted} == hosted
    for _, name, advertisement in network.advertised:
        messages = [sent.message for sent in network.sent if sent.destination == name]
        messages += [message for node, message in network.injected if node == name]
        given = {
            option.prefix
            for message in messages
            for option in message.all_options(HomeNetworkPrefix)
            if not option.off_link
        }
        assert set(advertisement.prefixes) <= given, "a MAG never advertises an L=1 prefix"


@settings(max_examples=100)
@given(MODELS, st.lists(st.tuples(st.sampled_from(["lma", "mag1", "mag2"]), MESSAGES), max_size=8))
def test_what_a_stranger_says_changes_nothing_rfc5213_4(
    model: str, messages: list[tuple[str, Message]]
) -> None:
    network = network_of(model)
    before = state(network)
    for node, message in messages:
        network.deliver(node, message, STRANGER)
    assert state(network) == before


@settings(max_examples=150)
@given(
    MODELS,
    DELIVERIES,
    st.lists(
        st.tuples(
            st.sampled_from(["lma", "mag1", "mag2"]),
            MESSAGES,
            st.sampled_from([LMA, MAG1, MAG2]),
            st.sampled_from([0.0, 0.02, 1.1]),
        ),
        max_size=12,
    ),
)
def test_no_message_of_a_peer_breaks_an_invariant(
    model: str, delivery: str, messages: list[tuple[str, Message, IPv6Address, float]]
) -> None:
    network = network_of(model, delivery)
    for node, message, source, pause in messages:
        network.deliver(node, message, source)
        check(network)
        network.run(pause)
        check(network)


@settings(max_examples=200)
@given(st.data())
def test_octets_with_an_error_never_reach_a_core_and_raise_what_is_declared(
    data: st.DataObject,
) -> None:
    message = data.draw(PLAUSIBLE)
    octets = bytearray(encode(message, MAG1, LMA))
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    received = bytes(octets[: data.draw(st.integers(0, len(octets)))])
    network = network_of("unique")
    before = state(network)
    try:
        decoded = decode(received, MAG1, LMA)
    except MalformedMessage:
        assert state(network) == before
        return
    network.deliver("lma", decoded, MAG1)
    check(network)


def test_the_checks_can_fail() -> None:
    """Each invariant is broken by hand once."""

    def share(network: Network) -> None:
        first, second = network.lma.core.bindings
        second.prefixes, second.mn_id = first.prefixes, OTHER_MN

    def inactive(network: Network) -> None:
        network.lma.core.flows.cache.set_active(MN, 1, False)

    def astray(network: Network) -> None:
        network.lma.forwarding.routes[P1] = STRANGER

    def hosted(network: Network) -> None:
        network.mags["mag1"].forwarding.hosted.clear()

    breaks: list[Callable[[Network], None]] = [share, inactive, astray, hosted]
    for broken in breaks:
        network = network_of("unique")
        check(network)
        broken(network)
        try:
            check(network)
        except AssertionError:
            continue
        raise AssertionError(f"{broken.__name__}: nobody noticed")
