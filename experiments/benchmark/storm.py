"""Attach storms: all mobile nodes of a domain at once, through one LMA.

The LMA is the daemon with its sockets and kernel state. The MAGs are sockets with the
retransmissions of RFC 5213 section 6.9.4. What the LMA and its kernel have in the end is compared
with what the mobile nodes did last, whatever was sent meanwhile.
"""

from __future__ import annotations

import json
import random
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, NamedTuple

from experiments.benchmark.bed import Bed, bed, memory
from experiments.benchmark.lma_under_load import (
    WLAN,
    Served,
    lma_config,
    mn_id,
    serve_lma,
    serving,
)
from experiments.benchmark.signalling import LIFETIME, MAGS, Mags
from nodes.config import ANY_PREFIX, MobileNodePolicy
from nodes.control_client import Session
from nodes.deadlines import Deadlines
from nodes.wire.messages import HandoffHint, ProxyBindingAcknowledgement, ProxyBindingUpdate
from nodes.wire.options import (
    AccessTechnologyType,
    HandoffIndicator,
    HomeNetworkPrefix,
    MobileNodeIdentifier,
    MobileNodeLinkLayerIdentifier,
    Timestamp,
)
from topologies.namespaces import inside

# RFC 6275 section 12
INITIAL_BINDACK_TIMEOUT_S, MAX_BINDACK_TIMEOUT_S = 1.0, 32.0
LIMIT_S = 300.0
# Sent between two looks at what has come: as fast as the MAGs' process can.
AT_ONCE = 64


class Wish(NamedTuple):
    """What a mobile node does: to be registered by `mag`, or not any more."""

    mag: int
    handoff: HandoffHint
    lifetime: int = LIFETIME


class Storm:
    """`registered` has who is where in the end, by what they wished, and nothing that the LMA
    said."""

    def __init__(self, found: Bed, mags: Mags) -> None:
        self._bed, self._mags = found, mags
        self._sequence = 0
        self.prefixes: dict[int, IPv6Network] = {}
        self.registered: dict[int, int] = {}
        self.sent = self.retransmitted = 0
        self.statuses: Counter[int] = Counter()
        # Answers to each request.
        self.answers: Counter[tuple[int, int]] = Counter()

    def carry_out(self, wishes: dict[int, Wish]) -> float:
        """Have all wishes sent, and sent again until they are answered; returns the time (s)."""
        started = time.perf_counter()
        waiting: dict[int, tuple[int, float]] = {}
        due: Deadlines[int] = Deadlines()
        left = list(wishes)
        left.reverse()
        while left or waiting:
            now = time.perf_counter()
            if now > started + LIMIT_S:
                raise TimeoutError(f"{len(waiting)} of {len(wishes)} without an answer")
            for number in [left.pop() for _ in range(min(AT_ONCE, len(left)))]:
                waiting[number] = (self._send(number, wishes[number]), INITIAL_BINDACK_TIMEOUT_S)
                due.set(number, now + INITIAL_BINDACK_TIMEOUT_S)
            for number in due.due(now):
                timeout = min(2 * waiting[number][1], MAX_BINDACK_TIMEOUT_S)
                waiting[number] = (self._send(number, wishes[number]), timeout)
                due.set(number, now + timeout)
                self.retransmitted += 1
            for number in self._receive(0.0 if left else 0.02):
                waiting.pop(number, None)
                due.set(number, None)
        for number, wish in wishes.items():
            self.registered.pop(number, None)
            if wish.lifetime:
                self.registered[number] = wish.mag
        return time.perf_counter() - started

    def _send(self, number: int, wish: Wish) -> int:
        self._sequence = (self._sequence + 1) & 0xFFFF
        known = self.prefixes.get(number)
        prefix = known if known is not None and not wish.lifetime else ANY_PREFIX
        options = (
            MobileNodeIdentifier.of(mn_id(number)),
            HomeNetworkPrefix.of(prefix),
            HandoffIndicator(wish.handoff),
            AccessTechnologyType(WLAN),
            Timestamp.of_unix_ns(time.time_ns()),
            MobileNodeLinkLayerIdentifier(bytes([2, WLAN]) + number.to_bytes(4, "big")),
        )
        message = ProxyBindingUpdate(self._sequence, wish.lifetime, options)
        self._mags.send(message, self._bed.mags[wish.mag])
        self.sent += 1
        return self._sequence

    def _receive(self, timeout_s: float) -> Iterable[int]:
        """The mobile nodes whose wish was granted."""
        try:
            arrived = list(self._mags.receive(timeout_s))
        except TimeoutError:
            return
        for _, message in arrived:
            if not isinstance(message, ProxyBindingAcknowledgement):
                continue
            identifier = message.option(MobileNodeIdentifier)
            assert identifier is not None
            number = int(identifier.nai.removeprefix("mn").partition("@")[0])
            self.answers[number, message.sequence] += 1
            self.statuses[int(message.status)] += 1
            if message.accepted:
                (prefix,) = message.all_options(HomeNetworkPrefix)
                self.prefixes[number] = prefix.prefix
                yield number


