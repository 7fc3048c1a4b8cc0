"""Rules as messages of OpenFlow 1.3, and back.

Classes and constants are those that a framework's datapath comes with, so that this module imports
neither of the frameworks.
"""

from __future__ import annotations

from typing import Any

from controllers.openflow import Action, Match, Output, Rule, SetField
from controllers.rules import COOKIE_MAGIC, COOKIE_MAGIC_MASK


def flow_mod(datapath: Any, rule: Rule, command: int) -> Any:
    """An OFPFlowMod; `command` is one of OFPFC_*, of which the strict ones are about this rule."""
    ofproto, parser = datapath.ofproto, datapath.ofproto_parser
    instructions = []
    if rule.actions:
        actions = [_action(parser, action) for action in rule.actions]
        instructions.append(parser.OFPInstructionActions(ofproto.OFPIT_APPLY_ACTIONS, actions))
    if rule.goto is not None:
        instructions.append(parser.OFPInstructionGotoTable(rule.goto))
    return parser.OFPFlowMod(
        datapath,
        command=command,
        table_id=rule.table,
        priority=rule.priority,
        cookie=rule.cookie,
        match=parser.OFPMatch(**rule.match.to_openflow()),
        instructions=instructions,
        # Deleting is restricted to these otherwise, and port 0 is none.
        out_port=ofproto.OFPP_ANY,
        out_group=ofproto.OFPG_ANY,
    )


def _action(parser: Any, action: Action) -> Any:
    if isinstance(action, Output):
        return parser.OFPActionOutput(action.port)
    return parser.OFPActionSetField(**{action.field: action.value})


def flow_stats_request(datapath: Any) -> Any:
    """For all rules of this controller, in all tables."""
    return datapath.ofproto_parser.OFPFlowStatsRequest(
        datapath, cookie=COOKIE_MAGIC << 48, cookie_mask=COOKIE_MAGIC_MASK
    )


def rule_of(entry: Any) -> Rule:
    """The rule that an OFPFlowStats is about. Raises ValueError if it has more in it than ours."""
    actions: list[Action] = []
    goto = None
    for instruction in entry.instructions:
        match type(instruction).__name__:
            case "OFPInstructionGotoTable":
                goto = instruction.table_id
            case "OFPInstructionActions":
                actions.extend(_read(action) for action in instruction.actions)
            case other:
                raise ValueError(f"{other} is no instruction of ours")
    match_ = Match.from_openflow(dict(entry.match.items()))
    return Rule(entry.table_id, entry.priority, match_, tuple(actions), entry.cookie, goto)


def _read(action: Any) -> Action:
    match type(action).__name__:
        case "OFPActionOutput":
            return Output(action.port)
        case "OFPActionSetField":
            return SetField(action.key, action.value)
        case other:
            raise ValueError(f"{other} is no action of ours")
