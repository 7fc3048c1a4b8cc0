"""A seed makes a scenario. One of four is busy: faults seconds apart; the others are long: faults
minutes apart, for as many hours as virtual time makes cheap."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from experiments.chaos.domain import LMA
from experiments.chaos.scenario import (
    ACCESSES,
    AccessName,
    AddFlow,
    AnyFault,
    Attach,
    Detach,
    Disturb,
    Flap,
    ForceRegistration,
    Garbage,
    Interface,
    Kill,
    Mobile,
    MoveFlow,
    Partition,
    Policy,
    RemoveFlow,
    Report,
    Revoke,
    Scenario,
    Spoof,
    Traffic,
    mag_name,
    mn_name,
    quiet_s,
)
from nodes.config import Granularity, MobileNodePolicy, PrefixDelivery

BUSY_OF = 4
FIRST_FAULT_S = 20.0
ATTACHED_WITHIN_S = 3.0
FLOWS_FROM_S = 10.0
# Nothing that goes wrong lasts longer, and nothing begins later than this before all agree.
LONGEST_S = 240.0
POLICIES: tuple[tuple[dict[str, object], ...], ...] = (
    (),
    (),
    (),
    ({"kind": "link-quality", "access": "wlan"},),
    ({"kind": "link-quality", "access": "cell"},),
    ({"kind": "load-balance"},),
)
GRANULARITIES: tuple[Granularity, ...] = ("prefix", "prefix", "flow")
DELIVERIES: tuple[PrefixDelivery, ...] = ("on-move", "on-move", "at-attach")
DIRECTIONS: tuple[Literal["down", "up", "both"], ...] = ("both", "both", "down", "up")
NOT_JSON = ("{", "[]", '{"op": 7}', '{"op": "move-flow"}', '{"op": "revoke", "id": {}}', "\ufffd")


class Kind(NamedTuple):
    """How a kind of scenario differs: mean time between faults (s), emulated time between two
    instants at which all agree, how often there is one, and the time between a flow's packets."""

    between_s: float
    episode_s: float
    episodes: tuple[int, int]
    interval_s: tuple[float, float]
    longest_s: float
    look_every_s: float


BUSY = Kind(4.0, 240.0, (1, 3), (0.3, 5.0), 40.0, 15.0)
LONG = Kind(75.0, 2_400.0, (2, 4), (10.0, 120.0), LONGEST_S, 120.0)


def generate(seed: int) -> Scenario:
    rng = random.Random(f"chaos {seed}")
    kind = BUSY if seed % BUSY_OF == 0 else LONG
    mags = rng.randint(1, 5)
    layer_2 = rng.random() < 0.35
    mobiles = tuple(_mobile(rng, n, mags) for n in range(1, _several(rng, 20) + 1))
    flows = tuple(_flows(rng, mobiles, kind))
    lifetime_s = rng.choice((32, 60, 120))
    quiet = quiet_s(lifetime_s)
    faults: list[AnyFault] = [
        *_beginning(rng, mobiles),
        *(AddFlow(at_s=FLOWS_FROM_S + n * 0.05, flow=flow.number, to=_some(rng, mobiles, flow))
          for n, flow in enumerate(flows) if rng.random() < 0.8),
    ]  # fmt: skip
    agreed_s: list[float] = []
    begin_s = FIRST_FAULT_S
    for _ in range(rng.randint(*kind.episodes)):
        end_s = begin_s + kind.episode_s * rng.uniform(0.5, 1.0)
        maker = _Maker(rng, kind, mags, mobiles, flows, layer_2)
        at_s = begin_s
        while (at_s := at_s + rng.expovariate(1 / kind.between_s)) < end_s:
            faults += maker.some(round(at_s, 3))
        agreed_s.append(round(end_s + kind.longest_s + quiet, 3))
        begin_s = agreed_s[-1] + 5.0
    return Scenario(
        seed=seed,
        mags=mags,
        mobiles=mobiles,
        attachment="layer-2" if layer_2 else "link",
        core_delay_ms=rng.choice((0.0, 1.0, 10.0, 50.0)),
        lifetime_s=lifetime_s,
        heartbeat_interval_s=rng.choice((30, 60)),
        revoke_on_handover=rng.random() < 0.3,
        flows=flows,
        faults=tuple(sorted(faults, key=lambda fault: fault.at_s)),
        agreed_s=tuple(agreed_s),
        look_every_s=kind.look_every_s,
    )


def _several(rng: random.Random, most: int) -> int:
    """Rather few than many."""
    return min(rng.randint(1, most), rng.randint(1, most))


def _mobile(rng: random.Random, number: int, mags: int) -> Mobile:
    names: list[AccessName] = rng.sample(list(ACCESSES), rng.choice((1, 2, 2, 2, 3)))  # type: ignore[arg-type]
    interfaces = {
        name: Interface(rng.randint(1, mags), rng.choice((0.5, 2.0, 25.0)))
        for name in sorted(names)
    }
    return Mobile(
        number=number,
        interfaces=interfaces,
        policy=_policy(rng, interfaces),
        duplicates=rng.choice(("keep", "keep", "remove")),
    )