def storm(mns: int, most_waiting: int = 8_192) -> dict[str, Any]:
    """`mns` mobile nodes attach at 10 MAGs at once; then each does one of what mobile nodes do, at
    once again: stay, go to another MAG, leave. `most_waiting`: messages that wait at the LMA."""
    with bed(MAGS) as found, tempfile.TemporaryDirectory() as name:
        with inside(found.access):
            mags = Mags(found.mags)
        config = lma_config(found, Path(name), mns, MobileNodePolicy(), most_waiting)
        with serving(found, Path(name), serve_lma(config)) as lma:
            before = memory(lma.child.pid)
            attaching = Storm(found, mags)
            new = HandoffHint.NEW_INTERFACE
            took = attaching.carry_out({n: Wish(n % MAGS, new) for n in range(mns)})
            report = {"attach": _described(attaching, took), **_differences(found, lma, attaching)}
            used = memory(lma.child.pid).since(before)
            report |= {"process_octets": used.own / mns, "kernel_octets": used.kernel / mns}
            churning = Storm(found, mags)
            churning.registered = dict(attaching.registered)
            churning.prefixes = attaching.prefixes
            took = churning.carry_out(_churn(mns))
            after = _differences(found, lma, churning)
            report["churn"] = _described(churning, took) | after
        events = Path(name, "lma.jsonl").read_text(encoding="utf-8").splitlines()
        overload = [json.loads(line) for line in events if '"overload"' in line]
        for what in ("replaced", "dropped"):
            report[what] = sum(one[what] for one in overload)
        mags.close()
    return report


def _churn(mns: int) -> dict[int, Wish]:
    chance = random.Random(1)
    wishes = {}
    for number in range(mns):
        mag = number % MAGS
        wishes[number] = chance.choice(
            (
                Wish(mag, HandoffHint.HANDOFF_STATE_NOT_CHANGED),
                Wish((mag + 1) % MAGS, HandoffHint.HANDOFF_BETWEEN_MAGS),
                Wish(mag, HandoffHint.HANDOFF_STATE_UNKNOWN, 0),
            )
        )
    return wishes


def _described(course: Storm, took: float) -> dict[str, Any]:
    return {
        "took_s": took,
        "sent": course.sent,
        "retransmitted": course.retransmitted,
        "answered": sum(course.answers.values()),
        "answered_twice": sum(count > 1 for count in course.answers.values()),
        "statuses": {str(status): count for status, count in course.statuses.items()},
    }


def _differences(found: Bed, lma: Served, course: Storm) -> dict[str, int]:
    """How many mobile nodes the LMA or its kernel has otherwise than they wished."""
    with Session(lma.control) as session:
        bindings = _bindings(session, course)
    with inside(found.lma):
        command = ["ip", "-6", "-j", "route", "show"]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    routes = {one["dst"]: one.get("dev") for one in json.loads(output)}
    tunnels: dict[str, str] = {}
    wrong = wrong_routes = 0
    for number, mag in course.registered.items():
        entry = bindings.pop(mn_id(number), None)
        if entry is None or IPv6Address(entry["proxy_coa"]) != found.mags[mag]:
            wrong += 1
            continue
        # A MAG has a tunnel of its own, whichever it is.
        device = routes.get(entry["prefixes"][0], "none")
        wrong_routes += tunnels.setdefault(entry["proxy_coa"], device) != device
    wrong_routes += len(set(tunnels.values())) != len(tunnels)
    return {"wrong": wrong + len(bindings), "wrong_routes": wrong_routes}


def _bindings(session: Session, course: Storm) -> dict[str, dict[str, Any]]:
    """The registered bindings, by mobile node."""
    numbers = range(1 + max(course.registered))
    found: dict[str, dict[str, Any]] = {}
    for number in numbers:
        reply = session.request({"op": "bindings", "mn": mn_id(number)})
        for entry in reply["result"]:
            if entry["state"] == "registered":
                if entry["mn"] in found:
                    raise RuntimeError(f"{entry['mn']} has two bindings")
                found[entry["mn"]] = entry
    return found
