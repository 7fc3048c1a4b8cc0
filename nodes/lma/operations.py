"""What the operations of the control socket do to the LMA's core."""

from __future__ import annotations

from typing import Any

from nodes.control_requests import (
    AddFlow,
    ControllerStatus,
    FlowStatistics,
    ForceRegistration,
    ListBindings,
    ListFlows,
    LmaRequest,
    MoveFlow,
    RemoveFlow,
    Revoke,
    Targets,
)
from nodes.daemon import now
from nodes.flow_mobility_cache import FlowAction, FlowMobilityCacheEntry
from nodes.kernel.selector_rules import match_expressions
from nodes.lma.awaited_moves import AwaitedMove
from nodes.lma.local_mobility_anchor import LocalMobilityAnchor
from nodes.lma.path_control import PathControl
from nodes.selectors import selector_fields, selector_of


def operate(core: LocalMobilityAnchor, request: LmaRequest, token: int) -> None:
    """Carry out a request of the control socket; every one is answered with a Reply."""
    match request:
        case ListBindings():
            core.answer(token, list_bindings(core, request.mn))
        case ListFlows():
            core.answer(token, list_flows(core))
        case FlowStatistics() | ControllerStatus():
            if core.controller is None:
                core.answer(token, error=f'data_plane is "{core.config.data_plane}": no controller')
            elif isinstance(request, FlowStatistics):
                core.answer(token, list_statistics(core, core.controller))
            else:
                core.answer(token, core.controller.status())
        case AddFlow():
            _add_flow(core, request, token)
        case RemoveFlow():
            core.remove_flow(request.mn, request.fid, token, now())
        case ForceRegistration():
            _force_registration(core, request, token)
        case Revoke():
            _revoke(core, request, token)
        case MoveFlow():
            _move_flow(core, request, token)


def _move_flow(core: LocalMobilityAnchor, request: MoveFlow, token: int) -> None:
    if (request.fid is None) == (request.prefix is None):
        return core.answer(token, error="fid, prefix: expected one of them")
    if request.await_ms is not None:
        if not isinstance(request.fid, int) or isinstance(request.to, list):
            return core.answer(token, error="await_ms: only with one fid and one target")
        at = now()
        deadline = at.monotonic + request.await_ms / 1000
        move = AwaitedMove(request.mn, request.fid, request.to, token, deadline)
        return core.await_move(move, at)
    try:
        bids = _bids(core, request.mn, request.to)
    except ValueError as error:
        return core.answer(token, error=str(error))
    if isinstance(request.fid, int):
        fids = [request.fid]
    elif isinstance(request.fid, list):
        fids = request.fid
    else:
        fids = core.flows.fids(request.mn, request.prefix)
    return core.move_flows(request.mn, fids, bids, token, now())


def _bids(core: LocalMobilityAnchor, mn_id: str, to: Targets) -> tuple[int, ...]:
    """Raises ValueError if one of them is no binding."""
    bids = []
    for target in to if isinstance(to, list) else [to]:
        bid = core.resolve(mn_id, target)
        if bid is None:
            raise ValueError(_no_binding(mn_id, target))
        bids.append(bid)
    return tuple(dict.fromkeys(bids))


def _force_registration(core: LocalMobilityAnchor, request: ForceRegistration, token: int) -> None:
    if request.mn is not None and request.mag is None:
        return core.force_registration(request.mn, token, now())
    if request.mag is not None and request.mn is None:
        return core.force_registrations(request.mag, token, now())
    return core.answer(token, error="mn, mag: expected one of them")


def _revoke(core: LocalMobilityAnchor, request: Revoke, token: int) -> None:
    if request.mn is None:
        if request.binding is not None:
            return core.answer(token, error="binding: only with mn")
        if request.realm is not None:
            return core.revoke_realm(request.realm, request.mag, token, now())
        if request.mag is not None:
            return core.revoke_mag(request.mag, token, now())
    if request.mn is None or request.mag is not None or request.realm is not None:
        return core.answer(token, error="expected mn, or mag, or realm, or both of these")
    bid = None
    if request.binding is not None:
        bid = core.resolve(request.mn, request.binding)
        if bid is None:
            return core.answer(token, error=_no_binding(request.mn, request.binding))
    return core.revoke(request.mn, bid, token, now())


def _add_flow(core: LocalMobilityAnchor, request: AddFlow, token: int) -> None:
    try:
        bids = _bids(core, request.mn, request.to)
        selector = selector_of(request.selector)
        match_expressions(selector)
        entry = FlowMobilityCacheEntry(
            request.priority, request.fid, selector, bids, FlowAction(request.action)
        )
    except ValueError as error:
        return core.answer(token, error=str(error))
    return core.add_flow(request.mn, entry, token, now())


def _no_binding(mn_id: str, to: int | str) -> str:
    return f"to is {to!r}; {mn_id} has no binding with it"


def list_bindings(core: LocalMobilityAnchor, mn_id: str | None = None) -> list[dict[str, Any]]:
    """Those of a mobile node, or all."""
    return [
        {
            "mn": entry.mn_id,
            "bid": entry.bid,
            "priority": entry.bid_priority,
            "access": core.flows.access_name(entry.bid),
            "technology": entry.access_technology,
            "prefixes": [str(prefix) for prefix in entry.prefixes],
            "flow_mobility_prefixes": [str(p) for p in entry.flow_mobility_prefixes],
            "proxy_coa": str(entry.proxy_coa),
            "state": "registered" if entry.registered else "deregistered",
        }
        for entry in (core.bindings if mn_id is None else core.bindings.of(mn_id))
    ]


def list_flows(core: LocalMobilityAnchor) -> list[dict[str, Any]]:
    flows = []
    for mn_id, row in core.flows.cache.all_rows():
        flows.append(
            {
                "mn": mn_id,
                "fid": row.fid,
                "priority": row.priority,
                "selector": selector_fields(row.selector),
                "bids": list(row.bids),
                "access": [core.flows.access_name(bid) for bid in row.bids],
                "action": str(row.action),
                "active": row.active,
            }
        )
    return flows


def list_statistics(core: LocalMobilityAnchor, controller: PathControl) -> list[dict[str, Any]]:
    """What switches have counted of each flow, by the MAGs that they send it to."""
    flows = []
    for mn_id, row in core.flows.cache.all_rows():
        key = core.flows.key(mn_id, row.fid)
        paths = [
            {
                "mags": [str(mag) for mag in count.mags],
                "access": [
                    core.flows.access_name(entry.bid)
                    for mag in count.mags
                    for entry in core.bindings.of(mn_id)
                    if entry.proxy_coa == mag
                ],
                "packets": count.packets,
                "octets": count.octets,
            }
            for count in controller.statistics.counts(key)
        ]
        rate = controller.octets_per_s(key)
        flows.append({"mn": mn_id, "fid": row.fid, "paths": paths, "octets_per_s": rate})
    return flows