def _policy(rng: random.Random, interfaces: dict[AccessName, Interface]) -> MobileNodePolicy:
    """A MAG with two interfaces of a node routes each prefix to one of them, so there it can't tell
    flows apart."""
    apart = len({interface.mag for interface in interfaces.values()}) == len(interfaces)
    granularity = rng.choice(GRANULARITIES) if apart else "prefix"
    delivery = rng.choice(DELIVERIES)
    return MobileNodePolicy(
        prefix_model=rng.choice(("shared", "unique", "hybrid")),
        prefixes_per_session=rng.choice((1, 1, 1, 2)),
        prefix_delivery="on-move" if granularity == "flow" else delivery,
        switch=rng.choice(("on-ack", "on-send")),
        granularity=granularity,
        withdrawal_delay_ms=rng.choice((0, 1_000, 10_000)),
        hold_ms=rng.choice((0, 0, 0, 200)),
        fallback=rng.choice(("registration", "refuse")),
        policies=rng.choice(POLICIES),
    )


def _flows(rng: random.Random, mobiles: tuple[Mobile, ...], kind: Kind) -> Iterator[Traffic]:
    number = 0
    for mobile in mobiles:
        for _ in range(rng.choice((1, 1, 2, 3))):
            number += 1
            yield Traffic(
                number=number,
                mn=mobile.number,
                anchor=rng.choice(list(mobile.interfaces)),
                interval_s=round(rng.uniform(*kind.interval_s), 3),
                up=rng.random() < 0.25,
                exact=rng.random() < 0.5,
                from_s=round(FLOWS_FROM_S + rng.uniform(0.0, 5.0), 3),
            )


def _beginning(rng: random.Random, mobiles: tuple[Mobile, ...]) -> Iterator[AnyFault]:
    """Most accesses come up at first, and most of these stay."""
    for mobile in mobiles:
        for access in mobile.interfaces:
            if rng.random() < 0.9:
                at_s = round(rng.uniform(1.0, 1.0 + ATTACHED_WITHIN_S), 3)
                yield Attach(at_s=at_s, mn=mobile.number, access=access)


def _some(rng: random.Random, mobiles: tuple[Mobile, ...], flow: Traffic) -> tuple[AccessName, ...]:
    """Where to: one access of the flow's node, sometimes two."""
    (mobile,) = (mobile for mobile in mobiles if mobile.number == flow.mn)
    names = list(mobile.interfaces)
    return tuple(rng.sample(names, min(len(names), rng.choice((1, 1, 1, 1, 2)))))


