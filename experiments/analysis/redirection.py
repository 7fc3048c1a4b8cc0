"""What it takes that a controller makes the path of a flow: the floor of a move, and its cost. The
terms are in docs/sdn.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from controllers.fabric import Fabric
from experiments.analysis.controller_messages import ControllerMessages, caused_by
from experiments.analysis.event_log import Event
from experiments.analysis.floor import declared_delay_ms, mag_of
from experiments.analysis.moves import MoveRecord
from experiments.analysis.traces import Way
from experiments.declaration.flows import Flow
from experiments.declaration.spec import RunSpec
from topologies.fabric import fabric_description
from topologies.model import Role

# What runs on switches have in `runs.csv` besides.
COLUMNS = (
    "northbound_messages",
    "openflow_messages",
    "rules_changed",
    "rules_per_switch",
    "overhead_bytes",
)


class Redirection(NamedTuple):
    """Packets go the new way from the switch `at` on, which is `beyond_lma_ms` from the LMA. They
    do so `held_ms` after the LMA has asked for it at the earliest."""

    at: str
    beyond_lma_ms: float
    held_ms: float


def redirection(spec: RunSpec, flow: Flow, source: str, to: str) -> Redirection | None:
    """Of a move from access `source` to access `to`; None: the LMA makes the paths itself.

    sdn-core: the request to the controller; rules to switches that only the new path has, and their
    confirmations, all at once; the rule to the switch where the paths part. sdn-assisted: the
    request, and the rule to the switch where the paths to the anchor and to the other MAG part.
    """
    mode, topology = spec.protocol.data_plane, spec.topology
    if mode == "tunnel":
        return None
    fabric = Fabric(fabric_description(topology))
    mags = {mag.name: mag.addresses[0] for mag in fabric.mags}
    old, new, anchor = (mags[mag_of(topology, access)] for access in (source, to, flow.start))
    lma, controller = (topology.node_with_role(role) for role in (Role.LMA, Role.CONTROLLER))
    held_ms = declared_delay_ms(topology, lma, controller)
    if mode == "sdn-assisted":
        at = fabric.branching(anchor, [new if new != anchor else old])
    else:
        at = fabric.branching(new, [old])
        added = set(fabric.path(new)) - set(fabric.path(old))
        held_ms += max((_round_trip_ms(spec, controller, name) for name in added), default=0.0)
    held_ms += declared_delay_ms(topology, controller, at)
    return Redirection(at, declared_delay_ms(topology, lma, at), held_ms)


def _round_trip_ms(spec: RunSpec, first: str, last: str) -> float:
    there, back = ((first, last), (last, first))
    return declared_delay_ms(spec.topology, *there) + declared_delay_ms(spec.topology, *back)


def redirection_columns(
    record: MoveRecord,
    spec: RunSpec,
    down: Way,
    window: tuple[int, int],
    messages: ControllerMessages,
    events: Sequence[Event],
) -> dict[str, Any]:
    """COLUMNS: messages and changed rules of a move, the most rules that a switch has in the end,
    and octets of a packet at the LMA that aren't its own (mean). And whose paths these are."""
    overhead = down.between(*window).overhead
    known = overhead[overhead >= 0]
    rules = [max(detail["rules"].values()) for _, _, event, detail in events if event == "rules"]
    return caused_by(record, spec, messages, window[1]).columns() | {
        "data_plane": spec.protocol.data_plane,
        "rules_per_switch": max(rules, default=None),
        "overhead_bytes": round(float(known.mean()), 2) if len(known) else None,
    }
