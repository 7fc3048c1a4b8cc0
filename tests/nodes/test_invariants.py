"""The invariants of docs/invariants.md, which no sequence of events may break.

`HYPOTHESIS_PROFILE=deep` tries much more, and something else each time (`tests/conftest.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.actions import Log
from nodes.config import MobileNodePolicy
from nodes.flow_mobility_cache import FlowMobilityCacheEntry
from nodes.wire.codec import decode, encode
from nodes.wire.errors import MalformedMessage
from nodes.wire.messages import (
    Message,
)
from nodes.wire.traffic_selector import IPv6TrafficSelector
from tests.domain import LMA
from tests.hostile import MESSAGES, PLAUSIBLE, Hostile
from tests.invariants import Ledger, check, check_quiet
from tests.leftovers import check_empty, described
from tests.sequences import PREFIXES, SIGNALLING, STRANGER, Honest
from tests.world import World
from tests.world_plan import MAGS, MOBILE_NODES, Plan

TestWholeDomain = Honest.TestCase
TestWholeDomain.settings = settings()
TestLyingPeers = Hostile.TestCase
TestLyingPeers.settings = settings()


def settled(plan: Plan | None = None) -> World:
    """A world in which all three nodes are attached, and the first has two flows; the second of
    them was moved."""
    world = World(Plan() if plan is None else plan)
    world.watchers.append(Ledger(world).watch)
    for port, mag in (("mn1-wlan", "mag1"), ("mn1-cell", "mag2"), ("mn3-cell", "mag3")):
        world.connect(port, mag)
        world.run(0.5)
    assert world.lma is not None
    mn_id, (first, second, _) = MOBILE_NODES[0], [e.bid for e in world.lma.core.bindings]
    for fid in (1, 2):
        selector = IPv6TrafficSelector.of(protocol=17, destination_port=1000 + fid)
        row = FlowMobilityCacheEntry(fid, fid, selector, (first,))
        world.ask("lma", lambda core, now, token, r=row: core.add_flow(mn_id, r, token, now))
    world.ask("lma", lambda core, now, token: core.move_flow(mn_id, 2, second, token, now))
    world.run(2)
    check(world)
    check_quiet(world)
    return world


def state(world: World) -> dict[str, str]:
    """All that the nodes know and all that their kernels do, as text to compare."""
    return {
        name: f"{described(node.core)}{node.kernel}" for name, node in sorted(world.nodes.items())
    }


@given(st.booleans(), st.lists(st.tuples(st.sampled_from(SIGNALLING), MESSAGES), max_size=8))
def test_what_a_stranger_says_changes_nothing_rfc5213_4(
    layer_2: bool, messages: list[tuple[str, Message]]
) -> None:
    world = settled(Plan(layer_2=layer_2))
    before = state(world)
    for name, message in messages:
        world.deliver(name, message, STRANGER)
    assert state(world) == before


@given(st.data())
def test_octets_with_an_error_never_reach_a_core_and_raise_what_is_declared(
    data: st.DataObject,
) -> None:
    message = data.draw(PLAUSIBLE)
    octets = bytearray(encode(message, MAGS["mag1"], LMA))
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    received = bytes(octets[: data.draw(st.integers(0, len(octets)))])
    try:
        decoded = decode(received, MAGS["mag1"], LMA)
    except MalformedMessage:
        return
    assert decode(encode(decoded, MAGS["mag1"], LMA), MAGS["mag1"], LMA) == decoded


def _lma(world: World) -> Any:
    assert world.lma is not None
    return world.lma


def _share(world: World) -> None:
    first, _, other = _lma(world).core.bindings
    other.prefixes = first.prefixes


def _inactive(world: World) -> None:
    _lma(world).core.flows.cache.set_active(MOBILE_NODES[0], 1, False)


def _astray(world: World) -> None:
    kernel = _lma(world).kernel
    kernel.routes[next(iter(kernel.routes))] = STRANGER


def _left_over(world: World) -> None:
    _lma(world).kernel.tunnels.add(STRANGER)


def _steered(world: World) -> None:
    kernel = _lma(world).kernel
    kernel.targets[next(iter(kernel.targets))] = (MAGS["mag3"],)


def _without_row(world: World) -> None:
    _lma(world).core.flows.cache.remove(MOBILE_NODES[0], 2)


def _unhosted(world: World) -> None:
    world.nodes["mag1"].kernel.hosted.clear()


def _expired(world: World) -> None:
    world.nodes["mag1"].core.bindings["mn1-wlan"].expires_at = world.seconds - 1


def _asleep(world: World) -> None:
    world.seconds += 1_000


def _advertised(world: World) -> None:
    entry = world.nodes["mag2"].core.bindings["mn1-cell"]
    entry.prefixes += entry.off_link_prefixes
    world.act("mag2", lambda core, now: core._advertiser.registered(entry, now))
    world.run(5)


def _early(world: World) -> None:
    (entry, *_) = _lma(world).core.bindings
    world.act("lma", lambda core, now: core.registrations.revoked(entry, now))


def _handed_out(world: World) -> None:
    """To another node, in the LMA's answer."""
    (entry, *_) = _lma(world).core.bindings
    details = {"bid": 77, "mn": MOBILE_NODES[2], "prefixes": [str(entry.prefixes[0])]}
    world.act("lma", lambda core, now: core._outbox.put(Log("registered", details)))


@pytest.mark.parametrize(
    "broken",
    [
        _share,
        _inactive,
        _astray,
        _left_over,
        _steered,
        _without_row,
        _unhosted,
        _expired,
        _asleep,
        _advertised,
        _early,
        _handed_out,
    ],
)
def test_what_is_broken_is_noticed_at_once(broken: Callable[[World], None]) -> None:
    """Each invariant is broken by hand once."""
    world = settled(Plan(policies=(MobileNodePolicy(prefix_model="unique"),) * 3))

    def happen() -> None:
        broken(world)
        check(world)

    with pytest.raises(AssertionError):
        happen()


def _unknown_to_lma(world: World) -> None:
    core = _lma(world).core
    core.bindings.remove(next(iter(core.bindings)))


def _unknown_to_mag(world: World) -> None:
    world.nodes["mag3"].core.bindings.clear()


def _other_prefix(world: World) -> None:
    world.nodes["mag3"].core.bindings["mn3-cell"].prefixes = PREFIXES[4:]


def _never_answered(world: World) -> None:
    world.asked[99] = "lma"


def _cut_off(world: World) -> None:
    world.nodes[MOBILE_NODES[2]].kernel.preferred.clear()


def _not_delivered(world: World) -> None:
    world.nodes["mag3"].kernel.through.clear()


@pytest.mark.parametrize(
    "broken",
    [
        _unknown_to_lma,
        _unknown_to_mag,
        _other_prefix,
        _never_answered,
        _cut_off,
        _not_delivered,
    ],
)
def test_what_is_broken_is_noticed_when_all_is_quiet(broken: Callable[[World], None]) -> None:
    world = settled()
    broken(world)
    with pytest.raises(AssertionError):
        check_quiet(world)


def test_what_is_left_behind_is_noticed() -> None:
    world = World(Plan())
    check_empty(world)
    world.nodes["lma"].core.flows._orders._of["mn"] = [object()]
    with pytest.raises(AssertionError, match="_of has 1 items"):
        check_empty(world)


def test_a_timer_that_is_never_satisfied_is_noticed() -> None:
    world = World(Plan())
    due = world.seconds
    world.nodes["lma"].core.timer = lambda: due
    with pytest.raises(AssertionError, match="in the past for ever"):
        world.run(1)