class _Maker:
    """Makes faults of a scenario."""

    def __init__(
        self,
        rng: random.Random,
        kind: Kind,
        mags: int,
        mobiles: tuple[Mobile, ...],
        flows: tuple[Traffic, ...],
        layer_2: bool,
    ) -> None:
        self._rng = rng
        self._kind = kind
        self._mags = mags
        self._mobiles = mobiles
        self._flows = flows
        self._layer_2 = layer_2
        self._makers: list[tuple[int, Callable[[float], list[AnyFault]]]] = [
            (8, self._attach),
            (5, self._flap),
            (4, self._kill),
            (3, self._partition),
            (4, self._disturb),
            (12, self._move),
            (3, self._add),
            (2, self._remove),
            (2, self._revoke),
            (1, self._force),
            (3, self._report),
            (1, self._policy),
            (2, self._spoof),
            (1, self._garbage),
            (4 if layer_2 else 0, self._detach),
        ]

    def some(self, at_s: float) -> list[AnyFault]:
        weights = [weight for weight, _ in self._makers]
        ((_, maker),) = self._rng.choices(self._makers, weights)
        return maker(at_s)

    def _for_s(self) -> float:
        """From a tenth of a second to the longest; each order of magnitude alike."""
        return round(min(0.1 * 10 ** self._rng.uniform(0.0, 3.4), self._kind.longest_s), 3)

    def _access(self) -> tuple[int, AccessName, Mobile]:
        mobile = self._rng.choice(self._mobiles)
        return mobile.number, self._rng.choice(list(mobile.interfaces)), mobile

    def _mag(self) -> int:
        return self._rng.randint(1, self._mags)

    def _attach(self, at_s: float) -> list[AnyFault]:
        mn, access, mobile = self._access()
        others = [name for name in mobile.interfaces if name != access]
        if self._layer_2 and others and self._rng.random() < 0.5:
            # A handover between interfaces, or one that shares the other's session.
            other = self._rng.choice(others)
            sharing = self._rng.random() < 0.5
            taking: AnyFault = Attach(
                at_s=at_s,
                mn=mn,
                access=access,
                for_s=self._for_s(),
                handoff=6 if sharing else 2,
                session=other,
            )
            if sharing:
                return [taking]
            return [Flap(at_s=at_s, mn=mn, access=other, period_s=2 * self._for_s()), taking]
        for_s = self._for_s() if self._rng.random() < 0.7 else None
        return [Attach(at_s=at_s, mn=mn, access=access, for_s=for_s)]

    def _flap(self, at_s: float) -> list[AnyFault]:
        mn, access, _ = self._access()
        if self._rng.random() < 0.3:
            # 10 Hz
            return [Flap(at_s=at_s, mn=mn, access=access, times=10, period_s=0.1)]
        down_s = self._for_s()
        flaps: list[AnyFault] = [Flap(at_s=at_s, mn=mn, access=access, period_s=2 * down_s)]
        if self._rng.random() < 0.2:
            # All accesses of a node are lost and regained.
            (mobile,) = (m for m in self._mobiles if m.number == mn)
            flaps += [
                Flap(at_s=round(at_s + self._rng.uniform(0, 0.5), 3), mn=mn, access=other,
                     period_s=2 * down_s)
                for other in mobile.interfaces
                if other != access
            ]  # fmt: skip
        return flaps

    def _kill(self, at_s: float) -> list[AnyFault]:
        node = LMA if self._rng.random() < 0.4 else mag_name(self._mag())
        polite = self._rng.random() < 0.2
        return [Kill(at_s=at_s, node=node, for_s=self._for_s(), politely=polite)]

    def _partition(self, at_s: float) -> list[AnyFault]:
        node = LMA if self._rng.random() < 0.2 else mag_name(self._mag())
        direction = self._rng.choice(DIRECTIONS)
        return [Partition(at_s=at_s, node=node, for_s=self._for_s(), direction=direction)]

    def _disturb(self, at_s: float) -> list[AnyFault]:
        def share(chance: float, most: float) -> float:
            return round(self._rng.uniform(0, most), 2) if self._rng.random() < chance else 0.0

        return [
            Disturb(
                at_s=at_s,
                for_s=self._for_s(),
                loss=share(0.5, 0.9),
                delay_ms=self._rng.choice((0.0, 5.0, 200.0, 2_500.0)),
                duplicate=share(0.4, 0.5),
                corrupt=share(0.4, 0.5),
            )
        ]

    def _flow(self) -> Traffic:
        return self._rng.choice(self._flows)

    def _move(self, at_s: float) -> list[AnyFault]:
        flow = self._flow()
        to = _some(self._rng, self._mobiles, flow)
        moves: list[AnyFault] = [
            MoveFlow(at_s=at_s, flow=flow.number, to=to, all=self._rng.random() < 0.2)
        ]
        if self._rng.random() < 0.25:
            # While the target comes or goes.
            soon_s = round(at_s + self._rng.uniform(-0.05, 0.15), 3)
            period_s = 2 * self._for_s()
            moves.append(Flap(at_s=soon_s, mn=flow.mn, access=to[0], period_s=period_s))
        return moves

    def _add(self, at_s: float) -> list[AnyFault]:
        flow, drop = self._flow(), self._rng.random() < 0.1
        to = _some(self._rng, self._mobiles, flow)
        return [AddFlow(at_s=at_s, flow=flow.number, to=to, drop=drop)]

    def _remove(self, at_s: float) -> list[AnyFault]:
        return [RemoveFlow(at_s=at_s, flow=self._flow().number)]

    def _revoke(self, at_s: float) -> list[AnyFault]:
        if self._rng.random() < 0.2:
            return [Revoke(at_s=at_s, mag=self._mag())]
        mn, access, _ = self._access()
        return [Revoke(at_s=at_s, mn=mn, access=access if self._rng.random() < 0.7 else None)]

    def _force(self, at_s: float) -> list[AnyFault]:
        if self._rng.random() < 0.5:
            return [ForceRegistration(at_s=at_s, mag=self._mag())]
        return [ForceRegistration(at_s=at_s, mn=self._rng.choice(self._mobiles).number)]

    def _report(self, at_s: float) -> list[AnyFault]:
        mn, access, _ = self._access()
        quality, load = self._rng.randint(0, 100), self._rng.randint(0, 100)
        return [Report(at_s=at_s, mn=mn, access=access, quality=quality, load=load)]

    def _policy(self, at_s: float) -> list[AnyFault]:
        mobile = self._rng.choice(self._mobiles)
        policy = _policy(self._rng, mobile.interfaces)
        return [Policy(at_s=at_s, mn=mobile.number, policy=policy)]

    def _spoof(self, at_s: float) -> list[AnyFault]:
        mn, access, _ = self._access()
        victim = self._rng.choice(self._mobiles).number
        return [Spoof(at_s=at_s, mn=mn, access=access, victim=victim)] if victim != mn else []

    def _garbage(self, at_s: float) -> list[AnyFault]:
        if self._rng.random() < 0.5:
            text = self._rng.randbytes(self._rng.randint(8, 80)).hex()
            node = self._rng.choice((LMA, mag_name(self._mag())))
            return [Garbage(at_s=at_s, node=node, text=text, over_network=True)]
        node = self._rng.choice((LMA, mag_name(self._mag()), mn_name(1)))
        return [Garbage(at_s=at_s, node=node, text=self._rng.choice(NOT_JSON))]

    def _detach(self, at_s: float) -> list[AnyFault]:
        mn, access, _ = self._access()
        return [Detach(at_s=at_s, mn=mn, access=access, for_s=self._for_s())]
