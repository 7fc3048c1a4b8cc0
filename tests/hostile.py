"""Sequences of events in which peers lie: any message, right or damaged, from anybody."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from nodes.neighbour_discovery import ALL_NODES, PrefixInformation, RouterAdvertisement
from nodes.neighbour_discovery import encode as encode_discovery
from nodes.wire.codec import encode
from nodes.wire.messages import (
    BindingError,
    BindingRevocationAcknowledgement,
    BindingRevocationIndication,
    Heartbeat,
    Message,
    ProxyBindingAcknowledgement,
    ProxyBindingUpdate,
    UpdateNotification,
    UpdateNotificationAcknowledgement,
)
from nodes.wire.options import (
    AccessLinkReport,
    AccessTechnologyType,
    AlternateCareOfAddress,
    HandoffIndicator,
    HomeNetworkPrefix,
    LinkLocalAddress,
    MobileNodeIdentifier,
    MobileNodeLinkLayerIdentifier,
    Option,
    RestartCounter,
    Timestamp,
)
from tests.domain import BOOT_UNIX_NS, LMA, Domain
from tests.messages import message_strategy
from tests.sequences import NODE, PORT, PREFIX, PREFIXES, STRANGER, Honest
from tests.world_plan import MAGS, MOBILE_NODES, PORTS

LINK_LAYERS = [port.link_layer for port in PORTS.values()]


def _some(strategy: st.SearchStrategy[Any], most: int = 1) -> st.SearchStrategy[list[Any]]:
    return st.lists(strategy, max_size=most)


def _options() -> st.SearchStrategy[tuple[Option, ...]]:
    """Options with the names and numbers of the domain, so that they get past the first check."""
    stamps = st.floats(0, 200).map(lambda seconds: BOOT_UNIX_NS + round(seconds * 1e9))
    groups = st.tuples(
        _some(st.sampled_from([*MOBILE_NODES, "nobody"]).map(MobileNodeIdentifier.of)),
        _some(st.builds(HomeNetworkPrefix.of, st.sampled_from(PREFIXES), st.booleans()), 3),
        _some(st.just(HomeNetworkPrefix(IPv6Network("::/0")[0], 0))),
        _some(st.integers(0, 7).map(HandoffIndicator)),
        _some(st.sampled_from([0, 4, 5, 8]).map(AccessTechnologyType)),
        _some(st.sampled_from([*LINK_LAYERS, b"", bytes(6)]).map(MobileNodeLinkLayerIdentifier)),
        _some(stamps.map(Timestamp.of_unix_ns)),
        _some(st.sampled_from([*MAGS.values(), STRANGER]).map(AlternateCareOfAddress)),
        _some(st.integers(0, 3).map(RestartCounter)),
        _some(st.just(LinkLocalAddress(PORTS["mn1-wlan"].link_local))),
        _some(st.builds(AccessLinkReport, st.integers(0, 100), st.integers(0, 100))),
    )
    return groups.map(lambda found: tuple(option for group in found for option in group))


# Nodes begin with random numbers; these are what lucky guesses would be.
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
    st.builds(
        BindingRevocationIndication,
        st.integers(0, 130),
        SEQUENCES,
        _options(),
        global_revocation=st.booleans(),
    ),
    st.builds(BindingRevocationAcknowledgement, st.sampled_from([0, 1, 128, 130]), SEQUENCES),
    st.builds(Heartbeat, SEQUENCES, st.booleans(), st.booleans(), _options()),
    st.builds(BindingError, st.integers(0, 3)),
    message_strategy(),
)
# All mandatory options, in time: most are accepted if they come from a MAG.
REQUESTS = st.builds(
    Domain.pbu,
    st.sampled_from([2.0, 2.3, 3.0, 5.0, 13.0]),
    mn=st.sampled_from(MOBILE_NODES),
    prefixes=st.lists(st.sampled_from([IPv6Network("::/0"), *PREFIXES]), min_size=1, max_size=2),
    handoff=st.integers(1, 6),
    technology=st.sampled_from([4, 5, 8]),
    link_layer=st.sampled_from([*LINK_LAYERS, None]),
    timestamp=st.booleans(),
    sequence=SEQUENCES,
    lifetime=st.sampled_from([0, 1, 900]),
)
MESSAGES = st.one_of(REQUESTS, PLAUSIBLE)


class Hostile(Honest):
    @rule(name=NODE, message=MESSAGES, source=st.sampled_from((LMA, *MAGS.values(), STRANGER)))
    def say(self, name: str, message: Message, source: IPv6Address) -> None:
        self.world.deliver(name, message, source)
        self.done()

    @rule(
        name=NODE,
        message=MESSAGES,
        damage=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=2),
    )
    def damaged(self, name: str, message: Message, damage: list[tuple[int, int]]) -> None:
        source, own = (MAGS["mag1"], LMA) if name == "lma" else (LMA, MAGS[name])
        octets = bytearray(encode(message, source, own))
        for place, value in damage:
            octets[place % len(octets)] = value
        self.world.octets(name, bytes(octets), source)
        self.done()

    @rule(port=PORT, kind=st.integers(133, 136), data=st.binary(max_size=80), up=st.booleans())
    def discover(self, port: str, kind: int, data: bytes, up: bool) -> None:
        self.world.discovery(port, bytes((kind, 0, 0, 0)) + data, up=up)
        self.done()

    @rule(
        port=PORT,
        prefixes=st.dictionaries(PREFIX, st.sampled_from([0, 100]), max_size=3),
        lifetime=st.sampled_from([0, 1800]),
    )
    def advertise(self, port: str, prefixes: dict[IPv6Network, int], lifetime: int) -> None:
        """A router that isn't one, to a mobile node."""
        found = (PrefixInformation(net, True, True, s, s) for net, s in prefixes.items())
        advertisement = RouterAdvertisement(lifetime, tuple(found))
        sender = PORTS[port].link_local
        self.world.discovery(port, encode_discovery(advertisement, sender, ALL_NODES), up=False)
        self.done()

    def when_quiet(self) -> None:
        """What a peer lied about may stay wrong; requests are answered all the same."""
        assert not self.world.asked, "every request is answered"
