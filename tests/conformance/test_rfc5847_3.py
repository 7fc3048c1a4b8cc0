"""RFC 5847 section 3, heartbeats: one test a rule, for both kinds of node where it binds both."""

from __future__ import annotations

from ipaddress import IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nodes.heartbeat import Incarnation
from nodes.restart_counter import count_start
from nodes.strict import InputError, convert, to_builtins
from nodes.wire.codec import encode
from nodes.wire.messages import BindingError, Heartbeat
from nodes.wire.options import RestartCounter
from tests.conformance.headers import DESTINATION, SOURCE

if TYPE_CHECKING:
    from tests.domain import Anchor, Domain, Gateway, Network

INTERVAL_S = 60


def heartbeats(network: Network, sender: str) -> list[Heartbeat]:
    """Those that `sender` has sent since the last call."""
    found = [
        sent.message
        for sent in network.sent
        if isinstance(sent.message, Heartbeat) and sent.source == sender
    ]
    network.sent.clear()
    return found


def node(network: Network, name: str) -> Anchor | Gateway:
    return network.lma if name == "lma" else network.mags[name]


def test_rfc5847_3_01_a_mag_without_sessions_sends_none(domain: type[Domain]) -> None:
    network = domain.network()
    network.run(INTERVAL_S + 1)
    assert heartbeats(network, "mag1")
    network.detach("mag1")
    network.run(5 * INTERVAL_S)
    assert heartbeats(network, "mag1") == []


def test_rfc5847_3_02_an_lma_sends_none_to_a_mag_without_bindings(domain: type[Domain]) -> None:
    network = domain.network()
    network.run(INTERVAL_S + 1)
    network.detach("mag1")
    network.run(15)  # MinDelayBeforeBCEDelete
    network.sent.clear()
    network.run(5 * INTERVAL_S)
    asked = {s.destination for s in network.sent if isinstance(s.message, Heartbeat)}
    assert "mag1" not in asked
    assert "mag2" in asked


@pytest.mark.parametrize("side", ["lma", "mag"])
def test_rfc5847_3_04_the_interval_is_30_s_at_least(domain: type[Domain], side: str) -> None:
    config: Any = domain.lma_config() if side == "lma" else domain.mag().core.config
    document = to_builtins(config)
    for wanted in (30, 3600):
        changed = convert({**document, "heartbeat_interval_s": wanted}, type(config), "test")
        assert changed.heartbeat_interval_s == wanted
    with pytest.raises(InputError, match="heartbeat_interval_s"):
        convert({**document, "heartbeat_interval_s": 29}, type(config), "test")


@pytest.mark.parametrize("name", ["lma", "mag1"])
def test_rfc5847_3_05_a_peer_that_knows_none_gets_no_more(domain: type[Domain], name: str) -> None:
    network = domain.network()
    network.fate = lambda message: () if isinstance(message, Heartbeat) else (0.01,)
    network.run(INTERVAL_S + 1)
    peer = domain.MAG1 if name == "lma" else domain.LMA
    of_peer = "mag1" if name == "lma" else "lma"
    network.sent.clear()
    network.deliver(name, BindingError(2), peer)
    network.run(10 * INTERVAL_S)
    asked = {(s.source, s.destination) for s in network.sent if isinstance(s.message, Heartbeat)}
    assert (name, of_peer) not in asked
    assert asked, "others go on"


def test_rfc5847_3_2_01_each_start_counts(tmp_path: Path) -> None:
    counters = [count_start(tmp_path / "state").restart_counter for _ in range(4)]
    assert counters == [1, 2, 3, 4]


def test_rfc5847_3_2_03_the_counter_is_kept_on_disk(tmp_path: Path) -> None:
    """Nothing but the file says what it was, and a crash while it is written keeps the old one."""
    path = tmp_path / "state"
    count_start(path)
    kept = path.read_bytes()
    count_start(path)
    path.write_bytes(kept)
    path.with_name("state.new").write_bytes(b"{")
    assert count_start(path) == Incarnation(2, restarted=True)


@pytest.mark.parametrize("name", ["lma", "mag1"])
def test_rfc5847_3_2_04_the_counters_of_peers_are_kept(domain: type[Domain], name: str) -> None:
    """A response with another counter than the one before is noticed as a restart."""
    network = domain.network()
    network.run(2 * INTERVAL_S + 1)
    assert "peer-restarted" not in network.events(name)
    network.fate = lambda message: () if isinstance(message, Heartbeat) else (0.01,)
    network.sent.clear()
    network.run(INTERVAL_S)
    (request,) = [
        s.message
        for s in network.sent
        if isinstance(s.message, Heartbeat)
        and not s.message.response
        and s.source == name
        and s.destination in ("mag1", "lma")
    ]
    peer: IPv6Address = domain.MAG1 if name == "lma" else domain.LMA
    other = Heartbeat(request.sequence, response=True, options=(RestartCounter(9),))
    network.deliver(name, other, peer)
    assert "peer-restarted" in network.events(name)


@pytest.mark.parametrize("name", ["lma", "mag1"])
def test_rfc5847_3_2_05_the_peers_are_told_of_a_restart(domain: type[Domain], name: str) -> None:
    network = domain.network()
    network.run(1)
    network.crash(name)
    network.sent.clear()
    network.start(name)
    told = [s for s in network.sent if isinstance(s.message, Heartbeat)]
    assert {s.destination for s in told} == ({"mag1", "mag2"} if name == "lma" else {"lma"})
    for sent in told:
        assert isinstance(sent.message, Heartbeat)
        assert (sent.message.unsolicited, sent.message.response) == (True, True)
        assert sent.message.option(RestartCounter) == RestartCounter(2)


def test_rfc5847_3_3_01_the_type_is_13() -> None:
    for response in (False, True):
        assert encode(Heartbeat(1, response=response), SOURCE, DESTINATION)[2] == 13


def test_rfc5847_3_4_01_the_restart_counter_option_is_28() -> None:
    octets = encode(Heartbeat(1, True, options=(RestartCounter(5),)), SOURCE, DESTINATION)
    assert bytes([28, 4, 0, 0, 0, 5]) in octets
