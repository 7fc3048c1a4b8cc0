"""Flows of a run that carry no packets, and flows that move together, by one order or several.

Flows have numbers (FIDs) that are unique in the run: first those of `RunSpec.flows`, and then the
idle ones, mobile node by mobile node.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv6Address, IPv6Network
from typing import Any, NamedTuple

from experiments.declaration.spec import Move, RunSpec
from experiments.emulation.roles import mn_id
from experiments.emulation.traffic import flow_ids
from nodes.config import HOME_NETWORK_PREFIX_LENGTH
from topologies.crowd import mobile_nodes


class IdleFlow(NamedTuple):
    mn: int
    fid: int
    port: int


def idle_flows(spec: RunSpec) -> Iterator[IdleFlow]:
    if spec.idle is None:
        return
    fid = len(spec.flows)
    for mn in range(1, len(mobile_nodes(spec.topology)) + 1):
        for offset in range(spec.idle.count):
            fid += 1
            yield IdleFlow(mn, fid, spec.idle.port + offset)


def moved_together(spec: RunSpec, move: Move) -> dict[int, int]:
    """The mobile node of each flow that a move is of, by FID, in the order of the orders."""
    mn, fids = spec.flows[move.flow].mn, flow_ids(spec)
    if move.scope == "flow":
        return {fids[move.flow]: mn}
    flows = {fids[name]: flow.mn for name, flow in spec.flows.items()}
    flows |= {flow.fid: flow.mn for flow in idle_flows(spec)}
    if move.scope == "all":
        return dict(sorted(flows.items(), key=lambda entry: (entry[1], entry[0])))
    return {fid: owner for fid, owner in flows.items() if owner == mn}


def names_moved(spec: RunSpec, move: Move) -> list[str]:
    """Those of the flows with packets that a move is of, the one that it names first."""
    fids = moved_together(spec, move)
    found = [name for name, fid in flow_ids(spec).items() if fid in fids and name != move.flow]
    return [move.flow, *found]


def orders(
    spec: RunSpec, move: Move, address: IPv6Address, to: str | Sequence[str]
) -> list[dict[str, Any]]:
    """What the LMA is ordered for a move of a flow with this address."""
    mn = spec.flows[move.flow].mn
    prefix = IPv6Network((address, HOME_NETWORK_PREFIX_LENGTH), strict=False)
    request: dict[str, Any] = {"op": "move-flow", "mn": mn_id(mn), "to": to}
    match move.scope:
        case "flow":
            return [request | {"fid": flow_ids(spec)[move.flow]}]
        case "list":
            return [request | {"fid": list(moved_together(spec, move))}]
        case "prefix":
            return [request | {"prefix": str(prefix)}]
        case "mn":
            return [request | {"fid": "all"}]
        case "all":
            numbers = range(1, len(mobile_nodes(spec.topology)) + 1)
            return [request | {"mn": mn_id(number), "fid": "all"} for number in numbers]
