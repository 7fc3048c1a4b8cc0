"""What a run's description must fulfil as a whole; each check raises ValueError."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topologies.crowd import mobile_nodes
from topologies.model import Role
from topologies.switching import switch_of

if TYPE_CHECKING:
    from experiments.declaration.spec import RunSpec


def check_data_plane(spec: RunSpec) -> None:
    """Redirection needs switches, and a controller."""
    mode, topology = spec.protocol.data_plane, spec.topology
    if mode == "tunnel":
        return
    key = f'protocol.data_plane: "{mode}"'
    controllers = [n for n in topology.nodes if topology.has_role(n, Role.CONTROLLER)]
    if not topology.switches or len(controllers) != 1:
        raise ValueError(
            f"{key}; the topology has {len(topology.switches)} switches and "
            f"{len(controllers)} controllers, expected some and one, as in topologies/sdn.toml"
        )
    for name, node in topology.nodes.items():
        if node.role in (Role.LMA, Role.MAG) and switch_of(topology, name) is None:
            raise ValueError(f"{key}; {name} is at no switch, expected a link to one")
    if mode == "sdn-core" and spec.protocol.decision_maker == "mn":
        raise ValueError(
            f'{key}; protocol.decision_maker: "mn", expected "lma": without tunnels the LMA '
            "can't see what the MN decides"
        )


def check_groups(spec: RunSpec) -> None:
    """Several MNs, and flows that move together."""
    protocol, mns = spec.protocol, len(mobile_nodes(spec.topology))
    if mns > 1 and protocol.decision_maker == "mn":
        raise ValueError('protocol.decision_maker: "mn"; with several MNs expected "lma"')
    if mns > 1 and protocol.attachment == "layer-2":
        raise ValueError('protocol.attachment: "layer-2"; with several MNs expected "link"')
    if mns > 1 and spec.events:
        raise ValueError("events: with several MNs expected none")
    for name, flow in spec.flows.items():
        if flow.mn > mns:
            raise ValueError(f"flows.{name}.mn: {flow.mn}; expected at most {mns}")
    rows = [*spec.flows.values(), *([spec.idle] if spec.idle else [])]
    alike = len({(row.anchor, row.start) for row in rows}) <= 1
    for number, move in enumerate(spec.moves):
        together = move.scope != "flow"
        if together and (not alike or move.copies or spec.dynamic(move.to)):
            raise ValueError(
                f'moves[{number}].scope: "{move.scope}"; expected "flow", or the same anchor '
                "and start for all flows, no copies, and an attachment before the move"
            )
        if move.scope == "all" and spec.idle is None:
            raise ValueError(f'moves[{number}].scope: "all"; expected idle flows at each MN')


def check_uplink(spec: RunSpec) -> None:
    """Decisions of an MN that the LMA doesn't follow."""
    protocol = spec.protocol
    if spec.uplink_moves and (protocol.uplink, protocol.decision_maker) != ("own", "lma"):
        raise ValueError(
            f'uplink_moves: {len(spec.uplink_moves)}; expected none, or protocol.uplink = "own" '
            'and protocol.decision_maker = "lma"'
        )
    if protocol.uplink == "own" and len(mobile_nodes(spec.topology)) > 1:
        raise ValueError('protocol.uplink: "own"; with several MNs expected another')
    for number, move in enumerate(spec.uplink_moves):
        for key, value, known in (
            ("flow", move.flow, spec.flows),
            ("to", move.to, spec.topology.accesses),
        ):
            if value not in known:
                expected = ", ".join(known)
                raise ValueError(
                    f"uplink_moves[{number}].{key}: {value!r}; expected one of {expected}"
                )
