"""Storms on an LMA that does one thing at a time and has a queue: afterwards all is as the mobile
nodes wished, says a model that knows nothing of the LMA."""

from __future__ import annotations

import random
from ipaddress import IPv6Address

import pytest

from nodes.actions import Send
from nodes.config import MobileNodePolicy
from nodes.lma.signalling_queue import WaitingMessages
from nodes.wire.messages import ProxyBindingAcknowledgement, ProxyBindingStatus, ProxyBindingUpdate
from tests.domain import LINK_LAYER_1, MAG1, MAG2, Anchor, Domain, at, of

MNS = 200
RETRY_S, SERVICE_S, STEP_S = 1.0, 0.01, 0.1


def _mn(number: int) -> str:
    return f"mn{number}@example.org"


def _wish(
    domain: type[Domain], number: int, seconds: float, lifetime: int, sequence: int
) -> ProxyBindingUpdate:
    hint = 3 if lifetime else 4
    link_layer = LINK_LAYER_1[:-2] + number.to_bytes(2, "big")
    return domain.pbu(
        seconds,
        mn=_mn(number),
        handoff=hint,
        link_layer=link_layer,
        sequence=sequence,
        lifetime=lifetime,
    )


@pytest.mark.parametrize("most", [10_000, 40])
@pytest.mark.parametrize("seed", range(4))
def test_after_a_storm_the_bindings_are_those_last_wished_rfc5213_6_9_4(
    domain: type[Domain], most: int, seed: int
) -> None:
    """Twice as many requests come at once as can be served before they come again, a second later,
    as they do until they are answered; then nodes go to the other MAG, or leave."""
    chance = random.Random(seed)
    lma = domain.lma(mobile_nodes={_mn(n): MobileNodePolicy() for n in range(MNS)})
    waiting: WaitingMessages[tuple[ProxyBindingUpdate, IPv6Address, float]] = WaitingMessages(
        lma.core.bindings, most
    )
    wishes = {n: (chance.choice((MAG1, MAG2)), 900) for n in range(MNS)}
    unanswered = dict.fromkeys(wishes, 0.0)
    sequence, seconds, changed = 0, 0.0, False
    sent: dict[int, int] = {}
    answers: list[int] = []
    while unanswered or not changed:
        seconds += STEP_S
        if not changed and (seconds > 1.0 or not unanswered):
            changed = True
            for number in chance.sample(range(MNS), MNS // 2):
                mag, _ = wishes[number]
                other = MAG2 if mag == MAG1 else MAG1
                wishes[number] = chance.choice(((other, 900), (mag, 0)))
                unanswered[number] = seconds
        for number, due in list(unanswered.items()):
            if due <= seconds:
                sequence += 1
                mag, lifetime = wishes[number]
                message = _wish(domain, number, seconds, lifetime, sequence)
                waiting.put((message, mag, seconds), message, mag)
                sent[sequence] = number
                unanswered[number] = seconds + RETRY_S
        assert len(waiting) <= most
        for _ in range(int(STEP_S / SERVICE_S)):
            work = waiting.take()
            if work is None:
                break
            for number in _served(lma, *work, sent, answers):
                mag, lifetime = wishes[number]
                if (work[1], work[0].lifetime) == (mag, lifetime):
                    unanswered.pop(number, None)
        for number, (_, lifetime) in wishes.items():
            # A deregistration of what isn't there is ignored: the MAG forgets it after a second.
            if not lifetime and number in unanswered and not lma.core.bindings.of(_mn(number)):
                del unanswered[number]
        assert seconds < 120
    wished = {_mn(n): mag for n, (mag, lifetime) in wishes.items() if lifetime}
    registered = [entry for entry in lma.core.bindings if entry.registered]
    assert {entry.mn_id: entry.proxy_coa for entry in registered} == wished
    assert len(registered) == len(wished)
    prefixes = [prefix for entry in registered for prefix in entry.prefixes]
    assert len(set(prefixes)) == len(prefixes) == len(wished)
    routes = lma.forwarding.routes
    assert all(routes[e.prefixes[0]] == e.proxy_coa for e in registered)
    assert len(answers) == len(set(answers)), "answered twice"
    report = waiting.report(1e9)
    assert report is not None
    assert (report["dropped"] > 0) == (most == 40)


def _served(
    lma: Anchor,
    message: ProxyBindingUpdate,
    source: IPv6Address,
    arrived: float,
    sent: dict[int, int],
    answers: list[int],
) -> list[int]:
    """Those whose request was accepted."""
    lma.core.receive(message, source, at(arrived))
    accepted = []
    for action in of(Send, lma.taken()):
        if isinstance(action.message, ProxyBindingAcknowledgement):
            answers.append(action.message.sequence)
            if action.message.accepted:
                accepted.append(sent[action.message.sequence])
    return accepted


def test_what_is_beyond_max_bindings_is_refused_with_130_rfc5213_5_3_2(
    domain: type[Domain],
) -> None:
    """Sessions that exist go on: they take nothing more."""
    lma = domain.lma(mobile_nodes={_mn(n): MobileNodePolicy() for n in range(3)}, max_bindings=2)
    status = [lma.acknowledged(_wish(domain, n, 0.0, 900, n)).status for n in range(3)]
    assert status == [0, 0, ProxyBindingStatus.INSUFFICIENT_RESOURCES]
    assert lma.acknowledged(_wish(domain, 1, 1.0, 900, 4), 1.0).status == 0
    assert lma.acknowledged(_wish(domain, 0, 2.0, 0, 5), 2.0).status == 0
    lma.timer(60.0)  # MinDelayBeforeBCEDelete has passed
    assert lma.acknowledged(_wish(domain, 2, 60.0, 900, 6), 60.0).status == 0
