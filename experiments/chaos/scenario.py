"""A scenario of the fault campaign as pure data: who is there, what they send, and what goes wrong
when. The same scenario makes the same run; a file of it is replayed and made shorter.

Instants are seconds of the run, durations seconds unless the name says otherwise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from experiments.declaration.job import write_atomically
from nodes.config import Access, MobileNodePolicy
from nodes.strict import from_json, to_json
from topologies.model import NonNegative, Positive, Probability

SCENARIO = "scenario.json"
ACCESSES = {"wlan": Access(4, 10), "cell": Access(8, 20), "wimax": Access(5, 30)}
AccessName = Literal["wlan", "cell", "wimax"]
Number = Annotated[int, msgspec.Meta(ge=1)]
Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]


class Interface(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An access interface of a mobile node, on a link to MAG number `mag`."""

    mag: Number
    delay_ms: NonNegative = 2.0


class Mobile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    number: Number
    interfaces: dict[AccessName, Interface]
    policy: MobileNodePolicy = MobileNodePolicy()
    duplicates: Literal["keep", "remove"] = "keep"


class Traffic(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A UDP flow of mobile node `mn`, from `from_s` on: every `interval_s` a packet of the CN to
    the node's address of its session on `anchor`, which the node answers; or with `up` the other
    way. `exact`: the LMA knows it by its 5-tuple, else by its port."""

    number: Number
    mn: Number
    anchor: AccessName
    interval_s: Positive
    up: bool = False
    exact: bool = True
    from_s: NonNegative = 0.0


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="do"):
    """Something that happens at `at_s`, and ends by itself."""

    at_s: NonNegative


class Attach(Fault, frozen=True, kw_only=True, tag="attach"):
    """An interface comes up, and goes down after `for_s` (None: stays). With layer-2 signalling it
    attaches with `handoff`, of 2 and 6 to the session of `session`'s interface."""

    mn: Number
    access: AccessName
    for_s: Positive | None = None
    handoff: Annotated[int, msgspec.Meta(ge=1, le=6)] | None = None
    session: AccessName | None = None


class Flap(Fault, frozen=True, kw_only=True, tag="flap"):
    """A link that is up goes down and up again, `times` times; half a period down, half up."""

    mn: Number
    access: AccessName
    times: Number = 1
    period_s: Positive = 2.0


class Kill(Fault, frozen=True, kw_only=True, tag="kill"):
    """The daemon of a node ends, and is started again after `for_s`: killed, or asked to end."""

    node: str
    for_s: Positive
    politely: bool = False


class Partition(Fault, frozen=True, kw_only=True, tag="partition"):
    """Between the core and a MAG, or the LMA, everything is lost, in one direction or both."""

    node: str
    for_s: Positive
    direction: Literal["down", "up", "both"] = "both"


class Disturb(Fault, frozen=True, kw_only=True, tag="disturb"):
    """Signalling that crosses the core is lost, delayed by up to `delay_ms` each message by itself
    (so that it is also reordered), duplicated, or damaged: each with its probability."""

    for_s: Positive
    loss: Probability = 0.0
    delay_ms: NonNegative = 0.0
    duplicate: Probability = 0.0
    corrupt: Probability = 0.0


class AddFlow(Fault, frozen=True, kw_only=True, tag="add-flow"):
    """`to` are accesses of the node; several: a copy over each. `drop`: its packets are dropped."""

    flow: Number
    to: tuple[AccessName, ...]
    drop: bool = False


class MoveFlow(Fault, frozen=True, kw_only=True, tag="move-flow"):
    """`all`: together with all other flows of its node."""

    flow: Number
    to: tuple[AccessName, ...]
    all: bool = False


class RemoveFlow(Fault, frozen=True, kw_only=True, tag="remove-flow"):
    flow: Number


class Revoke(Fault, frozen=True, kw_only=True, tag="revoke"):
    """One binding of a mobile node, all of it, or all of MAG number `mag`."""

    mn: Number | None = None
    access: AccessName | None = None
    mag: Number | None = None


class ForceRegistration(Fault, frozen=True, kw_only=True, tag="force-registration"):
    mn: Number | None = None
    mag: Number | None = None


class Report(Fault, frozen=True, kw_only=True, tag="report"):
    """What a MAG learns of an access link, which the LMA's policies look at."""

    mn: Number
    access: AccessName
    quality: Percent
    load: Percent


class Detach(Fault, frozen=True, kw_only=True, tag="detach"):
    """With layer-2 signalling the node detaches, and attaches again after `for_s`, by order."""

    mn: Number
    access: AccessName
    for_s: Positive


class Policy(Fault, frozen=True, kw_only=True, tag="policy"):
    """The LMA is asked to end and started at once with another policy of a mobile node, which
    holds from then on."""

    mn: Number
    policy: MobileNodePolicy


class Spoof(Fault, frozen=True, kw_only=True, tag="spoof"):
    """A mobile node sends a packet with another's address as its source."""

    mn: Number
    access: AccessName
    victim: Number


class Garbage(Fault, frozen=True, kw_only=True, tag="garbage"):
    """Octets for the control socket of a node, or with `over_network` for the Mobility Header
    socket of LMA or MAG, from a stranger."""

    node: str
    text: str
    over_network: bool = False


AnyFault = (
    Attach
    | Flap
    | Kill
    | Partition
    | Disturb
    | AddFlow
    | MoveFlow
    | RemoveFlow
    | Revoke
    | ForceRegistration
    | Report
    | Detach
    | Policy
    | Spoof
    | Garbage
)


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`agreed_s`: the instants at which all that was wrong has been over for so long that everybody
    has to agree. At the last of them, the end, all accesses go, and after `quiet_s` nothing is
    left. `look_every_s`: how often the state of all nodes is looked at besides."""

    format: Literal[1] = 1
    seed: int
    mags: Annotated[int, msgspec.Meta(ge=1, le=5)]
    mobiles: tuple[Mobile, ...]
    attachment: Literal["link", "layer-2"] = "link"
    core_delay_ms: NonNegative = 10.0
    lifetime_s: Annotated[int, msgspec.Meta(ge=4)] = 60
    heartbeat_interval_s: Annotated[int, msgspec.Meta(ge=30)] = 30
    revoke_on_handover: bool = False
    flows: tuple[Traffic, ...] = ()
    faults: tuple[AnyFault, ...] = ()
    agreed_s: tuple[float, ...]
    look_every_s: Positive = 30.0

    def __post_init__(self) -> None:
        known = {mobile.number: mobile for mobile in self.mobiles}
        for mobile in self.mobiles:
            for access, interface in mobile.interfaces.items():
                if interface.mag > self.mags:
                    raise ValueError(
                        f"mobiles: {access} of {mobile.number} is at MAG {interface.mag}; "
                        f"expected one of 1 to {self.mags}"
                    )
        for flow in self.flows:
            if flow.mn not in known or flow.anchor not in known[flow.mn].interfaces:
                raise ValueError(
                    f"flows: {flow.number} is of mobile node {flow.mn} and {flow.anchor}; "
                    "expected a mobile node that there is, and one of its accesses"
                )
        if not self.agreed_s or list(self.agreed_s) != sorted(self.agreed_s):
            raise ValueError(f"agreed_s is {self.agreed_s}; expected at least one, in order")

    @property
    def end_s(self) -> float:
        return self.agreed_s[-1]

    @property
    def quiet_s(self) -> float:
        """How long it takes at most until all agree once all is well: that of docs/invariants.md,
        and until nothing is left after all have gone."""
        return quiet_s(self.lifetime_s)

    @property
    def duration_s(self) -> float:
        return self.end_s + self.quiet_s


def quiet_s(lifetime_s: int) -> float:
    """Two lifetimes, two of the longest retransmissions, and the heartbeats in between."""
    return 2.0 * lifetime_s + 2 * 64 + 60


def mag_name(number: int) -> str:
    return f"mag{number}"


def mn_name(number: int) -> str:
    return f"mn{number}"


def link_name(access: str, mn: int) -> str:
    """The name of an access link, and of the access as the topology knows it."""
    return f"{access}{mn}"


def read(path: Path) -> Scenario:
    """Raises InputError, and OSError."""
    return from_json(path.read_bytes(), Scenario, str(path))


def write(path: Path, scenario: Scenario) -> None:
    """As JSON, a fault a line: for people to read and change."""
    write_atomically(path, msgspec.json.format(to_json(scenario), indent=1) + b"\n")
