"""What an experiment is, as data: its question, what one run does, and what varies between runs.

An experiment is one TOML file. `base` describes a run; each factor has levels that override parts
of it; a *point* is one combination of levels, and a *run* is a point with a seed.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from experiments.declaration.access_events import AccessEvent, check_events
from experiments.declaration.declarations import Facts, Number, Plot, Table
from experiments.declaration.flows import Flow, IdleFlows
from experiments.declaration.run_checks import check_data_plane, check_groups, check_uplink
from experiments.declaration.variables import Variables
from nodes.controller_config import Fallback
from nodes.lma.policies import make_policy
from nodes.northbound import Mode
from topologies.model import NonNegative, Positive, Probability, Topology

PrefixModel = Literal["shared", "unique", "hybrid"]
SwitchPolicy = Literal["on-ack", "on-send"]
Protection = Literal["none", "keys", "ikev2"]
EngineName = Literal["virtual", "realtime", "host"]
Count = Annotated[int, msgspec.Meta(ge=1)]
Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]


class Protocol(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How LMA, MAGs and MN are configured.

    `prefix_delivery`: `on-move` signals a prefix to the target MAG when a flow moves (FMI);
    `at-attach` puts it in place when an interface attaches (PBA with the L bit, RFC 7864 3.3).
    `uplink`: `reflective` follows the network (RFC 7847); `static` leaves each flow's uplink on the
    access that the flow starts on; with `own` it is where the MN's `uplink_moves` put it, and the
    LMA doesn't ask.
    `decision_maker`: with `mn`, moves are ordered at the MN, and the LMA follows what the MN does
    (RFC 7864 section 3.1).
    `attachment`: how MAGs learn of the MN, by the link alone or with layer-2 signalling
    (docs/layer-2-signalling.md).
    `granularity`: with `flow`, MAGs are told of each flow and let no other pass (section 3.4).
    `withdrawal_delay_s`: how long a MAG keeps what no flow needs any more.
    `duplicates`: whether the MN keeps all copies of a packet that come over several accesses. They
    count as duplicated on arrival either way; the MN's event `copies-removed` says how many it
    removed.
    `policies`: what decides at the LMA besides the orders of the run (`nodes.lma.policies`).
    `flow_mobility`: without it the LMA knows of no flows, and each packet goes where its prefix is
    (RFC 5213 alone).
    `data_plane`: who makes the paths, and of what (docs/sdn.md); `framework` is what the controller
    of a switched topology runs on, and `fallback` what the LMA does while it has none.
    `protection`: of the signalling between LMA and MAGs, by ESP with keys that the run makes, or
    with those that strongSwan agrees on (docs/security.md).
    """

    prefix_model: PrefixModel = "shared"
    switch: SwitchPolicy = "on-ack"
    prefix_delivery: Literal["on-move", "at-attach"] = "on-move"
    granularity: Literal["prefix", "flow"] = "prefix"
    withdrawal_delay_s: NonNegative = 10.0
    uplink: Literal["reflective", "static", "own"] = "reflective"
    duplicates: Literal["keep", "remove"] = "keep"
    decision_maker: Literal["lma", "mn"] = "lma"
    attachment: Literal["link", "layer-2"] = "link"
    policies: tuple[dict[str, Any], ...] = ()
    flow_mobility: bool = True
    data_plane: Mode = "tunnel"
    framework: Literal["os-ken", "ryu"] = "os-ken"
    fallback: Fallback = "refuse"
    notification_retransmit_delay_s: Annotated[float, msgspec.Meta(ge=0.5, le=5)] = 1.0
    notification_retransmit_count: Annotated[int, msgspec.Meta(ge=0, le=5)] = 1
    protection: Protection = "none"


