"""What the operations of the control sockets of MN and MAG do to their cores."""

from __future__ import annotations

from nodes.control_requests import (
    AttachInterface,
    AttachmentStatus,
    BindFlow,
    DetachInterface,
    ListFlows,
    ListServed,
    MagRequest,
    MnRequest,
    ReportLink,
    UnbindFlow,
)
from nodes.daemon import now
from nodes.kernel.selector_rules import match_expressions
from nodes.mag.mobile_access_gateway import MobileAccessGateway
from nodes.mn.flow_table import FlowTableEntry, uplink_selector
from nodes.mn.mobile_node import MobileNode
from nodes.selectors import selector_fields, selector_of


def operate_mn(core: MobileNode, request: MnRequest, token: int) -> None:
    """Carry out a request to the mobile node; every one is answered with a Reply."""
    try:
        match request:
            case BindFlow():
                selector = selector_of(request.selector)
                match_expressions(uplink_selector(selector))
                row = FlowTableEntry(request.fid, request.priority, selector, request.to)
                core.bind_flow(row)
                core.answer(token, {"fid": request.fid})
            case UnbindFlow():
                core.unbind_flow(request.fid)
                core.answer(token, {"fid": request.fid})
            case ListFlows():
                rows = [
                    {
                        "fid": row.fid,
                        "priority": row.priority,
                        "selector": selector_fields(row.selector),
                        "to": row.interface,
                    }
                    for row in core.flows.rows()
                ]
                core.answer(token, rows)
            case AttachInterface():
                handoff, prefixes = request.handoff_indicator, request.prefixes
                core.attachments.attach(request.interface, handoff, prefixes, token, now())
            case DetachInterface():
                core.attachments.detach(request.interface, token, now())
            case AttachmentStatus():
                attachments = core.attachments
                core.answer(token, [attachments.status(name) for name in attachments.interfaces])
    except ValueError as error:
        core.answer(token, error=str(error))


def operate_mag(core: MobileAccessGateway, request: MagRequest, token: int) -> None:
    """Carry out a request to the MAG; every one is answered with a Reply."""
    match request:
        case ListServed():
            served = [
                {
                    "interface": entry.interface,
                    "mn": entry.profile.mn_id,
                    "state": str(entry.state),
                    "prefixes": [str(prefix) for prefix in entry.prefixes],
                    "off_link_prefixes": [str(prefix) for prefix in entry.off_link_prefixes],
                    "hosted": [str(prefix) for prefix in entry.hosted],
                }
                for entry in core.bindings.values()
            ]
            core.answer(token, served)
        case ReportLink():
            interface = request.interface
            if interface not in core.config.interfaces:
                known = ", ".join(core.config.interfaces)
                error = f"interface is {interface!r}; expected one of {known}"
                return core.answer(token, error=error)
            core.link_measured(
                interface,
                now(),
                quality=request.quality,
                load=request.load,
                queue_delay_ms=request.queue_delay_ms,
            )
            return core.answer(token, {"interface": interface})
    return None