class Attachment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The MN's interface on `access` comes up at `at_s` seconds of the run.

    `dynamic`: it isn't attached then, but when the first flow moves there, to the session that the
    flow belongs to (the working group's dynamic attachment; needs layer-2 signalling).
    """

    access: str
    at_s: NonNegative
    dynamic: bool = False


class Move(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Flow `flow` is ordered to access `to` at `at_s` plus an offset that the seed chooses. With
    `copies` it stays where it was as well, and a copy of each packet goes over each (RFC 6089
    section 5.3.6).

    `scope`: with it move the others of its MN in one order, as a `list` of them, by their common
    `prefix`, or as `mn`, all that there are; or those of `all` MNs, with an order for each.
    """

    flow: str
    to: str
    at_s: NonNegative
    copies: bool = False
    scope: Literal["flow", "list", "prefix", "mn", "all"] = "flow"


class UplinkMove(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The MN puts the uplink of `flow` on access `to`, at `at_s` plus the same offset as a move."""

    flow: str
    to: str
    at_s: NonNegative


class LinkChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """From `at_s` seconds of the run on, these values hold for a direction of a link, or for both;
    values that aren't given stay. `quality` and `load` (percent) are what the MAG learns of an
    access link, and reports to the LMA (docs/access-link-report.md)."""

    at_s: NonNegative
    link: str
    direction: Literal["down", "up", "both"] = "both"
    delay_ms: NonNegative | None = None
    rate_mbit: Positive | None = None
    loss: Probability | None = None
    quality: Percent | None = None
    load: Percent | None = None


class LinkTrace(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Values of a link as they were recorded or generated: a file of `experiments/access_traces`
    (its README.md has the formats), from `from_s` on. `shift`: the seed chooses where in the trace
    the run begins."""

    link: str
    file: str
    direction: Literal["down", "up", "both"] = "both"
    from_s: NonNegative = 0.0
    window_ms: Annotated[int, msgspec.Meta(ge=10, le=10_000)] = 100
    shift: bool = False


class SignallingLoss(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Messages between LMA and MAGs that are lost from the beginning of the traffic on: each by
    itself, or with `mean_burst` in bursts of so many messages on average (simple Gilbert model).
    """

    probability: Probability
    mean_burst: Annotated[float, msgspec.Meta(ge=1)] | None = None

    def __post_init__(self) -> None:
        if self.transitions()[0] > 1:
            raise ValueError(
                f"mean_burst is {self.mean_burst}; expected {self.probability} / (1 - "
                f"{self.probability}) or more, or so much can't be lost"
            )

    def transitions(self) -> tuple[float, float | None]:
        """The probabilities of going from good to bad and from bad to good; None: no memory."""
        if self.mean_burst is None or self.probability == 1:
            return self.probability, None
        to_good = 1 / self.mean_burst
        return to_good * self.probability / (1 - self.probability), to_good


class RunSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that one run does, complete: what the guest gets as `job.json`.

    `decision_spread_ms`: moves and events are placed within this much after their `at_s`, all by
    the same, which the seed chooses; and so is `judged_at_s`, the instant around which flows are
    looked at more closely (`interruption`). The names of events only say what overrides what.
    `host_load`: busy processes for each core of the machine that carries out the run, beside it.
    `warm`: neighbours on every link know each other from the start; else neighbour discovery takes
    its time when the first packet comes, and the floor, which knows nothing of it, is exceeded.
    """

    topology: Topology
    protocol: Protocol = Protocol()
    variables: Variables = Variables()
    duration_s: Positive = 30.0
    decision_spread_ms: NonNegative = 20.0
    attachments: tuple[Attachment, ...] = (Attachment("wlan", 1.0), Attachment("cell", 2.0))
    flows: dict[str, Flow]
    idle: IdleFlows | None = None
    moves: tuple[Move, ...] = ()
    uplink_moves: tuple[UplinkMove, ...] = ()
    events: dict[str, AccessEvent] = {}
    judged_at_s: NonNegative | None = None
    signalling_loss: SignallingLoss | None = None
    warm: bool = True
    host_load: Annotated[int, msgspec.Meta(ge=0, le=8)] = 0
    changes: tuple[LinkChange, ...] = ()
    traces: tuple[LinkTrace, ...] = ()

    def __post_init__(self) -> None:
        accesses = self.topology.accesses
        known = ", ".join(accesses)
        for name, flow in self.flows.items():
            for key, value in (("anchor", flow.anchor), ("start", flow.start)):
                if value not in accesses:
                    raise ValueError(f"flows.{name}.{key}: {value!r}; expected one of {known}")
            if flow.until_s <= flow.from_s:
                raise ValueError(
                    f"flows.{name}.until_s: {flow.until_s}; "
                    f"expected more than from_s = {flow.from_s}"
                )
        self._check_decision_maker()
        check_data_plane(self)
        for index, settings in enumerate(self.protocol.policies):
            counted = self.protocol.data_plane == "sdn-core"
            make_policy(settings, f"protocol.policies[{index}]", counted=counted)
        for number, move in enumerate(self.moves):
            if move.flow not in self.flows:
                raise ValueError(
                    f"moves[{number}].flow: {move.flow!r}; expected one of {', '.join(self.flows)}"
                )
            if move.to not in accesses:
                raise ValueError(f"moves[{number}].to: {move.to!r}; expected one of {known}")
            self._check_copies(number, move)
        if self.moves and not self.protocol.flow_mobility:
            raise ValueError("protocol.flow_mobility: false; the run has moves, expected true")
        check_events(self.events, self.flows, list(accesses))
        check_groups(self)
        check_uplink(self)
        self._check_links()
        for number, attachment in enumerate(self.attachments):
            self._check_dynamic(number, attachment)
            if attachment.access not in accesses:
                raise ValueError(
                    f"attachments[{number}].access: {attachment.access!r}; expected one of {known}"
                )

    def _check_copies(self, number: int, move: Move) -> None:
        if not move.copies:
            return
        if self.protocol.decision_maker == "mn":
            raise ValueError(
                f"moves[{number}].copies: true; an MN that decides has a flow on one access, "
                'expected false, or protocol.decision_maker = "lma"'
            )
        if self.dynamic(move.to):
            raise ValueError(
                f"moves[{number}].copies: true; the MN attaches to {move.to} for the move, "
                "expected false"
            )

    def _check_decision_maker(self) -> None:
        """With an MN that decides, a move is its decision (RFC 7864 section 3.1: one of both)."""
        protocol = self.protocol
        if protocol.decision_maker != "mn":
            return
        if protocol.policies:
            raise ValueError(
                'protocol.decision_maker: "mn"; policies are decisions of the LMA, '
                "expected none of them"
            )
        if any(attachment.dynamic for attachment in self.attachments):
            raise ValueError(
                'protocol.decision_maker: "mn"; dynamic attachment waits for the LMA to move the '
                "flow, expected no attachment with dynamic = true"
            )
        lacking = protocol.prefix_model != "shared" and protocol.prefix_delivery == "on-move"
        if self.moves and lacking:
            raise ValueError(
                'protocol.prefix_delivery: "on-move"; an MN that decides sends over the other MAG '
                "before the LMA can signal it a prefix, expected "
                '"at-attach", or prefix_model = "shared"'
            )

    def dynamic(self, access: str) -> bool:
        """Whether the MN attaches to `access` with the first move there."""
        return any(entry.access == access and entry.dynamic for entry in self.attachments)

    def _check_links(self) -> None:
        used = [(f"changes[{n}]", entry.link) for n, entry in enumerate(self.changes)]
        used += [(f"traces[{n}]", entry.link) for n, entry in enumerate(self.traces)]
        for key, link in used:
            if link not in self.topology.links:
                known = ", ".join(self.topology.links)
                raise ValueError(f"{key}.link: {link!r}; expected one of {known}")
        for number, change in enumerate(self.changes):
            for key, value in (("quality", change.quality), ("load", change.load)):
                if value is not None and self.topology.links[change.link].access is None:
                    raise ValueError(
                        f"changes[{number}].{key}: {value}; "
                        f"{change.link} is no access link, expected none"
                    )

    def _check_dynamic(self, number: int, attachment: Attachment) -> None:
        if not attachment.dynamic:
            return
        if self.protocol.attachment != "layer-2":
            raise ValueError(
                f"attachments[{number}].dynamic: true; "
                'expected false, or protocol.attachment = "layer-2"'
            )
        for name, flow in self.flows.items():
            if attachment.access in (flow.anchor, flow.start):
                raise ValueError(
                    f"attachments[{number}].dynamic: true; flow {name} uses "
                    f"{attachment.access} from its beginning, expected false"
                )


class Level(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One level of a factor. `label` names it in points and figures, `set` overrides the base."""

    label: str
    set: dict[str, Any]
    value: float | str | None = None


class Factor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    levels: list[Level]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A set of points of an experiment: the cross product of its factors over its base. `engine`
    is the one that it asks for, whatever the others run on, and so is `topology`."""

    base: dict[str, Any] = {}
    factors: list[Factor] = []
    seeds: Count | None = None
    engine: EngineName | None = None
    topology: str | None = None


class Experiment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One experiment file. `figures` names functions of `experiments.figures`, `plots` declares
    figures by name. `answer` is that to the question, with `{name}` for each of `numbers`."""

    question: str
    why_these_runs: str
    topology: str = "reference"
    seeds: Count = 30
    base: dict[str, Any] = {}
    parts: dict[str, Part]
    figures: list[str] = []
    plots: dict[str, Plot] = {}
    numbers: dict[str, Number] = {}
    tables: dict[str, Table] = {}
    facts: dict[str, Facts] = {}
    answer: str = ""
